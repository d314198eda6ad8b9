package offload

import (
	"errors"
	"fmt"

	"vdfs/cache"
)

// Why says why a file is here, and why it stays as it is.
type Why struct {
	State
	Fetched cache.Fetched
	Used    int64 // when a person last opened it; 0: never, or nothing is here
	// Kept is why its bytes would not be dropped, in the words of Offload; none: they may go, if an endpoint proves that it
	// stores them. What is not here at all has no reasons.
	Kept []string
	// PinnedBy is the path that says so, of what is pinned.
	PinnedBy string
	// Items are the work with endpoints that is not done.
	Items []cache.Item
}

// Why tells of a dentry. It asks nobody and hydrates nothing.
func (m *Manager) Why(id cache.DentryID) (w Why, err error) {
	if w.State, err = m.Describe(id); err != nil {
		return w, fmt.Errorf("why: %w", err)
	}
	var e cache.Entry
	err = m.cache.View(func(tx *cache.Tx) (err error) {
		if e, err = tx.Entry(id); err != nil {
			return err
		}
		return w.read(tx, e)
	})
	if err == nil && e.Node.Kind == cache.File {
		w.Kept, err = m.kept(e.Ino)
	}
	if err != nil {
		return w, fmt.Errorf("why: %w", err)
	}
	return w, nil
}

func (w *Why) read(tx *cache.Tx, e cache.Entry) (err error) {
	if w.Intent == cache.Pinned {
		if w.PinnedBy, err = tx.Path(w.From); err != nil {
			return err
		}
	}
	if w.Fetched, err = tx.LastFetch(e.Ino); err != nil {
		return err
	}
	if w.Used, err = tx.LastUse(e.Ino); err != nil {
		return err
	}
	w.Items, err = tx.OpenItemsOf(e.ID)
	return err
}

// kept is why a node's bytes stay.
func (m *Manager) kept(ino cache.Ino) (reasons []string, err error) {
	_, _, err = m.droppable(ino, OffloadOptions{})
	var why skipped
	switch {
	case errors.Is(err, errNothing):
		return nil, nil
	case errors.As(err, &why):
		reasons = append(reasons, string(why))
	case err != nil:
		return nil, err
	}
	if u := m.cache.InUse(ino); u != (cache.Use{}) {
		reasons = append(reasons, string(inUse(u)))
	}
	return reasons, nil
}
