package syncer

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/internal/ignore"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/memory"
)

// wantBoth lets the drive come to rest and checks what both sides have then.
func (r *rig) wantBoth(here, there map[string]string) {
	r.t.Helper()
	r.settle()
	t := r.t.(*testing.T)
	wantTree(t, r.tree(), here)
	wantTree(t, r.stores[0].Tree(), there)
}

// plus is a tree with more in it.
func plus(tree, more map[string]string) map[string]string {
	out := maps.Clone(tree)
	maps.Copy(out, more)
	return out
}

const someRules = "*.o\nbuild/\n!keep.o\n"

func TestIgnoreRules(t *testing.T) {
	base := map[string]string{cache.IgnoreName: someRules, "f": "1", "d/": "", "d/g": "2"}
	for name, run := range map[string]func(t *testing.T, r *rig, f *far){
		"what is made in the drive stays there": func(t *testing.T, r *rig, f *far) {
			r.write("a.o", "x")
			r.write("keep.o", "k")
			r.mkdir("d/build")
			r.write("d/build/keep.o", "y")
			r.write("build", "a file")
			r.wantBoth(plus(base, map[string]string{"a.o": "x", "keep.o": "k", "d/build/": "", "d/build/keep.o": "y", "build": "a file"}),
				plus(base, map[string]string{"keep.o": "k", "build": "a file"}))
		},
		"what is made at the endpoint stays there": func(t *testing.T, r *rig, f *far) {
			f.write("a.o", "x")
			f.write("keep.o", "k")
			f.write("d/build/sub/keep.o", "y")
			f.write("build", "a file")
			r.wantBoth(plus(base, map[string]string{"keep.o": "k", "build": "a file"}),
				plus(base, map[string]string{"a.o": "x", "keep.o": "k", "d/build/": "", "d/build/sub/": "", "d/build/sub/keep.o": "y", "build": "a file"}))
		},
		"new trees bring rules of their own": func(t *testing.T, r *rig, f *far) {
			f.write("n/"+cache.IgnoreName, "*.log\n")
			f.write("n/-.log", "x")
			f.write("n/m/b.log", "y")
			f.write("n/c", "z")
			r.wantBoth(plus(base, map[string]string{"n/": "", "n/" + cache.IgnoreName: "*.log\n", "n/m/": "", "n/c": "z"}),
				plus(base, map[string]string{"n/": "", "n/" + cache.IgnoreName: "*.log\n", "n/-.log": "x", "n/m/": "", "n/m/b.log": "y", "n/c": "z"}))
		},
		"what both have under an ignored name stays as it is": func(t *testing.T, r *rig, f *far) {
			r.write("a.o", "here")
			f.write("a.o", "there")
			r.wantBoth(plus(base, map[string]string{"a.o": "here"}), plus(base, map[string]string{"a.o": "there"}))
		},
		"without the file all of it is synced": func(t *testing.T, r *rig, f *far) {
			r.write("a.o", "x")
			r.mkdir("build")
			r.mkdir("build/s")
			r.write("build/s/b", "y")
			f.write("d/build/s/c", "z")
			f.write("b.o", "w")
			r.settle()
			r.remove(cache.IgnoreName)
			all := map[string]string{
				"f": "1", "d/": "", "d/g": "2", "a.o": "x", "build/": "", "build/s/": "", "build/s/b": "y", "d/build/": "", "d/build/s/": "", "d/build/s/c": "z", "b.o": "w",
			}
			r.wantBoth(all, all)
		},
		"a rule that the endpoint takes back is taken back here": func(t *testing.T, r *rig, f *far) {
			r.write("a.o", "x")
			f.write("build/c", "z")
			f.write("b.o", "w")
			r.settle()
			f.write(cache.IgnoreName, "build/\n")
			r.wantBoth(plus(base, map[string]string{cache.IgnoreName: "build/\n", "a.o": "x", "b.o": "w"}),
				plus(base, map[string]string{cache.IgnoreName: "build/\n", "a.o": "x", "b.o": "w", "build/": "", "build/c": "z"}))
		},
		"what is synced stays so under a new rule": func(t *testing.T, r *rig, f *far) {
			r.write(cache.IgnoreName, "g\nf\nd/\n")
			r.settle()
			r.write("f", "one")
			f.write("d/g", "two")
			r.settle()
			r.write("tmp", "eins")
			r.move("tmp", "f") // as editors save
			r.write("d/new", "here alone")
			want := map[string]string{cache.IgnoreName: "g\nf\nd/\n", "f": "eins", "d/": "", "d/g": "two"}
			r.wantBoth(plus(want, map[string]string{"d/new": "here alone"}), want)
			if v := r.keptThere(0)["f"]; v != "one" {
				t.Errorf("saving was no update of the file: the trash has %q", r.keptThere(0))
			}
			f.remove("d/g")
			r.wantBoth(map[string]string{cache.IgnoreName: "g\nf\nd/\n", "f": "eins", "d/": "", "d/new": "here alone"},
				map[string]string{cache.IgnoreName: "g\nf\nd/\n", "f": "eins", "d/": ""})
		},
		"saving by an ignored name is one update": func(t *testing.T, r *rig, f *far) {
			r.write("f.o", "new")
			r.settle()
			id, err := f.find("f")
			r.must(err)
			r.move("f.o", "f")
			r.wantBoth(plus(base, map[string]string{"f": "new"}), plus(base, map[string]string{"f": "new"}))
			if now, err := f.find("f"); err != nil || now.ID != id.ID {
				t.Errorf("it is another object: %v, %v, then %v", err, id.ID, now.ID)
			}
		},
		"saving with a backup under an ignored name is one update": func(t *testing.T, r *rig, f *far) {
			r.move("f", "f.o")
			r.write("f", "new")
			r.wantBoth(plus(base, map[string]string{"f": "new", "f.o": "1"}), plus(base, map[string]string{"f": "new"}))
			f.move("f", "old.o")
			f.write("f", "newer")
			r.wantBoth(plus(base, map[string]string{"f": "newer", "f.o": "1"}), plus(base, map[string]string{"f": "newer", "old.o": "new"}))
		},
		"what gets another name is synced": func(t *testing.T, r *rig, f *far) {
			r.mkdir("build")
			r.mkdir("build/s")
			r.write("build/s/b", "y")
			f.write("d/build/s/c", "z")
			r.settle()
			r.move("build", "src")
			f.move("d/build", "d/out")
			want := plus(base, map[string]string{"src/": "", "src/s/": "", "src/s/b": "y", "d/out/": "", "d/out/s/": "", "d/out/s/c": "z"})
			r.wantBoth(want, want)
		},
		"what gets an ignored name in the drive is gone at the endpoint": func(t *testing.T, r *rig, f *far) {
			r.move("f", "f.o")
			r.move("d", "build")
			r.wantBoth(map[string]string{cache.IgnoreName: someRules, "f.o": "1", "build/": "", "build/g": "2"}, map[string]string{cache.IgnoreName: someRules})
			r.move("f.o", "f")
			r.move("build", "d")
			r.wantBoth(base, base)
		},
		"what gets an ignored name at the endpoint is gone in the drive": func(t *testing.T, r *rig, f *far) {
			f.move("f", "f.o")
			f.move("d", "build")
			r.wantBoth(map[string]string{cache.IgnoreName: someRules}, map[string]string{cache.IgnoreName: someRules, "f.o": "1", "build/": "", "build/g": "2"})
			f.move("f.o", "f")
			f.move("build", "d")
			r.wantBoth(base, base)
		},
		"a directory that has an ignored name at the endpoint is looked into no more": func(t *testing.T, r *rig, f *far) {
			r.mkdir("d/e")
			r.write("d/e/x.o", "ours")
			r.write("d/e/h", "3")
			r.settle()
			f.write("d/e/x.o", "theirs")
			f.move("d", "build")
			f.write("build/g", "two")
			f.move("build/e/h", "build/e/i")
			f.move("f", "build/e/f")
			f.write("build/new", "n")
			left := map[string]string{cache.IgnoreName: someRules, "d/": "", "d/e/": "", "d/e/x.o": "ours"}
			there := map[string]string{
				cache.IgnoreName: someRules, "build/": "", "build/g": "two", "build/new": "n", "build/e/": "", "build/e/x.o": "theirs", "build/e/i": "3", "build/e/f": "1",
			}
			r.wantBoth(left, there)
			f.write("build/e/newer", "m")
			there["build/e/newer"] = "m"
			r.wantBoth(left, there)
			r.remove("d/e/x.o")
			r.wantBoth(map[string]string{cache.IgnoreName: someRules}, there)
		},
		"nobody hears of what is made below an ignored name at the endpoint": func(t *testing.T, r *rig, f *far) {
			r.mkdir("d/e")
			r.write("d/e/h", "3")
			r.settle()
			f.move("d", "build")
			r.settle()
			f.write("build/e/new", "n")
			f.write("build/e/h", "three")
			left := map[string]string{cache.IgnoreName: someRules, "f": "1"}
			r.wantBoth(left, plus(left, map[string]string{"build/": "", "build/g": "2", "build/e/": "", "build/e/h": "three", "build/e/new": "n"}))
		},
		"a directory that is here for what is ignored follows its own when the rule goes": func(t *testing.T, r *rig, f *far) {
			r.write("d/y.o", "ours")
			r.settle()
			f.move("d", "build")
			r.settle()
			r.remove(cache.IgnoreName)
			r.settle()
			if tree := r.agree(); tree["build/g"] != "2" || !tokens(tree)["ours"] {
				t.Errorf("both have %q", tree)
			}
		},
		"a directory comes back from an ignored name": func(t *testing.T, r *rig, f *far) {
			r.mkdir("d/e")
			r.write("d/e/h", "3")
			r.settle()
			f.move("d", "build")
			l := r.legs()[0]
			ep, err := l.check(context.Background())
			r.must(err)
			r.must(l.pull(context.Background(), ep, false))
			f.write("build/e/new", "n")
			f.move("build", "d")
			want := plus(base, map[string]string{"d/e/": "", "d/e/h": "3", "d/e/new": "n"})
			r.wantBoth(want, want)
		},
		"what moved to an ignored name is synced when the rule goes": func(t *testing.T, r *rig, f *far) {
			f.move("d", "build")
			f.move("f", "f.o")
			r.settle()
			r.remove(cache.IgnoreName)
			want := map[string]string{"f.o": "1", "build/": "", "build/g": "2"}
			r.wantBoth(want, want)
		},
		"a directory that has an ignored name in the drive is made again for what is new at the endpoint": func(t *testing.T, r *rig, f *far) {
			f.write("y.o", "new")
			r.settle()
			r.move("d", "build")
			f.move("y.o", "d/a")
			f.write("d/b", "newer")
			want := map[string]string{cache.IgnoreName: someRules, "f": "1", "d/": "", "d/a": "new", "d/b": "newer"}
			r.wantBoth(plus(want, map[string]string{"build/": "", "build/g": "2"}), want)
		},
		"a directory deleted in the drive is there for what is ignored in it": func(t *testing.T, r *rig, f *far) {
			f.write("d/e/x.o", "theirs")
			r.settle()
			r.remove("d")
			left := map[string]string{cache.IgnoreName: someRules, "f": "1", "d/": "", "d/e/": "", "d/e/x.o": "theirs"}
			r.wantBoth(map[string]string{cache.IgnoreName: someRules, "f": "1"}, left)
			f.write("d/e/new", "n")
			r.wantBoth(map[string]string{cache.IgnoreName: someRules, "f": "1", "d/": "", "d/e/": "", "d/e/new": "n"}, plus(left, map[string]string{"d/e/new": "n"}))
			r.remove("d")
			r.wantBoth(map[string]string{cache.IgnoreName: someRules, "f": "1"}, left)
			f.remove("d/e/x.o")
			r.wantBoth(map[string]string{cache.IgnoreName: someRules, "f": "1"}, map[string]string{cache.IgnoreName: someRules, "f": "1"})
		},
		"and comes back with it when it is ignored no more": func(t *testing.T, r *rig, f *far) {
			f.write("d/e/x.o", "theirs")
			r.settle()
			r.remove("d")
			r.settle()
			r.write(cache.IgnoreName, "")
			want := map[string]string{cache.IgnoreName: "", "f": "1", "d/": "", "d/e/": "", "d/e/x.o": "theirs"}
			r.wantBoth(want, want)
		},
		"a directory deleted at the endpoint is here for what is ignored in it": func(t *testing.T, r *rig, f *far) {
			r.mkdir("d/e")
			r.write("d/e/x.o", "ours")
			r.settle()
			f.remove("d")
			left := map[string]string{cache.IgnoreName: someRules, "f": "1", "d/": "", "d/e/": "", "d/e/x.o": "ours"}
			r.wantBoth(left, map[string]string{cache.IgnoreName: someRules, "f": "1"})
			r.write("d/e/new", "n")
			r.wantBoth(plus(left, map[string]string{"d/e/new": "n"}), map[string]string{cache.IgnoreName: someRules, "f": "1", "d/": "", "d/e/": "", "d/e/new": "n"})
			f.remove("d")
			r.wantBoth(left, map[string]string{cache.IgnoreName: someRules, "f": "1"})
			r.remove("d/e/x.o")
			r.wantBoth(map[string]string{cache.IgnoreName: someRules, "f": "1"}, map[string]string{cache.IgnoreName: someRules, "f": "1"})
		},
		"other patterns fit where a directory is moved to": func(t *testing.T, r *rig, f *far) {
			r.write(cache.IgnoreName, "/d/x\n/e/g\n")
			r.write("d/x", "x")
			f.write("d/x", "theirs")
			r.mkdir("d/s")
			r.settle()
			r.move("d", "e")
			r.settle()
			if tree := r.tree(); tree["e/x"] == "" || tree["e/g"] != "2" {
				t.Errorf("the drive has %q", tree)
			}
			r.agree()
		},
		"rules move with their file": func(t *testing.T, r *rig, f *far) {
			r.write("a.o", "x")
			r.write("d/b.o", "y")
			f.write("d/c.o", "z")
			r.settle()
			r.move(cache.IgnoreName, "d/"+cache.IgnoreName)
			want := map[string]string{"d/" + cache.IgnoreName: someRules, "f": "1", "d/": "", "d/g": "2", "a.o": "x"}
			r.wantBoth(plus(want, map[string]string{"d/b.o": "y"}), plus(want, map[string]string{"d/c.o": "z"}))
		},
		"a name that only a directory may not have": func(t *testing.T, r *rig, f *far) {
			f.write("build/x", "theirs")
			r.settle()
			r.write("build", "ours")
			r.settle()
			if there := r.stores[0].Tree(); there["build/x"] != "theirs" || !tokens(there)["ours"] || !tokens(r.tree())["ours"] {
				t.Errorf("here is %q, there %q", r.tree(), there)
			}
		},
		"a file takes the place of a directory with ignored files": func(t *testing.T, r *rig, f *far) {
			f.write("d/x.o", "theirs")
			r.settle()
			r.remove("d")
			r.write("d", "ours")
			r.settle()
			if there := tokens(r.stores[0].Tree()); !there["theirs"] || !there["ours"] || r.tree()["d"] != "ours" {
				t.Errorf("here is %q, there %q", r.tree(), r.stores[0].Tree())
			}
		},
		"a conduit that ignores nothing": func(t *testing.T, r *rig, f *far) {
			r.write("a.o", "x")
			r.write("b~", "a temporary")
			f.write("build/c.o", "z")
			r.settle()
			no, yes := false, true
			_, err := r.e.EditConduit("home", Edit{Settings: Settings{UseIndexRules: &no}})
			r.must(err)
			want := plus(base, map[string]string{"a.o": "x", "b~": "a temporary", "build/": "", "build/c.o": "z"})
			r.wantBoth(want, want)
			_, err = r.e.EditConduit("home", Edit{Settings: Settings{UseIndexRules: &yes}})
			r.must(err)
			r.write("build/d.o", "here alone")
			r.write("a.o", "still synced")
			want["a.o"] = "still synced"
			r.wantBoth(plus(want, map[string]string{"build/d.o": "here alone"}), want)
		},
		"an ignore file that cannot be read changes nothing": func(t *testing.T, r *rig, f *far) {
			r.write(cache.IgnoreName, strings.Repeat("#", ignoreMax)+"\nf*\n")
			r.write("a.o", "x")
			r.settle()
			if _, there := r.stores[0].Tree()["a.o"]; there {
				t.Error("the rules before it are gone")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, fl := range flavours() {
				t.Run(fl.name, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, memory.New(fl.opts()))
					f := r.far(0)
					r.settle()
					r.write(cache.IgnoreName, someRules)
					r.write("f", "1")
					r.mkdir("d")
					r.write("d/g", "2")
					r.wantBoth(base, base)
					run(t, r, f)
					restsIgnoring(r)
				})
			}
		})
	}
}

// restsIgnoring checks that nothing is done on a drive at rest, also after a crash and with all its work found anew.
func restsIgnoring(r *rig) {
	r.t.Helper()
	here, there := r.tree(), r.stores[0].Tree()
	r.reopen()
	l := r.legs()[0]
	r.rederive(l)
	ep, err := l.check(context.Background())
	r.must(err)
	r.must(l.pull(context.Background(), ep, true))
	var c counts
	_, _, err = l.generation(context.Background(), ep, &c, &syncCall{})
	r.must(err)
	if c != (counts{}) {
		r.t.Errorf("O7: at rest it did %+v", c)
	}
	r.wantBoth(here, there)
}

func TestAllMeanTheSameFile(t *testing.T) {
	t.Parallel()
	if cache.IgnoreName != remote.IgnoreName {
		t.Errorf("an ignore file is %q here, %q at endpoints", cache.IgnoreName, remote.IgnoreName)
	}
}

func TestFirstContactKnowsTheRules(t *testing.T) {
	t.Parallel()
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			store := memory.New(fl.opts())
			for p, v := range map[string]string{
				cache.IgnoreName: someRules, "!": "1", "-.o": "x", "build/y": "2", "d/" + cache.IgnoreName: "!*.o\n-*\n", "d/a.o": "y", "d/-": "z",
			} {
				if err := store.WriteFile(p, []byte(v)); err != nil {
					t.Fatal(err)
				}
			}
			there := store.Tree()
			r := newRig(t, store)
			r.wantBoth(map[string]string{cache.IgnoreName: someRules, "!": "1", "d/": "", "d/" + cache.IgnoreName: "!*.o\n-*\n", "d/a.o": "y"}, there)
			restsIgnoring(r)
		})
	}
}

func TestListsThatHoldEverywhere(t *testing.T) {
	t.Parallel()
	r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(flavours()[1].opts())}}
	r.ignore = []*ignore.List{ignore.Parse("built in", "*.part\n"), ignore.Parse("own", "*.log\n")}
	r.begin()
	f := r.far(0)
	f.write("a.part", "x")
	r.settle()
	r.write("b.log", "y")
	r.write("c", "z")
	r.wantBoth(map[string]string{"b.log": "y", "c": "z"}, map[string]string{"a.part": "x", "c": "z"})
	r.ignore = r.ignore[:1]
	r.reopen()
	r.wantBoth(map[string]string{"b.log": "y", "c": "z"}, map[string]string{"a.part": "x", "b.log": "y", "c": "z"})
	r.write(cache.IgnoreName, "!*.part\n")
	want := map[string]string{"a.part": "x", "b.log": "y", "c": "z", cache.IgnoreName: "!*.part\n"}
	r.wantBoth(want, want)
}

func TestWhatIsIgnoredAtAReplicaIsNoDrift(t *testing.T) {
	eachPolicy(t, mirror, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.write(cache.IgnoreName, someRules)
		r.mkdir("d")
		r.write("d/g", "2")
		r.settle()
		f.write("x.o", "theirs")
		f.write("build/y", "theirs too")
		f.write("d/z.o", "also")
		here := map[string]string{cache.IgnoreName: someRules, "d/": "", "d/g": "2"}
		there := plus(here, map[string]string{"x.o": "theirs", "build/": "", "build/y": "theirs too", "d/z.o": "also"})
		r.wantBoth(here, there)
		if n := r.drift(); n != 0 {
			t.Errorf("drift is %d", n)
		}
		r.remove("d")
		delete(there, "d/g")
		r.wantBoth(map[string]string{cache.IgnoreName: someRules}, there)
		r.write("x.o", "ours")
		f.write("e/w", "extra")
		r.wantBoth(map[string]string{cache.IgnoreName: someRules, "x.o": "ours"}, there)
		r.write(cache.IgnoreName, "")
		r.wantBoth(map[string]string{cache.IgnoreName: "", "x.o": "ours"}, map[string]string{cache.IgnoreName: "", "x.o": "ours"})
		if kept := r.keptThere(0); kept["x.o"] != "theirs" || kept["build/y"] != "theirs too" || kept["d/z.o"] != "also" {
			t.Errorf("of what was ignored the trash there has %q", kept)
		}
	})
}

// Directories that stay for what is ignored in them are no mass deletion, the second time they are looked at.
func TestWhatStaysForIgnoredFilesIsNoMassDelete(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	f := r.far(0)
	r.settle()
	r.write(cache.IgnoreName, someRules)
	for i := range 60 {
		r.mkdir(fmt.Sprint("d", i))
		r.write(fmt.Sprintf("d%d/x.o", i), "x")
	}
	r.settle()
	for i := range 60 {
		f.remove(fmt.Sprint("d", i))
	}
	l := r.legs()[0]
	r.must(r.cycle(l))
	if l.held == "" {
		t.Fatal("nothing is held")
	}
	_, err := l.cycle(context.Background(), true, &syncCall{done: make(chan error, 1), allowDeletes: true})
	r.must(err)
	for range 2 {
		r.must(r.cycle(l))
		if l.held != "" {
			t.Error(l.held)
		}
	}
	if n := len(r.tree()); n != 121 {
		t.Errorf("the drive has %d names", n)
	}
}

// TestRandomTracesIgnoring runs random histories in which some names are ignored: what is not settles, and nothing is lost.
func TestRandomTracesIgnoring(t *testing.T) {
	first := firstSeed(t)
	for i := range uint64(traces(t, 40)) {
		seed := first + i
		for k, fl := range flavours() {
			t.Run(fmt.Sprintf("seed %d %s", seed, fl.name), func(t *testing.T) {
				t.Parallel()
				r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(fl.opts())}}
				r.ignore = []*ignore.List{ignore.Parse("everywhere", "*.o\nbuild/\n")}
				r.begin()
				tr := &trace{
					blind: make([]bool, 2), r: r, rng: rand.New(rand.NewPCG(seed, uint64(k))), names: []string{"a", "b", "c", "x.o", "y.o", "build"},
				}
				defer tr.tell(t, seed)
				tr.runIgnoring()
			})
		}
	}
}

// hidden reports whether a path of a trace is ignored. Paths of directories end with a slash.
func hidden(p string) bool {
	for at := strings.TrimSuffix(p, "/"); at != "."; at = path.Dir(at) {
		if path.Ext(at) == ".o" || path.Base(at) == "build" && (at != p) {
			return true
		}
	}
	return false
}

func (tr *trace) runIgnoring() {
	r := tr.r
	tr.sides = []side{r, r.far(0)}
	for range 4 {
		r.settle()
		tr.sameButHidden()
		was := tr.union()
		var after []map[string]string
		for i, s := range tr.sides {
			for range tr.rng.IntN(7) {
				tr.step(i, s)
			}
			after = append(after, s.tree())
		}
		tr.disturb()
		r.settle()
		is := tr.union()
		for i, tree := range after {
			for tok := range tokens(tree) {
				if !was[tok] && !is[tok] {
					r.t.Errorf("O2: %s, written on side %d, is lost; there is %v", tok, i, is)
				}
			}
		}
		for tok := range was {
			if tokens(after[0])[tok] && tokens(after[1])[tok] && !is[tok] {
				r.t.Errorf("O2: %s was on every side and is lost; there is %v", tok, is)
			}
		}
	}
	tr.sameButHidden()
	restsIgnoring(r)
	r.ignore = nil
	tr.note("nothing is ignored any more")
	r.reopen()
	r.settle()
	r.agree()
}

// union is all contents of all sides.
func (tr *trace) union() map[string]bool {
	out := map[string]bool{}
	for _, s := range tr.sides {
		maps.Copy(out, tokens(s.tree()))
	}
	return out
}

// sameButHidden checks that both sides have the same, but for what is ignored and the directories that are there for it.
func (tr *trace) sameButHidden() {
	tr.r.t.Helper()
	trees := []map[string]string{tr.sides[0].tree(), tr.sides[1].tree()}
	for i, tree := range trees {
		other := trees[1-i]
		for p, v := range tree {
			w, both := other[p]
			holds := strings.HasSuffix(p, "/") && slices.ContainsFunc(slices.Collect(maps.Keys(tree)), func(q string) bool {
				return strings.HasPrefix(q, p) && hidden(q)
			})
			if !hidden(p) && (!both && !holds || both && v != w) {
				tr.r.t.Errorf("side %d has %s %q: here is %q, there %q", i, p, v, trees[0], trees[1])
			}
		}
	}
}
