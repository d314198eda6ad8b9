package cache

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Stats is what the drive as a whole looks like. Sizes are bytes.
type Stats struct {
	Nodes                 int64 // of all kinds; about: those of before Open are counted by their names
	ContentBytes          int64 // present on this machine
	IndexBytes            int64 // of the index and its log
	DiskTotal, DiskFree   int64 // of the file system that holds the contents
	DiskAvailable         int64 // of DiskFree, to ordinary users
	BlockSize             int64
	FilesTotal, FilesFree int64 // inodes of that file system
}

// Stats answers like StatFS, and counts first what was not counted since Open: some ten milliseconds for a million nodes.
func (c *Cache) Stats() (Stats, error) {
	if err := c.count(); err != nil {
		return Stats{}, err
	}
	s, err := c.StatFS()
	if err != nil {
		return s, err
	}
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(indexPath(c.opt.Dir) + suffix)
		if err == nil {
			s.IndexBytes += info.Size()
		} else if !errors.Is(err, os.ErrNotExist) {
			return s, fmt.Errorf("size of the index: %w", err)
		}
	}
	return s, nil
}

// count finds out how many nodes and bytes of contents there are, if that is not known: nobody who mounts a drive waits for
// a look at all of it. The snapshot is taken while nobody writes and nothing waits for its commit, so what was added until
// then is in both.
func (c *Cache) count() error {
	c.counted.Lock()
	defer c.counted.Unlock()
	if c.known.Load() {
		return nil
	}
	err := c.readCommitted(func(tx *Tx) (err error) {
		c.writer.Lock()
		if err = c.commitGroup(); err == nil {
			err = tx.exec("BEGIN")
		}
		if err == nil {
			err = tx.query("SELECT 1 FROM meta LIMIT 1", nil) // the snapshot is that of the first look
		}
		nodes, bytes := c.nodes.Load(), c.store.bytes.Load()
		c.writer.Unlock()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tx.exec("COMMIT")) }()
		// Names are counted in place of nodes: there is an index a tenth of the size to do it in, and hard links are few.
		names, _, err := get(tx, (*row).int, "SELECT count(*) FROM dentries")
		if err != nil {
			return err
		}
		present, _, err := get(tx, (*row).int, "SELECT coalesce(sum(present), 0) FROM contents")
		if err != nil {
			return err
		}
		c.nodes.Add(names - nodes)
		c.store.bytes.Add(present - bytes)
		c.known.Store(true)
		return nil
	})
	if err != nil {
		return fmt.Errorf("count nodes: %w", err)
	}
	return nil
}

// StatFS answers from memory and one statvfs(2): it never waits for the index or an endpoint. Nodes and ContentBytes are 0
// until they are counted, in the first moments of Run or by Stats.
func (c *Cache) StatFS() (Stats, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(c.opt.Dir, &fs); err != nil {
		return Stats{}, fmt.Errorf("stat file system of %s: %w", c.opt.Dir, err)
	}
	block := int64(fs.Bsize)
	s := Stats{
		BlockSize: block,
		DiskTotal: int64(fs.Blocks) * block, DiskFree: int64(fs.Bfree) * block, DiskAvailable: int64(fs.Bavail) * block,
		FilesTotal: int64(fs.Files), FilesFree: int64(fs.Ffree),
	}
	if c.known.Load() {
		s.Nodes, s.ContentBytes = c.nodes.Load(), c.store.bytes.Load()
	}
	return s, nil
}

// DirtyBytes sums the sizes of the files that some leg has still to send: open local items that are not deletes. A
// file that two legs wait for counts once. Its cost grows with the queue.
func (tx *Tx) DirtyBytes() (int64, error) {
	n, _, err := get(tx, (*row).int, `SELECT coalesce(sum(size), 0) FROM nodes WHERE kind = 1 AND ino IN (
		SELECT d.ino FROM items i JOIN dentries d ON d.id = i.dentry WHERE i.origin = 2 AND i.status < 6 AND i.operation <> 3)`)
	return n, err
}
