package offload

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// The other directory of an Adopt. Names are opened one by one below open directories, so that no symbolic link is followed
// and nothing is opened whose opening does something, as that of a device may.

// errAbsent says that there is nothing of that name and kind.
var errAbsent = errors.New("not there")

// openDir opens a directory in a directory.
func openDir(in *os.File, name string) (*os.File, error) {
	return openAt(in, name, unix.O_DIRECTORY)
}

// openFile opens a regular file in a directory.
func openFile(in *os.File, name string) (*os.File, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(int(in.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.ENOENT
	}
	if err != nil {
		return nil, absent(name, err)
	}
	f, err := openAt(in, name, unix.O_NONBLOCK) // whatever has taken its place in this moment
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errAbsent
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func openAt(in *os.File, name string, flags int) (*os.File, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Openat(int(in.Fd()), name, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		return err
	})
	if err == nil {
		// Not even when it was read is to change. Who may not ask for that reads as everybody does.
		flags, ferr := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if ferr == nil {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_NOATIME)
		}
	}
	if err != nil {
		return nil, absent(name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// absent makes errAbsent of what the kernel says of a name that is none, or of a symbolic link.
func absent(name string, err error) error {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG} {
		if errors.Is(err, e) {
			return errAbsent
		}
	}
	return &os.PathError{Op: "open", Path: name, Err: err}
}

func sizeOf(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
