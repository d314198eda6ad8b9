package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/internal/fault"
)

// A power cut takes the index back to an earlier transaction, whichever the disk had got to, while backing files keep what
// was written to them later. Three rules make that harmless:
//
//   - the bytes of a content change in place only when every index that may survive says that they need a look (notes)
//   - a backing file is removed only when its row is gone from every index that may survive (removals)
//   - what takes the place of something durable is durable first (SyncContent)

// notes are the contents whose row, whatever part of the index survives a power cut, is stamped or absent. A new content is
// noted as its row is made; one that was cleared is noted again when its new stamp is durable. It holds what was
// written to since the last round of syncing, so it does not grow with the drive.
type notes struct {
	mu sync.Mutex
	m  map[ContentID]struct{}
}

func (n *notes) add(id ContentID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m == nil {
		n.m = make(map[ContentID]struct{})
	}
	n.m[id] = struct{}{}
}

func (n *notes) has(id ContentID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.m[id]
	return ok
}

// drop is called in the transaction that clears or deletes a row.
func (n *notes) drop(id ContentID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.m, id)
}

// removals are the backing files that no row names any more, and that wait for the index to be durable; those included
// whose rows are about to go.
type removals struct {
	turn sync.Mutex // held while they are removed; taken before mu
	mu   sync.Mutex
	m    map[ContentID]bool // true: the transaction that deletes the row has committed
	wake chan struct{}      // cap 1
}

func (r *removals) begin(id ContentID) { r.set(id, false) }

func (r *removals) commit(id ContentID) {
	r.set(id, true)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *removals) set(id ContentID, committed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = make(map[ContentID]bool)
	}
	r.m[id] = committed
}

func (r *removals) has(id ContentID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.m[id]
	return ok
}

// due are those whose rows are gone.
func (r *removals) due() (ids []ContentID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, committed := range r.m {
		if committed {
			ids = append(ids, id)
		}
	}
	return ids
}

// end forgets a file that is removed, or whose row stays.
func (r *removals) end(id ContentID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, id)
}

// removeDropped removes the backing files whose rows are gone, after making that durable, until ctx ends. It reports whether
// there were any. What it cannot remove is left to the next start's sweep.
func (c *Cache) removeDropped(ctx context.Context) (some bool, err error) {
	c.store.removals.turn.Lock()
	defer c.store.removals.turn.Unlock()
	ids := c.store.removals.due()
	if len(ids) == 0 {
		return false, nil
	}
	if err := c.syncIndex(); err != nil {
		return false, fmt.Errorf("remove dropped contents: %w", err)
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		err := fault.Point(faultUnlink)
		if err == nil {
			err = c.store.remove(id)
		}
		if err != nil {
			c.log.Warn("backing file not removed", "content", int64(id), "error", err)
		}
		c.store.removals.end(id)
	}
	return true, nil
}

// FreeDropped gives the room of everything that was dropped so far back to the disk before it returns, instead of in a moment.
func (c *Cache) FreeDropped() error {
	_, err := c.removeDropped(context.Background())
	return err
}

const (
	// gatherRemovals is how long removals are gathered, so that many share one sync of the index.
	gatherRemovals = 100 * time.Millisecond
	// lastRemovals is how long removing goes on at the end: of a hundred thousand files it can take minutes, and nobody who
	// unmounts is to wait for them.
	lastRemovals = 2 * time.Second
)

// keepRemoving removes dropped backing files until ctx ends, and then for a while those that are left.
func (c *Cache) keepRemoving(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.store.removals.wake:
			timer := time.NewTimer(gatherRemovals)
			select {
			case <-ctx.Done():
				timer.Stop()
			case <-timer.C:
			}
			if _, err := c.removeDropped(ctx); err != nil && ctx.Err() == nil {
				c.log.Error("background task failed", "task", "remove contents", "error", err)
			}
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRemovals)
	defer cancel()
	_, err := c.removeDropped(last)
	return err
}

// SyncContent makes the bytes of a node durable, with the name of their file, if they are not for certain: before they
// take the place of others, here or at an endpoint. A node without local bytes has nothing to make durable.
func (c *Cache) SyncContent(ino Ino) error {
	st, err := c.hold(ino, reads)
	if err == nil {
		err = errors.Join(c.syncContent(st), c.letGo(st))
	}
	if err != nil {
		return fmt.Errorf("sync content of node %d: %w", ino, err)
	}
	return nil
}

// SyncContents is SyncContent for all nodes that nobody writes to, in one go: of many files that is cheaper.
func (c *Cache) SyncContents(ctx context.Context) error { return c.syncContents(ctx) }

func (c *Cache) syncContent(st *fileState) error {
	st.op.RLock()
	b := st.cur.Load()
	full := b != nil && b.full
	st.op.RUnlock()
	if !full {
		return nil
	}
	var version uint64
	var writing, stamped bool
	err := c.read(func(tx *Tx) error {
		_, err := tx.queryRow(`SELECT n.version, n.writing, c.boot <> '' FROM nodes n JOIN contents c ON c.id = n.content WHERE n.ino = ? AND c.id = ?`,
			func(r *row) { version, writing, stamped = uint64(r.int()), r.flag(), r.flag() }, st.ino, b.id)
		return err
	})
	if err != nil || !stamped {
		return err
	}
	size, err := c.syncBacking(st, b)
	if err != nil {
		return err
	}
	return c.noteSynced(st, b, size, func(tx *Tx) error {
		if writing {
			return nil
		}
		// Of a file that nobody wrote to meanwhile all is on the disk.
		cleared, err := tx.changed(`UPDATE contents SET boot='' WHERE id=?1
			AND EXISTS(SELECT 1 FROM nodes n WHERE n.ino=?2 AND n.content=?1 AND n.version=?3 AND n.writing=0)`, b.id, st.ino, version)
		if cleared {
			c.store.notes.drop(b.id)
		}
		return err
	})
}

// syncBacking makes a backing file durable, with its name, and returns how long it was when that began.
func (c *Cache) syncBacking(st *fileState, b *backing) (size int64, err error) {
	before, err := b.stat()
	if err != nil {
		return 0, err
	}
	if err := ignoringEINTR(b.file.Sync); err != nil {
		return 0, diskError(err)
	}
	return before.size, c.syncName(st, b)
}

// noteSynced records that the first size bytes of an open backing file are on the disk, as far as it has them still, and
// what else then writes. Whoever cuts the file holds app too: so a cut comes before, and is seen, or takes the note back.
func (c *Cache) noteSynced(st *fileState, b *backing, size int64, then func(*Tx) error) error {
	st.app.Lock()
	defer st.app.Unlock()
	now, err := b.stat()
	if err != nil {
		return err
	}
	return c.update(0, true, func(tx *Tx) error {
		if err := tx.exec(`UPDATE contents SET synced=? WHERE id=?`, min(size, now.size), b.id); err != nil {
			return err
		}
		return then(tx)
	})
}

// sizeOf is how long an open backing file was at some time.
type sizeOf struct {
	st   *fileState
	b    *backing
	size int64
}

// written lists the files that are open for writing, with their sizes.
func (t *fileTable) written() []sizeOf {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []sizeOf
	for _, st := range t.m {
		if b := st.cur.Load(); st.writers > 0 && b != nil {
			if info, err := b.stat(); err == nil { // else: closed in this moment
				out = append(out, sizeOf{st, b, info.size})
			}
		}
	}
	return out
}

// cut makes a file shorter. What is behind the new end is not on the disk any more, so no index may survive that says it is.
func (c *Cache) cut(st *fileState, b *backing, size int64) error {
	st.app.Lock()
	defer st.app.Unlock()
	synced, err := c.syncedBytes(b.id)
	if err == nil && synced > size {
		err = c.update(0, true, func(tx *Tx) error { return tx.exec(`UPDATE contents SET synced=? WHERE id=?`, size, b.id) })
		if err == nil {
			err = c.syncIndex()
		}
	}
	if err != nil {
		return err
	}
	return ignoringEINTR(func() error { return unix.Ftruncate(int(b.file.Fd()), size) })
}

// syncedBytes is how many bytes of a content are noted to be on the disk.
func (c *Cache) syncedBytes(id ContentID) (n int64, err error) {
	err = c.read(func(tx *Tx) error {
		_, err := tx.queryRow(`SELECT synced FROM contents WHERE id=?`, func(r *row) { n = r.int() }, id)
		return err
	})
	return n, err
}

// bootOf names the time in which what is written to dir and not synced is safe in memory: that of this boot of the machine,
// and of this mount of the file system, as a disk can be pulled out without a reboot.
func bootOf(dir string) (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	boot := strings.TrimSpace(string(id))
	// Kernels before 6.8 have no number for a mount that is never used again.
	var st unix.Statx_t
	err = ignoringEINTR(func() error { return unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_MNT_ID_UNIQUE, &st) })
	if err != nil {
		return "", fmt.Errorf("find mount of %s: %w", dir, err)
	}
	if st.Mask&unix.STATX_MNT_ID_UNIQUE != 0 {
		boot += fmt.Sprintf(".%x", st.Mnt_id)
	}
	return boot, nil
}
