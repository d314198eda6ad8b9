package offload

import (
	"context"
	"testing"

	"vdfs/cache"
	"vdfs/internal/throttle"
)

// TestAFetchTellsWhetherSomebodyWaitsForIt has a fetch that nobody waits for, and then somebody reads what it brings.
func TestAFetchTellsWhetherSomebodyWaitsForIt(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	e := d.remote(cache.RootIno, "big", pattern(8<<20))
	d.s.gate = make(chan struct{})
	asked := func(n int) context.Context {
		d.Helper()
		var ctx context.Context
		d.eventually("it is fetched", func() bool {
			d.s.mu.Lock()
			defer d.s.mu.Unlock()
			if len(d.s.ctxs) < n {
				return false
			}
			ctx = d.s.ctxs[n-1]
			return true
		})
		return ctx
	}
	f, err := d.m.acquire(e.Ino)
	d.ok(err)
	f.mu.Lock()
	f.launch(0, 1<<20, ahead)
	f.mu.Unlock()
	first := asked(1)
	if throttle.Urgent(first) {
		t.Error("somebody waits for what is fetched ahead")
	}
	read := make(chan error, 2)
	go func() { read <- d.m.Ensure(context.Background(), e.Ino, 0, 4096) }()
	d.eventually("the reader waits for that", func() bool { return throttle.Urgent(first) })
	go func() { read <- d.m.Ensure(context.Background(), e.Ino, 4<<20, 4096) }()
	if !throttle.Urgent(asked(2)) {
		t.Error("nobody waits for what a reader has missed")
	}
	close(d.s.gate)
	d.ok(<-read)
	d.ok(<-read)
	d.ok(d.m.release(f))
}
