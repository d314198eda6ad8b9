package offload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
)

// Failed transfers are tried again for ever, after a second, then two, and so on up to the first; while no endpoint is
// reachable, which ends without notice, up to the second.
const (
	maxBackoff         = 15 * time.Minute
	unreachableBackoff = 30 * time.Second
)

// Run works off the transfers, and evicts, until ctx ends, which is no error. Then no fetch is under way any more, and none
// is begun.
func (m *Manager) Run(ctx context.Context) error {
	defer m.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.runTransfers(ctx) })
	g.Go(func() error { return m.evict.run(ctx) })
	return g.Wait()
}

func (m *Manager) runTransfers(ctx context.Context) error {
	wake, stop := m.cache.Watch()
	defer stop()
	r := &runner{m: m, busy: make(map[int64]bool), ended: make(chan int64), walked: make(chan error)}
	defer r.drain()
	for {
		next, err := r.begin(ctx)
		if err != nil {
			return endOf(ctx, err)
		}
		timer := time.NewTimer(next)
		select {
		case <-wake:
		case <-timer.C:
		case id := <-r.ended:
			delete(r.busy, id)
		case err := <-r.walked:
			r.endWalk(ctx, err)
		case <-r.m.adoptions.ended:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("run transfers: %w", err)
}

// runner is the state of Run's loop. busy and walking belong to the loop alone.
type runner struct {
	m       *Manager
	busy    map[int64]bool // the transfers under way
	ended   chan int64
	walking bool // what is pinned is being queued
	walked  chan error
	rest    int64 // no walk before this time: the last one failed
}

// begin starts due transfers as far as there is room, and answers after how long the next look is due at the latest.
func (r *runner) begin(ctx context.Context) (time.Duration, error) {
	var due []cache.Transfer
	var at int64
	var more, walks bool
	now := r.m.now().UnixNano()
	held := r.m.adoptions.on()
	err := r.m.cache.View(func(tx *cache.Tx) (err error) {
		if due, err = tx.NextTransfers(false, now, 2*r.m.background); err != nil {
			return err
		}
		if at, more, err = tx.NextTransferTime(false); err != nil {
			return err
		}
		walks, err = r.m.walksDue(tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	if walks && !r.walking && now >= r.rest {
		r.walking = true
		go func() { r.walked <- r.m.walkPins(ctx) }() // drain waits for it
	}
	for _, t := range due {
		if r.busy[t.ID] || len(r.busy) >= r.m.background || t.Key == keyPin && held {
			continue
		}
		r.busy[t.ID] = true
		go func() { // drain waits for it
			r.m.transfer(ctx, t)
			r.ended <- t.ID
		}()
	}
	if !more || at <= now {
		return time.Minute, nil // what is due is under way or waits for what is: its end wakes the loop
	}
	return time.Duration(at - now), nil
}

// endWalk notes the end of a walk. One that failed, as on a full disk, is still noted in the index and done again later.
func (r *runner) endWalk(ctx context.Context, err error) {
	r.walking = false
	if err != nil && ctx.Err() == nil {
		r.m.log.Error("pinned directory not queued", "error", err)
		r.rest = r.m.now().Add(unreachableBackoff).UnixNano()
	}
}

func (r *runner) drain() {
	for range len(r.busy) {
		<-r.ended
	}
	if r.walking {
		<-r.walked
	}
}

// transfer fetches one file and writes down what came of it.
func (m *Manager) transfer(ctx context.Context, t cache.Transfer) {
	err := m.wanted(t)
	if err == nil {
		err = m.fetchNow(ctx, t.Ino, "vdfs "+cmp.Or(t.Key, "pin"))
	}
	if ctx.Err() != nil {
		return // it is still queued
	}
	if err := m.conclude(t, err); err != nil {
		m.log.Error("transfer not recorded", "ino", uint64(t.Ino), "error", err)
	}
}

// errUnwanted ends a transfer that nobody wants any more.
var errUnwanted = errors.New("not wanted any more")

// wanted checks that the pin that queued a transfer still is.
func (m *Manager) wanted(t cache.Transfer) error {
	if t.Key != keyPin {
		return nil
	}
	return m.cache.View(func(tx *cache.Tx) error {
		pinned, _, err := pinnedBy(tx, t.Ino)
		if err == nil && !pinned {
			err = errUnwanted
		}
		return err
	})
}

// pinnedBy tells whether any name of a node is pinned, and which dentry says so.
func pinnedBy(tx *cache.Tx, ino cache.Ino) (bool, cache.DentryID, error) {
	names, err := tx.DentriesOf(ino)
	if err != nil {
		return false, 0, err
	}
	for _, d := range names {
		intent, from, err := tx.EffectiveIntent(d.ID)
		if err != nil || intent == cache.Pinned {
			return err == nil, from, err
		}
	}
	return false, 0, nil
}

// fetchNow completes a file with nobody waiting for it; why says what a person did for it to come.
func (m *Manager) fetchNow(ctx context.Context, ino cache.Ino, why string) error {
	if err := m.Prepare(ino); err != nil {
		return err
	}
	return m.hydrate(ctx, ino, func(f *file) error {
		f.fill.For(cache.Reader{Program: why, Kind: "vdfs"})
		return f.complete(ctx, false)
	})
}

// conclude ends a transfer or puts it off.
func (m *Manager) conclude(t cache.Transfer, err error) error {
	return m.cache.Update(0, func(tx *cache.Tx) error {
		if err == nil || errors.Is(err, cache.ErrNotFound) || errors.Is(err, errUnwanted) {
			return tx.DeleteTransfer(t.ID)
		}
		now, queued, lookErr := tx.TransferOf(t.Ino, t.Leg, false)
		if lookErr != nil || !queued || now.ID != t.ID {
			return lookErr // whoever took it away does not want it back
		}
		now.Tries++
		now.Error = err.Error()
		now.Next = m.now().Add(backoff(now.Tries, err, rand.Float64())).UnixNano()
		return tx.PutTransfer(&now)
	})
}

// backoff is how long a transfer rests after its n-th failure; luck of 0 to 1 spreads it by a quarter either way.
func backoff(n int, err error, luck float64) time.Duration {
	limit := maxBackoff
	if errors.Is(err, ErrUnreachable) {
		limit = unreachableBackoff
	}
	d := limit
	if n < 20 {
		d = min(limit, time.Second<<(n-1))
	}
	return time.Duration(float64(d) * (0.75 + luck/2))
}
