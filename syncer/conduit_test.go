package syncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote/memory"
)

// create makes a conduit.
func (r *rig) create(s Spec) cache.Conduit {
	r.t.Helper()
	cd, err := r.e.CreateConduit(context.Background(), s)
	r.must(err)
	return cd
}

// rows is everything that a refused conduit must leave as it is.
func (r *rig) rows() string {
	r.t.Helper()
	var out strings.Builder
	r.must(r.c.View(func(tx *cache.Tx) error {
		conduits, err := tx.Conduits()
		legs, lerr := tx.Legs()
		places, perr := tx.Places()
		names, derr := tx.DentriesPage(0, 1000)
		fmt.Fprintln(&out, conduits, legs, places, names)
		for _, id := range slices.Sorted(maps.Keys(places)) {
			ro, err := tx.PlaceReadOnly(id)
			fmt.Fprintln(&out, id, ro, err)
		}
		return errors.Join(err, lerr, perr, derr)
	}))
	return out.String()
}

func TestConduitsThatCannotBeAreRefusedAndLeaveNothing(t *testing.T) {
	t.Parallel()
	stores := make([]*memory.Store, 8)
	for i := range stores {
		stores[i] = memory.New(flavours()[0].opts())
	}
	r := newRig(t, stores[0])
	r.stores = stores
	r.far(0).write("synced/file", "text")
	r.settle()
	r.create(Spec{Name: "fed", Source: "mem:1", Target: "drive:/fed", Policy: "mirror"})
	r.create(Spec{Name: "deep", Source: "drive:/deep", Target: "mem:2", Policy: "synchronize"})
	r.create(Spec{Name: "own", Source: "drive:/own/place", Target: "mem:6", Policy: "synchronize"})
	r.e.Contains = func(outer, inner string) bool {
		return outer == "mem:2" && inner == "mem:4" || inner == "mem:2" && outer == "mem:5"
	}
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"no name":                            {Spec{Source: "drive:/x", Target: "mem:3", Policy: "offload"}, "needs a name"},
		"a name with a slash":                {Spec{Name: "a/b", Source: "drive:/x", Target: "mem:3", Policy: "offload"}, "without slashes"},
		"a name that is used":                {Spec{Name: "home", Source: "drive:/x", Target: "mem:3", Policy: "offload"}, "exists already"},
		"no policy":                          {Spec{Name: "c", Source: "drive:/x", Target: "mem:3"}, "policy"},
		"a strange policy":                   {Spec{Name: "c", Source: "drive:/x", Target: "mem:3", Policy: "move"}, "synchronize, offload, replicate or archive"},
		"a strange strategy":                 {Spec{Name: "c", Source: "drive:/x", Target: "mem:3", Policy: "offload", Strategy: "oldest"}, "oldest"},
		"a strange cadence":                  {Spec{Name: "c", Source: "drive:/x", Target: "mem:3", Policy: "offload", Cadence: "now and then"}, "cadence"},
		"no copies at once":                  {Spec{Name: "c", Source: "drive:/x", Target: "mem:3", Policy: "offload", Parallel: -1}, "-1"},
		"too many at once":                   {Spec{Name: "c", Source: "drive:/x", Target: "mem:3", Policy: "offload", Parallel: 1000}, "1000"},
		"a rule of nothing":                  {Spec{Name: "c", Source: "drive:/x", Target: "mem:3", Policy: "offload", Rules: []cache.Rule{{Pattern: "[", Strategy: "newest"}}}, "[=newest"},
		"what is kept where nothing goes":    {Spec{Name: "c", Source: "drive:/x", Target: "mem:3", Policy: "offload", KeepExtra: true}, "replicate"},
		"files in the way":                   {Spec{Name: "c", Source: "mem:3", Target: "drive:/own", Policy: "replicate"}, "has files already"},
		"both in the drive":                  {Spec{Name: "c", Source: "drive:/x", Target: "drive:/y", Policy: "synchronize"}, "both in the drive"},
		"two directories":                    {Spec{Name: "c", Source: "drive:/x", Target: "mem:3", At: "/y", Policy: "synchronize"}, "/x and /y"},
		"offload from elsewhere":             {Spec{Name: "c", Source: "mem:3", Target: "drive:/x", Policy: "offload"}, "archive"},
		"offload between storages":           {Spec{Name: "c", Source: "mem:3", Target: "mem:4", Policy: "offload"}, "archive"},
		"archive into the drive":             {Spec{Name: "c", Source: "mem:3", Target: "drive:/x", Policy: "archive"}, "as target"},
		"the same once more":                 {Spec{Name: "c", Source: "drive:/", Target: "mem:0", Policy: "synchronize"}, "conduit home joins"},
		"a storage in two places":            {Spec{Name: "c", Source: "drive:/x", Target: "mem:0", Policy: "synchronize"}, "conduit home"},
		"one storage with itself":            {Spec{Name: "c", Source: "mem:3", Target: "mem:3", Policy: "synchronize"}, "the source already"},
		"a storage inside another":           {Spec{Name: "c", Source: "drive:/x", Target: "mem:4", Policy: "synchronize"}, "lies inside mem:2"},
		"a storage around another":           {Spec{Name: "c", Source: "drive:/x", Target: "mem:5", Policy: "synchronize"}, "contains mem:2"},
		"a directory that is synced":         {Spec{Name: "c", Source: "drive:/synced", Target: "mem:3", Policy: "synchronize"}, "around it syncs it"},
		"a file":                             {Spec{Name: "c", Source: "drive:/synced/file", Target: "mem:3", Policy: "synchronize"}, "not a directory"},
		"beside one that is fed one way":     {Spec{Name: "c", Source: "drive:/fed", Target: "mem:3", Policy: "synchronize"}, "fed one way by conduit fed"},
		"fed one way beside one that is not": {Spec{Name: "c", Source: "mem:3", Target: "drive:/deep", Policy: "replicate"}, "directory of their own"},
		"an archive beside one that is not":  {Spec{Name: "c", Source: "mem:3", Target: "mem:7", At: "/deep", Policy: "archive"}, "directory of their own"},
		"a storage that is not there":        {Spec{Name: "c", Source: "drive:/x", Target: "nowhere", Policy: "synchronize"}, "nowhere"},
	} {
		before := r.rows()
		for what, do := range map[string]func() error{
			"create":  func() error { _, err := r.e.CreateConduit(context.Background(), c.spec); return err },
			"preview": func() error { _, err := r.e.PreviewConduit(context.Background(), c.spec); return err },
		} {
			err := do()
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s, %s: %v, want one line with %q", name, what, err, c.want)
			}
			if after := r.rows(); after != before {
				t.Fatalf("%s, %s: changed\n%s\nto\n%s", name, what, before, after)
			}
		}
	}
}

func TestTwoStoragesMeetInADirectory(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		third := memory.New(flavours()[0].opts())
		r.stores = append(r.stores, second, third)
		r.settle()
		r.far(1).write("a/mine", "of the source")
		r.far(2).write("a/theirs", "of the target")
		cd := r.create(Spec{Name: "both", Source: "mem:1", Target: "mem:2", Policy: "synchronize"})
		r.settle()
		want := map[string]string{"a/": "", "a/mine": "of the source", "a/theirs": "of the target"}
		for i := range 2 {
			wantTree(t, r.stores[i+1].Tree(), want)
		}
		if got := r.stores[0].Tree(); len(got) > 0 {
			t.Errorf("the endpoint of the directory around it has %q", got)
		}
		if e := r.find("both/a/mine"); e.Node.Residency != cache.None {
			t.Errorf("bytes stay in the drive: %+v", e.Node)
		}
		all, err := r.e.Status()
		r.must(err)
		s := all[1]
		if s.At != "/both" || len(s.Legs) != 2 || s.Legs[0].Role != cache.RoleSource || s.Legs[0].Endpoint != "mem:1" ||
			s.Legs[1].Role != cache.RoleTarget || s.Legs[1].Endpoint != "mem:2" || s.State != StateIdle || s.ReadOnly {
			t.Errorf("status: %+v", s)
		}
		if s.FilesSynced != 2 || s.TotalSyncs == 0 || s.BytesTransferred != 26 || s.Generation == 0 || s.LastError != "" {
			t.Errorf("counts: %+v", s.Conduit)
		}
		r.stores[2].SetOffline(true)
		for _, l := range r.legs() {
			_ = r.cycle(l) // one is away
		}
		if all, err = r.e.Status(); err != nil || all[1].State != StateOffline || !strings.Contains(all[1].Message, "mem:2") || all[1].Legs[0].State != StateIdle {
			t.Errorf("with one away: %+v, %v", all[1], err)
		}
		r.stores[2].SetOffline(false)
		r.settle()
		if err := r.e.DeleteConduit(context.Background(), "both", false); !errors.Is(err, ErrRefused) {
			t.Errorf("two files are not here: %v", err)
		}
		r.write("both/a/new", "made in the drive")
		r.move("both/a/mine", "both/kept")
		r.settle()
		want = map[string]string{"a/": "", "kept": "of the source", "a/theirs": "of the target", "a/new": "made in the drive"}
		for i := range 2 {
			wantTree(t, r.stores[i+1].Tree(), want)
		}
		r.must(r.e.PauseConduit("both"))
		for _, l := range r.legs()[1:] {
			if l.conduitRow().Enabled {
				t.Errorf("the leg of %s is not paused", l.target)
			}
		}
		r.must(r.e.DeleteConduit(context.Background(), "both", true))
		r.must(r.c.View(func(tx *cache.Tx) error {
			legs, err := tx.LegsOfConduit(cd.ID)
			if len(legs) > 0 {
				t.Errorf("legs are left: %+v", legs)
			}
			return err
		}))
		for i := range 2 {
			wantTree(t, r.stores[i+1].Tree(), want)
		}
	})
}

// TestAPlaceIsReadOnlyWhileItIsFedOneWay makes and deletes conduits at one place.
func TestAPlaceIsReadOnlyWhileItIsFedOneWay(t *testing.T) {
	t.Parallel()
	stores := []*memory.Store{memory.New(flavours()[0].opts()), memory.New(flavours()[0].opts()), memory.New(flavours()[0].opts())}
	r := newRig(t, stores[0])
	r.stores = stores
	r.settle()
	r.create(Spec{Name: "fed", Source: "mem:1", Target: "drive:/fed", Policy: "replicate"})
	r.create(Spec{Name: "on", Source: "drive:/fed", Target: "mem:2", Policy: "replicate"})
	readOnly := func(want bool) {
		t.Helper()
		_, err := r.c.Mkdir(r.find("fed").Ino, "made", 0o755, nobody)
		if got := errors.Is(err, cache.ErrReadOnly); got != want {
			t.Errorf("mkdir: %v, want read-only %v", err, want)
		}
		all, err := r.e.Status()
		if err != nil || all[1].ReadOnly != want {
			t.Errorf("status: %+v, %v", all[1], err)
		}
	}
	readOnly(true)
	r.reopen()
	readOnly(true)
	r.must(r.e.DeleteConduit(context.Background(), "fed", true))
	readOnly(false)
}

func TestAConduitIsDeletedWhereAnotherHasItsFiles(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		a := r.far(0)
		a.write("d/f", "text")
		r.settle()
		b := r.beside(second)
		if err := r.e.DeleteConduit(context.Background(), "home", false); !errors.Is(err, ErrRefused) {
			t.Fatalf("only it has the file: %v", err)
		}
		r.settle()
		r.must(r.e.DeleteConduit(context.Background(), "home", false))
		if got := r.read("d/f"); got != "text" {
			t.Errorf("read %q", got)
		}
		b.write("d/g", "more")
		for _, l := range r.legs() {
			r.must(r.cycle(l))
		}
		if e := r.find("d/g"); e.Node.Size != 4 {
			t.Errorf("the other conduit does not work on: %+v", e.Node)
		}
		if err := r.e.DeleteConduit(context.Background(), "mem:1", false); !errors.Is(err, ErrRefused) {
			t.Errorf("only it has a file: %v", err)
		}
	})
}

func TestAConduitIsEdited(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()), memory.New(flavours()[0].opts()))
	r.settle()
	set := func(v string) *string { return &v }
	parallel, keep := 7, true
	rules := []cache.Rule{{Pattern: "*.md", Strategy: "newest"}, {Pattern: "d/*", Strategy: "local"}}
	cd, err := r.e.EditConduit("mem:1", Edit{Name: set("backup"), Settings: Settings{Strategy: set("NewestWins"), Parallel: &parallel, Rules: &rules, Cadence: set("instant")}})
	r.must(err)
	if cd.Name != "backup" || cd.Strategy != "newest" || cd.Parallel != 7 {
		t.Errorf("edited: %+v", cd)
	}
	status := func() ConduitStatus {
		all, err := r.e.Status()
		r.must(err)
		return all[1]
	}
	if s := status(); s.Name != "backup" || !reflect.DeepEqual(s.Rules, rules) || s.Strategy != "newest" {
		t.Errorf("status: %+v", s)
	}
	l := r.legs()[1]
	if got := l.rules(); got.Strategy != plan.Newest || l.parallel() < 7 {
		t.Errorf("the leg goes by %+v", got)
	}
	before := r.rows()
	for what, e := range map[string]Edit{
		"a name that is used": {Name: set("home"), Settings: Settings{Strategy: set("local")}},
		"no name":             {Name: set("")},
		"a strange strategy":  {Settings: Settings{Parallel: &parallel, Strategy: set("?")}},
		"a strange rule":      {Settings: Settings{Strategy: set("local"), Rules: &[]cache.Rule{{Pattern: "x", Strategy: "?"}}}},
		"of another policy":   {Settings: Settings{Strategy: set("local"), KeepExtra: &keep}},
	} {
		if _, err := r.e.EditConduit("backup", e); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
		if after := r.rows(); after != before || len(status().Rules) != 2 {
			t.Errorf("%s: changed\n%s\nto\n%s", what, before, after)
		}
	}
	if _, err := r.e.EditConduit("mem:1", Edit{}); !errors.Is(err, ErrUnknownConduit) {
		t.Errorf("by its old name: %v", err)
	}
	if _, err = r.e.EditConduit("backup", Edit{Settings: Settings{Rules: &[]cache.Rule{}}}); err != nil || len(status().Rules) != 0 || status().Parallel != 7 {
		t.Errorf("without rules: %+v, %v", status(), err)
	}
	r.reopen()
	if s := status(); s.Name != "backup" || s.Parallel != 7 {
		t.Errorf("after a restart: %+v", s)
	}
}

// TestAPreviewTellsWhatTheFirstContactDoes compares the two, for a directory with files on all sides.
func TestAPreviewTellsWhatTheFirstContactDoes(t *testing.T) {
	pairs(t, func(t *testing.T, r *rig, second *memory.Store) {
		a := r.far(0)
		for p, text := range map[string]string{"same": "equal", "d/mine": "only here", "d/e/mine": "and here", "clash": "one", "longer": "of another size", "kind": "a file"} {
			a.write(p, text)
		}
		r.settle()
		r.read("d/mine")
		r.write("local~", "never sent")
		for p, text := range map[string]string{"same": "equal", "d/theirs": "theirs", "t/u/v": "deep", "clash": "two", "longer": "short", "kind/in": "x"} {
			if err := second.WriteFile(p, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		r.stores = append(r.stores, second)
		before, trees := r.rows(), second.Tree()
		preview := func(s Spec) *Preview {
			t.Helper()
			p, err := r.e.PreviewConduit(context.Background(), s)
			r.must(err)
			if after := r.rows(); after != before {
				t.Fatalf("a preview changed\n%s\nto\n%s", before, after)
			}
			wantTree(t, second.Tree(), trees)
			return p
		}
		spec := Spec{Name: "backup", Source: "drive:/", Target: "mem:1", Policy: "replicate"}
		got := preview(spec).Ends[0]
		if want := (PreviewEnd{
			Endpoint: "mem:1", Role: cache.RoleTarget,
			Sent: Tally{5, int64(len("only here" + "and here" + "one" + "of another size" + "a file"))}, Deleted: Tally{3, int64(len("theirs" + "deep" + "x"))},
		}); got != want {
			t.Errorf("replicate: %+v, want %+v", got, want)
		}
		spec.KeepExtra = true
		if got := preview(spec).Ends[0]; got.Deleted.Files != 0 {
			t.Errorf("without deletions: %+v", got)
		}
		spec.KeepExtra, spec.Policy = false, "synchronize"
		p := preview(spec)
		if want := (PreviewEnd{
			Endpoint: "mem:1", Role: cache.RoleTarget, Conflicts: 3,
			Sent:  Tally{5, int64(len("only here" + "and here" + "one" + "of another size" + "a file"))},
			Taken: Tally{5, int64(len("theirs" + "deep" + "two" + "short" + "x"))},
		}); p.Ends[0] != want {
			t.Errorf("synchronize: %+v, want %+v", p.Ends[0], want)
		}
		if want := []string{"clash", "kind", "longer"}; !reflect.DeepEqual(p.Conflicts, want) {
			t.Errorf("conflicts are %q", p.Conflicts)
		}
		r.script.Forget()
		r.create(spec)
		r.settle()
		r.agree()
		all, err := r.e.Status()
		r.must(err)
		if all[1].FilesSynced != p.Ends[0].Sent.Files || all[1].BytesTransferred != p.Ends[0].Sent.Bytes {
			t.Errorf("%d files, %d bytes were sent, %+v were told", all[1].FilesSynced, all[1].BytesTransferred, p.Ends[0].Sent)
		}
	})
}

func TestAPreviewOfTwoStorages(t *testing.T) {
	t.Parallel()
	stores := []*memory.Store{memory.New(flavours()[0].opts()), memory.New(flavours()[1].opts()), memory.New(flavours()[0].opts())}
	r := newRig(t, stores[0])
	r.stores = stores
	r.settle()
	for p, text := range map[string]string{"d/one": "1", "both": "same", "clash": "a"} {
		r.far(1).write(p, text)
	}
	for p, text := range map[string]string{"d/two": "22", "both": "same", "clash": "b"} {
		r.far(2).write(p, text)
	}
	for policy, want := range map[string][2]PreviewEnd{
		"synchronize": {
			{Sent: Tally{2, 3}, Taken: Tally{3, 6}}, {Sent: Tally{2, 2}, Taken: Tally{2, 3}, Conflicts: 1},
		},
		"replicate": {{Taken: Tally{3, 6}}, {Sent: Tally{2, 2}, Deleted: Tally{1, 2}}},
		"archive":   {{Taken: Tally{3, 6}, Released: Tally{3, 6}}, {Sent: Tally{2, 2}, Taken: Tally{2, 3}}},
	} {
		p, err := r.e.PreviewConduit(context.Background(), Spec{Name: "x", Source: "mem:1", Target: "mem:2", Policy: policy})
		r.must(err)
		want[0].Endpoint, want[0].Role = "mem:1", cache.RoleSource
		want[1].Endpoint, want[1].Role = "mem:2", cache.RoleTarget
		if p.At != "/x" || len(p.Ends) != 2 || p.Ends[0] != want[0] || p.Ends[1] != want[1] {
			t.Errorf("%s: %+v, want %+v", policy, p.Ends, want)
		}
	}
}
