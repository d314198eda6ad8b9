package remote

import (
	"errors"
	"fmt"
	"time"
)

// The errors of endpoints. Each failure wraps one of them.
var (
	ErrNotFound      = errors.New("not found")
	ErrExists        = errors.New("name is taken")
	ErrPrecondition  = errors.New("changed since it was read") // nothing was written
	ErrChanged       = errors.New("content changed while reading")
	ErrNotEmpty      = errors.New("directory is not empty")
	ErrKind          = errors.New("is of another kind")
	ErrName          = errors.New("name is not allowed there")
	ErrTooLarge      = errors.New("too large for the endpoint")
	ErrQuota         = errors.New("no space left on the endpoint")
	ErrAuth          = errors.New("not signed in")
	ErrDenied        = errors.New("not permitted")
	ErrReadOnly      = errors.New("endpoint is read-only")
	ErrLocked        = errors.New("in use by someone else")
	ErrCursorExpired = errors.New("change feed restarts")
	ErrUnavailable   = errors.New("endpoint is not reachable")
	ErrRootGone      = errors.New("root is missing or is another one") // never read as "all deleted"
	ErrCorrupt       = errors.New("stored bytes differ")
	ErrUnsupported   = errors.New("endpoint cannot do this")
	ErrUnknown       = errors.New("outcome unknown") // the reply was lost: look before the next try
	// ErrDetached comes with ErrUnavailable when one directory is not part of
	// the storage (another file system is mounted there): what is below it is
	// unknown, not gone, while the rest of the endpoint is well.
	ErrDetached = errors.New("directory is on another device")
)

// ErrSilent is an ErrUnavailable of an endpoint that was given all the time it may take.
var ErrSilent = fmt.Errorf("no answer: %w", ErrUnavailable)

// Throttled says that the endpoint wants to be left alone for a while: all
// calls to it should pause, not only the one that got it.
type Throttled struct{ After time.Duration }

// Error implements error.
func (t *Throttled) Error() string { return fmt.Sprintf("asked to wait %s", t.After) }

// Temporary reports whether the same call may succeed later with nothing
// changed. After ErrUnknown the caller looks first.
func Temporary(err error) bool {
	var t *Throttled
	return errors.As(err, &t) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLocked) || errors.Is(err, ErrUnknown)
}
