package cache

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// logRoom is how much of the disk the write-ahead log has for itself, so that names can be removed, and files cut, on a
// disk that is full: that is how it gets room again. A checkpoint at walCheckpoint lets the log begin anew in it.
const logRoom = 2 * walCheckpoint

// keepRoom gives the write-ahead log the room it has not got yet. A full disk, or one that cannot set room aside, is no
// error: it is tried again.
func (c *Cache) keepRoom() error {
	f, err := os.OpenFile(indexPath(c.opt.Dir)+"-wal", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep room for the index: %w", err)
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	if err == nil && st.Blocks*512 < logRoom {
		err = ignoringEINTR(func() error { return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, logRoom) })
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	if err := joinClose(err, f); err != nil {
		return fmt.Errorf("keep room for the index: %w", err)
	}
	return nil
}

// madeRoom reports whether an error was that of a full disk and files that waited for their removal made room since.
func (c *Cache) madeRoom(err error) bool {
	if !errors.Is(err, ErrNoSpace) {
		return false
	}
	some, err := c.removeDropped(context.Background())
	return some && err == nil
}

// newContent makes an empty backing file, with the room that dropped ones give back if it needs it.
func (c *Cache) newContent() (*backing, error) {
	b, err := c.store.create()
	if c.madeRoom(err) {
		b, err = c.store.create()
	}
	return b, err
}
