package offload

import (
	"context"
	"errors"
	"fmt"

	"vdfs/cache"
)

// KeptError refuses to exclude what a path is about: it, or something below.
type KeptError struct{ Path, Reason string }

// Error has path and reason.
func (e *KeptError) Error() string { return e.Path + " " + e.Reason }

// Exclude has what is at or below a dentry kept at its endpoint and not shown here, and drops its bytes: the report says
// what stays for now. It refuses with a *KeptError, changing nothing, while anything there is open for writing, pinned by
// itself, not sent yet or at no endpoint. What is written there later by who has it open is hidden and sent like anything.
//
//  1. everything below may go, by what the index says
//  2. the name is hidden, in one transaction
//  3. what is queued for download is not any more
//  4. the bytes go, each file by the rules of Offload
//
// A cut after any step leaves it shown, or hidden with bytes that can be dropped.
func (m *Manager) Exclude(ctx context.Context, id cache.DentryID) (*Report, error) {
	r := &Report{}
	err := m.excludable(ctx, id)
	if err == nil {
		err = m.SetIntent(id, cache.Excluded)
	}
	if err == nil {
		err = m.walk(ctx, id, everywhere, m.cancel)
	}
	if err == nil {
		err = m.offloadBelow(ctx, id, everywhere, OffloadOptions{}, r)
	}
	if err != nil {
		return r, fmt.Errorf("exclude: %w", err)
	}
	return r, nil
}

// cancel takes the files of a page out of the queue, but for those that another name's pin wants.
func (m *Manager) cancel(page []cache.Entry) error {
	return m.cache.Update(0, func(tx *cache.Tx) error {
		for _, e := range page {
			t, queued, err := tx.TransferOf(e.Ino, 0, false)
			if err != nil {
				return err
			}
			if !queued {
				continue
			}
			pinned, _, err := pinnedBy(tx, e.Ino)
			if err == nil && !pinned {
				err = tx.DeleteTransfer(t.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// excludable looks at what is at or below a dentry; a *KeptError says what stands against hiding it.
func (m *Manager) excludable(ctx context.Context, id cache.DentryID) error {
	var root cache.Entry
	err := m.cache.View(func(tx *cache.Tx) (err error) {
		root, err = tx.Entry(id)
		return err
	})
	if err != nil {
		return err
	}
	root.Intent = cache.Inherited // what it was pinned by itself it is no more
	if err := m.mayHide(root); err != nil || root.Node.Kind != cache.Dir {
		return err
	}
	return m.walk(ctx, id, everywhere, func(page []cache.Entry) error {
		for _, e := range page {
			if err := m.mayHide(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// mayHide is excludable for one name.
func (m *Manager) mayHide(e cache.Entry) error {
	path := e.Name
	err := m.cache.View(func(tx *cache.Tx) (err error) {
		if path, err = tx.Path(e.ID); err != nil {
			return err
		}
		switch {
		case e.Parent == 0:
			return skipped("is the whole drive")
		case e.Intent == cache.Pinned:
			return skipped("is pinned by itself")
		case e.Node.Writing:
			return skipped("is being written")
		}
		if err := unsent(tx, e.Node); err != nil {
			return err
		}
		items, err := tx.OpenItemsOf(e.ID)
		if err == nil && len(items) > 0 { // also where only one of several endpoints waits
			err = skipped("has changes that are not sent yet")
		}
		return err
	})
	if err == nil && m.cache.InUse(e.Ino).Writers > 0 {
		err = skipped("is open for writing")
	}
	var why skipped
	switch {
	case errors.As(err, &why):
		return &KeptError{path, string(why)}
	case errors.Is(err, cache.ErrNotFound):
		return nil // it went meanwhile
	}
	return err
}
