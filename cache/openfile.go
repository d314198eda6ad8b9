package cache

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// OpenFile is an open handle on a node's bytes. Its methods are safe for concurrent use until Close. It holds the node's
// lease: the version under a reader never changes except by writes through other handles.
type OpenFile struct {
	c    *Cache
	st   *fileState
	as   holding
	done bool
}

// OpenFile opens a file for reading, or for reading and writing. It never needs the bytes to be here. It waits while a
// Swap or Drop is under way. Errors: ErrNotFound, ErrIsDir, ErrInvalid for what is no regular file,
// ErrReadOnly.
func (c *Cache) OpenFile(ino Ino, write bool) (*OpenFile, error) { return c.OpenFileFor(ino, write, 0) }

// OpenFileFor is OpenFile for a process, whose use of the file counts if Options.Counts says so of it; 0: it counts.
func (c *Cache) OpenFileFor(ino Ino, write bool, pid uint32) (*OpenFile, error) {
	if write {
		if err := c.mayWrite(ino); err != nil {
			return nil, fmt.Errorf("open node %d: %w", ino, err)
		}
	}
	c.settleWaiting(ino)
	as := reads
	if write {
		as = writes
	}
	st, err := c.hold(ino, as)
	if err != nil {
		return nil, fmt.Errorf("open node %d: %w", ino, err)
	}
	if write {
		st.writer.Store(pid)
	}
	c.used.opened(ino, pid)
	return &OpenFile{c: c, st: st, as: as}, nil
}

// HoldBriefly holds a file for an open that is under way, as one who writes does: no other version takes its place. The caller
// lets go within a moment, so that whoever minds may wait for it.
func (c *Cache) HoldBriefly(ino Ino) (*OpenFile, error) {
	c.settleWaiting(ino)
	st, err := c.hold(ino, brief)
	if err != nil {
		return nil, fmt.Errorf("hold node %d: %w", ino, err)
	}
	return &OpenFile{c: c, st: st, as: brief}, nil
}

// Node reads the node with live size and mtime.
func (o *OpenFile) Node() (Node, error) { return o.c.Attr(o.st.ino) }

// Ino is the node's number.
func (o *OpenFile) Ino() Ino { return o.st.ino }

// Version is the present version of the content; it grows with the first write after each settle.
func (o *OpenFile) Version() uint64 {
	o.st.op.RLock()
	defer o.st.op.RUnlock()
	return o.st.version
}

// Missing reports whether any of the n bytes from off would have to be hydrated before ReadAt. Bytes behind the end of
// the file are never missing.
func (o *OpenFile) Missing(off, n int64) bool {
	o.st.op.RLock()
	defer o.st.op.RUnlock()
	return !o.st.has(off, n)
}

// has tells whether the n bytes from off are here, as far as the file goes. op is held.
func (st *fileState) has(off, n int64) bool {
	b := st.cur.Load()
	if b != nil && b.full {
		return true
	}
	n = min(n, st.size-off)
	return n <= 0 || b != nil && b.present.Contains(off, n)
}

// ReadAt reads like io.ReaderAt: io.EOF at the end of the file, ErrNotLocal if a byte in between is missing.
func (o *OpenFile) ReadAt(p []byte, off int64) (int, error) {
	st := o.st
	st.op.RLock()
	defer st.op.RUnlock()
	return st.readAt(p, off)
}

// readAt is ReadAt with op held.
func (st *fileState) readAt(p []byte, off int64) (int, error) {
	b := st.cur.Load()
	if b != nil && b.full {
		return b.file.ReadAt(p, off)
	}
	if off >= st.size || off < 0 {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), st.size-off)]
	if !st.has(off, int64(len(want))) {
		return 0, fmt.Errorf("read node %d at %d: %w", st.ino, off, ErrNotLocal)
	}
	n, err := b.file.ReadAt(want, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Fd is the backing file for splicing and passthrough, or nil while bytes are missing. It belongs to the handle: it may be
// used until Close, must not be closed, and be written only by WriteThrough.
func (o *OpenFile) Fd() *os.File {
	o.st.op.RLock()
	defer o.st.op.RUnlock()
	if b := o.st.cur.Load(); b != nil && b.full {
		return b.file
	}
	return nil
}

// WriteAt writes all of p at off. The first write since the last settle makes the new version known to the index before
// it changes a byte. ErrNotLocal: bytes are missing, complete the file first.
func (o *OpenFile) WriteAt(p []byte, off int64) (int, error) {
	return o.change(func(b *backing) (int, error) { return b.file.WriteAt(p, off) })
}

// WriteAppend writes all of p at what is the end of the file in that moment.
func (o *OpenFile) WriteAppend(p []byte) (int, error) {
	return o.change(func(b *backing) (int, error) {
		o.st.app.Lock()
		defer o.st.app.Unlock()
		info, err := b.stat()
		if err != nil {
			return 0, err
		}
		return b.file.WriteAt(p, info.size)
	})
}

// Allocate is fallocate(2) with its mode bits.
func (o *OpenFile) Allocate(mode uint32, off, n int64) error {
	_, err := o.change(func(b *backing) (int, error) {
		return 0, ignoringEINTR(func() error { return unix.Fallocate(int(b.file.Fd()), mode, off, n) })
	})
	return err
}

// WriteThrough has f write to the backing file by itself, as one change.
func (o *OpenFile) WriteThrough(f func(*os.File) (int, error)) (int, error) {
	return o.change(func(b *backing) (int, error) { return f(b.file) })
}

// MarkWrite makes the index ready for writes.
func (o *OpenFile) MarkWrite() error {
	_, err := o.change(func(*backing) (int, error) { return 0, nil })
	return err
}

// change runs f, which changes bytes of a full and marked backing file, next to other changes and reads.
func (o *OpenFile) change(f func(*backing) (int, error)) (int, error) {
	st := o.st
	if o.as == reads {
		return 0, fmt.Errorf("write node %d: handle is for reading: %w", st.ino, ErrInvalid)
	}
	st.op.RLock()
	for !st.marked {
		st.op.RUnlock()
		st.op.Lock()
		err := o.c.mark(st, false)
		st.op.Unlock()
		if err != nil {
			return 0, fmt.Errorf("write node %d: %w", st.ino, err)
		}
		st.op.RLock()
	}
	defer st.op.RUnlock()
	st.changes.Add(1)
	n, err := f(st.cur.Load())
	if n == 0 && o.c.madeRoom(diskError(err)) {
		n, err = f(st.cur.Load())
	}
	if err != nil {
		return n, fmt.Errorf("write node %d: %w", st.ino, diskError(err))
	}
	return n, nil
}

// Truncate sets the size. To 0 it needs no bytes: what is missing is given up for an empty content. To cut a file needs those
// that stay, to make it longer all; ErrNotLocal: some are missing. To the size it has it does nothing while bytes are missing.
func (o *OpenFile) Truncate(size int64) error {
	st := o.st
	switch {
	case o.as == reads || size < 0:
		return fmt.Errorf("truncate node %d: %w", st.ino, ErrInvalid)
	case o.unchanged(size):
		return nil
	}
	var err error
	if size == 0 {
		st.op.Lock()
		err = o.c.mark(st, true)
		st.op.Unlock()
	} else {
		err = o.c.cutPart(st, size)
	}
	if err != nil {
		return fmt.Errorf("truncate node %d: %w", st.ino, err)
	}
	_, err = o.change(func(b *backing) (int, error) {
		return 0, o.c.cut(st, b, size)
	})
	return err
}

func (o *OpenFile) unchanged(size int64) bool {
	o.st.op.RLock()
	defer o.st.op.RUnlock()
	b := o.st.cur.Load()
	return (b == nil || !b.full) && size == o.st.size && size != 0
}

// Seek answers SEEK_DATA and SEEK_HOLE (unix.ENXIO behind the end). What is missing counts as data.
func (o *OpenFile) Seek(off int64, whence int) (int64, error) {
	st := o.st
	st.op.RLock()
	defer st.op.RUnlock()
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, fmt.Errorf("seek node %d: %w", st.ino, ErrInvalid)
	}
	if b := st.cur.Load(); b != nil && b.full {
		at, err := unix.Seek(int(b.file.Fd()), off, whence)
		if err != nil {
			return 0, fmt.Errorf("seek node %d: %w", st.ino, err)
		}
		return at, nil
	}
	switch {
	case off < 0 || off >= st.size:
		return 0, fmt.Errorf("seek node %d: %w", st.ino, unix.ENXIO)
	case whence == unix.SEEK_DATA:
		return off, nil
	}
	return st.size, nil
}

// Sync makes what was written durable: the bytes, the name of a new backing file, size and mtime in the index, the index.
// The node stays marked as being written.
func (o *OpenFile) Sync() error {
	if err := o.c.syncState(o.st); err != nil {
		return fmt.Errorf("sync node %d: %w", o.st.ino, err)
	}
	return nil
}

// Close gives the handle back. The last handle that could write settles the node: size and mtime go into the index, and
// the file may be sent once it has rested. An error means that this failed; the next Open of the cache mends it.
func (o *OpenFile) Close() error {
	if err := o.end(); err != nil {
		return err
	}
	var err error
	if o.as != reads && o.c.files.closeWriter(o.st, o.as) {
		err = o.c.leftHeld(o.c.settleLast(o.st))
	}
	if err := errors.Join(err, o.c.letGo(o.st)); err != nil {
		return fmt.Errorf("close node %d: %w", o.st.ino, err)
	}
	return nil
}

// end lets a handle be closed once.
func (o *OpenFile) end() error {
	if o.done {
		return fmt.Errorf("close node %d twice: %w", o.st.ino, ErrInvalid)
	}
	o.done = true
	return nil
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
