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
// hold keeps deletions back.
func (l *leg) applyObserved(ctx context.Context, c *counts, hold bool) error {
	for {
		before := c.Applied
		learned := false
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
			ops, err := l.applyPage(page, c, hold)
			if err != nil {
				return err
			}
			some, err := l.learn(ctx, ops, c)
			if err != nil {
				return err
			}
			learned = learned || some
			if len(page) < batchSize {
				break
			}
			after = page[len(page)-1].RemoteID
		}
		if c.Applied == before && !learned {
			return nil
		}
	}
}

// applyPage settles a page of observed rows in one transaction. A file that
// comes into use in between makes the transaction start over for each alone.
func (l *leg) applyPage(page []cache.Observed, c *counts, hold bool) (need []lack, err error) {
	need, err = l.applyRows(page, c, hold)
	if !errors.Is(err, errHeldOpen) {
		return need, err
	}
	need = nil
	for i := range page {
		ops, err := l.applyRows(page[i:i+1], c, hold)
		if err != nil && !errors.Is(err, errHeldOpen) {
			return nil, err
		}
		need = append(need, ops...)
	}
	return need, nil
}

func (l *leg) applyRows(rows []cache.Observed, c *counts, hold bool) (need []lack, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	done := *c
	err = l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		done, need = *c, nil
		t, err := l.step(tx, &done)
		if err != nil {
			return err
		}
		for _, o := range rows {
			if hold && o.Gone {
				continue
			}
			d, err := t.settle(plan.Subject{Remote: plan.RemoteID(o.RemoteID)})
			if err != nil {
				return err
			}
			if err := t.remember(o.RemoteID, d); err != nil {
				return err
			}
			lacks, err := t.lacks(o.RemoteID, d)
			if err != nil {
				return err
			}
			need = append(need, lacks...)
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

// lacks is what has to be learned before an observed object can be decided, if it is time to.
func (t *step) lacks(remoteID string, d plan.Decision) (out []lack, err error) {
	for _, op := range d.Ops {
		if op.Kind.Side() == plan.SideKnowledge {
			out = append(out, lack{remoteID, op})
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	rests, err := t.rests(remoteID)
	if err != nil || rests {
		return nil, err
	}
	return out, nil
}
