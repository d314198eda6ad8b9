package cache

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// discard puts what a file of the root has into the trash, and removes the name, as the deletion of an endpoint does.
func discard(t *testing.T, c *Cache, name string) TrashRow {
	t.Helper()
	var row TrashRow
	err := c.Update(0, func(tx *Tx) error {
		e, err := tx.mustEntry(RootIno, name)
		if err == nil {
			row, err = tx.TrashNode(e.Ino, 0, "/"+name, "deleted at the endpoint")
		}
		if err == nil {
			err = tx.RemoveDentry(e.ID)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// trash reads what the trash has of a path and below it.
func trash(t *testing.T, c *Cache, path string) (rows []TrashRow) {
	t.Helper()
	err := c.View(func(tx *Tx) (err error) {
		rows, err = tx.TrashOf(path, 0, 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func getBack(t *testing.T, c *Cache, v Restored) (same bool) {
	t.Helper()
	same, err := c.Restore(v)
	if err != nil {
		t.Fatal(err)
	}
	return same
}

func find(t *testing.T, c *Cache, path string) (e Entry) {
	t.Helper()
	err := c.View(func(tx *Tx) (err error) {
		e, err = tx.Resolve(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestARestoredVersionPutsThePresentOneIntoTheTrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	makeFile(t, c, "f", "the first")
	first := discard(t, c, "f")
	second := makeFile(t, c, "f", "the second one")
	if err := c.SetXattr(second.Ino, "user.x", []byte("kept"), 0); err != nil {
		t.Fatal(err)
	}
	want(t, "it had it already", getBack(t, c, Restored{Path: "/f", Trash: first.ID, Replace: true}), false)
	now := find(t, c, "/f")
	want(t, "the file", content(t, c, now.Ino), "the first")
	want(t, "its mtime", now.Node.Mtime, first.Mtime)
	want(t, "it is another version", now.Node.Version > second.Version, true)
	value, err := c.GetXattr(now.Ino, "user.x")
	if err != nil || string(value) != "kept" {
		t.Errorf("its attribute is %q, %v", value, err)
	}
	rows := trash(t, c, "/f")
	if len(rows) != 1 || rows[0].Size != second.Size || rows[0].Reason != restoredReason {
		t.Fatalf("the trash has %+v", rows)
	}
	// And back, after a kill.
	abandon(t, c)
	c = openContents(t, dir)
	getBack(t, c, Restored{Path: "/f", Trash: rows[0].ID, Replace: true})
	want(t, "restored again", content(t, c, find(t, c, "/f").Ino), "the second one")
	if rows = trash(t, c, "/"); len(rows) != 1 || rows[0].Size != first.Size {
		t.Fatalf("the trash has %+v", rows)
	}
	if problems, err := c.Check(context.Background()); err != nil || len(problems) != 0 {
		t.Errorf("%v, %v", problems, err)
	}
	_, err = c.Restore(Restored{Path: "/f", Trash: first.ID, Replace: true})
	wantErr(t, err, ErrNotFound)
}

func TestARestoredVersionIsSentAsAnyChange(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	f := x.touch(RootIno, "f")
	x.write("f", "one")
	var row TrashRow
	x.update(leg, func(tx *Tx) (err error) {
		if row, err = tx.TrashNode(f.Ino, leg, "/d/f", "deleted at the endpoint"); err == nil {
			err = tx.RemoveDentry(f.ID)
		}
		return errors.Join(err, tx.DeleteAllItems(leg))
	})
	same, err := x.Restore(Restored{Path: "/d/f", Trash: row.ID})
	x.no(err)
	if same {
		t.Error("it is said to be there")
	}
	x.update(0, func(tx *Tx) error {
		items, err := tx.ListItems(ItemFilter{Limit: 10})
		if err == nil && (len(items) != 2 || items[0].Operation != OpCreate || items[1].Operation != OpCreate || items[0].Leg != leg) {
			err = fmt.Errorf("to be sent are %+v, not the directory and the file", items)
		}
		return err
	})
	x.wantSound()
}

func TestWhatCannotBeKeptIsNotReplacedByARestore(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	makeFile(t, c, "f", "old")
	old := discard(t, c, "f")
	v := Restored{Path: "/f", Trash: old.ID, Replace: true}

	placeholder := makePlaceholder(t, c, "f", 9)
	_, err := c.Restore(v)
	wantErr(t, err, ErrNotLocal)
	want(t, "what is there", find(t, c, "/f").Ino, placeholder.Ino)
	if err := c.Unlink(RootIno, "f"); err != nil {
		t.Fatal(err)
	}

	ino, o := create(t, c, "f")
	write(t, o, "being written", 0)
	_, err = c.Restore(v)
	wantErr(t, err, ErrBusy)
	closeIt(t, o)
	want(t, "what is there", content(t, c, ino), "being written")

	v.Replace = false
	_, err = c.Restore(v)
	wantErr(t, err, ErrExists)
	v.Replace = true
	r, err := c.OpenFile(ino, false) // who reads goes on with what he has
	if err != nil {
		t.Fatal(err)
	}
	getBack(t, c, v)
	p := make([]byte, 20)
	n, _ := r.ReadAt(p, 0) // to the end, which it says
	want(t, "a reader has", string(p[:n]), "being written")
	closeIt(t, r)
	want(t, "the file", content(t, c, find(t, c, "/f").Ino), "old")

	if err := c.Unlink(RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mkdir(RootIno, "f", 0o755, Caller{}); err != nil {
		t.Fatal(err)
	}
	row := trash(t, c, "/f")[0]
	_, err = c.Restore(Restored{Path: "/f", Trash: row.ID, Replace: true})
	wantErr(t, err, ErrIsDir)
	_, err = c.Restore(Restored{Path: "/", Trash: row.ID, Replace: true})
	wantErr(t, err, ErrName)
	getBack(t, c, Restored{Path: "/f/g/h", Trash: row.ID})
	want(t, "below new directories", content(t, c, find(t, c, "/f/g/h").Ino), "being written")
	if problems, err := c.Check(context.Background()); err != nil || len(problems) != 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestARestoredFilePartsFromItsOtherNames(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	makeFile(t, c, "f", "old")
	row := discard(t, c, "f")
	n := makeFile(t, c, "f", "shared")
	if _, err := c.Link(n.Ino, RootIno, "g"); err != nil {
		t.Fatal(err)
	}
	getBack(t, c, Restored{Path: "/f", Trash: row.ID, Replace: true})
	want(t, "the file", content(t, c, find(t, c, "/f").Ino), "old")
	want(t, "its other name", content(t, c, find(t, c, "/g").Ino), "shared")
	want(t, "in the trash", len(trash(t, c, "/")), 0)
	if problems, err := c.Check(context.Background()); err != nil || len(problems) != 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestWhatAPathHasAlreadyIsNotRestored(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	makeFile(t, c, "f", "the same")
	s := staged(t, c, "the same")
	n := find(t, c, "/f").Node
	if err := c.Update(0, func(tx *Tx) error { return tx.SetHash(n.Ino, n.Version, s.Hash()) }); err != nil {
		t.Fatal(err)
	}
	want(t, "it had it already", getBack(t, c, Restored{Path: "/f", Kind: File, Stage: s, Replace: true}), true)
	want(t, "its node", find(t, c, "/f").Ino, n.Ino)
	want(t, "in the trash", len(trash(t, c, "/")), 0)
	closeIt(t, s)

	if _, err := c.Symlink(RootIno, "l", "here", Caller{}); err != nil {
		t.Fatal(err)
	}
	link := Restored{Path: "/l", Kind: Symlink, Target: "here", Replace: true}
	want(t, "the link had it already", getBack(t, c, link), true)
	link.Target = "there"
	want(t, "another target", getBack(t, c, link), false)
	want(t, "the target", find(t, c, "/l").Node.Target, "there")
	if rows := trash(t, c, "/l"); len(rows) != 1 || rows[0].Target != "here" {
		t.Errorf("the trash has %+v", rows)
	}
	// A file of no bytes takes the place of a link.
	getBack(t, c, Restored{Path: "/l", Kind: File, Mtime: 7, Replace: true})
	if e := find(t, c, "/l"); e.Node.Kind != File || e.Node.Size != 0 || e.Node.Mode != restoredMode || e.Node.Mtime != 7 {
		t.Errorf("it is %+v", e.Node)
	}
}

func TestTheTrashIsFoundByPathAndBelow(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	makeFile(t, c, "f", "x")
	row := discard(t, c, "f")
	err := c.Update(0, func(tx *Tx) error {
		for _, p := range []string{"/d", "/d/a", "/d/b/c", "/d-not", "/d0", "/e"} {
			if err := tx.exec("INSERT INTO trash(leg, path, kind, mode, size, mtime, reason, created, target) VALUES(0, ?, 3, 0, 1, 0, 'x', 0, 'x')", blob(p)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, n := range map[string]int{"/d": 3, "/d/b": 1, "/d/b/c": 1, "/": 7, "/f": 1, "/f/x": 0, "/nothing": 0} {
		want(t, "rows of "+path, len(trash(t, c, path)), n)
	}
	if err := c.Update(0, func(tx *Tx) error { return tx.exec("UPDATE trash SET content = NULL WHERE id = ?", row.ID) }); err != nil {
		t.Fatal(err)
	}
	want(t, "of what there is nothing to be had", len(trash(t, c, "/f")), 0)
}

func TestOldTrashEndsAndFreshTrashDoesNot(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	c.opt.TrashKept, c.opt.TrashMost = 72*time.Hour, 10
	age := func(row TrashRow, by time.Duration) {
		t.Helper()
		at := c.opt.Clock().Add(-by).UnixNano()
		if err := c.Update(0, func(tx *Tx) error { return tx.exec("UPDATE trash SET created = ? WHERE id = ?", at, row.ID) }); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, text string, by time.Duration) TrashRow {
		t.Helper()
		makeFile(t, c, name, text)
		row := discard(t, c, name)
		age(row, by)
		return row
	}
	have := func(names ...string) {
		t.Helper()
		if err := c.purgeTrash(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, row := range trash(t, c, "/") {
			got += row.Path
		}
		wanted := ""
		for _, name := range names {
			wanted += "/" + name
		}
		want(t, "the trash", got, wanted)
	}
	put("old", "1234", 73*time.Hour)
	merged := put("base", "1234", 73*time.Hour)
	if err := c.Update(0, func(tx *Tx) error { return tx.exec("UPDATE trash SET reason = ? WHERE id = ?", baseReason, merged.ID) }); err != nil {
		t.Fatal(err)
	}
	put("a", "1234", 71*time.Hour)
	have("base", "a")
	put("b", "1234", 70*time.Hour)
	have("base", "b") // 12 bytes are more than 10, and the base stays
	put("c", "much more than ten", time.Hour)
	have("base", "c")
	put("d", "again much more than ten", time.Minute)
	have("base", "c", "d")
	removeDropped(t, c)
	if problems, err := c.Check(context.Background()); err != nil || len(problems) != 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
