package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"lukechampine.com/blake3"

	"vdfs/internal/fault"
)

// Draft is a private copy of a file of another file system, or of another place of this one, that may become the content of
// one version of a node: nobody reads a byte of it before Complete, and what is here of that version stays as it is until
// then. It holds the node's lease as a reader does. Its methods are for one at a time.
type Draft struct {
	c       *Cache
	st      *fileState
	b       *backing // closed by whoever has it: the state after Complete
	version uint64
	hash    Hash
	taken   bool
}

// ErrSource wraps what went wrong with the file that a Draft is made of.
var ErrSource = errors.New("file could not be copied")

// Draft copies src, from its beginning and as it is in that moment, by reflink where the disk can, for the given version of a
// node. src is neither changed nor closed. ErrStale: the node has another version by now, or all of it is here. ErrSource: src
// cannot be read, or ends before the version would. ErrNoSpace: there is no room for the copy. Or ctx's own.
func (c *Cache) Draft(ctx context.Context, ino Ino, version uint64, src *os.File) (*Draft, error) {
	st, err := c.hold(ino, reads)
	if err != nil {
		return nil, fmt.Errorf("copy for node %d: %w", ino, err)
	}
	d := &Draft{c: c, st: st, version: version}
	if err := d.start(ctx, src); err != nil {
		return nil, fmt.Errorf("copy for node %d: %w", ino, errors.Join(err, d.Close()))
	}
	return d, nil
}

func (d *Draft) start(ctx context.Context, src *os.File) (err error) {
	d.st.op.RLock()
	size := d.st.size
	err = d.current()
	d.st.op.RUnlock()
	if err != nil {
		return err
	}
	if d.b, err = d.c.newContent(); err != nil {
		return err
	}
	if size > 0 && clones(d.b.file, src) {
		d.hash, err = hashFile(d.b.file, size, ctx.Err)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.Join(ErrSource, err)
		}
		if err == nil {
			err = d.b.file.Truncate(size) // it may have grown
		}
		return err
	}
	d.hash, err = d.copyFrom(ctx, src, size)
	return err
}

// clones makes one file share the bytes of another, if the disk can.
func clones(dst, src *os.File) bool {
	return ignoringEINTR(func() error { return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) }) == nil
}

// copyFrom copies the first size bytes of src and answers the hash of what it wrote.
func (d *Draft) copyFrom(ctx context.Context, src *os.File, size int64) (sum Hash, err error) {
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	h := blake3.New(32, nil)
	for off := int64(0); off < size; {
		p := (*buf)[:min(int64(len(*buf)), size-off)]
		if n, err := src.ReadAt(p, off); n < len(p) {
			return sum, errors.Join(ErrSource, err)
		}
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		_, _ = h.Write(p) // a hash never fails
		_, err := d.b.file.WriteAt(p, off)
		if d.c.madeRoom(diskError(err)) {
			_, err = d.b.file.WriteAt(p, off)
		}
		if err != nil {
			return sum, diskError(err)
		}
		off += int64(len(p))
	}
	h.Sum(sum[:0])
	return sum, nil
}

// current fails when the copy could not take its place. op is held.
func (d *Draft) current() error {
	b := d.st.cur.Load()
	if d.st.version != d.version || d.st.marked || b != nil && b.full {
		return ErrStale
	}
	return nil
}

// Hash is the BLAKE3 of the copy.
func (d *Draft) Hash() Hash { return d.hash }

// Complete makes the copy the content of the version, which is full and has Hash from then on; who wanted it goes into the
// index. The caller has found out that the version is to have that hash. What was here of it goes. ErrStale: see Cache.Draft.
func (d *Draft) Complete(who Reader) error {
	st := d.st
	st.op.Lock()
	defer st.op.Unlock()
	err := d.current()
	if err == nil {
		err = fault.Point(faultFilled)
	}
	old := st.cur.Load()
	if err == nil {
		err = d.c.update(0, true, func(tx *Tx) error {
			if err := tx.recordContent(st, d.b, d.version, filled{Full, st.size, nil, d.hash}, who); err != nil {
				return err
			}
			if old == nil || !old.registered {
				return nil
			}
			return tx.removeContent(old.id)
		})
	}
	if err != nil {
		return fmt.Errorf("complete node %d with a copy: %w", st.ino, err)
	}
	if old != nil {
		st.old = append(st.old, old) // whoever fills it finds out; it has a row no more, or never had one
	}
	d.b.full, d.taken = true, true
	st.cur.Store(d.b)
	fault.Cut(faultFillDone)
	return nil
}

// Close ends it. A copy that has not become the content is removed.
func (d *Draft) Close() error {
	var err error
	if d.b != nil && !d.taken {
		err = errors.Join(d.b.file.Close(), d.c.store.remove(d.b.id))
	}
	return errors.Join(err, d.c.letGo(d.st))
}
