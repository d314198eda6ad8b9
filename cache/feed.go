package cache

import (
	"context"
	"sync"
)

// feedMax is how many changes may be pending before transactions of the syncer wait.
const feedMax = 64 << 10

// Feed is the ordered list of what the kernel may hold stale. It has one consumer, and it is empty until that one
// has asked for it: Cache.Feed subscribes, Feed.Close ends it.
type Feed struct {
	mu      sync.Mutex
	pending []Change
	used    bool
	closed  bool
	ready   chan struct{} // cap 1
	room    sync.Cond
}

func (f *Feed) init() {
	f.ready = make(chan struct{}, 1)
	f.room.L = &f.mu
}

// Feed subscribes to the changes committed from now on and returns the feed. Subscribe before the kernel can
// know anything, so that nothing is missed.
func (c *Cache) Feed() *Feed {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	c.feed.used = true
	return &c.feed
}

// Close ends the subscription; what is pending is dropped.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used, f.pending = false, nil
	f.room.Broadcast()
}

// Wait returns when changes may be pending, or with ctx's error.
func (f *Feed) Wait(ctx context.Context) error {
	f.mu.Lock()
	pending := len(f.pending) > 0
	f.mu.Unlock()
	if pending {
		return ctx.Err()
	}
	select {
	case <-f.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Next takes up to limit changes, oldest first.
func (f *Feed) Next(limit int) []Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(limit, len(f.pending))
	out := append([]Change(nil), f.pending[:n]...)
	if f.pending = f.pending[n:]; len(f.pending) == 0 {
		f.pending = nil // let go of the array
	}
	f.room.Broadcast()
	return out
}

// publish is called with the writer's lock held: that keeps the order of the commits.
func (f *Feed) publish(seq uint64, changes []Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.used || len(changes) == 0 {
		return
	}
	for i := range changes {
		changes[i].Seq = seq
	}
	f.pending = append(f.pending, changes...)
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

func (f *Feed) waitForRoom() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.used && !f.closed && len(f.pending) > feedMax {
		f.room.Wait()
	}
}

func (f *Feed) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.room.Broadcast()
}

// watchers are woken by commits that left work or changed settings, and when a file is no longer open for writing.
type watchers struct {
	mu sync.Mutex
	m  map[chan struct{}]struct{}
}

// Watch returns a channel that gets a token soon after any transaction that wrote items or changed settings, and after the
// last close of a file that was open for writing. Tokens do not queue up. stop must be called when the channel is not read any more.
func (c *Cache) Watch() (wake <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m == nil {
		w.m = make(map[chan struct{}]struct{})
	}
	w.m[ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.m, ch)
	}
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.m {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Seq counts the commits since Open.
func (c *Cache) Seq() uint64 { return c.seq.Load() }
