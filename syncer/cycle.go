package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// syncCall is one run that somebody waits for.
type syncCall struct {
	rescan, allowDeletes bool
	done                 chan error // cap 1
}

// turn runs one cycle unless the leg is paused, answers the call, and says when
// the timer is to start the next one.
func (l *leg) turn(ctx context.Context, call *syncCall) time.Duration {
	if call == nil {
		call = &syncCall{done: make(chan error, 1)}
	} else {
		l.setDue()
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
		call.done <- ErrDisabled
		return l.e.Interval
	}
	l.mu.Lock()
	l.busy = true
	due := l.due || !l.started
	l.due = false
	l.mu.Unlock()

	again, err := l.cycle(cctx, due, call)

	l.mu.Lock()
	l.busy, l.working, l.started, l.lastErr = false, false, true, err
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
	call.done <- err
	switch {
	case ctx.Err() != nil:
		return l.e.Interval
	case failures > 0:
		return min(backoff(failures), offRetry, l.e.Interval)
	case err != nil:
		if cctx.Err() == nil {
			l.e.log.Error("sync cycle failed", "conduit", l.conduitRow().Name, "error", err)
			l.e.recordError(l, err)
		}
		return min(l.e.Interval, 5*time.Second)
	case again:
		return 0
	}
	return l.untilNext()
}

// untilNext is the time until an item becomes eligible, at most the interval.
func (l *leg) untilNext() time.Duration {
	wait := l.e.Interval
	err := l.e.Cache.Survey(func(tx *cache.Tx) error { // it looks at all that is open
		at, ok, err := tx.NextWork(l.id, int64(l.e.Quiet))
		if err != nil || !ok {
			return err
		}
		if d := time.Duration(at - l.e.now()); d > 0 {
			wait = min(wait, d)
		}
		return nil
	})
	if err != nil {
		l.e.log.Error("read queue", "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait == l.e.Interval {
		l.due = l.due || l.caps == nil || !l.caps.Push && !l.caps.Feed
	}
	return wait
}

// cycle is one round of the leg. again asks for another one at once.
func (l *leg) cycle(ctx context.Context, due bool, call *syncCall) (again bool, err error) {
	ep, err := l.check(ctx)
	if err != nil {
		return false, err
	}
	err = l.lookBack(ctx, ep)
	if err == nil && (due || l.caps.Push || l.caps.Feed) {
		err = l.pull(ctx, ep, call.rescan)
	}
	if err != nil {
		if remote.Temporary(err) || errors.Is(err, remote.ErrRootGone) {
			l.setOffline(err)
			err = &unreachable{err}
		}
		return false, err
	}
	var c counts
	begun := l.e.now()
	again, err = l.rounds(ctx, ep, &c, call)
	if c != (counts{}) {
		err = errors.Join(err, l.recordGeneration(begun, c))
	}
	return again, err
}

// rounds repeats apply, contact and send until nothing moves. Remote work goes first in each.
func (l *leg) rounds(ctx context.Context, ep remote.Endpoint, c *counts, call *syncCall) (again bool, err error) {
	for {
		before := *c
		hold, err := l.guard(call.allowDeletes)
		if err != nil {
			return false, err
		}
		if err := l.applyObserved(ctx, c, hold); err != nil {
			return false, err
		}
		more, err := l.contact(ctx)
		if err != nil {
			return false, err
		}
		holdLocal, err := l.guardLocal(call.allowDeletes)
		if err != nil {
			return false, err
		}
		if err := l.sendLocal(ctx, ep, c, holdLocal); err != nil {
			return false, err
		}
		if more || *c == before {
			return more, nil
		}
		l.mu.Lock()
		l.working = true
		l.mu.Unlock()
	}
}

// recordGeneration numbers a cycle that did something.
func (l *leg) recordGeneration(begun int64, c counts) error {
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		g, err := tx.BeginGeneration(l.conduitRow().ID)
		if err != nil {
			return err
		}
		g.Started, g.Completed = begun, tx.Now()
		g.Copied, g.Deleted, g.Conflicts, g.Bytes, g.Errors = c.Copied, c.Deleted, c.Conflicts, c.Bytes, c.Errors
		if c.Errors == 0 { // every copy was proved before its base was written
			g.Verification, g.Verified = "verified", tx.Now()
		}
		if err := tx.PutGeneration(g); err != nil {
			return err
		}
		cd, ok, err := tx.Conduit(l.conduitRow().ID)
		if err != nil || !ok {
			return err
		}
		cd.Generation, cd.LastSync = g.Number, tx.Now()
		cd.TotalSyncs++
		cd.FilesSynced += c.Copied
		cd.BytesTransferred += c.Bytes
		if c.Errors == 0 {
			cd.LastError, cd.LastErrorAt = "", 0
		}
		return tx.UpdateConduit(cd)
	})
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
}

// The states of a SyncResult, from best to worst.
const (
	SyncDone        = "done"
	SyncParked      = "parked"
	SyncConflicts   = "conflicts"
	SyncHeld        = "held"
	SyncUnreachable = "unreachable"
)

// SyncResult says how far a run came.
type SyncResult struct {
	State   string
	Blocked []Blocked
}

// Blocked is work that cannot proceed, and why.
type Blocked struct{ Path, Conduit, Reason string }

// Sync runs the conduits now, or joins their runs under way.
func (e *Engine) Sync(ctx context.Context, req SyncRequest) (SyncResult, error) {
	legs, err := e.chosen(req.Conduits)
	if err != nil {
		return SyncResult{}, err
	}
	res := SyncResult{State: SyncDone}
	for _, l := range legs {
		if req.Cancel {
			l.interrupt()
			continue
		}
		if err := l.unpark(); err != nil {
			return res, err
		}
		state, blocked, err := l.sync(ctx, req)
		if err != nil {
			return res, err
		}
		res.State = worse(res.State, state)
		res.Blocked = append(res.Blocked, blocked...)
	}
	return res, nil
}

func worse(a, b string) string {
	for _, s := range []string{SyncUnreachable, SyncHeld, SyncConflicts, SyncParked} {
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
func (l *leg) sync(ctx context.Context, req SyncRequest) (string, []Blocked, error) {
	l.awaited.Add(1)
	defer l.awaited.Add(-1)
	for {
		call := &syncCall{rescan: req.Rescan, allowDeletes: req.AllowDeletes, done: make(chan error, 1)}
		select {
		case l.requests <- call:
		case <-ctx.Done():
			return "", nil, ctx.Err()
		}
		var err error
		select {
		case err = <-call.done:
		case <-ctx.Done():
			return "", nil, ctx.Err()
		}
		req.Rescan = false
		if errors.Is(err, ErrUnreachable) {
			return SyncUnreachable, []Blocked{{Conduit: l.conduitRow().Name, Reason: err.Error()}}, nil
		}
		if err != nil {
			return "", nil, fmt.Errorf("conduit %s: %w", l.conduitRow().Name, err)
		}
		wait, state, blocked, err := l.standing()
		if err != nil || !req.Wait || wait == 0 {
			return state, blocked, err
		}
		if !sleep(ctx, wait) {
			return "", nil, ctx.Err()
		}
	}
}

// standing says what is left after a cycle: wait is the time until something
// becomes eligible by itself, 0 when nothing does.
func (l *leg) standing() (wait time.Duration, state string, blocked []Blocked, err error) {
	const soon = 10 * time.Second // a quiet period; failures are retried later than anybody waits
	name := l.conduitRow().Name
	state = SyncDone
	l.mu.Lock()
	if l.held != "" {
		state, blocked = SyncHeld, append(blocked, Blocked{Conduit: name, Reason: l.held})
	}
	l.mu.Unlock()
	err = l.e.Cache.Survey(func(tx *cache.Tx) error {
		row, ok, err := tx.Leg(l.id)
		if err != nil || !ok {
			return err
		}
		if !row.Contact {
			wait = 10 * time.Millisecond
		}
		items, err := tx.ListItems(cache.ItemFilter{Leg: l.id, Limit: 10_000})
		if err != nil {
			return err
		}
		for _, it := range items {
			left := l.rest(it)
			switch {
			case it.Status == cache.ItemConflicted:
				state = worse(state, SyncConflicts)
			case it.Error == "" && it.Eligible < cache.Never && left < soon:
				wait = max(wait, min(left, 200*time.Millisecond), time.Millisecond)
				continue
			default:
				state = worse(state, SyncParked)
			}
			p, err := l.itemPath(tx, it)
			if err != nil {
				return err
			}
			reason := it.Error
			if reason == "" {
				reason = "pending: open for writing"
			}
			blocked = append(blocked, Blocked{Path: p, Conduit: name, Reason: reason})
		}
		return nil
	})
	return wait, state, blocked, err
}

// unpark lets parked items and those that wait after a failure be tried again: a person asked.
func (l *leg) unpark() error {
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		items, err := tx.ListItems(cache.ItemFilter{Leg: l.id, Status: cache.ItemError, Limit: 10_000})
		if err != nil {
			return err
		}
		for _, it := range items {
			it.Status, it.Parked, it.Eligible, it.Tries, it.Error = cache.ItemNew, false, 0, 0, ""
			if _, err := tx.UpdateItem(&it); err != nil {
				return err
			}
		}
		return nil
	})
}
