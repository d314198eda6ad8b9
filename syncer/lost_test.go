package syncer

import (
	"testing"

	"vdfs/syncer/remote/faulty"
)

// TestWhatMovesBehindAListingIsFollowed moves a file from a directory that is about to be listed to one that was listed before.
func TestWhatMovesBehindAListingIsFollowed(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		f.mkdir("d")
		f.write("d/f", "what is in it")
		f.write("d/other", "other")
		r.settle()
		if r.read("d/f"); l.caps.Feed || !l.caps.Idents {
			t.Skip("nothing is listed, or nothing tells this file from another")
		}
		was := r.find("d/f").Ino
		f.write("new", "new")
		f.write("d/other", "changed")
		r.script.Add(faulty.Rule{Method: faulty.List, Nth: 2, Before: func() { f.move("d/f", "g") }})
		r.must(r.alone(l))
		r.script.Clear()
		r.settle()
		if e := r.find("g"); e.Ino != was {
			t.Errorf("what moved is node %d and was %d", e.Ino, was)
		}
		wantTree(t, r.agree(), map[string]string{"d/": "", "d/other": "changed", "g": "what is in it", "new": "new"})
	})
}
