package syncer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// surprises are refusals that say: the endpoint is not as it was thought to be. It is looked at again, and decided anew.
var surprises = []error{
	remote.ErrPrecondition, remote.ErrExists, remote.ErrNotFound, remote.ErrKind, remote.ErrNotEmpty, remote.ErrChanged, remote.ErrUnknown,
}

// misplaced are answers that say: no directory is there, or another than the one that was meant.
var misplaced = []error{remote.ErrNotFound, remote.ErrKind, remote.ErrPrecondition}

func isAny(err error, of []error) bool {
	for _, e := range of {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fail decides what becomes of an item whose work failed. It returns an error
// only when the whole cycle has to end.
func (b *batch) fail(ctx context.Context, it cache.Item, op plan.Op, err error) (outcome, error) {
	switch {
	case ctx.Err() != nil:
		return isFailed, errors.Join(ctx.Err(), b.requeue(it))
	case errors.Is(err, errOvertaken):
		return isDone, nil
	case errors.Is(err, errHeldOpen), errors.Is(err, cache.ErrBusy), errors.Is(err, cache.ErrStale):
		return isWaiting, b.note(it, plan.WaitSettle.String())
	case errors.Is(err, errDeleteHeld):
		return isWaiting, b.note(it, errDeleteHeld.Error())
	case isAway(err):
		return isWaiting, b.noteAs(it, cache.ItemValidated, err.Error(), ClassOf(err).Cause)
	case errors.Is(err, remote.ErrRootGone), errors.Is(err, remote.ErrUnavailable) && !b.concernsOne(ctx, err):
		b.l.setOffline(err)
		return isFailed, errors.Join(&unreachable{err}, b.requeue(it))
	case errors.Is(err, cache.ErrDamaged), errors.Is(err, cache.ErrNoSpace):
		return isFailed, err
	}
	// Only a refusal says that nothing was written. Whatever else an error is, the write it came from may have happened: that
	// is found out before anything is concluded, and before the endpoint is looked at again.
	done, lerr := b.lookBackNow(ctx, it)
	unclear := errors.Is(lerr, errUnclear)
	switch {
	case unclear:
		err = lerr
	case lerr != nil:
		return isDone, errors.Join(lerr, b.requeue(it))
	case done:
		return isDone, nil
	case errors.Is(err, errUnclear):
		return isDone, nil // it is clear now
	}
	it.Tries++
	b.l.park(&it, err)
	state := isFailed
	switch {
	case unclear: // what is there is not looked at before it is known whose it is
	case isAny(err, surprises):
		if b.copying {
			b.relooks = append(b.relooks, op)
		} else if lerr := b.l.relook(ctx, b.ep, op); lerr != nil {
			return isFailed, lerr
		}
		if it.Tries <= 3 {
			it.Status, it.Parked, it.Eligible, state = cache.ItemNew, false, b.l.e.now(), isAgain
		}
	}
	if state == isFailed {
		b.counts.Errors++
		b.l.e.log.Warn("sync item failed", "conduit", b.l.conduitRow().Name, "item", it.ID, "operation", op.Kind.String(), "error", err)
	}
	uerr := b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		_, err := tx.UpdateItem(&it)
		return err
	})
	if state == isFailed && uerr == nil {
		b.tellFailed(it, op, err)
	}
	return state, uerr
}

// requeue has an item wait whose write was broken off: it is not on its way any more, whatever became of it.
func (b *batch) requeue(it cache.Item) error {
	return b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error { return tx.Requeue(it.ID) })
}

// park gives an item that failed its error, and the time at which it is tried again.
func (l *leg) park(it *cache.Item, err error) {
	it.Status, it.Error, it.Cause, it.Parked = cache.ItemError, err.Error(), ClassOf(err).Cause, false
	wait := backoff(it.Tries)
	if what := remedy(err); what != "" {
		it.Error = fmt.Sprintf("%v (%s; it is tried again by itself)", err, what)
		it.Parked = true
		wait = pause(it.Tries)
	}
	it.Eligible = l.e.now() + int64(wait)
	if errors.Is(err, errUnclear) {
		it.Eligible, it.Parked = cache.Never, true // until it is found out, which every cycle tries
	}
}

// pause is how long a parked item waits at most: it doubles from minPause to maxRetry, less up to a quarter of jitter.
func pause(tries int) time.Duration {
	d := min(minPause<<min(max(tries-1, 0), 8), maxRetry)
	return d - rand.N(d/4+1)
}

// stir has what is parked tried again: the endpoint is not as it was, and maybe just where it has to be. One that changes
// all the time has it no more often than every minStir, unless it is sure.
func (l *leg) stir(sure bool) error {
	now := l.e.Clock()
	l.mu.Lock()
	rests := !sure && now.Sub(l.stirred) < minStir
	if !rests {
		l.stirred = now
	}
	l.mu.Unlock()
	if rests {
		return nil
	}
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		n, err := tx.WakeParked(l.id)
		if n > 0 {
			l.e.log.Info("parked items are tried again", "conduit", l.conduitRow().Name, "items", n)
		}
		return err
	})
}

// roomier reports whether the endpoint takes what it did not take before: it can be written again, or has more room than it
// had at the least since this was last so.
func (l *leg) roomier(now remote.Status) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.room
	grown := now.Free - was.Free
	enough := grown >= min(freedRoom, max(now.Total/100, 1))
	if was.Root == "" || now.ReadOnly != was.ReadOnly || grown < 0 || enough {
		l.room = now
	}
	return was.Root != "" && !now.ReadOnly && (was.ReadOnly || enough)
}

// backoff doubles from minRetry to maxRetry, with a jitter of up to a quarter.
func backoff(tries int) time.Duration {
	d := minRetry << min(max(tries-1, 0), 16)
	return min(d+rand.N(d/4+1), maxRetry-rand.N(maxRetry/4))
}

// relook lists the directories that an operation touches again, and those above them that are gone.
func (l *leg) relook(ctx context.Context, ep remote.Endpoint, op plan.Op) error {
	var dirs []string
	err := l.e.Cache.View(func(tx *cache.Tx) error {
		if op.Remote != "" {
			o, err := l.object(tx, string(op.Remote))
			if err != nil {
				return err
			}
			if o != nil && o.Parent != "" {
				dirs = append(dirs, o.Parent)
			}
		}
		p, ok, err := tx.Binding(cache.BindingID(op.Parent))
		if err == nil && ok {
			dirs = append(dirs, p.RemoteID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return l.relist(ctx, ep, dirs)
}

// relist lists directories; where one is gone, its parent's listing tells so.
func (l *leg) relist(ctx context.Context, ep remote.Endpoint, dirs []string) error {
	s := &scanner{l: l, ep: ep, queued: map[string]bool{}, climb: true}
	for _, d := range dirs {
		s.push(d, false)
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("look again: %w", asUnreachable(err))
	}
	return nil
}

// asUnreachable is the error of a look at an endpoint, which may mean that it is gone.
func asUnreachable(err error) error {
	if remote.Temporary(err) || errors.Is(err, remote.ErrRootGone) {
		return &unreachable{err}
	}
	return err
}
