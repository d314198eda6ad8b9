package cache

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"vdfs/internal/digest"
	"vdfs/internal/fault"
	"vdfs/internal/ranges"
)

// Range is a range of bytes of a file.
type Range = ranges.Range

// Ranges that were filled become durable after this many bytes or this long, whichever is first.
const (
	fillBatch    = 8 << 20
	fillInterval = time.Second
)

// Fill brings the missing bytes of one version of a node here. It holds the node's lease as a reader does, so the version
// stays what it is unless somebody gives the missing bytes up (O_TRUNC): then its methods answer ErrStale. Several fills
// of a node share what is present. Its methods are safe for concurrent use; Complete and Reset are for one.
type Fill struct {
	c       *Cache
	st      *fileState
	b       *backing
	version uint64

	mu      sync.Mutex
	reader  Reader        // who wants the bytes
	pending int64         // bytes committed in memory and not yet in the index
	flushed time.Duration // when they last were, by Cache.steady
	done    bool
}

// Fill begins to fill the given version. ErrStale: the node has another by now. What is present already stays.
func (c *Cache) Fill(ino Ino, version uint64) (*Fill, error) {
	st, err := c.hold(ino, reads)
	if err != nil {
		return nil, fmt.Errorf("fill node %d: %w", ino, err)
	}
	f := &Fill{c: c, st: st, version: version, flushed: c.steady.Now()}
	if err := f.start(); err != nil {
		return nil, fmt.Errorf("fill node %d: %w", ino, errors.Join(err, c.letGo(st)))
	}
	return f, nil
}

func (f *Fill) start() error {
	st := f.st
	st.op.Lock()
	defer st.op.Unlock()
	if st.version != f.version {
		return ErrStale
	}
	b := st.cur.Load()
	if b == nil {
		// The row follows with the first ranges: a small file is made, filled and known in one transaction.
		var err error
		if b, err = f.c.newContent(); err != nil {
			return err
		}
		st.cur.Store(b)
	}
	f.b = b
	return nil
}

// For says who wants the bytes that are committed from now on. It goes into the index with them.
func (f *Fill) For(r Reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reader = r
}

func (f *Fill) forWhom() Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reader
}

// Size is the size of the version.
func (f *Fill) Size() int64 {
	f.st.op.RLock()
	defer f.st.op.RUnlock()
	return f.st.size
}

// Full reports whether nothing is missing and the whole was verified: there is nothing to fill.
func (f *Fill) Full() bool {
	f.st.op.RLock()
	defer f.st.op.RUnlock()
	return f.b.full
}

// Missing lists what of the n bytes from off is not here, as far as the file goes.
func (f *Fill) Missing(off, n int64) []Range {
	f.st.op.RLock()
	defer f.st.op.RUnlock()
	if f.b.full || off >= f.st.size {
		return nil
	}
	return f.b.present.Missing(off, min(n, f.st.size-off))
}

// Bytes counts the bytes that are here.
func (f *Fill) Bytes() int64 {
	f.st.op.RLock()
	defer f.st.op.RUnlock()
	if f.b.full {
		return f.st.size
	}
	return f.b.present.Bytes()
}

// WriteAt puts bytes in place; nobody sees them before Commit. Bytes that were committed may be written again only with
// what they are.
func (f *Fill) WriteAt(p []byte, off int64) (int, error) {
	f.st.op.RLock()
	defer f.st.op.RUnlock()
	if err := f.current(); err != nil {
		return 0, fmt.Errorf("fill node %d: %w", f.st.ino, err)
	}
	if off < 0 || off+int64(len(p)) > f.st.size {
		return 0, fmt.Errorf("fill node %d behind its end: %w", f.st.ino, ErrInvalid)
	}
	n, err := f.b.file.WriteAt(p, off)
	if err != nil {
		return n, fmt.Errorf("fill node %d: %w", f.st.ino, diskError(err))
	}
	return n, nil
}

// current fails when the content being filled is not the node's any more, or needs no filling. op is held.
func (f *Fill) current() error {
	if f.st.cur.Load() != f.b || f.st.marked || f.b.full {
		return ErrStale
	}
	return nil
}

// Commit makes a range that was written visible to readers at once. The index learns of it in batches, at the latest in
// Close; a range it has not learned of is fetched again after a crash.
func (f *Fill) Commit(r Range) error {
	f.st.op.Lock()
	err := f.current()
	if err == nil {
		f.b.present.Add(r.Off, r.Len)
	}
	f.st.op.Unlock()
	if err != nil {
		return fmt.Errorf("fill node %d: %w", f.st.ino, err)
	}
	f.mu.Lock()
	f.pending += r.Len
	now := f.c.steady.Now()
	due := f.pending >= fillBatch || now-f.flushed >= fillInterval
	if due {
		f.pending, f.flushed = 0, now
	}
	f.mu.Unlock()
	if due {
		return f.flush()
	}
	return nil
}

// flush tells the index what is present.
func (f *Fill) flush() error {
	f.st.op.Lock()
	defer f.st.op.Unlock()
	if f.current() != nil {
		return nil // somebody else knows better
	}
	encoded, err := f.b.present.MarshalBinary()
	if err != nil {
		return err
	}
	if err = fault.Point(faultFillPart); err == nil {
		err = f.record(filled{Partial, f.b.present.Bytes(), encoded, Hash{}})
	}
	if err != nil {
		return fmt.Errorf("record what is here of node %d: %w", f.st.ino, err)
	}
	return nil
}

// filled is what the index is told of a content that comes here.
type filled struct {
	residency Residency
	present   int64 // bytes
	ranges    []byte
	hash      Hash // unknown: the index keeps what it has
}

// record writes the row of the content and what the node says of it. op is held for writing.
func (f *Fill) record(is filled) error {
	who := f.forWhom()
	return f.c.update(0, true, func(tx *Tx) error { return tx.recordContent(f.st, f.b, f.version, is, who) })
}

// recordContent writes that a version of a node has b for its content, as far as that is here, and who wanted it. st.op is
// held for writing.
func (tx *Tx) recordContent(st *fileState, b *backing, version uint64, is filled, who Reader) error {
	fresh := !b.registered
	err := tx.putContent(st, b, version, is, &who)
	if err == nil && !fresh {
		err = tx.fetchedFor(b.id, who)
	}
	return err
}

// putContent is recordContent, but for who wanted it where there is a row already. nil: nothing was fetched.
func (tx *Tx) putContent(st *fileState, b *backing, version uint64, is filled, who *Reader) error {
	known := []byte(nil) // NULL keeps the hash that is there
	if is.hash.Known() {
		known = is.hash[:]
	}
	found, err := tx.changed(`UPDATE nodes SET residency=?3, content=?4, hash=coalesce(?5, hash)
		WHERE ino=?1 AND version=?2 AND writing=0`, st.ino, version, is.residency, b.id, known)
	if err == nil && !found {
		err = ErrStale
	}
	if err != nil {
		return err
	}
	stamp, recorded := tx.c.store.stamp(), b.recorded
	if b.registered {
		err = tx.exec(`UPDATE contents SET present=?2, ranges=?3, boot=?4 WHERE id=?1`, b.id, is.present, is.ranges, stamp)
	} else {
		var reader Reader
		var fetched, used int64
		if who != nil {
			reader, fetched = *who, tx.Now()
		}
		if !reader.Unused {
			used = fetched
		}
		err = tx.exec(`INSERT INTO contents(id, ino, size, present, ranges, boot, fetched, reader, reader_kind, used) VALUES(?,?,?,?,?,?,?,?,?,?)`,
			b.id, st.ino, st.size, is.present, is.ranges, stamp, fetched, reader.Program, reader.Kind, used)
		tx.c.store.notes.add(b.id)
	}
	if err == nil && is.hash.Known() {
		err = tx.basesHave(st.ino, version, is.hash)
	}
	tx.countBytes(is.present - recorded)
	tx.onCommit(func() { b.registered, b.recorded = true, is.present })
	return err
}

// Complete says that all bytes are here and verified: the node is full from now on. hash is recorded if it is known.
// ErrNotLocal: bytes are missing after all.
func (f *Fill) Complete(hash Hash) error {
	st := f.st
	st.op.Lock()
	defer st.op.Unlock()
	err := f.current()
	if err == nil && !f.b.present.Contains(0, st.size) {
		err = ErrNotLocal
	}
	if err == nil {
		err = fault.Point(faultFilled)
	}
	if err == nil {
		err = f.record(filled{Full, st.size, nil, hash})
	}
	if err != nil {
		return fmt.Errorf("complete node %d: %w", st.ino, err)
	}
	f.b.full = true
	f.b.present.Clear()
	fault.Cut(faultFillDone)
	return nil
}

// Reset forgets all bytes that were filled, because the whole failed verification. Readers wait for it and then find them
// missing.
func (f *Fill) Reset() error {
	st := f.st
	st.op.Lock()
	defer st.op.Unlock()
	err := f.current()
	if err == nil {
		f.b.present.Clear()
	}
	if err == nil && f.b.registered { // durable before the bytes go: an older row would promise them
		if err = f.record(filled{Partial, 0, []byte{}, Hash{}}); err == nil {
			err = f.c.syncIndex()
		}
	}
	if err == nil {
		err = diskError(f.b.file.Truncate(0))
	}
	if err == nil { // readers may have seen them: the kernel must not keep them
		err = f.c.update(0, false, func(tx *Tx) error {
			tx.Touched(st.ino)
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("reset node %d: %w", st.ino, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = 0
	return nil
}

// Hash is the BLAKE3 of the backing file. It is worth something only when nothing is missing.
func (f *Fill) Hash() (Hash, error) {
	h, err := hashFile(f.b.file, f.Size(), nil)
	if err != nil {
		return h, fmt.Errorf("hash node %d: %w", f.st.ino, err)
	}
	return h, nil
}

// hashBuffers are the buffers of hashFile: BLAKE3 is fastest on large pieces.
var hashBuffers = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}

// hashFile hashes the first size bytes of a file. check, if given, is asked after each piece.
func hashFile(f io.ReaderAt, size int64, check func() error) (Hash, error) {
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	return digest.Of(size, *buf, func(p []byte, off int64) error {
		if n, err := f.ReadAt(p, off); n < len(p) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if check != nil {
			return check()
		}
		return nil
	})
}

// Close ends the fill; what was committed and is not in the index yet goes there.
func (f *Fill) Close() error {
	f.mu.Lock()
	pending, done := f.pending > 0, f.done
	f.done, f.pending = true, 0
	f.mu.Unlock()
	if done {
		return fmt.Errorf("close fill of node %d twice: %w", f.st.ino, ErrInvalid)
	}
	var err error
	if pending {
		err = f.flush()
		if errors.Is(err, ErrStale) {
			err = nil
		}
	}
	return errors.Join(err, f.c.letGo(f.st))
}
