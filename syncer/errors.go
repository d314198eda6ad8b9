package syncer

import (
	"errors"
	"fmt"
	"syscall"

	"vdfs/syncer/remote"
)

var (
	// ErrUnknownConduit is returned for a name that no conduit has.
	ErrUnknownConduit = errors.New("no such conduit")
	// ErrDisabled is returned for work on a conduit that was paused.
	ErrDisabled = errors.New("conduit is disabled (paused)")
	// ErrNoVersion is returned for a path of which nothing is kept that was asked for.
	ErrNoVersion = errors.New("no such version")
	// ErrRefused is returned where going on could lose data.
	ErrRefused = errors.New("refused for safety")
)

// InvalidError says what is wrong with a request, in words for a person.
type InvalidError struct{ Reason string }

// Error implements error.
func (e *InvalidError) Error() string { return e.Reason }

func invalid(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }

// errStaleIndex says that the changes of an endpoint could not be taken in: nothing is done on the strength of what is out of date.
var errStaleIndex = errors.New("library sync incomplete, so nothing is sent, fetched or deleted; `vdfs sync` tries again")

// ErrUnreachable is wrapped by every failure that means: the endpoint does not answer now.
var ErrUnreachable = errors.New("endpoint is not reachable")

// unreachable carries the errno that programs see, and why.
type unreachable struct{ cause error }

func (u *unreachable) Error() string   { return fmt.Sprintf("%v: %v", ErrUnreachable, u.cause) }
func (u *unreachable) Unwrap() []error { return []error{ErrUnreachable, u.cause} }

// Errno tells one that is away from one that was waited for.
func (u *unreachable) Errno() syscall.Errno {
	if errors.Is(u.cause, remote.ErrSilent) {
		return syscall.ETIMEDOUT
	}
	return syscall.ENETUNREACH
}
