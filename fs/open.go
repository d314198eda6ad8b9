package fs

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// file is an open file.
type file struct {
	*cache.OpenFile
	write bool
	// partial: bytes were missing when it was opened.
	partial bool

	over  atomic.Bool   // it is closed, and what it wrote settled
	told  atomic.Bool   // nothing to note of its pages: the kernel is known to have acted on the answer to the open
	read  atomic.Bool   // its access time was touched
	plain atomic.Uint64 // setid generation+1 in which the file was seen without those bits

	way *way // how the kernel reaches its bytes

	complete *time.Timer // starts the completion of a file that is held open for writing; nil: needs none
}

// stop calls a completion off that has not begun.
func (f *file) stop() {
	if f.complete != nil {
		f.complete.Stop()
	}
}

// openExec is the flag by which the kernel opens what it is to execute. It will be mapped, and be needed piece by piece.
const openExec = 0x20

// Open waits for no bytes, and but for a program that is started fetches none. Reading needs an endpoint that could give the
// missing ones, and fails at once if there is none; writing does not, because what is opened for writing is often only
// touched.
func (d *drive) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	status := d.openNode(cancel, input, out)
	if status == fuse.Status(syscall.ESTALE) {
		d.retries.begin(input.Pid)
	} else {
		d.retries.end(input.Pid)
	}
	return status
}

func (d *drive) openNode(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ino := cache.Ino(input.NodeId)
	mode := input.Flags & unix.O_ACCMODE
	write, truncate := mode != unix.O_RDONLY, input.Flags&unix.O_TRUNC != 0
	killSetid := input.Mode&fuse.OPEN_KILL_SUIDGID != 0
	if truncate && !write {
		zero := int64(0)
		var n cache.Node
		err := d.roomFor(cancel, &input.InHeader, func() (err error) {
			n, err = d.cache.SetAttr(ino, cache.Attrs{Size: &zero, NoSetid: killSetid})
			return err
		})
		if err != nil {
			return d.failNode("open", input.NodeId, err)
		}
		d.pages.follow(ino, n.Version)
	}
	of, err := d.cache.OpenFileFor(ino, write, input.Pid)
	if err != nil {
		return d.failNode("open", input.NodeId, err)
	}
	fresh := d.freshness(of, input.Pid)
	if fresh == again {
		return d.fail("open", input.NodeId, errors.Join(syscall.ESTALE, of.Close()))
	}
	f := &file{OpenFile: of, write: write}
	held := of.Held()
	if err := d.prepare(cancel, f, input); err != nil {
		return d.fail("open", input.NodeId, errors.Join(f.replaced(err), of.Close()))
	}
	f.way = d.ways.enter(ino)
	by, err := d.decide(f, opening{flags: input.Flags, emptied: truncate && write, held: held})
	if err != nil {
		return d.fail("open", input.NodeId, errors.Join(err, d.leave(f), of.Close()))
	}
	switch {
	case by == passed:
		d.handPassed(f, out)
	case by == direct || fresh == unsure:
		// Without the kernel's pages its size does not matter.
		f.partial = true
		f.told.Store(true)
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
		out.Fh = d.files.put(f)
	default:
		d.hand(f, out)
	}
	return fuse.OK
}

// replaced is the error of a file that cannot be opened: if it lost its last name since the kernel looked, as when
// another version took its place, ESTALE has the kernel look the name up once more.
func (f *file) replaced(err error) error {
	n, nerr := f.Node()
	if nerr == nil && n.Nlink == 0 {
		return fmt.Errorf("open node %d, which has no name any more: %w", f.Ino(), syscall.ESTALE)
	}
	return errors.Join(err, nerr)
}

// freshness is what is known of the size that the kernel has of a file being opened.
type freshness int

const (
	sure   freshness = iota
	again            // it may be that of an older version, and can be had anew
	unsure           // it may be that of an older version
)

// freshness tells whether the kernel may still have the size of an older version, because a change was committed after it
// asked. Reads would end there and appends begin there. On ESTALE the kernel looks the name up once more, past its caches, and
// opens what it finds there, which may be another node by then. Only the thread that asked is known to have the answer.
// Where it has no name to look up, or a signal came between, the second open is taken as it is: after a second ESTALE the
// program would get it.
func (d *drive) freshness(of *cache.OpenFile, pid uint32) freshness {
	ino, version := of.Ino(), of.Version()
	switch {
	case d.pages.get(ino) == version: // it was opened in this version before
	case !d.notifier.stale(ino):
	case d.looked.get(ino) == lookedBy(version, pid):
	case pid == 0: // of another container: it cannot be told whether it tries again
		return unsure
	case d.retries.on(pid): // perhaps of another node, which took the place of the first one
		return unsure
	default:
		return again
	}
	return sure
}

// looks notes of which version the size is that a thread is told, if the kernel may have another one.
func (d *drive) looks(n *cache.Node, pid uint32) {
	if d.notifier.stale(n.Ino) {
		d.looked.set(n.Ino, lookedBy(n.Version, pid))
	}
}

// lookedBy is a version and the thread that was told of it, as one number: the ids of threads have 22 bits.
func lookedBy(version uint64, pid uint32) uint64 { return version<<22 | uint64(pid)&(1<<22-1) }

// prepare does what open's flags ask for and sees to the bytes that are missing.
func (d *drive) prepare(cancel <-chan struct{}, f *file, input *fuse.OpenIn) error {
	switch {
	case input.Flags&unix.O_TRUNC != 0 && f.write:
		if err := d.roomFor(cancel, &input.InHeader, func() error { return f.Truncate(0) }); err != nil {
			return err
		}
		d.pages.follow(f.Ino(), f.Version())
		if input.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
			return d.killSetid(f)
		}
		return nil
	case !f.Missing(0, math.MaxInt64):
		return nil
	}
	if input.Flags&unix.O_ACCMODE != unix.O_WRONLY {
		if err := d.hydrator.Prepare(f.Ino()); err != nil {
			return err
		}
	}
	switch pid := input.Pid; {
	case f.write:
		f.complete = time.AfterFunc(completeAfter, func() { d.hydrator.Begin(pid, f.Ino()) })
	case input.Flags&openExec != 0:
		d.hydrator.Begin(pid, f.Ino())
	}
	return nil
}

// hand gives the handle to the kernel, with its pages if they are of this version. While bytes are missing, what is read
// was not verified with the whole and may be taken back, so such pages are not kept for the next open.
func (d *drive) hand(f *file, out *fuse.OpenOut) {
	if d.pages.get(f.Ino()) == f.Version() {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
		f.told.Store(true)
	}
	if f.Missing(0, math.MaxInt64) {
		f.partial = true
		f.told.Store(true)
		d.pages.drop(f.Ino())
	}
	out.Fh = d.files.put(f)
}

// tell notes that the kernel has dropped the pages of older versions: it sends nothing on a handle before it did.
func (d *drive) tell(f *file) {
	if !f.told.Load() && !f.told.Swap(true) {
		d.pages.set(f.Ino(), f.Version())
	}
}

// Create makes a file and opens it. If another side made the name since the kernel looked, it is opened instead, unless
// the program wants to be the one that makes it.
func (d *drive) Create(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if tooLong(name) {
		return statusTooLong
	}
	parent := cache.Ino(input.NodeId)
	since := d.known.taken.Load()
	var e cache.Entry
	var of *cache.OpenFile
	err := d.listed(cancel, &input.InHeader, func() (err error) {
		e, of, err = d.cache.Create(parent, name, input.Mode&0o7777, callerOf(&input.InHeader))
		return err
	}, child{parent: parent})
	if errors.Is(err, cache.ErrExists) && input.Flags&unix.O_EXCL == 0 {
		return d.openExisting(cancel, input, name, out)
	}
	if err != nil {
		return d.fail("create", input.NodeId, err)
	}
	empty := e
	empty.Node.Writing = false // nobody can have written to it before this reply
	d.made(&out.EntryOut, since, &empty)
	f := &file{OpenFile: of, write: true, way: d.ways.enter(e.Ino)}
	f.told.Store(true) // there are no older pages
	if e.Node.Mode&setid != 0 {
		d.setidGen.bump()
	}
	by, err := d.decide(f, opening{flags: input.Flags, created: true, emptied: true})
	switch {
	case err != nil:
		return d.fail("create", input.NodeId, errors.Join(err, d.leave(f), of.Close()))
	case by == passed:
		d.handPassed(f, &out.OpenOut)
		return fuse.OK
	}
	d.pages.set(e.Ino, f.Version())
	out.Fh = d.files.put(f)
	return fuse.OK
}

func (d *drive) openExisting(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if s := d.Lookup(cancel, &input.InHeader, name, &out.EntryOut); !s.Ok() {
		return s
	}
	if out.EntryOut.NodeId == 0 {
		hidden, err := d.cache.Hides(cache.Ino(input.NodeId), name)
		switch {
		case err != nil:
			return d.fail("create", input.NodeId, err)
		case hidden:
			return fuse.Status(syscall.EEXIST) // it is taken, and there is nothing to open
		}
		return fuse.Status(syscall.ESTALE) // gone again: the kernel starts over
	}
	open := &fuse.OpenIn{InHeader: input.InHeader, Flags: input.Flags, Mode: input.OpenFlags}
	open.NodeId = out.EntryOut.NodeId
	return d.Open(cancel, open, &out.OpenOut)
}

// Release closes a handle. It comes after close(2) has returned, so nobody hears of an error.
func (d *drive) Release(_ <-chan struct{}, input *fuse.ReleaseIn) {
	f := d.files.get(input.Fh)
	if f == nil {
		return
	}
	d.closing.begins(f)
	d.files.take(input.Fh)
	f.stop()
	d.cache.NoteReads(f.Ino())
	if !f.partial && (f.write || !f.told.Load()) {
		d.pages.set(f.Ino(), f.Version())
	}
	left := d.leave(f)
	f.CloseLater(releaseGrace, func(err error) {
		if err := errors.Join(left, err); err != nil {
			d.log.Warn("close file", "ino", f.Ino(), "error", err)
		}
		d.closing.ends(f)
	})
}
