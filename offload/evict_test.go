package offload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vdfs/cache"
)

// evictTest is a drive whose clock stands where the test puts it, with files that were opened one after the other.
type evictTest struct {
	*drive
	now   *stopped
	files map[string]cache.Entry
}

func newEvictTest(t *testing.T, o Options) *evictTest {
	t.Helper()
	now := &stopped{}
	now.add(1_000_000 * time.Second)
	o.Clock = now.time
	x := &evictTest{newDrive(t, o), now, map[string]cache.Entry{}}
	x.m.evict.free = func() (int64, error) { return 1 << 40, nil }
	return x
}

// stopped is a clock that goes on when it is told to.
type stopped struct{ ns atomic.Int64 }

func (c *stopped) time() time.Time     { return time.Unix(0, c.ns.Load()) }
func (c *stopped) add(d time.Duration) { c.ns.Add(int64(d)) }

// here brings files of that size here, one a minute.
func (x *evictTest) here(parent cache.Ino, size int, names ...string) {
	x.Helper()
	for _, name := range names {
		x.now.add(time.Minute)
		x.files[name] = x.remote(parent, name, pattern(size))
		x.full(x.files[name])
	}
	x.synced()
}

// synced makes everything that is here something that may go.
func (x *evictTest) synced() {
	x.Helper()
	x.ok(x.c.SyncContents(context.Background()))
}

// look lets the evictor work once, a while later.
func (x *evictTest) look() {
	x.Helper()
	x.now.add(max(maxSweepRest, unprovedRest))
	_, err := x.m.evict.look(context.Background())
	x.ok(err)
}

// stay checks which files are here.
func (x *evictTest) stay(want ...string) {
	x.Helper()
	var got []string
	for name, e := range x.files {
		if x.node(e.Ino).Residency == cache.Full {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		x.Fatalf("%v are here, want %v", got, want)
	}
}

func TestWhatWasNotOpenedForLongestGoesUntilTheBudgetIsReached(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 5000}})
	x.here(cache.RootIno, 1000, "a", "b", "c", "d", "e")
	x.look()
	x.stay("a", "b", "c", "d", "e") // the budget itself is no excess
	_, err := x.read(x.files["a"].Ino, 0, 1)
	x.ok(err)
	x.here(cache.RootIno, 1000, "f")
	x.look()
	x.stay("a", "d", "e", "f") // b alone leaves the budget and no slack
	if got, err := x.read(x.files["b"].Ino, 0, 1000); err != nil || string(got) != string(pattern(1000)) {
		t.Fatalf("what was dropped reads %d bytes, %v", len(got), err)
	}
}

func TestOfWhatWasOpenedTogetherTheLargestGoesFirst(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 5000}})
	for name, size := range map[string]int{"a": 1000, "b": 3000, "c": 1000, "d": 1500} {
		x.files[name] = x.remote(cache.RootIno, name, pattern(size))
		x.full(x.files[name])
	}
	x.synced()
	x.look()
	x.stay("a", "c", "d")
}

func TestWhatIsToBeOnlineGoesFirst(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 5000}})
	dir := x.mkdir(cache.RootIno, "dir")
	x.here(cache.RootIno, 1000, "a", "b", "c")
	x.here(dir.Ino, 1000, "d", "e", "f", "g")
	x.ok(x.m.SetIntent(dir.ID, cache.Online))
	x.ok(x.m.SetIntent(x.files["e"].ID, cache.Auto)) // the nearest wish counts
	x.look()
	x.stay("a", "b", "c", "e")
	x.here(cache.RootIno, 1000, "h", "i")
	x.look()
	x.stay("c", "e", "h", "i") // online was not enough
}

func TestPinnedBytesStandOutsideOfTheBudget(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 2000}})
	dir := x.mkdir(cache.RootIno, "dir")
	x.here(dir.Ino, 1000, "p", "q", "r")
	x.ok(x.m.Pin(context.Background(), dir.ID))
	x.here(cache.RootIno, 1000, "a", "b")
	x.look()
	x.stay("p", "q", "r", "a", "b")
	x.here(cache.RootIno, 900, "c")
	x.look()
	x.stay("p", "q", "r", "b", "c")
	x.ok(x.m.Unpin(context.Background(), dir.ID))
	x.look()
	x.stay("b", "c")
}

func TestWhatMayNotGoStaysAndTheNextOnesGo(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 1000}})
	x.here(cache.RootIno, 1000, "open", "dirty", "unproved", "conflict", "own", "a", "b", "c")
	o, err := x.c.OpenFile(x.files["open"].Ino, false)
	x.ok(err)
	defer func() { x.ok(o.Close()) }()
	w, err := x.c.OpenFile(x.files["dirty"].Ino, true)
	x.ok(err)
	_, err = w.WriteAt([]byte("new"), 0)
	x.ok(err)
	x.ok(w.Close())
	asked := map[cache.Ino]int{}
	x.s.prove = func(ino cache.Ino) (int, error) {
		x.s.set(func() { asked[ino]++ })
		if ino == x.files["unproved"].Ino {
			return 0, errors.New("it has something else")
		}
		return 1, nil
	}
	x.update(func(tx *cache.Tx) error {
		b, _, err := tx.BindingOfDentry(x.leg, x.files["own"].ID)
		if err == nil {
			err = tx.DeleteBinding(b.ID)
		}
		return err
	})
	x.ok(x.c.Update(0, func(tx *cache.Tx) error {
		if err := tx.MarkLocal(x.files["conflict"].ID); err != nil {
			return err
		}
		items, err := tx.OpenItemsOf(x.files["conflict"].ID)
		if err != nil || len(items) != 1 {
			t.Fatalf("items %v, %v", items, err)
		}
		items[0].Status = cache.ItemConflicted
		_, err = tx.UpdateItem(&items[0])
		return err
	}))
	x.synced()
	for range 5 {
		_, err := x.m.evict.look(t.Context())
		x.ok(err)
		x.now.add(time.Minute)
	}
	x.stay("open", "dirty", "unproved", "conflict", "own")
	if n := asked[x.files["unproved"].Ino]; n != 1 {
		t.Errorf("the endpoint was asked %d times in five minutes for what it cannot prove", n)
	}
	if n := asked[x.files["dirty"].Ino] + asked[x.files["open"].Ino]; n != 0 {
		t.Errorf("the endpoint was asked %d times for what may not go", n)
	}
	x.now.add(unprovedRest)
	x.look()
	if n := asked[x.files["unproved"].Ino]; n != 2 {
		t.Errorf("after its rest the endpoint was asked %d times", n)
	}
}

func TestAFileThatIsOpenedBetweenChoiceAndDropStays(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 2500}})
	x.here(cache.RootIno, 1000, "a", "b", "c")
	x.s.prove = func(ino cache.Ino) (int, error) {
		if ino == x.files["a"].Ino { // somebody reads it, and is done before it could be dropped
			x.now.add(time.Second)
			if _, err := x.read(ino, 0, 10); err != nil {
				return 0, err
			}
		}
		return 1, nil
	}
	x.look()
	x.stay("a", "c")
}

func TestOfTooFewCopiesNoneIsDropped(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{MinCopies: 2, Eviction: Eviction{Budget: 500}})
	x.here(cache.RootIno, 1000, "a", "b")
	copies := map[cache.Ino]int{x.files["a"].Ino: 1, x.files["b"].Ino: 2}
	x.s.prove = func(ino cache.Ino) (int, error) { return copies[ino], nil }
	x.look()
	x.stay("a")
	if r := x.offload(x.files["a"].ID, OffloadOptions{}); len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Reason, "1 of 2 copies") {
		t.Errorf("a person's offload: %+v", r.Skipped)
	}
}

func TestNobodyIsAskedAboutWhatCannotBeReached(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 500}})
	x.here(cache.RootIno, 1000, "a", "b")
	x.s.prove = func(cache.Ino) (int, error) {
		t.Error("an endpoint was asked that is not reachable")
		return 1, nil
	}
	x.s.set(func() { x.s.offline = errOffline })
	x.look()
	x.stay("a", "b")
	x.s.prove = nil
	x.s.set(func() { x.s.offline = nil })
	x.look()
	x.stay()
}

func TestIdleFilesGoAndRecentOnesStay(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Idle: time.Hour}})
	x.here(cache.RootIno, 1000, "a", "b")
	x.now.add(45 * time.Minute)
	_, err := x.read(x.files["a"].Ino, 0, 1)
	x.ok(err)
	x.look()
	x.stay("a", "b")
	x.look()
	x.stay("a")
	x.ok(x.c.WriteUsage()) // as Run does
	x.now.add(time.Hour)
	x.look()
	x.stay()

	y := newEvictTest(t, Options{Eviction: Eviction{Budget: 1, KeepRecent: time.Hour}})
	y.here(cache.RootIno, 1000, "a")
	y.now.add(40 * time.Minute)
	y.here(cache.RootIno, 1000, "b")
	y.look()
	y.stay("a", "b")
	y.look()
	y.look()
	y.stay("b")
	y.now.add(time.Hour)
	y.look()
	y.stay()

	const ahead = 40 * 24 * time.Hour
	z := newEvictTest(t, Options{Eviction: Eviction{Budget: 1, KeepRecent: time.Hour}})
	z.now.add(ahead)
	z.here(cache.RootIno, 1000, "of a clock that was ahead")
	z.now.add(-ahead)
	z.here(cache.RootIno, 1000, "a")
	z.look()
	z.stay("a")
}

func TestTheDiskIsFreedToTheHighWatermark(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{FreeLow: 2000, FreeHigh: 3000}})
	x.here(cache.RootIno, 1000, "a", "b", "c", "d", "e")
	others := int64(0) // what other programs took or gave back
	x.m.evict.free = func() (int64, error) {
		s, err := x.c.Stats()
		return 7000 - others - s.ContentBytes, err
	}
	x.look()
	x.stay("a", "b", "c", "d", "e") // 2000 are free
	others = 1
	x.look()
	x.stay("c", "d", "e") // 3999 are free: at 2999 it goes on
	others = 1000
	x.look()
	x.stay("c", "d", "e") // 3000 are free
}

func TestNamesAndSizesAreSpared(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{
		Budget: 1, MinSize: 1000, Include: []string{"*.iso", "*.mkv"}, Exclude: []string{"keep*"},
	}})
	x.here(cache.RootIno, 1000, "a.iso", "b.mkv", "keep.iso", "c.txt")
	x.here(cache.RootIno, 999, "small.iso")
	x.look()
	x.stay("keep.iso", "c.txt", "small.iso")
}

func TestManyFilesGoInPages(t *testing.T) {
	t.Parallel()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 50}})
	var names []string
	for i := range 2*evictPage + 50 {
		names = append(names, fmt.Sprintf("f%04d", i))
	}
	x.here(cache.RootIno, 1, names...)
	x.look()
	x.stay(names[len(names)-49:]...)
}

func TestWhatComesAboveTheBudgetWakesTheEvictor(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Eviction: Eviction{Budget: 2000}})
	wake, err := d.m.evict.look(t.Context())
	d.ok(err)
	for _, name := range []string{"a", "b", "c"} {
		select {
		case <-wake:
			t.Fatalf("woken within the budget, before %s", name)
		default:
		}
		d.full(d.remote(cache.RootIno, name, pattern(1000)))
	}
	select {
	case <-wake:
	default:
		t.Fatal("not woken")
	}
}

func TestRunEvictsWhileFilesComeAndAreRead(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Eviction: Eviction{Budget: 20_000}})
	d.run()
	data := pattern(1000)
	for i := range 100 {
		e := d.remote(cache.RootIno, fmt.Sprint("f", i), data)
		got, err := d.read(e.Ino, 0, 1000)
		if err != nil || string(got) != string(data) {
			t.Fatalf("file %d reads %d bytes, %v", i, len(got), err)
		}
		if i%10 == 0 {
			d.ok(d.c.SyncContents(context.Background()))
		}
	}
	d.ok(d.c.SyncContents(context.Background()))
	d.eventually("the budget is reached", func() bool {
		s, err := d.c.Stats()
		d.ok(err)
		return s.ContentBytes <= 20_000 && s.ContentBytes > 18_000
	})
}
