package syncer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// sendLocal brings what is eligible of the drive's changes to the endpoint, as
// batches of items: structure (directories, moves, links) in order, then copies
// in parallel, each proved, then deletes. It goes on until a pass over the
// items comes to nothing.
func (l *leg) sendLocal(ctx context.Context, ep remote.Endpoint, c *counts, holdDeletes bool) error {
	for {
		progress := false
		for after := int64(0); ; {
			items, last, err := l.eligible(after)
			if err != nil {
				return err
			}
			if last == 0 {
				break
			}
			after = last
			b := &batch{l: l, ep: ep, counts: c, holdDeletes: holdDeletes}
			begun := time.Now()
			if err := b.run(ctx, items); err != nil {
				return err
			}
			l.makeWay(ctx, time.Since(begun))
			progress = progress || b.progress
		}
		if !progress {
			return nil
		}
	}
}

// eligible reads a page of the items that may be worked on now, and the last id looked at; 0: there are no more.
func (l *leg) eligible(after int64) (items []cache.Item, last int64, err error) {
	err = l.e.Cache.Survey(func(tx *cache.Tx) error {
		page, err := tx.ItemsPage(l.id, cache.OriginLocal, after, pageSize, l.e.now())
		for _, it := range page {
			last = it.ID
			if l.rest(it) <= 0 {
				items = append(items, it)
			}
		}
		return err
	})
	return items, last, err
}

// rest is how long an item has to wait still, by its own time and for quiet.
func (l *leg) rest(it cache.Item) time.Duration {
	return time.Duration(max(it.Eligible, it.Updated+int64(l.e.Quiet)) - l.e.now())
}

// batch is one page of items on its way to the endpoint.
type batch struct {
	l           *leg
	ep          remote.Endpoint
	holdDeletes bool
	progress    bool

	mu      sync.Mutex // copies run in parallel
	counts  *counts
	copying bool
	relooks []plan.Op // of copies that met a surprise
}

// plain are the items of which one look tells that a file is to be copied, with the operation: of all together that is
// cheaper, and holds up nobody who changes files meanwhile. The others need what comes before them to be done first.
func (b *batch) plain(items []cache.Item) (map[int64]plan.Op, error) {
	ops := make(map[int64]plan.Op)
	err := b.l.e.Cache.Survey(func(tx *cache.Tx) error {
		v, err := b.l.views(tx)
		if err != nil {
			return err
		}
		for _, it := range items {
			// One that cannot be decided fails by itself, when its turn comes.
			if d, err := plan.Decide(v, subjectOf(it), policyOf(b.l.conduitRow().Policy)); err == nil && len(d.Ops) > 0 && isCopyOf(d.Ops[0]) {
				ops[it.ID] = d.Ops[0]
			}
		}
		return nil
	})
	return ops, err
}

// isCopyOf reports whether an operation moves the bytes of a file.
func isCopyOf(op plan.Op) bool {
	return (op.Kind == plan.OpPut || op.Kind == plan.OpReplace) && op.Object == plan.File
}

// job is an item with what was decided for it.
type job struct {
	item cache.Item
	op   plan.Op
}

func subjectOf(it cache.Item) plan.Subject {
	if it.Binding != 0 {
		return plan.Subject{Binding: plan.BindingID(it.Binding)}
	}
	return plan.Subject{Dentry: plan.DentryID(it.Dentry)}
}

func (b *batch) run(ctx context.Context, items []cache.Item) error {
	var copies, deletes []job
	plain, err := b.plain(items)
	if err != nil {
		return err
	}
	for todo := items; len(todo) > 0; {
		var waiting []cache.Item
		moved := false
		for _, it := range todo {
			if op, ok := plain[it.ID]; ok {
				copies = append(copies, job{it, op})
				continue
			}
			j, state, err := b.structure(ctx, it)
			if err != nil {
				return err
			}
			switch state {
			case isCopy:
				copies = append(copies, j)
			case isDelete:
				deletes = append(deletes, j)
			case isWaiting:
				waiting = append(waiting, it)
			case isDone:
				moved = true
			}
		}
		if !moved {
			break
		}
		b.progress = true
		todo = waiting
	}
	failed := b.counts.Errors
	if err := b.copy(ctx, copies); err != nil {
		return err
	}
	if b.counts.Errors > failed || b.holdDeletes {
		return nil // a failed copy returns the deletes to the queue
	}
	return b.delete(ctx, deletes)
}

type outcome uint8

const (
	isDone    outcome = iota + 1 // something was carried out, or there is nothing to do
	isFailed                     // the item has the error
	isWaiting                    // something has to come first
	isCopy
	isDelete
)

// structure carries an item as far as it goes without moving bytes or deleting.
func (b *batch) structure(ctx context.Context, it cache.Item) (job, outcome, error) {
	for range maxSteps {
		d, err := b.decide(ctx, it)
		if err != nil {
			state, err := b.fail(ctx, it, plan.Op{}, err)
			return job{}, state, err
		}
		switch {
		case d.Wait != nil:
			return job{}, isWaiting, b.note(it, d.Wait.Reason.String())
		case len(d.Ops) == 0:
			return job{}, isDone, b.finish(it)
		}
		op := d.Ops[0]
		switch {
		case isCopyOf(op):
			return job{it, op}, isCopy, nil
		case op.Kind == plan.OpDeleteRemote:
			return job{it, op}, isDelete, nil
		}
		if err := b.carryOut(ctx, it, op); err != nil {
			state, err := b.fail(ctx, it, op, err)
			return job{}, state, err
		}
		b.progress = true
	}
	return job{}, isWaiting, nil
}

// decide settles the item's subject in the drive and the base, obtains what has
// to be known, and returns what the endpoint is to do.
func (b *batch) decide(ctx context.Context, it cache.Item) (plan.Decision, error) {
	for range maxSteps {
		d, err := b.look(it)
		if err != nil || len(d.Ops) == 0 {
			return d, err
		}
		switch d.Ops[0].Kind.Side() {
		case plan.SideEndpoint:
			return d, nil
		case plan.SideKnowledge:
			if err := b.learn(ctx, d.Ops); err != nil {
				return d, err
			}
			continue
		}
		err = b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
			t, err := b.l.step(tx, b.counts)
			if err == nil {
				d, err = t.settle(subjectOf(it))
			}
			return err
		})
		if errors.Is(err, errHeldOpen) {
			return plan.Decision{Wait: &plan.Wait{Reason: plan.WaitSettle}}, nil
		}
		if err != nil {
			return d, err
		}
		b.progress = true
	}
	return plan.Decision{}, fmt.Errorf("%v comes to no rest", subjectOf(it))
}

// learn obtains what the decision about an item lacks. What fails is the item's to wait for.
func (b *batch) learn(ctx context.Context, ops []plan.Op) error {
	for _, op := range ops {
		if err := b.l.learnOne(ctx, op); err != nil {
			if isAny(err, surprises) {
				b.l.setDue() // it changed meanwhile: the next look decides anew
			}
			return fmt.Errorf("%v: %w", op.Kind, err)
		}
	}
	return nil
}

// look decides without changing anything: most items need no more.
func (b *batch) look(it cache.Item) (d plan.Decision, err error) {
	err = b.l.e.Cache.View(func(tx *cache.Tx) error {
		v, err := b.l.views(tx)
		if err != nil {
			return err
		}
		d, err = plan.Decide(v, subjectOf(it), policyOf(b.l.conduitRow().Policy))
		return err
	})
	return d, err
}

// copy moves the bytes of files in parallel. Directories in which copies met surprises are listed when all copies have come to
// their end: a listing that was read before a file came, and is written down after its base, would tell that it is gone.
func (b *batch) copy(ctx context.Context, jobs []job) error {
	b.copying = true
	err := b.copyAll(ctx, jobs)
	b.copying = false
	ops := b.relooks
	b.relooks = nil
	for _, op := range ops {
		if err == nil {
			err = b.l.relook(ctx, b.ep, op)
		}
	}
	if err != nil && len(ops) > 0 {
		b.l.setDue()
	}
	return err
}

func (b *batch) copyAll(ctx context.Context, jobs []job) error {
	if len(jobs) >= syncTogether {
		if err := b.l.e.Cache.SyncContents(ctx); err != nil {
			return err
		}
	}
	transfers, err := b.transfers(jobs)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.l.parallel())
	for _, t := range transfers {
		g.Go(func() error {
			n, err := b.put(ctx, t)
			b.mu.Lock()
			defer b.mu.Unlock()
			if err != nil {
				_, err = b.fail(ctx, t.item, t.op, err)
				return err
			}
			b.progress = true
			b.counts.Copied++
			b.counts.Bytes += n
			return nil
		})
	}
	return g.Wait()
}

const (
	// syncTogether is how many copies it takes that making everything durable at once is cheaper than each file by itself.
	syncTogether = 8
	// lookTogether is how many it takes that a snapshot is cheaper than to look beside the writer.
	lookTogether = 8
)

// parallel is how many copies run at once: as many as the conduit wants, or as
// the endpoint bears where it gathers them into batches of its own.
func (l *leg) parallel() int {
	return max(l.conduitRow().Parallel, l.caps.Parallel, 1)
}

// delete carries out deletions, children before their directories, each decided
// again: the copies took time.
func (b *batch) delete(ctx context.Context, jobs []job) error {
	if len(jobs) == 0 {
		return nil
	}
	// A power cut must not bring back here what is gone there: it would look like a delete of the endpoint's own.
	if err := b.l.e.Cache.SyncIndex(); err != nil {
		return err
	}
	for todo := jobs; len(todo) > 0; {
		var waiting []job
		moved := false
		for _, j := range todo {
			d, err := b.decide(ctx, j.item)
			if err == nil && d.Wait != nil {
				waiting = append(waiting, j)
				continue
			}
			if err == nil && len(d.Ops) > 0 {
				if d.Ops[0].Kind != plan.OpDeleteRemote {
					continue // something else came of it: the next pass
				}
				err = b.carryOut(ctx, j.item, d.Ops[0])
			}
			if err != nil {
				if _, err = b.fail(ctx, j.item, j.op, err); err != nil {
					return err
				}
				continue
			}
			moved, b.progress = true, true
		}
		if !moved {
			return nil
		}
		todo = waiting
	}
	return nil
}

// finish closes an item whose subject is at rest. One marked again meanwhile stays open.
func (b *batch) finish(it cache.Item) error {
	return b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		_, err := tx.FinishItem(it.ID, it.Updated, cache.ItemCompleted)
		return err
	})
}

// note leaves on an item why it waits.
func (b *batch) note(it cache.Item, why string) error {
	if it.Error == why && it.Status == cache.ItemValidated {
		return nil
	}
	it.Error, it.Status = why, cache.ItemValidated
	return b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		_, err := tx.UpdateItem(&it)
		return err
	})
}
