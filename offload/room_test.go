package offload

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"vdfs/cache"
)

// fullDisk is a drive on a disk that has room only for what is dropped.
type fullDisk struct {
	*drive
	gone atomic.Int64 // bytes that others took
	ops  atomic.Int64 // how often an operation was tried
}

func newFullDisk(t *testing.T) *fullDisk {
	f := &fullDisk{drive: newDrive(t, Options{Eviction: Eviction{Budget: 1 << 40}})}
	f.m.evict.free = func() (int64, error) {
		s, err := f.c.Stats()
		return 10_000 - f.gone.Load() - s.ContentBytes, err
	}
	return f
}

// needs is an operation that needs so many bytes to be free.
func (f *fullDisk) needs(n int64) func() error {
	return func() error {
		f.ops.Add(1)
		if free, err := f.m.evict.free(); err != nil || free < n {
			return errors.Join(err, cache.ErrNoSpace)
		}
		return nil
	}
}

// here brings files of that size here.
func (f *fullDisk) here(size int, names ...string) (all []cache.Entry) {
	f.Helper()
	for _, name := range names {
		e := f.remote(cache.RootIno, name, pattern(size))
		f.full(e)
		all = append(all, e)
	}
	return all
}

func TestRoomIsMadeOfWhatWasSentAMomentAgo(t *testing.T) {
	t.Parallel()
	f := newFullDisk(t)
	f.run()
	f.here(1000, "a", "b", "c") // not synced to the disk: that is not waited for
	f.gone.Store(7000)
	f.ok(f.m.MakeRoom(t.Context(), 2000, f.needs(2000)))
	if n := f.ops.Load(); n != 2 {
		t.Errorf("it was tried %d times, want twice", n)
	}
	f.ok(f.m.MakeRoom(t.Context(), 1000, f.needs(1000)))
	if n := f.ops.Load(); n != 3 {
		t.Errorf("with room it was tried %d times, want once", n-2)
	}
	other := errors.New("another error")
	if err := f.m.MakeRoom(t.Context(), 0, func() error { return other }); !errors.Is(err, other) {
		t.Errorf("another error became %v", err)
	}
}

func TestRoomIsWaitedForWhileSomethingIsSent(t *testing.T) {
	t.Parallel()
	f := newFullDisk(t)
	e := f.here(1000, "a")[0]
	f.gone.Store(9000)
	f.m.timeout = 300 * time.Millisecond
	free := f.m.evict.free
	f.m.evict.free = func() (int64, error) {
		f.s.sent.Add(1) // so something has moved whenever it is looked
		return free()
	}
	f.run()
	f.s.sending.Store(true)
	o, err := f.c.OpenFile(e.Ino, false) // it cannot go
	f.ok(err)
	done := make(chan error, 1)
	go func() { done <- f.m.MakeRoom(t.Context(), 500, f.needs(500)) }()
	select {
	case err := <-done:
		t.Fatalf("it ended while bytes were sent: %v", err)
	case <-time.After(time.Second): // longer than the timeout
	}
	f.ok(o.Close())
	f.ok(<-done)
}

func TestAWaitForRoomEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sending bool
		need    int64
		cancel  bool
		want    error
	}{
		"when nothing is sent":             {need: 500, want: cache.ErrNoSpace},
		"when what is sent does not move":  {sending: true, need: 500, want: cache.ErrNoSpace},
		"at once where there never can be": {sending: true, need: 2 * leastRoom, want: cache.ErrNoSpace},
		"with its program":                 {sending: true, need: 500, cancel: true, want: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFullDisk(t)
			a := f.here(1000, "a", "b")
			f.gone.Store(8000)
			f.m.timeout = 300 * time.Millisecond
			if c.cancel {
				f.m.timeout = time.Hour
			}
			f.run()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for _, e := range a {
				if c.need < 10_000 { // else nothing goes though it could
					f.ok(f.m.SetIntent(e.ID, cache.Pinned))
				}
			}
			f.s.sending.Store(c.sending)
			done := make(chan error, 1)
			go func() { done <- f.m.MakeRoom(ctx, c.need, f.needs(c.need)) }()
			if c.cancel {
				f.eventually("it was tried", func() bool { return f.ops.Load() > 0 })
				cancel()
			}
			select {
			case err := <-done:
				if !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			for _, e := range a {
				if n := f.node(e.Ino); n.Residency != cache.Full {
					t.Errorf("%s is %v", e.Name, n.Residency)
				}
			}
		})
	}
	t.Run("with the manager", func(t *testing.T) {
		t.Parallel()
		f := newFullDisk(t)
		f.m.timeout = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.m.Run(ctx) }()
		f.here(1000, "a")
		f.m.pace.set(true, 0)
		cancel()
		f.ok(<-ended)
		f.m.Pace(t.Context(), 100) // nobody would ever say that it is over
		f.gone.Store(9000)
		if err := f.m.MakeRoom(t.Context(), 500, f.needs(500)); !errors.Is(err, cache.ErrNoSpace) {
			t.Errorf("got %v", err)
		}
	})
}

// beyond is a drive with more here than may be, of which dirty bytes are not sent.
func beyond(t *testing.T, dirty int) *evictTest {
	t.Helper()
	x := newEvictTest(t, Options{Eviction: Eviction{Budget: 5000}})
	x.here(cache.RootIno, 1000, "a", "b")
	_, o, err := x.c.Create(cache.RootIno, "new", 0o644, cache.Caller{})
	x.ok(err)
	_, err = o.WriteAt(pattern(dirty), 0)
	x.ok(err)
	x.ok(o.Close())
	return x
}

func TestWritersAreSlowedWhileMoreIsNotSentThanMayBeHere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dirty         int
		sending, want bool
	}{
		"more is not sent":                    {6000, true, true},
		"and is not being sent":               {6000, false, false},
		"less is not sent, and the rest goes": {4000, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := beyond(t, c.dirty)
			x.s.sending.Store(c.sending)
			x.look()
			if got := x.m.Paced(); got != c.want {
				t.Errorf("paced: %v, want %v", got, c.want)
			}
			x.s.sending.Store(false)
			x.look()
			if x.m.Paced() {
				t.Error("paced for ever")
			}
		})
	}
}

func TestAPacedWriteWaitsUntilItsMultipleWasSent(t *testing.T) {
	t.Parallel()
	x := beyond(t, 6000)
	x.s.sending.Store(true)
	x.m.Pace(t.Context(), 1<<30) // within what may be here it costs nothing
	x.look()
	done := make(chan int, 2)
	for i := range 2 {
		go func() {
			x.m.Pace(t.Context(), 100)
			done <- i
		}()
	}
	x.eventually("both wait", func() bool {
		x.m.pace.mu.Lock()
		defer x.m.pace.mu.Unlock()
		return x.m.pace.owed == 2*paceShare*100
	})
	select {
	case <-done:
		t.Error("a write did not wait")
	default:
	}
	x.s.sent.Add(paceShare * 100)
	<-done // in time: nothing else moves, and that is no stall yet
	select {
	case <-done:
		t.Error("what was sent was good for two writes")
	case <-time.After(3 * paceEvery):
	}
	x.s.sent.Add(paceShare * 100)
	<-done
	// What is sent while nobody writes is not saved up.
	x.s.sent.Add(1_000_000)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { x.m.Pace(ctx, 100); done <- 0 }()
	x.eventually("it waits", func() bool {
		x.m.pace.mu.Lock()
		defer x.m.pace.mu.Unlock()
		return x.m.pace.owed == x.s.sent.Load()+paceShare*100
	})
	cancel()
	<-done
}

func TestNoWriterWaitsForWhatDoesNotMove(t *testing.T) {
	t.Parallel()
	x := beyond(t, 6000)
	x.s.sending.Store(true)
	x.look()
	x.m.timeout = 200 * time.Millisecond
	x.m.Pace(t.Context(), 100) // ends by itself
	x.look()
	if x.m.Paced() {
		t.Error("writers wait again though nothing has moved since")
	}
	x.s.sent.Add(1)
	x.look()
	if !x.m.Paced() {
		t.Error("writers do not wait though something moves again")
	}
}

func BenchmarkPaceWithinTheBudget(b *testing.B) {
	m := &Manager{}
	for b.Loop() {
		if m.Paced() {
			b.Fatal("paced")
		}
	}
}
