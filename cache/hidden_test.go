package cache

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// shownIn are the names that the mount lists in a directory, page by page.
func (x *indexTest) shownIn(dir Ino, withNodes bool) (names []string) {
	x.t.Helper()
	for after := DentryID(0); ; {
		page, err := x.ReadDir(dir, after, 2, withNodes)
		x.no(err)
		if len(page) == 0 {
			return names
		}
		for _, e := range page {
			names, after = append(names, e.Name), e.ID
		}
	}
}

func TestWhatIsHiddenIsNeitherFoundNorReplaced(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	d := x.mkdir(RootIno, "d")
	var hidden []Entry
	for _, name := range []string{"h1", "h2", "h3"} { // more than a page, at the front
		hidden = append(hidden, x.touch(d.Ino, name))
	}
	sub := x.mkdir(d.Ino, "sub")
	hidden = append(hidden, sub)
	shown := x.touch(d.Ino, "shown")
	dir := x.mkdir(d.Ino, "dir")
	for _, e := range []Entry{d, sub, shown, dir, hidden[0], hidden[1], hidden[2]} {
		x.bind(leg, e.ID)
	}
	x.update(0, func(tx *Tx) error { return tx.DeleteAllItems(leg) })
	before := x.lookup(RootIno, "d").Node
	feed := x.Feed()
	for _, e := range hidden {
		x.intend(e.ID, Excluded)
	}
	if got := feed.Next(10); len(got) != 4 || got[0].Ino != d.Ino || got[0].Parent != d.Ino || got[0].Name != "h1" {
		t.Errorf("the kernel is told %+v", got)
	}
	if after := x.lookup(RootIno, "d").Node; after.Ctime <= before.Ctime || after.Mtime != before.Mtime {
		t.Errorf("the directory's times are %d and %d, before %d and %d", after.Ctime, after.Mtime, before.Ctime, before.Mtime)
	}

	for _, withNodes := range []bool{false, true} {
		if got := x.shownIn(d.Ino, withNodes); !slices.Equal(got, []string{"shown", "dir"}) {
			t.Errorf("listed: %v", got)
		}
	}
	all, err := x.ReadDirAll(d.Ino, 0, 100)
	if err != nil || len(all) != 6 {
		t.Errorf("all: %v, %v", all, err)
	}
	for _, name := range []string{"h1", "sub"} {
		_, err := x.Lookup(d.Ino, name)
		x.is(err, ErrNotFound)
		if hides, err := x.Hides(d.Ino, name); err != nil || !hides {
			t.Errorf("hides %s: %v, %v", name, hides, err)
		}
		if e, err := x.Find(d.Ino, name); err != nil || e.Name != name {
			t.Errorf("find %s: %+v, %v", name, e, err)
		}
		_, _, err = x.Create(d.Ino, name, 0o644, Caller{})
		x.is(err, ErrExists)
		_, err = x.Mkdir(d.Ino, name, 0o755, Caller{})
		x.is(err, ErrExists)
		_, err = x.Symlink(d.Ino, name, "t", Caller{})
		x.is(err, ErrExists)
		_, err = x.Link(shown.Ino, d.Ino, name)
		x.is(err, ErrExists)
		x.is(x.Rename(d.Ino, "shown", d.Ino, name, 0), ErrExists)
		x.is(x.Rename(d.Ino, "dir", d.Ino, name, 0), ErrExists)
		x.is(x.Rename(d.Ino, "shown", d.Ino, name, RenameNoReplace), ErrExists)
		x.is(x.Rename(d.Ino, "shown", d.Ino, name, RenameExchange), ErrNotFound)
		x.is(x.Rename(d.Ino, name, d.Ino, "other", 0), ErrNotFound)
	}
	x.is(x.Unlink(d.Ino, "h1"), ErrNotFound)
	x.is(x.Rmdir(d.Ino, "sub"), ErrNotFound)
	x.no(x.Unlink(d.Ino, "shown"))
	x.no(x.Rmdir(d.Ino, "dir"))
	x.is(x.Rmdir(RootIno, "d"), ErrNotEmpty)
	empty := x.mkdir(RootIno, "empty")
	x.is(x.Rename(RootIno, "empty", RootIno, "d", 0), ErrNotEmpty)
	_ = empty

	// Nobody was told to delete anything but what was deleted.
	x.look(func(tx *Tx) error {
		for _, e := range hidden {
			items, err := tx.OpenItemsOf(e.ID)
			if err != nil || len(items) > 0 {
				return fmt.Errorf("work on %s: %v, %w", e.Name, items, err)
			}
		}
		return nil
	})
	// A move takes them along, and the endpoint's changes reach them.
	x.no(x.Rename(RootIno, "d", RootIno, "e", 0))
	x.update(leg, func(tx *Tx) error {
		return errors.Join(tx.ReplaceContent(hidden[0].Ino, 100, 42, Hash{7}), tx.MoveDentry(hidden[1].ID, d.Ino, "moved"), tx.RemoveDentry(hidden[2].ID))
	})
	for _, e := range []Entry{hidden[0], hidden[1], sub} {
		x.intend(e.ID, Inherited)
	}
	if got := x.shownIn(d.Ino, true); !slices.Equal(got, []string{"h1", "moved", "sub"}) {
		t.Errorf("shown again: %v", got)
	}
	if n := x.lookup(d.Ino, "h1").Node; n.Size != 100 {
		t.Errorf("changed at the endpoint, it has %d bytes", n.Size)
	}
	x.wantSound()
}

func TestTheRootAndPlacesCannotBeHidden(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	place := x.mkdir(RootIno, "place")
	x.legs(place.Ino, 1)
	for _, id := range []DentryID{RootDentry, place.ID} {
		x.is(x.Update(0, func(tx *Tx) error { return tx.SetIntent(id, Excluded) }), ErrBusy)
		x.wantIntent("refused", id, Inherited, 0)
	}
}
