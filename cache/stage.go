package cache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"vdfs/internal/fault"
)

// Stage is the content of a version that no node has yet, whether an endpoint gave it or it was made here: its bytes come here
// beside those of the version that programs read, and take their place all at once. What recovery does when the process ends after each step:
//
//  1. a number for the backing file is taken      nothing to do: it is left out
//  2. the backing file is made, bytes are written swept away: no row names it, and the old version is whole
//  3. its bytes and its name are durable          as 2
//  4. one transaction gives them to a node        the new version is whole; the file of the old one is swept away
//
// Its methods are for one at a time.
type Stage struct {
	c     *Cache
	b     *backing
	size  int64 // of the version
	hash  Hash
	whole bool // all bytes are there and durable; the file is closed
	who   Reader
	state atomic.Int32
}

// The states of a Stage. A transaction that takes it and is undone gives it back.
const (
	stageFree int32 = iota
	stageTaken
	stageClosed
)

// Stage begins one for a version of so many bytes, for whoever wants it fetched; the zero Reader: it is made here.
func (c *Cache) Stage(size int64, who Reader) (*Stage, error) {
	b, err := c.newContent()
	if err != nil {
		return nil, fmt.Errorf("stage content: %w", err)
	}
	// The next start sweeps up to the last number that it knows of. The table has the row: there was a content before.
	err = c.update(0, true, func(tx *Tx) error {
		return tx.exec(`UPDATE sqlite_sequence SET seq=max(seq, ?) WHERE name='contents'`, b.id)
	})
	s := &Stage{c: c, b: b, size: size, who: who}
	if err != nil {
		return nil, fmt.Errorf("stage content: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// Size is the size of the version.
func (s *Stage) Size() int64 { return s.size }

// WriteAt puts bytes in place; nobody sees them.
func (s *Stage) WriteAt(p []byte, off int64) (int, error) {
	if s.whole || off < 0 || off+int64(len(p)) > s.size {
		return 0, fmt.Errorf("write %d bytes at %d of a version of %d: %w", len(p), off, s.size, ErrInvalid)
	}
	n, err := s.b.file.WriteAt(p, off)
	if s.c.madeRoom(diskError(err)) {
		n, err = s.b.file.WriteAt(p, off)
	}
	if err != nil {
		return n, fmt.Errorf("stage content: %w", diskError(err))
	}
	return n, nil
}

// Seal makes the bytes durable, all of which have been written, and answers their BLAKE3. It can be called again after an
// error.
func (s *Stage) Seal(ctx context.Context) (Hash, error) {
	if s.whole {
		return s.hash, nil
	}
	h, err := hashFile(s.b.file, s.size, ctx.Err)
	if err == nil {
		err = diskError(s.b.file.Sync())
	}
	if err == nil {
		err = s.c.store.syncName(s.b.id)
	}
	if err == nil {
		err = fault.Point(faultStaged)
	}
	if err != nil {
		return Hash{}, fmt.Errorf("stage content: %w", err)
	}
	s.hash, s.whole = h, true
	return h, s.b.file.Close()
}

// Hash is what Seal answered.
func (s *Stage) Hash() Hash { return s.hash }

// Close ends it. What no node has taken is removed. It may be called at any time once it is sealed.
func (s *Stage) Close() error {
	if !s.state.CompareAndSwap(stageFree, stageClosed) {
		return nil
	}
	var err error
	if !s.whole {
		err = s.b.file.Close()
	}
	return errors.Join(err, s.c.store.remove(s.b.id))
}

// FillWith makes a sealed stage the content of a node that has no bytes: its version is what was staged, and it is full from
// the commit on. The caller has made the node, or the version, in this transaction, so that nobody has it open.
func (tx *Tx) FillWith(ino Ino, s *Stage) error {
	n, err := tx.Node(ino)
	if err == nil && (n.Kind != File || n.Content != 0 || n.Writing || n.Size != s.size || !s.whole || !s.state.CompareAndSwap(stageFree, stageTaken)) {
		err = ErrInvalid
	}
	if err == nil {
		tx.onUndo(func() { s.state.CompareAndSwap(stageTaken, stageFree) })
	}
	if err == nil {
		err = tx.exec(`UPDATE nodes SET content=?2, residency=2, hash=?3 WHERE ino=?1`, ino, s.b.id, s.hash)
	}
	if err == nil { // it is on the disk: no row of a power cut needs a look at it
		err = tx.exec(`INSERT INTO contents(id, ino, size, present, boot, synced, used) VALUES(?1, ?2, ?3, ?3, '', ?3, ?4)`, s.b.id, ino, s.size, s.made(tx))
	}
	if err == nil && s.who != (Reader{}) {
		err = tx.fetchedFor(s.b.id, s.who)
	}
	if err == nil { // what waited for its bytes has them
		err = tx.exec(`DELETE FROM transfers WHERE ino=? AND upload=0`, ino)
	}
	if err == nil {
		err = fault.Point(faultSwap)
	}
	if err != nil {
		return fmt.Errorf("fill node %d with what was staged: %w", ino, err)
	}
	tx.countBytes(s.size)
	tx.onCommit(func() { fault.Cut(faultSwapped) })
	return nil
}

// made is when a version that was made here was first used: 0 for one that was fetched.
func (s *Stage) made(tx *Tx) int64 {
	if s.who != (Reader{}) {
		return 0
	}
	return tx.Now()
}

// Refreshes tells whether the next version of a file, of so many bytes, is to be here before this one goes, and for whom it is
// fetched: this one is here, and its name is pinned or a person opened it lately. What would be more than may be here is not,
// unless it is pinned.
func (tx *Tx) Refreshes(e Entry, size int64) (who Reader, yes bool, err error) {
	n := e.Node
	if n.Kind != File || n.Residency != Full || n.Content == 0 || size == 0 {
		return who, false, nil
	}
	intent, _, err := tx.EffectiveIntent(e.ID)
	if err != nil || intent == Pinned {
		return (&Transfer{}).Reader(), err == nil, err
	}
	yes, err = tx.inUse(n)
	return (&Transfer{Key: RefreshKey}).Reader(), yes && size <= tx.c.store.limit.Load(), err
}
