package syncer

import (
	"context"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote/memory"
)

// TestNamesSwappedBeforeTheFirstCycle swaps what only a listing has shown, and what was never sent.
func TestNamesSwappedBeforeTheFirstCycle(t *testing.T) {
	throughTemp := func(r *rig) { r.move("a", "t"); r.move("b", "a"); r.move("t", "b") }
	exchanged := func(r *rig) { r.exchange("a", "b") }
	for _, c := range []struct {
		name string
		make func(r *rig)
		swap func(r *rig)
	}{
		{"far, through a temporary name", func(r *rig) { r.far(0).write("a", "A"); r.far(0).write("b", "B") }, throughTemp},
		{"far, exchanged", func(r *rig) { r.far(0).write("a", "A"); r.far(0).write("b", "B") }, exchanged},
		{"same size far, exchanged and read", func(r *rig) { r.far(0).write("a", "A"); r.far(0).write("b", "B") }, func(r *rig) { r.tree(); r.exchange("a", "b") }},
		{"here, through a temporary name", func(r *rig) { r.list(); r.write("a", "A"); r.write("b", "B") }, throughTemp},
		{"here, exchanged", func(r *rig) { r.list(); r.write("a", "A"); r.write("b", "B") }, exchanged},
		{"one each, exchanged", func(r *rig) { r.far(0).write("a", "A"); r.list(); r.write("b", "B") }, exchanged},
		{"directories far, exchanged", func(r *rig) {
			f := r.far(0)
			f.mkdir("a")
			f.write("a/x", "A")
			f.mkdir("b")
			f.write("b/y", "B")
		}, exchanged},
		{"directories far, through a temporary name", func(r *rig) {
			f := r.far(0)
			f.mkdir("a")
			f.write("a/x", "A")
			f.mkdir("b")
			f.write("b/y", "B")
		}, throughTemp},
		{"a file and a directory, exchanged", func(r *rig) { f := r.far(0); f.mkdir("a"); f.write("a/x", "A"); f.write("b", "B") }, exchanged},
	} {
		for _, fl := range flavours() {
			t.Run(c.name+" "+fl.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, memory.New(fl.opts()))
				c.make(r)
				r.list()
				c.swap(r)
				want := r.tree()
				r.settle()
				wantTree(t, r.agree(), want)
			})
		}
	}
}

// list lists the top directory as a program's first look does.
func (r *rig) list() {
	r.t.Helper()
	r.must(r.e.List(context.Background(), cache.RootIno))
}
