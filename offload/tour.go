package offload

import (
	"context"
	"errors"
	"slices"

	"vdfs/cache"
)

// held is a name on a tour with the intent that holds for it: its own, or that of the nearest above.
type held struct {
	cache.Holding
	intent cache.Intent
}

// tourPage is how many names a tour reads in one transaction: about a millisecond and a half, as each takes some look-ups.
const tourPage = 100

// tour is a walk that tells what is held of each name, the one it begins at included.
type tour struct {
	m     *Manager
	proof int   // the least that counts as a copy
	into  reach // how far it goes below
	page  func([]held) error
}

// of goes through what is at or below a dentry.
func (t tour) of(ctx context.Context, id cache.DentryID) error {
	var root held
	err := t.m.cache.View(func(tx *cache.Tx) (err error) {
		if root.Holding, err = tx.Holding(id, t.proof); err != nil {
			return err
		}
		root.intent, _, err = tx.EffectiveIntent(id)
		return err
	})
	if err == nil {
		err = t.page([]held{root})
	}
	if err != nil || root.Node.Kind != cache.Dir {
		return err
	}
	return t.dir(ctx, root)
}

func (t tour) dir(ctx context.Context, dir held) error {
	var after cache.DentryID
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := t.read(dir, after)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].ID
		page = slices.DeleteFunc(page, func(h held) bool { return !t.into(h.Entry) })
		if err := t.page(page); err != nil {
			return err
		}
		for _, h := range page {
			if h.Node.Kind == cache.Dir {
				if err := t.dir(ctx, h); err != nil {
					return err
				}
			}
		}
	}
}

// read is one transaction.
func (t tour) read(dir held, after cache.DentryID) ([]held, error) {
	var all []cache.Holding
	err := t.m.cache.View(func(tx *cache.Tx) (err error) {
		all, err = tx.Holdings(dir.Ino, after, tourPage, t.proof)
		return err
	})
	page := make([]held, len(all))
	for i, h := range all {
		page[i] = held{h, dir.intent}
		if h.Intent != cache.Inherited {
			page[i].intent = h.Intent
		}
	}
	return page, err
}

// files calls f for the files of a page that are told here: one that has several names at or below top only once, at the
// oldest of those. One that is open for writing is told as long as it is now.
func (m *Manager) files(top cache.DentryID, page []held, f func(held) error) error {
	for _, h := range page {
		if h.Node.Kind != cache.File {
			continue
		}
		if h.Node.Nlink > 1 {
			first, err := m.oldestBelow(top, h.Entry)
			if err != nil {
				return err
			}
			if !first {
				continue
			}
		}
		if h.Node.Writing {
			live, err := m.cache.Attr(h.Ino)
			if errors.Is(err, cache.ErrNotFound) {
				continue // it went meanwhile
			}
			if err != nil {
				return err
			}
			if h.Node = live; live.Residency == cache.Full {
				h.Present = live.Size
			}
		}
		if err := f(h); err != nil {
			return err
		}
	}
	return nil
}

// oldestBelow tells whether a name is the oldest of its node's at or below a dentry.
func (m *Manager) oldestBelow(top cache.DentryID, e cache.Entry) (bool, error) {
	oldest := true
	err := m.cache.View(func(tx *cache.Tx) error {
		dir, err := tx.Dentry(top)
		if err != nil {
			return err
		}
		names, err := tx.DentriesOf(e.Ino)
		if err != nil {
			return err
		}
		for _, d := range names {
			if d.ID == e.ID {
				return nil
			}
			below, err := tx.Under(d.Parent, dir.Ino)
			if err != nil {
				return err
			}
			if below || d.ID == top {
				oldest = false
				return nil
			}
		}
		return nil
	})
	return oldest, err
}
