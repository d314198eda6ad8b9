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
		{"n moves are one", func(x *indexTest) {
			a, b := x.mkdir(RootIno, "a"), x.mkdir(RootIno, "b")
			x.no(x.Rename(RootIno, "old", a.Ino, "old", 0))
			x.no(x.Rename(a.Ino, "old", b.Ino, "old", 0))
			x.no(x.Rename(b.Ino, "old", a.Ino, "old", 0))
		}, []string{"create new", "create a", "create b", "move old"}},
		{"create, modify and move is a create at the final place", func(x *indexTest) {
			d := x.mkdir(RootIno, "d")
			x.write("new", "1")
			x.no(x.Rename(RootIno, "new", d.Ino, "new", 0))
			x.no(x.Rename(d.Ino, "new", d.Ino, "newer", 0))
		}, []string{"create newer", "create d"}},
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
	quiet := x.items(leg)[0].Eligible
	x.look(func(tx *Tx) error {
		due, err := tx.ItemsPage(leg, OriginLocal, 0, 10, quiet-1)
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
	derived := func(page int, all bool) []string {
		x.update(leg, func(tx *Tx) error { return tx.DeleteAllItems(leg) })
		x.wantWork(leg)
		for pos := (RederivePos{}); !pos.Done; {
			x.update(leg, func(tx *Tx) (err error) {
				pos, err = tx.Rederive(leg, pos, page, all)
				return err
			})
		}
		got := x.work(leg)
		slices.Sort(got)
		return got
	}
	for _, page := range []int{1, 3, 1000} {
		if got := derived(page, false); !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q, want %q", page, got, want)
		}
	}
	want = append(want, "update f00") // the one that is as it was agreed
	slices.Sort(want)
	if got := derived(3, true); !slices.Equal(got, want) {
		t.Errorf("all that is bound: %q, want %q", got, want)
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

func TestOnlyWhatCouldBeCopiedSoonIsACopy(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	soon := func() int64 { return x.now() + int64(time.Minute) }
	has := func(when string, before int64, want bool) {
		t.Helper()
		x.look(func(tx *Tx) error {
			got, err := tx.HasCopies(leg, before)
			if err == nil && got != want {
				err = fmt.Errorf("%s: %v, want %v", when, got, want)
			}
			return err
		})
	}
	open := func(want bool) {
		t.Helper()
		x.look(func(tx *Tx) error {
			got, err := tx.HasItems(leg)
			if err == nil && got != want {
				err = fmt.Errorf("open items: %v, want %v", got, want)
			}
			return err
		})
	}
	has("with no work", soon(), false)
	open(false)
	_, o, err := x.Create(RootIno, "f", 0o644, Caller{})
	x.no(err)
	has("while the file is written to", soon(), false)
	open(true)
	x.no(o.Close())
	has("when it is closed", soon(), true)
	has("before it is quiet", x.items(leg)[0].Eligible-1, false)
	for when, change := range map[string]func(*Item){
		"parked":      func(it *Item) { it.Status, it.Parked = ItemError, true },
		"in conflict": func(it *Item) { it.Status, it.Parked = ItemConflicted, false },
		"done":        func(it *Item) { it.Status = ItemCompleted },
	} {
		was := x.items(leg)[0]
		it := was
		change(&it)
		x.update(leg, func(tx *Tx) error { _, err := tx.UpdateItem(&it); return err })
		has(when, soon(), false)
		if was.Updated = it.Updated; it.Status.Closed() {
			x.chmod("f", 0o600) // is another item
		} else {
			x.update(leg, func(tx *Tx) error { _, err := tx.UpdateItem(&was); return err })
		}
		has("not "+when+" any more", soon(), true)
	}
	e, err := x.Lookup(RootIno, "f")
	x.no(err)
	x.bind(leg, e.ID)
	x.update(0, func(tx *Tx) error { return tx.RemoveDentry(e.ID) })
	has("when it is to be deleted", soon(), false)
}

// TestWhatIsDueOfAClockThatWasAhead holds the two places that tell what is due against each other.
func TestWhatIsDueOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	const now, quiet = int64(1_000 * time.Hour), 200 * time.Millisecond
	const second, day = int64(time.Second), int64(24 * time.Hour)
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	for i, c := range []struct {
		name              string
		status            ItemStatus
		eligible, updated int64
		due               bool
		rest              time.Duration
	}{
		{"long ago", ItemNew, 0, now - day, true, 0},
		{"it rests for quiet", ItemNew, 0, now - second/10, true, quiet / 2},
		{"it was closed a moment ago", ItemNew, now + second, now - second, false, time.Second},
		{"it waits for an event", ItemNew, Never, now - second, false, time.Duration(Never - now)},
		{"it waits for an event, and the clock was set back", ItemNew, Never, now + day, false, time.Duration(Never - now)},
		{"the clock was set back by a second", ItemNew, now + second, now + second/2, true, 0},
		{"the clock was set back by a day", ItemValidated, now + day, now + day, true, 0},
		{"it rests after a failure", ItemError, now + 900*second, now - day, false, 900 * time.Second},
		{"it rests after a failure, and was marked under another clock", ItemError, now + 60*second, now + day, false, time.Minute},
		{"it rests after a failure of another clock", ItemError, now + day, now - day, true, 0},
	} {
		x.update(leg, func(tx *Tx) error {
			err := tx.MarkRemote(leg, fmt.Sprint(i), c.name, OpUpdate)
			return errors.Join(err, tx.exec("UPDATE items SET status = ?, eligible = ?, updated = ? WHERE remote_id = ?", c.status, c.eligible, c.updated, fmt.Sprint(i)))
		})
		x.look(func(tx *Tx) error {
			it, _, err := tx.RemoteItem(leg, fmt.Sprint(i))
			if err != nil {
				return err
			}
			page, err := tx.ItemsPage(leg, OriginRemote, it.ID-1, 1, now)
			if got := len(page) == 1 && page[0].ID == it.ID; got != c.due {
				t.Errorf("%s: the index says due: %v", c.name, got)
			}
			if got := it.Due(now); got != c.due {
				t.Errorf("%s: due: %v", c.name, got)
			}
			if got := it.Rest(now, quiet); got != c.rest {
				t.Errorf("%s: it rests for %v", c.name, got)
			}
			return err
		})
	}
}
