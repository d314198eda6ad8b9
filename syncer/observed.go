package syncer

import (
	"context"
	"errors"
	"fmt"

	"vdfs/cache"
	"vdfs/internal/fault"
	"vdfs/syncer/plan"
)

// applyObserved brings what was observed at the endpoint into the drive, in
// transactions of bounded size, until a pass over all of it changes nothing.
func (l *leg) applyObserved(ctx context.Context, c *counts) error {
	for {
		if err := l.rulesFirst(ctx, c); err != nil {
			return err
		}
		before := c.Applied
		learned := false
		err := l.observedPages(ctx, func(page []cache.Observed) error {
			applied := c.Applied
			ops, err := l.applyPage(page, c)
			if err == nil {
				err = l.more(c, int(c.Applied-applied), 0)
			}
			if err != nil {
				return err
			}
			some, err := l.learn(ctx, ops, c)
			learned = learned || some
			return err
		})
		if err != nil {
			return err
		}
		if c.Applied == before && !learned {
			return l.fetches.prune()
		}
	}
}

// observedPages calls do for all observed rows, a page at a time.
func (l *leg) observedPages(ctx context.Context, do func([]cache.Observed) error) error {
	for after := ""; ; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var page []cache.Observed
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.ObservedPage(l.id, after, batchSize)
			return err
		})
		if err != nil {
			return err
		}
		if err := do(page); err != nil {
			return err
		}
		if len(page) < batchSize {
			return nil
		}
		after = page[len(page)-1].RemoteID
	}
}

// whole are errors that are not those of one object: nothing can be done for the others either.
var whole = []error{cache.ErrDamaged, cache.ErrNoSpace, ErrUnknownConduit, plan.ErrPolicy}

// objectError is why one observed object could not be brought into the drive. It is no reason to leave others.
type objectError struct {
	remoteID string
	cause    error
}

func (e *objectError) Error() string { return e.cause.Error() }
func (e *objectError) Unwrap() error { return e.cause }

// ofOne is the object whose error err is, nil if it concerns more than one.
func ofOne(err error) *objectError {
	var one *objectError
	if !errors.As(err, &one) || isAny(err, whole) {
		return nil
	}
	return one
}

// applyPage settles a page of observed rows in one transaction. One that fails,
// or a file that comes into use in between, makes the transaction start over
// for each alone.
func (l *leg) applyPage(page []cache.Observed, c *counts) (need []lack, err error) {
	need, err = l.applyRows(page, c)
	if ofOne(err) == nil {
		return need, err
	}
	need = nil
	for i := range page {
		ops, err := l.applyRows(page[i:i+1], c)
		if one := ofOne(err); one != nil {
			err = l.leave(one, c)
		}
		if err != nil {
			return nil, err
		}
		need = append(need, ops...)
	}
	return need, nil
}

// leave has an object that could not be brought into the drive rest for a while. One that only came into use, or needs a
// name whose deletion is held, waits for that.
func (l *leg) leave(one *objectError, c *counts) error {
	if errors.Is(one, errHeldOpen) || errors.Is(one, errDeleteHeld) {
		return nil
	}
	c.Errors++
	l.e.log.Warn("cannot apply remote change", "conduit", l.conduitRow().Name, "object", one.remoteID, "error", one.cause)
	err := l.putOff(one.remoteID, one.cause)
	if err == nil {
		l.tellLeft(one)
	}
	return err
}

func (l *leg) applyRows(rows []cache.Observed, c *counts) (need []lack, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	done := *c
	err = l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		done, need = *c, nil
		t, err := l.work(tx, &done, 0)
		if err != nil {
			return err
		}
		for _, o := range rows {
			lacks, err := t.take(o)
			if err != nil {
				return &objectError{o.RemoteID, err}
			}
			need = append(need, lacks...)
		}
		if err := t.count(done.less(*c)); err != nil {
			return err
		}
		return fault.Point(faultApply)
	})
	if err != nil {
		return nil, fmt.Errorf("apply remote changes: %w", err)
	}
	fault.Cut(faultApplied)
	*c = done
	return need, nil
}

// take brings an observed object as far as it goes by itself, unless it is held
// or rests after a failure, and returns what has to be learned to decide it.
func (t *step) take(o cache.Observed) ([]lack, error) {
	it, _, err := t.tx.RemoteItem(t.l.id, o.RemoteID)
	switch {
	case err != nil:
		return nil, err
	case t.hold && o.Gone && !o.Ignored:
		return nil, t.holdBack(o, it)
	case it.Status == cache.ItemError && !it.Due(t.now):
		return nil, nil
	}
	if over, err := t.passOver(o); err != nil || over {
		return nil, err
	}
	d, err := t.turn(o.RemoteID)
	return lacks(o.RemoteID, d), err
}

// lacks is what has to be learned before an observed object can be decided.
func lacks(remoteID string, d plan.Decision) (out []lack) {
	for _, op := range d.Ops {
		if op.Kind.Side() == plan.SideKnowledge {
			out = append(out, lack{remoteID, op})
		}
	}
	return out
}
