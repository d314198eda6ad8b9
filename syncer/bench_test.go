package syncer

import (
	"fmt"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote/memory"
)

// BenchmarkFirstContact brings an endpoint of 5 000 files into a new drive, in
// microseconds a file.
func BenchmarkFirstContact(b *testing.B) {
	const files = 5000
	for range b.N {
		b.StopTimer()
		o := flavours()[1].opts()
		s := memory.New(o)
		for i := range files {
			if err := s.WriteFile(fmt.Sprintf("d%d/f%d", i/50, i), []byte("x")); err != nil {
				b.Fatal(err)
			}
		}
		r := newRig(b, s)
		b.StartTimer()
		for more := true; more; {
			var err error
			if more, err = r.legs()[0].cycle(b.Context(), true, &syncCall{done: make(chan error, 1)}); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		if err := r.c.View(func(tx *cache.Tx) error { _, err := tx.Resolve("/d1/f50"); return err }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*files), "µs/file")
}

// BenchmarkDiff compares a drive with an endpoint of 10 000 files: all of it where nothing has changed, and then what to do
// about 10 000 differences, of which a quarter each is new, deleted, moved and changed. In microseconds a file.
func BenchmarkDiff(b *testing.B) {
	const files = 10_000
	s := memory.New(flavours()[1].opts())
	name := func(i int) string { return fmt.Sprintf("d%d/f%d", i/100, i) }
	for i := range files {
		if err := s.WriteFile(name(i), []byte("x")); err != nil {
			b.Fatal(err)
		}
	}
	r := newRig(b, s)
	r.settle()
	l := r.legs()[0]
	ep, err := l.endpoint(b.Context())
	r.must(err)
	perFile := func(b *testing.B, once func() error) {
		for b.Loop() {
			if err := once(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*files), "µs/file")
	}
	b.Run("look", func(b *testing.B) {
		perFile(b, func() error { return l.pull(b.Context(), ep, true) })
	})
	f := r.far(0)
	f.mkdir("other")
	for i := range files {
		switch i % 4 {
		case 0:
			f.write(name(i)+"-new", "x")
		case 1:
			f.remove(name(i))
		case 2:
			f.move(name(i), fmt.Sprintf("other/f%d", i))
		case 3:
			f.write(name(i), "changed")
		}
	}
	r.must(l.pull(b.Context(), ep, true))
	b.Run("decide", func(b *testing.B) {
		perFile(b, func() error {
			decided, err := l.decideObserved()
			if err == nil && decided < files {
				err = fmt.Errorf("%d differences, not %d", decided, files)
			}
			return err
		})
	})
}

// decideObserved decides all that was observed, does nothing about it, and counts the differences for which something is to be done.
func (l *leg) decideObserved() (decided int, err error) {
	err = l.e.Cache.Survey(func(tx *cache.Tx) error {
		v, err := l.views(tx)
		if err != nil {
			return err
		}
		for after := ""; ; {
			page, err := tx.ObservedPage(l.id, after, pageSize)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, o := range page {
				after = o.RemoteID
				d, err := plan.Decide(v, plan.Subject{Remote: plan.RemoteID(o.RemoteID)}, l.rules())
				if err != nil {
					return err
				}
				if len(d.Ops) > 0 || d.Wait != nil {
					decided++
				}
			}
		}
	})
	return decided, err
}
