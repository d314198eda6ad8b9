package syncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vdfs/cache"
	"vdfs/internal/fault"
	"vdfs/syncer/remote"
)

// lookAgainMax is how often it is asked at most for what has changed meanwhile, where something was gone.
const lookAgainMax = 5

// pull takes in what changed at the endpoint since the cursor. full asks for
// everything, as does a cursor that the endpoint does not know any more.
func (l *leg) pull(ctx context.Context, ep remote.Endpoint, full bool) error {
	row, err := l.row()
	if err != nil {
		return err
	}
	cursor := remote.Cursor(row.Cursor)
	if full {
		cursor = ""
	}
	l.lost = false
	for restarts, again := 0, 0; ; {
		batch, err := ep.Changes(ctx, cursor)
		if errors.Is(err, remote.ErrCursorExpired) && cursor != "" && restarts < 3 {
			cursor, restarts = "", restarts+1
			continue
		}
		if err != nil {
			return fmt.Errorf("pull changes: %w", err)
		}
		if err := l.takeIn(ctx, ep, batch); err != nil {
			return fmt.Errorf("pull changes: %w", err)
		}
		if err := fault.Point(faultObserved); err != nil {
			return fmt.Errorf("pull changes: %w", err)
		}
		if batch.Next != cursor {
			if err := l.saveCursor(row.Cursor, batch.Next); err != nil {
				return err
			}
			row.Cursor = string(batch.Next)
			fault.Cut(faultCursor)
		}
		cursor = batch.Next
		// What is gone in one directory may have come to another that was listed before. Then there is word of that by now.
		if !batch.More && (!l.lost || again == lookAgainMax) {
			return nil
		}
		if !batch.More {
			l.lost, again = false, again+1
		}
	}
}

// saveCursor notes how far a look at the endpoint came, unless everything is to be asked for again since the last note.
func (l *leg) saveCursor(was string, c remote.Cursor) error {
	return l.e.Cache.Update(0, func(tx *cache.Tx) error {
		row, ok, err := tx.Leg(l.id)
		if err != nil || !ok || row.Cursor != was {
			return err
		}
		row.Cursor, row.LastScan = string(c), l.e.now()
		return tx.UpdateLeg(row)
	})
}

// takeIn records a batch: itemised changes at once, the rest by listing.
func (l *leg) takeIn(ctx context.Context, ep remote.Endpoint, batch remote.Batch) error {
	var items []remote.Change
	begun, all := time.Now(), batch.Full
	l.found = l.found || !batch.Full && !slices.ContainsFunc(batch.Changes, isWhole) && len(batch.Changes) > 0
	scan := &scanner{l: l, ep: ep, queued: map[string]bool{}}
	for _, c := range batch.Changes {
		if c.Relist == remote.RelistNo {
			items = append(items, c)
			continue
		}
		scan.hints = append(scan.hints, hint{c.ID, c.Relist == remote.RelistDeep})
		all = all || isWhole(c)
	}
	if len(batch.Changes) > 0 {
		if err := l.stir(false); err != nil {
			return err
		}
	}
	back, err := l.recordChanges(items)
	if err != nil {
		return err
	}
	if batch.Full && !batch.More && l.caps.Feed {
		if err := scan.all(); err != nil {
			return err
		}
	}
	for _, id := range back {
		scan.push(id, true)
	}
	slices.SortStableFunc(scan.hints, func(a, b hint) int { return cmp.Compare(a.depth(), b.depth()) })
	err = scan.run(ctx)
	if err == nil && all {
		l.listing = time.Since(begun)
	}
	return err
}

// isWhole reports whether a change says no more than that everything is to be listed.
func isWhole(c remote.Change) bool {
	a, ok := remote.ParseAddress(c.ID)
	return c.Relist == remote.RelistDeep && ok && a.Path == ""
}

// all queues everything that is known of an endpoint whose feed has begun anew: that names what is there, and what is not there
// any more is missing in a listing. Before the first contact is made nothing is known that could be gone.
func (s *scanner) all() error {
	return s.l.e.Cache.View(func(tx *cache.Tx) error {
		row, ok, err := tx.Leg(s.l.id)
		if err != nil || !ok || !row.Contact {
			return err
		}
		root, ok, err := tx.RootBinding(s.l.id)
		if err == nil && ok {
			s.push(root.RemoteID, true)
		}
		return err
	})
}

// recordChanges records itemised changes in transactions of bounded size, and returns the directories that were taken for gone.
func (l *leg) recordChanges(changes []remote.Change) (back []string, err error) {
	for len(changes) > 0 {
		n := min(len(changes), batchSize)
		part := changes[:n]
		changes = changes[n:]
		var r *recorder
		err := l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
			l.told.Add(1)
			r = l.recorder(tx, nil)
			for _, c := range part {
				if err := r.change(c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("record changes: %w", err)
		}
		back = append(back, r.back...)
	}
	return back, nil
}

// change records one itemised change of an endpoint with ids.
func (r *recorder) change(c remote.Change) error {
	id := string(c.ID)
	if root, ok, err := r.tx.RootBinding(r.l.id); err != nil || ok && root.RemoteID == id {
		return err
	}
	if !c.Deleted {
		if _, ok := remoteKind(c.Kind); !ok {
			return nil
		}
		dir, _, err := r.tx.Observed(r.l.id, string(c.Parent))
		if err != nil {
			return err
		}
		if dir.Gone { // or at a name that is ignored; if it comes back, all that is in it is seen again
			return r.leaves(id)
		}
		return r.put(r.l.seen(id, string(c.Parent), c.Entry))
	}
	now, err := r.l.object(r.tx, id)
	if err != nil || now == nil || now.Gone {
		return err
	}
	return r.gone(id, now.Parent)
}

// scanner lists directories of an endpoint and records what differs from the
// base. It holds the directories still to list, never a tree.
type scanner struct {
	l      *leg
	ep     remote.Endpoint
	hints  []hint // not resolved yet, the nearest to the root first
	queue  []scanDir
	queued map[string]bool
	climb  bool // list the directory above one that is not there
}

type scanDir struct {
	id   string
	deep bool
}

// hint is a directory to list, by its address at the endpoint.
type hint struct {
	addr remote.ItemID
	deep bool
}

// depth is how far below the root a path address is.
func (h hint) depth() int { return len(pathNames(h.addr)) }

// resolve queues the directories behind the hints that are nearest to the root. What is below them waits for their listings:
// these tell which directory is at its address now. One that is not known yet stays a hint: the listing of its parent may make
// it known, as with one that moved.
func (s *scanner) resolve() error {
	return s.l.e.Cache.View(func(tx *cache.Tx) error {
		var left []hint
		depth := -1 // of what is queued
		for _, h := range s.hints {
			if depth >= 0 && h.depth() > depth {
				left = append(left, h)
				continue
			}
			id, err := s.l.lookupDir(tx, h.addr)
			if err != nil {
				return err
			}
			if id == "" {
				left = append(left, h)
				continue
			}
			depth = h.depth()
			s.push(id, h.deep)
		}
		s.hints = left
		return nil
	})
}

func (s *scanner) push(id string, deep bool) {
	if !deep {
		if s.queued[id] {
			return
		}
		s.queued[id] = true
	}
	s.queue = append(s.queue, scanDir{id, deep})
}

func (s *scanner) run(ctx context.Context) error {
	for {
		if len(s.hints) > 0 {
			if err := s.resolve(); err != nil {
				return err
			}
		}
		if len(s.queue) == 0 {
			return nil
		}
		if err := s.drain(ctx); err != nil {
			return err
		}
	}
}

func (s *scanner) drain(ctx context.Context) error {
	for len(s.queue) > 0 {
		last := len(s.queue) - 1
		d := s.queue[last]
		s.queue = s.queue[:last]
		if err := s.scan(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// scan lists one directory. One that is gone meanwhile is left to its parent's
// listing; one that cannot be seen into now keeps what is known of it.
func (s *scanner) scan(ctx context.Context, d scanDir) error {
	l := s.l
	addr, listed, err := l.beforeScan(d.id)
	if err == nil && !listed {
		// Its first listing may have read it before the change that brought us here.
		if err = l.awaitListing(ctx, d.id); err == nil {
			addr, listed, err = l.beforeScan(d.id)
		}
	}
	if errors.Is(err, remote.ErrNotFound) || err == nil && !listed {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := listAll(ctx, s.ep, addr)
	l.shut.note(d.id, err)
	var c *comparison
	if err == nil {
		c, err = s.compare(d, entries)
	}
	switch {
	case isAny(err, misplaced):
		return s.above(d.id)
	case errors.Is(err, remote.ErrDetached):
		return nil
	case errors.Is(err, remote.ErrDenied):
		l.e.log.Warn("directory cannot be listed", "conduit", l.conduitRow().Name, "error", err)
		return nil
	case err != nil:
		return err
	}
	return s.record(ctx, d, c)
}

// compare puts a complete listing beside what is known.
func (s *scanner) compare(d scanDir, entries []remote.Entry) (c *comparison, err error) {
	err = s.l.e.Cache.View(func(tx *cache.Tx) (err error) {
		c, err = s.l.compare(tx, d.id, entries, d.deep)
		return err
	})
	return c, err
}

// record takes in a complete listing and queues what is to be listed next.
func (s *scanner) record(ctx context.Context, d scanDir, c *comparison) error {
	if !c.unchanged() {
		dirs, err := s.l.recordListing(ctx, d.id, c)
		if err != nil {
			return err
		}
		for _, id := range dirs {
			s.push(id, true)
		}
		if d.deep { // what was moved here is listed too
			if c, err = s.compare(d, c.entries); err != nil {
				return err
			}
		}
	}
	for _, id := range c.dirs {
		s.push(id, true)
	}
	return s.sawAll(d.id)
}

// beforeScan is where a directory is, and whether it was listed before. One that is gone is not looked into, also where it still
// has its address: at a name that is ignored what is in it is nobody's business.
func (l *leg) beforeScan(id string) (addr remote.ItemID, listed bool, err error) {
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		if addr, err = l.dirAddress(tx, id); err != nil {
			return err
		}
		b, bound, err := tx.BindingOfRemote(l.id, id)
		if err != nil {
			return err
		}
		o, _, err := tx.Observed(l.id, id)
		listed = !o.Gone && (bound && b.Listed || !bound && !o.Ignored)
		return err
	})
	return addr, listed, err
}

// awaitListing waits for the end of a first listing of a directory, if one is under way.
func (l *leg) awaitListing(ctx context.Context, id string) error {
	var b cache.Binding
	err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
		b, _, err = tx.BindingOfRemote(l.id, id)
		return err
	})
	if err != nil {
		return err
	}
	return l.lists.await(ctx, b.ID)
}

// above queues the directory around one that is not there, if that is wanted.
func (s *scanner) above(id string) error {
	if !s.climb {
		return nil
	}
	return s.l.e.Cache.View(func(tx *cache.Tx) error {
		o, err := s.l.object(tx, id)
		if err == nil && o != nil && o.Parent != "" {
			s.push(o.Parent, false)
		}
		return err
	})
}

// recordListing records where a complete listing of a known directory differs from what is known, and returns the directories
// in it that are new. It takes as many transactions as it needs, for a directory may be large: whatever ends it between two of
// them, nothing is concluded from what was recorded before a look at all of it came to its end.
func (l *leg) recordListing(ctx context.Context, dir string, c *comparison) (dirs []string, err error) {
	r := l.recorder(nil, c.entries)
	var todo []int // in entries
	for i := range c.entries {
		if !c.same[i] {
			todo = append(todo, i)
		} else if id := c.ids[i]; id != "" {
			r.claimed[id] = true
		}
	}
	missing := c.missing
	for len(todo) > 0 {
		part := make([]remote.Entry, min(len(todo), batchSize))
		for i := range part {
			part[i] = c.entries[todo[i]]
		}
		todo = todo[len(part):]
		err := l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
			kids, err := l.knownAmong(tx, dir, part)
			if err != nil {
				return err
			}
			for _, k := range kids {
				missing = append(missing, k.RemoteID) // unless it turns out to be claimed
			}
			r.tx = tx
			return r.listing(dir, kids, part)
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("record listing: %w", err)
		}
	}
	missing = slices.DeleteFunc(missing, func(id string) bool { return r.claimed[id] })
	if err := r.allGone(ctx, dir, missing); err != nil {
		return nil, fmt.Errorf("record listing: %w", err)
	}
	return append(r.dirs, r.back...), nil
}

// lookupDir is the id of the directory at an address of the endpoint, "" when none is known there.
func (l *leg) lookupDir(tx *cache.Tx, addr remote.ItemID) (string, error) {
	if l.caps.StableID {
		o, err := l.object(tx, string(addr))
		if err != nil || o == nil || o.Kind != cache.Dir {
			return "", err
		}
		return string(addr), nil
	}
	id := rootID
	for _, name := range pathNames(addr) {
		o, err := l.childAt(tx, id, name)
		if err != nil || o == nil || o.Kind != cache.Dir {
			return "", err
		}
		id = o.RemoteID
	}
	return id, nil
}
