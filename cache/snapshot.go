package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Snapshot is one version of a file, for sending. Nobody has the file open for writing when it begins, unless a copy was made of
// that version; from the first change on every method answers ErrStale, but for a copy, so what was read without an error is of
// that version. It counts as a reader.
type Snapshot struct {
	c       *Cache
	st      *fileState
	b       *backing // nil: an empty file without bytes
	live    *live    // not nil: b is a copy that was made while the file was open for writing, and stays as it is
	gen     uint64
	version uint64
	node    Node
	sum     Hash // of the bytes, once computed
	done    bool
}

// Snapshot opens the given version. ErrBusy: the file is open for writing. ErrStale: it has another version by now.
// ErrNotLocal: its bytes are not all here.
func (c *Cache) Snapshot(ino Ino, version uint64) (*Snapshot, error) {
	st, err := c.hold(ino, reads)
	if err != nil {
		return nil, fmt.Errorf("snapshot node %d: %w", ino, err)
	}
	s := &Snapshot{c: c, st: st, version: version}
	if err := s.start(); err != nil {
		return nil, fmt.Errorf("snapshot node %d: %w", ino, errors.Join(err, c.letGo(st)))
	}
	return s, nil
}

func (s *Snapshot) start() error {
	st := s.st
	st.op.RLock()
	defer st.op.RUnlock()
	_, writers := s.c.files.openCount(st.ino)
	s.b, s.gen = st.cur.Load(), st.gen.Load()
	if st.version != s.version {
		return s.startLive()
	}
	switch {
	case st.marked || writers > 0:
		return &BusyError{s.c.InUse(st.ino)}
	case !st.has(0, st.size) || s.b != nil && !s.b.full:
		return ErrNotLocal
	}
	// With op held for reading nobody can mark, so the row is of this version.
	return s.c.read(func(tx *Tx) (err error) {
		s.node, err = tx.Node(st.ino)
		return err
	})
}

// startLive begins with the copy of the version, if there is one.
func (s *Snapshot) startLive() (err error) {
	l := s.c.files.useLive(s.st, s.version)
	if l == nil {
		return ErrStale
	}
	s.live = l
	f, err := os.Open(s.c.store.path(l.stage.b.id))
	if err != nil {
		return errors.Join(err, s.c.endLive(s.c.files.leaveLive(l)))
	}
	s.b = &backing{id: l.stage.b.id, file: f}
	err = s.c.read(func(tx *Tx) error {
		n, err := tx.Node(s.st.ino)
		s.node = l.of(n)
		return err
	})
	if err != nil {
		err = errors.Join(err, s.endLive())
	}
	return err
}

// endLive gives the copy back.
func (s *Snapshot) endLive() error {
	if s.live == nil {
		return nil
	}
	return errors.Join(s.b.file.Close(), s.c.endLive(s.c.files.leaveLive(s.live)))
}

// Node is the node as it was when the snapshot was taken.
func (s *Snapshot) Node() Node { return s.node }

// Size is the size of the version in bytes.
func (s *Snapshot) Size() int64 { return s.node.Size }

// Version is the version that the snapshot is of.
func (s *Snapshot) Version() uint64 { return s.version }

// Hash is the version's BLAKE3, if it is known; see EnsureHash.
func (s *Snapshot) Hash() Hash { return s.node.Hash }

// Err is ErrStale once the file was changed, else nil. Ask it after sending what was read in other ways.
func (s *Snapshot) Err() error {
	if s.live == nil && s.st.gen.Load() != s.gen {
		return fmt.Errorf("read node %d: %w", s.st.ino, ErrStale)
	}
	return nil
}

// ReadAt reads like io.ReaderAt. ErrStale: the file was changed, nothing in p is to be used.
func (s *Snapshot) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.node.Size || s.b == nil {
		return 0, errors.Join(s.Err(), io.EOF)
	}
	want := p[:min(int64(len(p)), s.node.Size-off)]
	n, err := s.b.file.ReadAt(want, off)
	// A writer moves gen on before it changes a byte: bytes of another version come with another gen.
	if stale := s.Err(); stale != nil {
		return 0, stale
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// File is the backing file, for copy_file_range and the like; nil for an empty file without one. It must only be read, not
// closed, and what was read counts only if Err is nil afterwards.
func (s *Snapshot) File() *os.File {
	if s.b == nil {
		return nil
	}
	return s.b.file
}

// Sum gives the version's BLAKE3, computed if it is not known, and records nothing.
func (s *Snapshot) Sum(ctx context.Context) (h Hash, err error) {
	switch {
	case s.node.Hash.Known():
		h = s.node.Hash
	case s.sum.Known():
		h = s.sum
	default:
		h, err = hashFile(s, s.node.Size, ctx.Err)
	}
	if err == nil {
		err = s.Err()
	}
	if err != nil {
		return Hash{}, fmt.Errorf("hash node %d: %w", s.st.ino, err)
	}
	s.sum = h
	return h, nil
}

// EnsureHash gives the version's BLAKE3; one that was not known is computed and recorded.
func (s *Snapshot) EnsureHash(ctx context.Context) (Hash, error) {
	h, err := s.Sum(ctx)
	if err != nil || s.node.Hash.Known() {
		return h, err
	}
	err = s.c.UpdateJoint(0, func(tx *Tx) error {
		return tx.exec(`UPDATE nodes SET hash=?3 WHERE ino=?1 AND version=?2 AND writing=0`, s.st.ino, s.version, h)
	})
	if err != nil {
		return Hash{}, fmt.Errorf("hash node %d: %w", s.st.ino, err)
	}
	s.node.Hash = h
	return h, nil
}

// Close ends the snapshot.
func (s *Snapshot) Close() error {
	if s.done {
		return fmt.Errorf("close snapshot of node %d twice: %w", s.st.ino, ErrInvalid)
	}
	s.done = true
	return errors.Join(s.endLive(), s.c.letGo(s.st))
}

// MarkSent records that an endpoint has proved that it stores this version: the backing file needs no rescue any more. A
// version that was overtaken is left alone.
func (c *Cache) MarkSent(ino Ino, version uint64) error {
	st, err := c.hold(ino, reads)
	if err != nil {
		return fmt.Errorf("mark node %d as sent: %w", ino, err)
	}
	st.op.Lock()
	if b := st.cur.Load(); b != nil && st.version == version && !st.marked {
		err = b.clearOrigin()
	}
	st.op.Unlock()
	return errors.Join(err, c.letGo(st))
}
