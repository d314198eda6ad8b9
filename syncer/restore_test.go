package syncer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// eachKept is eachPolicy with endpoints that have the clock on the wall.
func eachKept(t *testing.T, s Spec, run func(t *testing.T, r *rig, f *far)) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			o := fl.opts()
			o.Now = time.Now
			r := newPolicyRig(t, s, memory.New(o))
			r.settle()
			run(t, r, r.far(0))
		})
	}
}

var plainSync = Spec{Source: "drive:/", Target: "mem:0", Policy: PolicySynchronize}

// restore restores something that has to be there.
func (r *rig) restore(q RestoreRequest) *Restoration {
	r.t.Helper()
	var done, total int64
	did, err := r.e.Restore(context.Background(), q, func(n, of int64) { done, total = n, of })
	r.must(err)
	if done != total {
		r.t.Errorf("at the end %d of %d bytes had come", done, total)
	}
	for _, f := range did.Failed {
		r.t.Errorf("%s: %v", f.Path, f.Err)
	}
	return did
}

func (r *rig) versions(p string) *Versions {
	r.t.Helper()
	v, err := r.e.Versions(context.Background(), p)
	r.must(err)
	return v
}

// listed are the versions of a path, as "why size", the newest first.
func (r *rig) listed(p string) string {
	r.t.Helper()
	var out []string
	for _, c := range r.versions(p).Choices {
		out = append(out, fmt.Sprintf("%s %d", c.Why, c.Size))
	}
	return strings.Join(out, ", ")
}

func (r *rig) has(p, want string) {
	r.t.Helper()
	if got := r.read(p); got != want {
		r.t.Errorf("%s has %q, want %q", p, got, want)
	}
}

func TestADeletedFileIsRestored(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.mkdir("d")
		r.write("d/f", "precious")
		r.settle()
		r.remove("d/f")
		r.remove("d")
		for _, sent := range []bool{false, true} { // the endpoint still has it; it is in the trash there
			if sent {
				r.settle()
			}
			if got := r.listed("/d/f"); got != map[bool]string{false: "deleted here, not there yet 8", true: "deleted 8"}[sent] {
				t.Fatalf("listed are %s", got)
			}
			if did := r.restore(RestoreRequest{Path: "/d/f"}); did.Files != 1 || did.Bytes != 8 || did.Same != 0 {
				t.Errorf("done was %+v", did)
			}
			r.has("d/f", "precious")
			r.settle()
			wantTree(t, r.agree(), map[string]string{"d/": "", "d/f": "precious"})
			if sent {
				if did := r.restore(RestoreRequest{Path: "/d/f"}); did.Files != 0 || did.Same != 1 {
					t.Errorf("restored again: %+v", did)
				}
			}
			r.remove("d/f")
			r.remove("d")
		}
	})
}

func TestASymlinkIsRestored(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		link := func(target string) {
			_, err := r.c.Symlink(cache.RootIno, "l", target, nobody)
			r.must(err)
			r.settle()
		}
		link("first")
		r.remove("l")
		r.settle()
		link("second")
		r.restore(RestoreRequest{Path: "/l"})
		r.settle()
		wantTree(t, r.agree(), map[string]string{"l": "-> first"})
		r.restore(RestoreRequest{Path: "/l"})
		r.settle()
		wantTree(t, r.agree(), map[string]string{"l": "-> second"})
	})
}

// TestAnOlderVersionOfADeletedFile is restored before the endpoint has heard of the deletion.
func TestAnOlderVersionOfADeletedFile(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.write("f", "1")
		r.settle()
		r.write("f", "22")
		r.settle()
		r.remove("f")
		r.restore(RestoreRequest{Path: "/f", Version: 2})
		r.has("f", "1")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "1"})
		r.restore(RestoreRequest{Path: "/f"})
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "22"})
	})
}

func TestAnOverwrittenFileIsRestoredAndThatUndone(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		for _, v := range []string{"1", "22", "333"} {
			r.write("f", v)
			r.settle()
		}
		r.write("f", "4444")
		if got := r.listed("/f"); got != "overwritten here, not there yet 3, overwritten 2, overwritten 1" {
			t.Fatalf("listed are %s", got)
		}
		r.settle()
		r.restore(RestoreRequest{Path: "/f", Version: 3})
		r.has("f", "1")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "1"})
		r.restore(RestoreRequest{Path: "/f"})
		r.has("f", "4444")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "4444"})
		// Beside it: what is there goes to the trash, too.
		r.write("g", "in the way")
		r.settle()
		n := len(r.versions("/f").Choices)
		r.restore(RestoreRequest{Path: "/f", Version: n, To: "/g"})
		r.has("f", "4444")
		r.has("g", "1")
		r.restore(RestoreRequest{Path: "/g"})
		r.has("g", "in the way")
		if _, err := r.e.Restore(t.Context(), RestoreRequest{Path: "/f", Version: n + 10}, nil); !errors.Is(err, ErrNoVersion) {
			t.Errorf("a version that is not there: %v", err)
		}
		if _, err := r.e.Restore(t.Context(), RestoreRequest{Path: "/never"}, nil); !errors.Is(err, ErrNoVersion) {
			t.Errorf("a path that never was: %v", err)
		}
	})
}

func TestWhatIsDeletedOrReplacedElsewhereIsRestored(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		f.write("f", "theirs")
		f.write("g", "also")
		r.settle()
		r.read("f")
		r.read("g")
		r.settle()
		f.s.Forget() // what somebody else deletes there is not in the trash
		f.remove("f")
		f.write("g", "edited there")
		r.settle()
		f.write("d/e/x", "in a directory")
		f.write("d/y", "beside it")
		r.settle()
		r.read("d/e/x")
		r.read("d/y")
		f.remove("d")
		r.settle()
		f.s.Forget()
		if did := r.restore(RestoreRequest{Path: "/d"}); did.Files != 2 {
			t.Errorf("of the directory %+v was restored", did)
		}
		wantTree(t, r.tree(), map[string]string{"g": "edited there", "d/": "", "d/e/": "", "d/e/x": "in a directory", "d/y": "beside it"})
		r.settle()
		r.agree()
		r.remove("d")
		r.settle()
		f.s.Forget()
		if got := r.listed("/f"); got != "deleted at the endpoint 6" {
			t.Fatalf("listed are %s", got)
		}
		r.restore(RestoreRequest{Path: "/f"})
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "theirs", "g": "edited there"})
	})
}

func TestADirectoryIsRestoredAsItWasBeforeItsLastDeletion(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.mkdir("d")
		r.mkdir("d/e")
		for _, name := range []string{"d/a", "d/e/b", "d/e/c", "d/long ago", "d/stays"} {
			r.write(name, name)
		}
		r.settle()
		before := r.agree()
		r.remove("d/long ago")
		r.settle()
		delete(before, "d/long ago")
		old := r.stores[0].Kept()
		r.stores[0].Age(time.Hour)
		r.write("d/a", "edited") // a version that nobody deleted is not restored with the directory
		r.settle()
		before["d/a"] = "edited"
		r.remove("d/e")
		r.remove("d/a")
		r.settle()
		v := r.versions("/d")
		if !v.Dir || len(v.Choices) != 2 || v.Choices[0].Files != 3 || v.Choices[1].Files != 1 {
			t.Fatalf("listed are %+v, and %d were kept before", v.Choices, len(old))
		}
		if did := r.restore(RestoreRequest{Path: "/d"}); did.Files != 3 {
			t.Errorf("restored were %+v", did)
		}
		r.settle()
		wantTree(t, r.agree(), before)
		r.restore(RestoreRequest{Path: "/d"}) // what was deleted before that
		before["d/long ago"] = "d/long ago"
		wantTree(t, r.tree(), before)
		if _, err := r.e.Restore(t.Context(), RestoreRequest{Path: "/d"}, nil); !errors.Is(err, ErrNoVersion) {
			t.Errorf("nothing is left: %v", err)
		}
		r.settle()
		// All of it, also where nothing is known to have been a directory.
		r.remove("d")
		r.restore(RestoreRequest{Path: "/d"})
		wantTree(t, r.tree(), before)
		r.settle()
		wantTree(t, r.agree(), before)
	})
}

func TestATreeIsRestoredAsItWasAtATime(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.mkdir("d")
		r.write("d/f", "one")
		r.write("d/g", "stays")
		r.settle()
		then := time.Now().UnixNano()
		r.write("d/f", "two")
		r.write("d/h", "made later")
		r.settle()
		r.remove("d/g")
		r.remove("d/h")
		r.settle()
		if did := r.restore(RestoreRequest{Path: "/d", At: then}); did.Files != 2 {
			t.Errorf("restored were %+v", did)
		}
		wantTree(t, r.tree(), map[string]string{"d/": "", "d/f": "one", "d/g": "stays"})
		r.restore(RestoreRequest{Path: "/d/f"})
		r.has("d/f", "two")
		r.restore(RestoreRequest{Path: "/d/f", At: then})
		r.has("d/f", "one")
		r.settle()
		r.agree()
	})
}

// TestEveryLoserOfAConflictIsRestored has each strategy decide, and asks for what has lost.
func TestEveryLoserOfAConflictIsRestored(t *testing.T) {
	for _, strategy := range []string{"newest", "largest", "local", "remote", "conflict-file"} {
		t.Run(strategy, func(t *testing.T) {
			eachKept(t, strategyOf(strategy), func(t *testing.T, r *rig, f *far) {
				r.write("f", "base")
				r.settle()
				r.write("f", "mine")
				f.write("f", "theirs!")
				r.settle()
				lost, won := "mine", r.read("f")
				if won == "mine" {
					lost = "theirs!"
				}
				v := r.versions("/f")
				n := 0
				for i, c := range v.Choices {
					if int(c.Size) == len(lost) && c.Why != "overwritten" && n == 0 {
						n = i + 1
					}
				}
				if n == 0 {
					t.Fatalf("%q has won, and the loser is not in %+v", won, v.Choices)
				}
				r.restore(RestoreRequest{Path: "/f", Version: n})
				r.has("f", lost)
				r.settle()
				if got := r.agree()["f"]; got != lost {
					t.Errorf("it is %q", got)
				}
			})
		})
	}
}

func TestWhatAPersonGaveUpInAConflictIsRestored(t *testing.T) {
	for _, keep := range []string{KeepLocal, KeepRemote} {
		t.Run(keep, func(t *testing.T) {
			eachKept(t, strategyOf("conflict-file"), func(t *testing.T, r *rig, f *far) {
				r.write("f", "base")
				r.settle()
				r.write("f", "mine.")
				f.write("f", "theirs!")
				r.settle()
				r.read("f")
				lost := map[string]string{KeepLocal: "theirs!", KeepRemote: "mine."}[keep]
				r.must(r.e.ResolveConflict(t.Context(), "/f", keep, nil))
				r.settle()
				wantTree(t, r.agree(), map[string]string{"f": map[string]string{KeepLocal: "mine.", KeepRemote: "theirs!"}[keep]})
				for i, c := range r.versions("/f").Choices {
					if int(c.Size) != len(lost) {
						continue
					}
					r.restore(RestoreRequest{Path: "/f", Version: i + 1})
					r.settle()
					wantTree(t, r.agree(), map[string]string{"f": lost})
					return
				}
				t.Errorf("%q is not in %+v", lost, r.versions("/f").Choices)
			})
		})
	}
}

func TestWhatAReplicaLostIsRestored(t *testing.T) {
	eachKept(t, Spec{Source: "drive:/", Target: "mem:0", Policy: PolicyReplicate}, func(t *testing.T, r *rig, f *far) {
		r.write("f", "mine")
		r.settle()
		f.write("f", "theirs!")
		f.write("extra", "only there")
		r.settle()
		if got := r.listed("/f"); got != "overwritten by replicate 7" {
			t.Fatalf("listed are %s", got)
		}
		r.restore(RestoreRequest{Path: "/f"})
		r.restore(RestoreRequest{Path: "/extra"})
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "theirs!", "extra": "only there"})
	})
}

func TestWhatIsOnlyAtAnEndpointThatIsAwaySaysSo(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.write("sent", "s")
		r.write("waits", "w")
		r.settle()
		r.remove("sent")
		r.settle()
		r.stores[0].SetOffline(true)
		if err := r.alone(r.legs()[0]); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("the endpoint is away: %v", err)
		}
		r.remove("waits")
		for _, p := range []string{"/sent", "/waits"} {
			_, err := r.e.Restore(t.Context(), RestoreRequest{Path: p}, nil)
			if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "connect it and try again") {
				t.Errorf("%s: %v", p, err)
			}
			if v := r.versions(p); len(v.Away) != 1 || v.Away[0].Conduit != "home" || !errors.Is(v.Away[0].Err, ErrUnreachable) {
				t.Errorf("%s: away are %+v", p, v.Away)
			}
		}
		r.stores[0].SetOffline(false)
		r.settle()
		r.restore(RestoreRequest{Path: "/sent"})
		r.restore(RestoreRequest{Path: "/waits"})
		r.settle()
		wantTree(t, r.agree(), map[string]string{"sent": "s", "waits": "w"})
	})
}

func TestARestoreThatIsCutShortChangesNothing(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.write("f", "the first version")
		r.settle()
		r.write("f", "the second")
		r.settle()
		files := backings(t, r)
		r.script.Add(faulty.Rule{Method: faulty.Read, Nth: 1, Cut: 5})
		_, err := r.e.Restore(t.Context(), RestoreRequest{Path: "/f"}, nil)
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "connect it and try again") {
			t.Errorf("cut short: %v", err)
		}
		r.has("f", "the second")
		if now := backings(t, r); now != files || len(r.kept()) != 0 {
			t.Errorf("there are %d backing files instead of %d, and in the trash %q", now, files, r.kept())
		}
		r.restore(RestoreRequest{Path: "/f"})
		r.has("f", "the first version")
	})
}

// backings counts the backing files of the drive.
func backings(t *testing.T, r *rig) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.dir, "content", "*", "*"))
	r.must(err)
	return len(found)
}

// TestWhatIsDeletedAtTheEndpointWhileItIsRestored has the deletion arrive between the look and the read.
func TestWhatIsDeletedAtTheEndpointWhileItIsRestored(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.mkdir("d")
		for i := range 10 {
			r.write(fmt.Sprintf("d/%d", i), "precious")
		}
		r.settle()
		want := r.agree()
		r.remove("d")
		for _, p := range []string{"/d/3", "/d"} {
			r.script.Add(faulty.Rule{Method: faulty.Read, Nth: 1, Before: func() { r.must(r.alone(r.legs()[0])) }})
			r.restore(RestoreRequest{Path: p})
		}
		r.settle()
		wantTree(t, r.agree(), want)
	})
}

func TestAPlaceThatIsFedFromOutsideIsNotRestoredInto(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newArchive(t, func() memory.Options {
				o := fl.opts()
				o.Now = time.Now
				return o
			})
			r.far(0).write("f", "moved")
			r.settle()
			if got := r.listed("/f"); got != "released 5" {
				t.Errorf("listed are %s", got)
			}
			_, err := r.e.Restore(t.Context(), RestoreRequest{Path: "/f"}, nil)
			if !errors.Is(err, cache.ErrReadOnly) || !strings.Contains(err.Error(), "--to") {
				t.Errorf("restored into it: %v", err)
			}
			r.has("f", "moved")
		})
	}
}

func TestATrashThatCannotBeLookedIntoIsNamed(t *testing.T) {
	t.Parallel()
	caps := memory.AllCaps()
	caps.ListTrash = false
	r := newPolicyRig(t, plainSync, memory.New(memory.Options{Caps: &caps}))
	r.settle()
	r.write("f", "x")
	r.settle()
	r.remove("f")
	r.settle()
	if v := r.versions("/f"); len(v.Choices) != 0 || len(v.Away) != 1 || !errors.Is(v.Away[0].Err, errOwnTrash) {
		t.Errorf("%+v", v)
	}
	if _, err := r.e.Restore(t.Context(), RestoreRequest{Path: "/f"}, nil); !errors.Is(err, ErrNoVersion) {
		t.Errorf("restored: %v", err)
	}
}

func TestAPlaceholderIsFetchedBeforeARestoreTakesItsPlace(t *testing.T) {
	eachKept(t, Spec{Source: "drive:/", Target: "mem:0", Policy: PolicyOffload}, func(t *testing.T, r *rig, f *far) {
		r.write("f", "one")
		r.settle()
		r.write("f", "second")
		r.settle()
		n := r.find("f").Node
		if _, err := r.c.Drop(n.Ino, n.Version); err != nil {
			t.Fatal(err)
		}
		r.restore(RestoreRequest{Path: "/f"})
		r.has("f", "one")
		if got := r.kept()["/f"]; got != "second" {
			t.Errorf("the trash has %q", got)
		}
		h, err := r.c.OpenFile(r.find("f").Ino, true)
		r.must(err)
		_, err = h.WriteAt([]byte("X"), 0)
		r.must(err)
		if _, err := r.e.Restore(t.Context(), RestoreRequest{Path: "/f"}, nil); !errors.Is(err, cache.ErrBusy) {
			t.Errorf("while it is written to: %v", err)
		}
		r.must(h.Close())
		r.restore(RestoreRequest{Path: "/f"})
		r.has("f", "second")
		r.settle()
		r.agree()
	})
}
