package dir

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// sentinels says what an errno means to the caller of an endpoint. Whatever is
// not here is trouble of this machine and may pass: ErrUnavailable.
var sentinels = map[unix.Errno]error{
	unix.ENOENT:       remote.ErrNotFound,
	unix.EEXIST:       remote.ErrExists,
	unix.ENOTEMPTY:    remote.ErrNotEmpty,
	unix.ENOTDIR:      remote.ErrKind,
	unix.EISDIR:       remote.ErrKind,
	unix.ELOOP:        remote.ErrKind,
	unix.ENXIO:        remote.ErrKind,
	unix.ENAMETOOLONG: remote.ErrName,
	unix.EILSEQ:       remote.ErrName,
	unix.EINVAL:       remote.ErrUnsupported,
	unix.EOPNOTSUPP:   remote.ErrUnsupported,
	unix.ENOSYS:       remote.ErrUnsupported,
	unix.EMLINK:       remote.ErrUnsupported,
	unix.EFBIG:        remote.ErrTooLarge,
	unix.ENOSPC:       remote.ErrQuota,
	unix.EDQUOT:       remote.ErrQuota,
	unix.EACCES:       remote.ErrDenied,
	unix.EPERM:        remote.ErrDenied,
	unix.EROFS:        remote.ErrReadOnly,
	unix.EBUSY:        remote.ErrLocked,
	unix.ETXTBSY:      remote.ErrLocked,
	unix.EAGAIN:       remote.ErrLocked,
}

// errDetached is what a directory on another device gives.
var errDetached = fmt.Errorf("%w: %w", remote.ErrDetached, remote.ErrUnavailable)

// fail puts the meaning of an errno in front of it.
func fail(verb string, err error) error {
	var no unix.Errno
	if !errors.As(err, &no) || errors.Is(err, remote.ErrUnknown) {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if no == unix.EXDEV {
		return fmt.Errorf("%s: %w", verb, errDetached)
	}
	s, ok := sentinels[no]
	if !ok {
		s = remote.ErrUnavailable
	}
	return fmt.Errorf("%s: %w: %w", verb, s, err)
}

// lookupFail is fail for finding an item: a file or a link on the way means
// that there is no such item.
func lookupFail(verb string, err error) error {
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG) {
		return fmt.Errorf("%s: %w: %w", verb, remote.ErrNotFound, err)
	}
	return fail(verb, err)
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
