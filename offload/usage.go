package offload

import (
	"context"
	"errors"
	"fmt"

	"vdfs/cache"
)

// Usage is what is here of the files at or below a dentry, in bytes by what may become of them. A byte counts once.
type Usage struct {
	Files   int64 // that have bytes here
	Dirty   int64 // of files that may not go: not sent yet, or at no endpoint
	Pinned  int64 // of others that are always here
	Partial int64 // of others that are not here whole
	Cached  int64 // the rest, which can be dropped when room is needed
}

// Bytes is the sum.
func (u Usage) Bytes() int64 { return u.Dirty + u.Pinned + u.Partial + u.Cached }

// Usage counts what is here at or below a dentry. It asks nobody.
func (m *Manager) Usage(ctx context.Context, id cache.DentryID) (Usage, error) {
	var u Usage
	t := tour{m: m, into: everywhere, page: func(page []held) error {
		return m.files(id, page, func(h held) error { return m.count(h, &u) })
	}}
	if err := t.of(ctx, id); err != nil {
		return u, fmt.Errorf("count local bytes: %w", err)
	}
	return u, nil
}

// count adds one file.
func (m *Manager) count(h held, u *Usage) error {
	pinned := h.intent == cache.Pinned
	if h.Node.Nlink > 1 { // the strongest of its names' intents holds for it
		err := m.cache.View(func(tx *cache.Tx) (err error) {
			pinned, _, err = pinnedBy(tx, h.Ino)
			return err
		})
		if err != nil {
			return err
		}
	}
	if h.Present == 0 {
		return nil
	}
	u.Files++
	switch {
	case h.Unsent || h.Node.Writing:
		u.Dirty += h.Present
	case pinned:
		u.Pinned += h.Present
	case h.Node.Residency != cache.Full:
		u.Partial += h.Present
	default:
		u.Cached += h.Present
	}
	return nil
}

// Wish is an intent that somebody set, and what it decides about.
type Wish struct {
	Path    string
	Kind    cache.Kind
	Intent  cache.Intent
	Files   int64 // at or below, but for names with wishes of their own
	Here    int64 // bytes of those that are here
	Missing int64 // bytes of those that are not
}

// Wishes calls f for every intent that somebody set, in the order of the names' ages.
func (m *Manager) Wishes(ctx context.Context, f func(Wish) error) error {
	var after cache.DentryID
	for {
		var page []cache.Dentry
		err := m.cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.Intents(after, pageOf)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, d := range page {
			after = d.ID
			w, err := m.wish(ctx, d)
			if errors.Is(err, cache.ErrNotFound) {
				continue // it went meanwhile
			}
			if err == nil {
				err = f(w)
			}
			if err != nil {
				return err
			}
		}
	}
}

// wish gathers what one intent decides about.
func (m *Manager) wish(ctx context.Context, d cache.Dentry) (Wish, error) {
	w := Wish{Intent: d.Intent}
	err := m.cache.View(func(tx *cache.Tx) (err error) {
		w.Path, err = tx.Path(d.ID)
		return err
	})
	if err != nil {
		return w, err
	}
	t := tour{m: m, into: within(cache.Inherited), page: func(page []held) error {
		for _, h := range page {
			if h.ID == d.ID {
				w.Kind = h.Node.Kind
			}
		}
		return m.files(d.ID, page, func(h held) error {
			w.Files++
			w.Here += h.Present
			w.Missing += max(0, h.Node.Size-h.Present)
			return nil
		})
	}}
	err = t.of(ctx, d.ID)
	return w, err
}

// Copies says where whole copies of a file's present version are known to be.
type Copies struct {
	Path   string
	Size   int64
	Proved int  // endpoints that have proved that they store it
	Here   bool // and it is here whole
	Ino    cache.Ino
}

// Count is how many copies there are in all.
func (c Copies) Count() int {
	if c.Here {
		return c.Proved + 1
	}
	return c.Proved
}

// Copies calls f for the files at or below a dentry that have any bytes, with the copies that are known. An endpoint counts
// when a proof of at least the given strength is recorded; nobody is asked. most leaves out files with more copies than
// that; below 0: none. What is here and was found to be damaged is none. checked is how many files were looked at, those with no
// copy first, and so on.
func (m *Manager) Copies(ctx context.Context, id cache.DentryID, proof, most int, f func(Copies) error) (checked []int64, err error) {
	var damaged map[cache.Ino]bool
	err = m.cache.View(func(tx *cache.Tx) (err error) {
		damaged, err = tx.DamagedHere()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count copies: %w", err)
	}
	t := tour{m: m, proof: proof, into: everywhere, page: func(page []held) error {
		return m.files(id, page, func(h held) error {
			if h.Node.Size == 0 {
				return nil // there is nothing to lose
			}
			c := Copies{Size: h.Node.Size, Proved: h.Copies, Here: h.Node.Residency == cache.Full && !damaged[h.Ino], Ino: h.Ino}
			for len(checked) <= c.Count() {
				checked = append(checked, 0)
			}
			checked[c.Count()]++
			if most >= 0 && c.Count() > most {
				return nil
			}
			err := m.cache.View(func(tx *cache.Tx) (err error) {
				c.Path, err = tx.Path(h.ID)
				return err
			})
			if errors.Is(err, cache.ErrNotFound) {
				return nil // it went meanwhile
			}
			if err != nil {
				return err
			}
			return f(c)
		})
	}}
	if err := t.of(ctx, id); err != nil {
		return checked, fmt.Errorf("count copies: %w", err)
	}
	return checked, nil
}
