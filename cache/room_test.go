package cache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheLogOfTheIndexHasRoomOfItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	var st unix.Stat_t
	if err := unix.Stat(indexPath(dir)+"-wal", &st); err != nil {
		t.Fatal(err)
	}
	if st.Size >= logRoom || st.Blocks*512 < logRoom {
		t.Errorf("the log has %d bytes in %d, want room for %d", st.Size, st.Blocks*512, logRoom)
	}
	closeIt(t, c)
	if _, err := os.Stat(indexPath(dir) + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log of a closed index: %v, want that it is gone", err)
	}
}

func TestTheDirectoryOfTheNextContentIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	there := func(id int64) {
		t.Helper()
		if _, err := os.Stat(filepath.Dir(c.store.path(ContentID(id)))); err != nil {
			t.Errorf("content %d has no directory: %v", id, err)
		}
	}
	there(1)
	there(257)
	c.store.next.Store(511)
	makeFile(t, c, "f", "text")
	there(513)
	there(513 + 256)
	closeIt(t, c)
	if err := os.RemoveAll(filepath.Join(dir, "content", "03")); err != nil {
		t.Fatal(err)
	}
	c = openContents(t, dir)
	there(513 + 256)
}

func TestAFullDiskIsAskedAgainWhenDroppedFilesAreGone(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	if c.madeRoom(ErrNoSpace) {
		t.Error("room was made of nothing")
	}
	n := makeFile(t, c, "f", "text")
	if err := c.Unlink(RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	if c.madeRoom(errClosed) {
		t.Error("room was made for another error")
	}
	if !c.madeRoom(ErrNoSpace) {
		t.Error("a dropped file made no room")
	}
	if _, err := os.Stat(c.store.path(n.Content)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dropped file: %v", err)
	}
}

func TestAFileThatWasCutIsToldSoThoughThereIsNoRoomToSettleIt(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "0123456789")
	// Settling takes more room than there is.
	err := c.onWriter(func(conn *conn) error {
		return conn.script(`PRAGMA max_page_count = 1; CREATE TEMP TRIGGER full AFTER UPDATE OF writing ON nodes WHEN new.writing = 0
			BEGIN INSERT INTO meta(key, value) VALUES('full', zeroblob(1000000)); END`)
	})
	if err != nil {
		t.Fatal(err)
	}
	size := int64(4)
	got, err := c.SetAttr(n.Ino, Attrs{Size: &size})
	if err != nil || got.Size != 4 {
		t.Fatalf("size %d, %v", got.Size, err)
	}
	want(t, "settled", rowOf(t, c, n.Ino).Writing, true)
	want(t, "content", content(t, c, n.Ino), "0123")
	o, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	write(t, o, "456", 4)
	wantErr(t, o.Close(), ErrNoSpace)

	err = c.onWriter(func(conn *conn) error { return conn.script(`DROP TRIGGER full`) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.settleLeft(t.Context()); err != nil {
		t.Fatal(err)
	}
	got = rowOf(t, c, n.Ino)
	want(t, "writing", got.Writing, false)
	want(t, "size", got.Size, 7)
	want(t, "content", content(t, c, n.Ino), "0123456")
}
