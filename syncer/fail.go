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

// lasting are causes that time does not mend: the item is parked for a person.
var lasting = []error{
	remote.ErrName, remote.ErrTooLarge, remote.ErrQuota, remote.ErrDenied, remote.ErrReadOnly, remote.ErrUnsupported, remote.ErrAuth,
}

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
		return isFailed, ctx.Err()
	case errors.Is(err, errOvertaken):
		return isDone, nil
	case errors.Is(err, errHeldOpen), errors.Is(err, cache.ErrBusy), errors.Is(err, cache.ErrStale):
		return isWaiting, b.note(it, plan.WaitSettle.String())
	case errors.Is(err, remote.ErrRootGone), errors.Is(err, remote.ErrUnavailable) && !errors.Is(err, remote.ErrDetached):
		b.l.setOffline(err)
		return isFailed, &unreachable{err}
	case errors.Is(err, cache.ErrDamaged), errors.Is(err, cache.ErrNoSpace):
		return isFailed, err
	}
	// Only a refusal says that nothing was written. Whatever else an error is, the write it came from may have happened: that
	// is found out before anything is concluded, and before the endpoint is looked at again.
	if done, lerr := b.lookBackNow(ctx, it); lerr != nil || done {
		return isDone, lerr
	}
	it.Tries++
	it.Status, it.Error, it.Parked = cache.ItemError, err.Error(), false
	it.Eligible = b.l.e.now() + int64(backoff(it.Tries))
	state := isFailed
	switch {
	case isAny(err, surprises):
		if b.copying {
			b.relooks = append(b.relooks, op)
		} else if lerr := b.l.relook(ctx, b.ep, op); lerr != nil {
			return isFailed, lerr
		}
		if it.Tries <= 3 {
			it.Status, it.Eligible, state = cache.ItemNew, b.l.e.now(), isDone
		}
	case isAny(err, lasting):
		it.Parked = true
	}
	if state == isFailed {
		b.counts.Errors++
		b.l.e.log.Warn("sync item failed", "conduit", b.l.conduitRow().Name, "item", it.ID, "operation", op.Kind.String(), "error", err)
	}
	uerr := b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		_, err := tx.UpdateItem(&it)
		return err
	})
	return state, uerr
}

// backoff doubles from minRetry to maxRetry, with up to a quarter of jitter.
func backoff(tries int) time.Duration {
	d := minRetry << min(max(tries-1, 0), 16)
	d = min(d, maxRetry)
	return d + rand.N(d/4+1)
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
		if remote.Temporary(err) || errors.Is(err, remote.ErrRootGone) {
			return &unreachable{err}
		}
		return fmt.Errorf("look again: %w", err)
	}
	return nil
}
