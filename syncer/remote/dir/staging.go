package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// The staging directory has two parts.
const (
	tempDir  = "tmp"   // named temporary files, where there is no O_TMPFILE, and records of lifted modes
	trashDir = "trash" // see trash.go
)

// stage decides where the staging directory is, and makes it.
func (d *Endpoint) stage(r dirFD) error {
	d.local = d.opts.Staging == ""
	if !d.local {
		if err := d.makeStaging(r); err != nil {
			return err
		}
		reach, err := sameMount(r.fd, d.opts.Staging)
		if err != nil {
			return fail("stat staging directory", err)
		}
		d.local = !reach
	}
	return d.makeStaging(r)
}

// makeStaging makes the staging directory where it is missing.
func (d *Endpoint) makeStaging(r dirFD) error {
	if !d.local {
		for _, part := range []string{tempDir, trashDir} {
			if err := os.MkdirAll(filepath.Join(d.opts.Staging, part), 0o700); err != nil {
				return fail("make staging directory", err)
			}
		}
		return nil
	}
	for _, path := range []string{ownDir, ownDir + "/" + tempDir, ownDir + "/" + trashDir} {
		if err := unix.Mkdirat(r.fd, path, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return fail("make staging directory", err)
		}
	}
	return nil
}

// sameMount reports whether files can be renamed between the directories: the
// same device is not enough, two mounts of it are apart.
func sameMount(fd int, path string) (bool, error) {
	var a, b unix.Statx_t
	const mask = unix.STATX_BASIC_STATS | unix.STATX_MNT_ID
	if err := retry(func() error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, mask, &a) }); err != nil {
		return false, err
	}
	if err := retry(func() error { return unix.Statx(unix.AT_FDCWD, path, 0, mask, &b) }); err != nil {
		return false, err
	}
	return a.Mnt_id == b.Mnt_id && a.Dev_major == b.Dev_major && a.Dev_minor == b.Dev_minor, nil
}

// openStaging opens a part of the staging directory, which is made again when
// someone removed it.
func (d *Endpoint) openStaging(r dirFD, part string) (dirFD, error) {
	s, err := d.tryStaging(r, part)
	if errors.Is(err, unix.ENOENT) {
		if err := d.makeStaging(r); err != nil {
			return dirFD{}, err
		}
		s, err = d.tryStaging(r, part)
	}
	return s, err
}

func (d *Endpoint) tryStaging(r dirFD, part string) (dirFD, error) {
	if d.local {
		return walk(r, ownDir+"/"+part, unix.O_RDONLY|unix.O_DIRECTORY)
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(filepath.Join(d.opts.Staging, part), flags, 0)
	return dirFD{fd: fd, dev: r.dev, own: true}, err
}

// sweep removes temporary files that no living session holds.
func sweep(at int) error {
	names, err := readNames(context.Background(), at)
	if err != nil {
		return err
	}
	for _, name := range names {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // removed meanwhile, or none of ours
		}
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = unix.Unlinkat(at, name, 0)
		}
		_ = unix.Close(fd)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// renameFree renames onto a free name, by the best means there is. Without
// RENAME_NOREPLACE files are linked, which refuses a taken name as well, and
// only directories are checked and then renamed.
func (d *Endpoint) renameFree(from int, old string, to int, name string) error {
	if d.can.noreplace {
		return retry(func() error { return unix.Renameat2(from, old, to, name, unix.RENAME_NOREPLACE) })
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, old, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if d.can.hardlink && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := unix.Linkat(from, old, to, name, 0); err != nil {
			return err
		}
		return unix.Unlinkat(from, old, 0)
	}
	if err := unix.Fstatat(to, name, &st, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(err, unix.ENOENT) {
		if err == nil {
			err = unix.EEXIST
		}
		return err
	}
	return retry(func() error { return unix.Renameat(from, old, to, name) })
}

// exclusive runs a short change while no other session of ours on this root
// makes one. Programs that are not ours take no part in this: what they may do
// meanwhile is looked at afterwards.
func (d *Endpoint) exclusive(ctx context.Context, r dirFD, change func() error) error {
	d.publish.Lock()
	defer d.publish.Unlock()
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for waited := 0; ; waited++ {
		err := retry(func() error { return unix.Flock(r.fd, unix.LOCK_EX|unix.LOCK_NB) })
		if err == nil {
			defer func() { _ = unix.Flock(r.fd, unix.LOCK_UN) }()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return change() // locked, or the file system has no locks
		}
		if waited > 2000 {
			return fmt.Errorf("lock root: %w", remote.ErrLocked)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
