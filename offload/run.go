package offload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
)

// Failed transfers are tried again for ever, after a second, then two, and so on up to the first; while no endpoint is
// reachable or the local disk is full, which ends without notice, up to the second.
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
	r := &runner{m: m, busy: make(map[int64]*haul), hauls: make(map[*haul]bool), ended: make(chan *haul), walked: make(chan error)}
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
		case h := <-r.ended:
			r.end(h)
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

// runner is the state of Run's loop. busy, hauls and walking belong to the loop alone.
type runner struct {
	m       *Manager
	busy    map[int64]*haul // by transfer, until its end is written down
	hauls   map[*haul]bool
	ended   chan *haul
	walking bool // what is pinned is being queued
	walked  chan error
	rest    time.Time // no walk before this time: the last one failed
}

// room is how many more hauls of that urgency may be under way. Those that are less urgent do not count: the gate has them
// wait.
func (r *runner) room(priority int) int {
	n := r.m.background
	for h := range r.hauls {
		if h.priority >= priority {
			n--
		}
	}
	return n
}

// void ends the transfers under way that are to go on no more: the file is gone, its pin is, or it is more urgent now, and
// begins again.
func (r *runner) void(tx *cache.Tx) error {
	for h := range r.hauls {
		t, cancel := h.present()
		if t.ID == 0 {
			continue
		}
		now, queued, err := tx.TransferOf(t.Ino, t.Leg, false)
		if err != nil {
			return err
		}
		if queued {
			err = wanted(tx, now)
		}
		if !queued || now.ID != t.ID || now.Priority > t.Priority || errors.Is(err, errUnwanted) {
			cancel()
			r.forget(h, t.ID)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// begin starts due transfers as far as there is room, and answers after how long the next look is due at the latest.
func (r *runner) begin(ctx context.Context) (time.Duration, error) {
	var hauls []*haul
	var at int64
	var more, walks bool
	clock := r.m.now()
	now := clock.UnixNano()
	held := r.m.adoptions.on()
	err := r.m.cache.View(func(tx *cache.Tx) (err error) {
		if err = r.void(tx); err != nil {
			return err
		}
		if hauls, err = r.due(tx, now, held); err != nil {
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
	if walks && !r.walking && !clock.Before(r.rest) {
		r.walking = true
		go func() { r.walked <- r.m.walkPins(ctx) }() // drain waits for it
	}
	for _, h := range hauls {
		r.start(ctx, h)
	}
	if !more || at <= now {
		return time.Minute, nil // what is due is under way or waits for what is: its end wakes the loop
	}
	return min(time.Duration(at-now), time.Minute), nil // should the clock be set meanwhile, it is not due at that time
}

// due puts together what is to begin now.
func (r *runner) due(tx *cache.Tx, now int64, held bool) (out []*haul, err error) {
	first, err := tx.NextTransfers(false, now, 1)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	room := r.room(first[0].Priority)
	if room <= 0 {
		return nil, nil // nor is there for what is less urgent
	}
	all, err := tx.NextTransfers(false, now, len(r.busy)+room*haulMax)
	if err != nil {
		return nil, err
	}
	var free []cache.Transfer
	for _, t := range all {
		h := r.busy[t.ID]
		if h != nil && t.Priority > h.priority && h.drop(t.ID) { // it is more urgent now
			r.forget(h, t.ID)
			h = nil
		}
		if h == nil && !(t.Key == keyPin && held) {
			free = append(free, t)
		}
	}
	most := min((len(free)+room-1)/room, haulMax) // few are fetched beside each other, as far as there is room
	for _, t := range free {
		small, err := isSmall(tx, t)
		if err != nil {
			return nil, err
		}
		if last := len(out) - 1; small && last >= 0 && out[last].takes(t, most) {
			out[last].left = append(out[last].left, t)
			continue
		}
		if r.room(t.Priority)-len(out) <= 0 {
			break
		}
		out = append(out, &haul{m: r.m, left: []cache.Transfer{t}, priority: t.Priority, small: small})
	}
	return out, nil
}

// isSmall reports whether a transfer is of a file that may share a haul.
func isSmall(tx *cache.Tx, t cache.Transfer) (bool, error) {
	n, err := tx.Node(t.Ino)
	if errors.Is(err, cache.ErrNotFound) {
		return true, nil // soon done
	}
	return n.Size <= haulFile, err
}

func (r *runner) start(ctx context.Context, h *haul) {
	h.ctx, h.stop = context.WithCancel(ctx)
	r.hauls[h] = true
	for _, t := range h.left {
		r.busy[t.ID] = h
	}
	go func() { // drain waits for it
		h.run()
		r.ended <- h
	}()
}

func (r *runner) end(h *haul) {
	h.stop()
	delete(r.hauls, h)
	for id := range r.busy {
		r.forget(h, id)
	}
}

// forget lets a transfer begin anew that was a haul's.
func (r *runner) forget(h *haul, id int64) {
	if r.busy[id] == h {
		delete(r.busy, id)
	}
}

// endWalk notes the end of a walk. One that failed, as on a full disk, is still noted in the index and done again later.
func (r *runner) endWalk(ctx context.Context, err error) {
	r.walking = false
	if err != nil && ctx.Err() == nil {
		r.m.log.Error("pinned directory not queued", "error", err)
		r.rest = r.m.now().Add(unreachableBackoff)
	}
}

func (r *runner) drain() {
	for range len(r.hauls) {
		r.end(<-r.ended)
	}
	if r.walking {
		<-r.walked
	}
}

// errUnwanted ends a transfer that nobody wants any more.
var errUnwanted = errors.New("not wanted any more")

// wanted checks that the pin that queued a transfer still is.
func wanted(tx *cache.Tx, t cache.Transfer) error {
	if t.Key != keyPin {
		return nil
	}
	pinned, _, err := pinnedBy(tx, t.Ino)
	if err == nil && !pinned {
		err = errUnwanted
	}
	return err
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

// fetchNow completes a file with no program waiting for it.
func (m *Manager) fetchNow(ctx context.Context, t cache.Transfer) error {
	return m.hydrate(ctx, t.Ino, func(f *file) error {
		f.fill.For(t.Reader())
		return f.complete(ctx, classOf(t))
	})
}

// classOf is how urgent a transfer is.
func classOf(t cache.Transfer) class {
	switch t.Key {
	case keyFetch:
		return fetching
	case cache.RefreshKey:
		return refreshing
	}
	return pinning
}

// conclude ends a transfer or puts it off.
func (m *Manager) conclude(tx *cache.Tx, t cache.Transfer, err error) error {
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
}

// backoff is how long a transfer rests after its n-th failure; luck of 0 to 1 spreads it by a quarter either way.
func backoff(n int, err error, luck float64) time.Duration {
	limit := maxBackoff
	if errors.Is(err, ErrUnreachable) || errors.Is(err, cache.ErrNoSpace) {
		limit = unreachableBackoff
	}
	d := limit
	if n < 20 {
		d = min(limit, time.Second<<(n-1))
	}
	return time.Duration(float64(d) * (0.75 + luck/2))
}
