package syncer

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// each runs a test on every flavour of endpoint.
func each(t *testing.T, run func(t *testing.T, r *rig, f *far)) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			run(t, r, r.far(0))
		})
	}
}

func wantTree(t *testing.T, got, want map[string]string) {
	t.Helper()
	if diff := treeDiff(want, got); diff != "" {
		t.Fatalf("tree is not as wanted (drive = wanted, endpoint = got):\n%s", diff)
	}
}

func TestFirstContactShowsEverythingAndFetchesNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("a.txt", "one")
		f.write("d/e/b.txt", "two")
		f.mkdir("empty")
		r.settle()
		e := r.find("d/e/b.txt")
		if e.Node.Residency != cache.None || e.Node.Size != 3 {
			t.Fatalf("node is %+v, want a placeholder of 3 bytes", e.Node)
		}
		wantTree(t, r.agree(), map[string]string{"a.txt": "one", "d/": "", "d/e/": "", "d/e/b.txt": "two", "empty/": ""})
	})
}

func TestDriveChangesReachTheEndpoint(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.mkdir("d")
		r.write("d/f", "1")
		r.write("g", "2")
		_, err := r.c.Symlink(cache.RootIno, "link", "d/f", nobody)
		r.must(err)
		r.settle()
		wantTree(t, r.agree(), map[string]string{"d/": "", "d/f": "1", "g": "2", "link": "-> d/f"})
		r.write("g", "22")
		r.move("d", "e")
		r.remove("link")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"e/": "", "e/f": "1", "g": "22"})
		r.remove("e")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"g": "22"})
	})
}

func TestEndpointChangesReachTheDrive(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("d/f", "1")
		f.write("g", "2")
		r.settle()
		r.agree()
		f.write("g", "two")
		f.write("d/new", "3")
		f.move("d", "e")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"e/": "", "e/f": "1", "e/new": "3", "g": "two"})
		f.remove("e")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"g": "two"})
	})
}

func TestBothSidesEditedKeepsBothVersions(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("f.txt", "base")
		r.settle()
		r.read("f.txt")
		r.write("f.txt", "mine")
		f.write("f.txt", "theirs")
		r.settle()
		tree := r.agree()
		if tree["f.txt"] != "theirs" {
			t.Fatalf("f.txt is %q, want the version the endpoint accepted first", tree["f.txt"])
		}
		var mine []string
		for p, v := range tree {
			if strings.HasPrefix(p, "f (conflict test ") && strings.HasSuffix(p, ").txt") && v == "mine" {
				mine = append(mine, p)
			}
		}
		if len(mine) != 1 || len(tree) != 2 {
			t.Fatalf("tree is %q, want one conflict file with the drive's bytes", tree)
		}
	})
}

func TestEqualEditsAreNoConflict(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("f", "base")
		r.settle()
		r.write("f", "same")
		f.write("f", "same")
		r.write("n", "new")
		f.write("n", "new")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "same", "n": "new"})
	})
}

func TestEditBeatsDeletion(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("d/f", "base")
		f.write("d/g", "base")
		f.write("h", "base")
		r.settle()
		r.tree()
		r.write("d/f", "edited")
		f.remove("d")
		f.write("h", "edited there")
		r.remove("h")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"d/": "", "d/f": "edited", "h": "edited there"})
	})
}

func TestEditorsWayOfSavingIsOneUpdate(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("f", "v0")
		r.settle()
		before := r.legBinding("f")
		r.move("f", "f~")
		r.write("f", "v1")
		r.remove("f~")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "v1"})
		r.write("tmp", "v2")
		r.move("tmp", "f")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "v2"})
		if after := r.legBinding("f"); after != before {
			t.Fatalf("object %q became %q: the version chain is broken", before, after)
		}
	})
}

func (r *rig) legBinding(p string) string {
	r.t.Helper()
	var id string
	r.must(r.c.View(func(tx *cache.Tx) error {
		e, err := tx.Resolve("/" + p)
		if err != nil {
			return err
		}
		b, _, err := tx.BindingOfDentry(r.legs()[0].id, e.ID)
		id = b.RemoteID
		return err
	}))
	return id
}

func TestSwapsAndTypeChangesSettle(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		for _, n := range []string{"a", "b", "c", "x", "y"} {
			f.write(n, n)
		}
		r.settle()
		r.tree()
		r.must(r.c.Rename(cache.RootIno, "a", cache.RootIno, "b", cache.RenameExchange))
		r.remove("c")
		r.mkdir("c")
		r.write("c/in", "inside")
		f.move("x", "t")
		f.move("y", "x")
		f.move("t", "y")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"a": "b", "b": "a", "c/": "", "c/in": "inside", "x": "y", "y": "x"})
	})
}

func TestMissingEndpointDeletesNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("f", "1")
		r.settle()
		r.read("f")
		for name, fault := range map[string]func(bool){
			"offline": r.stores[0].SetOffline, "root gone": r.stores[0].SetRootGone, "empty root": r.stores[0].SetEmptyRoot,
		} {
			fault(true)
			if err := r.cycle(r.legs()[0]); err == nil {
				t.Fatalf("%s: cycle succeeded", name)
			}
			r.find("f")
			if r.read("f") != "1" {
				t.Fatalf("%s: content lost", name)
			}
			fault(false)
		}
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "1"})
	})
}

// count is how many names the drive shows.
func (r *rig) count() (n int) {
	r.t.Helper()
	r.must(r.c.View(func(tx *cache.Tx) error {
		for after := cache.DentryID(0); ; {
			names, err := tx.DentriesPage(after, 100)
			if err != nil || len(names) == 0 {
				return err
			}
			for _, d := range names {
				after = d.ID
				if d.Parent != 0 {
					n++
				}
			}
		}
	}))
	return n
}

func TestMassDeletionIsHeld(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		for i := range 80 {
			f.write("d/"+string(rune('a'+i%26))+strings.Repeat("x", i/26), "1")
		}
		f.write("keep", "1")
		r.settle()
		f.remove("d")
		r.must(r.cycle(r.legs()[0]))
		if got := r.count(); got != 82 {
			t.Fatalf("drive shows %d objects before anybody allowed the deletion, want 82", got)
		}
		if s, err := r.e.Status(); err != nil || s[0].State != StateAttention || !strings.Contains(s[0].Message, "mass delete") {
			t.Fatalf("status %+v %v, want attention for a mass delete", s, err)
		}
		_, err := r.legs()[0].cycle(context.Background(), true, &syncCall{allowDeletes: true, done: make(chan error, 1)})
		r.must(err)
		r.settle()
		wantTree(t, r.agree(), map[string]string{"keep": "1"})
	})
}

func TestPlanningAgainGivesTheSameWork(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("d/f", "1")
		f.write("g", "2")
		r.settle()
		r.tree()
		r.write("d/f", "edited")
		r.write("new", "3")
		r.move("g", "h")
		r.mkdir("e")
		r.remove("d/f")
		l := r.legs()[0]
		list := func() []string {
			var out []string
			r.must(r.c.View(func(tx *cache.Tx) error {
				items, err := tx.ListItems(cache.ItemFilter{Leg: l.id})
				for _, it := range items {
					p, perr := r.e.ItemPath(tx, it)
					r.must(perr)
					out = append(out, p+" "+string(rune('0'+it.Operation)))
				}
				return err
			}))
			slices.Sort(out)
			return out
		}
		before := list()
		r.must(r.c.Update(0, func(tx *cache.Tx) error { return tx.DeleteAllItems(l.id) }))
		r.rederive(l)
		if after := list(); !slices.Equal(before, after) {
			t.Fatalf("items were %q, planned again %q", before, after)
		}
		r.settle()
		r.agree()
	})
}

func TestAChangeDuringTheFirstListingIsSeen(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		ctx := context.Background()
		r.settle()
		f.mkdir("e")
		f.write("e/f", "old")
		l := r.legs()[0]
		ep, err := l.check(ctx)
		r.must(err)
		r.must(l.pull(ctx, ep, true))
		r.must(l.applyObserved(ctx, &counts{}))
		e := r.find("e")
		if e.Node.Listing == cache.Listed {
			t.Fatal("the directory is listed before anybody asked")
		}
		// A program's listing has read the directory, and is about to be written down, when the change is pulled.
		read, release := make(chan struct{}), make(chan struct{})
		r.script.Add(faulty.Rule{Method: faulty.List, Nth: 1, Then: func() { close(read); <-release }})
		listed := make(chan error, 1)
		go func() { listed <- r.e.List(ctx, e.Ino) }()
		<-read
		f.write("e/f", "changed")
		pulled := make(chan error, 1)
		go func() { pulled <- l.pull(ctx, ep, false) }()
		select { // let it go as far as it goes by itself
		case err := <-pulled:
			pulled <- err
		case <-time.After(50 * time.Millisecond):
		}
		close(release)
		r.must(<-listed)
		r.must(<-pulled)
		r.script.Clear()
		for !r.quiet() { // without another look at the endpoint
			r.must(l.applyObserved(ctx, &counts{}))
		}
		wantTree(t, r.agree(), map[string]string{"e/": "", "e/f": "changed"})
	})
}

func TestAFileCanBeReadBeforeTheFirstCycle(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("f", "text")
		r.settle()
		r.reopen()
		r.must(r.e.Reachable(r.find("f").Ino))
		if got := r.read("f"); got != "text" {
			t.Fatalf("read %q", got)
		}
	})
}
