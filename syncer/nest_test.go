package syncer

import (
	"context"
	"testing"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/memory"
)

// TestDirectoriesThatChangePlacesAtTheEndpoint moves directories so that what is at a path now is not what was known there: a
// listing of the path tells of another directory than the one that was meant.
func TestDirectoriesThatChangePlacesAtTheEndpoint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		base  []string
		moves [][2]string
	}{
		"a directory and its child": {
			[]string{"c/a", "c/a/b", "c/a/b/d"}, [][2]string{{"c/a/b", "c/t"}, {"c/a", "c/t/b"}, {"c/t", "c/a"}},
		},
		"at the top": {[]string{"a", "a/b", "a/b/d"}, [][2]string{{"a/b", "t"}, {"a", "t/b"}, {"t", "a"}}},
		"a directory and what is two below": {
			[]string{"c/a", "c/a/b", "c/a/b/d"}, [][2]string{{"c/a/b/d", "c/t"}, {"c/a", "c/t/b"}, {"c/t", "c/a"}},
		},
		"into a new one of its name": {
			[]string{"c/a", "c/a/b"}, [][2]string{{"c/a", "c/t"}, {"c/n", "c/a"}, {"c/t", "c/a/a"}},
		},
		"one into the other": {[]string{"c/a", "c/b"}, [][2]string{{"c/a", "c/b/a"}, {"c/b", "c/a"}}},
		"two names":          {[]string{"c/a", "c/a/x", "c/b", "c/b/x"}, [][2]string{{"c/a", "c/t"}, {"c/b", "c/a"}, {"c/t", "c/b"}}},
	} {
		for _, fl := range flavours() {
			t.Run(name+", "+fl.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, memory.New(fl.opts()))
				f := r.far(0)
				for _, dir := range append([]string{"c", "c/n"}, c.base...) {
					f.mkdir(dir)
					f.write(dir+"/file", "in "+dir)
				}
				r.settle()
				for _, m := range c.moves {
					f.move(m[0], m[1])
				}
				want := f.tree()
				r.settle()
				wantTree(t, r.agree(), want)
			})
		}
	}
}

// TestASymlinkThatMovedIsKnownAgain has another symlink take the name of one that moved: the one that was deleted here is
// the one that moved, and what has its name now is new.
func TestASymlinkThatMovedIsKnownAgain(t *testing.T) {
	t.Parallel()
	for _, fl := range flavours()[:2] { // those that tell objects apart
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			f := r.far(0)
			link := func(p, target string) {
				st, err := f.ep.Check(context.Background())
				r.must(err)
				_, err = f.ep.Mkdir(context.Background(), st.Root, p, remote.Attr{Target: target}, "")
				r.must(err)
			}
			link("f", "old")
			r.settle()
			r.remove("f")
			f.mkdir("e")
			f.move("f", "e/e")
			link("f", "new")
			r.settle()
			wantTree(t, r.agree(), map[string]string{"e/": "", "f": "-> new"})
		})
	}
}
