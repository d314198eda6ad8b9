package offload

import (
	"context"
	"slices"
	"testing"
	"time"

	"vdfs/cache"
)

// goes reports whether a turn has come.
func (t *turn) goes() bool {
	select {
	case <-t.open:
		return true
	default:
		return false
	}
}

func TestTheMostUrgentGoesFirstAndTheOldestOfThem(t *testing.T) {
	t.Parallel()
	g := newGate(1, 1)
	first := g.enter(ahead)
	if !first.goes() {
		t.Fatal("nobody is inside, and it waits")
	}
	want := []class{blocked, blocked, fetching, pinning, refreshing, ahead}
	var turns []*turn
	for i := range slices.Backward(want) {
		turns = append([]*turn{g.enter(want[i])}, turns...)
	}
	turns[0], turns[1] = turns[1], turns[0] // of two of a class, the one that came first
	for i, now := range turns {
		if now.goes() {
			t.Fatalf("%d, of class %d, goes before its time", i, now.class)
		}
		if i == 0 {
			g.leave(first)
			g.leave(first) // does nothing
		} else {
			g.leave(turns[i-1])
		}
		if !now.goes() {
			t.Fatalf("%d, of class %d, does not go", i, now.class)
		}
	}
}

func TestAWaitingTurnCanBeRaisedAndWithdrawn(t *testing.T) {
	t.Parallel()
	g := newGate(1, 1)
	first, pinned, late, gone := g.enter(blocked), g.enter(pinning), g.enter(ahead), g.enter(blocked)
	g.leave(gone)
	g.raise(late, blocked)
	g.raise(late, refreshing) // is no less urgent for that
	g.leave(first)
	if !late.goes() || pinned.goes() || gone.goes() {
		t.Fatal("what was raised does not go first")
	}
	g.leave(late)
	if !pinned.goes() {
		t.Fatal("what is left does not go")
	}
}

func TestRoomIsKeptForReaders(t *testing.T) {
	t.Parallel()
	const room, share = 16, 4
	g := newGate(room, share)
	count := func(c class) (n int) {
		for {
			if now := g.enter(c); !now.goes() {
				g.leave(now)
				return n
			}
			n++
		}
	}
	var transfers []*turn
	for range share {
		transfers = append(transfers, g.enter(pinning))
	}
	if n := count(fetching); n != 0 {
		t.Errorf("%d transfers more than their share", n)
	}
	if n := count(ahead); n != room-room/4-share {
		t.Errorf("%d are fetched ahead", n)
	}
	if n := count(blocked); n != room/4 {
		t.Errorf("there is room for %d that somebody waits for", n)
	}
	// One that was raised when it was inside leaves the room that it took.
	g.raise(transfers[0], blocked)
	g.leave(transfers[0])
	if n := count(blocked); n != 1 {
		t.Errorf("one has left, and there is room for %d", n)
	}
	if g.inside != room || g.transfers != share-1 {
		t.Errorf("%d inside, %d of them transfers", g.inside, g.transfers)
	}
}

func TestReadersComeBeforeFetchesAndThoseBeforePinsAndThatBeforeRefreshes(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Parallel: 1, Background: 1})
	size := 5000
	first, read := d.remote(cache.RootIno, "first", pattern(size)), d.remote(cache.RootIno, "read", pattern(size))
	fetch, pin := d.remote(cache.RootIno, "fetch", pattern(size)), d.remote(cache.RootIno, "pin", pattern(size))
	refresh, rest := d.remote(cache.RootIno, "refresh", pattern(size)), d.remote(cache.RootIno, "rest", pattern(size))
	d.s.gate = make(chan struct{})
	done := make(chan error, 2)
	go func() { done <- d.m.Complete(context.Background(), first.Ino) }()
	d.eventually("a fetch", func() bool { return len(d.s.fetched()) == 1 })
	waiting := func(n int) func() bool {
		return func() bool {
			d.m.gate.mu.Lock()
			defer d.m.gate.mu.Unlock()
			return len(d.m.gate.waiting) == n
		}
	}
	// The least urgent first.
	d.readers().Begin(person, rest.Ino)
	d.eventually("the rest waits", waiting(1))
	d.run()
	d.ok(d.c.Update(0, func(tx *cache.Tx) error {
		return tx.PutTransfer(&cache.Transfer{Ino: refresh.Ino, Key: cache.RefreshKey, Priority: -1})
	}))
	d.eventually("the refresh waits", waiting(2))
	d.pin(pin.ID)
	d.eventually("the pin waits", waiting(3))
	d.ok(d.m.Fetch(context.Background(), fetch.ID))
	d.eventually("the fetch waits", waiting(4))
	go func() { done <- d.m.Complete(context.Background(), read.Ino) }()
	d.eventually("the reader waits", waiting(5))
	close(d.s.gate)
	d.ok(<-done)
	d.ok(<-done)
	d.eventually("all of it is here", func() bool { return d.node(rest.Ino).Residency == cache.Full })
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if want := []cache.Ino{first.Ino, read.Ino, fetch.Ino, pin.Ino, refresh.Ino, rest.Ino}; !slices.Equal(d.s.asked, want) {
		t.Errorf("fetched %v, want %v", d.s.asked, want)
	}
}

func TestATransferThatBecomesMoreUrgentIs(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Parallel: 1, Background: 1})
	one, two := d.remote(cache.RootIno, "one", pattern(10<<20)), d.remote(cache.RootIno, "two", pattern(10<<20))
	d.s.gate = make(chan struct{})
	d.run()
	d.pin(one.ID)
	d.eventually("the pin is under way", func() bool { return len(d.s.fetched()) == 1 })
	d.pin(two.ID)
	d.ok(d.m.Fetch(context.Background(), two.ID))
	d.eventually("the fetch waits beside the pin", func() bool { return d.m.Hydrating(two.Ino) })
	close(d.s.gate)
	d.eventually("both are here", func() bool {
		return d.node(one.Ino).Residency == cache.Full && d.node(two.Ino).Residency == cache.Full
	})
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	last := slices.Index(d.s.asked, two.Ino)
	if tail := d.s.asked[last:]; last > 2 || slices.Index(tail, one.Ino) < 3 {
		t.Errorf("fetched %v: what a person asked for did not come at once and in one go", d.s.asked)
	}
}

func TestWhatIsNotWantedAnyMoreStops(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(d *drive, dir, e cache.Entry){
		"deleted at the endpoint": func(d *drive, _, e cache.Entry) {
			d.update(func(tx *cache.Tx) error { return tx.RemoveDentry(e.ID) })
		},
		"deleted here":           func(d *drive, dir, e cache.Entry) { d.ok(d.c.Unlink(dir.Ino, e.Name)) },
		"its directory unpinned": func(d *drive, dir, _ cache.Entry) { d.unpin(dir.ID) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDrive(t, Options{})
			const pieces = 2 * inAir
			dir := d.mkdir(cache.RootIno, "dir")
			e, other := d.remote(dir.Ino, "f", pattern(pieces*pieceMax)), d.remote(cache.RootIno, "other", pattern(100))
			d.s.gate = make(chan struct{})
			d.run()
			d.pin(dir.ID)
			d.eventually("it is fetched", func() bool { return len(d.s.fetched()) > 0 })
			end(d, dir, e)
			d.eventually("nothing is queued", func() bool { return d.queued() == 0 })
			d.pin(other.ID)
			d.eventually("another is begun", func() bool { return d.m.Hydrating(other.Ino) })
			close(d.s.gate)
			d.eventually("another is here", func() bool { return d.node(other.Ino).Residency == cache.Full })
			d.eventually("nobody holds it", func() bool { return d.c.InUse(e.Ino) == cache.Use{} })
			if n := len(d.s.fetched()); n > inAir+1 {
				t.Errorf("it was fetched on: %d pieces of %d", n-1, pieces)
			}
		})
	}
}

func TestANewVersionOfAFileInUseIsFetchedOnce(t *testing.T) {
	t.Parallel()
	now := newTestClock()
	d := newDrive(t, Options{Clock: now.Now})
	r, ctx := d.readers(), context.Background()
	d.run()
	opened, crawled, old := d.remote(cache.RootIno, "opened", pattern(100)), d.remote(cache.RootIno, "crawled", pattern(100)), d.remote(cache.RootIno, "old", pattern(100))
	d.ok(r.Ensure(ctx, person, old.Ino, 0, 100))
	now.pass(25 * time.Hour)
	d.ok(r.Ensure(ctx, person, opened.Ino, 0, 100))
	d.ok(r.Ensure(ctx, indexer, crawled.Ino, 0, 100))
	change := func(e cache.Entry) {
		d.update(func(tx *cache.Tx) error { return tx.ReplaceContent(e.Ino, 100, 1, cache.Hash{}) })
	}
	change(crawled)
	change(old)
	if n := d.queued(); n != 0 {
		t.Fatalf("%d are queued that nobody opened lately", n)
	}
	change(opened)
	d.has("a new version", opened, cache.Full)
	if w, err := d.m.Why(opened.ID); err != nil || w.Fetched.Program != "vdfs refresh" {
		t.Errorf("why it is here: %+v, %v", w.Fetched, err)
	}
	now.pass(time.Hour)
	change(opened)
	d.has("a version after one that nobody opened", opened, cache.None)

	// A name gets a new node where a program has the file open.
	d.ok(r.Ensure(ctx, person, opened.Ino, 0, 100))
	o, err := d.c.OpenFile(opened.Ino, false)
	d.ok(err)
	next := d.remote(cache.RootIno, "next", pattern(200))
	d.update(func(tx *cache.Tx) error { return tx.SetDentryNode(opened.ID, next.Ino) })
	d.has("a new version of an open file", next, cache.Full)
	d.ok(o.Close())
}
