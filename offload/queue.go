package offload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vdfs/cache"
)

// Keys of transfers: who wants the bytes, beside cache.RefreshKey. A pin's is void when the pin is gone, the others are not.
const (
	keyPin   = ""
	keyFetch = "fetch"
)

// fetchPriority puts what a person asked for once before what pins want.
const fetchPriority = 1

// enqueue queues the files at or below a dentry within reach that are not all here.
func (m *Manager) enqueue(ctx context.Context, id cache.DentryID, into reach, like cache.Transfer) error {
	return m.walk(ctx, id, into, func(page []cache.Entry) error {
		var todo []cache.Entry
		for _, e := range page {
			if e.Node.Kind == cache.File && e.Node.Residency != cache.Full {
				todo = append(todo, e)
			}
		}
		if len(todo) == 0 {
			return nil
		}
		return m.cache.Update(0, func(tx *cache.Tx) error {
			for _, e := range todo {
				t := like
				t.Ino = e.Ino
				if err := putUnlessWanted(tx, &t); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// putUnlessWanted queues a transfer. One that a person asked for stays theirs when a pin wants the same.
func putUnlessWanted(tx *cache.Tx, t *cache.Transfer) error {
	have, queued, err := tx.TransferOf(t.Ino, 0, false)
	if err != nil {
		return err
	}
	if queued && have.Key == keyFetch {
		t.Key = keyFetch
	}
	return tx.PutTransfer(t)
}

// walks are the pinned directories of which somebody is queueing what is below just now.
type walks struct {
	mu  sync.Mutex // a leaf: nothing else is taken under it
	now map[cache.DentryID]int
}

// begin notes that a walk goes on; the function that it returns, that it has ended.
func (w *walks) begin(id cache.DentryID) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now == nil {
		w.now = make(map[cache.DentryID]int)
	}
	w.now[id]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.now[id]--; w.now[id] == 0 {
			delete(w.now, id)
		}
	}
}

func (w *walks) on(id cache.DentryID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now[id] > 0
}

// walkPin queues what is below a pinned dentry. Cut short, Run does it again.
func (m *Manager) walkPin(ctx context.Context, id cache.DentryID) error {
	if err := m.enqueue(ctx, id, within(cache.Pinned), cache.Transfer{Key: keyPin}); err != nil {
		return err
	}
	return m.cache.Update(0, func(tx *cache.Tx) error { return tx.EndWalk(id) })
}

// walksDue tells whether there is anything for walkPins to do.
func (m *Manager) walksDue(tx *cache.Tx) (bool, error) {
	ids, err := tx.Walks()
	return slices.ContainsFunc(ids, func(id cache.DentryID) bool { return !m.walks.on(id) }), err
}

// walkPins does the walks that are noted and that nobody is at: of directories that moved into a pinned one, and of pins
// that were cut short.
func (m *Manager) walkPins(ctx context.Context) error {
	var ids []cache.DentryID
	err := m.cache.View(func(tx *cache.Tx) (err error) {
		ids, err = tx.Walks()
		return err
	})
	for _, id := range ids {
		if err != nil {
			return fmt.Errorf("queue what is pinned: %w", err)
		}
		if m.walks.on(id) {
			continue
		}
		if err = m.walkPin(ctx, id); errors.Is(err, cache.ErrNotFound) {
			err = m.cache.Update(0, func(tx *cache.Tx) error { return tx.EndWalk(id) })
		}
	}
	return err
}

// Wait counts at most every waitEvery while bytes arrive, and rests countRest times as long as that took: a walk of a large
// tree is not free. When nothing is queued any more it counts at once.
const (
	waitEvery = 250 * time.Millisecond
	countRest = 10
)

// Wait returns when nothing at or below the dentries is missing, or with ctx's error. report, if given, is told now and
// then what is left, and why it cannot be had. Somebody else has queued it: Fetch.
func (m *Manager) Wait(ctx context.Context, report func(Missing), ids ...cache.DentryID) error {
	return m.wait(ctx, shown, report, ids)
}

// WaitForPin is Wait for what Pin queues.
func (m *Manager) WaitForPin(ctx context.Context, report func(Missing), ids ...cache.DentryID) error {
	return m.wait(ctx, within(cache.Pinned), report, ids)
}

func (m *Manager) wait(ctx context.Context, into reach, report func(Missing), ids []cache.DentryID) error {
	for {
		begun := time.Now()
		left, err := m.missing(ctx, into, ids)
		if err != nil {
			return fmt.Errorf("wait for bytes: %w", err)
		}
		if report != nil {
			report(left)
		}
		if left.Files == 0 {
			return nil
		}
		if err := m.untilCount(ctx, begun.Add((1+countRest)*time.Since(begun))); err != nil {
			return err
		}
	}
}

// untilCount waits until it is worth counting again what is missing, at the latest until a time.
func (m *Manager) untilCount(ctx context.Context, latest time.Time) error {
	ticker := time.NewTicker(waitEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		queued := false
		err := m.cache.View(func(tx *cache.Tx) (err error) {
			_, queued, err = tx.NextTransferTime(false)
			return err
		})
		if err != nil || !queued || !time.Now().Before(latest) {
			return err
		}
	}
}
