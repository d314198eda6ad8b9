package syncer

import (
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote/memory"
)

// lines merges texts whose lines were changed on one side each, and none added.
func lines(base, ours, theirs []byte) ([]byte, bool) {
	b, o, t := strings.Split(string(base), "\n"), strings.Split(string(ours), "\n"), strings.Split(string(theirs), "\n")
	if len(o) != len(b) || len(t) != len(b) {
		return nil, false
	}
	for i := range b {
		switch {
		case o[i] == b[i]:
			o[i] = t[i]
		case t[i] != b[i] && t[i] != o[i]:
			return nil, false
		}
	}
	return []byte(strings.Join(o, "\n")), true
}

// eachMerge is eachPolicy with an engine that merges.
func eachMerge(t *testing.T, s Spec, run func(t *testing.T, r *rig, f *far)) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(fl.opts())}, merge: lines}
			r.open()
			t.Cleanup(func() { r.must(r.c.Close()) })
			named := s // each flavour runs beside the others
			named.Name = "home"
			_, err := r.e.CreateConduit(t.Context(), named)
			r.must(err)
			run(t, r, r.far(0))
		})
	}
}

// TestTwoEditsOfATextAreMerged has the drive's edit made in each of the ways in which programs save.
func TestTwoEditsOfATextAreMerged(t *testing.T) {
	for name, save := range map[string]func(r *rig, data string){
		"truncated and written": func(r *rig, data string) { r.write("f.txt", data) },
		"renamed over":          func(r *rig, data string) { r.write("tmp~", data); r.move("tmp~", "f.txt") },
		"written in place": func(r *rig, data string) {
			f, err := r.c.OpenFile(r.find("f.txt").Ino, true)
			r.must(err)
			_, err = f.WriteAt([]byte(data), 0)
			r.must(err)
			r.must(f.Close())
		},
		"twice": func(r *rig, data string) { r.write("f.txt", "1\n2\nx"); r.write("f.txt", data) },
	} {
		for _, origin := range []string{"drive", "endpoint"} {
			t.Run(name+", made in the "+origin, func(t *testing.T) {
				eachMerge(t, strategyOf("merge"), func(t *testing.T, r *rig, f *far) {
					if r.settle(); origin == "drive" {
						r.write("f.txt", "1\n2\n3")
					} else {
						f.write("f.txt", "1\n2\n3")
					}
					r.settle()
					r.read("f.txt")
					save(r, "1\n2\nmine")
					f.write("f.txt", "theirs\n2\n3")
					r.reopen()
					r.settle()
					wantTree(t, r.agree(), map[string]string{"f.txt": "theirs\n2\nmine"})
					r.wantRecord("modify-on-modify resolved /f.txt")
					kept := map[string]bool{}
					r.must(r.c.View(func(tx *cache.Tx) error {
						rows, err := tx.Trash(0, 100)
						for _, row := range rows {
							kept[r.content(row.Content)] = true
						}
						return err
					}))
					if !kept["1\n2\nmine"] || !kept["1\n2\n3"] || r.keptThere(0)["f.txt"] != "theirs\n2\n3" {
						t.Errorf("not all that was merged can be had: here %v, there %q", kept, r.keptThere(0))
					}
				})
			})
		}
	}
}

func TestWhatCannotBeMergedIsKeptBesideTheOther(t *testing.T) {
	for name, c := range map[string]struct{ base, mine, theirs string }{
		"the same line": {"1\n2", "mine\n2", "theirs\n2"},
		"both new":      {"", "mine\n2", "theirs\n2"},
		"too large":     {"1\n2", "1\n" + strings.Repeat("2", mergeMax), "theirs\n2"},
	} {
		t.Run(name, func(t *testing.T) {
			eachMerge(t, strategyOf("merge"), func(t *testing.T, r *rig, f *far) {
				if r.settle(); c.base != "" {
					r.write("f.txt", c.base)
					r.settle()
				}
				r.write("f.txt", c.mine)
				f.write("f.txt", c.theirs)
				r.settle()
				tree := r.agree()
				if tree["f.txt"] != c.theirs || len(tree) != 2 {
					t.Errorf("the tree is %.100q", tree)
				}
				r.wantLoser(tree, c.mine, besideIt)
				if r.decided(r.find("f.txt").ID) {
					t.Error("that it could not be merged is noted for ever")
				}
			})
		})
	}
}

// TestABaseIsKeptOnlyWhileItMayBeNeeded looks into the trash while files are changed that nobody else has changed.
func TestABaseIsKeptOnlyWhileItMayBeNeeded(t *testing.T) {
	eachMerge(t, strategyOf("", cache.Rule{Pattern: "*.txt", Strategy: "merge"}), func(t *testing.T, r *rig, _ *far) {
		r.settle()
		r.write("f.txt", "base")
		r.settle()
		r.write("f.txt", "mine")
		if kept := r.kept(); len(kept) != 1 || kept["/f.txt"] != "base" {
			t.Errorf("while it is changed the trash has %q", kept)
		}
		r.settle()
		if kept := r.kept(); len(kept) != 0 {
			t.Errorf("when it is sent the trash has %q", kept)
		}
	})
}
