package offload

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/cache/event"
)

// OffloadOptions say how far Offload goes.
type OffloadOptions struct {
	// IncludePinned drops pinned files too. Their own pins are taken away; where one above the path reaches them, the path is
	// set to auto, since bytes that are to be here would only come back.
	IncludePinned bool
	// DryRun only says what would be dropped. No endpoint is asked, so proof may still fail.
	DryRun bool

	unusedSince int64 // not 0: what was opened later stays; nanoseconds since 1970
}

// Report is what Offload did.
type Report struct {
	Freed int64 // bytes
	Files int   // how many files they were of
	Skips

	mu sync.Mutex // guards all of it while Offload works
}

// Skips are the files that were left as they are.
type Skips struct {
	Skipped []Skip // at most maxSkips
	Omitted int    // how many more were skipped
}

// Skip is a file that was left as it is, and why.
type Skip struct{ Path, Reason string }

const maxSkips = 10_000

// skipped is the error of a file that must be kept.
type skipped string

func (s skipped) Error() string { return string(s) }

// Offload drops the local bytes of the files at or below a dentry, each only when an endpoint proves that it stores exactly
// this version. What must be kept is reported with the reason; only a failure of the cache, or ctx, is an error.
func (m *Manager) Offload(ctx context.Context, id cache.DentryID, o OffloadOptions) (*Report, error) {
	r := &Report{}
	if o.IncludePinned && !o.DryRun {
		if err := m.overrule(id); err != nil {
			return r, fmt.Errorf("offload: %w", err)
		}
	}
	if err := m.offloadBelow(ctx, id, everywhere, o, r); err != nil {
		return r, fmt.Errorf("offload: %w", err)
	}
	return r, nil
}

func (m *Manager) offloadBelow(ctx context.Context, id cache.DentryID, into reach, o OffloadOptions, r *Report) error {
	err := m.walk(ctx, id, into, func(page []cache.Entry) error { return m.offloadPage(ctx, page, o, r) })
	if err == nil {
		err = m.cache.FreeDropped() // whoever frees room needs it now
	}
	return err
}

// provers is how many files are offloaded at a time: an endpoint that is far away is asked for each.
const provers = 8

func (m *Manager) offloadPage(ctx context.Context, page []cache.Entry, o OffloadOptions, r *Report) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(provers)
	for _, e := range page {
		if e.Node.Kind == cache.File || o.IncludePinned && e.Intent == cache.Pinned {
			g.Go(func() error { return m.offloadOne(ctx, e, o, r) })
		}
	}
	return g.Wait()
}

// overrule makes a dentry not pinned.
func (m *Manager) overrule(id cache.DentryID) error {
	return m.cache.Update(0, func(tx *cache.Tx) error {
		intent, from, err := tx.EffectiveIntent(id)
		if err != nil || intent != cache.Pinned {
			return err
		}
		if from == id {
			if err := m.setIntent(tx, id, cache.Inherited); err != nil {
				return err
			}
			if intent, _, err = tx.EffectiveIntent(id); err != nil || intent != cache.Pinned {
				return err
			}
		}
		return m.setIntent(tx, id, cache.Auto)
	})
}

func (m *Manager) offloadOne(ctx context.Context, e cache.Entry, o OffloadOptions, r *Report) error {
	if o.IncludePinned && !o.DryRun && e.Intent == cache.Pinned {
		if err := m.SetIntent(e.ID, cache.Inherited); err != nil {
			return err
		}
	}
	if e.Node.Kind != cache.File {
		return nil
	}
	freed, err := m.drop(ctx, e.Ino, o)
	var why skipped
	switch {
	case errors.Is(err, errNothing), errors.Is(err, cache.ErrNotFound):
		return nil
	case errors.As(err, &why):
		return m.skip(e, why, r)
	case err != nil:
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Files++
	r.Freed += freed
	return nil
}

func (m *Manager) skip(e cache.Entry, why skipped, r *Report) error {
	path, err := m.pathOf(e)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(Skip{path, string(why)})
	return nil
}

// pathOf is where an entry is; of one that is gone, its name.
func (m *Manager) pathOf(e cache.Entry) (path string, err error) {
	err = m.cache.View(func(tx *cache.Tx) (err error) {
		path, err = tx.Path(e.ID)
		return err
	})
	if errors.Is(err, cache.ErrNotFound) {
		return e.Name, nil
	}
	return path, err
}

func (s *Skips) add(one Skip) {
	if len(s.Skipped) == maxSkips {
		s.Omitted++
		return
	}
	s.Skipped = append(s.Skipped, one)
}

// errNothing says that a file has no bytes here.
var errNothing = errors.New("nothing to drop")

// drop gives up the local bytes of a node:
//
//  1. it may go by what the index says: not pinned, open, unsent or in conflict
//  2. its hash is known, computed if need be
//  3. an endpoint, or as many as the configuration wants, proves that it stores this version
//  4. under the drop lease, where nobody can open it: 1 again, and still this version
//  5. the row says that it is a placeholder; then the file goes
//
// A cut after any step leaves the bytes or a placeholder of something proved.
func (m *Manager) drop(ctx context.Context, ino cache.Ino, o OffloadOptions) (freed int64, err error) {
	n, here, err := m.droppable(ino, o)
	if err != nil {
		return 0, err
	}
	if u := m.cache.InUse(ino); u != (cache.Use{}) {
		return 0, inUse(u)
	}
	if o.DryRun {
		return here, nil
	}
	if n.Residency == cache.Full && !n.Hash.Known() {
		if err := m.computeHash(ctx, n); err != nil {
			return 0, err
		}
	}
	if err := m.proved(ctx, n); err != nil {
		return 0, err
	}
	lease, err := m.cache.TryDrop(ino)
	if err != nil {
		return 0, busy(err)
	}
	defer lease.Release()
	now, _, err := m.droppable(ino, o)
	if err != nil {
		return 0, err
	}
	if now.Version != n.Version {
		return 0, skipped("changed in this moment")
	}
	freed, err = lease.Drop(n.Version)
	if errors.Is(err, cache.ErrStale) || errors.Is(err, cache.ErrBusy) {
		return 0, skipped("changed in this moment")
	}
	if err == nil {
		m.tell(event.Event{Type: event.FileOffloaded, Bytes: freed, Total: n.Size}, ino)
	}
	return freed, err
}

// errUnproved tells that endpoints were asked and it is their answer that has a file stay.
var errUnproved = errors.New("not proved")

// proved has enough endpoints prove that they store this version of a node.
func (m *Manager) proved(ctx context.Context, n cache.Node) error {
	copies, err := m.source.Prove(ctx, n.Ino, n.Version)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return errors.Join(skipped("no endpoint has proved that it stores this version: "+err.Error()), errUnproved)
	case copies < m.minCopies:
		return errors.Join(skipped(fmt.Sprintf("%d of %d copies elsewhere are proved", copies, m.minCopies)), errUnproved)
	}
	return nil
}

// droppable reads what the index says about dropping a node; skipped: why it must stay.
func (m *Manager) droppable(ino cache.Ino, o OffloadOptions) (n cache.Node, here int64, err error) {
	err = m.cache.View(func(tx *cache.Tx) error {
		if n, err = tx.Node(ino); err != nil {
			return err
		}
		if n.Content == 0 {
			return errNothing
		}
		if n.Writing {
			return skipped("is being written")
		}
		if here, err = tx.LocalBytes(ino); err != nil {
			return err
		}
		at, err := tx.LastOpened(ino)
		if err != nil {
			return err
		}
		if o.unusedSince != 0 && at > o.unusedSince {
			return skipped("was opened in this moment")
		}
		pinned, _, err := pinnedBy(tx, ino)
		if err != nil {
			return err
		}
		if pinned && !o.IncludePinned {
			return skipped("is pinned")
		}
		return unsent(tx, n)
	})
	return n, here, err
}

// unsent refuses a node whose present version no endpoint was given yet. Others may still wait for it: they are given it from
// that one then.
func unsent(tx *cache.Tx, n cache.Node) error {
	names, err := tx.DentriesOf(n.Ino)
	if err != nil {
		return err
	}
	waiting, bound := map[cache.LegID]bool{}, map[cache.LegID]bool{}
	for _, d := range names {
		items, err := tx.OpenItemsOf(d.ID)
		if err != nil {
			return err
		}
		for _, it := range items {
			if it.Status == cache.ItemConflicted {
				return skipped("is in conflict")
			}
			waiting[it.Leg] = true
		}
		bindings, err := tx.BindingsOf(d.ID)
		if err != nil {
			return err
		}
		for _, b := range bindings {
			bound[b.Leg] = bound[b.Leg] || b.LocalVersion == n.Version
		}
	}
	for leg, has := range bound {
		if !waiting[leg] && (has || len(waiting) == 0) {
			return nil
		}
	}
	if len(waiting) > 0 {
		return skipped("has changes that are not sent yet")
	}
	return skipped("no endpoint has it")
}

func (m *Manager) computeHash(ctx context.Context, n cache.Node) error {
	s, err := m.cache.Snapshot(n.Ino, n.Version)
	if err != nil {
		return busy(err)
	}
	_, err = s.EnsureHash(ctx)
	return errors.Join(busy(err), s.Close())
}

// busy makes a reason to skip of what use and change do to a node meanwhile.
func busy(err error) error {
	var b *cache.BusyError
	switch {
	case errors.As(err, &b):
		return inUse(b.Use)
	case errors.Is(err, cache.ErrStale):
		return skipped("changed in this moment")
	}
	return err
}

func inUse(u cache.Use) skipped {
	if u.Writers > 0 {
		return skipped("is open for writing")
	}
	return skipped("is open")
}
