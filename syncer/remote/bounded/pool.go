package bounded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/syncer/remote"
)

const (
	// workers is how many calls to an endpoint run at a time.
	workers = 32
	// writers is how many of them may write: readers always find some.
	writers = 24
	// patience is how long a call may go on without a sign of progress.
	patience = 30 * time.Second
	// grace is how long a call may take to end after its context.
	grace = time.Second
	// asking is how long before the end of its caller's patience a silent write is asked about.
	asking = 10 * time.Second
	// silence is how long an endpoint that answers may take for one write: slow disks write their caches back that long.
	silence = 10 * time.Minute
)

// errGivenUp is what a call that was given up gets from its caller's readers and writers.
var errGivenUp = errors.New("nobody waits for this call any more")

// givenUp marks the error of a call that was left to itself.
type givenUp struct{ error }

// Unwrap gives the reason.
func (g givenUp) Unwrap() error { return g.error }

// Pool is the workers of one endpoint, through however many openings of it.
type Pool struct {
	slots, writes chan struct{} // one element a running call, and a running write

	mu     sync.Mutex
	stuck  int           // calls given up that have not come back
	late   int           // writes among them
	full   chan struct{} // closed while stuck is all workers
	lively time.Time     // when any call last showed progress
	doubt  time.Time     // when a call was given up, if none has come back since; else zero
}

// NewPool returns workers without work.
func NewPool() *Pool {
	return &Pool{
		slots: make(chan struct{}, workers), writes: make(chan struct{}, writers), full: make(chan struct{}), lively: time.Now(),
	}
}

// Doubtful reports that the last that was heard of the endpoint is a call that hung, not long ago. Whoever can do without
// asking should: the wait would be long and in vain.
func (p *Pool) Doubtful() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.doubt.IsZero() && time.Since(p.doubt) < patience
}

// kind says how much there is to a call.
type kind uint8

const (
	look   kind = iota // an answer is all that comes of it
	stream             // the same, and its context ends it at once
	check              // a look that fails while a write that was given up is outstanding
	change             // changes the endpoint
)

// call is one call in a worker.
type call struct {
	pool *Pool
	kind kind
	over atomic.Bool // given up

	last  time.Time // when it last showed progress; guarded by pool.mu, as the next
	ended bool      // has come back in time
}

// progress notes a sign of life.
func (c *call) progress() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.last = time.Now()
	c.pool.lively = c.last
}

// silentFor is the time since the last sign of life.
func (c *call) silentFor() time.Duration {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return time.Since(c.last)
}

// job is what a worker is to do.
type job[T any] struct {
	kind kind
	says string // names the call in errors
	run  func(ctx context.Context, c *call) (T, error)
	// undo lets go of a result for which nobody waits; nil: there is nothing to let go of.
	undo func(T)
	// alive asks whether the endpoint answers at all; nil: a silent call is not asked about.
	alive func(ctx context.Context) bool
}

type result[T any] struct {
	value T
	err   error
}

// do runs a job in a worker and waits for it as long as the package documentation says.
func do[T any](ctx context.Context, p *Pool, j job[T]) (T, error) {
	var none T
	c, err := p.enter(ctx, j.kind)
	if err != nil {
		return none, fmt.Errorf("%s: %w", j.says, err)
	}
	done := make(chan result[T], 1)
	go func() {
		v, err := j.run(remote.WithProgress(ctx, func() {
			c.progress()
			remote.Progress(ctx)
		}), c)
		if c.end() {
			done <- result[T]{v, err}
			return
		}
		if err == nil && j.undo != nil {
			j.undo(v)
		}
		c.comeBack()
	}()
	r, err := await(ctx, c, done, j.alive)
	if err != nil {
		return none, fmt.Errorf("%s: %w", j.says, err)
	}
	return r.value, r.err
}

// enter waits for a free worker.
func (p *Pool) enter(ctx context.Context, k kind) (*call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if k >= check && p.outstanding() {
		return nil, fmt.Errorf("an earlier write to it has not come back: %w", remote.ErrUnavailable)
	}
	if k == change {
		if err := p.take(ctx, p.writes); err != nil {
			return nil, err
		}
	}
	if err := p.take(ctx, p.slots); err != nil {
		if k == change {
			<-p.writes
		}
		return nil, err
	}
	c := &call{pool: p, kind: k}
	c.progress()
	return c, nil
}

// outstanding reports whether a write that was given up may still take effect.
func (p *Pool) outstanding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late > 0
}

// take gets a place among those that work, while some of them get on.
func (p *Pool) take(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		p.mu.Lock()
		full, quiet := p.full, time.Since(p.lively)
		p.mu.Unlock()
		select {
		case places <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-full:
			return fmt.Errorf("all calls to it hang: %w", remote.ErrUnavailable)
		case <-timer.C:
			if quiet >= patience {
				return fmt.Errorf("none of %d calls to it got on for %v: %w", workers, patience, remote.ErrSilent)
			}
			timer.Reset(patience - quiet)
		}
	}
}

// end ends a call that came back, unless it was given up.
func (c *call) end() bool {
	c.progress()
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.over.Load() {
		return false
	}
	c.ended = true
	p.doubt = time.Time{}
	c.release()
	return true
}

// giveUp leaves a call to itself, unless it has come back.
func (c *call) giveUp() bool {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.ended {
		return false
	}
	c.over.Store(true)
	if time.Since(c.last) >= patience/2 { // not only because of its context
		p.doubt = time.Now()
	}
	if c.kind == change {
		p.late++
	}
	if p.stuck++; p.stuck == workers {
		close(p.full)
	}
	return true
}

// comeBack ends a call that was given up.
func (c *call) comeBack() {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.kind == change {
		p.late--
	}
	if p.stuck == workers {
		p.full = make(chan struct{})
	}
	p.stuck--
	c.release()
}

func (c *call) release() {
	<-c.pool.slots
	if c.kind == change {
		<-c.pool.writes
	}
}

// await waits for a call while it gets on.
func await[T any](ctx context.Context, c *call, done <-chan result[T], alive func(context.Context) bool) (result[T], error) {
	ended, limit := ctx.Done(), patience
	if alive != nil {
		limit -= asking
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var asked chan bool
	for {
		var err error
		select {
		case r := <-done:
			return r, nil
		case <-ended:
			if c.kind != stream {
				ended = nil
				timer.Reset(grace)
				continue
			}
			err = ctx.Err()
		case yes := <-asked:
			switch asked = nil; {
			case ctx.Err() != nil:
				continue // its grace is running
			case yes && c.silentFor() < silence:
				timer.Reset(limit)
				continue
			}
			err = unanswered(c)
		case <-timer.C:
			switch silent := c.silentFor(); {
			case ctx.Err() != nil:
				err = ctx.Err()
			case silent < limit:
				timer.Reset(limit - silent)
				continue
			case alive != nil && asked == nil:
				asked = ask(ctx, alive)
				continue
			default:
				err = unanswered(c)
			}
		}
		if c.giveUp() {
			return result[T]{}, givenUp{err}
		}
		return <-done, nil // it has just come back
	}
}

// ask finds out whether the endpoint answers anything.
func ask(ctx context.Context, alive func(context.Context) bool) chan bool {
	answer := make(chan bool, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, asking-grace)
		defer cancel()
		answer <- alive(ctx)
	}()
	return answer
}

func unanswered(c *call) error {
	return fmt.Errorf("no progress for %v: %w", c.silentFor().Round(time.Second), remote.ErrSilent)
}
