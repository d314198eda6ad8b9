package dir

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"vdfs/internal/fault"
	"vdfs/syncer/remote"
)

// Mkdir implements remote.Endpoint.
func (d *Endpoint) Mkdir(ctx context.Context, parent remote.ItemID, name string, a remote.Attr, _ remote.OpKey) (remote.Entry, error) {
	r, err := d.begin(ctx)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("make directory: %w", err)
	}
	defer r.close()
	p, path, err := d.place(r, parent, name)
	if err != nil {
		return remote.Entry{}, fail("make directory", err)
	}
	defer p.close()
	if a.Target != "" {
		if !d.caps.Symlinks {
			return remote.Entry{}, fmt.Errorf("make symlink: %w", remote.ErrUnsupported)
		}
		a.Mode = 0
		err = d.lifted(r, mayChange, func() error { return unix.Symlinkat(a.Target, p.fd, name) }, held{fd: p.fd, path: path})
	} else {
		mode := a.Mode & 0o777
		if a.Mode == 0 {
			mode = 0o755
		}
		// The umask only takes away; setAttr corrects it.
		err = d.lifted(r, mayChange, func() error { return unix.Mkdirat(p.fd, name, mode) }, held{fd: p.fd, path: path})
	}
	if errors.Is(err, unix.EINVAL) {
		err = remote.ErrName // a character that this file system does not take
	}
	if err != nil {
		return remote.Entry{}, fail("make directory", err)
	}
	f, err := d.factsAt(p.fd, name)
	if err == nil {
		err = fault.Point(faultMade)
	}
	if err == nil {
		f, err = d.setAttr(p.fd, name, f, patchOf(a))
	}
	if err == nil {
		err = d.settle(p.fd)
	}
	if err != nil {
		return remote.Entry{}, fail("finish directory", fmt.Errorf("%w: %w", remote.ErrUnknown, err))
	}
	return f.entry(path, name), nil
}

func patchOf(a remote.Attr) remote.Patch {
	var p remote.Patch
	if a.Mode != 0 {
		p.Mode = &a.Mode
	}
	if !a.Mtime.IsZero() {
		p.Mtime = &a.Mtime
	}
	return p
}

// setAttr changes mode and mtime of the item that f describes, and looks again.
// Another item under that name is left alone.
func (d *Endpoint) setAttr(at int, name string, f facts, p remote.Patch) (facts, error) {
	if p.Mode == nil && p.Mtime == nil {
		return f, nil
	}
	fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return f, err
	}
	defer unix.Close(fd)
	now, err := d.factsAt(fd, "")
	if err != nil {
		return f, err
	}
	if now.ino != f.ino || now.dev != f.dev || now.key != f.key {
		return f, remote.ErrPrecondition
	}
	if p.Mode != nil && d.caps.Perm != remote.PermNone {
		if err := unix.Chmod(procPath(fd), *p.Mode&0o777); err != nil {
			return f, err
		}
	}
	switch {
	case p.Mtime == nil || d.caps.MtimeGrain == 0:
	case f.kind() == remote.Symlink: // the link itself cannot be named through its descriptor
		err = unix.UtimesNanoAt(at, name, timesOf(*p.Mtime), unix.AT_SYMLINK_NOFOLLOW)
	default:
		err = setTimes(fd, *p.Mtime)
	}
	if err != nil {
		return f, err
	}
	return d.factsAt(fd, "")
}

// Update implements remote.Endpoint. A move is made and then looked at: an item
// that took the expected one's name at the last moment is moved back.
func (d *Endpoint) Update(ctx context.Context, id remote.ItemID, p remote.Patch, pre remote.Pre, _ remote.OpKey) (remote.Entry, error) {
	r, err := d.begin(ctx)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("update item: %w", err)
	}
	defer r.close()
	from, parent, leaf, err := d.writable(r, id)
	if err != nil {
		return remote.Entry{}, fail("update item", err)
	}
	defer from.close()
	to, dest, name, err := d.destination(r, from, parent, leaf, p)
	if err == nil && inside(dest, join(parent, leaf)) {
		to.close()
		err = fmt.Errorf("move into itself: %w", remote.ErrKind)
	}
	if err != nil {
		return remote.Entry{}, fail("update item", err)
	}
	defer to.close()
	moves := dest != parent || name != leaf
	var f facts
	err = d.exclusive(ctx, r, func() error {
		f, err = d.expect(from.fd, parent, leaf, pre)
		if err == nil && p.Mode != nil && f.kind() == remote.Symlink {
			err = remote.ErrKind
		}
		if err == nil && moves {
			f, err = d.moveLifted(r, f, from, parent, leaf, to, dest, name)
		}
		return err
	})
	if err == nil {
		err = fault.Point(faultAttrs)
	}
	if err == nil {
		if f, err = d.setAttr(to.fd, name, f, p); err != nil && moves {
			err = fmt.Errorf("%w: moved, but: %w", remote.ErrUnknown, err)
		}
	}
	if err == nil {
		err = d.settle(from.fd, to.fd)
	}
	if err != nil {
		return remote.Entry{}, fail("update item", err)
	}
	return f.entry(dest, name), nil
}

// destination opens the directory that a patch moves leaf to, which is in the open directory from, at parent.
func (d *Endpoint) destination(r, from dirFD, parent, leaf string, p remote.Patch) (dirFD, string, string, error) {
	name := leaf
	if p.Name != nil {
		name = *p.Name
	}
	if p.Parent == nil { // not opened by its path again: another one may be there by now
		return dirFD{fd: from.fd, dev: from.dev}, parent, name, checkName(parent, name)
	}
	fd, dest, err := d.place(r, *p.Parent, name)
	return fd, dest, name, err
}

func inside(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// moveLifted is move, also where modes stand against it. A directory has to be writable itself to come into another one.
func (d *Endpoint) moveLifted(r dirFD, f facts, from dirFD, parent, leaf string, to dirFD, dest, name string) (facts, error) {
	items := []held{{fd: from.fd, path: parent}, {fd: to.fd, path: dest}}
	if f.kind() == remote.Dir && dest != parent {
		fd, err := unix.Openat(from.fd, leaf, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return f, err
		}
		defer unix.Close(fd)
		items = append(items, held{fd: fd, path: join(parent, leaf), dest: join(dest, name)})
	}
	err := d.lifted(r, mayChange, func() (err error) {
		f, err = d.move(f, from.fd, leaf, to.fd, name)
		return err
	}, items...)
	return f, err
}

// move renames the item f to a free name, and undoes that if it moved another.
func (d *Endpoint) move(f facts, from int, leaf string, to int, name string) (facts, error) {
	err := d.renameFree(from, leaf, to, name)
	if errors.Is(err, unix.EEXIST) && d.caps.Names.Fold != remote.FoldNone {
		// Only the case changes: the name is taken by the item itself.
		if g, gerr := d.factsAt(to, name); gerr == nil && g.ino == f.ino && g.dev == f.dev && g.nlink == f.nlink {
			err = unix.Renameat(from, leaf, to, name)
		}
	}
	switch {
	case errors.Is(err, unix.EINVAL): // a character that this file system does not take
		return f, fmt.Errorf("%w: %w", remote.ErrName, err)
	case errors.Is(err, unix.EXDEV): // a directory that overlayfs cannot rename
		return f, fmt.Errorf("rename: %w", remote.ErrUnsupported)
	case err != nil:
		return f, err
	}
	moved, err := d.factsAt(to, name)
	if err == nil {
		err = fault.Point(faultMoved)
	}
	if err != nil {
		return f, fmt.Errorf("look at moved item: %w: %w", remote.ErrUnknown, err)
	}
	if !f.sameBytes(moved) {
		return f, errors.Join(remote.ErrPrecondition, d.renameFree(to, name, from, leaf))
	}
	return moved, nil
}

// Delete implements remote.Endpoint: files and symlinks go to the trash and are
// looked at there, empty directories are removed.
func (d *Endpoint) Delete(ctx context.Context, id remote.ItemID, pre remote.Pre, _ remote.OpKey) error {
	r, err := d.begin(ctx)
	if err != nil {
		return fmt.Errorf("delete item: %w", err)
	}
	defer r.close()
	p, parent, leaf, err := d.writable(r, id)
	if err != nil {
		return fail("delete item", err)
	}
	defer p.close()
	trash, err := d.inTrash(ctx, r, parent, func(trash dirFD) error {
		f, err := d.expect(p.fd, parent, leaf, pre)
		if err != nil {
			return err
		}
		remove := func() error { return unix.Unlinkat(p.fd, leaf, unix.AT_REMOVEDIR) }
		if f.kind() != remote.Dir {
			d.watch.begin(parent, leaf)
			remove = func() error { return d.discard(f, p.fd, leaf, trash.fd, pre.Force) }
		}
		return d.lifted(r, mayChange, remove, held{fd: p.fd, path: parent})
	})
	defer trash.close()
	if err == nil {
		d.watch.end(parent, leaf, facts{})
		err = fault.Point(faultRemoved)
	}
	if err == nil {
		err = d.settle(p.fd, trash.fd)
	}
	if err != nil {
		return fail("delete item", err)
	}
	return nil
}

// discard moves a file to the trash and puts it back if it is another than f.
func (d *Endpoint) discard(f facts, from int, leaf string, trash int, force bool) error {
	slot, err := d.intoTrash(from, leaf, leaf, trash, deleted)
	if err != nil {
		return err
	}
	out, err := d.factsAt(trash, slot)
	if err == nil {
		err = fault.Point(faultTrashed)
	}
	if err != nil {
		return fmt.Errorf("look at deleted file: %w: %w", remote.ErrUnknown, err)
	}
	if force || f.sameBytes(out) {
		return nil
	}
	// When the name is taken again, their version stays in the trash.
	if err := d.renameFree(trash, slot, from, leaf); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("undo delete: %w: %w", remote.ErrUnknown, err)
	}
	return remote.ErrPrecondition
}
