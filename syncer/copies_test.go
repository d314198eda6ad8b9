package syncer

import (
	"fmt"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
)

// TestOfFilesThatTravelTogetherOneThatFailsHoldsUpNoOther refuses one of many, for good.
func TestOfFilesThatTravelTogetherOneThatFailsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		const files = 40
		for i := range files {
			r.write(fmt.Sprintf("f%02d", i), fmt.Sprint("text ", i))
		}
		r.script.Add(faulty.Rule{Method: faulty.Put, Err: remote.ErrName, Match: func(c faulty.Call) bool { return c.Name == "f07" }})
		r.work()
		for i := range files {
			name := fmt.Sprintf("f%02d", i)
			got, ok := f.tree()[name]
			if i == 7 {
				if it := r.itemOf("/" + name); ok || !it.Parked || it.Error == "" {
					t.Errorf("%s, which was refused, is there: %v, and its item is %+v", name, ok, it)
				}
				continue
			}
			if want := fmt.Sprint("text ", i); got != want {
				t.Errorf("%s is %q at the endpoint, want %q", name, got, want)
			}
		}
	})
}

// TestManySmallFilesShareTransactions counts the transactions that sending takes.
func TestManySmallFilesShareTransactions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		const files = 64
		for i := range files {
			r.write(fmt.Sprintf("f%02d", i), fmt.Sprint("text ", i))
		}
		before := r.c.Seq()
		r.work()
		if n := len(f.tree()); n < files {
			t.Fatalf("%d of %d files are at the endpoint", n, files)
		}
		if n := r.c.Seq() - before; n > files/2 {
			t.Errorf("%d files took %d transactions", files, n)
		}
		r.must(r.c.View(func(tx *cache.Tx) error {
			for _, l := range r.legs() {
				left, err := tx.Journal(l.id, 0, 1)
				if err != nil || len(left) > 0 {
					t.Errorf("announced still: %v, %v", left, err)
				}
			}
			return nil
		}))
	})
}

// TestNewDirectoriesAreMadeTogether makes many, in each other, of which one is refused: all but that one, and what is in it, are
// at the endpoint, and they share what makes them durable.
func TestNewDirectoriesAreMadeTogether(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.script.Add(faulty.Rule{Method: faulty.Mkdir, Err: remote.ErrName, Match: func(c faulty.Call) bool { return c.Name == "d03" }})
		const dirs = 20
		want := map[string]string{}
		for i := range dirs {
			name := fmt.Sprintf("d%02d", i)
			r.mkdir(name)
			r.mkdir(name + "/in")
			r.write(name+"/in/f", name)
			if i != 3 {
				want[name+"/"], want[name+"/in/"], want[name+"/in/f"] = "", "", name
			}
		}
		before := r.c.Seq()
		r.work()
		wantTree(t, f.tree(), want)
		if n := r.c.Seq() - before; n > 2*dirs {
			t.Errorf("%d directories and %d files took %d transactions", 2*dirs, dirs, n)
		}
		r.script.Clear()
		r.unpark()
		r.settle()
		want["d03/"], want["d03/in/"], want["d03/in/f"] = "", "", "d03"
		wantTree(t, f.tree(), want)
	})
}
