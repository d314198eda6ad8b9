package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A backing file can be passed: whoever opened the node then reads and writes it without anybody here seeing it. Three
// things follow, and this file is about them:
//
//   - a handle for writing is marked when it is opened, so what was opened and not written to has to be told from what was
//   - a shared mapping of the file, and a descriptor that outlives this process, write on after the handle was closed, so
//     a node is settled only when nobody outside has its backing file open for writing: see heldOutside
//   - nothing may take the place of a backing file under those who have it: mark makes a new one only for a sole holder

const (
	// heldEvery is how often nodes are asked again that somebody outside may write to although no handle is open.
	heldEvery = time.Second
	// sameTick is longer than a file system's clock stands still: an mtime older than this moves at any write.
	sameTick = 2 * time.Second
)

// errHeld: somebody outside has the backing file open for writing.
var errHeld = errors.New("backing file is open for writing elsewhere")

// CanPass reports whether the disk of the contents can tell who has a file open for writing, mappings included, and moves
// the mtime of a file whose mapping is stored to: without the first a file could be taken as finished under its writer,
// without the second as unchanged. A stacked file system cannot do the first, one in memory the second.
func (c *Cache) CanPass() bool {
	var s unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Statfs(c.store.dir, &s) }); err != nil {
		return false
	}
	switch int64(s.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
		return c.tellsWriters()
	}
	return false
}

// tellsWriters tries leases on a file without a name.
func (c *Cache) tellsWriters() bool {
	w, err := os.OpenFile(c.store.dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return false
	}
	r, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(w.Fd())))
	if err != nil {
		return joinClose(err, w) == nil
	}
	busy := lease(r)
	if err := w.Close(); err != nil {
		return joinClose(err, r) == nil
	}
	free := lease(r)
	return errors.Is(busy, errHeld) && joinClose(free, r) == nil
}

// lease takes a read lease of a file for a moment: errHeld says that somebody has it open for writing or has a mapping of
// it that can be stored to, which is what the kernel counts. Nobody waits for it who opens the file for reading.
func lease(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if errors.Is(err, unix.EAGAIN) {
		return errHeld
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return err
}

// heldPath is heldOutside for a file that is not open here.
func heldPath(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	return errors.Is(joinClose(lease(f), f), errHeld)
}

// heldOutside reports whether anybody but this process can write to a backing file. Our own descriptor would count too,
// so it is turned into one for reading; it stays one if nobody holds the file, until writable. Nobody here is writing:
// op is held for writing and there is no handle for it. Where the disk cannot tell, nothing was passed.
func (c *Cache) heldOutside(b *backing) (bool, error) {
	if err := c.reopen(b, os.O_RDONLY); err != nil {
		return false, err
	}
	err := lease(b.file)
	if !errors.Is(err, errHeld) {
		return false, nil
	}
	return true, c.reopen(b, os.O_RDWR)
}

// reopen puts another descriptor of the same file in the place of the one of b, under its number: those who are just
// reading with it go on.
func (c *Cache) reopen(b *backing, flag int) error {
	f, err := os.OpenFile(c.store.path(b.id), flag, 0)
	if err != nil {
		return fmt.Errorf("reopen content: %w", err)
	}
	err = ignoringEINTR(func() error { return unix.Dup3(int(f.Fd()), int(b.file.Fd()), unix.O_CLOEXEC) })
	if err := joinClose(err, f); err != nil {
		return fmt.Errorf("reopen content: %w", err)
	}
	b.readOnly = flag == os.O_RDONLY
	return nil
}

// writable undoes what heldOutside left. op is held for writing.
func (c *Cache) writable(st *fileState) error {
	if b := st.cur.Load(); b != nil && b.readOnly {
		return c.reopen(b, os.O_RDWR)
	}
	return nil
}

// untouched is what a node was when a handle was passed that may never write, and its backing file from then on.
type untouched struct {
	version uint64
	hash    Hash
	unsent  bool // an endpoint had not got it
	info    fileInfo
}

// still tells whether the backing file is as it was, where that proves that nobody wrote to it: a write takes the mtime to
// the present, by the clock that files are stamped with, which this one is not near to; who sets it back does that through us.
// Stores through a mapping move it too, as the mapping is younger than the mark, and so none of its pages could be stored to
// before.
func (u *untouched) still(info fileInfo, now int64) bool {
	return u != nil && u.info.size == info.size && u.info.mtime == info.mtime && max(now-info.mtime, info.mtime-now) > int64(sameTick)
}

// MarkPassed makes the index ready for what is written through the backing file from outside, before it is handed out.
func (o *OpenFile) MarkPassed() error {
	st := o.st
	if o.as == reads {
		return fmt.Errorf("pass node %d: handle is for reading: %w", st.ino, ErrInvalid)
	}
	st.op.Lock()
	defer st.op.Unlock()
	if err := o.c.markPassed(st); err != nil {
		return fmt.Errorf("pass node %d: %w", st.ino, err)
	}
	return nil
}

func (c *Cache) markPassed(st *fileState) error {
	if st.marked {
		st.passed = true
		return nil
	}
	var u *untouched
	if b := st.cur.Load(); b != nil {
		_, unsent, err := readOrigin(c.store.path(b.id))
		if err != nil {
			return err
		}
		u = &untouched{version: st.version, unsent: unsent}
		err = c.read(func(tx *Tx) error {
			n, err := tx.Node(st.ino)
			u.hash = n.Hash
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := c.mark(st, false); err != nil {
		return err
	}
	st.passed = true
	if u == nil {
		return nil
	}
	info, err := st.cur.Load().stat()
	if err != nil {
		return err
	}
	if u.info = info; u.still(info, c.stamps().UnixNano()) {
		st.before = u
	}
	return nil
}

// Passable opens the backing file for the kernel, or gives nil while bytes are missing. It is the caller's to close, and
// open for reading, so that it does not look like a writer: the kernel opens it anew for each handle.
func (o *OpenFile) Passable() (*os.File, error) {
	o.st.op.RLock()
	defer o.st.op.RUnlock()
	b := o.st.cur.Load()
	if b == nil || !b.full {
		return nil, nil
	}
	f, err := os.Open(o.c.store.path(b.id))
	if err != nil {
		return nil, fmt.Errorf("pass node %d: %w", o.st.ino, err)
	}
	return f, nil
}

// WatchReads sees to it that the next read of the backing file from outside can be seen by its access time.
func (o *OpenFile) WatchReads() {
	o.c.NoteReads(o.st.ino)
	o.st.watched.Store(true)
	o.c.unread(o.st)
}

// unread takes the access time of a watched backing file back so far that every read moves it: most disks move one only
// where it is older than the last write, or than a day. A disk that moves none shows no reads.
func (c *Cache) unread(st *fileState) {
	b := st.cur.Load()
	if b == nil {
		return
	}
	if at, err := b.atime(); err == nil && at == 0 {
		return
	}
	if err := setTimes(b.file, unix.Timespec{}, unix.Timespec{Nsec: unix.UTIME_OMIT}); err != nil {
		c.log.Debug("reads of a file are not seen", "ino", uint64(st.ino), "error", err)
	}
}

// NoteReads takes over when the node was first read from outside since it was watched, if it was.
func (c *Cache) NoteReads(ino Ino) {
	st := c.files.find(ino)
	if st == nil || !st.watched.Load() {
		return
	}
	if b := st.cur.Load(); b != nil {
		if at, err := b.atime(); err == nil && at > 0 { // else: closed in this moment
			c.used.touch(ino, at)
		}
	}
}

// forgetReads makes nothing of the reads so far: a program has set another access time.
func (c *Cache) forgetReads(ino Ino) {
	if st := c.files.find(ino); st != nil && st.watched.Load() {
		c.unread(st)
	}
}

// Held reports whether the backing file may be written to from outside, be it by handles that were closed.
func (o *OpenFile) Held() bool {
	o.st.op.RLock()
	defer o.st.op.RUnlock()
	return o.st.marked && o.st.passed
}

// unmark settles a node that was passed and not written to: it is what it was, under the version that the mark gave it.
// What the endpoints have of the version before is this one too.
func (tx *Tx) unmark(ino Ino, id ContentID, version uint64, u *untouched) error {
	found, err := tx.changed(`UPDATE nodes SET writing=0, hash=?3 WHERE ino=?1 AND content=?2 AND writing=1 AND version=?4`,
		ino, id, u.hash, version)
	if err != nil || !found {
		return err
	}
	err = tx.exec(`UPDATE bindings SET l_version=?2 WHERE l_version=?3 AND dentry IN (SELECT id FROM dentries WHERE ino=?1)`, ino, version, u.version)
	if err != nil {
		return err
	}
	return tx.markNode(ino, tx.Now())
}

// leftHeld makes no error of a node that somebody outside writes to: it is asked about by keepHeld.
func (c *Cache) leftHeld(err error) error {
	if errors.Is(err, errHeld) {
		c.hasHeld()
		return nil
	}
	return err
}

// hasHeld wakes keepHeld.
func (c *Cache) hasHeld() {
	select {
	case c.store.held <- struct{}{}:
	default:
	}
}

// SettleHeld settles what nobody outside writes to any more, for one who cannot wait until keepHeld asks again.
func (c *Cache) SettleHeld(ctx context.Context) error {
	c.settleNow()
	if err := c.settleLeft(ctx); err != nil {
		return fmt.Errorf("settle held files: %w", err)
	}
	return nil
}

// keepHeld settles nodes soon after the last program outside has let go of them. Nobody tells when that is.
func (c *Cache) keepHeld(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.store.held:
		}
		timer := time.NewTimer(heldEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := c.settleLeft(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("background task failed", "task", "settle held", "error", err)
		}
	}
}
