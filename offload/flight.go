package offload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"lukechampine.com/blake3"

	"vdfs/cache"
)

// flight is one fetch, or the verification of the whole. off, end, small and check never change; done and err are guarded
// by file.mu.
type flight struct {
	f        *file
	off, end int64
	small    bool // the whole of a small file: verified before it is shown
	check    bool // fetches nothing, verifies
	done     bool
	err      error
}

// Bytes are shown to readers in chunks, of which the first is small: somebody waits for it.
const (
	firstChunk = 64 << 10
	chunk      = 256 << 10
)

// buffers bound the memory of fetches: one for each that has a token.
var buffers = sync.Pool{New: func() any { b := make([]byte, smallFile); return &b }}

// start lets the flight go on its own. file.mu is held.
func (fl *flight) start(front bool) {
	h := fl.f.h
	if h.ctx.Err() != nil {
		fl.conclude(context.Canceled)
		return
	}
	h.again(fl.f)
	h.work.Go(func() {
		ctx, cancel := context.WithCancelCause(h.ctx)
		defer cancel(nil)
		w := h.watch(fl, cancel)
		err := fl.run(ctx, w, front)
		w.stop()
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		if err != nil {
			h.log.Debug("fetch failed", "ino", uint64(fl.f.v.ino), "offset", fl.off, "error", err)
		}
		// Those who wait have references of their own. When they have given those back nobody holds the file, so that who comes
		// after them does not find it in use.
		if err := h.release(fl.f); err != nil {
			h.log.Warn("fetched bytes not recorded", "ino", uint64(fl.f.v.ino), "error", err)
		}
		fl.finish(err)
	})
}

// finish ends the flight for those who wait for it; the second call does nothing.
func (fl *flight) finish(err error) {
	fl.f.mu.Lock()
	defer fl.f.mu.Unlock()
	fl.conclude(err)
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

// run does the flight when there is a token for it.
func (fl *flight) run(ctx context.Context, w *watchdog, front bool) error {
	h := fl.f.h
	tokens := h.back
	if front {
		tokens = h.front
	}
	select {
	case tokens <- struct{}{}:
		w.holds(tokens)
	case <-ctx.Done():
		return ctx.Err()
	}
	w.kick()
	if fl.check {
		return fl.f.verifyAll()
	}
	r, err := h.source.Fetch(ctx, fl.f.v.ino, fl.f.v.n, fl.off, fl.end-fl.off)
	if err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if fl.small {
		err = fl.whole(r, (*buf)[:fl.end], w)
	} else {
		err = fl.stream(r, (*buf)[:chunk], w)
	}
	if cerr := r.Close(); err == nil && cerr != nil {
		h.log.Debug("close of a fetch failed", "ino", uint64(fl.f.v.ino), "error", cerr) // all bytes were read and are checked
	}
	return err
}

// stream shows readers one chunk after the other.
func (fl *flight) stream(r io.Reader, buf []byte, w *watchdog) error {
	size := int64(firstChunk)
	for off := fl.off; off < fl.end; size = chunk {
		p := buf[:min(size, fl.end-off)]
		if err := fl.read(r, p, w); err != nil {
			return err
		}
		if _, err := fl.f.fill.WriteAt(p, off); err != nil {
			return err
		}
		if err := fl.f.fill.Commit(cache.Range{Off: off, Len: int64(len(p))}); err != nil {
			return err
		}
		off += int64(len(p))
		fl.f.mu.Lock()
		fl.f.broadcast()
		fl.f.mu.Unlock()
	}
	if len(fl.f.fill.Missing(0, fl.f.fill.Size())) > 0 {
		if fl.end > headSize { // the head alone may be for a program that is to get no more
			fl.f.fetchRest()
		}
		return nil
	}
	fl.f.verifyOnce()
	return nil
}

// verifyOnce verifies a file that has just become whole, unless somebody does.
func (f *file) verifyOnce() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.fill.Full() {
		f.verification(false)
	}
}

// whole reads a small file, verifies it and shows it, in that order.
func (fl *flight) whole(r io.Reader, p []byte, w *watchdog) error {
	if err := fl.read(r, p, w); err != nil {
		return err
	}
	f := fl.f
	sum := cache.Hash(blake3.Sum256(p))
	if want, known := f.h.source.HashKnown(f.v.ino, f.v.n); known && want != sum {
		return f.distrust(nil)
	}
	if len(p) > 0 {
		if _, err := f.fill.WriteAt(p, 0); err != nil {
			return err
		}
		if err := f.fill.Commit(cache.Range{Len: int64(len(p))}); err != nil {
			return err
		}
	}
	return f.fill.Complete(sum)
}

// read fills p, which the source promised.
func (fl *flight) read(r io.Reader, p []byte, w *watchdog) error {
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

// watchdog ends a flight that gets no byte for the timeout, also one whose source does not listen to its context: those
// who wait are told, its token goes to others, and what it still does is lost.
type watchdog struct {
	h      *Hydrator
	fl     *flight
	cancel context.CancelCauseFunc
	timer  *time.Timer
	mu     sync.Mutex
	tokens chan struct{} // holds one; nil: none, or given back
	waits  bool          // for a token: then the progress of others is progress
}

func (h *Hydrator) watch(fl *flight, cancel context.CancelCauseFunc) *watchdog {
	w := &watchdog{h: h, fl: fl, cancel: cancel, waits: true}
	w.mu.Lock() // the timer's function needs the timer
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(h.timeout, w.bark)
	return w
}

func (w *watchdog) holds(tokens chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens, w.waits = tokens, false
}

// kick tells of progress.
func (w *watchdog) kick() {
	w.timer.Reset(w.h.timeout)
	w.h.progress.Store(time.Now().UnixNano()) // the watchdog's own time, as its timer's: no part of any state
}

func (w *watchdog) bark() {
	w.mu.Lock()
	others := time.Since(time.Unix(0, w.h.progress.Load()))
	if w.waits && others < w.h.timeout {
		w.timer.Reset(w.h.timeout - others)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	err := fmt.Errorf("fetch %d bytes at %d for %v: %w", w.fl.end-w.fl.off, w.fl.off, w.h.timeout, ErrStalled)
	if w.fl.check {
		return // reading the local disk, however slow it is
	}
	w.cancel(err)
	w.fl.finish(err)
	w.giveBack()
}

// stop ends the watch.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.giveBack()
}

func (w *watchdog) giveBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tokens != nil {
		<-w.tokens
		w.tokens = nil
	}
}
