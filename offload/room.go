package offload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/cache"
	"vdfs/internal/wait"
)

// Writers and room. What is written goes to the local disk first, and only what was sent can go from there again. So who
// writes may have to wait for what was written before: on a full disk because there is no other way, and beyond the budget so
// that a copy does not get further and further ahead of what is sent. Both waits end when nothing moves: the first with the
// error, the second with the write.

const (
	// leastRoom is how much room is made at least for one who finds none, so that not every write begins anew.
	leastRoom = 8 << 20
	// roomEvery is how often it is tried while something is being sent.
	roomEvery = 200 * time.Millisecond
	// paceEvery is how often it is looked how much was sent.
	paceEvery = 10 * time.Millisecond
	// paceShare is how many bytes are sent for each that may be written meanwhile. More than one: it gets less.
	paceShare = 2
	// paceMost is the most that one write counts for.
	paceMost = 32 << 20
)

// MakeRoom runs an operation, and again as long as it fails with cache.ErrNoSpace and room is being made: what may go is
// dropped, and what is being sent is waited for. The error is the operation's when nothing moves, or ctx's. need is how many
// bytes it takes, if that is known: for what is large and does not fit in any case nothing is dropped.
func (m *Manager) MakeRoom(ctx context.Context, need int64, op func() error) error {
	err := op()
	if !errors.Is(err, cache.ErrNoSpace) || m.evict.rules.off() {
		return err
	}
	w := roomWait{m: m, need: need, moved: time.Now(), sent: m.source.Sent()}
	for errors.Is(err, cache.ErrNoSpace) {
		more, werr := w.more(ctx)
		if werr != nil {
			return fmt.Errorf("wait for room: %w", werr)
		}
		if !more {
			return err
		}
		err = op()
	}
	return err
}

// roomWait is one who waits for room.
type roomWait struct {
	m     *Manager
	need  int64
	moved time.Time // when anything last moved
	sent  int64     // Source.Sent then
}

// more returns when there may be more room than before: true, or when nothing moves any more.
func (w *roomWait) more(ctx context.Context) (bool, error) {
	before, err := w.m.evict.free()
	if err != nil {
		return false, err
	}
	if w.need > leastRoom { // else what was not counted yet could decide
		s, err := w.m.cache.Stats()
		if err != nil || w.need > before+s.ContentBytes {
			return false, err
		}
	}
	for idle := false; ; {
		came, err := w.m.evict.ask(ctx, max(w.need, leastRoom))
		if err != nil || came.freed > 0 {
			w.moved = time.Now()
			return err == nil, err
		}
		if free, err := w.m.evict.free(); err != nil || free > before {
			return err == nil, err
		}
		if now := w.m.source.Sent(); now != w.sent {
			w.sent, w.moved = now, time.Now()
		}
		// What was sent last goes at the look after that, and what was closed just now is sent only in a moment.
		was := idle
		idle = !w.m.source.Sending()
		if came.over || was && idle && came.all || time.Since(w.moved) > w.m.timeout {
			return false, nil
		}
		if !wait.For(ctx, roomEvery) {
			return false, ctx.Err()
		}
	}
}

// pace has writers wait for what is being sent.
type pace struct {
	on atomic.Bool

	mu      sync.Mutex
	owed    int64 // what Source.Sent has to come to before the last that waits goes on
	stalled int64 // what it was when nothing moved for too long; less than 0: never
}

// Paced reports whether Pace waits.
func (m *Manager) Paced() bool { return m.pace.on.Load() }

// Pace is called before n bytes are written. While more is here than may be, because it was not sent yet, it waits until
// endpoints took a multiple of that, or ctx ends, or nothing moves: there is always room to write on, it is only slower.
func (m *Manager) Pace(ctx context.Context, n int64) {
	p := &m.pace
	if !p.on.Load() {
		return
	}
	p.mu.Lock()
	last := m.source.Sent()
	p.owed = max(p.owed, last) + paceShare*min(n, paceMost)
	mine := p.owed
	p.mu.Unlock()
	moved := time.Now()
	for last < mine && p.on.Load() && wait.For(ctx, paceEvery) {
		switch now := m.source.Sent(); {
		case now != last:
			last, moved = now, time.Now()
		case time.Since(moved) > m.timeout:
			p.stall(now)
		}
	}
}

// set says whether writers wait.
func (p *pace) set(on bool, sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on.Store(on && sent != p.stalled)
}

// stall lets all go on, until something moves again.
func (p *pace) stall(sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = sent
	p.on.Store(false)
}
