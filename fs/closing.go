package fs

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/internal/procs"
)

// closeGrace is how long a close(2) that has returned may take until its RELEASE is dealt with.
const closeGrace = 10 * time.Second

// closing knows the files whose handles have come to their end, until everything they wrote is settled.
//
// RELEASE comes after the close(2) that caused it has returned, and a command that comes right after the close must not find
// the file in use. The kernel could tell of each close before it returns, by a FLUSH, and no program would get past one
// without waiting for it. So it is told not to, and who wants to know whether a file is still open asks which processes
// have it: if none has, its RELEASE is on its way.
type closing struct {
	mu    sync.Mutex
	files map[*file]bool
	ended chan struct{} // closed, and made anew, when a file goes; nil: nobody waits
}

// begins notes that the handle is being released.
func (c *closing) begins(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files = map[*file]bool{}
	}
	c.files[f] = true
}

// ends notes that the handle is gone and everything it wrote is settled.
func (c *closing) ends(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.files, f)
	f.over.Store(true)
	if c.ended != nil {
		close(c.ended)
		c.ended = nil
	}
}

func (c *closing) all() []*file {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.files))
}

// next is closed when a handle comes to its end.
func (c *closing) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = make(chan struct{})
	}
	return c.ended
}

// await waits until the handles have come to their end, closeGrace at most.
func (c *closing) await(ctx context.Context, files []*file) {
	limit := time.NewTimer(closeGrace)
	defer limit.Stop()
	for {
		ended := c.next()
		files = slices.DeleteFunc(files, func(f *file) bool { return f.over.Load() })
		if len(files) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-limit.C:
			return
		case <-ended:
		}
	}
}

// AwaitCloses waits until every close(2) that returned before the call is dealt with, as far as that can be known: files that
// only processes have open which may not be looked into, it waits for as if they were closed, 10 s at most. Files of which no
// close is seen, because a mapping or a descriptor of an earlier mount was the last of them, are looked at too.
func (s *Server) AwaitCloses(ctx context.Context) {
	d := s.drive
	open := d.files.all() // before those that are being released: none is missed on its way
	if left := append(notHeld(open, s.mountpoint), d.closing.all()...); len(left) > 0 {
		d.closing.await(ctx, left)
	}
	if err := d.cache.SettleHeld(ctx); err != nil {
		d.log.Warn("files that nobody has open are not settled", "error", err)
	}
}

// notHeld are the open files that no process is seen to have open.
func notHeld(open []*file, mountpoint string) []*file {
	if len(open) == 0 {
		return nil
	}
	dev, err := procs.DeviceOf(mountpoint)
	if err != nil {
		return open
	}
	held := func(look func(string, func(string, uint64) bool) error) {
		inos := map[cache.Ino]bool{}
		for _, p := range procs.All() {
			// A process that may not be looked into is not seen.
			_ = look(p, func(_ string, ino uint64) bool {
				inos[cache.Ino(ino)] = true
				return true
			})
		}
		open = slices.DeleteFunc(open, func(f *file) bool { return inos[f.Ino()] })
	}
	held(dev.Descriptors)
	if len(open) > 0 {
		held(dev.Mappings)
	}
	return open
}
