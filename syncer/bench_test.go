package syncer

import (
	"fmt"
	"testing"

	"vdfs/cache"
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
