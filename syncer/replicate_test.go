package syncer

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

var mirror = Spec{Source: "drive:/", Target: "mem:0", Policy: "mirror"}

// drift is how often something was undone at the endpoint, as the conduit and its history have it.
func (r *rig) drift() int64 {
	r.t.Helper()
	all, err := r.e.Status()
	r.must(err)
	sum := int64(0)
	for _, g := range r.generations() {
		sum += g.Drift
	}
	if all[0].Drift != sum {
		r.t.Errorf("the conduit says %d, its history %d", all[0].Drift, sum)
	}
	if (sum > 0) != strings.Contains(fmt.Sprint(all[0].Notes), "only follows") {
		r.t.Errorf("drift %d is told as %q", sum, all[0].Notes)
	}
	return sum
}

func TestAReplicaFollowsTheDrive(t *testing.T) {
	eachPolicy(t, mirror, func(t *testing.T, r *rig, f *far) {
		r.mkdir("d")
		r.write("d/f", "1")
		r.write("g", "2")
		r.symlink("s", "g")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"d/": "", "d/f": "1", "g": "2", "s": "-> g"})
		r.move("d", "e")
		r.write("e/f", "one")
		r.remove("g")
		r.remove("s")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"e/": "", "e/f": "one"})
		if n := r.drift(); n != 0 {
			t.Errorf("drift is %d", n)
		}
	})
}

// TestWhatIsDoneAtAReplicaIsUndone plays each thing that somebody may do at a target.
func TestWhatIsDoneAtAReplicaIsUndone(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(f *far)
		kept  map[string]string
		drift int64
	}{
		{"an edit", func(f *far) { f.write("d/f", "theirs") }, map[string]string{"d/f": "theirs"}, 1},
		{"an edit of the same size", func(f *far) { f.write("d/f", "2") }, map[string]string{"d/f": "2"}, 1},
		{"a deletion", func(f *far) { f.remove("d/f") }, nil, 1},
		{"a deletion of all", func(f *far) { f.remove("d"); f.remove("g") }, nil, 0},
		{"a new file", func(f *far) { f.write("d/new", "theirs") }, map[string]string{"d/new": "theirs"}, 1},
		{"a new tree", func(f *far) { f.write("x/y/z", "theirs"); f.mkdir("x/e") }, map[string]string{"x/y/z": "theirs"}, 4},
		{"a rename", func(f *far) { f.move("d/f", "h") }, nil, 1},
		{"a directory renamed", func(f *far) { f.move("d", "h") }, nil, 1},
		{"a mode", func(f *far) { mode := uint32(0o755); f.patch("g", remote.Patch{Mode: &mode}) }, nil, 1},
		{"a file in the place of a directory", func(f *far) { f.remove("d"); f.write("d", "theirs") }, map[string]string{"d": "theirs"}, 0},
		{"a directory in the place of a file", func(f *far) { f.remove("g"); f.write("g/x", "theirs") }, map[string]string{"g/x": "theirs"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachPolicy(t, mirror, func(t *testing.T, r *rig, f *far) {
				r.mkdir("d")
				r.write("d/f", "1")
				r.write("g", "3")
				r.settle()
				want := r.agree()
				c.do(f)
				r.settle()
				wantTree(t, r.agree(), want)
				kept := r.keptThere(0)
				for p, v := range c.kept {
					if kept[p] != v {
						t.Errorf("of what was lost the trash there has %q, not %s: %q", kept, p, v)
					}
				}
				n := r.drift()
				if c.drift != 0 && n != c.drift && !strings.Contains(t.Name(), "without_fingerprints") || n == 0 {
					t.Errorf("drift is %d", n)
				}
				if rows, _ := r.conflicts(); len(rows) != 0 {
					t.Errorf("there are conflicts: %+v", rows)
				}
				seen := r.stores[0].Kept()
				r.once()
				if again := r.stores[0].Kept(); len(again) != len(seen) || r.drift() != n {
					t.Error("it does not come to rest")
				}
			})
		})
	}
}

// TestAReplicaBeginsWithWhatIsThere joins a target that has some of the files, some others, and some of its own.
func TestAReplicaBeginsWithWhatIsThere(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(fl.opts())}}
			r.open()
			t.Cleanup(func() { r.must(r.c.Close()) })
			f := r.far(0)
			r.mkdir("d")
			r.write("d/same", "equal")
			r.write("d/other", "mine")
			r.write("new", "mine")
			f.write("d/same", "equal")
			f.write("d/other", "theirs is longer")
			f.write("d/extra", "theirs")
			f.write("x/deep/extra", "theirs")
			s := mirror
			s.Name = "home"
			_, err := r.e.CreateConduit(t.Context(), s)
			r.must(err)
			r.settle()
			wantTree(t, r.agree(), map[string]string{"d/": "", "d/same": "equal", "d/other": "mine", "new": "mine"})
			kept := r.keptThere(0)
			for p, v := range map[string]string{"d/other": "theirs is longer", "d/extra": "theirs", "x/deep/extra": "theirs"} {
				if kept[p] != v {
					t.Errorf("the trash there has %q, and not %s", kept, p)
				}
			}
			if _, again := kept["d/same"]; again {
				t.Error("what was equal was sent")
			}
		})
	}
}

// TestATargetWithMuchOfItsOwnIsHeld is what keeps the wrong directory from being emptied.
func TestATargetWithMuchOfItsOwnIsHeld(t *testing.T) {
	const extra = 60
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(fl.opts())}}
			r.open()
			t.Cleanup(func() { r.must(r.c.Close()) })
			f := r.far(0)
			for i := range extra { // all of it in one directory: that counts with what is in it
				f.write(fmt.Sprintf("theirs/a/%02d", i), "theirs")
			}
			r.write("mine", "mine")
			s := mirror
			s.Name = "home"
			_, err := r.e.CreateConduit(t.Context(), s)
			r.must(err)
			for range 4 {
				r.once()
			}
			tree := f.tree()
			if len(tree) != extra+3 || tree["mine"] != "mine" {
				t.Fatalf("the target has %d objects: %v", len(tree), tree)
			}
			_, state, blocked, err := r.legs()[0].standing()
			if err != nil || state != SyncHeld || len(blocked) != 1 || !strings.Contains(blocked[0].Reason, "--allow-deletes") {
				t.Errorf("a run ends %s: %v %v", state, blocked, err)
			}
			r.allow(r.legs()[0])
			r.settle()
			wantTree(t, r.agree(), map[string]string{"mine": "mine"})
			if kept := r.keptThere(0); kept["theirs/a/07"] != "theirs" {
				t.Error("what was removed is not in the trash there")
			}
		})
	}
}

func TestATargetThatKeepsWhatTheDriveLacks(t *testing.T) {
	s := mirror
	s.KeepExtra = true
	eachPolicy(t, s, func(t *testing.T, r *rig, f *far) {
		f.write("theirs", "theirs")
		f.write("x/theirs", "theirs")
		r.write("mine", "1")
		r.write("gone", "1")
		for range 3 {
			r.once()
		}
		r.remove("gone")
		f.write("mine", "edited")
		for range 4 {
			r.once()
		}
		wantTree(t, f.tree(), map[string]string{"theirs": "theirs", "x/": "", "x/theirs": "theirs", "mine": "1", "gone": "1"})
		wantTree(t, r.tree(), map[string]string{"mine": "1"})
		if wait, state, blocked, err := r.legs()[0].standing(); err != nil || wait != 0 || state != SyncDone {
			t.Errorf("a run ends %s after %v: %v %v", state, wait, blocked, err)
		}
	})
}

// eachKeeping has a target that keeps what the drive lacks, with a directory of two files.
func eachKeeping(t *testing.T, run func(t *testing.T, r *rig, f *far)) {
	s := mirror
	s.KeepExtra = true
	eachPolicy(t, s, func(t *testing.T, r *rig, f *far) {
		r.mkdir("d")
		r.write("d/a", "A")
		r.write("d/b", "B")
		for range 3 {
			r.once()
		}
		run(t, r, f)
	})
}

// TestWhatATargetKeepsIsNotLeftParked deletes in the drive what is being swapped, when one of the two is out of the way.
func TestWhatATargetKeepsIsNotLeftParked(t *testing.T) {
	eachKeeping(t, func(t *testing.T, r *rig, f *far) {
		r.exchange("d/a", "d/b")
		parked := false
		r.script.Add(faulty.Rule{
			Method: faulty.Update, Nth: 1, Match: func(c faulty.Call) bool { return strings.HasPrefix(c.Name, remote.ParkPrefix) },
			Then: func() { parked = true; r.remove("d") },
		})
		for range 5 {
			r.once()
		}
		if !parked {
			t.Fatal("nothing was parked")
		}
		wantTree(t, f.tree(), map[string]string{"d/": "", "d/a": "A", "d/b": "B"})
		if kept := r.keptThere(0); len(kept) > 0 {
			t.Errorf("the trash there has %v", kept)
		}
	})
}

// TestWhatLeavesADirectoryThatATargetKeepsIsMoved moves a file out of a directory that is then deleted in the drive, and whose
// turn comes first.
func TestWhatLeavesADirectoryThatATargetKeepsIsMoved(t *testing.T) {
	eachKeeping(t, func(t *testing.T, r *rig, f *far) {
		sent := len(r.script.Calls(faulty.Put))
		r.chmod("d", 0o700)
		r.move("d/a", "a")
		r.remove("d")
		for range 4 {
			r.once()
		}
		wantTree(t, f.tree(), map[string]string{"a": "A", "d/": "", "d/b": "B"})
		if now := len(r.script.Calls(faulty.Put)); now > sent {
			t.Errorf("%d files were sent again", now-sent)
		}
	})
}

// TestADriveThatFollowsIsReadOnly mirrors an endpoint into the drive.
func TestADriveThatFollowsIsReadOnly(t *testing.T) {
	eachPolicy(t, Spec{Source: "mem:0", Target: "drive:/Mirror", Policy: "replicate"}, func(t *testing.T, r *rig, f *far) {
		f.write("d/f", "1")
		f.write("g", "2")
		r.settle()
		want := map[string]string{"Mirror/": "", "Mirror/d/": "", "Mirror/d/f": "1", "Mirror/g": "2"}
		wantTree(t, r.tree(), want)
		r.write("own", "outside of it")
		dir, sub, file := r.find("Mirror").Ino, r.find("Mirror/d").Ino, r.find("Mirror/g").Ino
		mode := uint32(0o600)
		for name, do := range map[string]func() error{
			"create":        func() error { _, _, err := r.c.Create(dir, "new", 0o644, nobody); return err },
			"mkdir":         func() error { _, err := r.c.Mkdir(sub, "new", 0o755, nobody); return err },
			"mknod":         func() error { _, err := r.c.Mknod(dir, "p", cache.Fifo, 0o644, 0, nobody); return err },
			"symlink":       func() error { _, err := r.c.Symlink(dir, "new", "to", nobody); return err },
			"link":          func() error { _, err := r.c.Link(file, dir, "new"); return err },
			"unlink":        func() error { return r.c.Unlink(dir, "g") },
			"rmdir":         func() error { return r.c.Rmdir(dir, "d") },
			"rename":        func() error { return r.c.Rename(dir, "g", dir, "h", 0) },
			"rename out":    func() error { return r.c.Rename(dir, "g", cache.RootIno, "h", 0) },
			"rename in":     func() error { return r.c.Rename(cache.RootIno, "own", dir, "own", 0) },
			"open to write": func() error { _, err := r.c.OpenFile(file, true); return err },
			"chmod":         func() error { _, err := r.c.SetAttr(file, cache.Attrs{Mode: &mode}); return err },
			"chmod a dir":   func() error { _, err := r.c.SetAttr(sub, cache.Attrs{Mode: &mode}); return err },
			"truncate":      func() error { _, err := r.c.SetAttr(file, cache.Attrs{Size: new(int64)}); return err },
			"setxattr":      func() error { return r.c.SetXattr(file, "user.x", []byte("1"), 0) },
			"removexattr":   func() error { return r.c.RemoveXattr(file, "user.x") },
		} {
			if err := do(); !errors.Is(err, cache.ErrReadOnly) {
				t.Errorf("%s: %v", name, err)
			}
		}
		f.write("d/f", "one")
		f.write("new", "3")
		f.remove("g")
		r.settle()
		want = map[string]string{"Mirror/": "", "Mirror/d/": "", "Mirror/d/f": "one", "Mirror/new": "3", "own": "outside of it"}
		wantTree(t, r.tree(), want)
		wantTree(t, f.tree(), map[string]string{"d/": "", "d/f": "one", "new": "3"})
		r.reopen()
		if _, err := r.c.OpenFile(r.find("Mirror/new").Ino, true); !errors.Is(err, cache.ErrReadOnly) {
			t.Errorf("after a restart: %v", err)
		}
		r.must(r.e.DeleteConduit(t.Context(), "home", true))
		r.write("Mirror/new", "mine now")
	})
}

func TestADirectoryWithFilesIsNotMadeToFollow(t *testing.T) {
	t.Parallel()
	r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(memory.Options{})}}
	r.open()
	defer func() { r.must(r.c.Close()) }()
	r.mkdir("d")
	r.write("d/f", "mine")
	_, err := r.e.CreateConduit(t.Context(), Spec{Name: "c", Source: "mem:0", Target: "drive:/d", Policy: "replicate"})
	if err == nil || !strings.Contains(err.Error(), "has files already") {
		t.Fatalf("created: %v", err)
	}
	r.write("d/f", "still mine")
}
