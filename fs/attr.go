package fs

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

const (
	// blockSize is the unit of st_blocks.
	blockSize = 512
	// ioSize is what programs are told to read and write at a time. Every request costs tens of microseconds, so stdio's
	// usual 4 KiB would be several times slower.
	ioSize = 128 << 10
)

// kindBits are the file type bits of st_mode.
var kindBits = [...]uint32{
	cache.File: unix.S_IFREG, cache.Dir: unix.S_IFDIR, cache.Symlink: unix.S_IFLNK, cache.Fifo: unix.S_IFIFO,
	cache.Socket: unix.S_IFSOCK, cache.CharDevice: unix.S_IFCHR, cache.BlockDevice: unix.S_IFBLK,
}

// kindOf is the kind with these type bits; false: there is none.
func kindOf(mode uint32) (cache.Kind, bool) {
	for k, bits := range kindBits {
		if k != 0 && bits == mode&unix.S_IFMT {
			return cache.Kind(k), true
		}
	}
	return 0, mode&unix.S_IFMT == 0
}

// split cuts nanoseconds since 1970 into what stat has.
func split(ns int64) (sec uint64, nsec uint32) {
	s, n := ns/1e9, ns%1e9
	if n < 0 {
		s, n = s-1, n+1e9
	}
	return uint64(s), uint32(n)
}

// nanos is the inverse of split; a time that does not fit becomes the nearest that does.
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s > math.MaxInt64/int64(time.Second)-1:
		return math.MaxInt64
	case s < math.MinInt64/int64(time.Second)+1:
		return math.MinInt64
	}
	return t.UnixNano()
}

func fillAttr(out *fuse.Attr, n *cache.Node) {
	out.Ino = uint64(n.Ino)
	out.Size = uint64(n.Size)
	// By the size, as if every byte were here: a file with fewer blocks than its size needs is sparse for tar and cp, and
	// they would take the bytes that are elsewhere for zeros.
	out.Blocks = (out.Size + blockSize - 1) / blockSize
	out.Atime, out.Atimensec = split(n.Atime)
	out.Mtime, out.Mtimensec = split(n.Mtime)
	out.Ctime, out.Ctimensec = split(n.Ctime)
	out.Mode = kindBits[n.Kind] | n.Mode&0o7777
	out.Nlink = n.Nlink
	out.Owner = fuse.Owner{Uid: n.UID, Gid: n.GID}
	out.Rdev = n.Rdev
	out.Blksize = ioSize
}

// GetAttr answers stat. A directory that was removed while it is open still answers, with no links.
func (d *drive) GetAttr(_ <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ino := cache.Ino(input.NodeId)
	d.cache.NoteReads(ino)
	n, err := d.cache.Attr(ino)
	if errors.Is(err, cache.ErrNotFound) {
		var ok bool
		if n, ok = d.open.removed(ino); ok {
			err = nil
		}
	}
	if err != nil {
		return d.failNode("getattr", input.NodeId, err)
	}
	d.looks(&n, input.Pid)
	out.SetTimeout(d.attrValidity(&n, validity))
	fillAttr(&out.Attr, &n)
	return fuse.OK
}

// SetAttr changes attributes; a new size may need bytes of the file first.
func (d *drive) SetAttr(cancel <-chan struct{}, input *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ino := cache.Ino(input.NodeId)
	attrs := attrsOf(input)
	resized := attrs.Size != nil
	ctx := waiting(cancel, &input.InHeader)
	if fh, ok := input.GetFh(); ok && resized {
		if f := d.files.get(fh); f != nil && f.write {
			size := *attrs.Size
			f.stop()
			if err := d.resized(ctx, ino, size, func() error { return f.Truncate(size) }); err != nil {
				return d.fail("truncate", input.NodeId, err)
			}
			attrs.Size = nil
		}
	}
	var n cache.Node
	set := func() (err error) {
		n, err = d.cache.SetAttr(ino, attrs)
		return err
	}
	var err error
	if attrs.Size != nil {
		err = d.resized(ctx, ino, *attrs.Size, set)
	} else {
		err = d.roomFor(cancel, &input.InHeader, set)
	}
	if err != nil {
		return d.failNode("setattr", input.NodeId, err)
	}
	if resized {
		d.pages.follow(ino, n.Version) // the kernel cuts its pages too
	}
	if attrs.Mode != nil && *attrs.Mode&setid != 0 {
		d.setidGen.bump()
	}
	out.SetTimeout(d.attrValidity(&n, validity))
	fillAttr(&out.Attr, &n)
	return fuse.OK
}

// completed runs an operation that may need the whole file, or room for so many bytes, and again when it does.
func (d *drive) completed(ctx context.Context, ino cache.Ino, need int64, op func() error) error {
	return d.provided(ctx, ino, need, op, func() error { return d.hydrator.Complete(ctx, waiter(ctx), ino) })
}

// resized is completed for an operation that sets the size: to cut a file takes only the bytes that stay.
func (d *drive) resized(ctx context.Context, ino cache.Ino, size int64, op func() error) error {
	return d.provided(ctx, ino, 0, op, func() error {
		n, err := d.cache.Attr(ino)
		switch {
		case err != nil:
			return err
		case size < n.Size:
			return d.hydrator.Head(ctx, waiter(ctx), ino, size)
		}
		return d.hydrator.Complete(ctx, waiter(ctx), ino)
	})
}

// provided runs an operation that may need bytes that are not here, or room, and again when the bytes were brought, or as
// long as room is made.
func (d *drive) provided(ctx context.Context, ino cache.Ino, need int64, op, bring func() error) error {
	err := op()
	if !errors.Is(err, cache.ErrNotLocal) && !errors.Is(err, cache.ErrNoSpace) {
		return err
	}
	held, err := d.cache.OpenFile(ino, false) // so that nothing of what comes goes before it was needed
	if err != nil {
		return err
	}
	err = d.room.MakeRoom(ctx, need, func() error {
		err := op()
		if !errors.Is(err, cache.ErrNotLocal) {
			return err
		}
		if err := bring(); err != nil {
			return err
		}
		return op()
	})
	return errors.Join(err, held.Close())
}

func attrsOf(input *fuse.SetAttrIn) (a cache.Attrs) {
	if mode, ok := input.GetMode(); ok {
		a.Mode = &mode
	}
	if uid, ok := input.GetUID(); ok {
		a.UID = &uid
	}
	if gid, ok := input.GetGID(); ok {
		a.GID = &gid
	}
	if size, ok := input.GetSize(); ok {
		s := int64(size)
		a.Size = &s
	}
	a.AtimeNow, a.MtimeNow = input.Valid&fuse.FATTR_ATIME_NOW != 0, input.Valid&fuse.FATTR_MTIME_NOW != 0
	if t, ok := input.GetATime(); ok && !a.AtimeNow {
		ns := nanos(t)
		a.Atime = &ns
	}
	if t, ok := input.GetMTime(); ok && !a.MtimeNow {
		ns := nanos(t)
		a.Mtime = &ns
	}
	a.NoSetid = a.Mode == nil && losesSetid(input)
	return a
}

// losesSetid tells whether a change takes the set-id bits off, which the kernel leaves to us since we asked for
// HANDLE_KILLPRIV_V2: chown always does, also one of nothing, which arrives as a request without a field; truncation when
// the kernel says so.
func losesSetid(input *fuse.SetAttrIn) bool {
	const chown, notFields = fuse.FATTR_UID | fuse.FATTR_GID, fuse.FATTR_FH | fuse.FATTR_LOCKOWNER
	return input.Valid&(chown|fuse.FATTR_KILL_SUIDGID) != 0 || input.Valid&^notFields == 0
}

// setid are the bits that cache.WithoutSetid is about.
const setid = unix.S_ISUID | unix.S_ISGID

// setidGeneration counts how often a mode with those bits was set, so that handles need not look at the mode before
// every write.
type setidGeneration struct{ n atomic.Uint64 }

func (g *setidGeneration) bump() { g.n.Add(1) }

// killSetid takes the bits off the file of a handle before an unprivileged write.
func (d *drive) killSetid(f *file) error {
	gen := d.setidGen.n.Load() + 1
	if f.plain.Load() == gen {
		return nil
	}
	n, err := d.cache.Attr(f.Ino())
	if err != nil {
		return err
	}
	if cache.WithoutSetid(n.Mode) != n.Mode {
		if _, err := d.cache.SetAttr(f.Ino(), cache.Attrs{NoSetid: true}); err != nil {
			return err
		}
	}
	f.plain.Store(gen)
	return nil
}

// StatFs is of the disk below, where writes go first. It never waits for an endpoint.
func (d *drive) StatFs(_ <-chan struct{}, header *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s, err := d.cache.StatFS()
	if err != nil {
		return d.fail("statfs", header.NodeId, err)
	}
	block := max(s.BlockSize, 1)
	*out = fuse.StatfsOut{
		Blocks: uint64(s.DiskTotal / block), Bfree: uint64(s.DiskFree / block), Bavail: uint64(s.DiskAvailable / block),
		Files: uint64(s.Nodes + s.FilesFree), Ffree: uint64(s.FilesFree),
		Bsize: uint32(block), Frsize: uint32(block), NameLen: cache.MaxName,
	}
	return fuse.OK
}
