package offload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/internal/digest"
	"vdfs/internal/throttle"
)

// flight is one fetch, or the verification of the whole. off, end, small, check and alone never change; at, placing, done
// and err are guarded by file.mu.
type flight struct {
	f        *file
	turn     *turn
	off, end int64
	at       int64 // what is before it is here
	placing  bool  // bytes are being put in place
	small    bool  // of a small file, from its beginning: the whole is fetched, and verified before any of it is shown
	check    bool  // fetches nothing, verifies
	alone    bool  // nothing follows
	done     bool
	err      error
}

// Bytes are shown to readers in chunks. The first is small, for whoever waits for it; where they come quickly they grow, as
// an endpoint that is far away may take one round trip for each.
const (
	chunkMin = 64 << 10
	chunkMax = smallFile
	quickly  = 500 * time.Millisecond
)

// buffers bound the memory of fetches: one for each that is under way.
var buffers = sync.Pool{New: func() any { b := make([]byte, chunkMax); return &b }}

// has reports whether the flight brings the byte at off.
func (fl *flight) has(off int64) bool { return fl.off <= off && off < fl.end }

// start lets the flight go on its own. file.mu is held.
func (fl *flight) start(c class) {
	h := fl.f.h
	fl.turn = h.gate.enter(c)
	if h.ctx.Err() != nil {
		h.gate.leave(fl.turn)
		fl.conclude(context.Canceled)
		return
	}
	h.again(fl.f)
	h.work.Go(func() {
		err := h.watched(fl.turn, fmt.Sprintf("fetch %d bytes at %d", fl.end-fl.off, fl.off), fl.giveUp, fl.run)
		if timedOut(err) {
			h.stalls(fl.f.v)
		}
		if err != nil {
			h.log.Debug("fetch failed", "ino", uint64(fl.f.v.ino), "offset", fl.off, "error", err)
		} else if !fl.check {
			fl.land()
		}
		// Those who wait have references of their own. When they have given those back nobody holds the file, so that who comes
		// after them does not find it in use.
		if err := h.release(fl.f); err != nil {
			h.log.Warn("fetched bytes not recorded", "ino", uint64(fl.f.v.ino), "error", err)
		}
		fl.finish(err)
	})
}

// timedOut: the source has waited as long as it does.
func timedOut(err error) bool {
	var e interface{ Errno() syscall.Errno }
	return errors.As(err, &e) && e.Errno() == syscall.ETIMEDOUT
}

// finish ends the flight for those who wait for it; the second call does nothing.
func (fl *flight) finish(err error) {
	fl.f.mu.Lock()
	defer fl.f.mu.Unlock()
	fl.conclude(err)
}

// giveUp is finish for a flight that is not at work on the local disk just now; false: it is, however slow that is.
func (fl *flight) giveUp(err error) bool {
	fl.f.mu.Lock()
	defer fl.f.mu.Unlock()
	if fl.done {
		return true
	}
	if fl.check || fl.placing {
		return false
	}
	fl.f.h.stalls(fl.f.v)
	fl.conclude(err)
	return true
}

// conclude is finish with file.mu held.
func (fl *flight) conclude(err error) {
	if fl.done {
		return
	}
	fl.done = true
	if err != nil {
		if errors.Is(err, cache.ErrStale) {
			err = fmt.Errorf("%w: %w", ErrOvertaken, err)
		}
		fl.err = withErrnoOrContext(err)
	}
	f := fl.f
	f.flights = slices.DeleteFunc(f.flights, func(other *flight) bool { return other == fl })
	if f.verify == fl {
		f.verify = nil
	}
	f.broadcast()
}

// land takes a flight that has brought everything off those under way. After the last of them the whole is verified: none
// may put bytes in place meanwhile.
func (fl *flight) land() {
	f := fl.f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flights = slices.DeleteFunc(f.flights, func(other *flight) bool { return other == fl })
	if len(f.flights) == 0 && f.verify == nil && !f.fill.Full() && len(f.fill.Missing(0, f.fill.Size())) == 0 {
		f.verification(ahead)
	}
}

// run does the flight, whose turn has come.
func (fl *flight) run(ctx context.Context, w *watchdog) error {
	f := fl.f
	if fl.check {
		return f.verifyAll()
	}
	n := fl.end - fl.off
	if fl.small {
		n = f.fill.Size()
	}
	return f.h.fetch(ctx, f.v, fl.off, n, func(r io.Reader, from cache.BindingID) error {
		f.gave(from)
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		if fl.small {
			return fl.whole(r, (*buf)[:n], w)
		}
		return fl.stream(r, *buf, w)
	})
}

// stream shows readers one chunk after the other.
func (fl *flight) stream(r io.Reader, buf []byte, w *watchdog) error {
	size := int64(chunkMin)
	if fl.turn.inside != blocked {
		size = fl.f.quick(0, 0)
	}
	for off := fl.off; off < fl.end; {
		p := buf[:min(size, fl.end-off)]
		began := time.Now()
		if err := w.read(r, p); err != nil {
			return err
		}
		size = fl.f.quick(int64(len(p)), time.Since(began))
		if err := fl.place(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	// What comes for a transfer was not read, and what comes alone may be for a program that is to get no more.
	if !fl.alone && !fl.turn.inside.queued() {
		fl.f.fetchRest()
	}
	return nil
}

// quick tells how long a chunk took, and answers how large the next one may be.
func (f *file) quick(size int64, took time.Duration) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case took >= quickly:
		f.chunk = chunkMin
	case size >= f.chunk:
		f.chunk = min(4*f.chunk, chunkMax)
	}
	return f.chunk
}

// errGivenUp ends a flight that was given up while its source did not answer: bytes that come so late may be others than
// those that were verified meanwhile.
var errGivenUp = errors.New("nobody waits for this fetch any more")

// place puts bytes where they belong and shows them.
func (fl *flight) place(p []byte, off int64) error {
	if !fl.places(true, fl.at) {
		return errGivenUp
	}
	_, err := fl.f.fill.WriteAt(p, off)
	if err == nil {
		err = fl.f.fill.Commit(cache.Range{Off: off, Len: int64(len(p))})
	}
	if err == nil {
		off += int64(len(p))
	}
	fl.places(false, off)
	if fl.f.h.events.Wants(event.FileChunkReceived) {
		fl.f.progress.Reached(fl.f.fill.Bytes())
	}
	return err
}

// places notes whether bytes are being put in place, and up to where they are. It is false for a flight that was given up.
func (fl *flight) places(on bool, at int64) bool {
	fl.f.mu.Lock()
	defer fl.f.mu.Unlock()
	if fl.done {
		return false
	}
	fl.placing, fl.at = on, at
	if !on && !fl.small {
		fl.f.broadcast()
	}
	return true
}

// whole reads a small file, verifies it and shows what was asked for of it, in that order.
func (fl *flight) whole(r io.Reader, p []byte, w *watchdog) error {
	if err := w.read(r, p); err != nil {
		return err
	}
	f := fl.f
	sum := cache.Hash(digest.Sum(p))
	if !f.h.mayBe(f.v, sum) {
		return f.distrust(nil)
	}
	if fl.end > 0 {
		if err := fl.place(p[:fl.end], 0); err != nil {
			return err
		}
	}
	if fl.end < int64(len(p)) {
		f.h.verified(f.v)
		return nil
	}
	return f.full(sum)
}

// watchdog ends a fetch that gets no byte for the timeout, also one whose source does not listen to its context: those
// who wait are told, its turn goes to others, and what it still does is lost.
type watchdog struct {
	h      *Hydrator
	turn   *turn
	what   string // is being done
	cancel context.CancelCauseFunc
	giveUp func(error) bool // tells those who wait; false: it may not be ended just now
	timer  *time.Timer
	mu     sync.Mutex
	waits  bool // for its turn: then the progress of others is progress
}

// watched does a fetch when its turn has come, under a watchdog. It ends the turn.
func (h *Hydrator) watched(
	t *turn, what string, giveUp func(error) bool, do func(context.Context, *watchdog) error,
) error {
	ctx, cancel := context.WithCancelCause(throttle.WithUrgency(h.ctx, func() bool { return h.gate.blocks(t) }))
	defer cancel(nil)
	w := &watchdog{h: h, turn: t, what: what, cancel: cancel, giveUp: giveUp, waits: true}
	w.mu.Lock() // the timer's function needs the timer
	w.timer = time.AfterFunc(h.timeout, w.bark)
	w.mu.Unlock()
	defer w.stop()
	err := w.enter(ctx)
	if err == nil {
		err = do(ctx, w)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return err
}

// enter waits for the turn.
func (w *watchdog) enter(ctx context.Context) error {
	select {
	case <-w.turn.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	w.waits = false
	w.mu.Unlock()
	w.kick()
	return nil
}

// read fills p, which the source promised.
func (w *watchdog) read(r io.Reader, p []byte) error {
	for n := 0; n < len(p); {
		k, err := r.Read(p[n:])
		n += k
		if k > 0 {
			w.kick()
		}
		if n < len(p) && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read %d of %d bytes: %w", n, len(p), err)
		}
	}
	return nil
}

// kick tells of progress.
func (w *watchdog) kick() {
	w.timer.Reset(w.h.timeout)
	w.h.progress.Store(int64(w.h.steady.Now())) // the watchdog's own time, as its timer's: no part of any state
}

func (w *watchdog) bark() {
	w.mu.Lock()
	others := w.h.steady.Now() - time.Duration(w.h.progress.Load())
	if w.waits && others < w.h.timeout {
		w.timer.Reset(w.h.timeout - others)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	err := fmt.Errorf("%s for %v: %w", w.what, w.h.timeout, ErrStalled)
	if !w.giveUp(err) {
		w.timer.Reset(w.h.timeout)
		return
	}
	w.cancel(err)
	w.h.gate.leave(w.turn)
}

// stop ends the watch, and the turn.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.h.gate.leave(w.turn)
}
