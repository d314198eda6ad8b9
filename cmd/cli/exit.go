package cli

import (
	"vdfs/cmd/control"
)

// The exit codes are a contract with scripts.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartly      = 3
	exitConflict    = 4
	exitUnreachable = 5
	exitNoDrive     = 6
	exitRefused     = 7
)

// exitCode is the one place where an error becomes an exit code.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	switch control.AsError(err).Code {
	case control.Usage:
		return exitUsage
	case control.Partly:
		return exitPartly
	case control.Conflict:
		return exitConflict
	case control.Unreachable:
		return exitUnreachable
	case control.NoDrive:
		return exitNoDrive
	case control.Refused:
		return exitRefused
	}
	return exitFailed
}

// usageError is a complaint about the command line itself.
func usageError(message string) error { return &control.Error{Code: control.Usage, Message: message} }
