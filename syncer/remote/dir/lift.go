package dir

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// A mode that forbids its owner something stops root nowhere, and the owner only until he changes it: so cp -a and rsync
// write into directories of mode 0555, as Go's module cache is full of. An endpoint does the same for the length of a
// system call or two, within one step of one call.

// held is an open item of the tree.
type held struct {
	fd   int
	path string
	dest string // where it is moved to meanwhile; "": nowhere
}

// The bits that a change or a read needs.
const (
	mayRead   = unix.S_IRUSR
	mayChange = unix.S_IWUSR | unix.S_IXUSR // make, move and remove names
)

// liftName is what a lifted mode is recorded under: the mode, the lifted one, the inode, and a number. The record is a
// symlink to the item, as a kill and a power cut leave it whole or not at all.
const liftName = "mode-%o-%o-%d-%d"

// lifted runs a change in items whose owner we are and whose modes forbid it. They get the bits that it needs, and their
// modes back before anything else is done. What is lifted is recorded first, for the next Open to put back what a kill left:
// else it would pass for a change of mode that somebody made. Where it cannot be lifted, the change itself says why it
// fails.
func (d *Endpoint) lifted(r dirFD, bits uint32, change func() error, items ...held) (err error) {
	d.modes.Lock()
	items = slices.DeleteFunc(items, func(it held) bool { return !d.forbids(it.fd, bits) })
	if len(items) == 0 {
		d.modes.Unlock() // what was looked at was lifted by nobody: it stays as it is
		return change()
	}
	defer d.modes.Unlock()
	tmp, err := d.openStaging(r, tempDir)
	if err != nil {
		return err
	}
	defer tmp.close()
	// As with temporary files: nobody who opens the endpoint takes the records for left over.
	_ = retry(func() error { return unix.Flock(tmp.fd, unix.LOCK_SH) })
	for _, it := range items {
		back, err := lift(tmp.fd, it, bits)
		if err != nil {
			return err
		}
		defer func() {
			if berr := back(); berr != nil {
				err = errors.Join(err, fmt.Errorf("put mode back: %w: %w", remote.ErrUnknown, berr))
			}
		}()
	}
	return change()
}

// forbids reports whether it is the mode of an item that keeps its owner from a change. One with set-id bits stays as it
// is: to put those back takes more rights than to lose them.
func (d *Endpoint) forbids(fd int, bits uint32) bool {
	if !d.can.write || d.caps.Perm != remote.PermFull || !d.caps.Symlinks {
		return false
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return false // the change meets the same
	}
	if st.Mode&bits == bits || st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		return false
	}
	return unix.Faccessat(unix.AT_FDCWD, procPath(fd), bits>>6, unix.AT_EACCESS) != nil
}

// lift adds bits to the mode of an item, recorded in the directory at, and returns how to undo that.
func lift(at int, it held, bits uint32) (back func() error, err error) {
	nothing := func() error { return nil }
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(it.fd, &st) }); err != nil {
		return nothing, err
	}
	was := st.Mode & 0o7777
	if was&bits == bits {
		return nothing, nil // the same item twice
	}
	var records []string
	drop := func() (err error) {
		for _, name := range records {
			if uerr := unix.Unlinkat(at, name, 0); !errors.Is(uerr, unix.ENOENT) {
				err = errors.Join(err, uerr)
			}
		}
		return err
	}
	for i, path := range []string{it.path, it.dest} {
		if i > 0 && path == "" {
			continue
		}
		name := fmt.Sprintf(liftName, was, was|bits, st.Ino, i)
		err := unix.Symlinkat("./"+path, at, name)
		if errors.Is(err, unix.EEXIST) { // one that could not be followed, maybe as the item has moved
			if err = unix.Unlinkat(at, name, 0); err == nil {
				err = unix.Symlinkat("./"+path, at, name)
			}
		}
		if errors.Is(err, unix.ENAMETOOLONG) {
			return nothing, drop() // what cannot be recorded is not lifted
		}
		if err != nil {
			return nothing, errors.Join(err, drop())
		}
		records = append(records, name)
	}
	if err := unix.Chmod(procPath(it.fd), was|bits); err != nil {
		if errors.Is(err, unix.EPERM) {
			err = nil // it belongs to somebody else
		}
		return nothing, errors.Join(err, drop())
	}
	return func() error {
		if err := unix.Chmod(procPath(it.fd), was); err != nil {
			return err
		}
		return drop()
	}, nil
}

// lowerAll puts back the modes that a kill left lifted. at is where they are recorded.
func (d *Endpoint) lowerAll(r dirFD, at int) error {
	names, err := readNames(context.Background(), at)
	if err != nil {
		return err
	}
	for _, name := range names {
		var was, lifted uint32
		var ino uint64
		var n int
		if _, err := fmt.Sscanf(name, liftName, &was, &lifted, &ino, &n); err != nil {
			continue
		}
		path, err := readLink(at, name)
		if err == nil {
			err = lower(r, path, ino, lifted, was)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
			d.log.Warn("mode not put back", "path", path, "error", err) // the record stays for the next time
			continue
		}
		if err := unix.Unlinkat(at, name, 0); err != nil {
			return err
		}
	}
	return nil
}

// lower puts back the mode of an item, if it is still the one that was lifted and nobody gave it another since.
func lower(r dirFD, path string, ino uint64, lifted, was uint32) error {
	it, err := walk(r, path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer it.close()
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(it.fd, &st) }); err != nil {
		return err
	}
	if st.Ino != ino || st.Mode&0o7777 != lifted {
		return nil
	}
	return unix.Chmod(procPath(it.fd), was)
}
