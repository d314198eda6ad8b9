package offload

import (
	"context"
	"fmt"
	"time"

	"vdfs/cache"
)

// Keys of transfers: who wants the bytes. A pin's is void when the pin is gone, a fetch's is not.
const (
	keyPin   = ""
	keyFetch = "fetch"
)

// fetchPriority puts what a person asked for once before what pins want.
const fetchPriority = 1

// Pin keeps what is at or below the dentries here, now and in future. It refuses with a *SpaceError, changing nothing, when
// the disk has no room for what is missing; the bytes come later: see Run and Wait.
func (m *Manager) Pin(ctx context.Context, ids ...cache.DentryID) error {
	if err := m.checkSpace(ctx, ids); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	for _, id := range ids {
		err := m.cache.Update(0, func(tx *cache.Tx) error {
			if err := tx.SetIntent(id, cache.Pinned); err != nil {
				return err
			}
			return tx.BeginWalk(id)
		})
		if err == nil {
			err = m.walkPin(ctx, id)
		}
		if err != nil {
			return fmt.Errorf("pin: %w", err)
		}
	}
	return nil
}

// walkPin queues what is below a pinned dentry. Cut short, Run does it again.
func (m *Manager) walkPin(ctx context.Context, id cache.DentryID) error {
	if err := m.enqueue(ctx, id, cache.Transfer{Key: keyPin}); err != nil {
		return err
	}
	return m.cache.Update(0, func(tx *cache.Tx) error { return tx.EndWalk(id) })
}

// Unpin takes the dentries' own wish away; what is above them decides again. Bytes stay, queued downloads lapse.
func (m *Manager) Unpin(_ context.Context, ids ...cache.DentryID) error {
	for _, id := range ids {
		if err := m.SetIntent(id, cache.Inherited); err != nil {
			return fmt.Errorf("unpin: %w", err)
		}
	}
	return nil
}

// SetIntent sets a dentry's own intent. For Pinned use Pin: it checks for room and queues what is below.
func (m *Manager) SetIntent(id cache.DentryID, intent cache.Intent) error {
	return m.cache.Update(0, func(tx *cache.Tx) error {
		if err := tx.SetIntent(id, intent); err != nil {
			return err
		}
		return tx.EndWalk(id)
	})
}

// Fetch queues what is missing at or below the dentries for download, once. The rules for space are those of Pin.
func (m *Manager) Fetch(ctx context.Context, ids ...cache.DentryID) error {
	if err := m.checkSpace(ctx, ids); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	for _, id := range ids {
		if err := m.enqueue(ctx, id, cache.Transfer{Key: keyFetch, Priority: fetchPriority}); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
	}
	return nil
}

func (m *Manager) checkSpace(ctx context.Context, ids []cache.DentryID) error {
	missing, err := m.Missing(ctx, ids...)
	if err != nil {
		return err
	}
	stats, err := m.cache.StatFS()
	if err != nil {
		return err
	}
	if missing.Bytes > stats.DiskAvailable {
		return &SpaceError{Need: missing.Bytes, Free: stats.DiskAvailable}
	}
	return nil
}

// enqueue queues the files at or below a dentry that are not all here.
func (m *Manager) enqueue(ctx context.Context, id cache.DentryID, like cache.Transfer) error {
	return m.walk(ctx, id, func(page []cache.Entry) error {
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

// waitEvery bounds how often Wait counts while bytes arrive: a walk of a large tree is not free.
const waitEvery = 250 * time.Millisecond

// Wait returns when nothing at or below the dentries is missing, or with ctx's error. report, if given, is told now and
// then what is left, and why it cannot be had. Somebody else has queued it: Pin or Fetch.
func (m *Manager) Wait(ctx context.Context, report func(Missing), ids ...cache.DentryID) error {
	ticker := time.NewTicker(waitEvery)
	defer ticker.Stop()
	for {
		left, err := m.Missing(ctx, ids...)
		if err != nil {
			return fmt.Errorf("wait for bytes: %w", err)
		}
		if report != nil {
			report(left)
		}
		if left.Files == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
