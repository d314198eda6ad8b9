package syncer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// A leg's tree is verified when all that its endpoint has was listed again, and planning all of that, and all that the drive has
// there, yields nothing to do. No bytes are read for that.

const (
	treeEvery = 24 * time.Hour // between two looks at all of an endpoint
	treeAgain = time.Hour      // at most, after one that found something left to do
)

// TreeCheck is the last look at all that an endpoint has.
type TreeCheck struct {
	Endpoint string
	Conduit  string
	cache.TreeCheck
}

// VerifyTrees looks at all that the endpoints have, now, and says what came of it.
func (e *Engine) VerifyTrees(ctx context.Context) ([]TreeCheck, error) {
	legs := e.current()
	slices.SortFunc(legs, func(a, b *leg) int { return int(a.id - b.id) })
	var out []TreeCheck
	for _, l := range legs {
		err := l.during(ctx, nil) // what can be done is done first
		if err == nil {
			err = l.during(ctx, l.verifyTree)
		}
		if ctx.Err() != nil {
			return out, fmt.Errorf("verify trees: %w", ctx.Err())
		}
		c := TreeCheck{Endpoint: l.target, Conduit: l.conduitRow().Name}
		verr := e.Cache.View(func(tx *cache.Tx) (err error) {
			c.TreeCheck, err = tx.TreeCheck(l.id)
			return err
		})
		if verr != nil {
			return out, fmt.Errorf("verify trees: %w", verr)
		}
		if err != nil {
			c.Result = "failed:" + err.Error()
		}
		out = append(out, c)
	}
	return out, nil
}

// verifyTreeIfDue is verifyTree once a day, for a leg that is at rest.
func (l *leg) verifyTreeIfDue(ctx context.Context) {
	if l.e.now() < l.treeDue || l.first() {
		return
	}
	var last cache.TreeCheck
	err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
		last, err = tx.TreeCheck(l.id)
		return err
	})
	due := last.Checked + int64(treeEvery)
	if last.Result != cache.TreeVerified {
		due = last.Checked + int64(cmp.Or(l.treeRest, treeAgain))
	}
	if last.Checked > l.e.now() { // the clock was set back since
		due = 0
	}
	if err == nil && due <= l.e.now() {
		var ep remote.Endpoint
		begun := time.Now()
		if ep, err = l.online(ctx); err == nil {
			err = l.verifyTree(ctx, ep)
		}
		// What is left is done soon, and then it is looked again, but for a small share of the time.
		l.treeRest = min(treeAgain, max(l.e.Interval, listingShare*time.Since(begun)))
		due = l.e.now() + int64(l.treeRest)
	}
	if err != nil && ctx.Err() == nil {
		l.e.log.Warn("the whole tree was not verified", "conduit", l.conduitRow().Name, "error", err)
	}
	if err == nil || ctx.Err() == nil {
		l.treeDue = due
	}
}

// verifyTree lists all of the endpoint again, plans all, and records what came of it. It belongs to the leg's cycle.
func (l *leg) verifyTree(ctx context.Context, ep remote.Endpoint) error {
	if err := l.pull(ctx, ep, true); err != nil {
		return asUnreachable(err)
	}
	result := cache.TreeVerified
	left, err := l.planAll(ctx)
	switch {
	case err != nil:
		return err
	case l.first():
		result = "failed:the first contact is under way"
	case left == 1:
		result = "failed:1 change is left to be done"
	case left > 1:
		result = fmt.Sprintf("failed:%d changes are left to be done", left)
	}
	if result != cache.TreeVerified {
		l.wake()
	}
	return l.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.PutTreeCheck(l.id, result) })
}

// planAll counts the objects, of the endpoint and of the drive, of which something is to be done, or to be found out.
func (l *leg) planAll(ctx context.Context) (left int, err error) {
	err = l.observedPages(ctx, func(page []cache.Observed) error {
		return l.planEach(len(page), &left, func(i int) plan.Subject { return plan.Subject{Remote: plan.RemoteID(page[i].RemoteID)} })
	})
	for after := cache.BindingID(0); err == nil; {
		var page []cache.Leaving
		err = l.e.Cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.LeavingPage(l.id, after, pageSize)
			return err
		})
		if err != nil || len(page) == 0 {
			break
		}
		after = page[len(page)-1].ID
		err = l.planEach(len(page), &left, func(i int) plan.Subject { return plan.Subject{Binding: plan.BindingID(page[i].ID)} })
	}
	for after := cache.DentryID(0); err == nil; {
		var ids []cache.DentryID
		err = l.e.Cache.Survey(func(tx *cache.Tx) (err error) {
			ids, after, err = tx.Differing(l.id, after, pageSize, releases(l.rules()))
			return err
		})
		if err == nil {
			err = l.planEach(len(ids), &left, func(i int) plan.Subject { return plan.Subject{Dentry: plan.DentryID(ids[i])} })
		}
		if err == nil {
			err = ctx.Err()
		}
		if after == 0 {
			break
		}
	}
	return left, err
}

// planEach decides subjects, and counts those that are not at rest.
func (l *leg) planEach(n int, left *int, subject func(i int) plan.Subject) error {
	if n == 0 {
		return nil
	}
	return l.e.Cache.Survey(func(tx *cache.Tx) error {
		v, err := l.views(tx)
		if err != nil {
			return err
		}
		for i := range n {
			d, err := plan.Decide(v, subject(i), l.rules())
			if err != nil {
				return err
			}
			if len(d.Ops) > 0 || d.Wait != nil {
				*left++
			}
		}
		return nil
	})
}
