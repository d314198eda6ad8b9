package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// After a power cut the bytes of a content are what the disk happened to have got to, unless they were synced. So each
// content that was not is judged before anything else is done with it:
//
//	its hash is known and the bytes still have it     kept
//	an endpoint has this very version, or it is       dropped: it is fetched again
//	partial and can only have come from one
//	it was never sent                                 kept, as far as its bytes reached the disk: see torn
//	it was never sent and its file did not reach      the file is empty, or what the endpoint has again
//	the disk
//
// The same is done when an index was restored that is older than the contents. There, what says on itself that it was
// not sent is another version, whatever the index says, and a name whose file is gone and that no endpoint knew is of
// another time.

// unproved is a content that was written before a power cut and had not reached the disk for certain.
type unproved struct {
	id     ContentID
	node   Node
	clean  bool
	synced int64
	boot   string // its stamp
	older  bool   // the index may be older than the bytes

	info   fileInfo
	lost   bool  // its file is not there
	proved bool  // the bytes have the hash that is known
	end    int64 // what is behind it never reached the disk
}

// judge goes through the contents that the last boot had not synced.
func (c *Cache) judge(ctx context.Context) error {
	var last unproved
	for {
		var found []unproved
		err := c.read(func(tx *Tx) (err error) {
			found, err = tx.unprovedContents(last)
			return err
		})
		if err != nil || len(found) == 0 {
			return err
		}
		for i := range found {
			last = found[i]
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.examine(&found[i]); err != nil {
				return fmt.Errorf("examine content %d: %w", last.id, err)
			}
		}
		err = c.update(0, true, func(tx *Tx) error {
			for _, u := range found {
				if err := tx.sentence(u); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("recover contents of another boot: %w", err)
		}
	}
}

// unprovedContents lists contents stamped in another boot, beginning after one of them. They are in the order of the index
// of stamps, so that it is this index that is gone through and not all contents. Clean are those of which an endpoint has this very version, and
// partial ones, which can only have come from one.
func (tx *Tx) unprovedContents(after unproved) ([]unproved, error) {
	return list(tx, func(r *row) unproved {
		u := unproved{id: ContentID(r.int()), synced: r.int(), boot: r.str(), clean: r.flag(), node: scanNode(r)}
		u.older = u.boot == restored
		return u
	}, `SELECT c.id, c.synced, c.boot, n.residency = 1 OR EXISTS(SELECT 1 FROM dentries d JOIN bindings b ON b.dentry = d.id
			WHERE d.ino = n.ino AND b.l_version = n.version AND b.r_size = n.size), `+nodeCols+`
		FROM contents c JOIN nodes n ON n.ino = c.ino AND n.content = c.id
		WHERE (c.boot, c.id) > (?1, ?2) AND c.boot <> '' AND NOT (c.boot >= ?3 AND c.boot < ?4) ORDER BY c.boot, c.id LIMIT ?5`,
		after.boot, after.id, tx.c.store.boot+"/", tx.c.store.boot+"0", recoverBatch)
}

// examine finds out what the disk has of a content. What is torn off a file is cut here already: until its row is
// changed, the file is judged again.
func (c *Cache) examine(u *unproved) (err error) {
	f, err := os.OpenFile(c.store.path(u.id), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		u.lost = true
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, f) }()
	b := backing{id: u.id, file: f}
	if u.info, err = b.stat(); err != nil {
		return err
	}
	n := u.node
	if n.Residency == Full && !n.Writing && n.Hash.Known() && u.info.size == n.Size {
		h, err := hashFile(f, n.Size, nil)
		if err != nil {
			return err
		}
		u.proved = h == n.Hash
	}
	if u.older && !u.proved {
		_, unsent, err := readOrigin(c.store.path(u.id))
		if err != nil && !unsent {
			return err
		}
		u.clean = u.clean && !unsent
	}
	if u.proved || u.clean {
		return nil
	}
	if u.end, err = torn(f, u.synced, u.info.size); err != nil || u.end == u.info.size {
		return err
	}
	c.log.Warn("the end of a file did not reach the disk", "ino", uint64(n.Ino), "size", u.info.size, "kept", u.end)
	if err := f.Truncate(u.end); err != nil {
		return err
	}
	return futimens(f, u.info.mtime)
}

// torn tells how many bytes of a file reached the disk, where the first synced did for certain. A file system may note
// that a file grew before the bytes are there: they read as zeros then, in whole blocks that it has not written, which it
// shows as a hole, or in the rest of a block that the file ended in when it was written. So a file that was not synced loses
// zeros that it really ended in, up to a block of them: nobody can tell them from those.
func torn(f *os.File, synced, size int64) (int64, error) {
	if synced >= size {
		return size, nil
	}
	hole, err := unix.Seek(int(f.Fd()), synced, unix.SEEK_HOLE)
	if err != nil {
		return 0, fmt.Errorf("seek hole: %w", err)
	}
	end := min(hole, size)
	if end == synced {
		return end, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat content: %w", err)
	}
	block := int64(st.Blksize)
	// What the file ended in when it was synced.
	if rest := block - synced%block; rest < block {
		last := min(end, synced+rest)
		zeros, err := zerosBefore(f, synced, last)
		if err != nil || zeros == last-synced {
			return synced, err
		}
	}
	zeros, err := zerosBefore(f, max(synced, (end-1)/block*block), end)
	return end - zeros, err
}

// zerosBefore counts the zeros that the bytes from one offset to another end in.
func zerosBefore(f *os.File, from, to int64) (int64, error) {
	b := make([]byte, to-from)
	if _, err := f.ReadAt(b, from); err != nil {
		return 0, fmt.Errorf("read content: %w", err)
	}
	return to - from - int64(len(bytes.TrimRight(b, "\x00"))), nil
}

// sentence does with a content what examine found to be right. What was read just now is on the disk.
func (tx *Tx) sentence(u unproved) error {
	switch {
	case u.proved:
		return tx.exec(`UPDATE contents SET boot=?2, synced=?3 WHERE id=?1`, u.id, tx.c.store.stamp(), u.info.size)
	case u.clean:
		if err := tx.dropContent(u.node); err != nil {
			return err
		}
		u.node.Residency = None
		return tx.wantPinnedNode(u.node)
	case u.lost && u.older:
		return tx.loseOlder(u.node)
	case u.lost:
		return tx.loseUnsynced(u.node)
	case u.node.Writing: // it is settled next, and another version already
		return tx.exec(`UPDATE contents SET boot=?2, synced=?3 WHERE id=?1`, u.id, tx.c.store.stamp(), u.end)
	}
	return tx.keepDirty(u)
}

// keepDirty takes an unsent content as the disk kept it. If that is not what was settled it is another version.
func (tx *Tx) keepDirty(u unproved) error {
	other, mtime := u.end != u.node.Size || u.node.Hash.Known() || u.older, u.node.Mtime
	if u.older {
		mtime = u.info.mtime
	}
	err := tx.exec(`UPDATE nodes SET hash=NULL, version=version+?3, size=?2, mtime=?4 WHERE ino=?1`, u.node.Ino, u.end, other, mtime)
	if err != nil {
		return err
	}
	err = tx.exec(`UPDATE contents SET size=?2, present=?2, synced=?2, ranges=NULL, boot=?3 WHERE id=?1`, u.id, u.end, tx.c.store.stamp())
	if err != nil {
		return err
	}
	return tx.markNode(u.node.Ino, tx.Now())
}

// loseUnsynced faces that a file that was never synced did not reach the disk. It is the latest that an endpoint had agreed to,
// as if it had never been written to, or empty, as on any disk.
func (tx *Tx) loseUnsynced(n Node) error {
	tx.c.log.Warn("a file that was not synced did not reach the disk", "ino", uint64(n.Ino), "size", n.Size)
	if err := tx.removeContent(n.Content); err != nil {
		return err
	}
	found, err := tx.changed(`UPDATE nodes SET (version, size, mtime, hash) = (
			SELECT b.l_version, b.r_size, b.l_mtime, b.r_hash FROM dentries d JOIN bindings b ON b.dentry = d.id WHERE d.ino = ?1
			ORDER BY b.l_version DESC LIMIT 1),
			content=NULL, residency=0, writing=0
		WHERE ino=?1 AND EXISTS(SELECT 1 FROM dentries d JOIN bindings b ON b.dentry = d.id WHERE d.ino = ?1)`, n.Ino)
	if err == nil && !found {
		err = tx.exec(`UPDATE nodes SET version=version+1, size=0, hash=NULL, content=NULL, residency=0, writing=0 WHERE ino=?`, n.Ino)
	}
	if err != nil {
		return err
	}
	return tx.markNode(n.Ino, tx.Now())
}

// loseOlder faces that an index that was restored knows a file whose bytes are gone since: it was sent, replaced or deleted.
// Names that an endpoint knows are what it had then; the others go, as their bytes have.
func (tx *Tx) loseOlder(n Node) error {
	names, err := tx.DentriesOf(n.Ino)
	if err != nil {
		return err
	}
	bound := false
	for _, d := range names {
		known, err := tx.queryRow(`SELECT 1 FROM bindings WHERE dentry=?`, func(*row) {}, d.ID)
		if err != nil {
			return err
		}
		bound = bound || known
	}
	if bound {
		return tx.loseUnsynced(n)
	}
	for _, d := range names {
		if err := tx.unlink(Entry{d, n}); err != nil {
			return err
		}
	}
	return nil
}
