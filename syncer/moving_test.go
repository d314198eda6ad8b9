package syncer

import (
	"errors"
	"path"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// twoDirectories is a drive of an endpoint that goes by paths, with two directories that have a file each, whose name is what it holds.
func twoDirectories(t *testing.T, files ...string) (*rig, *far) {
	o := flavours()[1].opts()
	o.Caps.Idempotent = false // as a directory is
	r := newRig(t, memory.New(o))
	f := r.far(0)
	for _, file := range files {
		f.mkdir(path.Dir(file))
		f.write(file, strings.ToUpper(path.Base(file)))
	}
	return r, f
}

// leadsTo matches calls that lead to a path.
func leadsTo(p string) func(c faulty.Call) bool {
	return func(c faulty.Call) bool {
		a, ok := remote.ParseAddress(c.ID)
		return ok && a.Path == p
	}
}

// TestADirectoryIsMovedBeforeItIsListed has another directory take the place of one between the look at its parent and its own
// listing: what the other holds is no news of it.
func TestADirectoryIsMovedBeforeItIsListed(t *testing.T) {
	change := func(_ *rig, f *far) { f.write("p/z", "Z") }
	for name, look := range map[string]func(r *rig, f *far){
		"for a hint": change,
		"in a scan": func(r *rig, _ *far) {
			r.must(r.c.Update(0, func(tx *cache.Tx) error {
				row, _, err := tx.Leg(r.legs()[0].id)
				row.Cursor = ""
				return errors.Join(err, tx.UpdateLeg(row))
			}))
		},
		"for the first time": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, f := twoDirectories(t, "p/y", "q/w")
			var y cache.Ino
			if look == nil {
				r.list()
			} else {
				r.settle()
				y = r.find("p/y").Ino
				look(r, f)
			}
			r.script.Add(faulty.Rule{
				Method: faulty.List, Match: leadsTo("p"), Nth: 1,
				Before: func() { f.move("p", "r"); f.move("q", "p") },
			})
			r.settle()
			r.settle() // the hints of the moves come with the next look
			tree := r.agree()
			if tree["r/y"] != "Y" || tree["p/w"] != "W" {
				t.Errorf("the drive has %v", tree)
			}
			if now := r.find("r/y").Ino; y != 0 && now != y {
				t.Errorf("the moved file was node %d and is %d", y, now)
			}
		})
	}
}

// TestOneThatCameToAnothersNameIsNotTakenForBoth has it known of two directories that they are at one name: the endpoint has one
// of them there, and the other is gone.
func TestOneThatCameToAnothersNameIsNotTakenForBoth(t *testing.T) {
	for name, move := range map[string]func(f *far){
		"the one that came": func(f *far) { f.remove("d"); f.move("e", "d") },
		"the one before":    func(f *far) { f.remove("e") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, f := twoDirectories(t, "d/x", "e/y")
			r.settle()
			l, e := r.legs()[0], r.find("e").ID
			r.must(r.c.Update(l.id, func(tx *cache.Tx) error {
				b, _, err := tx.BindingOfDentry(l.id, e)
				if err != nil {
					return err
				}
				o, err := l.fromBase(tx, b)
				if err != nil {
					return err
				}
				o.Name = "d"
				return tx.PutObserved(*o)
			}))
			move(f)
			r.settle()
			r.settle()
			r.agree()
		})
	}
}

// TestAWriteIsNotMadeInADirectoryThatTookThePlaceOfAnother has a directory moved away, and another one come to its path, at the
// very moment of a write that was meant for it: what was looked at before was the right one still.
func TestAWriteIsNotMadeInADirectoryThatTookThePlaceOfAnother(t *testing.T) {
	for name, c := range map[string]struct {
		write func(r *rig)
		rule  faulty.Rule
		want  map[string]string // besides p/w and r
	}{
		"a file": {
			func(r *rig) { r.write("p/new", "NEW") },
			faulty.Rule{Method: faulty.Put, Match: leadsTo("p")},
			map[string]string{"r/y": "Y", "r/new": "NEW", "m": "M"},
		},
		"a directory with a file": {
			func(r *rig) { r.mkdir("p/d"); r.write("p/d/new", "NEW") },
			faulty.Rule{Method: faulty.Mkdir, Match: leadsTo("p")},
			map[string]string{"r/y": "Y", "r/d/": "", "r/d/new": "NEW", "m": "M"},
		},
		"a file two below": {
			func(r *rig) { r.write("p/s/new", "NEW") },
			faulty.Rule{Method: faulty.Put, Match: leadsTo("p/s")},
			map[string]string{"r/y": "Y", "r/s/new": "NEW", "m": "M"},
		},
		"a file whose new bytes are sent": {
			func(r *rig) { r.write("p/y", "YY") },
			faulty.Rule{Method: faulty.Put, Match: leadsTo("p/y")},
			map[string]string{"r/y": "YY", "m": "M"},
		},
		"a move": {
			func(r *rig) { r.move("m", "p/m") },
			faulty.Rule{Method: faulty.Update, Match: leadsTo("m")},
			map[string]string{"r/y": "Y", "r/m": "M"},
		},
		"a deletion": {
			func(r *rig) { r.remove("p/y") },
			faulty.Rule{Method: faulty.Stat, Match: leadsTo("p/y")},
			map[string]string{"m": "M"},
		},
		"a file, and the reply is lost": {
			func(r *rig) { r.write("p/new", "NEW") },
			faulty.Rule{Method: faulty.Put, Match: leadsTo("p"), After: remote.ErrUnknown},
			map[string]string{"r/y": "Y", "r/new": "NEW", "m": "M"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, f := twoDirectories(t, "p/y", "q/w")
			f.write("m", "M")
			f.mkdir("p/s")
			f.mkdir("q/s")
			r.settle()
			y := r.find("p/y").Ino
			swap := func() { f.move("p", "r"); f.move("q", "p") }
			if c.rule.Nth = 1; c.rule.After != nil {
				c.rule.Then = swap
			} else {
				c.rule.Before = swap
			}
			r.script.Add(c.rule)
			c.write(r)
			r.settle()
			r.settle() // the hints of the moves come with the next look
			for p, data := range map[string]string{"p/": "", "p/s/": "", "p/w": "W", "r/": "", "r/s/": ""} {
				c.want[p] = data
			}
			wantTree(t, r.agree(), c.want)
			if now, err := r.lookup("r/y"); err == nil && now.Ino != y {
				t.Errorf("the moved file was node %d and is %d", y, now.Ino)
			}
			if rows, _ := r.conflicts(); len(rows) != 0 {
				t.Errorf("conflicts: %+v", rows)
			}
		})
	}
}

// TestABaseWithoutADirectoryIsNoRoot writes the base of a file again after that of its directory was dropped.
func TestABaseWithoutADirectoryIsNoRoot(t *testing.T) {
	t.Parallel()
	r, _ := twoDirectories(t, "p/y")
	r.settle()
	l, dirID, fileID := r.legs()[0], r.find("p").ID, r.find("p/y").ID
	r.must(r.c.Update(l.id, func(tx *cache.Tx) error {
		dir, _, err := tx.BindingOfDentry(l.id, dirID)
		file, _, ferr := tx.BindingOfDentry(l.id, fileID)
		root, _, rerr := tx.RootBinding(l.id)
		if err := errors.Join(err, ferr, rerr, tx.DeleteBinding(dir.ID)); err != nil {
			return err
		}
		st, err := l.step(tx, &counts{})
		if err != nil {
			return err
		}
		b, _, err := st.Binding(plan.BindingID(file.ID))
		if err != nil {
			return err
		}
		err = st.apply(plan.Op{Kind: plan.OpAgree, Object: plan.File, Binding: b.ID, After: b})
		now, _, nerr := tx.Binding(file.ID)
		if err := errors.Join(err, nerr); err != nil {
			return err
		}
		if now.Parent != cache.NoParent {
			t.Errorf("its directory is binding %d, and the root's is %d", now.Parent, root.ID)
		}
		return nil
	}))
}

// TestAWriteWhoseDirectoryIsDeletedIsMadeAnew deletes a directory when a file has come there, and nobody heard of that.
func TestAWriteWhoseDirectoryIsDeletedIsMadeAnew(t *testing.T) {
	for name, c := range map[string]struct {
		dir   string
		after func(f *far)
		want  string // what the path begins with
	}{
		"and that is all":           {"p", func(*far) {}, "p/"},
		"and another one is there":  {"p", func(f *far) { f.mkdir("p") }, "p/"},
		"and its parent, too":       {"o/deep", func(f *far) { f.remove("o") }, "o/deep/"},
		"and one comes from beside": {"p", func(f *far) { f.move("o/q", "p") }, "p (conflict"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, f := twoDirectories(t, "o/x", "o/q/w", "p/y")
			f.mkdir("o/deep")
			r.settle()
			r.script.Add(faulty.Rule{
				Method: faulty.Put, Match: leadsTo(c.dir), Nth: 1, After: remote.ErrUnknown,
				Then: func() { f.remove(c.dir); c.after(f) },
			})
			r.write(c.dir+"/new", "NEW")
			r.settle()
			r.settle()
			tree := r.agree()
			for p, data := range tree {
				if data == "NEW" && strings.HasPrefix(p, c.want) && strings.HasSuffix(p, "/new") {
					return
				}
			}
			t.Errorf("the drive has %v", tree)
		})
	}
}

// TestABaseWithoutAFingerprintGoesByItsPath has a base of a time when nothing was known of a directory but its path.
func TestABaseWithoutAFingerprintGoesByItsPath(t *testing.T) {
	t.Parallel()
	r, f := twoDirectories(t, "p/y")
	r.settle()
	l, p := r.legs()[0], r.find("p").ID
	r.must(r.c.Update(l.id, func(tx *cache.Tx) error {
		b, _, err := tx.BindingOfDentry(l.id, p)
		b.Ident = ""
		return errors.Join(err, tx.PutBinding(&b))
	}))
	r.write("p/new", "NEW")
	f.write("p/theirs", "THEIRS")
	r.settle()
	wantTree(t, r.agree(), map[string]string{"p/": "", "p/y": "Y", "p/new": "NEW", "p/theirs": "THEIRS"})
}
