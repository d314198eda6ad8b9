package syncer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// newArchive is a drive that moves what the first endpoint has to the second.
func newArchive(t testing.TB, opts func() memory.Options) *rig {
	r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(opts()), memory.New(opts())}}
	r.open()
	t.Cleanup(func() { r.must(r.c.Close()) })
	cd := cache.Conduit{
		Name: "home", UUID: newUUID(), Source: "mem:0", Target: "mem:1", Policy: PolicyArchive, Strategy: StrategyConflictFile, Enabled: true, Parallel: 1,
	}
	legs := []cache.Leg{{Endpoint: "mem:0", Role: cache.RoleSource}, {Endpoint: "mem:1", Role: cache.RoleTarget}}
	var roots [2]string
	for i := range legs {
		st, caps, err := r.e.probe(context.Background(), legs[i].Endpoint)
		r.must(err)
		if legs[i].Identity, roots[i] = st.Epoch, rootID; caps.StableID {
			roots[i] = string(st.Root)
		}
	}
	r.must(r.c.Update(0, func(tx *cache.Tx) (err error) {
		if cd.Place, err = tx.EnsurePlace(cache.RootIno); err != nil {
			return err
		}
		if err := tx.CreateConduit(&cd, legs); err != nil {
			return err
		}
		for i, l := range legs {
			root := cache.Binding{Leg: l.ID, Dentry: cache.RootDentry, RemoteID: roots[i], Kind: cache.Dir}
			if err := tx.PutBinding(&root); err != nil {
				return err
			}
		}
		if err := tx.SetPlaceReadOnly(cd.Place, true); err != nil {
			return err
		}
		return tx.SetListing(cache.RootIno, cache.Unlisted)
	}))
	r.must(r.e.reload())
	return r
}

func eachArchive(t *testing.T, run func(t *testing.T, r *rig, from, to *far)) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newArchive(t, fl.opts)
			run(t, r, r.far(0), r.far(1))
		})
	}
}

// audit is the audit log, as kinds and sizes by path.
func (r *rig) audit() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	r.must(r.c.View(func(tx *cache.Tx) error {
		all, err := tx.Releases(0, 1000)
		for _, l := range all {
			if out[l.Path] != "" {
				r.t.Errorf("%s was released twice", l.Path)
			}
			if l.Conduit != "home" || l.Source != "mem:0" || l.Destination != path.Join("mem:1", l.Path) || l.At == 0 || l.Kind == cache.File && !l.Hash.Known() {
				r.t.Errorf("the audit log says %+v", l)
			}
			out[l.Path] = fmt.Sprintf("%d:%d", l.Kind, l.Size)
		}
		return err
	}))
	return out
}

func TestAnArchiveMovesWhatItHasProved(t *testing.T) {
	eachArchive(t, func(t *testing.T, r *rig, from, to *far) {
		from.write("a", "one")
		from.write("d/e/b", "three")
		from.mkdir("empty")
		r.settle()
		want := map[string]string{"a": "one", "d/": "", "d/e/": "", "d/e/b": "three", "empty/": ""}
		wantTree(t, to.tree(), want)
		wantTree(t, from.tree(), map[string]string{})
		wantTree(t, r.tree(), want) // read from the archive
		audit := r.audit()
		for p, line := range map[string]string{"/a": "1:3", "/d": "2:0", "/d/e": "2:0", "/d/e/b": "1:5", "/empty": "2:0"} {
			if audit[p] != line {
				t.Errorf("the audit log says %q of %s, in %v", audit[p], p, audit)
			}
		}
		// What comes later goes the same way.
		from.write("d/later", "4")
		r.settle()
		want["d/later"] = "4"
		wantTree(t, to.tree(), want)
		wantTree(t, from.tree(), map[string]string{})
	})
}

// TestWhatASourceStillHasIsPlannedAgain deletes the queue between the arrival of files at the drive and their release: it is
// derived.
func TestWhatASourceStillHasIsPlannedAgain(t *testing.T) {
	eachArchive(t, func(t *testing.T, r *rig, from, to *far) {
		from.write("a", "one")
		from.write("d/b", "three")
		from.mkdir("empty")
		source := r.legs()[0]
		r.must(r.cycle(source))
		r.tree()
		r.must(r.c.Update(0, func(tx *cache.Tx) error { return tx.DeleteAllItems(source.id) }))
		r.rederive(source)
		r.settle()
		wantTree(t, to.tree(), map[string]string{"a": "one", "d/": "", "d/b": "three", "empty/": ""})
		wantTree(t, from.tree(), map[string]string{})
	})
}

func TestAnArchiveOverwritesNothing(t *testing.T) {
	eachArchive(t, func(t *testing.T, r *rig, from, to *far) {
		to.write("f.txt", "archived before")
		to.write("same", "equal")
		from.write("f.txt", "another")
		from.write("same", "equal")
		r.settle()
		want := map[string]string{"f.txt": "archived before", "f 2.txt": "another", "same": "equal"}
		wantTree(t, to.tree(), want)
		wantTree(t, r.tree(), want)
		wantTree(t, from.tree(), map[string]string{})
		// A name that is free at the source again is another file.
		from.write("f.txt", "a third")
		r.settle()
		want["f 3.txt"] = "a third"
		wantTree(t, to.tree(), want)
		wantTree(t, from.tree(), map[string]string{})
	})
}

// TestNothingIsReleasedWithoutProof has the archive store wrong bytes, or none.
func TestNothingIsReleasedWithoutProof(t *testing.T) {
	for name, rule := range map[string]faulty.Rule{
		"the archive cannot prove it": {Match: func(c faulty.Call) bool { return c.Method == faulty.Verify }, Err: remote.ErrCorrupt},
		"the archive is full":         {Match: func(c faulty.Call) bool { return c.Method == faulty.Put }, Err: remote.ErrQuota},
	} {
		t.Run(name, func(t *testing.T) {
			eachArchive(t, func(t *testing.T, r *rig, from, to *far) {
				r.script.Add(rule)
				from.write("f", "precious")
				for range 6 {
					r.once()
				}
				if got := from.tree()["f"]; got != "precious" {
					t.Fatalf("the source has %q", got)
				}
				if audit := r.audit(); len(audit) != 0 {
					t.Errorf("the audit log says %v", audit)
				}
				r.script.Clear()
				for _, l := range r.legs() {
					r.must(l.unpark())
				}
				r.settle()
				wantTree(t, to.tree(), map[string]string{"f": "precious"})
				wantTree(t, from.tree(), map[string]string{})
			})
		})
	}
}

// TestWhatWasChangedAtTheSourceIsNotReleased changes a file between its proof and its release.
func TestWhatWasChangedAtTheSourceIsNotReleased(t *testing.T) {
	eachArchive(t, func(t *testing.T, r *rig, from, to *far) {
		legs := r.legs()
		from.write("f", "first")
		r.must(r.cycle(legs[0]))
		r.must(r.cycle(legs[1]))
		wantTree(t, to.tree(), map[string]string{"f": "first"})
		wantTree(t, from.tree(), map[string]string{"f": "first"})
		changed := false
		r.script.Add(faulty.Rule{Method: faulty.Delete, Nth: 1, Before: func() {
			changed = true
			from.write("f", "second") // the last moment
		}})
		r.must(r.cycle(legs[0]))
		if !changed {
			t.Fatal("nothing was to be released")
		}
		if got := from.tree()["f"]; got != "second" {
			t.Fatalf("the source has %q", got)
		}
		r.settle()
		wantTree(t, from.tree(), map[string]string{})
		has := map[string]bool{}
		for _, v := range to.tree() {
			has[v] = true
		}
		for _, v := range r.keptThere(1) {
			has[v] = true
		}
		if !has["first"] || !has["second"] {
			t.Errorf("the archive has %v, and in its trash %v", to.tree(), r.keptThere(1))
		}
	})
}

// TestAnArchiveThatIsKilledLosesNothing kills after every write at either endpoint, and before it: each file is at the source
// or in the archive at any time, is in the archive in the end, and is in the audit log when it is not at the source.
func TestAnArchiveThatIsKilledLosesNothing(t *testing.T) {
	for _, when := range []string{"after", "instead"} {
		t.Run(when, func(t *testing.T) {
			for _, fl := range flavours() {
				t.Run(fl.name, func(t *testing.T) {
					t.Parallel()
					for nth := 1; ; nth++ {
						if !archiveKilled(t, fl.opts, nth, when == "after") {
							if nth < 6 {
								t.Errorf("only %d writes were cut", nth-1)
							}
							return
						}
					}
				})
			}
		})
	}
}

// archiveKilled reports whether there was an nth write.
func archiveKilled(t *testing.T, opts func() memory.Options, nth int, after bool) bool {
	r := newArchive(t, opts)
	from, to := r.far(0), r.far(1)
	want := map[string]string{"d/": "", "d/f": "one", "g": "two"}
	from.write("d/f", "one")
	from.write("g", "two")
	if after {
		r.killAfter(nth)
	} else {
		seen := 0
		r.script.Add(faulty.Rule{Match: func(c faulty.Call) bool {
			if writes(c) {
				seen++
			}
			return seen >= nth
		}, Err: errKilled})
	}
	killed := false
	for range 8 {
		for _, l := range r.legs() {
			if _, err := l.cycle(context.Background(), true, &syncCall{done: make(chan error, 1)}); err != nil {
				killed = true
			}
		}
		if len(r.failed()) > 0 {
			killed = true
		}
		for p, v := range want {
			if _, there := to.tree()[p]; !there && from.tree()[p] != v {
				t.Fatalf("write %d: %s is nowhere", nth, p)
			}
		}
		if killed {
			break
		}
	}
	r.script.Clear()
	r.reopen()
	for _, l := range r.legs() {
		r.must(l.unpark())
	}
	r.settle()
	wantTree(t, to.tree(), want)
	wantTree(t, from.tree(), map[string]string{})
	wantTree(t, r.tree(), want)
	if audit := r.audit(); len(audit) != len(want) {
		t.Errorf("write %d: the audit log has %v", nth, audit)
	}
	return killed
}

// TestAnArchiveIsNotDeletedWhileOnlyItTellsWhereFilesAre deletes one whose target has everything: the drive has names of it.
func TestAnArchiveIsNotDeletedWhileOnlyItTellsWhereFilesAre(t *testing.T) {
	eachArchive(t, func(t *testing.T, r *rig, from, to *far) {
		from.write("a", "one")
		r.settle()
		err := r.e.DeleteConduit(t.Context(), "home", false)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "they stay at mem:1,") {
			t.Errorf("it says %v", err)
		}
		if got := r.read("a"); got != "one" {
			t.Errorf("read %q", got)
		}
		r.must(r.e.DeleteConduit(t.Context(), "home", false))
		if got := r.read("a"); got != "one" || to.tree()["a"] != "one" {
			t.Errorf("read %q", got)
		}
	})
}
