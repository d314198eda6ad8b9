// Package cli is the command line: each verb parses, asks the daemon one thing
// over its control socket, and renders the answer. Data goes to stdout, talk to
// stderr; colour and progress only to a terminal. exit.go is the one place that
// chooses exit codes.
//
// It must never print a secret, and never decide what the daemon should decide.
package cli
