package syncer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// syncCall is one run that somebody waits for.
type syncCall struct {
	why                  Trigger
	rescan, allowDeletes bool
	asked                bool // somebody waits for it
	// also is done in the cycle before anything is taken in; nil: nothing is.
	also   func(ctx context.Context, ep remote.Endpoint) error
	done   chan error  // cap 1
	joined []*syncCall // others who asked before it began
}

// join takes in those who ask for a run before this one begins: they get its outcome.
func (c *syncCall) join(requests <-chan *syncCall) {
	for {
		select {
		case o := <-requests:
			c.rescan, c.allowDeletes = c.rescan || o.rescan, c.allowDeletes || o.allowDeletes
			c.also = inTurn(c.also, o.also)
			c.joined = append(c.joined, o)
		default:
			return
		}
	}
}

// inTurn does what two calls want done besides.
func inTurn(first, then func(context.Context, remote.Endpoint) error) func(context.Context, remote.Endpoint) error {
	switch {
	case first == nil:
		return then
	case then == nil:
		return first
	}
	return func(ctx context.Context, ep remote.Endpoint) error {
		if err := first(ctx, ep); err != nil {
			return err
		}
		return then(ctx, ep)
	}
}

// answer tells all who asked how the run ended.
func (c *syncCall) answer(err error) {
	c.done <- err
	for _, o := range c.joined {
		o.done <- err
	}
}

// turn runs one cycle unless the leg is paused, answers the call, and says when
// the timer is to start the next one.
func (l *leg) turn(ctx context.Context, call *syncCall) time.Duration {
	asked := call != nil
	if !asked {
		call = &syncCall{done: make(chan error, 1)}
	} else {
		call.asked = true
		call.join(l.requests)
		l.setDue()
		l.mu.Lock()
		l.cancelled = false
		l.mu.Unlock()
	}
	cctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	l.mu.Lock()
	l.stop, l.ended = cancel, ended
	l.mu.Unlock()
	// After stop is set: a pause that interrupt did not carry here is seen here.
	if l.e.Paused() || !l.conduitRow().Enabled {
		if err := l.complete(&counts{}, errInterrupted, everyOne); err != nil {
			l.e.log.Error("end of a paused run not written down", "conduit", l.conduitRow().Name, "error", err)
		}
		call.answer(ErrDisabled)
		return l.e.Interval
	}
	l.fetches.allow()
	l.found = false
	l.mu.Lock()
	l.busy = true
	due := l.due || !l.started
	rests := l.started && l.due && call.also == nil && !call.asked
	l.due = false
	l.counted.count(l.why, l.e.Clock())
	l.mu.Unlock()
	l.e.log.Debug("sync cycle", "conduit", l.conduitRow().Name, "endpoint", l.target, "trigger", l.why.String())

	if asked {
		l.news.begin()
	}
	counted := l.beginTask()
	again, err := l.cycle(cctx, due, call)
	if rests && err == nil && !again {
		l.verifyTreeIfDue(cctx)
	}
	if err != nil && cctx.Err() != nil {
		err = cctx.Err() // whatever it met on its way out
	}
	counted(err)

	l.mu.Lock()
	l.busy, l.working, l.started, l.lastErr = false, false, true, err
	if cctx.Err() != nil { // it was called off, which says nothing about what it did
		l.lastErr = nil
	}
	if err != nil && due {
		l.due = true // what was not looked at still is to be
	}
	if err == nil {
		l.lastOK = l.e.now()
	}
	if errors.Is(err, ErrUnreachable) {
		l.failures++
	} else {
		l.failures = 0
	}
	failures := l.failures
	l.mu.Unlock()
	l.news.over(err, cctx.Err() != nil)
	call.answer(err)
	switch {
	case cctx.Err() != nil: // somebody ended it: it is not begun again at once
		return l.e.Interval
	case failures > 0:
		return min(backoff(failures), offRetry, l.e.Interval)
	case err != nil:
		l.e.log.Error("sync cycle failed", "conduit", l.conduitRow().Name, "error", err)
		l.e.recordError(l, err)
		return min(l.e.Interval, 5*time.Second)
	case again:
		return 0
	}
	return l.untilNext()
}

// untilNext is the time until an item becomes eligible, at most that to the next look.
func (l *leg) untilNext() time.Duration {
	var eligible time.Duration // 0: by itself nothing becomes
	open := false
	err := l.e.Cache.Survey(func(tx *cache.Tx) error { // it looks at all that is open
		at, ok, err := tx.NextWork(l.id, int64(l.e.Quiet))
		if err == nil && ok {
			eligible = time.Duration(at - l.e.now())
		}
		if err == nil {
			open, err = tx.HasItems(l.id)
		}
		return err
	})
	if err != nil {
		l.e.log.Error("read queue", "error", err)
	}
	wait := l.nextLook(open)
	l.mu.Lock()
	defer l.mu.Unlock()
	if eligible > 0 && eligible < wait {
		wait = eligible
	} else {
		l.due = l.due || l.caps == nil || !l.caps.Push && !l.caps.Feed
	}
	return wait
}

// cycle is one round of the leg. again asks for another one at once.
func (l *leg) cycle(ctx context.Context, due bool, call *syncCall) (again bool, err error) {
	defer func() {
		if err != nil { // before anything was to be done: what was cut goes on no more
			err = errors.Join(err, l.complete(&counts{}, err, everyOne))
		}
	}()
	l.claims = claims{since: l.e.Clock()}
	if err := l.derive(ctx); err != nil {
		return false, err
	}
	ep, err := l.check(ctx)
	if err != nil {
		return false, err
	}
	err = l.lookBack(ctx, ep)
	if err == nil && call.also != nil {
		err = call.also(ctx, ep)
	}
	if err == nil {
		err = l.settleRules(ctx)
	}
	if err == nil && (due || l.caps.Push || l.caps.Feed) {
		err = l.look(ctx, ep, call.rescan)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errStaleIndex, err)
		if remote.Temporary(err) || errors.Is(err, remote.ErrRootGone) {
			l.setOffline(err)
			err = &unreachable{err}
		}
		return false, err
	}
	for {
		var c counts
		again, deleted, err := l.generation(ctx, ep, &c, call)
		if c.Copied > 0 || c.Deleted > 0 {
			l.tidied.grew()
		}
		if cerr := l.complete(&c, err, everyOne); cerr != nil {
			err = errors.Join(err, cerr)
		}
		l.claims = claims{since: l.e.Clock()}
		if err == nil && !again && !deleted {
			return l.watch(ctx, ep)
		}
		if err != nil || again {
			return again, err
		}
	}
}

// generation is work that is counted and recorded together: rounds of apply,
// contact and send until nothing moves, then the deletions, unless something of it
// failed: they stay in the queue for a later one. again asks for another cycle at
// once. What is deleted may let go on what is another generation's.
func (l *leg) generation(ctx context.Context, ep remote.Endpoint, c *counts, call *syncCall) (again, deleted bool, err error) {
	failed := false
	var last int64 // when the last round began to send
	for {
		before := *c
		if err := l.guard(call.allowDeletes); err != nil {
			return false, false, err
		}
		if err := l.applyObserved(ctx, c); err != nil {
			return false, false, err
		}
		if again, err = l.contact(ctx); err != nil {
			return false, false, err
		}
		if again && l.first() && !l.e.alone(l) {
			return true, false, nil // until it is known what is there, nothing is sent: much of it may be there already
		}
		if !again && follows(l.rules()) {
			if err := l.seeExtras(ctx, ep); err != nil {
				return false, false, err
			}
		}
		last = l.e.now()
		some, err := l.sendLocal(ctx, ep, c)
		if err != nil {
			return false, false, err
		}
		failed = failed || some
		if again || *c == before {
			break
		}
		l.mu.Lock()
		l.working = true
		l.mu.Unlock()
	}
	if failed {
		return again, false, nil
	}
	if err := l.dropBases(); err != nil {
		return false, false, err
	}
	hold, err := l.guardLocal(call.allowDeletes)
	if err != nil {
		return false, false, err
	}
	deleted, err = l.sendDeletions(ctx, ep, c, last, hold)
	if err != nil || again {
		return again, deleted, err
	}
	some, err := l.removeExtras(ctx, ep, c, call.allowDeletes)
	return again, deleted || some, err
}

// recordError notes why a conduit's last cycle failed.
func (e *Engine) recordError(l *leg, cause error) {
	err := e.Cache.Update(0, func(tx *cache.Tx) error {
		cd, ok, err := tx.Conduit(l.conduitRow().ID)
		if err != nil || !ok || cd.LastError == cause.Error() {
			return err
		}
		cd.LastError, cd.LastErrorAt = cause.Error(), tx.Now()
		return tx.UpdateConduit(cd)
	})
	if err != nil {
		e.log.Error("record error", "error", err)
	}
}

// SyncRequest asks for runs now.
type SyncRequest struct {
	Conduits []string // names; none: all that are enabled
	Wait     bool     // until nothing can proceed, not for one cycle
	Rescan   bool     // look at everything, not only at what changed
	// AllowDeletes lets deletions go on that a guard holds.
	AllowDeletes bool
	Cancel       bool // end the cycle under way instead

	why Trigger
}

// The states of a SyncResult, from best to worst.
const (
	SyncDone        = "done"
	SyncParked      = "parked"
	SyncConflicts   = "conflicts"
	SyncHeld        = "held"
	SyncUnreachable = "unreachable"
	SyncCancelled   = "cancelled" // somebody ended it
)

// SyncResult says how far a run came.
type SyncResult struct {
	State   string
	Blocked []Blocked
}

// Blocked is work that cannot proceed, and why.
type Blocked struct{ Path, Conduit, Reason string }

// Sync runs the conduits now, or joins their runs under way. With Wait it goes on until none of them has anything left to do
// by itself: what one leg brings into the drive is work for the others.
func (e *Engine) Sync(ctx context.Context, req SyncRequest) (SyncResult, error) {
	legs, err := e.chosen(req.Conduits)
	if err != nil {
		return SyncResult{}, err
	}
	if req.Cancel {
		e.runs.cancel(legs)
		for _, l := range legs {
			l.cancel()
			l.interrupt()
		}
		return SyncResult{State: SyncDone}, nil
	}
	for _, l := range legs {
		l.doubt.Store("")
		if err := l.unpark(); err != nil {
			return SyncResult{}, err
		}
	}
	left, err := e.runs.join(ctx, legs, req.Wait)
	if err != nil {
		return SyncResult{}, err
	}
	res, err := e.syncThrough(ctx, legs, req)
	return res, errors.Join(err, left(res, err))
}

// syncThrough is Sync for legs.
func (e *Engine) syncThrough(ctx context.Context, legs []*leg, req SyncRequest) (SyncResult, error) {
	for {
		res, again, err := syncAll(ctx, legs, req)
		if err != nil || !again {
			return res, err
		}
		req.Rescan = false
	}
}

// end is where the work of a leg has come to, as in a SyncResult.
type end struct {
	state   string
	blocked []Blocked
}

// syncAll runs legs beside each other, so that one that is slow to answer holds up no other. again: one of them has got
// something to do while another was at work.
func syncAll(ctx context.Context, legs []*leg, req SyncRequest) (res SyncResult, again bool, err error) {
	ends, was := make([]end, len(legs)), make([]bool, len(legs))
	g, gctx := errgroup.WithContext(ctx)
	for i, l := range legs {
		was[i] = l.away()
		g.Go(func() (err error) {
			ends[i], err = l.sync(gctx, req)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return res, false, err
	}
	res.State = SyncDone
	for i, l := range legs {
		at := &ends[i]
		if req.Wait && len(legs) > 1 && at.state != SyncUnreachable && at.state != SyncCancelled {
			var rest time.Duration
			if rest, at.state, at.blocked, err = l.standing(); err != nil {
				return res, false, err
			}
			again = again || rest > 0 || was[i] // others may have looked for its bytes before it was back
		}
		res.State = worse(res.State, at.state)
		res.Blocked = append(res.Blocked, at.blocked...)
	}
	return res, again, nil
}

// away reports whether the endpoint was not there at the last look.
func (l *leg) away() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.offline != nil
}

func worse(a, b string) string {
	for _, s := range []string{SyncCancelled, SyncUnreachable, SyncHeld, SyncConflicts, SyncParked} {
		if a == s || b == s {
			return s
		}
	}
	return SyncDone
}

// chosen are the legs of the named conduits, or of all that are enabled.
func (e *Engine) chosen(names []string) ([]*leg, error) {
	var out []*leg
	for _, l := range e.current() {
		if len(names) == 0 && l.conduitRow().Enabled {
			out = append(out, l)
		}
	}
	for _, name := range names {
		found := false
		for _, l := range e.current() {
			if l.conduitRow().Name != name {
				continue
			}
			if !l.conduitRow().Enabled {
				return nil, fmt.Errorf("conduit %s: %w", name, ErrDisabled)
			}
			out, found = append(out, l), true
		}
		if !found {
			return nil, fmt.Errorf("conduit %s: %w", name, ErrUnknownConduit)
		}
	}
	return out, nil
}

// sync runs cycles until one is done or, if wanted, until nothing can proceed.
func (l *leg) sync(ctx context.Context, req SyncRequest) (end, error) {
	if req.why == ByRequest {
		l.awaited.Add(1)
		defer l.awaited.Add(-1)
	}
	for {
		call := &syncCall{why: req.why, rescan: req.Rescan, allowDeletes: req.AllowDeletes, done: make(chan error, 1)}
		select {
		case l.requests <- call:
		case <-ctx.Done():
			return end{}, ctx.Err()
		}
		var err error
		select {
		case err = <-call.done:
		case <-ctx.Done():
			return end{}, ctx.Err()
		}
		req.Rescan = false
		if errors.Is(err, ErrUnreachable) {
			return end{state: SyncUnreachable, blocked: []Blocked{{Conduit: l.conduitRow().Name, Reason: err.Error()}}}, nil
		}
		if errors.Is(err, context.Canceled) {
			return end{state: SyncCancelled}, nil
		}
		if err != nil {
			return end{}, fmt.Errorf("conduit %s: %w", l.conduitRow().Name, err)
		}
		rest, state, blocked, err := l.standing()
		if err != nil || !req.Wait || rest == 0 {
			return end{state, blocked}, err
		}
		select {
		case <-time.After(rest):
		case <-l.fetches.news:
		case <-ctx.Done():
			return end{}, ctx.Err()
		}
	}
}

// blockedMax is how much blocked work a result lists.
const blockedMax = 10_000

// eachItem calls do for all items that f chooses, a page of f.Limit at a time.
func eachItem(tx *cache.Tx, f cache.ItemFilter, do func(cache.Item) error) error {
	for {
		items, err := tx.ListItems(f)
		if err != nil || len(items) == 0 {
			return err
		}
		for _, it := range items {
			f.After = it.ID
			if err := do(it); err != nil {
				return err
			}
		}
	}
}

// verifySoon is how long a person who waits for a verification rests between two parts of it.
const verifySoon = 5 * time.Millisecond

// standing says what is left after a cycle: wait is the time until something
// becomes eligible by itself, 0 when nothing does.
func (l *leg) standing() (wait time.Duration, state string, blocked []Blocked, err error) {
	const soon = 10 * time.Second // a quiet period; failures are retried later than anybody waits
	name := l.conduitRow().Name
	state = SyncDone
	fetching := l.fetches.active()
	if l.verifying() {
		wait = verifySoon
	}
	if why, _ := l.doubt.Load().(string); why != "" {
		state, blocked = SyncParked, append(blocked, Blocked{Conduit: name, Reason: "not verified: " + why})
	}
	l.mu.Lock()
	if l.held != "" {
		state, blocked = worse(state, SyncHeld), append(blocked, Blocked{Conduit: name, Reason: l.held})
	}
	l.mu.Unlock()
	err = l.e.Cache.Survey(func(tx *cache.Tx) error {
		row, ok, err := tx.Leg(l.id)
		if err != nil || !ok {
			return err
		}
		if !row.Contact {
			if some, err := l.toList(tx); err != nil {
				return err
			} else if some {
				wait = 10 * time.Millisecond
			}
		}
		shut, err := l.shutOut(tx)
		if err != nil {
			return err
		}
		if len(shut) > 0 {
			state, blocked = worse(state, SyncParked), append(blocked, shut[:min(len(shut), blockedMax)]...)
		}
		return eachItem(tx, cache.ItemFilter{Leg: l.id, Limit: pageSize}, func(it cache.Item) error {
			left := l.rest(it)
			if it.Error == plan.WaitProof.String() {
				proof, err := l.proofIn(tx, it)
				if err != nil {
					return err
				}
				if proof > 0 {
					wait = max(wait, proof)
					return nil
				}
			}
			passes := false
			if it.Error == plan.WaitSettle.String() {
				if passes, err = l.passes(tx, it); err != nil {
					return err
				}
			}
			switch {
			case passes:
				wait = max(wait, 10*time.Millisecond)
				return nil
			case it.Error == errDeleteHeld.Error() && state == SyncHeld:
				return nil // one line tells of all
			case it.Status == cache.ItemConflicted && it.Origin == cache.OriginLocal:
				return nil // the item of the other side tells of it
			case it.Status == cache.ItemConflicted:
				state = worse(state, SyncConflicts)
			case fetching && strings.HasPrefix(it.Error, plan.WaitBytes.String()):
				wait = max(wait, 5*time.Second) // the end of a fetch tells of itself
				return nil
			case it.Error == "" && it.Eligible < cache.Never && left < soon:
				wait = max(wait, min(left, 200*time.Millisecond), time.Millisecond)
				return nil
			default:
				state = worse(state, SyncParked)
			}
			if len(blocked) >= blockedMax {
				return nil
			}
			p, err := l.itemPath(tx, it)
			if err != nil {
				return err
			}
			reason, err := l.e.ItemReason(tx, it)
			if err != nil {
				return err
			}
			blocked = append(blocked, Blocked{Path: p, Conduit: name, Reason: reason})
			return nil
		})
	})
	return wait, state, blocked, err
}

// passes reports whether a file that was open for writing, or not settled, when an item was decided, is free again, or will be
// in a moment.
func (l *leg) passes(tx *cache.Tx, it cache.Item) (bool, error) {
	d, err := itemDentry(tx, it)
	if err != nil || d == 0 {
		return false, err
	}
	e, err := tx.Entry(d)
	use := l.e.Cache.InUse(e.Ino)
	return use.Writers == use.Brief && !e.Node.Writing, err
}

// unpark lets parked items and those that wait after a failure be tried again: a person asked.
func (l *leg) unpark() error {
	l.fetches.hurry()
	failed := cache.ItemFilter{Leg: l.id, Status: cache.ItemError, Limit: batchSize}
	for {
		some := false
		err := l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
			items, err := tx.ListItems(failed)
			for _, it := range items {
				failed.After, some = it.ID, true
				it.Status, it.Parked, it.Eligible, it.Tries, it.Error = cache.ItemNew, false, 0, 0, ""
				if err == nil {
					_, err = tx.UpdateItem(&it)
				}
			}
			return err
		})
		if err != nil || !some {
			return err
		}
	}
}
