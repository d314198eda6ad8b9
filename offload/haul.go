package offload

import (
	"context"
	"sync"

	"vdfs/cache"
)

const (
	// haulFile is the size up to which files are fetched one after the other by one haul: what each costs is not in its bytes.
	haulFile = 64 << 10
	// haulMax is how many they are at most. Their ends share a transaction.
	haulMax = 32
)

// haul is one transfer under way, or several of small files, of which one after the other is fetched.
type haul struct {
	m        *Manager
	priority int
	small    bool
	ctx      context.Context
	stop     context.CancelFunc // ends all of it

	mu     sync.Mutex       // a leaf
	left   []cache.Transfer // not begun
	now    cache.Transfer   // under way; the zero value: none is
	cancel context.CancelFunc
}

// takes reports whether a small file may share a haul of at most so many, which has not begun.
func (h *haul) takes(t cache.Transfer, most int) bool {
	return h.small && len(h.left) < most && t.Key == h.left[0].Key && t.Priority == h.priority
}

// present is the transfer under way and what ends it.
func (h *haul) present() (cache.Transfer, context.CancelFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now, h.cancel
}

// drop takes a transfer out that has not begun; false: it has.
func (h *haul) drop(id int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, t := range h.left {
		if t.ID == id {
			h.left = append(h.left[:i:i], h.left[i+1:]...)
			return true
		}
	}
	return false
}

// next begins one more; false: there is none, or it has to wait.
func (h *haul) next() (t cache.Transfer, ctx context.Context, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cancel != nil {
		h.cancel()
	}
	h.now, h.cancel = cache.Transfer{}, nil
	if len(h.left) == 0 || h.ctx.Err() != nil || h.left[0].Key == keyPin && h.m.adoptions.on() {
		return t, nil, false
	}
	h.now, h.left = h.left[0], h.left[1:]
	ctx, h.cancel = context.WithCancel(h.ctx)
	return h.now, ctx, true
}

// fetched is a transfer that came to its end.
type fetched struct {
	cache.Transfer
	err error
}

// run fetches everything and writes down what came of it.
func (h *haul) run() {
	var done []fetched
	answers := false // where the last one came from
	for {
		t, ctx, ok := h.next()
		if !ok {
			break
		}
		err := h.m.transfer(ctx, t, answers)
		answers = err == nil
		if ctx.Err() == nil { // else it is still queued
			done = append(done, fetched{t, err})
		}
	}
	if len(done) == 0 {
		return
	}
	err := h.m.cache.Update(0, func(tx *cache.Tx) error {
		for _, t := range done {
			if err := h.m.conclude(tx, t.Transfer, t.err); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.m.log.Error("transfers not recorded", "count", len(done), "error", err)
	}
}

// transfer fetches one file, if that is still wanted. Whether it can be had is asked before anything is made for it, unless the
// storage has answered a moment ago.
func (m *Manager) transfer(ctx context.Context, t cache.Transfer, answers bool) error {
	err := m.cache.View(func(tx *cache.Tx) error {
		now, queued, err := tx.TransferOf(t.Ino, t.Leg, false)
		if err == nil && (!queued || now.ID != t.ID) {
			err = errUnwanted
		}
		if err == nil {
			err = wanted(tx, now)
		}
		return err
	})
	if err == nil && !answers {
		err = m.Prepare(t.Ino)
	}
	if err == nil {
		err = m.Hydrator.room() // those behind one that found none rest, too
	}
	if err == nil {
		err = m.fetchNow(ctx, t)
	}
	return err
}
