package syncer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// sendLocal brings what is eligible of the drive's changes to the endpoint, all
// but deletions, a page of items at a time: structure (directories, moves, links)
// in order, then copies in parallel, each proved. It goes on until a pass over
// the items comes to nothing, and reports whether something failed by then.
func (l *leg) sendLocal(ctx context.Context, ep remote.Endpoint, c *counts) (failed bool, err error) {
	defer l.progress.leave()
	for {
		b := &batch{l: l, ep: ep, counts: c}
		err := l.pages(func(items []cache.Item) error {
			if len(items) > 0 {
				l.progress.enter(PhaseCopying)
			}
			begun := time.Now()
			err := l.settleRules(ctx)
			if err == nil {
				err = b.run(ctx, items)
			}
			l.makeWay(ctx, time.Since(begun))
			if err == nil {
				err = l.more(c, len(items), 0)
			}
			return err
		})
		failed = failed || b.failed
		if err != nil || !b.progress {
			return failed || b.surprised, err
		}
	}
}

// sendDeletions carries out the deletions made in the drive that were marked before a time: a generation's, after its copies.
// What is held is noted to be, but for what was allowed. It reports whether something was deleted.
func (l *leg) sendDeletions(ctx context.Context, ep remote.Endpoint, c *counts, before int64, hold bool) (some bool, err error) {
	defer l.progress.leave()
	for {
		b := &batch{l: l, ep: ep, counts: c}
		err := l.pages(func(items []cache.Item) error {
			jobs, err := b.deletions(items, before)
			if err == nil && hold {
				jobs, err = b.holdBack(jobs)
			}
			if err != nil {
				return err
			}
			begun := time.Now()
			err = b.delete(ctx, jobs)
			l.makeWay(ctx, time.Since(begun))
			if err == nil {
				err = l.more(c, len(jobs), 0)
			}
			return err
		})
		some = some || b.progress
		if err != nil || !b.progress {
			return some, err
		}
	}
}

// sendPage is how many items are worked on together: enough for several groups of copies.
const sendPage = 1024

// pages calls do for the items that may be worked on now, a page at a time.
func (l *leg) pages(do func([]cache.Item) error) error {
	for after := int64(0); ; {
		items, last, err := l.eligible(after)
		if err != nil || last == 0 {
			return err
		}
		after = last
		if err := do(items); err != nil {
			return err
		}
	}
}

// eligible reads a page of the items that may be worked on now, and the last id looked at; 0: there are no more.
func (l *leg) eligible(after int64) (items []cache.Item, last int64, err error) {
	err = l.e.Cache.Survey(func(tx *cache.Tx) error {
		page, err := tx.ItemsPage(l.id, cache.OriginLocal, after, sendPage, l.e.now())
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
func (l *leg) rest(it cache.Item) time.Duration { return it.Rest(l.e.now(), l.e.Quiet) }

// batch is a pass over items on their way to the endpoint.
type batch struct {
	l         *leg
	ep        remote.Endpoint
	progress  bool
	failed    bool // something that is no deletion
	surprised bool // likewise, and it is tried again in the next pass

	mu      sync.Mutex // copies run in parallel
	counts  *counts
	copying bool
	relooks []plan.Op // of copies that met a surprise
}

// glance is what one look at many items tells: that is cheaper than to look at each, and holds up nobody who changes files
// meanwhile. The others need what comes before them to be done first.
type glance struct {
	plain  map[int64]write     // those of which a file is to be copied, or an object to be deleted
	parent map[int64]plan.Wait // those that wait for the directory that they are in
	dirs   []job               // directories that are to be made
}

func (b *batch) glance(items []cache.Item) (glance, error) {
	g := glance{plain: make(map[int64]write), parent: make(map[int64]plan.Wait)}
	err := b.l.e.Cache.Survey(func(tx *cache.Tx) error {
		v, err := b.l.views(tx)
		if err != nil {
			return err
		}
		for _, it := range items {
			// One that cannot be decided fails by itself, when its turn comes.
			d, err := plan.Decide(v, subjectOf(it), b.l.rules())
			switch {
			case err != nil:
			case len(d.Ops) > 0 && (isCopyOf(d.Ops[0]) || removes(d.Ops[0])):
				g.plain[it.ID] = firstWrite(d)
			case len(d.Ops) > 0 && d.Ops[0].Kind == plan.OpMkdir:
				g.dirs = append(g.dirs, job{it, firstWrite(d)})
			case d.Wait != nil && d.Wait.Reason == plan.WaitParent:
				g.parent[it.ID] = *d.Wait
			}
		}
		return nil
	})
	return g, err
}

// isCopyOf reports whether an operation moves the bytes of a file.
func isCopyOf(op plan.Op) bool {
	return (op.Kind == plan.OpPut || op.Kind == plan.OpReplace) && op.Object == plan.File
}

// job is an item with what was decided for it.
type job struct {
	item cache.Item
	write
}

func subjectOf(it cache.Item) plan.Subject {
	if it.Origin == cache.OriginRemote {
		return plan.Subject{Remote: plan.RemoteID(it.RemoteID)}
	}
	if it.Binding != 0 {
		return plan.Subject{Binding: plan.BindingID(it.Binding)}
	}
	return plan.Subject{Dentry: plan.DentryID(it.Dentry)}
}

func (b *batch) run(ctx context.Context, items []cache.Item) error {
	var copies []job
	sent := map[plan.DentryID]bool{}
	add := func(j job) { // one that was renamed over another has an item of its own, and that of the base it takes over
		if !sent[j.Op.Dentry] {
			sent[j.Op.Dentry] = true
			copies = append(copies, j)
		}
	}
	for todo := items; len(todo) > 0; {
		seen, err := b.glance(todo)
		if err != nil {
			return err
		}
		var waiting []cache.Item
		done, moved, err := b.makeDirs(ctx, seen.dirs)
		if err != nil {
			return err
		}
		for _, it := range todo {
			if w, ok := seen.plain[it.ID]; ok {
				if isCopyOf(w.Op) {
					add(job{it, w})
				}
				continue
			}
			if done[it.ID] {
				continue
			}
			if _, ok := seen.parent[it.ID]; ok {
				waiting = append(waiting, it)
				continue
			}
			j, state, err := b.structure(ctx, it)
			if err != nil {
				return err
			}
			b.tell(state)
			switch state {
			case isCopy:
				add(j)
			case isWaiting:
				waiting = append(waiting, it)
			case isDone, isAgain:
				moved = true
			}
		}
		if !moved {
			if err := b.noteWaits(seen.parent, waiting); err != nil {
				return err
			}
			break
		}
		b.progress = true
		todo = waiting
	}
	return b.copy(ctx, copies)
}

// noteWaits is noteWait for those of some items that wait.
func (b *batch) noteWaits(waits map[int64]plan.Wait, items []cache.Item) error {
	for _, it := range items {
		if w, ok := waits[it.ID]; ok {
			if err := b.noteWait(it, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell keeps in mind what deletions depend on.
func (b *batch) tell(o outcome) {
	b.failed = b.failed || o == isFailed
	b.surprised = b.surprised || o == isAgain
}

// deletions are the items of which one look tells that something is to be deleted, or that a directory waits for what is in it.
func (b *batch) deletions(items []cache.Item, before int64) (jobs []job, err error) {
	err = b.l.e.Cache.Survey(func(tx *cache.Tx) error {
		v, err := b.l.views(tx)
		if err != nil {
			return err
		}
		for _, it := range items {
			if it.Updated > before && it.Updated <= v.now { // else it is of a clock that has been set back since
				continue
			}
			d, err := plan.Decide(v, subjectOf(it), b.l.rules())
			switch {
			case err != nil: // it failed by itself, when its turn came
			case len(d.Ops) > 0 && removes(d.Ops[0]):
				jobs = append(jobs, job{it, firstWrite(d)})
			case d.Wait != nil && d.Wait.Reason == plan.WaitChild:
				jobs = append(jobs, job{it, write{}})
			}
		}
		return nil
	})
	return jobs, err
}

// holdBack notes on deletions that they are held, and returns those that were allowed before.
func (b *batch) holdBack(jobs []job) (allowed []job, err error) {
	for _, j := range jobs {
		switch {
		case j.item.Resolution == cache.DeleteAllowed, j.Op.Kind == plan.OpRelease:
			allowed = append(allowed, j)
		case err == nil && j.Op.Kind == plan.OpDeleteRemote:
			err = b.note(j.item, errDeleteHeld.Error())
		}
	}
	return allowed, err
}

type outcome uint8

const (
	isDone    outcome = iota + 1 // something was carried out, or there is nothing to do
	isFailed                     // the item has the error
	isAgain                      // it met a surprise: it is decided anew
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
		case d.Wait != nil && d.Wait.Reason == plan.WaitProof && b.l.seekProof(ctx, it):
			b.progress = true
			continue
		case d.Wait != nil:
			return job{}, isWaiting, b.noteWait(it, *d.Wait)
		case len(d.Ops) == 0:
			return job{}, isDone, b.finish(it)
		}
		op := d.Ops[0]
		switch {
		case isCopyOf(op):
			return job{it, firstWrite(d)}, isCopy, nil
		case removes(op):
			return job{it, firstWrite(d)}, isDelete, nil
		}
		if err := b.carryOut(ctx, it, firstWrite(d)); err != nil {
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
		if hold, _ := b.l.guarded(); hold && deletesHere(d.Ops[0]) {
			return d, errDeleteHeld
		}
		err = b.step(func(t *step) (err error) {
			d, err = t.settle(subjectOf(it))
			return err
		})
		if errors.Is(err, errHeldOpen) {
			return plan.Decision{Wait: &plan.Wait{Reason: plan.WaitSettle}}, nil
		}
		if err != nil || d.Wait != nil && d.Wait.Reason == plan.WaitBytes {
			return d, err
		}
		b.progress = true
	}
	return plan.Decision{}, fmt.Errorf("%v comes to no rest", subjectOf(it))
}

// step does something in a transaction; what it counted is undone with it.
func (b *batch) step(do func(t *step) error) error {
	var done counts
	err := b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		done = *b.counts
		t, err := b.l.work(tx, &done, 0)
		if err != nil {
			return err
		}
		if err := do(t); err != nil {
			return err
		}
		return t.count(done.less(*b.counts))
	})
	if err == nil {
		*b.counts = done
	}
	return err
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
		d, err = plan.Decide(v, subjectOf(it), b.l.rules())
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

// delete carries out deletions, children before their directories, each decided
// again: those before it took time.
func (b *batch) delete(ctx context.Context, jobs []job) error {
	if len(jobs) == 0 {
		return nil
	}
	b.l.progress.enter(PhaseDeleting)
	if err := b.claimDeletions(jobs); err != nil {
		return err
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
				if !removes(d.Ops[0]) || d.Ops[0].Kind == plan.OpRelease && j.Op.Kind != plan.OpRelease {
					continue // something else came of it, or its mark is not durable yet: the next pass
				}
				err = b.carryOut(ctx, j.item, firstWrite(d))
			}
			if err != nil {
				if _, err = b.fail(ctx, j.item, j.Op, err); err != nil {
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

// finish closes an item whose subject is at rest. One marked again meanwhile stays open. What was in conflict, and has nothing to
// do, was given up.
func (b *batch) finish(it cache.Item) error {
	status := cache.ItemCompleted
	if it.Status == cache.ItemConflicted {
		status = cache.ItemCancelled
	}
	return b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		_, err := tx.FinishItem(it.ID, it.Updated, status)
		return err
	})
}

// note leaves on an item why it waits.
func (b *batch) note(it cache.Item, why string) error {
	return b.noteAs(it, cache.ItemValidated, why, "")
}

// noteWait leaves on an item what it waits for.
func (b *batch) noteWait(it cache.Item, w plan.Wait) error {
	if w.Reason == plan.WaitDecision {
		return b.noteAs(it, cache.ItemConflicted, w.Reason.String(), "")
	}
	if err := b.l.meetAgain(w.On); err != nil {
		return err
	}
	return b.note(it, w.Reason.String())
}

func (b *batch) noteAs(it cache.Item, status cache.ItemStatus, why, cause string) error {
	if it.Error == why && it.Status == status {
		return nil
	}
	it.Error, it.Cause, it.Status, it.Parked = why, cause, status, false
	return b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		_, err := tx.UpdateItem(&it)
		return err
	})
}
