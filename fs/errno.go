package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"vdfs/cache"
)

// errnos says what a program gets for each sentinel of the cache. ErrNotLocal, ErrNotListed and ErrStale are dealt with where they
// arise; one that comes this far means that the remedy did not help.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{cache.ErrNotFound, syscall.ENOENT},
	{cache.ErrExists, syscall.EEXIST},
	{cache.ErrNotEmpty, syscall.ENOTEMPTY},
	{cache.ErrNotDir, syscall.ENOTDIR},
	{cache.ErrIsDir, syscall.EISDIR},
	{cache.ErrName, syscall.EINVAL},
	{cache.ErrBorder, syscall.EXDEV},
	{cache.ErrBusy, syscall.EBUSY},
	{cache.ErrReadOnly, syscall.EROFS},
	{cache.ErrNoAttr, syscall.ENODATA},
	{cache.ErrInvalid, syscall.EINVAL},
	{cache.ErrTooManyLinks, syscall.EMLINK},
	{cache.ErrLoop, syscall.EINVAL},
	{cache.ErrNoSpace, syscall.ENOSPC},
	{cache.ErrStale, syscall.ESTALE},
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
}

// Errno is what a program gets for an error of the cache or of a port. An error that names its own errno keeps it;
// what nothing is known about is an I/O error.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var own interface{ Errno() syscall.Errno }
	if errors.As(err, &own) {
		return own.Errno()
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	var plain syscall.Errno
	if errors.As(err, &plain) {
		return plain
	}
	return syscall.EIO
}

// failNode is fail for what the kernel asks of a node that it has from a lookup. If the node went by a change from
// elsewhere, another may have its name: ESTALE has the kernel look that up again, where ENOENT would tell the program that
// there is nothing of that name.
func (d *drive) failNode(op string, ino uint64, err error) fuse.Status {
	if errors.Is(err, cache.ErrNotFound) && d.notifier.elsewhere(cache.Ino(ino)) {
		return fuse.Status(syscall.ESTALE)
	}
	return d.fail(op, ino, err)
}

// fail turns an error into the reply, and leaves a trace of those that no program can make sense of.
func (d *drive) fail(op string, ino uint64, err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	errno := Errno(err)
	if errno == syscall.EIO {
		d.log.Warn("request failed", "op", op, "ino", ino, "error", err)
	}
	return fuse.Status(errno)
}
