package offload

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"vdfs/cache"
)

func (d *drive) offload(id cache.DentryID, o OffloadOptions) *Report {
	d.Helper()
	r, err := d.m.Offload(context.Background(), id, o)
	d.ok(err)
	return r
}

// skips checks that nothing was dropped and that the one reason contains why.
func (d *drive) skips(e cache.Entry, why string) {
	d.Helper()
	r := d.offload(e.ID, OffloadOptions{})
	if r.Files != 0 || r.Freed != 0 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Reason, why) {
		d.Fatalf("got %+v, want a skip because %q", r.Skipped, why)
	}
	if n := d.node(e.Ino); n.Residency != cache.Full {
		d.Fatalf("residency %v", n.Residency)
	}
}

func TestOffloadDropsWhatIsProvedAndReadingBringsItBack(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	sub := d.mkdir(dir.Ino, "sub")
	data := pattern(5000)
	var all []cache.Entry
	for i, parent := range []cache.Ino{dir.Ino, sub.Ino, sub.Ino} {
		all = append(all, d.remote(parent, string(rune('a'+i)), data))
		d.full(all[i])
	}
	absent := d.remote(dir.Ino, "absent", data)
	if r := d.offload(dir.ID, OffloadOptions{DryRun: true}); r.Freed != 15000 || r.Files != 3 || d.node(all[0].Ino).Residency != cache.Full {
		t.Fatalf("dry run: %+v", r.Skipped)
	}
	r := d.offload(dir.ID, OffloadOptions{})
	if r.Freed != 15000 || r.Files != 3 || len(r.Skipped) != 0 {
		t.Fatalf("%d files, %d bytes, skipped %v", r.Files, r.Freed, r.Skipped)
	}
	for _, e := range append(all, absent) {
		if n := d.node(e.Ino); n.Residency != cache.None || n.Size != 5000 {
			t.Fatalf("%s: residency %v, size %d", e.Name, n.Residency, n.Size)
		}
	}
	if got, err := d.read(all[1].Ino, 0, 5000); err != nil || string(got) != string(data) {
		t.Fatalf("read %d: %v", len(got), err)
	}
}

func TestOffloadKeepsWhatMayNotGoAndSaysWhy(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	data := pattern(100)
	e := d.remote(cache.RootIno, "f", data)
	d.full(e)

	d.s.noProof = errors.New("it has something else")
	d.skips(e, "it has something else")
	d.s.noProof = nil

	o, err := d.c.OpenFile(e.Ino, false)
	d.ok(err)
	d.skips(e, "is open")
	d.ok(o.Close())

	w, err := d.c.OpenFile(e.Ino, true)
	d.ok(err)
	d.skips(e, "is open for writing")
	_, err = w.WriteAt([]byte("x"), 0)
	d.ok(err)
	d.skips(e, "is being written")
	d.ok(w.Close())
	d.skips(e, "not sent")

	g := d.remote(cache.RootIno, "g", data)
	d.full(g)
	d.ok(d.m.Pin(context.Background(), g.ID))
	d.skips(g, "pinned")
	d.ok(d.m.Unpin(context.Background(), g.ID))
	d.ok(d.m.SetIntent(cache.RootDentry, cache.Pinned))
	d.skips(g, "pinned")
	d.ok(d.m.SetIntent(cache.RootDentry, cache.Inherited))

	// Opened while the endpoint proves, or changed: what was true before is looked at again.
	d.s.proved = func() { o, err = d.c.OpenFile(g.Ino, false); d.ok(err) }
	d.skips(g, "is open")
	d.ok(o.Close())
	d.s.proved = func() {
		w, err := d.c.OpenFile(g.Ino, true)
		d.ok(err)
		_, err = w.WriteAt([]byte("y"), 0)
		d.ok(err)
		d.ok(w.Close())
	}
	d.skips(g, "not sent")
	d.s.proved = nil

	own, h, err := d.c.Create(cache.RootIno, "own", 0o644, cache.Caller{})
	d.ok(err)
	d.ok(h.Close())
	d.skips(own, "not sent")
	d.update(func(tx *cache.Tx) error { return tx.DeleteAllItems(d.leg) })
	d.skips(own, "no endpoint has it")
}

// TestWhatOneStorageHasMayGoThoughAnotherWaits has a second storage that was not given a file yet.
func TestWhatOneStorageHasMayGoThoughAnotherWaits(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	var second cache.LegID
	d.update(func(tx *cache.Tx) error {
		first, _, err := tx.ConduitByName("home")
		if err != nil {
			return err
		}
		legs := []cache.Leg{{Endpoint: "backup"}}
		err = tx.CreateConduit(&cache.Conduit{UUID: "v", Name: "backup", Place: first.Place, Policy: "offload", Enabled: true}, legs)
		second = legs[0].ID
		return err
	})
	e := d.remote(cache.RootIno, "f", pattern(100))
	d.full(e)
	mark := func(leg cache.LegID) {
		t.Helper()
		d.update(func(tx *cache.Tx) error { return tx.MarkLocalOn(leg, e.ID) })
	}
	unsent := func(want bool) {
		t.Helper()
		d.update(func(tx *cache.Tx) error {
			h, err := tx.Holding(e.ID, 1)
			if h.Unsent != want {
				t.Errorf("unsent is %v, want %v", h.Unsent, want)
			}
			return err
		})
	}
	unsent(false)
	mark(second)
	unsent(false)
	mark(d.leg)
	unsent(true)
	d.skips(e, "not sent")
	d.update(func(tx *cache.Tx) error { return tx.DeleteAllItems(d.leg) })
	d.s.prove = func(cache.Ino) (int, error) { return 1, nil }
	d.m.minCopies = 2
	d.skips(e, "1 of 2 copies")
	d.m.minCopies = 1
	if r := d.offload(e.ID, OffloadOptions{}); r.Files != 1 || d.node(e.Ino).Residency != cache.None {
		t.Errorf("what the first has was kept: %+v", r)
	}
}

func TestAConflictedFileIsKept(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", pattern(100))
	d.full(e)
	d.ok(d.c.Update(0, func(tx *cache.Tx) error {
		if err := tx.MarkLocal(e.ID); err != nil {
			return err
		}
		items, err := tx.OpenItemsOf(e.ID)
		if err != nil || len(items) != 1 {
			t.Fatalf("items %v, %v", items, err)
		}
		items[0].Status = cache.ItemConflicted
		_, err = tx.UpdateItem(&items[0])
		return err
	}))
	d.skips(e, "conflict")
	s, err := d.m.Describe(e.ID)
	d.ok(err)
	if s.Word() != WordConflict {
		t.Fatalf("word %q", s.Word())
	}
}

func TestOffloadOfPinnedFilesTakesThePinsAway(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	e := d.remote(dir.Ino, "f", pattern(100))
	d.full(e)
	d.ok(d.m.SetIntent(cache.RootDentry, cache.Pinned))
	d.ok(d.m.SetIntent(e.ID, cache.Pinned))
	r := d.offload(dir.ID, OffloadOptions{IncludePinned: true})
	if r.Files != 1 || len(r.Skipped) != 0 {
		t.Fatalf("%d files, %d bytes, skipped %v", r.Files, r.Freed, r.Skipped)
	}
	s, err := d.m.Describe(e.ID)
	d.ok(err)
	if s.Intent != cache.Auto || s.From != dir.ID || s.Word() != WordCloud {
		t.Fatalf("state %+v", s)
	}
}

func TestPinBringsEverythingHereAndNewFilesToo(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	d.run()
	dir := d.mkdir(cache.RootIno, "dir")
	var all []cache.Entry
	for i := range 20 {
		all = append(all, d.remote(dir.Ino, string(rune('a'+i)), pattern(1000+i)))
	}
	d.ok(d.m.Pin(context.Background(), dir.ID))
	all = append(all, d.remote(dir.Ino, "later", pattern(10)))
	reports := 0
	d.ok(d.m.Wait(context.Background(), func(Missing) { reports++ }, dir.ID))
	for _, e := range all {
		s, err := d.m.Describe(e.ID)
		d.ok(err)
		if s.Word() != WordPinned || s.LocalBytes != e.Node.Size || s.From != dir.ID {
			t.Fatalf("%s: %+v", e.Name, s)
		}
	}
	if reports == 0 {
		t.Fatal("nothing was reported")
	}
	d.eventually("an empty queue", func() bool { return d.queued() == 0 })
}

func (d *drive) queued() (n int64) {
	d.Helper()
	d.ok(d.c.View(func(tx *cache.Tx) (err error) { n, err = tx.TransferCount(false); return err }))
	return n
}

func TestPinRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", nil)
	d.update(func(tx *cache.Tx) error { return tx.ReplaceContent(e.Ino, 1<<60, 0, cache.Hash{}) })
	for _, err := range []error{d.m.Pin(context.Background(), cache.RootDentry), d.m.Fetch(context.Background(), e.ID)} {
		var space *SpaceError
		if !errors.As(err, &space) || space.Need != 1<<60 || space.Free <= 0 || space.Errno() != syscall.ENOSPC {
			t.Fatalf("got %v", err)
		}
	}
	s, err := d.m.Describe(e.ID)
	d.ok(err)
	if s.Intent != cache.Inherited || d.queued() != 0 {
		t.Fatalf("intent %v, %d queued", s.Intent, d.queued())
	}
}

func TestFetchIsTriedAgainAndAnUnpinnedFileIsNot(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	fetch := d.remote(cache.RootIno, "fetch", pattern(10))
	pinned := d.remote(cache.RootIno, "pinned", pattern(10))
	d.s.offline = errOffline
	d.ok(d.m.Fetch(context.Background(), fetch.ID))
	d.ok(d.m.Pin(context.Background(), pinned.ID))
	d.run()
	for _, id := range []cache.DentryID{fetch.ID, pinned.ID} {
		d.eventually("a failure that is told", func() bool {
			left, err := d.m.Missing(context.Background(), id)
			d.ok(err)
			return strings.Contains(left.Error, "unplugged")
		})
	}
	d.ok(d.m.Unpin(context.Background(), pinned.ID))
	d.s.set(func() { d.s.offline = nil })
	d.ok(d.m.Wait(context.Background(), nil, fetch.ID))
	d.eventually("an empty queue", func() bool { return d.queued() == 0 })
	if n := d.node(pinned.Ino); n.Residency != cache.None {
		t.Fatalf("residency of what was unpinned: %v", n.Residency)
	}
}

func TestAPinThatWasCutShortIsFinishedByRun(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	e := d.remote(dir.Ino, "f", pattern(10))
	gone := d.mkdir(cache.RootIno, "gone")
	d.ok(d.c.Rmdir(cache.RootIno, "gone"))
	d.update(func(tx *cache.Tx) error {
		return errors.Join(tx.SetIntent(dir.ID, cache.Pinned), tx.BeginWalk(dir.ID), tx.BeginWalk(gone.ID))
	})
	d.run()
	d.ok(d.m.Wait(context.Background(), nil, e.ID))
	var left []cache.DentryID
	d.ok(d.c.View(func(tx *cache.Tx) (err error) { left, err = tx.Walks(); return err }))
	if len(left) != 0 {
		t.Fatalf("walks left: %v", left)
	}
}

func TestBackoffGrowsToItsLimits(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	for _, c := range []struct {
		n    int
		err  error
		luck float64
		want time.Duration
	}{
		{1, failed, 0.5, time.Second},
		{2, failed, 0.5, 2 * time.Second},
		{2, failed, 0, 1500 * time.Millisecond},
		{30, failed, 0.5, maxBackoff},
		{1000, failed, 1, maxBackoff * 5 / 4},
		{30, ErrUnreachable, 0.5, unreachableBackoff},
		{30, cache.ErrNoSpace, 0.5, unreachableBackoff},
	} {
		if got := backoff(c.n, c.err, c.luck); got != c.want {
			t.Errorf("backoff(%d, %v, %v) is %v, want %v", c.n, c.err, c.luck, got, c.want)
		}
	}
}

func TestWord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a    Axes
		want string
	}{
		"a placeholder":                         {Axes{}, WordCloud},
		"some of it":                            {Axes{Residency: cache.Partial}, WordPartial},
		"all of it":                             {Axes{Residency: cache.Full}, WordLocal},
		"all of it, never sent":                 {Axes{Residency: cache.Full, Sync: LocalOnly}, WordLocal},
		"pinned and here":                       {Axes{Residency: cache.Full, Intent: cache.Pinned}, WordPinned},
		"pinned and on its way":                 {Axes{Residency: cache.Partial, Intent: cache.Pinned, Activity: Downloading}, WordPinning},
		"changed":                               {Axes{Residency: cache.Full, Sync: Pending, Intent: cache.Pinned}, WordPending},
		"being sent":                            {Axes{Residency: cache.Full, Sync: Pending, Activity: Uploading}, WordUploading},
		"in conflict, whatever else":            {Axes{Residency: cache.Full, Sync: Conflicted, Intent: cache.Pinned, Activity: Uploading}, WordConflict},
		"failed":                                {Axes{Residency: cache.Full, Sync: Failed, Intent: cache.Pinned}, WordError},
		"excluded, whatever else":               {Axes{Sync: Conflicted, Intent: cache.Excluded}, WordExcluded},
		"a directory that is listed":            {Axes{Dir: true, Listing: cache.Listed}, WordLocal},
		"a directory that is not":               {Axes{Dir: true, Listing: cache.Unlisted}, WordCloud},
		"a pinned directory that is not listed": {Axes{Dir: true, Intent: cache.Pinned, Listing: cache.ListingNow}, WordPinning},
	} {
		if got := Word(c.a); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestDescribeFollowsAFile(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	word := func(want string, e cache.Entry) {
		t.Helper()
		s, err := d.m.DescribeNode(e.Ino)
		d.ok(err)
		if s.Word() != want {
			t.Fatalf("word %q, want %q (%+v)", s.Word(), want, s)
		}
	}
	e := d.remote(cache.RootIno, "f", pattern(3<<20))
	word(WordCloud, e)
	_, err := d.read(e.Ino, 2<<20, 1)
	d.ok(err)
	// The reader has its byte before the end of the fetch is written down.
	d.eventually("the fetch is written down", func() bool {
		s, err := d.m.DescribeNode(e.Ino)
		d.ok(err)
		return s.Residency == cache.Partial && s.Activity == Idle
	})
	word(WordPartial, e)
	d.ok(d.m.Pin(context.Background(), e.ID))
	word(WordPinning, e)
	d.full(e)
	word(WordPinned, e)
	d.ok(d.m.Unpin(context.Background(), e.ID))
	word(WordLocal, e)
	o, err := d.c.OpenFile(e.Ino, true)
	d.ok(err)
	_, err = o.WriteAt([]byte("x"), 0)
	d.ok(err)
	word(WordPending, e)
	d.ok(o.Close())
	word(WordPending, e)
}
