package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"vdfs/internal/fault"
)

// Writing to a file, step by step, and what recovery does when the process ends after each:
//
//  1. a backing file is made where there is none              swept away: no row names it
//  2. mark: version, no hash, writing=1, items                settled from the backing file
//  3. of a file that was there the mark is made durable       as 2
//  4. origin attribute and mtime of the backing file          as 2
//  5. bytes                                                   as 2
//  6. settle: size and mtime, writing=0, items may be sent    nothing to do
//
// An O_TRUNC of a file whose bytes are missing, or that nobody else uses, goes the same way with a new backing file; the
// one it had goes when 2 is durable. After a power cut what was not synced is judged before it is settled; see judge.go.

// mark makes a new version of the node's content known before its first byte changes. op is held for writing. empty gives
// up the bytes that are missing, for a new content without any; without it ErrNotLocal is the answer.
func (c *Cache) mark(st *fileState, empty bool) error {
	if st.marked {
		return nil
	}
	c.noteChange()
	if err := c.writable(st); err != nil {
		return err
	}
	b, fresh, err := c.backingFor(st, empty)
	if err != nil {
		return err
	}
	base := c.copyAgreed(st)
	m, err := c.markRows(st, b, fresh, base)
	if err != nil {
		err = errors.Join(err, c.forgetCopy(base))
		if fresh {
			err = errors.Join(err, b.file.Close(), c.store.remove(b.id))
		}
		return err
	}
	if base != nil {
		if err := base.b.file.Close(); err != nil {
			return err
		}
	}
	st.version = m.version
	st.passed, st.before = false, nil
	st.changes.Store(0)
	st.gen.Add(1)
	if !m.noted && !fresh {
		// Else the index of a power cut could take changed bytes for those that it knows.
		if err := c.syncIndex(); err != nil {
			return err
		}
		c.store.notes.add(b.id)
	}
	// From here on the index says so, whatever fails below.
	if fresh {
		if old := st.cur.Load(); old != nil {
			old.registered = true // its row and file are gone with the transaction, or it had neither
			st.old = append(st.old, old)
		}
		b.full, b.registered = true, true
		st.cur.Store(b)
		st.size = 0
	}
	st.marked = true
	st.since.Store(m.at)
	if err := fault.Point(faultMarked); err != nil {
		return err
	}
	return errors.Join(b.setOrigin(st.ino, m.parent, m.name), b.setMtime(m.mtime))
}

// backingFor is the backing file to write to. A new one is made where bytes are missing, and where all are given up that
// are on the disk and that nobody else uses: those stay as they are until the index is durable.
func (c *Cache) backingFor(st *fileState, empty bool) (b *backing, fresh bool, err error) {
	b = st.cur.Load()
	whole := b != nil && b.full
	if !whole && !empty && st.size != 0 {
		return nil, false, ErrNotLocal
	}
	if whole && (!empty || !c.files.sole(st)) {
		return b, false, nil
	}
	if whole && c.store.notes.has(b.id) {
		if synced, err := c.syncedBytes(b.id); err != nil || synced == 0 {
			return b, false, err
		}
	}
	made, err := c.newContent()
	if whole && errors.Is(err, ErrNoSpace) {
		return b, false, nil // cut in place it gives space back
	}
	return made, true, err
}

// marking is what mark learns in its transaction.
type marking struct {
	version uint64
	mtime   int64
	at      int64 // when it is done
	parent  Ino
	name    string
	noted   bool // see notes
}

func (c *Cache) markRows(st *fileState, b *backing, fresh bool, base *copied) (m marking, err error) {
	if err := fault.Point(faultCreated); err != nil {
		return m, err
	}
	old := st.cur.Load()
	err = c.update(0, true, func(tx *Tx) error {
		m.at = tx.Now()
		if err := tx.trashCopy(base); err != nil {
			return err
		}
		found, err := tx.queryRow(`UPDATE nodes SET version=version+1, hash=NULL, writing=1, residency=2, content=?2
			WHERE ino=?1 RETURNING version, mtime`, func(r *row) {
			m.version, m.mtime = uint64(r.int()), r.int()
		}, st.ino, b.id)
		switch {
		case err != nil:
			return err
		case !found:
			return fmt.Errorf("mark node: %w", ErrNotFound)
		}
		if !fresh {
			m.noted = c.store.notes.has(b.id)
			err = tx.exec(`UPDATE contents SET boot=? WHERE id=?`, c.store.stamp(), b.id)
		} else {
			m.mtime = tx.Now()
			if err = tx.insertContent(b.id, st.ino, 0); err == nil && old != nil {
				err = tx.removeContent(old.id)
			}
		}
		if err != nil {
			return err
		}
		if err := tx.markNode(st.ino, Never); err != nil {
			return err
		}
		_, err = tx.queryRow(`SELECT parent, name FROM dentries WHERE ino=? ORDER BY id LIMIT 1`, func(r *row) {
			m.parent, m.name = Ino(r.int()), r.str()
		}, st.ino)
		return err
	})
	if err == nil && fresh && old != nil && !old.registered {
		err = c.store.remove(old.id)
	}
	return m, err
}

// settleLast settles a node after its last write handle was closed, unless one was opened meanwhile or there is nothing to
// settle. errHeld: somebody outside still writes to it.
func (c *Cache) settleLast(st *fileState) error {
	st.op.Lock()
	defer st.op.Unlock()
	ok, err := c.settles(st)
	if err != nil || !ok {
		return err
	}
	return c.settleStates([]*fileState{st})
}

// settles tells whether a node is to be settled. op is held for writing, here and below.
func (c *Cache) settles(st *fileState) (bool, error) {
	switch _, writers := c.files.openCount(st.ino); {
	case writers > 0:
		return false, nil
	case !st.marked:
		c.watch.wake() // nothing was written, but whoever left it alone as it was open for writing can go on
		return false, nil
	}
	if st.passed {
		held, err := c.heldOutside(st.cur.Load())
		if err != nil {
			return false, err
		}
		if held {
			return false, errHeld
		}
	}
	return true, nil
}

// settleStates settles nodes that nobody writes to, in one transaction: all or, on an error, none.
func (c *Cache) settleStates(all []*fileState) error {
	if len(all) == 0 {
		return nil
	}
	if err := fault.Point(faultSettle); err != nil {
		return err
	}
	sizes, same := make([]int64, len(all)), make([]bool, len(all))
	err := c.update(0, true, func(tx *Tx) (err error) {
		for i, st := range all {
			if sizes[i], same[i], err = tx.settleFrom(st); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var errs []error
	for i, st := range all {
		st.size, st.marked = sizes[i], false
		st.since.Store(0)
		errs = append(errs, c.endLive(c.files.swapLive(st, nil)))
		if same[i] && !st.before.unsent {
			errs = append(errs, st.cur.Load().clearOrigin())
		}
	}
	fault.Cut(faultSettled)
	return errors.Join(errs...)
}

// settleFrom settles a node from its open backing file. same: it was not written to. The file is looked at
// inside the transaction: SETATTR changes its mtime inside one too, so none gets lost in between.
func (tx *Tx) settleFrom(st *fileState) (size int64, same bool, err error) {
	b := st.cur.Load()
	info, err := b.stat()
	if err != nil {
		return 0, false, err
	}
	if same = st.changes.Load() == 0 && st.before.still(info, tx.c.stamps().UnixNano()); same {
		return info.size, true, tx.unmark(st.ino, b.id, st.version, st.before)
	}
	return info.size, false, tx.settle(st.ino, b.id, info, true)
}

// settleLeft settles nodes that nobody has open for writing any more and whose last close could not, as on a full disk.
func (c *Cache) settleLeft(ctx context.Context) error {
	var after Ino
	for {
		var inos []int64
		err := c.read(func(tx *Tx) (err error) {
			inos, err = list(tx, (*row).int, `SELECT ino FROM nodes WHERE writing<>0 AND ino>? ORDER BY ino LIMIT ?`, after, recoverBatch)
			return err
		})
		if err != nil || len(inos) == 0 || ctx.Err() != nil {
			return err
		}
		for _, ino := range inos {
			after = Ino(ino)
			if c.OpenWriters(after) {
				continue
			}
			st, err := c.hold(after, reads)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := errors.Join(c.leftHeld(c.settleLast(st)), c.letGo(st)); err != nil {
				return err
			}
		}
	}
}

// settle writes what a backing file says into the index. last: nobody writes any more, the file may be sent when it has
// rested for its quiet period. A node that is not marked, or has another content, is left alone. The file's ctime counts
// only if its bytes changed, which moves its mtime: our own marks on it move the ctime too.
func (tx *Tx) settle(ino Ino, id ContentID, info fileInfo, last bool) error {
	writing := 1
	if last {
		writing = 0
	}
	n := Node{Ino: ino, Kind: File}
	var before int64
	found, err := tx.queryRow(`UPDATE nodes SET size=?3, mtime=?4, ctime=CASE mtime WHEN ?4 THEN ctime ELSE max(ctime, ?5) END, writing=?6
		WHERE ino=?1 AND content=?2 AND writing=1 RETURNING version, hash, (SELECT present FROM contents WHERE id=?2)`,
		func(r *row) { n.Version, n.Hash, before = uint64(r.int()), r.hash(), r.int() },
		ino, id, info.size, info.mtime, info.ctime, writing)
	if err != nil || !found {
		return err
	}
	err = tx.exec(`UPDATE contents SET size=?2, present=?2, ranges=NULL, boot=?3 WHERE id=?1`, id, info.size, tx.c.store.stamp())
	if err != nil {
		return err
	}
	tx.countBytes(info.size - before)
	if !last {
		return nil
	}
	now := tx.Now()
	return tx.markNames(n, now+tx.c.quiet.next(ino, info.size, now))
}

// syncState makes a node durable on this machine.
func (c *Cache) syncState(st *fileState) error {
	st.op.RLock()
	b, marked := st.cur.Load(), st.marked
	st.op.RUnlock()
	if b == nil {
		return c.syncIndex() // chmod and the like
	}
	size, err := c.syncBacking(st, b)
	if err != nil {
		return err
	}
	if marked {
		err := c.noteSynced(st, b, size, func(tx *Tx) error {
			info, err := b.stat()
			if err != nil {
				return err
			}
			return tx.settle(st.ino, b.id, info, false)
		})
		if err != nil {
			return err
		}
	}
	return c.syncIndex()
}

// syncName makes the directory entry of a backing file durable, once.
func (c *Cache) syncName(st *fileState, b *backing) error {
	st.op.RLock()
	named := b.named
	st.op.RUnlock()
	if named {
		return nil
	}
	if err := c.store.syncName(b.id); err != nil {
		return err
	}
	st.op.Lock()
	b.named = true
	st.op.Unlock()
	return nil
}

// SyncIndex makes every transaction committed so far durable; concurrent callers share the work.
func (c *Cache) SyncIndex() error { return c.syncIndex() }

func (c *Cache) syncIndex() error {
	ready := func() error {
		if err := c.settleGroup(); err != nil {
			return fmt.Errorf("sync index: %w", err)
		}
		return nil
	}
	return c.wal.do(ready, func() error {
		// The write-ahead log is opened by its own path: closing it drops no lock of SQLite's, which are on other files.
		f, err := os.Open(indexPath(c.opt.Dir) + "-wal")
		if errors.Is(err, os.ErrNotExist) {
			return nil // everything is in the database already
		}
		if err != nil {
			return fmt.Errorf("sync index: %w", err)
		}
		err = ignoringEINTR(func() error { return unix.Fdatasync(int(f.Fd())) })
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("sync index: %w", diskError(err))
		}
		return nil
	})
}

// groupSync lets many callers share one sync that began after all of them called. A failure of the sync stays: after it the
// kernel drops what it could not write, so a later success would prove nothing.
type groupSync struct {
	mu                   sync.Mutex
	began, ended, synced uint64 // the last round that did
	unready              error  // why the last one that did not come to syncing did not
	err                  error
	done                 sync.Cond
	initialisation       sync.Once
}

// do runs ready and then f, once for all who called before that began. An error of ready is for those alone.
func (g *groupSync) do(ready, f func() error) error {
	g.initialisation.Do(func() { g.done.L = &g.mu })
	g.mu.Lock()
	defer g.mu.Unlock()
	want := g.began + 1
	for g.ended < want && g.err == nil {
		if g.began != g.ended {
			g.done.Wait()
			continue
		}
		g.round(ready, f)
	}
	switch {
	case g.synced >= want:
		return nil
	case g.err != nil:
		return g.err
	}
	return g.unready
}

// round is called with mu held and lets go of it meanwhile.
func (g *groupSync) round(ready, f func() error) {
	g.began++
	g.mu.Unlock()
	unready := ready()
	var err error
	if unready == nil {
		err = f()
	}
	g.mu.Lock()
	g.ended, g.err = g.began, err
	if unready != nil {
		g.unready = unready
	} else if err == nil {
		g.synced = g.ended
	}
	g.done.Broadcast()
}
