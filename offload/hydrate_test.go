package offload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"vdfs/cache"
)

func TestASmallFileIsOneFetchHoweverManyRead(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	data := pattern(100_000)
	e := d.remote(cache.RootIno, "f", data)
	d.s.gate = make(chan struct{})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			got, err := d.read(e.Ino, 0, 200_000)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %d bytes: %v", len(got), err)
			}
		})
	}
	d.eventually("a fetch", func() bool { return len(d.s.fetched()) > 0 })
	close(d.s.gate)
	wg.Wait()
	if got := d.s.fetched(); len(got) != 1 || got[0] != (cache.Range{Len: 100_000}) {
		t.Fatalf("fetched %v", got)
	}
	n := d.node(e.Ino)
	if n.Residency != cache.Full || n.Hash != blake3.Sum256(data) {
		t.Fatalf("residency %v, hash %x", n.Residency, n.Hash)
	}
}

func TestAnInterruptEndsOnlyOneWait(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", pattern(1000))
	d.s.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	interrupted, other := make(chan error, 1), make(chan error, 1)
	go func() { interrupted <- d.m.Ensure(ctx, e.Ino, 0, 10) }()
	d.eventually("a fetch", func() bool { return len(d.s.fetched()) > 0 })
	go func() { other <- d.m.Ensure(context.Background(), e.Ino, 0, 10) }()
	cancel()
	if err := <-interrupted; !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	close(d.s.gate)
	d.ok(<-other)
	if got := d.s.fetched(); len(got) != 1 {
		t.Fatalf("fetched %v", got)
	}
}

func TestAReadOfALargeFileWaitsForItsOwnRangeOnly(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	data := pattern(32 << 20)
	e := d.remote(cache.RootIno, "big", data)
	got, err := d.read(e.Ino, 20<<20, 4096)
	if err != nil || !bytes.Equal(got, data[20<<20:20<<20+4096]) {
		t.Fatalf("read %d: %v", len(got), err)
	}
	if sum := d.s.sum(); sum > minFetch {
		t.Fatalf("%d bytes fetched for one random read: %v", sum, d.s.fetched())
	}
	if n := d.node(e.Ino); n.Residency == cache.Full {
		t.Fatal("all of it came")
	}
}

func TestTheHeadOfAFileComesAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size, head, fetched int64
		corrupt, fetches    int
	}{
		"large":                      {size: 3 << 20, head: 100_000, fetched: 100_000, fetches: 1},
		"small":                      {size: 100_000, head: 10, fetched: 100_000, fetches: 1},
		"small, wrong at first":      {size: 100_000, head: 10, fetched: 100_000, corrupt: 1, fetches: 2},
		"small, of which it is most": {size: 100_000, head: 99_999, fetched: 100_000, fetches: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDrive(t, Options{})
			data := pattern(int(c.size))
			e := d.remote(cache.RootIno, "f", data)
			d.s.corrupt = c.corrupt
			for range 2 {
				d.ok(d.m.Head(context.Background(), e.Ino, c.head))
			}
			want := slices.Repeat([]cache.Range{{Len: c.fetched}}, c.fetches)
			if got := d.s.fetched(); !slices.Equal(got, want) {
				t.Errorf("fetched %v, want %v", got, want)
			}
			o, err := d.c.OpenFile(e.Ino, false)
			d.ok(err)
			defer func() { d.ok(o.Close()) }()
			got := make([]byte, c.head)
			if _, err := o.ReadAt(got, 0); err != nil || !bytes.Equal(got, data[:c.head]) {
				t.Errorf("the head reads wrong: %v", err)
			}
			if !o.Missing(c.head, 1) {
				t.Error("more than the head is here")
			}
		})
	}
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", pattern(100_000))
	d.s.corrupt = 2
	d.fails(d.m.Head(context.Background(), e.Ino, 10), ErrMismatch, syscall.EIO)
	if n := d.node(e.Ino); n.Residency != cache.None {
		t.Errorf("of a file that fails verification something is here: %v", n.Residency)
	}
}

// sum is how many bytes were asked for.
func (s *endpoint) sum() (n int64) {
	for _, r := range s.fetched() {
		n += r.Len
	}
	return n
}

// asked is up to where a file was asked for: of the endpoint, or by a fetch whose goroutine has not come so far. When it does is
// up to the machine; what is to be fetched is not.
func (d *drive) asked(ino cache.Ino) (end int64) {
	d.Helper()
	f, err := d.m.acquire(ino)
	d.ok(err)
	if f != nil {
		f.mu.Lock()
		for _, fl := range f.flights {
			end = max(end, fl.end)
		}
		f.mu.Unlock()
		d.ok(d.m.release(f))
	}
	for _, r := range d.s.fetched() {
		end = max(end, r.End())
	}
	return end
}

func TestRandomReadsFetchLittle(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	d := newDrive(t, Options{})
	data := pattern(64 << 20)
	e := d.remote(cache.RootIno, "big", data)
	const reads = 100
	for range reads {
		off := rnd.Int64N(int64(len(data))>>12) << 12
		got, err := d.read(e.Ino, off, 4096)
		if err != nil || !bytes.Equal(got, data[off:off+4096]) {
			t.Fatalf("read at %d: %d, %v", off, len(got), err)
		}
	}
	d.eventually("nothing is under way", func() bool { return !d.m.Hydrating(e.Ino) })
	if sum := d.s.sum(); sum > reads*64<<10 {
		t.Fatalf("%d bytes fetched for %d random reads of 4 KiB", sum, reads)
	}
}

func TestReadAheadGrowsWhileReadsAreSequentialAndTheRestFollows(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	data := pattern(80<<20 + 123)
	e := d.remote(cache.RootIno, "big", data)
	const step = 128 << 10
	var asked, most int64
	for off := int64(0); off < 19<<20; off += step {
		got, err := d.read(e.Ino, off, step)
		if err != nil || !bytes.Equal(got, data[off:off+step]) {
			t.Fatalf("read at %d: %d, %v", off, len(got), err)
		}
		sum := d.s.sum()
		if read := off + step; sum > (1+eager)*read+step || sum > read+windowMax+step {
			t.Fatalf("%d bytes are asked for when %d are read", sum, read)
		}
		asked = max(asked, d.asked(e.Ino))
		most = max(most, asked-off)
	}
	fetched := d.s.fetched()
	if first := fetched[0]; first.Len > step || most < windowMax/2 || len(fetched) > 60 {
		t.Fatalf("at most %d bytes ahead: %v", most, fetched)
	}
	for off := int64(19 << 20); off < 60<<20; off += step {
		_, err := d.read(e.Ino, off, step)
		d.ok(err)
	}
	d.eventually("the rest", func() bool { return d.node(e.Ino).Residency == cache.Full })
	if sum := d.s.sum(); sum != int64(len(data)) {
		t.Fatalf("%d bytes fetched of %d: %v", sum, len(data), d.s.fetched())
	}
	if n := d.node(e.Ino); n.Hash != blake3.Sum256(data) {
		t.Fatal("the hash is not recorded")
	}
	d.eventually("nothing is held", func() bool { return d.c.InUse(e.Ino) == cache.Use{} })
}

func TestAReaderInOrderFindsWhatItReads(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "big", pattern(40<<20))
	d.s.gate = make(chan struct{})
	go func() { // the first reads
		for range 1 + eager {
			d.s.gate <- struct{}{}
		}
	}()
	_, err := d.read(e.Ino, 0, 64<<10)
	d.ok(err)
	d.eventually("what follows is here", func() bool {
		f, err := d.c.Fill(e.Ino, e.Node.Version)
		d.ok(err)
		defer f.Close()
		return f.Bytes() >= (1+eager)*64<<10
	})
	before := d.s.sum()
	_, err = d.read(e.Ino, 64<<10, 64<<10)
	d.ok(err)
	d.eventually("more is asked for", func() bool { return d.s.sum() > before })
	close(d.s.gate)
}

func TestAReaderDoesNotWaitForWhatComesForOthers(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	data := pattern(32 << 20)
	e := d.remote(cache.RootIno, "big", data)
	d.s.gate = make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- d.m.Complete(context.Background(), e.Ino) }()
	d.eventually("all that may is under way", func() bool { return len(d.s.fetched()) == inAir })
	d.s.set(func() { d.s.free = true }) // only what begins now gets on
	got, err := d.read(e.Ino, 3<<20, 4096)
	if err != nil || !bytes.Equal(got, data[3<<20:3<<20+4096]) {
		t.Fatalf("read %d: %v", len(got), err)
	}
	close(d.s.gate)
	d.ok(<-done)
	if n := d.node(e.Ino); n.Residency != cache.Full || n.Hash != blake3.Sum256(data) {
		t.Fatalf("residency %v, hash %x", n.Residency, n.Hash)
	}
	if sum := d.s.sum(); sum > int64(len(data))+minFetch {
		t.Fatalf("%d bytes fetched of %d", sum, len(data))
	}
}

func TestHabits(t *testing.T) {
	t.Parallel()
	var hb habit
	for _, step := range []struct{ off, n, want int64 }{
		{0, 128 << 10, eager * 128 << 10},         // first
		{128 << 10, 128 << 10, eager * 256 << 10}, // goes on
		{384 << 10, 128 << 10, eager * 384 << 10}, // the kernel's read-ahead
		{256 << 10, 128 << 10, eager * 384 << 10}, // came out of order
		{256 << 10, 4096, eager * 384 << 10},      // again: neither more nor less
		{100 << 20, 4096, 0},                      // elsewhere
		{100<<20 + 4096, 4096, eager * 8192},      // and on from there
		{100<<20 + 8192, 20 << 20, windowMax},     // no more than that
		{50 << 20, 4096, 0},                       // elsewhere
		{0, 4096, eager * 4096},                   // back to the start
	} {
		if got := hb.read(step.off, step.n); got != step.want {
			t.Errorf("read(%d, %d) is %d, want %d", step.off, step.n, got, step.want)
		}
	}
	var s habits
	for i := range uint64(3 * habitsMax) {
		s.get(version{cache.Ino(i + 1), 1})
	}
	if len(s.of) != habitsMax {
		t.Errorf("%d habits are kept", len(s.of))
	}
}

func TestWrongBytesAreFetchedOnceMoreAndNeverShown(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 5000, "large": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDrive(t, Options{})
			data := pattern(size)
			once := d.remote(cache.RootIno, "once", data)
			d.s.corrupt = 1
			d.ok(d.m.Complete(context.Background(), once.Ino))
			got, err := d.read(once.Ino, 0, int64(size))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("read %d: %v", len(got), err)
			}

			always := d.remote(cache.RootIno, "always", data)
			d.s.set(func() { d.s.corrupt, d.s.fetches = 1<<30, nil })
			d.fails(d.m.Complete(context.Background(), always.Ino), ErrMismatch, syscall.EIO)
			if got := d.s.fetched(); len(got) != 2 {
				t.Fatalf("fetched %v", got)
			}
			// It is not fetched again and again by each read.
			d.fails(d.m.Ensure(context.Background(), always.Ino, 0, 1), ErrMismatch, syscall.EIO)
			if got := d.s.fetched(); len(got) != 2 {
				t.Fatalf("fetched %v", got)
			}
			if n := d.node(always.Ino); n.Residency == cache.Full || n.Hash.Known() {
				t.Fatalf("residency %v", n.Residency)
			}
		})
	}
}

func TestWhatFailsVerificationIsFetchedFromAnotherCopy(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 5000, "large": 9 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDrive(t, Options{})
			d.s.spoilt, d.s.copies = true, 2
			data := pattern(size)
			e := d.remote(cache.RootIno, "f", data)
			d.ok(d.m.Complete(context.Background(), e.Ino))
			if got, err := d.read(e.Ino, 0, int64(size)); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("read %d: %v", len(got), err)
			}
			if sum := d.s.sum(); sum != 2*int64(size) {
				t.Errorf("%d bytes were fetched of a file of %d", sum, size)
			}
			if got := d.diary(ActivityMismatch); len(got) != 0 {
				t.Errorf("reported: %q", got)
			}
		})
	}
}

// diary is what was written down of a kind.
func (d *drive) diary(kind string) (texts []string) {
	d.Helper()
	d.ok(d.c.View(func(tx *cache.Tx) error {
		all, err := tx.Activities(0, 100)
		for _, a := range all {
			if a.Kind == kind {
				texts = append(texts, a.Text)
			}
		}
		return err
	}))
	return texts
}

func TestAFileThatNoCopyHasRightIsReportedOnce(t *testing.T) {
	t.Parallel()
	now := newTestClock()
	d := newDrive(t, Options{Clock: now.Now})
	dir := d.mkdir(cache.RootIno, "dir")
	small, large := d.remote(dir.Ino, "small", pattern(5000)), d.remote(dir.Ino, "large", pattern(2<<20))
	d.s.spoilt = true
	d.fails(d.m.Complete(context.Background(), small.Ino), ErrMismatch, syscall.EIO)
	// Nobody waits for the verification of what is read piece by piece.
	var err error
	d.eventually("it is found to be wrong", func() bool {
		err = d.m.Ensure(context.Background(), large.Ino, 0, 2<<20)
		return err != nil
	})
	d.fails(err, ErrMismatch, syscall.EIO)
	now.pass(mistrust)
	d.fails(d.m.Complete(context.Background(), small.Ino), ErrMismatch, syscall.EIO)
	got := d.diary(ActivityMismatch)
	if len(got) != 2 || !strings.Contains(got[1], "/dir/small cannot be read") || !strings.Contains(got[0], "/dir/large cannot be read") {
		t.Fatalf("reported %q", got)
	}
	if notes := d.readers().Notes(); len(notes) != 2 {
		t.Errorf("notes %q", notes)
	}
	// When the storage was mended it is read.
	now.pass(mistrust)
	d.s.set(func() { d.s.spoilt = false })
	d.ok(d.m.Complete(context.Background(), small.Ino))
	d.ok(d.m.Complete(context.Background(), large.Ino))
	now.pass(noteKept)
	if notes := d.readers().Notes(); len(notes) != 0 {
		t.Errorf("notes of long ago: %q", notes)
	}
}

func TestAnUnknownHashIsRecorded(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	d.s.unhashed = true
	data := pattern(2 << 20)
	e := d.remote(cache.RootIno, "f", data)
	if n := d.full(e); n.Hash != blake3.Sum256(data) {
		t.Fatalf("hash %x", n.Hash)
	}
	empty := d.full(d.remote(cache.RootIno, "empty", nil))
	if empty.Hash != blake3.Sum256(nil) {
		t.Fatalf("hash of nothing %x", empty.Hash)
	}
}

func TestAFetchWithoutProgressIsStalledEvenIfTheSourceIsDeaf(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Timeout: 300 * time.Millisecond, Parallel: 1})
	data := pattern(5000)
	e := d.remote(cache.RootIno, "f", data)
	other := d.remote(cache.RootIno, "g", data)
	gate := make(chan struct{})
	d.s.gate, d.s.deaf = gate, true
	d.fails(d.m.Ensure(context.Background(), e.Ino, 0, 1), ErrStalled, syscall.ETIMEDOUT)
	// Its turn is free again, and the file can be asked for anew.
	d.fails(d.m.Ensure(context.Background(), other.Ino, 0, 1), ErrStalled, syscall.ETIMEDOUT)
	close(gate)
	for _, f := range []cache.Entry{e, other} {
		d.eventually("it is read", func() bool {
			got, err := d.read(f.Ino, 0, 5000)
			return err == nil && bytes.Equal(got, data)
		})
	}
}

func TestWhoAsksAgainAtOnceIsToldThatItStalled(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Timeout: time.Hour})
	e := d.remote(cache.RootIno, "f", pattern(5000))
	gaveUp := &failure{"the source has waited long enough", syscall.ETIMEDOUT}
	d.s.fail = gaveUp
	d.fails(d.m.Ensure(context.Background(), e.Ino, 0, 1), gaveUp, syscall.ETIMEDOUT)
	d.s.set(func() { d.s.offline = errOffline })
	d.fails(d.m.Ensure(context.Background(), e.Ino, 0, 1), ErrStalled, syscall.ETIMEDOUT)
	d.m.mu.Lock()
	for _, hb := range d.m.habits.of {
		hb.stalled = hb.stalled.Add(-time.Hour / echo)
	}
	d.m.mu.Unlock()
	d.fails(d.m.Ensure(context.Background(), e.Ino, 0, 1), errOffline, syscall.EIO)
}

func TestSlowIsNotStalled(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Timeout: time.Second})
	data := pattern(2000)
	e := d.remote(cache.RootIno, "f", data)
	d.s.gate, d.s.piece = make(chan struct{}), 100
	done := make(chan error, 1)
	go func() { done <- d.m.Complete(context.Background(), e.Ino) }()
	tick := time.NewTicker(75 * time.Millisecond) // 20 pieces: longer than the timeout in all
	defer tick.Stop()
	for range 20 {
		<-tick.C
		select {
		case d.s.gate <- struct{}{}:
		case err := <-done:
			t.Fatalf("ended early: %v", err)
		}
	}
	d.ok(<-done)
}

func TestOfflineIsSaidAtOnceAndFailuresReachTheReader(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", pattern(5000))
	here := d.remote(cache.RootIno, "here", pattern(10))
	d.full(here)
	d.ok(d.m.Prepare(e.Ino))
	d.s.set(func() { d.s.offline = errOffline })
	d.fails(d.m.Prepare(e.Ino), ErrUnreachable, syscall.ENETUNREACH)
	d.ok(d.m.Prepare(here.Ino))
	d.fails(d.m.Ensure(context.Background(), e.Ino, 0, 1), errOffline, syscall.EIO)
	d.s.set(func() { d.s.offline = nil })
	d.ok(d.m.Ensure(context.Background(), e.Ino, 0, 1))
}

func TestTruncatingWhileFetchingLeavesTheEmptyFile(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", pattern(5000))
	d.s.gate = make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- d.m.Complete(context.Background(), e.Ino) }()
	d.eventually("a fetch", func() bool { return len(d.s.fetched()) > 0 })
	var zero int64
	if _, err := d.c.SetAttr(e.Ino, cache.Attrs{Size: &zero}); err != nil {
		t.Fatal(err)
	}
	close(d.s.gate)
	d.ok(<-done) // looked again: the file is full, and empty
	if got, err := d.read(e.Ino, 0, 5000); err != nil || len(got) != 0 {
		t.Fatalf("read %d: %v", len(got), err)
	}
}

func TestMetadataOperationsFetchNothing(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", pattern(5000))
	o, err := d.c.OpenFile(e.Ino, true)
	d.ok(err)
	d.ok(o.Close())
	d.ok(d.m.Prepare(e.Ino))
	mode := uint32(0o600)
	_, err = d.c.SetAttr(e.Ino, cache.Attrs{Mode: &mode})
	d.ok(err)
	d.ok(d.c.Rename(cache.RootIno, "f", cache.RootIno, "g", 0))
	d.ok(d.c.Unlink(cache.RootIno, "g"))
	if got := d.s.fetched(); len(got) != 0 {
		t.Fatalf("fetched %v", got)
	}
}

func BenchmarkHydrateSmallFiles(b *testing.B) {
	c, err := cache.Open(context.Background(), cache.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	s := &endpoint{files: map[cache.Ino][]byte{}}
	m := New(Options{Cache: c, Source: s})
	defer m.Close()
	var inos []cache.Ino
	data := pattern(4096)
	for i := range b.N {
		err := c.Update(0, func(tx *cache.Tx) error {
			ino, err := tx.InsertNode(cache.Node{Kind: cache.File, Size: 4096, Listing: cache.Listed})
			if err != nil {
				return err
			}
			inos = append(inos, ino)
			s.files[ino] = data
			_, err = tx.InsertDentry(cache.RootIno, time.Duration(i).String(), ino)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for _, ino := range inos {
		o, err := c.OpenFile(ino, false)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Ensure(context.Background(), ino, 0, 4096); err != nil {
			b.Fatal(err)
		}
		if err := o.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNobodyHoldsAFileWhenWhoeverWaitedHasIt(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	for i := range 500 {
		e := d.remote(cache.RootIno, fmt.Sprint(i), pattern(100))
		d.ok(d.m.Complete(t.Context(), e.Ino))
		if u := d.c.InUse(e.Ino); u != (cache.Use{}) {
			t.Fatalf("file %d is in use when it has come: %+v", i, u)
		}
	}
}
