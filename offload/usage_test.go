package offload

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"vdfs/cache"
)

func (d *drive) usage(id cache.DentryID) Usage {
	d.Helper()
	u, err := d.m.Usage(context.Background(), id)
	d.ok(err)
	return u
}

func TestUsageTellsWhatMayBecomeOfTheBytesHere(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	keep := d.mkdir(dir.Ino, "keep")
	d.pin(keep.ID)
	cached, pinned, part := d.remote(dir.Ino, "cached", pattern(300)), d.remote(keep.Ino, "pinned", pattern(20)), d.remote(dir.Ino, "part", pattern(4<<20))
	d.remote(dir.Ino, "cloud", pattern(1000))
	d.full(cached)
	d.full(pinned)
	_, err := d.read(part.Ino, 0, 1)
	d.ok(err)
	d.eventually("nothing is under way", func() bool { return !d.m.Hydrating(part.Ino) })
	own, o, err := d.c.Create(dir.Ino, "own", 0o644, cache.Caller{})
	d.ok(err)
	_, err = o.WriteAt(pattern(7), 0)
	d.ok(err)
	if got := d.usage(own.ID); got != (Usage{Files: 1, Dirty: 7}) {
		t.Errorf("while it is written: %+v", got)
	}
	d.ok(o.Close())

	got := d.usage(dir.ID)
	here := int64(0)
	d.ok(d.c.View(func(tx *cache.Tx) (err error) { here, err = tx.LocalBytes(part.Ino); return err }))
	if here == 0 || here == 4<<20 {
		t.Fatalf("%d bytes of the part are here", here)
	}
	if want := (Usage{Files: 4, Dirty: 7, Pinned: 20, Partial: here, Cached: 300}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := d.usage(own.ID); got != (Usage{Files: 1, Dirty: 7}) {
		t.Errorf("of one file: %+v", got)
	}
	if got := d.usage(keep.ID); got != (Usage{Files: 1, Pinned: 20}) {
		t.Errorf("of a directory below: %+v", got)
	}
}

func TestHardLinksAreCountedOnce(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	a, b := d.mkdir(cache.RootIno, "a"), d.mkdir(cache.RootIno, "b")
	e := d.remote(a.Ino, "f", pattern(300))
	d.full(e)
	hard, err := d.c.Link(e.Ino, b.Ino, "hard")
	d.ok(err)
	d.update(func(tx *cache.Tx) error { return tx.DeleteAllItems(d.leg) })
	for name, id := range map[string]cache.DentryID{"all": cache.RootDentry, "the first name's": a.ID, "the other's": b.ID, "the other": hard.ID} {
		if got := d.usage(id); got != (Usage{Files: 1, Cached: 300}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	d.pin(b.ID)
	if got := d.usage(a.ID); got != (Usage{Files: 1, Pinned: 300}) {
		t.Errorf("pinned by its other name: %+v", got)
	}
}

func TestWishesAreToldWithWhatTheyDecide(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	sub := d.mkdir(dir.Ino, "sub")
	here, away, inner := d.remote(dir.Ino, "here", pattern(300)), d.remote(dir.Ino, "away", pattern(20)), d.remote(sub.Ino, "inner", pattern(1))
	d.full(here)
	d.pin(dir.ID)
	d.set(sub, cache.Online)
	d.set(away, cache.Auto)
	var got []Wish
	d.ok(d.m.Wishes(context.Background(), func(w Wish) error { got = append(got, w); return nil }))
	want := []Wish{
		{Path: "/dir", Kind: cache.Dir, Intent: cache.Pinned, Files: 1, Here: 300},
		{Path: "/dir/sub", Kind: cache.Dir, Intent: cache.Online, Files: 1, Missing: inner.Node.Size},
		{Path: "/dir/away", Kind: cache.File, Intent: cache.Auto, Files: 1, Missing: 20},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCopiesTellWhatHasOnlyOne(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	prove := func(e cache.Entry, proof int) {
		d.update(func(tx *cache.Tx) error {
			b, _, err := tx.BindingOfDentry(d.leg, e.ID)
			if err != nil {
				return err
			}
			b.Proof = proof
			return tx.PutBinding(&b)
		})
	}
	both, one, weak := d.remote(cache.RootIno, "both", pattern(3)), d.remote(cache.RootIno, "one", pattern(3)), d.remote(cache.RootIno, "weak", pattern(3))
	d.remote(cache.RootIno, "empty", nil)
	prove(both, 2)
	prove(one, 3)
	prove(weak, 1)
	d.full(both)
	own, o, err := d.c.Create(cache.RootIno, "own", 0o644, cache.Caller{})
	d.ok(err)
	_, err = o.WriteAt(pattern(7), 0) // and it stays open
	d.ok(err)
	defer func() { d.ok(o.Close()) }()
	for most, want := range map[int][]Copies{
		-1: {{"/both", 3, 1, true, both.Ino}, {"/one", 3, 1, false, one.Ino}, {"/weak", 3, 0, false, weak.Ino}, {"/own", 7, 0, true, own.Ino}},
		1:  {{"/one", 3, 1, false, one.Ino}, {"/weak", 3, 0, false, weak.Ino}, {"/own", 7, 0, true, own.Ino}},
	} {
		var got []Copies
		checked, err := d.m.Copies(context.Background(), cache.RootDentry, 2, most, func(c Copies) error { got = append(got, c); return nil })
		if err != nil || !slices.Equal(checked, []int64{1, 2, 1}) || !slices.Equal(got, want) {
			t.Errorf("at most %d: got %v of %v, %v, want %v", most, got, checked, err, want)
		}
	}
}

func TestToursReadPageAfterPage(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	for i := range 2*tourPage + 3 {
		d.remote(dir.Ino, fmt.Sprint(i), pattern(1))
	}
	checked, err := d.m.Copies(context.Background(), cache.RootDentry, 1, 0, func(Copies) error { return nil })
	if err != nil || !slices.Equal(checked, []int64{2*tourPage + 3}) {
		t.Fatalf("%v, %v", checked, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.m.Usage(ctx, cache.RootDentry); err == nil {
		t.Error("nobody waits for it any more, and it goes on")
	}
}
