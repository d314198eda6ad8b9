package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"vdfs/cache"
)

// make runs an operation that makes a name and answers with it.
func (d *drive) make(cancel <-chan struct{}, h *fuse.InHeader, op, name string, out *fuse.EntryOut, do func() (cache.Entry, error)) fuse.Status {
	if tooLong(name) {
		return statusTooLong
	}
	since := d.known.taken.Load()
	var e cache.Entry
	err := d.listed(cancel, h, func() (err error) {
		e, err = do()
		return err
	}, child{parent: cache.Ino(h.NodeId)})
	if err != nil {
		return d.fail(op, h.NodeId, err)
	}
	d.made(out, since, &e)
	return fuse.OK
}

// Mkdir makes a directory.
func (d *drive) Mkdir(cancel <-chan struct{}, input *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return d.make(cancel, &input.InHeader, "mkdir", name, out, func() (cache.Entry, error) {
		return d.cache.Mkdir(cache.Ino(input.NodeId), name, input.Mode&0o7777, callerOf(&input.InHeader))
	})
}

// Mknod makes a file that is not opened, a fifo, a socket or a device; all but the first stay on this machine.
func (d *drive) Mknod(cancel <-chan struct{}, input *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	kind, ok := kindOf(input.Mode)
	if !ok {
		return fuse.EINVAL
	}
	if kind == 0 {
		kind = cache.File // mknod(2): no type means a regular file
	}
	return d.make(cancel, &input.InHeader, "mknod", name, out, func() (cache.Entry, error) {
		return d.cache.Mknod(cache.Ino(input.NodeId), name, kind, input.Mode&0o7777, input.Rdev, callerOf(&input.InHeader))
	})
}

// Symlink makes a symbolic link.
func (d *drive) Symlink(cancel <-chan struct{}, header *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return d.make(cancel, header, "symlink", name, out, func() (cache.Entry, error) {
		return d.cache.Symlink(cache.Ino(header.NodeId), name, target, callerOf(header))
	})
}

// Link gives a node another name.
func (d *drive) Link(cancel <-chan struct{}, input *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return d.make(cancel, &input.InHeader, "link", name, out, func() (cache.Entry, error) {
		return d.cache.Link(cache.Ino(input.Oldnodeid), cache.Ino(input.NodeId), name)
	})
}

// Readlink reads a symbolic link.
func (d *drive) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	n, err := d.cache.Attr(cache.Ino(header.NodeId))
	switch {
	case err != nil:
		return nil, d.failNode("readlink", header.NodeId, err)
	case n.Kind != cache.Symlink:
		return nil, fuse.EINVAL
	}
	return []byte(n.Target), fuse.OK
}

// Unlink takes a name away; handles on the node go on working.
func (d *drive) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return d.remove(cancel, header, "unlink", name, d.cache.Unlink)
}

// Rmdir removes an empty directory. One that was never listed is listed first.
func (d *drive) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return d.remove(cancel, header, "rmdir", name, d.cache.Rmdir)
}

func (d *drive) remove(cancel <-chan struct{}, header *fuse.InHeader, op, name string, do func(cache.Ino, string) error) fuse.Status {
	if tooLong(name) {
		return statusTooLong
	}
	parent := cache.Ino(header.NodeId)
	return d.fail(op, header.NodeId, d.listed(cancel, header, func() error { return do(parent, name) }, child{parent, name}))
}

// Rename moves a name, replacing, refusing to replace, or exchanging.
func (d *drive) Rename(cancel <-chan struct{}, input *fuse.RenameIn, oldName, newName string) fuse.Status {
	if tooLong(oldName, newName) {
		return statusTooLong
	}
	from, to := cache.Ino(input.NodeId), cache.Ino(input.Newdir)
	return d.fail("rename", input.NodeId, d.listed(cancel, &input.InHeader, func() error {
		return d.cache.Rename(from, oldName, to, newName, cache.RenameFlags(input.Flags))
	}, child{parent: from}, child{to, newName}))
}
