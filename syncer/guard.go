package syncer

import (
	"errors"
	"fmt"
	"time"

	"vdfs/cache"
	"vdfs/syncer/plan"
)

// errDeleteHeld says that a deletion waits for a person to allow it.
var errDeleteHeld = errors.New("held: mass delete")

// deletesHere reports whether an operation brings a deletion made at the endpoint into the drive. One without a binding
// only takes the place of what was never sent, with the same bytes.
func deletesHere(op plan.Op) bool { return op.Kind == plan.OpDeleteLocal && op.Binding != 0 }

// guarded tells whether deletions made at the endpoint are held back, or a person has allowed them.
func (l *leg) guarded() (hold, allowed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.free, l.allowed
}

// guard decides whether deletions made at the endpoint are so many that a person has to allow it. It counts after moves were
// paired.
func (l *leg) guard(allow bool) error {
	held, message := false, ""
	var err error
	switch {
	case allow:
		err = l.pardon(cache.OriginRemote)
	case !follows(l.rules()): // where the drive alone decides, what is gone is made again
		var n, all int64
		held, n, all, err = l.weigh(cache.OriginRemote, (*cache.Tx).CountGone, l.e.GuardCount, l.e.GuardPercent)
		if held {
			message = fmt.Sprintf("paused: mass delete: %d of %d objects are gone at %s; `vdfs sync --allow-deletes` lets them go here too", n, all, l.target)
		}
	}
	if err != nil {
		return err
	}
	if stopped, serr := l.stopped((*cache.Tx).CountGone); serr != nil {
		return serr
	} else if stopped != "" && !held {
		held, message = true, stopped
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.free, l.allowed = message, !held, allow
	return nil
}

// holdBack leaves on an observed deletion that it is held. it is its item, if it has one.
func (t *step) holdBack(o cache.Observed, it cache.Item) error {
	why := errDeleteHeld.Error()
	if it.Status == cache.ItemValidated && it.Error == why {
		return nil
	}
	if err := t.tx.EnsureRemote(t.l.id, o.RemoteID, o.Name, cache.OpDelete); err != nil {
		return err
	}
	return t.tx.NoteRemote(t.l.id, o.RemoteID, why)
}

// purgeSpan is how long a purge lasts: what is deleted on one side within it counts together, over restarts, too.
const purgeSpan = 10 * time.Minute

// weigh counts the deletions made on one side and not followed yet, with those of the same purge that the other side has
// followed already: an rm may take a while. It tells, and notes, whether they are so many that they are held.
func (l *leg) weigh(
	side cache.Origin, gone func(*cache.Tx, cache.LegID) (int64, error), count, percent int,
) (held bool, n, all int64, err error) {
	var was, p cache.Deletions
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		waiting, err := gone(tx, l.id)
		if err != nil {
			return err
		}
		if was, err = tx.Deletions(l.id, side); err != nil {
			return err
		}
		if p = was; waiting == 0 {
			p.Held = false
			return nil
		}
		if p, err = l.purge(tx, was); err != nil {
			return err
		}
		n, all = p.Done+waiting, p.Objects
		many := func() bool { return n > int64(count) && n*100 > all*int64(percent) }
		if many() { // of those, too, that have come since it began
			now, err := tx.CountBindings(l.id)
			if err != nil {
				return err
			}
			all = max(all, p.Done+now)
		}
		p.Held = many()
		return nil
	})
	if err == nil && p != was {
		err = l.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.PutDeletions(p) })
	}
	if err != nil {
		err = fmt.Errorf("count deletions: %w", err)
	}
	return p.Held, n, all, err
}

// purge is the one that deletions made now belong to: the last, or a new one if that is over.
func (l *leg) purge(tx *cache.Tx, last cache.Deletions) (p cache.Deletions, err error) {
	now := l.e.now()
	if age := now - last.Begun; last.Held || last.Begun != 0 && age >= 0 && age < int64(purgeSpan) {
		return last, nil
	}
	p = cache.Deletions{Leg: l.id, Side: last.Side, Begun: now}
	if p.Objects, err = tx.CountBindings(l.id); err != nil {
		return p, err
	}
	p.Last, err = tx.LastBinding(l.id)
	return p, err
}

// pardon ends the purge on one side: a person has allowed it, and what was allowed counts for no other.
func (l *leg) pardon(side cache.Origin) error {
	return l.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.EndDeletions(l.id, side) })
}

// guardLocal is guard for deletions made in the drive, but for those that were
// allowed when they came from another leg.
func (l *leg) guardLocal(allow bool) (hold bool, err error) {
	if allow {
		return false, l.pardon(cache.OriginLocal)
	}
	hold, n, all, err := l.weigh(cache.OriginLocal, (*cache.Tx).CountUnnamed, l.e.LocalGuardCount, l.e.LocalGuardPercent)
	message := fmt.Sprintf("paused: mass delete: %d of %d objects were deleted in the drive; `vdfs sync --allow-deletes` deletes them at %s too", n, all, l.target)
	if err == nil && !hold {
		message, err = l.stopped((*cache.Tx).CountUnnamed)
		hold = message != ""
	}
	if hold {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held = message
	}
	return hold, err
}

// cancel notes that a person is about to end the run under way, if there is one.
func (l *leg) cancel() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancelled = l.cancelled || l.busy
}

// stopped says that deletions made on one side wait for somebody to ask for a run, as the last was cancelled; "": they do not.
func (l *leg) stopped(gone func(*cache.Tx, cache.LegID) (int64, error)) (message string, err error) {
	l.mu.Lock()
	yes := l.cancelled
	l.mu.Unlock()
	if !yes {
		return "", nil
	}
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		n, err := gone(tx, l.id)
		if err == nil && n > 0 {
			message = fmt.Sprintf("cancelled: %d deletions wait for the next `vdfs sync`", n)
		}
		return err
	})
	return message, err
}
