// Package control is how other processes talk to the daemon of one drive: HTTP
// with JSON bodies over a Unix socket that only its owner can open. The command
// line uses it, and anything else the owner runs may (a panel, a script with
// curl --unix-socket). See docs in types.go for each request and response.
//
// Requests that take long (pin, offload, fetch, sync) answer with one JSON value
// per line: progress any number of times, then exactly one result or error.
// Everything else answers with one JSON value. Fields may be added, never
// renamed. An error is {"error":{"code","message"}} with an HTTP status that fits.
//
// The package knows no drive: Handlers are what the daemon fills in. It must
// never carry a secret.
package control
