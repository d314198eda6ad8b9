package throttle

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

func TestStreamsShareARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		l.Set(mib)
		var passed atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var streams sync.WaitGroup
		var each [4]int64
		for i := range each {
			streams.Go(func() {
				for l.Pay(ctx, 100_000) == nil {
					passed.Add(100_000)
					each[i] += 100_000
				}
			})
		}
		streams.Wait()
		if got := passed.Load(); got < 10*mib*95/100 || got > 10*mib*105/100 {
			t.Errorf("in 10 seconds %d bytes passed, want %d", got, 10*mib)
		}
		for i, n := range each {
			if n < passed.Load()/5 {
				t.Errorf("stream %d had %d of %d bytes", i, n, passed.Load())
			}
		}
	})
}

func TestWhoIsWaitedForGoesFirstAndStarvesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		l.Set(mib)
		ctx, cancel := context.WithCancel(t.Context())
		var streams sync.WaitGroup
		var others atomic.Int64
		for range 4 {
			streams.Go(func() {
				for l.Pay(ctx, 40_000) == nil {
					others.Add(40_000)
				}
			})
		}
		time.Sleep(time.Second)
		var now atomic.Bool
		late := WithUrgency(ctx, now.Load) // becomes urgent while it waits already
		streams.Go(func() {
			time.Sleep(time.Second)
			now.Store(true)
			others.Store(0)
		})
		began := time.Now()
		if err := l.Pay(late, 3*mib); err != nil {
			t.Error(err)
		}
		took := time.Since(began) - time.Second
		if took < 3*time.Second || took > 4200*time.Millisecond {
			t.Errorf("three seconds' worth of bytes that somebody waits for took %v", took)
		}
		if got := others.Load(); got < mib/2 || got > 3*mib/2 {
			t.Errorf("the others had %d bytes meanwhile, want about %d", got, mib)
		}
		cancel()
		streams.Wait()
	})
}

func TestARateCanBeChangedAndTakenAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		took := func(n int) time.Duration {
			began := time.Now()
			if err := l.Pay(t.Context(), n); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		if d := took(1 << 40); d != 0 || l.Piece() != 0 {
			t.Errorf("without a limit it took %v", d)
		}
		l.Set(1)
		if d := took(10 * Least); d < 9*time.Second || d > 10*time.Second {
			t.Errorf("at the smallest rate it took %v", d)
		}
		go func() {
			time.Sleep(time.Second)
			l.Set(0)
		}()
		if d := took(mib); d > 2*time.Second {
			t.Errorf("when the limit went, it still took %v", d)
		}
	})
}

func TestPayEndsWithItsContextAndGivesTheTurnOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		l.Set(Least)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var streams sync.WaitGroup
		for range 3 { // one has the turn, two wait for it
			streams.Go(func() {
				if err := l.Pay(ctx, mib); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		streams.Wait()
		began := time.Now()
		if err := l.Pay(t.Context(), Least); err != nil || time.Since(began) > 1200*time.Millisecond {
			t.Errorf("afterwards: %v after %v", err, time.Since(began))
		}
	})
}
