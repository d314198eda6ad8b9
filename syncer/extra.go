package syncer

import (
	"context"
	"fmt"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// An endpoint that only follows may have what the drive does not: it was there before, or somebody has put it there. Such an
// object is bound to nothing, so that its work hangs on what was observed of it. It is removed after all copies of a
// generation, as deletions are, and goes to the endpoint's trash.

// removesExtra reports whether an operation removes an object that the drive never had.
func removesExtra(op plan.Op) bool { return op.Kind == plan.OpDeleteRemote && op.Binding == 0 }

// seeExtras looks into the directories of an endpoint that the drive does not have: how much there is to remove must be known
// before any of it is.
func (l *leg) seeExtras(ctx context.Context, ep remote.Endpoint) error {
	for after := ""; ; {
		var dirs []string
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			dirs, err = tx.UnlistedUnbound(l.id, after, batchSize)
			return err
		})
		if err != nil || len(dirs) == 0 {
			return err
		}
		after = dirs[len(dirs)-1]
		s := &scanner{l: l, ep: ep, queued: map[string]bool{}}
		for _, id := range dirs {
			s.push(id, true)
		}
		if err := s.run(ctx); err != nil {
			return asUnreachable(err)
		}
	}
}

// sawAll notes that what is in a directory was seen, if the drive does not have it.
func (s *scanner) sawAll(id string) error {
	if !follows(s.l.rules()) {
		return nil
	}
	todo := false
	err := s.l.e.Cache.View(func(tx *cache.Tx) error {
		o, ok, err := tx.Observed(s.l.id, id)
		todo = ok && !o.Listed
		return err
	})
	if err != nil || !todo {
		return err
	}
	return s.l.e.Cache.Update(s.l.id, func(tx *cache.Tx) error { return tx.ObservedListed(s.l.id, id) })
}

// guardExtras holds the removal of so much that a person has to allow it: the endpoint may be the wrong one.
func (l *leg) guardExtras(allow bool) (hold bool, err error) {
	if allow {
		return false, nil
	}
	message, err := l.stopped((*cache.Tx).CountUnbound)
	if err != nil || message != "" {
		return l.holdExtras(message), err
	}
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		extra, err := tx.CountUnbound(l.id)
		if err != nil || extra <= int64(l.e.GuardCount) {
			return err
		}
		all, err := tx.CountBindings(l.id)
		if all += extra; err != nil || extra*100 <= all*int64(l.e.GuardPercent) {
			return err
		}
		hold = true
		message = fmt.Sprintf("paused: mass delete: %d of %d objects at %s are not in the drive; `vdfs sync --allow-deletes` deletes them there", extra, all, l.target)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("count what only the endpoint has: %w", err)
	}
	return hold && l.holdExtras(message), nil
}

// holdExtras notes why what only the endpoint has is not removed, if it is not.
func (l *leg) holdExtras(why string) (hold bool) {
	if why == "" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = why
	return true
}

// removeExtras removes what only an endpoint has that follows, unless that is held. It reports whether something was removed.
func (l *leg) removeExtras(ctx context.Context, ep remote.Endpoint, c *counts, allow bool) (some bool, err error) {
	if !follows(l.rules()) {
		return false, nil
	}
	hold, err := l.guardExtras(allow)
	for err == nil {
		b := &batch{l: l, ep: ep, counts: c}
		err = l.observedPages(ctx, func(page []cache.Observed) error {
			jobs, err := b.extras(page, hold)
			if err != nil || hold {
				return err
			}
			return b.delete(ctx, jobs)
		})
		some = some || b.progress
		if !b.progress {
			break
		}
	}
	return some, err
}

// extras are the objects of a page that are to be removed, or are directories that wait for what is in them. Those that are held
// are noted to be.
func (b *batch) extras(page []cache.Observed, hold bool) (jobs []job, err error) {
	err = b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		jobs = nil
		v, err := b.l.views(tx)
		if err != nil {
			return err
		}
		for _, o := range page {
			if _, bound, err := tx.BindingOfRemote(b.l.id, o.RemoteID); err != nil || bound {
				if err != nil {
					return err
				}
				continue
			}
			d, err := plan.Decide(v, plan.Subject{Remote: plan.RemoteID(o.RemoteID)}, b.l.rules())
			if err != nil {
				continue // it was left alone when its turn came
			}
			if d.Wait != nil {
				if err := b.l.meetAgainIn(tx, d.Wait.On); err != nil {
					return err
				}
			}
			w := firstWrite(d)
			if !removesExtra(w.Op) && (d.Wait == nil || d.Wait.Reason != plan.WaitChild) {
				continue
			}
			if err := tx.EnsureRemote(b.l.id, o.RemoteID, o.Name, cache.OpDelete); err != nil {
				return err
			}
			if hold {
				if err := tx.NoteRemote(b.l.id, o.RemoteID, errDeleteHeld.Error()); err != nil {
					return err
				}
				continue
			}
			it, ok, err := tx.RemoteItem(b.l.id, o.RemoteID)
			if err != nil {
				return err
			}
			if ok && (it.Status != cache.ItemError || it.Due(v.now)) {
				jobs = append(jobs, job{it, w})
			}
		}
		return nil
	})
	return jobs, err
}

// parkedExtra notes that an object which is in the way was given a parking name, before it is removed.
func (t *step) parkedExtra(op plan.Op, e remote.Entry) error {
	o, ok, err := t.tx.Observed(t.l.id, string(op.Remote))
	if err != nil || !ok {
		return err
	}
	o.Name, o.Tag, o.Ident, o.Content = e.Name, string(e.Tag), e.Ident, string(e.Content)
	return t.tx.PutObserved(o)
}
