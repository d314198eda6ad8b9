package offload

import (
	"context"
	"errors"
	"slices"

	"vdfs/cache"
)

// pageOf is how many entries a walk reads in one transaction: some tenths of a millisecond.
const pageOf = 200

// reach says how far a walk goes into what is below a dentry whose wish is a certain intent.
type reach func(cache.Entry) bool

// everywhere: whatever the names below wish.
func everywhere(cache.Entry) bool { return true }

// shown: not to what is hidden below.
func shown(e cache.Entry) bool { return !e.Hidden() }

// within is the reach of an intent: not to names below that have another wish of their own.
func within(intent cache.Intent) reach {
	return func(e cache.Entry) bool { return e.Intent == cache.Inherited || e.Intent == intent }
}

// walk calls page for every file at or below a dentry within reach, a page at a time and outside of transactions. Entries
// that come or go meanwhile may be met or not. Directories that are not listed have nothing below them yet. Memory grows
// with the depth.
func (m *Manager) walk(ctx context.Context, id cache.DentryID, into reach, page func([]cache.Entry) error) error {
	var root cache.Entry
	err := m.cache.View(func(tx *cache.Tx) (err error) {
		root, err = tx.Entry(id)
		return err
	})
	if err != nil {
		return err
	}
	if root.Node.Kind != cache.Dir {
		return page([]cache.Entry{root})
	}
	return m.walkDir(ctx, root.Ino, into, page)
}

func (m *Manager) walkDir(ctx context.Context, dir cache.Ino, into reach, page func([]cache.Entry) error) error {
	return m.pages(ctx, dir, func(all []cache.Entry) error {
		all = slices.DeleteFunc(all, func(e cache.Entry) bool { return !into(e) })
		if err := page(all); err != nil {
			return err
		}
		for _, e := range all {
			if e.Node.Kind == cache.Dir {
				if err := m.walkDir(ctx, e.Ino, into, page); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// pages calls page for what is in a directory, a page at a time and outside of transactions.
func (m *Manager) pages(ctx context.Context, dir cache.Ino, page func([]cache.Entry) error) error {
	var after cache.DentryID
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var all []cache.Entry
		err := m.cache.View(func(tx *cache.Tx) (err error) {
			all, err = tx.Children(dir, after, pageOf)
			return err
		})
		if err != nil || len(all) == 0 {
			return err
		}
		after = all[len(all)-1].ID
		if err := page(all); err != nil {
			return err
		}
	}
}

// Missing is what of a tree is not here.
type Missing struct {
	Files int
	Bytes int64
	// Error is why a file that is queued could not be fetched so far; "": nothing failed.
	Error string
}

// add counts what is missing of a page's files.
func (s *Missing) add(tx *cache.Tx, page []cache.Entry) error {
	for _, e := range page {
		if e.Node.Kind != cache.File || e.Node.Residency == cache.Full {
			continue
		}
		here, err := tx.LocalBytes(e.Ino)
		if err != nil {
			return err
		}
		s.Files++
		s.Bytes += e.Node.Size - here
		t, queued, err := tx.TransferOf(e.Ino, 0, false)
		if err != nil {
			return err
		}
		if queued && t.Error != "" {
			s.Error = t.Error
		}
	}
	return nil
}

// Missing counts what of the files at or below the dentries is not here: what Fetch would bring.
func (m *Manager) Missing(ctx context.Context, ids ...cache.DentryID) (Missing, error) {
	return m.missing(ctx, shown, ids)
}

// MissingForPin is Missing without the files below that have another wish of their own, which a pin leaves alone.
func (m *Manager) MissingForPin(ctx context.Context, ids ...cache.DentryID) (Missing, error) {
	return m.missing(ctx, within(cache.Pinned), ids)
}

func (m *Manager) missing(ctx context.Context, into reach, ids []cache.DentryID) (Missing, error) {
	var sum Missing
	for _, id := range ids {
		err := m.walk(ctx, id, into, func(page []cache.Entry) error {
			return m.cache.View(func(tx *cache.Tx) error { return sum.add(tx, page) })
		})
		if err != nil && !errors.Is(err, cache.ErrNotFound) {
			return sum, err
		}
	}
	return sum, nil
}
