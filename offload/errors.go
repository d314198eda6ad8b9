package offload

import (
	"errors"
	"fmt"
	"syscall"

	"vdfs/cache"
)

// The sentinels of this package. They arrive wrapped; test with errors.Is. Each carries the errno that a program is to
// see, found with errors.As of interface{ Errno() syscall.Errno }.
var (
	// ErrUnreachable: no endpoint that has the bytes answers now.
	ErrUnreachable error = &failure{"no endpoint with these bytes is reachable", syscall.ENETUNREACH}
	// ErrStalled: no byte arrived for the timeout.
	ErrStalled error = &failure{"no progress", syscall.ETIMEDOUT}
	// ErrMismatch: what the endpoint gives is not what it must be, twice.
	ErrMismatch error = &failure{"bytes failed verification", syscall.EIO}
	// ErrHeadOnly: nobody fetches more than the head of a file for this program.
	ErrHeadOnly error = &failure{"this program gets only the first 64 KiB of a file that is not here", syscall.EPERM}
	// ErrFetch: the endpoint failed in another way.
	ErrFetch error = &failure{"fetch failed", syscall.EIO}
	// ErrOvertaken: the file got another content meanwhile; look again.
	ErrOvertaken error = &failure{"file changed while it was fetched", syscall.EIO}
)

// failure is a sentinel with its errno.
type failure struct {
	text  string
	errno syscall.Errno
}

func (f *failure) Error() string        { return f.text }
func (f *failure) Errno() syscall.Errno { return f.errno }

// withErrno makes sure that an error of a source says what errno it is. What the cache says of this machine is told as it is:
// whoever asked knows the cache's errors.
func withErrno(err error) error {
	var known interface{ Errno() syscall.Errno }
	if err == nil || errors.As(err, &known) || errors.Is(err, cache.ErrNoSpace) || errors.Is(err, cache.ErrNotFound) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFetch, err)
}

// SpaceError refuses a pin or fetch for which the disk has no room.
type SpaceError struct {
	Need, Free int64 // bytes
}

// Error has the numbers.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("%d bytes are to be fetched, %d bytes are free on the local disk", e.Need, e.Free)
}

// Errno is what a program sees that pins by extended attribute.
func (e *SpaceError) Errno() syscall.Errno { return syscall.ENOSPC }
