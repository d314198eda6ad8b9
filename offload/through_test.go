package offload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"vdfs/cache"
)

// past reads without keeping.
func (d *drive) past(e cache.Entry, off, n int64) ([]byte, error) {
	buf := make([]byte, n)
	k, err := d.m.through(context.Background(), e.Ino, e.Node.Version, buf, off, paneSize)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:k], err
}

func TestWhatCannotBeKeptIsReadAllTheSame(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	d := newDrive(t, Options{})
	for _, size := range []int{1, 5000, paneSize - 1, paneSize, paneSize + 1, 3*paneSize + 77} {
		data := pattern(size)
		e := d.remote(cache.RootIno, fmt.Sprint(size), data)
		for range 30 {
			off, n := rnd.IntN(size+10), rnd.IntN(2*paneSize)
			got, err := d.past(e, int64(off), int64(n))
			want := data[min(off, size):min(off+n, size)]
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("of %d bytes %d at %d read %d: %v", size, n, off, len(got), err)
			}
		}
		if n := d.node(e.Ino); n.Residency != cache.None {
			t.Errorf("%d bytes are %v here", size, n.Residency)
		}
	}
}

func TestReadersOfWhatIsNotKeptShareIt(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	data := pattern(2 * paneSize)
	e := d.remote(cache.RootIno, "f", data)
	d.s.gate = make(chan struct{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			off := int64(i%2) * paneSize
			got, err := d.past(e, off, 1000)
			if err != nil || !bytes.Equal(got, data[off:off+1000]) {
				t.Errorf("read %d bytes: %v", len(got), err)
			}
		})
	}
	d.eventually("both pieces are fetched", func() bool { return len(d.s.fetched()) == 2 })
	close(d.s.gate)
	wg.Wait()
	if got := d.s.fetched(); len(got) != 2 {
		t.Errorf("fetched %v", got)
	}
}

func TestWhatIsReadPastTheDiskIsBoundedAndForgotten(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Parallel: 4 * panesMax})
	held := func() int {
		d.m.panes.mu.Lock()
		defer d.m.panes.mu.Unlock()
		if len(d.m.panes.all) > d.m.panes.held {
			t.Errorf("%d pieces have the memory of %d", len(d.m.panes.all), d.m.panes.held)
		}
		return d.m.panes.held
	}
	d.s.gate = make(chan struct{})
	data := pattern(10)
	var wg sync.WaitGroup
	for i := range 3 * panesMax {
		e := d.remote(cache.RootIno, fmt.Sprint(i), data)
		wg.Go(func() {
			if got, err := d.past(e, 0, 10); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %q: %v", got, err)
			}
		})
	}
	d.eventually("as many are fetched as may be", func() bool { return len(d.s.fetched()) == panesMax })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := d.remote(cache.RootIno, "more", data)
	if _, err := d.m.through(ctx, e.Ino, e.Node.Version, make([]byte, 10), 0, paneSize); !errors.Is(err, context.Canceled) {
		t.Errorf("who waits for memory and is interrupted gets %v", err)
	}
	if n := held(); n != panesMax {
		t.Errorf("%d pieces are in memory", n)
	}
	close(d.s.gate)
	wg.Wait()
	if n := held(); n > panesMax {
		t.Errorf("%d pieces are in memory", n)
	}
	d.eventually("nobody uses a piece", func() bool { // what brings one lets go of it after its readers have it
		d.m.panes.mu.Lock()
		defer d.m.panes.mu.Unlock()
		for _, w := range d.m.panes.all {
			if w.refs > 0 {
				return false
			}
		}
		return true
	})
	d.m.panes.mu.Lock()
	for _, w := range d.m.panes.all {
		w.used = w.used.Add(-paneIdle) // as if it were later
	}
	d.m.panes.mu.Unlock()
	d.m.panes.tidy()
	if n := held(); n != 0 {
		t.Errorf("%d pieces are in memory though nobody reads", n)
	}
}

func TestWhatIsReadPastTheDiskIsVerifiedAsAlways(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	data := pattern(100_000)
	e := d.remote(cache.RootIno, "once", data)
	d.s.set(func() { d.s.corrupt = 1 })
	if got, err := d.past(e, 500, 10); err != nil || !bytes.Equal(got, data[500:510]) {
		t.Errorf("read %q: %v", got, err)
	}
	spoilt := d.remote(cache.RootIno, "spoilt", data)
	d.s.set(func() { d.s.copies, d.s.spoilt = 2, true })
	if got, err := d.past(spoilt, 500, 10); err != nil || !bytes.Equal(got, data[500:510]) {
		t.Errorf("with a good copy besides read %q: %v", got, err)
	}
	d.s.set(func() { d.s.copies, d.s.spoilt = 0, false })
	twice := d.remote(cache.RootIno, "twice", data)
	d.s.set(func() { d.s.corrupt = 2 })
	_, err := d.past(twice, 0, 10)
	d.fails(err, ErrMismatch, syscall.EIO)
	before := len(d.s.fetched())
	_, err = d.past(twice, 0, 10)
	d.fails(err, ErrMismatch, syscall.EIO)
	d.fails(d.m.Ensure(context.Background(), twice.Ino, 0, 10), ErrMismatch, syscall.EIO)
	if n := len(d.s.fetched()); n != before {
		t.Error("what is not what it must be is fetched again")
	}

	e.Node.Version++
	_, err = d.past(e, 0, 10)
	d.fails(err, ErrOvertaken, syscall.EIO)
}

func TestAReadPastTheDiskEnds(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", pattern(1000))
	d.s.set(func() { d.s.fail = errOffline })
	_, err := d.past(e, 0, 10)
	d.fails(err, errOffline, syscall.EIO)
	d.m.timeout = 50 * time.Millisecond
	d.s.set(func() { d.s.fail, d.s.deaf, d.s.gate = nil, true, make(chan struct{}) })
	_, err = d.past(e, 0, 10)
	d.fails(err, ErrStalled, syscall.ETIMEDOUT)
	close(d.s.gate)
	var got []byte
	d.eventually("it is read", func() bool {
		got, err = d.past(e, 0, 10)
		return !errors.Is(err, ErrStalled) // which it is for a moment more
	})
	if err != nil || !bytes.Equal(got, pattern(10)) {
		t.Errorf("read %q: %v", got, err)
	}
}

func TestWhoReadsPastTheDiskAgainAtOnceIsToldThatItStalled(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Timeout: time.Hour})
	e := d.remote(cache.RootIno, "f", pattern(1000))
	gaveUp := &failure{"the source has waited long enough", syscall.ETIMEDOUT}
	d.s.set(func() { d.s.fail = gaveUp })
	_, err := d.past(e, 0, 10)
	d.fails(err, gaveUp, syscall.ETIMEDOUT)
	d.s.set(func() { d.s.offline = errOffline })
	_, err = d.past(e, 0, 10)
	d.fails(err, ErrStalled, syscall.ETIMEDOUT)
	d.fails(d.m.Ensure(t.Context(), e.Ino, 0, 10), ErrStalled, syscall.ETIMEDOUT)
}

func TestAFullDiskIsNotFetchedToForEveryRead(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "f", pattern(3<<20))
	asked := 0
	d.m.wantRoom = func() { asked++ }
	d.m.noteFull()
	d.m.noteFull()
	if err := d.m.Ensure(t.Context(), e.Ino, 0, 10); !errors.Is(err, cache.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	if n := len(d.s.fetched()); n != 0 || asked != 1 {
		t.Errorf("%d fetches, asked %d times for room", n, asked)
	}
	d.m.full.Store(0) // room was made
	d.ok(d.m.Ensure(t.Context(), e.Ino, 0, 10))
}

func TestAThumbnailerReadsTheHeadPastTheDisk(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	r := d.readers()
	data := pattern(500_000)
	e := d.remote(cache.RootIno, "f", data)
	read := func(pid uint32, off, n int64) ([]byte, error) {
		buf := make([]byte, n)
		k, err := r.Through(t.Context(), pid, e.Ino, e.Node.Version, buf, off)
		return buf[:k], err
	}
	_, err := read(thumbnailer, 0, headSize+1)
	d.fails(err, ErrHeadOnly, syscall.EPERM)
	if got, err := read(thumbnailer, 10, 100); err != nil || !bytes.Equal(got, data[10:110]) {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
	if got := d.s.fetched(); len(got) != 1 || got[0] != (cache.Range{Len: headSize}) {
		t.Errorf("fetched %v, want the head", got)
	}
	if got, err := read(person, 400_000, 100); err != nil || !bytes.Equal(got, data[400_000:400_100]) {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
}
