// Package throttle keeps streams of bytes below a rate that they share, and lets those go first that somebody waits for.
//
// A Limiter has one turn. Who has it waits for the tokens of one small piece, an eighth of a second, and gives it on: three times
// out of four to the oldest of the urgent, else to the oldest of all. While some are urgent the pieces of the others are smaller.
// So one that is urgent has three quarters of the rate, however many others there are, and these still show signs of life.
package throttle

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Least is the smallest rate there is, in bytes a second: below, a piece would take longer than a sign of life may.
const Least = 1 << 10

const (
	perSecond = 8 // pieces that pass in a second
	fair      = 4 // every so manieth turn is the oldest's
	behind    = 3 // by so much the pieces of the others are smaller while some are urgent
)

// Limiter is a rate that streams share. The zero value has no limit.
type Limiter struct {
	limit atomic.Int64 // bytes a second; 0: none

	mu      sync.Mutex // may be held while an urgency is asked for
	tokens  *rate.Limiter
	taken   bool      // somebody has the turn
	turns   uint      // given on
	pressed time.Time // when one that is urgent last paid
	waiting []*waiter
}

// waiter waits for the turn.
type waiter struct {
	ctx  context.Context // tells how urgent it is
	turn chan struct{}   // closed when it has the turn
}

// Set changes the rate, in bytes a second, not below Least; 0 takes the limit away. It holds from the next piece on.
func (l *Limiter) Set(bytes int64) {
	if bytes > 0 {
		bytes = max(bytes, Least)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit.Swap(bytes) != bytes && bytes > 0 {
		l.tokens = rate.NewLimiter(rate.Limit(bytes), int(bytes/perSecond))
	}
}

// Piece is how many bytes pass at once; 0: as many as one likes.
func (l *Limiter) Piece() int { return int(l.limit.Load() / perSecond) }

// Pay returns when so many bytes may pass, or with the error of ctx.
func (l *Limiter) Pay(ctx context.Context, bytes int) error {
	for bytes > 0 && l.limit.Load() > 0 {
		if err := l.await(ctx); err != nil {
			return err
		}
		n, err := l.spend(ctx, bytes)
		l.pass()
		if err != nil {
			return err
		}
		bytes -= n
	}
	return nil
}

// await waits for the turn.
func (l *Limiter) await(ctx context.Context) error {
	l.mu.Lock()
	if !l.taken {
		l.taken = true
		l.mu.Unlock()
		return nil
	}
	w := &waiter{ctx, make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	i := slices.Index(l.waiting, w)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	l.mu.Unlock()
	if i < 0 { // it came at that moment
		l.pass()
	}
	return ctx.Err()
}

// spend waits for the tokens of a piece, or of what is left if that is less. The caller has the turn.
func (l *Limiter) spend(ctx context.Context, bytes int) (n int, err error) {
	now := time.Now()
	l.mu.Lock()
	tokens := l.tokens
	n = tokens.Burst()
	if Urgent(ctx) {
		l.pressed = now
	} else if now.Sub(l.pressed) < time.Second {
		n = max(1, n/behind)
	}
	l.mu.Unlock()
	n = min(bytes, n)
	r := tokens.ReserveN(now, n)
	timer := time.NewTimer(r.DelayFrom(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return n, nil
	case <-ctx.Done():
		r.Cancel()
		return 0, ctx.Err()
	}
}

// pass gives the turn on.
func (l *Limiter) pass() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.taken = false
		return
	}
	i := 0
	if l.turns++; l.turns%fair != 0 {
		i = max(0, slices.IndexFunc(l.waiting, func(w *waiter) bool { return Urgent(w.ctx) }))
	}
	w := l.waiting[i]
	l.waiting = slices.Delete(l.waiting, i, i+1)
	close(w.turn)
}

type urgencyKey struct{}

// WithUrgency returns a context for a stream that somebody waits for while is says so. It is asked again and again, from any
// goroutine, and must not block.
func WithUrgency(ctx context.Context, is func() bool) context.Context {
	return context.WithValue(ctx, urgencyKey{}, is)
}

// Urgent reports whether somebody waits for a stream now.
func Urgent(ctx context.Context) bool {
	is, ok := ctx.Value(urgencyKey{}).(func() bool)
	return ok && is()
}
