package syncer

import (
	"fmt"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/memory"
)

// applyOne brings what was observed into the drive one object at a time, as when each is on a page of its own, and looks at
// the drive after each transaction.
func (r *rig) applyOne(l *leg, look func()) {
	r.t.Helper()
	for {
		var c counts
		var rows []cache.Observed
		r.must(r.c.View(func(tx *cache.Tx) (err error) {
			rows, err = tx.ObservedPage(l.id, "", batchSize)
			return err
		}))
		for i := range rows {
			_, err := l.applyRows(rows[i:i+1], &c)
			r.must(err)
			look()
		}
		if c.Applied == 0 {
			return
		}
	}
}

// TestANameThatAnotherObjectTakesIsNeverMissing has a program at the endpoint rename something over a file, whichever of the
// two was there first: whoever looks at the drive finds one or the other.
func TestANameThatAnotherObjectTakesIsNeverMissing(t *testing.T) {
	type state struct {
		names []string // in the order in which they came to be
		take  func(f *far)
		want  string
	}
	link := func(f *far, name string) {
		d, err := f.find("d")
		f.must(err)
		_, err = f.ep.Mkdir(t.Context(), d.ID, name, remote.Attr{Target: "nowhere"}, "")
		f.must(err)
	}
	for name, c := range map[string]state{
		"an older file":  {names: []string{"old", "f"}, want: "of old", take: func(f *far) { f.remove("d/f"); f.move("d/old", "d/f") }},
		"a younger file": {names: []string{"f", "old"}, want: "of old", take: func(f *far) { f.remove("d/f"); f.move("d/old", "d/f") }},
		"a new file":     {names: []string{"f"}, want: "new", take: func(f *far) { f.remove("d/f"); f.write("d/f", "new") }},
		"a new symlink":  {names: []string{"f"}, want: "-> nowhere", take: func(f *far) { f.remove("d/f"); link(f, "f") }},
		"an old symlink": {names: []string{"l", "f"}, want: "-> nowhere", take: func(f *far) { f.remove("d/f"); f.move("d/l", "d/f") }},
		"one of a row":   {names: []string{"old", "g", "f"}, want: "of g", take: func(f *far) { f.remove("d/f"); f.move("d/g", "d/f"); f.move("d/old", "d/g") }},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				f.mkdir("d")
				for _, name := range c.names {
					if name == "l" {
						link(f, name)
						continue
					}
					f.write("d/"+name, "of "+name)
				}
				r.settle()
				r.tree()
				l := r.legs()[0]
				ep, err := l.check(t.Context())
				r.must(err)
				c.take(f)
				r.must(l.pull(t.Context(), ep, false))
				r.must(l.guard(true))
				looks := 0
				r.applyOne(l, func() {
					looks++
					if _, err := r.lookup("d/f"); err != nil {
						t.Errorf("after %d transactions: %v", looks, err)
					}
				})
				r.settle()
				if got := r.agree()["d/f"]; got != c.want {
					t.Errorf("d/f is %q in the end, want %q", got, c.want)
				}
			})
		})
	}
}

// TestWhatTakesANameWaitsWhileItsDeletionIsHeld has a file renamed over one of many that were deleted.
func TestWhatTakesANameWaitsWhileItsDeletionIsHeld(t *testing.T) {
	for _, fl := range flavours()[:2] { // those that see the rename
		r := newRig(t, memory.New(fl.opts()))
		f := r.far(0)
		for i := range 60 {
			f.write(fmt.Sprintf("d/f%02d", i), "1")
		}
		f.write("d/g", "of g")
		r.settle()
		want := r.tree()
		f.remove("d/f00")
		f.move("d/g", "d/f00")
		for i := range 59 {
			f.remove(fmt.Sprintf("d/f%02d", i+1))
		}
		r.must(r.cycle(r.legs()[0]))
		wantTree(t, r.tree(), want)
		if all := r.failed(); len(all) > 0 {
			t.Errorf("held is no error: %+v", all)
		}
		r.allow(r.legs()[0])
		r.settle()
		wantTree(t, r.agree(), map[string]string{"d/": "", "d/f00": "of g"})
	}
}
