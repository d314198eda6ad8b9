package cache

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Stats is what the drive as a whole looks like. Sizes are bytes.
type Stats struct {
	Nodes                 int64 // of all kinds; about: after Open a further name counts as one too
	ContentBytes          int64 // present on this machine
	DiskTotal, DiskFree   int64 // of the file system that holds the contents
	DiskAvailable         int64 // of DiskFree, to ordinary users
	BlockSize             int64
	FilesTotal, FilesFree int64 // inodes of that file system
}

// StatFS answers from memory and one statvfs(2): it never waits for the index or an endpoint.
func (c *Cache) StatFS() (Stats, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(c.opt.Dir, &fs); err != nil {
		return Stats{}, fmt.Errorf("stat file system of %s: %w", c.opt.Dir, err)
	}
	block := int64(fs.Bsize)
	return Stats{
		Nodes: c.nodes.Load(), ContentBytes: c.store.bytes.Load(), BlockSize: block,
		DiskTotal: int64(fs.Blocks) * block, DiskFree: int64(fs.Bfree) * block, DiskAvailable: int64(fs.Bavail) * block,
		FilesTotal: int64(fs.Files), FilesFree: int64(fs.Ffree),
	}, nil
}

// DirtyBytes sums the sizes of the files that some leg has still to send: open local items that are not deletes. A
// file that two legs wait for counts once. Its cost grows with the queue.
func (tx *Tx) DirtyBytes() (int64, error) {
	n, _, err := get(tx, (*row).int, `SELECT coalesce(sum(size), 0) FROM nodes WHERE kind = 1 AND ino IN (
		SELECT d.ino FROM items i JOIN dentries d ON d.id = i.dentry WHERE i.origin = 2 AND i.status < 6 AND i.operation <> 3)`)
	return n, err
}
