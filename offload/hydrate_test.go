package offload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	var sum int64
	for _, r := range d.s.fetched() {
		sum += r.Len
	}
	if sum > 2*minWindow {
		t.Fatalf("%d bytes fetched for one random read: %v", sum, d.s.fetched())
	}
	if n := d.node(e.Ino); n.Residency == cache.Full {
		t.Fatal("all of it came")
	}
}

func TestReadAheadGrowsWhileReadsAreSequentialAndTheRestFollows(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	data := pattern(40<<20 + 123)
	e := d.remote(cache.RootIno, "big", data)
	for off := int64(0); off < 12<<20; off += 128 << 10 {
		got, err := d.read(e.Ino, off, 128<<10)
		if err != nil || !bytes.Equal(got, data[off:off+128<<10]) {
			t.Fatalf("read at %d: %d, %v", off, len(got), err)
		}
	}
	fetched := d.s.fetched()
	if fetched[0].Len > minWindow || fetched[len(fetched)-1].Len <= fetched[0].Len || len(fetched) > 20 {
		t.Fatalf("fetched %v", fetched)
	}
	d.eventually("the rest", func() bool { return d.node(e.Ino).Residency == cache.Full })
	var sum int64
	for _, r := range d.s.fetched() {
		sum += r.Len
	}
	if sum != int64(len(data)) {
		t.Fatalf("%d bytes fetched of %d: %v", sum, len(data), d.s.fetched())
	}
	if n := d.node(e.Ino); n.Hash != blake3.Sum256(data) {
		t.Fatal("the hash is not recorded")
	}
	d.eventually("nothing is held", func() bool { return d.c.InUse(e.Ino) == cache.Use{} })
}

func TestHabits(t *testing.T) {
	t.Parallel()
	var hb habit
	for _, step := range []struct{ off, n, want int64 }{
		{0, 128 << 10, 128 << 10},                // first
		{128 << 10, 128 << 10, 256 << 10},        // goes on
		{256 << 10, 128 << 10, 512 << 10},        // and on
		{256 << 10, 4096, 512 << 10},             // again: neither more nor less
		{100 << 20, 4096, minWindow},             // elsewhere
		{100<<20 + 4096, 4096, 2 * minWindow},    // and on from there
		{100<<20 + 8192, 20 << 20, 20 << 20},     // more than the window
		{0, 4096, min(8*minWindow, 4*minWindow)}, // back to the start
	} {
		if got := hb.read(step.off, step.n); got != step.want {
			t.Errorf("read(%d, %d) is %d, want %d", step.off, step.n, got, step.want)
		}
	}
	for range 20 {
		hb.read(hb.next, 4096)
	}
	if hb.window != maxWindow {
		t.Errorf("window %d", hb.window)
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
	// Its token is free again, and the file can be asked for anew.
	d.fails(d.m.Ensure(context.Background(), other.Ino, 0, 1), ErrStalled, syscall.ETIMEDOUT)
	close(gate)
	for _, f := range []cache.Entry{e, other} {
		if got, err := d.read(f.Ino, 0, 5000); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("read %d: %v", len(got), err)
		}
	}
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
