package offload

import (
	"context"
	"fmt"
	"slices"

	"vdfs/cache"
)

// Pin keeps what is at or below the dentries here, now and in future, but for names below that have another wish of their
// own. It refuses with a *SpaceError, changing nothing, when the disk has no room for what is missing; the bytes come
// later: see Run and WaitForPin.
func (m *Manager) Pin(ctx context.Context, ids ...cache.DentryID) error {
	if err := m.checkSpace(ctx, within(cache.Pinned), ids); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	for _, id := range ids {
		if err := m.pinAs(ctx, id, cache.Pinned); err != nil {
			return fmt.Errorf("pin: %w", err)
		}
	}
	return nil
}

// pinAs sets an intent that makes a dentry pinned, and queues what is below.
func (m *Manager) pinAs(ctx context.Context, id cache.DentryID, intent cache.Intent) error {
	defer m.walks.begin(id)()
	err := m.cache.Update(0, func(tx *cache.Tx) error {
		if err := m.setIntent(tx, id, intent); err != nil {
			return err
		}
		return tx.BeginWalk(id)
	})
	if err != nil {
		return err
	}
	return m.walkPin(ctx, id)
}

// Unpin takes the dentries' own wish away, whichever it is; what is above them decides again. Bytes stay, queued downloads
// lapse. Where what is above is pinned, it is Pin: what is missing is queued, or refused when there is no room for it.
func (m *Manager) Unpin(ctx context.Context, ids ...cache.DentryID) error {
	pinned, err := m.pinnedAbove(ids)
	if err == nil {
		err = m.checkSpace(ctx, within(cache.Pinned), pinned)
	}
	for _, id := range ids {
		if err != nil {
			break
		}
		if slices.Contains(pinned, id) {
			err = m.pinAs(ctx, id, cache.Inherited)
		} else {
			err = m.SetIntent(id, cache.Inherited)
		}
	}
	if err != nil {
		return fmt.Errorf("unpin: %w", err)
	}
	return nil
}

// pinnedAbove are those dentries that are pinned by what is above them as soon as they have no wish of their own.
func (m *Manager) pinnedAbove(ids []cache.DentryID) (pinned []cache.DentryID, err error) {
	err = m.cache.View(func(tx *cache.Tx) error {
		for _, id := range ids {
			d, err := tx.Dentry(id)
			if err != nil {
				return err
			}
			if d.Intent == cache.Inherited || d.Parent == 0 {
				continue // nothing changes, or nothing is above
			}
			above, err := tx.DentryOf(d.Parent)
			if err != nil {
				return err
			}
			intent, _, err := tx.EffectiveIntent(above.ID)
			if err != nil {
				return err
			}
			if intent == cache.Pinned {
				pinned = append(pinned, id)
			}
		}
		return nil
	})
	return pinned, err
}

// SetIntent sets a dentry's own intent and moves no bytes. For Pinned use Pin, and for Inherited Unpin: they check for room
// and queue what is below.
func (m *Manager) SetIntent(id cache.DentryID, intent cache.Intent) error {
	return m.cache.Update(0, func(tx *cache.Tx) error {
		if err := m.setIntent(tx, id, intent); err != nil {
			return err
		}
		return tx.EndWalk(id)
	})
}

// Online lets what is at or below the dentries be dropped first, but for names below that have another wish of their own,
// and drops at once what may go: the report says what stays for now, and why. That goes when room is needed.
func (m *Manager) Online(ctx context.Context, id cache.DentryID) (*Report, error) {
	r := &Report{}
	err := m.SetIntent(id, cache.Online)
	if err == nil {
		err = m.offloadBelow(ctx, id, within(cache.Online), OffloadOptions{}, r)
	}
	if err != nil {
		return r, fmt.Errorf("set online: %w", err)
	}
	return r, nil
}

// Fetch queues what is missing at or below the dentries for download, once. The rules for space are those of Pin.
func (m *Manager) Fetch(ctx context.Context, ids ...cache.DentryID) error {
	if err := m.checkSpace(ctx, shown, ids); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	for _, id := range ids {
		if err := m.enqueue(ctx, id, shown, cache.Transfer{Key: keyFetch, Priority: fetchPriority}); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
	}
	return nil
}

func (m *Manager) checkSpace(ctx context.Context, into reach, ids []cache.DentryID) error {
	missing, err := m.missing(ctx, into, ids)
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
