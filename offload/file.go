package offload

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
)

const (
	// pieceMax is the most that one fetch of a large file brings: what is not needed any more, or is needed before the rest, is
	// not far from the end of one.
	pieceMax = 4 << 20
	// inAir is how many fetches of a file that is to come as a whole are under way at a time, if there is room for them.
	inAir = 8
	// near is how far behind the present end of a fetch a byte may be for a reader to wait for it, rather than ask for it
	// itself. No chunk is larger.
	near = chunkMax
)

// file is one version of one file being hydrated, shared by all who wait for it.
type file struct {
	h    *Hydrator
	v    version
	refs int // guarded by Hydrator.mu

	begun time.Duration // of the bus's time

	open     sync.Once
	fill     *cache.Fill
	openErr  error
	progress *event.Progress

	mu      sync.Mutex
	changed chan struct{}     // closed and made anew when bytes arrive or a flight ends
	flights []*flight         // under way
	verify  *flight           // verifies the whole; has no range
	rest    bool              // the rest is being fetched in the background
	chunk   int64             // how large one may be that comes quickly
	from    []cache.BindingID // the copies that gave bytes since the last verification
}

// broadcast wakes all who wait. mu is held.
func (f *file) broadcast() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// ensure waits for its own range only.
func (f *file) ensure(ctx context.Context, off, n int64) error {
	size := f.fill.Size()
	off, n = max(off, 0), min(n, size-off)
	if n <= 0 || f.fill.Full() {
		return nil
	}
	if len(f.fill.Missing(off, n)) > 0 {
		if err := f.h.room(); err != nil {
			return err
		}
	}
	if size <= smallFile {
		return f.complete(ctx, blocked)
	}
	window := f.h.reads(f.v, off, n)
	return f.await(ctx, func() ([]*flight, error) {
		var mine []*flight
		for _, m := range f.fill.Missing(off, n) {
			if err := f.h.distrusted(f.v); err != nil {
				return nil, err
			}
			mine = append(mine, f.launch(m.Off, max(m.End(), m.Off+minFetch), blocked))
		}
		f.fetchAhead(off+n, window)
		window = 0 // once is enough
		return mine, nil
	})
}

// complete waits for the whole file, verified.
func (f *file) complete(ctx context.Context, c class) error {
	size := f.fill.Size()
	return f.await(ctx, func() ([]*flight, error) {
		if f.fill.Full() {
			return nil, nil
		}
		missing := f.fill.Missing(0, size)
		if len(missing) == 0 {
			if len(f.flights) > 0 { // a reader was in a hurry, and what it asked for comes again
				return slices.Clone(f.flights), nil
			}
			return []*flight{f.verification(c)}, nil
		}
		if err := f.h.distrusted(f.v); err != nil {
			return nil, err
		}
		off := missing[0].Off
		mine := []*flight{f.launch(off, off+pieceMax, c)}
		for len(f.flights) < inAir {
			gap := f.gap(off, size)
			if gap.Len == 0 {
				break
			}
			mine = append(mine, f.launch(gap.Off, gap.Off+pieceMax, c))
		}
		return mine, nil
	})
}

// head waits for the first n bytes and lets nothing follow them. Those of a small file are verified with the whole.
func (f *file) head(ctx context.Context, n int64) error {
	size := f.fill.Size()
	if n >= size {
		return f.complete(ctx, blocked)
	}
	return f.awaitHead(ctx, n, size <= smallFile)
}

// awaitHead waits for the first n bytes and lets nothing follow them. If they are to be verified the whole is fetched for
// that, and the rest of it not kept.
func (f *file) awaitHead(ctx context.Context, n int64, verified bool) error {
	return f.await(ctx, func() ([]*flight, error) {
		missing := f.fill.Missing(0, n)
		if len(missing) == 0 {
			return nil, nil
		}
		if err := f.h.distrusted(f.v); err != nil {
			return nil, err
		}
		fl, fresh := f.flightAt(missing[0].Off, missing[0].End(), blocked)
		if fresh {
			if verified {
				fl = &flight{f: f, end: n, small: true}
			}
			fl.alone = true
			f.begin(fl, blocked)
		}
		return []*flight{fl}, nil
	})
}

// await waits for flights until next names none. One that fails ends the wait with its error.
func (f *file) await(ctx context.Context, next func() ([]*flight, error)) error {
	var on []*flight
	for {
		f.mu.Lock()
		on = slices.DeleteFunc(on, func(fl *flight) bool { return fl.done && fl.err == nil })
		for _, fl := range on {
			if fl.done {
				f.mu.Unlock()
				return fl.err
			}
		}
		if ctx.Err() != nil { // nothing more is begun for it
			f.mu.Unlock()
			return ctx.Err()
		}
		more, err := next()
		changed := f.changed
		over := false
		for _, fl := range more {
			over = over || fl.done
			if !slices.Contains(on, fl) {
				on = append(on, fl)
			}
		}
		f.mu.Unlock()
		if err != nil || len(more) == 0 {
			return err
		}
		if over { // it could not even start
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// launch finds the flight that brings the byte at off, soon if somebody waits for it, or starts one for what is missing from
// there up to end. mu is held.
func (f *file) launch(off, end int64, c class) *flight {
	fl, fresh := f.flightAt(off, end, c)
	if fresh {
		f.begin(fl, c)
	}
	return fl
}

// flightAt is launch, but for that a fresh flight is still to begin.
func (f *file) flightAt(off, end int64, c class) (fl *flight, fresh bool) {
	for _, fl := range f.flights {
		if fl.has(off) && (c != blocked || off <= fl.at+near) {
			f.h.gate.raise(fl.turn, c)
			return fl, false
		}
	}
	end = min(max(end, off+1), f.fill.Size())
	if missing := f.fill.Missing(off, end-off); len(missing) > 0 {
		end = missing[0].End()
	}
	fl = &flight{f: f, off: off, at: off, end: f.before(off, end)}
	fl.small = off == 0 && fl.end == f.fill.Size() && fl.end <= smallFile
	return fl, true
}

// begin starts a flight. mu is held.
func (f *file) begin(fl *flight, c class) {
	f.flights = append(f.flights, fl)
	fl.start(c)
}

// before cuts a range off where the next flight begins. mu is held.
func (f *file) before(off, end int64) int64 {
	for _, fl := range f.flights {
		if fl.off > off {
			end = min(end, fl.off)
		}
	}
	return end
}

// gap is the first range that is neither here nor on its way; of length 0: there is none. mu is held.
func (f *file) gap(from, to int64) cache.Range {
	for _, m := range f.fill.Missing(from, to-from) {
		for off := m.Off; off < m.End(); {
			i := slices.IndexFunc(f.flights, func(fl *flight) bool { return fl.has(off) })
			if i < 0 {
				return cache.Range{Off: off, Len: f.before(off, m.End()) - off}
			}
			off = f.flights[i].end
		}
	}
	return cache.Range{}
}

// fetchAhead has the window behind from fetched before anybody asks for it. What is less than a piece comes with what
// follows it, when the window has moved on. mu is held.
func (f *file) fetchAhead(from, window int64) (begun int64) {
	size := f.fill.Size()
	to := min(from+window, size)
	piece := min(max(window/4, minFetch), pieceMax)
	for from < to {
		gap := f.gap(from, to)
		if gap.Len == 0 || gap.Len < piece && gap.End() == to && to < size {
			break
		}
		from = gap.Off + min(gap.Len, piece)
		f.launch(gap.Off, from, ahead)
		begun += from - gap.Off
	}
	return begun
}

// coming counts the bytes that are here or on their way.
func (f *file) coming() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.fill.Bytes()
	for _, fl := range f.flights {
		n += fl.end - fl.at
	}
	return min(n, f.fill.Size())
}

// fetchRest brings the rest of a file here in the background, once, when a quarter of it was read.
func (f *file) fetchRest() {
	if f.fill.Bytes()-f.h.unread(f.v) < f.fill.Size()/4 {
		return
	}
	f.mu.Lock()
	began := f.rest || f.fill.Full()
	f.rest = true
	f.mu.Unlock()
	if began || f.h.ctx.Err() != nil {
		return
	}
	f.h.again(f)
	f.h.work.Go(func() {
		err := f.complete(f.h.ctx, ahead)
		if err := errors.Join(err, f.h.release(f)); err != nil && f.h.ctx.Err() == nil {
			f.h.log.Debug("background completion failed", "ino", uint64(f.v.ino), "error", err)
		}
	})
}

// verification starts verifying the whole, once. mu is held.
func (f *file) verification(c class) *flight {
	if f.verify == nil {
		f.verify = &flight{f: f, check: true}
		f.verify.start(c)
	} else {
		f.h.gate.raise(f.verify.turn, c)
	}
	return f.verify
}

// verifyAll compares the whole with what it must be.
func (f *file) verifyAll() error {
	sum, err := f.fill.Hash()
	if err != nil {
		return err
	}
	if !f.h.mayBe(f.v, sum) {
		return f.distrust(f.fill.Reset())
	}
	return f.full(sum)
}

// full ends it: all bytes are here and verified.
func (f *file) full(sum cache.Hash) error {
	err := f.fill.Complete(sum)
	if err == nil {
		f.h.verified(f.v)
		f.h.tellHere(f.v.ino, f.fill.Size(), f.h.events.Steady()-f.begun, sum)
	}
	return err
}

// distrust counts a failed verification. The first is forgiven: nil, and everything is fetched again, from another copy
// if there is one.
func (f *file) distrust(reset error) error {
	if reset != nil {
		return reset
	}
	f.mu.Lock()
	from := f.from
	f.from = nil
	f.mu.Unlock()
	return f.h.failed(f.v, from)
}

// gave notes which copy bytes are from.
func (f *file) gave(from cache.BindingID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.from, from) {
		f.from = append(f.from, from)
	}
}
