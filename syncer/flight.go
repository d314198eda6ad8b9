package syncer

import (
	"context"
	"sync"
)

// flights lets callers who want the same thing share one piece of work. The
// work runs under the first caller's background context: a waiter who gives up
// ends only their own wait.
type flights[K comparable] struct {
	mu      sync.Mutex
	running map[K]*flight
}

type flight struct {
	done chan struct{}
	err  error
}

// do runs work for key unless it is running, and waits for it or for ctx.
func (f *flights[K]) do(ctx context.Context, key K, work func() error) error {
	f.mu.Lock()
	cur := f.running[key]
	if cur == nil {
		cur = &flight{done: make(chan struct{})}
		if f.running == nil {
			f.running = map[K]*flight{}
		}
		f.running[key] = cur
		go func() {
			cur.err = work()
			f.mu.Lock()
			delete(f.running, key)
			f.mu.Unlock()
			close(cur.done)
		}()
	}
	f.mu.Unlock()
	select {
	case <-cur.done:
		return cur.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits for the work that is running for key, if there is any, whatever comes of it.
func (f *flights[K]) await(ctx context.Context, key K) error {
	f.mu.Lock()
	cur := f.running[key]
	f.mu.Unlock()
	if cur == nil {
		return nil
	}
	select {
	case <-cur.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
