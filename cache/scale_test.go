package cache

import (
	"os"
	"testing"
)

// TestCountingBesideWorkIsExact counts after Open what was there and what has come and gone since, undone work aside.
func TestCountingBesideWorkIsExact(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	for _, name := range []string{"a", "b", "c"} {
		x.touch(RootIno, name)
		x.write2(RootIno, name, "12345")
	}
	x.abandon()
	c, err := Open(t.Context(), x.opt)
	x.no(err)
	x.Cache = c
	if s, err := c.StatFS(); err != nil || s.Nodes != 0 || s.ContentBytes != 0 || s.DiskTotal == 0 {
		t.Errorf("before anything is counted: %+v, %v", s, err)
	}
	x.no(x.Unlink(RootIno, "a"))
	x.touch(RootIno, "d")
	x.write2(RootIno, "d", "123")
	x.is(x.Cache.update(0, true, func(tx *Tx) error {
		tx.countBytes(1000)
		_, err := tx.InsertNode(Node{Kind: File})
		x.no(err)
		return os.ErrInvalid
	}), os.ErrInvalid)
	for range 2 { // the second one finds it counted
		s, err := c.Stats()
		if err != nil || s.Nodes != 4 || s.ContentBytes != 13 || s.IndexBytes < 4096 {
			t.Errorf("%+v, %v; want 4 nodes and 13 bytes", s, err)
		}
	}
	x.no(x.Unlink(RootIno, "b"))
	if s, err := c.StatFS(); err != nil || s.Nodes != 3 || s.ContentBytes != 8 {
		t.Errorf("afterwards: %+v, %v", s, err)
	}
}

// TestUnownedContentsAreFoundAndRemoved makes rows that nobody has, as only a hand can: the doctor tells of them, Run's task
// removes them and their files, and what a node or the trash has stays.
func TestUnownedContentsAreFoundAndRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	kept := makeFile(t, c, "kept", "kept")
	thrown := makeFile(t, c, "thrown", "thrown")
	unowned, err := c.newContent()
	if err != nil {
		t.Fatal(err)
	}
	if err := unowned.file.Close(); err != nil {
		t.Fatal(err)
	}
	err = c.update(0, true, func(tx *Tx) error {
		if _, err := tx.TrashNode(thrown.Ino, 1, "/thrown", "test"); err != nil {
			return err
		}
		return tx.insertContent(unowned.id, kept.Ino, 0) // its node has another
	})
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, c)
	c = openContents(t, dir)
	problems, err := c.checkContents(t.Context())
	if err != nil || len(problems) != 1 || problems[0].What != wrongUnowned {
		t.Errorf("the doctor finds %v, %v", problems, err)
	}
	if err := c.removeUnowned(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.FreeDropped(); err != nil {
		t.Fatal(err)
	}
	if problems, err := c.checkContents(t.Context()); err != nil || len(problems) != 0 {
		t.Errorf("afterwards the doctor finds %v, %v", problems, err)
	}
	for id, want := range map[ContentID]bool{kept.Content: true, thrown.Content: true, unowned.id: false} {
		if _, err := os.Stat(c.store.path(id)); (err == nil) != want {
			t.Errorf("content %d: %v", id, err)
		}
	}
}
