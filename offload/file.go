package offload

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vdfs/cache"
)

// file is one version of one file being hydrated, shared by all who wait for it.
type file struct {
	h    *Hydrator
	v    version
	refs int // guarded by Hydrator.mu

	open    sync.Once
	fill    *cache.Fill
	openErr error

	mu       sync.Mutex
	changed  chan struct{} // closed and made anew when bytes arrive or a flight ends
	flights  []*flight     // under way; their ranges do not overlap
	verify   *flight       // verifies the whole; has no range
	attempts int           // verifications that failed
	rest     bool          // the rest is being fetched in the background
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
	if size <= smallFile {
		return f.complete(ctx, true)
	}
	f.h.mu.Lock()
	ahead := f.h.habits.get(f.v).read(off, n)
	f.h.mu.Unlock()
	return f.await(ctx, func() (*flight, error) {
		missing := f.fill.Missing(off, n)
		if len(missing) == 0 {
			return nil, nil
		}
		if f.distrusted() {
			return nil, f.mismatch()
		}
		fl := f.launch(missing[0].Off, off+ahead, true)
		if ahead > n && fl.end-off < ahead/2 {
			f.prefetch(fl.end, fl.end+ahead)
		}
		return fl, nil
	})
}

// complete waits for the whole file, verified. front: somebody waits for it.
func (f *file) complete(ctx context.Context, front bool) error {
	size := f.fill.Size()
	return f.await(ctx, func() (*flight, error) {
		if f.fill.Full() {
			return nil, nil
		}
		missing := f.fill.Missing(0, size)
		if len(missing) == 0 {
			return f.verification(front), nil
		}
		if f.distrusted() {
			return nil, f.mismatch()
		}
		return f.launch(missing[0].Off, size, front), nil
	})
}

// await waits for one flight after the other until next names none. A flight that fails ends the wait with its error.
func (f *file) await(ctx context.Context, next func() (*flight, error)) error {
	var fl *flight
	for {
		f.mu.Lock()
		if fl != nil && fl.done && fl.err != nil {
			f.mu.Unlock()
			return fl.err
		}
		var err error
		fl, err = next()
		changed, over := f.changed, fl != nil && fl.done
		f.mu.Unlock()
		if err != nil || fl == nil {
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

// launch finds the flight that brings the byte at off, or starts one for what is missing from there up to end. mu is held.
func (f *file) launch(off, end int64, front bool) *flight {
	for _, fl := range f.flights {
		if fl.off <= off && off < fl.end {
			return fl
		}
	}
	end = min(max(end, off+1), f.fill.Size())
	if missing := f.fill.Missing(off, end-off); len(missing) > 0 {
		end = missing[0].End()
	}
	for _, fl := range f.flights {
		if fl.off > off {
			end = min(end, fl.off)
		}
	}
	fl := &flight{f: f, off: off, end: end, small: off == 0 && end == f.fill.Size() && end <= smallFile}
	f.flights = append(f.flights, fl)
	fl.start(front)
	return fl
}

// prefetch starts a flight nobody waits for yet, if something is missing there. mu is held.
func (f *file) prefetch(off, end int64) {
	missing := f.fill.Missing(off, end-off)
	if len(missing) == 0 || len(f.flights) > 2 {
		return
	}
	f.launch(missing[0].Off, missing[0].End(), true)
}

// fetchRest brings the rest of a file here in the background, once, when a quarter of it is here.
func (f *file) fetchRest() {
	if f.fill.Bytes() < f.fill.Size()/4 {
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
		err := f.complete(f.h.ctx, false)
		if err := errors.Join(err, f.h.release(f)); err != nil && f.h.ctx.Err() == nil {
			f.h.log.Debug("background completion failed", "ino", uint64(f.v.ino), "error", err)
		}
	})
}

// verification starts verifying the whole, once. mu is held.
func (f *file) verification(front bool) *flight {
	if f.verify == nil {
		f.verify = &flight{f: f, check: true}
		f.verify.start(front)
	}
	return f.verify
}

// verifyAll compares the whole with what it must be.
func (f *file) verifyAll() error {
	sum, err := f.fill.Hash()
	if err != nil {
		return err
	}
	if want, known := f.h.source.HashKnown(f.v.ino, f.v.n); known && want != sum {
		return f.distrust(f.fill.Reset())
	}
	return f.fill.Complete(sum)
}

// distrust counts a failed verification. The first is forgiven: nil, and everything is fetched again.
func (f *file) distrust(reset error) error {
	if reset != nil {
		return reset
	}
	f.mu.Lock()
	f.attempts++
	again := !f.distrusted()
	f.mu.Unlock()
	f.h.log.Warn("fetched bytes are not what they must be", "ino", uint64(f.v.ino), "version", f.v.n, "retried", again)
	if again {
		return nil
	}
	f.h.mu.Lock()
	f.h.habits.get(f.v).failed = f.h.now().UnixNano()
	f.h.mu.Unlock()
	return f.mismatch()
}

// distrusted reports whether verification failed twice: nothing is fetched once more, whoever waits. mu is held.
func (f *file) distrusted() bool { return f.attempts > 1 }

func (f *file) mismatch() error { return fmt.Errorf("verify version %d: %w", f.v.n, ErrMismatch) }
