package syncer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// crowd counts how many contents are on their way to endpoints. The first wait for each other, up to so many.
type crowd struct {
	want      int64
	now, most atomic.Int64
	full      chan struct{}
	once      sync.Once
}

func (r *rig) crowd(want int64) *crowd {
	c := &crowd{want: want, full: make(chan struct{})}
	r.script.Clear()
	r.script.Add(faulty.Rule{
		Method: faulty.Put,
		Before: func() {
			n := c.now.Add(1)
			for had := c.most.Load(); n > had && !c.most.CompareAndSwap(had, n); had = c.most.Load() {
			}
			if n >= want {
				c.once.Do(func() { close(c.full) })
			}
			<-c.full
		},
		Then: func() { c.now.Add(-1) },
	})
	return c
}

func TestNotMoreFilesThanSaidAreCopiedAtOnce(t *testing.T) {
	t.Parallel()
	r := newPolicyRig(t, plainSync, memory.New(memory.Options{}))
	r.settle()
	large := strings.Repeat("x", gatherFile+1)
	for i, parallel := range []int{3, 1, 5} { // the first is the default
		if i > 0 {
			_, err := r.e.EditConduit("home", Edit{Settings: Settings{Parallel: &parallel}})
			r.must(err)
		}
		for j := range 8 {
			r.write(fmt.Sprintf("%d large %d", i, j), large)
		}
		for j := range 40 {
			r.write(fmt.Sprintf("%d small %d", i, j), fmt.Sprint(i, j))
		}
		c := r.crowd(int64(parallel))
		r.settle()
		if got := c.most.Load(); got != int64(parallel) {
			t.Errorf("%d were copied at once, want %d", got, parallel)
		}
	}
	r.agree()
}

func TestAllConduitsTogetherCopyNotMoreThanSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(memory.Options{}), memory.New(memory.Options{}))
	r.settle()
	r.e.transfers = make(transfers, 2)
	large := strings.Repeat("x", gatherFile+1)
	for i := range 6 {
		r.write(fmt.Sprint(i), large)
	}
	c := r.crowd(2)
	var both errgroup.Group
	for _, l := range r.legs() {
		both.Go(func() error {
			_, err := l.cycle(context.Background(), true, &syncCall{done: make(chan error, 1)})
			return err
		})
	}
	r.must(both.Wait())
	if got := c.most.Load(); got != 2 {
		t.Errorf("%d were on their way at once", got)
	}
	r.settle()
}

func TestABandwidthIsChangedWhileTheConduitWorks(t *testing.T) {
	t.Parallel()
	r := newPolicyRig(t, Spec{Source: "drive:/", Target: "mem:0", Policy: PolicyOffload, Bandwidth: 1 << 20}, memory.New(memory.Options{}))
	rates := r.legs()[0].rates
	limit := func(up, down int) {
		t.Helper()
		if rates.Up.Piece()*8 != up || rates.Down.Piece()*8 != down {
			t.Errorf("up %d, down %d bytes a second, want %d and %d", rates.Up.Piece()*8, rates.Down.Piece()*8, up, down)
		}
	}
	limit(1<<20, 1<<20)
	for _, n := range []int64{64 << 10, 0} {
		_, err := r.e.EditConduit("home", Edit{Settings: Settings{Bandwidth: &n}})
		r.must(err)
		limit(int(n), int(n))
	}
	for _, n := range []int64{1, 1023, -1} {
		if _, err := r.e.EditConduit("home", Edit{Settings: Settings{Bandwidth: &n}}); err == nil || !strings.Contains(err.Error(), "1024") {
			t.Errorf("%d bytes a second: %v", n, err)
		}
	}
	r.settle()
	r.write("f", "passes")
	r.settle()
	r.agree()
}
