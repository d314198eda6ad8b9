package cache

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestMarksSquash(t *testing.T) {
	t.Parallel()
	// Every case starts with the file "new", which no endpoint knows, and "old", which is bound and equal.
	cases := []struct {
		name string
		do   func(x *indexTest)
		want []string
	}{
		{"create", func(*indexTest) {}, []string{"create new"}},
		{"create and delete is nothing", func(x *indexTest) { x.no(x.Unlink(RootIno, "new")) }, nil},
		{"create and modify is a create", func(x *indexTest) { x.write("new", "1") }, []string{"create new"}},
		{"create and rename is a create at the final name", func(x *indexTest) { x.mv("new", "newer") }, []string{"create newer"}},
		{"create and move is a create at the final place", func(x *indexTest) {
			d := x.mkdir(RootIno, "d")
			x.no(x.Rename(RootIno, "new", d.Ino, "new", 0))
		}, []string{"create new", "create d"}},
		{"create, rename, modify and delete is nothing", func(x *indexTest) {
			x.mv("new", "newer")
			x.write("newer", "1")
			x.no(x.Unlink(RootIno, "newer"))
		}, nil},
		{"n modifies are one", func(x *indexTest) {
			for i := range 3 {
				x.write("old", fmt.Sprint(i))
			}
		}, []string{"create new", "update old"}},
		{"n renames are one", func(x *indexTest) {
			x.mv("old", "x")
			x.mv("x", "y")
			x.mv("y", "z")
		}, []string{"create new", "move z"}},
		{"modify and rename is one", func(x *indexTest) {
			x.write("old", "1")
			x.mv("old", "z")
		}, []string{"create new", "move z"}},
		{"anything and delete is a delete", func(x *indexTest) {
			x.write("old", "1")
			x.mv("old", "z")
			x.no(x.Unlink(RootIno, "z"))
		}, []string{"create new", "delete z"}},
		{"rename over a bound file deletes that and moves this", func(x *indexTest) {
			x.mv("new", "old")
		}, []string{"create old", "delete old"}},
		{"chmod of a file is an update", func(x *indexTest) { x.chmod("old", 0o600) }, []string{"create new", "update old"}},
		{"chown is nothing to an endpoint", func(x *indexTest) {
			uid := uint32(77)
			_, err := x.SetAttr(x.lookup(RootIno, "old").Ino, Attrs{UID: &uid})
			x.no(err)
		}, []string{"create new"}},
		{"a hard link is a file of its own", func(x *indexTest) {
			_, err := x.Link(x.lookup(RootIno, "old").Ino, RootIno, "hard")
			x.no(err)
			x.write("hard", "1")
		}, []string{"create new", "create hard", "update old"}},
		{"a temporary name is never sent", func(x *indexTest) { x.touch(RootIno, "x.tmp") }, []string{"create new"}},
		{"a new file that gets a temporary name is nothing", func(x *indexTest) { x.mv("new", "new.tmp") }, nil},
		{"a temporary file that gets a real name is a create", func(x *indexTest) {
			x.touch(RootIno, "x.tmp")
			x.mv("x.tmp", "x")
		}, []string{"create new", "create x"}},
		{"a bound file that gets a temporary name is for the engine to decide", func(x *indexTest) {
			x.mv("old", "old.tmp")
		}, []string{"create new", "move old.tmp"}},
		{"a pipe stays here", func(x *indexTest) {
			_, err := x.Mknod(RootIno, "pipe", Fifo, 0o600, 0, Caller{})
			x.no(err)
		}, []string{"create new"}},
		{"exchange moves both", func(x *indexTest) {
			x.no(x.Rename(RootIno, "new", RootIno, "old", RenameExchange))
		}, []string{"create old", "move new"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			x := newIndexTest(t)
			legs := x.legs(RootIno, 2)
			old := x.touch(RootIno, "old")
			for _, leg := range legs {
				x.bind(leg, old.ID)
			}
			x.touch(RootIno, "new")
			tc.do(x)
			for _, leg := range legs { // every leg of the place gets the same work
				got := x.work(leg)
				slices.Sort(got)
				slices.Sort(tc.want)
				if !slices.Equal(got, tc.want) {
					t.Errorf("leg %d has %q, want %q", leg, got, tc.want)
				}
			}
		})
	}
}

func (x *indexTest) mv(from, to string) {
	x.t.Helper()
	x.no(x.Rename(RootIno, from, RootIno, to, 0))
}

func (x *indexTest) chmod(name string, mode uint32) {
	x.t.Helper()
	_, err := x.SetAttr(x.lookup(RootIno, name).Ino, Attrs{Mode: &mode})
	x.no(err)
}

func (x *indexTest) write(name, text string) {
	x.t.Helper()
	o, err := x.OpenFile(x.lookup(RootIno, name).Ino, true)
	x.no(err)
	_, err = o.WriteAt([]byte(text), 0)
	x.no(err)
	x.no(o.Close())
}

func TestAChangeFromOneLegIsWorkForTheOthers(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	legs := x.legs(RootIno, 3)
	var id DentryID
	x.update(legs[1], func(tx *Tx) error {
		ino, err := tx.InsertNode(Node{Kind: File, Mode: 0o644, Size: 5})
		if err == nil {
			id, err = tx.InsertDentry(RootIno, "f", ino)
		}
		return err
	})
	x.wantWork(legs[0], "create f")
	x.wantWork(legs[1])
	x.wantWork(legs[2], "create f")
	x.bind(legs[0], id)
	x.bind(legs[1], id)
	x.update(legs[0], func(tx *Tx) error { return tx.MoveDentry(id, RootIno, "g") })
	x.wantWork(legs[0])
	x.wantWork(legs[1], "move g")
	x.wantWork(legs[2], "create g")
	x.update(legs[1], func(tx *Tx) error { return tx.RemoveDentry(id) })
	x.wantWork(legs[0], "delete g")
	x.wantWork(legs[1], "move g") // its own delete is its engine's to finish
	x.wantWork(legs[2])
}

func TestAFileIsNotSentWhileItIsOpenForWriting(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	_, o, err := x.Create(RootIno, "f", 0o644, Caller{})
	x.no(err)
	x.wantWork(leg, "create f@never")
	x.mv("f", "g")
	x.chmod("g", 0o600)
	x.wantWork(leg, "create g@never")
	x.no(o.Close())
	x.wantWork(leg, "create g")
	x.look(func(tx *Tx) error {
		n, err := tx.Node(o.Ino())
		if err != nil {
			return err
		}
		items, err := tx.ItemsPage(leg, OriginLocal, 0, 10, 0)
		if err == nil && items[0].Eligible <= n.Ctime {
			err = fmt.Errorf("no quiet period: eligible %d, closed about %d", items[0].Eligible, n.Ctime)
		}
		return err
	})
	x.chmod("g", 0o640) // does not cut the quiet period short
	x.look(func(tx *Tx) error {
		due, err := tx.ItemsPage(leg, OriginLocal, 0, 10, 1)
		if err == nil && len(due) > 0 {
			err = fmt.Errorf("due before it is quiet: %+v", due)
		}
		at, ok, err2 := tx.NextWork(leg, 0)
		if err == nil && (!ok || at <= 1) {
			err = fmt.Errorf("next work %d, %v", at, ok)
		}
		return errors.Join(err, err2)
	})
}

func TestANewerMarkIsNotLostToTheWorkThatWasUnderWay(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.Cache.opt.Clock = func() time.Time { return time.Unix(1000, 0) } // a clock too coarse to tell marks apart
	leg := x.legs(RootIno, 1)[0]
	x.mkdir(RootIno, "d")
	first := x.items(leg)[0]
	work := first
	work.Status, work.Tries, work.Error, work.Parked = ItemProcessing, 3, "no", true
	x.update(leg, func(tx *Tx) error {
		if ok, err := tx.UpdateItem(&work); err != nil || !ok {
			return fmt.Errorf("claim: %v, %w", ok, err)
		}
		return nil
	})
	if work.Updated <= first.Updated {
		t.Fatal("updated stands still")
	}
	x.chmod("d", 0o700)
	if it := x.items(leg)[0]; it.Status != ItemNew || it.Tries != 0 || it.Error != "" || it.Parked || it.Updated <= work.Updated {
		t.Fatalf("after a mark the item is %+v", it)
	}
	x.update(leg, func(tx *Tx) error {
		if ok, err := tx.FinishItem(work.ID, work.Updated, ItemCompleted); err != nil || ok {
			return fmt.Errorf("overtaken work was finished: %v, %w", ok, err)
		}
		if ok, err := tx.UpdateItem(&work); err != nil || ok {
			return fmt.Errorf("overtaken work was written: %v, %w", ok, err)
		}
		return nil
	})
	again := x.items(leg)[0]
	x.update(leg, func(tx *Tx) error {
		if ok, err := tx.FinishItem(again.ID, again.Updated, ItemCompleted); err != nil || !ok {
			return fmt.Errorf("finish: %v, %w", ok, err)
		}
		return nil
	})
	x.wantWork(leg)
	x.chmod("d", 0o750) // closed work does not swallow a new mark
	x.wantWork(leg, "create d")
	x.update(0, func(tx *Tx) error {
		if n, err := tx.PurgeClosed(Never, 100); err != nil || n != 1 {
			return fmt.Errorf("purged %d, %w", n, err)
		}
		return nil
	})
	x.wantWork(leg, "create d")
}

func (x *indexTest) items(leg LegID) (out []Item) {
	x.t.Helper()
	x.look(func(tx *Tx) (err error) {
		out, err = tx.ListItems(ItemFilter{Leg: leg})
		return err
	})
	return out
}

func TestBindingTakesOverTheWorkOfItsDentry(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	d := x.mkdir(RootIno, "d")
	item := x.items(leg)[0]
	b := Binding{Leg: leg, Dentry: d.ID, RemoteID: "r", RemoteName: "d", Kind: Dir, LocalName: "d", LocalParent: RootDentry}
	x.update(leg, func(tx *Tx) error { return tx.PutBinding(&b) })
	if got := x.items(leg); len(got) != 1 || got[0].ID != item.ID || got[0].Binding != b.ID || got[0].Updated != item.Updated {
		t.Fatalf("items after binding: %+v", got)
	}
	// The name is saved over by another file, and the binding passes to that one: one piece of work.
	x.no(x.Rmdir(RootIno, "d"))
	d2 := x.mkdir(RootIno, "d")
	x.wantWork(leg, "delete d", "create d")
	b.Dentry = d2.ID
	x.update(leg, func(tx *Tx) error { return tx.PutBinding(&b) })
	if got := x.items(leg); len(got) != 1 || got[0].Binding != b.ID || got[0].Dentry != d2.ID || got[0].Status != ItemNew {
		t.Fatalf("items after rebinding: %+v", got)
	}
	taken := Binding{Leg: leg, Dentry: d2.ID, RemoteID: "other", RemoteName: "d", Kind: Dir}
	x.is(x.Update(leg, func(tx *Tx) error { return tx.PutBinding(&taken) }), ErrExists)
	x.update(leg, func(tx *Tx) error {
		if err := tx.DeleteBinding(b.ID); err != nil {
			return err
		}
		return tx.MarkLocalOn(leg, d2.ID)
	})
	x.wantWork(leg, "create d")
}

func TestRederiveBringsBackTheSameWork(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	outer := x.legs(RootIno, 2)
	leg := outer[0]
	inner := x.mkdir(RootIno, "inner")
	x.legs(inner.Ino, 1)
	x.touch(inner.Ino, "not ours")
	x.touch(RootIno, "x.tmp")
	for i := range 12 {
		name := fmt.Sprintf("f%02d", i)
		f := x.touch(RootIno, name)
		if i%2 == 0 {
			x.bind(leg, f.ID)
		}
		switch i {
		case 2:
			x.no(x.Unlink(RootIno, name))
		case 4:
			x.mv(name, "moved")
		case 6:
			x.write(name, "changed")
		case 8:
			x.chmod(name, 0o600)
		case 10:
			x.mv(name, "f10.tmp")
		}
	}
	want := x.work(leg)
	slices.Sort(want)
	other := x.work(outer[1])
	for _, page := range []int{1, 3, 1000} {
		x.update(leg, func(tx *Tx) error { return tx.DeleteAllItems(leg) })
		x.wantWork(leg)
		for pos := (RederivePos{}); !pos.Done; {
			x.update(leg, func(tx *Tx) (err error) {
				pos, err = tx.Rederive(leg, pos, page)
				return err
			})
		}
		got := x.work(leg)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q, want %q", page, got, want)
		}
	}
	x.wantWork(outer[1], other...)
}

func TestRemoteItemsAreOnePerObject(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	x.update(leg, func(tx *Tx) error {
		for _, op := range []Operation{OpCreate, OpUpdate} {
			if err := tx.MarkRemote(leg, "r1", "n", op); err != nil {
				return err
			}
		}
		return tx.MarkRemote(leg, "r2", "m", OpDelete)
	})
	x.look(func(tx *Tx) error {
		items, err := tx.ItemsPage(leg, OriginRemote, 0, 10, 1)
		if err == nil && (len(items) != 2 || items[0].RemoteID != "r1" || items[0].Operation != OpUpdate || items[1].Name != "m") {
			err = fmt.Errorf("items %+v", items)
		}
		counts, err2 := tx.CountItems()
		if err2 == nil && (len(counts) != 1 || counts[0] != (ItemCount{leg, OriginRemote, ItemNew, false, 2})) {
			err2 = fmt.Errorf("counts %+v", counts)
		}
		return errors.Join(err, err2)
	})
}
