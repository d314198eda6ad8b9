package fs

import (
	"context"
	"sync"
	"time"
)

// closeGrace is how long a close(2) that has returned may take until its RELEASE is dealt with.
const closeGrace = 10 * time.Second

// closing knows the files whose close(2) a program saw return while the request that ends the handle is still under way:
// FLUSH comes before close returns, RELEASE after it. A command that comes right after the close must not find the file
// in use. Which FLUSH is the last nobody says, so one that no RELEASE follows counts for closeGrace only.
type closing struct {
	mu    sync.Mutex
	files map[*file]time.Time // when the last FLUSH came
	ended chan struct{}       // closed, and made anew, when a file goes; nil: nobody waits
}

// flushed notes a close of one descriptor of the file.
func (c *closing) flushed(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files = map[*file]time.Time{}
	}
	c.files[f] = time.Now()
}

// released notes that the handle is gone and everything it wrote is settled.
func (c *closing) released(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.files, f)
	if c.ended != nil {
		close(c.ended)
		c.ended = nil
	}
}

// left returns how long one may still wait for closes before the given moment, 0 if there is none to wait for, and
// what is closed when their number changes.
func (c *closing) left(until time.Time) (time.Duration, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var longest time.Duration
	for _, at := range c.files {
		if !at.After(until) {
			longest = max(longest, closeGrace-time.Since(at))
		}
	}
	if c.ended == nil {
		c.ended = make(chan struct{})
	}
	return longest, c.ended
}

// await waits for the files closed before the call.
func (c *closing) await(ctx context.Context) {
	now := time.Now()
	for {
		left, ended := c.left(now)
		if left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
		case <-time.After(left):
		}
	}
}

// AwaitCloses waits until every close(2) that returned before the call is dealt with, as far as that can be known: a
// descriptor that was duplicated and closed once looks the same, so it waits 10 s at most. Files of which no close is seen,
// because a mapping or a descriptor of an earlier mount was the last of them, are looked at too.
func (s *Server) AwaitCloses(ctx context.Context) {
	s.drive.closing.await(ctx)
	if err := s.drive.cache.SettleHeld(ctx); err != nil {
		s.drive.log.Warn("files that nobody has open are not settled", "error", err)
	}
}
