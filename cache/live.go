package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Live copies. A file is sent from its backing file when nobody can write to it any more. Of one that a program keeps open that
// comes too late, or never. So what has been open for Options.OpenFor is copied beside, as it is in one moment, and the copy is a
// version of the node that can be sent:
//
//  1. the copy is made          by reflink where the disk can, else while no write comes. Swept away: no row names it
//  2. it is made durable        as 1
//  3. one transaction           what is written from now on is the next version, and there is work for the legs. After a crash
//     the node is settled as that version, and sent, if it has other bytes
//
// Copies are not kept over a restart: then nobody has the file open. Where the disk has no reflinks, and the kernel writes to the
// backing file by itself, there is no copy: what was read could be of no moment at all.

// liveEvery is how often it is looked for files that were open for too long.
const liveEvery = time.Minute

// copyTries is how often a copy is begun of a file that is written to meanwhile.
const copyTries = 3

// errNoCopy: the file cannot be copied now as it is in one moment.
var errNoCopy = errors.New("no copy of a file that is being written")

// live is the last copy of a node that is open for writing.
type live struct {
	stage *Stage // sealed
	node  Node   // what the node was then; its mode, owner and times but for mtime are those that it has
	// Guarded by fileTable.mu.
	changes uint64 // fileState.changes then
	at      int64  // when it was made
	users   int    // how many Snapshots read it
	over    bool   // another has its place, or the file was settled: the last user removes it
}

// CopyOpen makes a copy of every file that has been open for so long. Run does it by itself.
func (c *Cache) CopyOpen(ctx context.Context) error {
	var errs []error
	for _, ino := range c.files.unsettled(c.now(), int64(c.opt.OpenFor)) {
		if ctx.Err() != nil {
			return nil
		}
		switch err := c.copyOne(ctx, ino); {
		case errors.Is(err, errNoCopy), errors.Is(err, ErrNoSpace), errors.Is(err, ErrNotFound):
			c.log.Debug("file that is open for writing is not copied", "ino", uint64(ino), "error", err)
		case err != nil && ctx.Err() == nil:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// unsettled are the nodes that have been marked for so long, and whose last copy, if there is one, is as old.
func (t *fileTable) unsettled(now, age int64) (out []Ino) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, st := range t.m {
		since := st.since.Load()
		if since == 0 || now-since < age {
			continue
		}
		if st.live == nil || now-st.live.at >= age {
			out = append(out, st.ino)
		}
	}
	return out
}

// copyOne is CopyOpen for one node. The lease is held so that its state stays.
func (c *Cache) copyOne(ctx context.Context, ino Ino) (err error) {
	st, err := c.hold(ino, reads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.letGo(st)) }()
	if waits, err := c.isWaitedFor(ino); err != nil || !waits {
		return err
	}
	stage, l, err := c.duplicate(ctx, st)
	if err != nil || stage == nil {
		return err
	}
	if l.node.Hash, err = stage.Seal(ctx); err != nil {
		return errors.Join(err, stage.Close())
	}
	l.at = c.now()
	if taken, err := c.takeLive(st, l); err != nil || !taken {
		return errors.Join(err, stage.Close())
	}
	return nil
}

// isWaitedFor reports whether there is a leg that is to get what a node has: of what stays here no copies are made.
func (c *Cache) isWaitedFor(ino Ino) (yes bool, err error) {
	err = c.read(func(tx *Tx) error {
		yes, err = tx.queryRow(`SELECT 1 FROM dentries d WHERE d.ino=? AND (
			EXISTS(SELECT 1 FROM bindings b JOIN items i ON i.leg=b.leg AND i.binding=b.id WHERE b.dentry=d.id AND i.origin=2 AND i.binding IS NOT NULL AND i.status<6)
			OR EXISTS(SELECT 1 FROM legs l JOIN items i ON i.leg=l.id AND i.dentry=d.id WHERE i.origin=2 AND i.binding IS NULL AND i.status<6)) LIMIT 1`, func(*row) {}, ino)
		return err
	})
	return yes, err
}

// duplicate copies the bytes of a node as they are in one moment. No stage: it was settled meanwhile.
func (c *Cache) duplicate(ctx context.Context, st *fileState) (*Stage, *live, error) {
	for range copyTries {
		b, l, passed, err := c.still(st)
		if err != nil || b == nil {
			return nil, nil, err
		}
		src, err := os.Open(c.store.path(b.id))
		if err != nil {
			return nil, nil, fmt.Errorf("copy open file: %w", err)
		}
		stage, whole, err := c.copyFrom(ctx, st, l, src, passed)
		if err := joinClose(err, src); err != nil || whole {
			return stage, l, err
		}
	}
	return nil, nil, errNoCopy
}

// still waits until nobody is writing, and answers what there is then. None: it was settled, or not changed since the last copy.
func (c *Cache) still(st *fileState) (b *backing, l *live, passed bool, err error) {
	st.op.Lock()
	defer st.op.Unlock()
	if b = st.cur.Load(); !st.marked || b == nil || !b.full {
		return nil, nil, false, nil
	}
	if !st.passed && c.files.copied(st) {
		return nil, nil, false, nil
	}
	info, err := b.stat()
	l = &live{changes: st.changes.Load(), node: Node{Ino: st.ino, Version: st.version, Size: info.size, Mtime: info.mtime}}
	return b, l, st.passed, err
}

// copied reports whether nothing went through this process since the last copy.
func (t *fileTable) copied(st *fileState) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return st.live != nil && st.live.changes == st.changes.Load()
}

// copyFrom makes the copy. Not whole: it was written to meanwhile.
func (c *Cache) copyFrom(ctx context.Context, st *fileState, l *live, src *os.File, passed bool) (stage *Stage, whole bool, err error) {
	if stage, err = c.Stage(l.node.Size, Reader{}); err != nil {
		return nil, false, err
	}
	l.stage = stage
	defer func() {
		if err != nil || !whole {
			err, stage = errors.Join(err, stage.Close()), nil
		}
	}()
	st.op.Lock() // a write of ours is no single one of the kernel's
	cloned := clones(stage.b.file, src)
	if cloned {
		var was, info fileInfo
		was, err = st.cur.Load().stat()
		if err == nil {
			info, err = stage.b.stat()
		}
		stage.size, l.node.Size, l.node.Mtime, l.changes = info.size, info.size, was.mtime, st.changes.Load()
	}
	st.op.Unlock()
	switch {
	case cloned || err != nil:
		return stage, true, err
	case passed:
		return stage, false, errNoCopy
	}
	if fs, err := c.StatFS(); err != nil || fs.DiskAvailable < 2*l.node.Size { // what programs write comes first
		return stage, false, errors.Join(err, errNoCopy)
	}
	if _, err = io.Copy(io.NewOffsetWriter(stage, 0), ctxReader{ctx, io.LimitReader(src, l.node.Size)}); err != nil {
		return stage, false, err
	}
	st.op.Lock()
	defer st.op.Unlock()
	return stage, l.isOf(st) && !st.passed && st.changes.Load() == l.changes, nil
}

// isOf reports whether a copy is of what is being written: it was not settled since, perhaps to be written anew. op is held.
func (l *live) isOf(st *fileState) bool { return st.marked && st.version == l.node.Version }

// ctxReader reads until its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// takeLive makes a copy the version to be sent, and what comes after it the next. Not taken: the file was settled meanwhile, or
// the last copy has the same bytes.
func (c *Cache) takeLive(st *fileState, l *live) (taken bool, err error) {
	st.op.Lock()
	defer st.op.Unlock()
	if !l.isOf(st) || c.sameLive(st, l) {
		return false, nil
	}
	err = c.update(0, true, func(tx *Tx) error {
		taken, err = tx.changed(`UPDATE nodes SET version=version+1 WHERE ino=? AND version=? AND writing=1`, st.ino, l.node.Version)
		if err != nil || !taken {
			return err
		}
		n := l.node
		n.Kind = File
		return tx.markNames(n, tx.Now())
	})
	if err != nil || !taken {
		return false, err
	}
	st.version++
	st.before = nil
	return true, c.endLive(c.files.swapLive(st, l))
}

// sameLive reports whether a copy has the bytes of the last one, which is up to date then.
func (c *Cache) sameLive(st *fileState, l *live) bool {
	c.files.mu.Lock()
	defer c.files.mu.Unlock()
	if st.live == nil || st.live.node.Hash != l.node.Hash || st.live.node.Size != l.node.Size {
		return false
	}
	st.live.changes, st.live.at = l.changes, l.at
	return true
}

// swapLive puts a copy in the place of the last one, and answers that if nobody reads it.
func (t *fileTable) swapLive(st *fileState, l *live) (ended *live) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ended, st.live = st.live, l
	if ended != nil && ended.users > 0 {
		ended.over = true
		return nil
	}
	return ended
}

// endLive removes a copy; nil is none.
func (c *Cache) endLive(l *live) error {
	if l == nil {
		return nil
	}
	return l.stage.Close()
}

// useLive is the copy of a node that is this version, for one who calls leaveLive.
func (t *fileTable) useLive(st *fileState, version uint64) *live {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st.live == nil || st.live.node.Version != version {
		return nil
	}
	st.live.users++
	return st.live
}

// leaveLive is the end of a use. It answers the copy if that is to be removed.
func (t *fileTable) leaveLive(l *live) *live {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.users--
	if l.over && l.users == 0 {
		return l
	}
	return nil
}

// Live is what a node was when the last copy of it was made while it was open for writing: a version that can be sent although
// the node has another one by now. false: there is none.
func (tx *Tx) Live(n Node) (Node, bool) {
	t := &tx.c.files
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.m[n.Ino]
	if st == nil || st.live == nil || !n.Writing {
		return n, false
	}
	return st.live.of(n), true
}

// of is what the node is as a copy.
func (l *live) of(n Node) Node {
	n.Version, n.Size, n.Mtime, n.Hash, n.Writing = l.node.Version, l.node.Size, l.node.Mtime, l.node.Hash, false
	return n
}

// Writer is the thread that opened a file last for writing, while anybody has it open so; 0: none is known.
func (c *Cache) Writer(ino Ino) uint32 {
	if st := c.files.find(ino); st != nil && c.OpenWriters(ino) {
		return st.writer.Load()
	}
	return 0
}
