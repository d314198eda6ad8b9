package offload

import (
	"context"
	"errors"
	"slices"
	"testing"

	"vdfs/cache"
)

func (d *drive) pin(id cache.DentryID) { d.Helper(); d.ok(d.m.Pin(context.Background(), id)) }

func (d *drive) unpin(id cache.DentryID)           { d.Helper(); d.ok(d.m.Unpin(context.Background(), id)) }
func (d *drive) set(e cache.Entry, i cache.Intent) { d.Helper(); d.ok(d.m.SetIntent(e.ID, i)) }

func (d *drive) move(from cache.Ino, name string, to cache.Ino) {
	d.Helper()
	d.ok(d.c.Rename(from, name, to, name, 0))
}

// has waits until the queue is empty and then checks what is here.
func (d *drive) has(what string, e cache.Entry, want cache.Residency) {
	d.Helper()
	// In this order: a walk queues what it finds before it is gone.
	d.eventually("an empty queue", func() bool { return d.walksLeft() == 0 && d.queued() == 0 })
	if got := d.node(e.Ino).Residency; got != want {
		d.Errorf("%s: %s is %v, want %v", what, e.Name, got, want)
	}
}

func (d *drive) walksLeft() (n int) {
	d.Helper()
	d.ok(d.c.View(func(tx *cache.Tx) error {
		ids, err := tx.Walks()
		n = len(ids)
		return err
	}))
	return n
}

func TestWhatMovesIntoAPinIsFetchedAndWhatMovesOutIsKept(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	keep, plain := d.mkdir(cache.RootIno, "keep"), d.mkdir(cache.RootIno, "plain")
	sub := d.mkdir(plain.Ino, "sub")
	deep := d.mkdir(sub.Ino, "deep")
	below, file := d.remote(deep.Ino, "below", pattern(300)), d.remote(plain.Ino, "file", pattern(300))
	had := d.remote(keep.Ino, "had", pattern(300))
	d.pin(keep.ID)
	d.run()
	d.has("pinned", had, cache.Full)

	d.move(plain.Ino, "file", keep.Ino)
	d.has("a file moved in", file, cache.Full)
	d.move(plain.Ino, "sub", keep.Ino)
	d.has("in a directory moved in", below, cache.Full)

	d.move(keep.Ino, "had", plain.Ino)
	d.update(func(tx *cache.Tx) error { return tx.DeleteAllItems(d.leg) }) // as if the move was sent
	d.has("moved out", had, cache.Full)
	if s, err := d.m.Describe(had.ID); err != nil || s.Intent != cache.Inherited || s.Word() != WordLocal {
		t.Errorf("moved out: %+v, %v", s, err)
	}
	if r := d.offload(had.ID, OffloadOptions{}); r.Files != 1 {
		t.Errorf("moved out, it may go: %v", r.Skipped)
	}
}

func TestWhatMovesOutOfAPinIsNotFetched(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	keep, plain := d.mkdir(cache.RootIno, "keep"), d.mkdir(cache.RootIno, "plain")
	sub := d.mkdir(keep.Ino, "sub")
	file, below := d.remote(keep.Ino, "file", pattern(300)), d.remote(sub.Ino, "below", pattern(300))
	d.pin(keep.ID)
	if n := d.queued(); n != 2 {
		t.Fatalf("%d queued", n)
	}
	d.move(keep.Ino, "file", plain.Ino)
	d.move(keep.Ino, "sub", plain.Ino)
	d.run()
	d.has("moved out before it came", file, cache.None)
	d.has("in a directory moved out before it came", below, cache.None)
	if got := d.s.fetched(); len(got) != 0 {
		t.Errorf("fetched %v", got)
	}
}

func TestAPinLeavesOtherWishesBelowAlone(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	sub := d.mkdir(dir.Ino, "sub")
	file, other := d.remote(dir.Ino, "file", pattern(300)), d.remote(sub.Ino, "other", pattern(200))
	inner := d.remote(sub.Ino, "inner", pattern(100))
	d.set(sub, cache.Online)
	d.set(inner, cache.Pinned)
	missing, err := d.m.MissingForPin(context.Background(), dir.ID)
	if err != nil || missing.Files != 1 || missing.Bytes != 300 {
		t.Errorf("missing for the pin: %+v, %v", missing, err)
	}
	d.pin(dir.ID)
	if n := d.queued(); n != 2 {
		t.Errorf("%d files are queued, want the two that are pinned", n)
	}
	d.run()
	d.ok(d.m.WaitForPin(context.Background(), nil, dir.ID))
	d.has("pinned by its directory", file, cache.Full)
	d.has("online by a nearer one", other, cache.None)
	d.has("pinned by itself below what is online", inner, cache.Full)
}

func TestUnpinGoesBackToWhatIsAbove(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	sub := d.mkdir(dir.Ino, "sub")
	file, plain := d.remote(sub.Ino, "file", pattern(300)), d.remote(cache.RootIno, "plain", pattern(300))
	d.set(sub, cache.Online)
	d.set(plain, cache.Online)
	d.pin(dir.ID)
	d.run()
	d.has("online", file, cache.None)
	d.ok(d.m.Unpin(context.Background(), sub.ID, plain.ID))
	d.has("back to the pin above", file, cache.Full)
	d.has("back to nothing", plain, cache.None)
	if s, err := d.m.Describe(file.ID); err != nil || s.Intent != cache.Pinned || s.From != dir.ID {
		t.Errorf("back to the pin above: %+v, %v", s, err)
	}

	d.set(sub, cache.Online)
	huge := d.remote(sub.Ino, "huge", nil)
	d.update(func(tx *cache.Tx) error { return tx.ReplaceContent(huge.Ino, 1<<60, 0, cache.Hash{}) })
	var space *SpaceError
	if err := d.m.Unpin(context.Background(), plain.ID, sub.ID); !errors.As(err, &space) || space.Need != 1<<60 {
		t.Fatalf("unpin of what does not fit: %v", err)
	}
	if s, err := d.m.Describe(sub.ID); err != nil || s.Intent != cache.Online || s.From != sub.ID || d.queued() != 0 {
		t.Errorf("after the refusal: %+v, %v, %d queued", s, err, d.queued())
	}
}

func TestOnlineDropsWhatMayGoAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	sub := d.mkdir(dir.Ino, "sub")
	free, open, pinned, auto := d.remote(sub.Ino, "free", pattern(300)), d.remote(sub.Ino, "open", pattern(200)), d.remote(sub.Ino, "pinned", pattern(100)), d.remote(sub.Ino, "auto", pattern(50))
	for _, e := range []cache.Entry{free, open, pinned, auto} {
		d.full(e)
	}
	d.set(pinned, cache.Pinned)
	d.set(auto, cache.Auto)
	o, err := d.c.OpenFile(open.Ino, false)
	d.ok(err)
	r, err := d.m.Online(context.Background(), dir.ID)
	d.ok(err)
	d.ok(o.Close())
	if r.Files != 1 || r.Freed != 300 || !slices.Equal(r.Skipped, []Skip{{"/dir/sub/open", "is open"}}) {
		t.Errorf("%d files, %d bytes, skipped %v", r.Files, r.Freed, r.Skipped)
	}
	d.has("dropped", free, cache.None)
	d.has("has an own wish", auto, cache.Full)
	d.has("has an own pin", pinned, cache.Full)
	if s, err := d.m.Describe(open.ID); err != nil || s.Intent != cache.Online || s.From != dir.ID {
		t.Errorf("kept for now: %+v, %v", s, err)
	}
}
