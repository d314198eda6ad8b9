package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"vdfs/syncer/plan"
)

// strategyCase is a conflict between A and B, both of whose legs have the same
// strategy.
type strategyCase struct {
	strategy plan.Strategy
	end      plan.End
	base     func(stage, *tree)
	a, b     func(stage, *tree)
	// wantA and savedA are what is there, and what is in a trash, when A was
	// accepted first.
	wantA, savedA, wantB, savedB []string
	class                        plan.Class
}

func (c strategyCase) play(t *testing.T, first int) {
	t.Helper()
	s := stage{t, twoDrives()}
	for _, l := range s.w.legs {
		l.rules.Strategy = c.strategy
		if c.end != 0 {
			l.rules.End = c.end
		}
	}
	a, b := s.w.drives[0], s.w.drives[1]
	if c.base != nil {
		c.base(s, a)
		s.sync(0)
	}
	s.w.log, s.w.count = nil, map[plan.OpKind]int{}
	c.a(s, a)
	c.b(s, b)
	s.sync(first)
	want, saved := c.wantA, c.savedA
	if first == 1 {
		want, saved = c.wantB, c.savedB
	}
	if got := shape(s.w.endpoints[0]); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q\n%s", got, want, strings.Join(s.w.log, "\n"))
	}
	if got := slices.Sorted(maps.Keys(s.w.saved)); !slices.Equal(got, saved) {
		t.Errorf("saved %q, want %q\n%s", got, saved, strings.Join(s.w.log, "\n"))
	}
	if s.w.conflicts[c.class] != 1 || len(s.w.conflicts) != 1 {
		t.Errorf("conflicts %v, want one of %s", s.w.conflicts, c.class)
	}
}

func playStrategies(t *testing.T, cases map[string]strategyCase) {
	t.Helper()
	for name, c := range cases {
		for first, who := range []string{"A", "B"} {
			t.Run(fmt.Sprintf("%s, %s first", name, who), func(t *testing.T) {
				t.Parallel()
				c.play(t, first)
			})
		}
	}
}

// The versions of the cases: A's is the larger one, B's the newer one.
const larger, newer = "larger", "new"

func TestStrategiesOfEdits(t *testing.T) {
	t.Parallel()
	both := func(c strategyCase) strategyCase {
		c.class = plan.ModifyOnModify
		c.base = func(s stage, t *tree) { s.file(t, "f", "v0") }
		c.a = func(s stage, t *tree) { s.write(t, "f", larger) }
		c.b = func(s stage, t *tree) { s.write(t, "f", newer); s.find(t, "f").mtime += 1000 }
		return c
	}
	playStrategies(t, strategiesOf(both))
}

func TestStrategiesOfCreations(t *testing.T) {
	t.Parallel()
	both := func(c strategyCase) strategyCase {
		c.class = plan.CreateOnCreate
		c.a = func(s stage, t *tree) { s.file(t, "f", larger) }
		c.b = func(s stage, t *tree) { s.file(t, "f", newer); s.find(t, "f").mtime += 1000 }
		return c
	}
	playStrategies(t, strategiesOf(both))
}

// strategiesOf are the cases of two files; make adds what they do.
func strategiesOf(make func(strategyCase) strategyCase) map[string]strategyCase {
	one := func(s string) []string { return []string{"f=" + s} }
	first := strategyCase{wantA: one(larger), savedA: []string{newer}, wantB: one(newer), savedB: []string{larger}}
	second := strategyCase{wantA: one(newer), savedA: []string{larger}, wantB: one(larger), savedB: []string{newer}}
	out := map[string]strategyCase{}
	add := func(c strategyCase, s plan.Strategy, end plan.End) {
		c.strategy, c.end = s, end
		out[fmt.Sprintf("%s, end %d", s, end)] = make(c)
	}
	add(first, plan.RemoteWins, 0)
	add(second, plan.LocalWins, 0)
	add(second, plan.SourceWins, plan.Target) // the source is the drive
	add(first, plan.TargetWins, plan.Target)
	add(first, plan.SourceWins, plan.Source)
	add(second, plan.TargetWins, plan.Source)
	add(strategyCase{wantA: one(newer), savedA: []string{larger}, wantB: one(newer), savedB: []string{larger}}, plan.Newest, 0)
	add(strategyCase{wantA: one(larger), savedA: []string{newer}, wantB: one(larger), savedB: []string{newer}}, plan.Largest, 0)
	files := strategyCase{wantA: []string{"f cf(B)=" + newer, "f=" + larger}, wantB: []string{"f cf(A)=" + larger, "f=" + newer}}
	add(files, plan.ConflictFile, 0)
	add(files, plan.Merge, 0) // the test's merge wants equal lengths
	return out
}

func TestTiesAreDecidedAlikeEverywhere(t *testing.T) {
	t.Parallel()
	write := func(bytes string, mtime int64) func(stage, *tree) {
		return func(s stage, t *tree) { s.write(t, "f", bytes); s.find(t, "f").mtime = mtime }
	}
	link := func(to string) func(stage, *tree) {
		return func(s stage, t *tree) { s.write(t, "l", to) }
	}
	base := func(s stage, t *tree) { s.file(t, "f", "v0"); s.symlink(t, "l", "0") }
	cases := map[string]strategyCase{}
	for _, strategy := range []plan.Strategy{plan.Newest, plan.Largest} {
		cases[strategy.String()+" of one time and size"] = strategyCase{
			strategy: strategy, base: base, a: write("v1", 500), b: write("v2", 500), class: plan.ModifyOnModify,
			wantA: []string{"f=v2", "l->0"}, savedA: []string{"v1"}, wantB: []string{"f=v2", "l->0"}, savedB: []string{"v1"},
		}
		cases[strategy.String()+" of one size"] = strategyCase{
			strategy: strategy, base: base, a: write("v1", 600), b: write("v2", 500), class: plan.ModifyOnModify,
			wantA: []string{"f=v1", "l->0"}, savedA: []string{"v2"}, wantB: []string{"f=v1", "l->0"}, savedB: []string{"v2"},
		}
		cases[strategy.String()+" of symlinks"] = strategyCase{
			strategy: strategy, base: base, a: link("aa"), b: link("b"), class: plan.ModifyOnModify,
			wantA: []string{"f=v0", "l->b"}, savedA: []string{"aa"}, wantB: []string{"f=v0", "l->b"}, savedB: []string{"aa"},
		}
	}
	cases["newest of one time"] = strategyCase{
		strategy: plan.Newest, base: base, a: write("longer", 500), b: write("v2", 500), class: plan.ModifyOnModify,
		wantA: []string{"f=v2", "l->0"}, savedA: []string{"longer"}, wantB: []string{"f=v2", "l->0"}, savedB: []string{"longer"},
	}
	playStrategies(t, cases)
}

func TestMergePutsBothTogether(t *testing.T) {
	t.Parallel()
	write := func(bytes string) func(stage, *tree) { return func(s stage, t *tree) { s.write(t, "f", bytes) } }
	merged := []string{"f=v1+v2"}
	saved := []string{"v1", "v2"}
	c := strategyCase{
		strategy: plan.Merge, base: func(s stage, t *tree) { s.file(t, "f", "v0") }, a: write("v1"), b: write("v2"),
		wantA: merged, savedA: saved, wantB: merged, savedB: saved,
	}
	for first := range 2 {
		s := stage{t, twoDrives()}
		for _, l := range s.w.legs {
			l.rules.Strategy = plan.Merge
		}
		c.base(s, s.w.drives[0])
		s.sync(0)
		s.w.count = map[plan.OpKind]int{}
		c.a(s, s.w.drives[0])
		c.b(s, s.w.drives[1])
		s.sync(first)
		if got := shape(s.w.endpoints[0]); !slices.Equal(got, merged) || !s.w.saved["v1"] || !s.w.saved["v2"] {
			t.Errorf("got %q, saved %v", got, s.w.saved)
		}
		if s.w.count[plan.OpMerge] != 1 || s.w.count[plan.OpReplace] != 2 || s.w.count[plan.OpSplitLoser] != 0 {
			t.Errorf("operations %v", s.w.count)
		}
	}
}

// A strategy that names a side means its deletions, too; the others do not, as
// there is nothing to compare.
func TestStrategiesOfDeletions(t *testing.T) {
	t.Parallel()
	edit := func(s stage, t *tree) { s.write(t, "f", "vA") }
	remove := func(s stage, t *tree) { s.remove(t, "f") }
	base := func(s stage, t *tree) { s.file(t, "f", "v0"); s.find(t, "f").known = true }
	kept := []string{"f=vA"}
	for strategy := plan.ConflictFile; strategy <= plan.Manual; strategy++ {
		for first := range 2 {
			t.Run(fmt.Sprintf("%s, %d first", strategy, first), func(t *testing.T) {
				t.Parallel()
				s := stage{t, twoDrives()}
				for _, l := range s.w.legs {
					l.rules.Strategy = strategy
				}
				base(s, s.w.drives[0])
				s.sync(0)
				edit(s, s.w.drives[0])
				remove(s, s.w.drives[1])
				s.sync(first)
				// The one that comes second decides, and for it the drive is its own.
				deletionWins := first == 0 && (strategy == plan.LocalWins || strategy == plan.SourceWins) ||
					first == 1 && (strategy == plan.RemoteWins || strategy == plan.TargetWins)
				want, class := kept, plan.DeleteOnModify
				if first == 1 {
					class = plan.ModifyOnDelete
				}
				if deletionWins {
					want = nil
				}
				if got := shape(s.w.endpoints[0]); !slices.Equal(got, want) || s.w.saved["vA"] != deletionWins {
					t.Errorf("got %q, want %q; saved %v\n%s", got, want, s.w.saved, strings.Join(s.w.log, "\n"))
				}
				if s.w.conflicts[class] != 1 {
					t.Errorf("conflicts %v, want %s", s.w.conflicts, class)
				}
			})
		}
	}
}

// What loses to a deletion is brought here first, if it is elsewhere: the
// deletion goes on to where it is.
func TestDeletionThatWinsSavesWhatIsNotHere(t *testing.T) {
	t.Parallel()
	s := stage{t, oneDrive(2)}
	one, two := s.w.endpoints[0], s.w.endpoints[1]
	s.w.legs[1].rules.Strategy = plan.RemoteWins
	s.file(s.w.drives[0], "f", "v0")
	s.sync(0)
	s.write(one, "f", "edited")
	s.remove(two, "f")
	s.w.only = s.w.legs[0]
	if err := s.w.quiet(); err != nil {
		t.Fatal(err)
	}
	s.w.only = nil
	s.sync(0)
	if len(shape(one)) > 0 || !s.w.saved["edited"] || s.w.count[plan.OpNeedBytes] != 1 {
		t.Errorf("got %q, saved %v, operations %v", shape(one), s.w.saved, s.w.count)
	}
}

func TestManualWaitsForAPerson(t *testing.T) {
	t.Parallel()
	for choice, want := range map[plan.Strategy][]string{
		plan.LocalWins:    {"f=vB", "g=new"},
		plan.RemoteWins:   {"f=vA", "g=new"},
		plan.ConflictFile: {"f cf(B)=vB", "f=vA", "g=new"},
	} {
		for _, bound := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, bound %v", choice, bound), func(t *testing.T) {
				t.Parallel()
				s := stage{t, twoDrives()}
				a, b, h, l := s.w.drives[0], s.w.drives[1], s.w.endpoints[0], s.w.legs[1]
				l.rules.Strategy = plan.Manual
				s.w.mayStay = []plan.Reason{plan.WaitDecision}
				s.w.nobody = true
				s.file(a, "g", "g0")
				s.sync(0)
				if bound {
					s.file(a, "f", "v0")
					s.sync(0)
					s.write(a, "f", "vA")
					s.write(b, "f", "vB")
				} else {
					s.file(a, "f", "vA")
					s.file(b, "f", "vB")
				}
				s.write(b, "g", "new")
				for _, s.w.only = range []*leg{s.w.legs[0], nil} {
					if err := s.w.quiet(); err != nil {
						t.Fatal(err)
					}
				}
				if s.find(b, "f").bytes != "vB" || s.find(h, "f").bytes != "vA" || s.find(h, "g").bytes != "new" {
					t.Errorf("B has %q, H has %q", shape(b), shape(h))
				}
				d, err := plan.Decide(l, plan.Subject{Dentry: plan.DentryID(s.find(b, "f").id)}, l.rules)
				if err != nil || d.Wait == nil || d.Wait.Reason != plan.WaitDecision || d.Conflict == nil || len(d.Ops) > 0 {
					t.Fatalf("decided %+v, %v", d, err)
				}
				if d.Conflict.Strategy != plan.Manual {
					t.Errorf("strategy %s", d.Conflict.Strategy)
				}
				l.decided[l.versions(s.find(b, "f"))] = choice
				s.sync(1)
				if got := shape(h); !slices.Equal(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

// The strategy of one object goes before that of the leg.
func TestStrategyOfOneObject(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a, b, l := s.w.drives[0], s.w.drives[1], s.w.legs[1]
	for _, f := range []string{"f", "g"} {
		s.file(a, f, "v0")
	}
	s.sync(0)
	for _, f := range []string{"f", "g"} {
		s.write(a, f, "vA")
		s.write(b, f, "vB")
	}
	s.w.only = s.w.legs[0]
	if err := s.w.quiet(); err != nil {
		t.Fatal(err)
	}
	s.w.only = nil
	l.pull()
	l.decided[l.versions(s.find(b, "g"))] = plan.LocalWins
	s.sync(1)
	if want := []string{"f cf(B)=vB", "f=vA", "g=vB"}; !slices.Equal(shape(a), want) {
		t.Errorf("got %q, want %q", shape(a), want)
	}
}

func TestUnknownStrategyOfAnObjectIsRefused(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a, b, l := s.w.drives[0], s.w.drives[1], s.w.legs[1]
	s.file(a, "f", "v0")
	s.sync(0)
	s.write(a, "f", "longer")
	s.write(b, "f", "of another size")
	s.w.only = s.w.legs[0]
	if err := s.w.quiet(); err != nil {
		t.Fatal(err)
	}
	l.pull()
	x := s.find(b, "f")
	l.decided[l.versions(x)] = plan.Manual + 1
	d, err := plan.Decide(l, plan.Subject{Dentry: plan.DentryID(x.id)}, l.rules)
	if !errors.Is(err, plan.ErrPolicy) || len(d.Ops) > 0 {
		t.Errorf("decided %+v, %v", d, err)
	}
}

// Every class of CON-01 to CON-04 that is for the planner to find. The others
// of CON-01 are conditions of an endpoint or a disk: permission denied, disk
// full, network error.
func TestClassesOfConflicts(t *testing.T) {
	t.Parallel()
	f := func(s stage, t *tree) { s.file(t, "f", "v0") }
	d := func(s stage, t *tree) { s.mkdir(t, "d"); s.file(t, "d/f", "f0"); s.file(t, "x", "x0") }
	write := func(path, bytes string) func(stage, *tree) { return func(s stage, t *tree) { s.write(t, path, bytes) } }
	file := func(path, bytes string) func(stage, *tree) { return func(s stage, t *tree) { s.file(t, path, bytes) } }
	remove := func(path string) func(stage, *tree) { return func(s stage, t *tree) { s.remove(t, path) } }
	move := func(from, to string) func(stage, *tree) { return func(s stage, t *tree) { s.move(t, from, to) } }
	mkdir := func(path string) func(stage, *tree) { return func(s stage, t *tree) { s.mkdir(t, path) } }
	cases := map[string]struct {
		base          func(stage, *tree)
		first, second func(stage, *tree)
		class         plan.Class // 0: no conflict
	}{
		"CON-01 FileExists, CON-03 CreateOnCreate, CON-04 CreateOnExisting": {nil, file("f", "1"), file("f", "22"), plan.CreateOnCreate},
		"CON-01 DirectoryExists": {nil, mkdir("d"), file("d", "2"), plan.TypeMismatch},
		"CON-01 DataMismatch, CON-02 BothModified, CON-03 ModifyOnModify and ContentConflict, CON-04 ModifyOnModified": {
			f, write("f", "1"), write("f", "22"), plan.ModifyOnModify,
		},
		"CON-02 DeletedVsModified, CON-03 ModifyOnDelete, CON-04 ModifyOnDeleted": {f, remove("f"), write("f", "2"), plan.ModifyOnDelete},
		"CON-02 DeletedVsModified, CON-03 DeleteOnModify, CON-04 DeleteOnModified": {
			f, write("f", "longer"), remove("f"), plan.DeleteOnModify,
		},
		"CON-02 TypeMismatch": {
			f, func(s stage, t *tree) { s.remove(t, "f"); s.mkdir(t, "f") },
			func(s stage, t *tree) { s.remove(t, "f"); s.symlink(t, "f", "x") }, plan.TypeMismatch,
		},
		"CON-03 ModifyOnParentDelete":                {d, remove("d"), file("d/new", "n"), plan.ModifyOnParentDelete},
		"CON-03 ModifyOnParentDelete, the other way": {d, file("d/new", "n"), remove("d"), plan.ModifyOnParentDelete},
		"CON-03 MoveToDeletedParent":                 {d, move("x", "d/x"), remove("d"), plan.MoveToDeletedParent},
		"CON-03 MoveToDeletedParent, the other way":  {d, remove("d"), move("x", "d/x"), plan.MoveToDeletedParent},
		"CON-03 MoveOnMove":                          {f, move("f", "1"), move("f", "2"), plan.MoveOnMove},
		"CON-03 RenameOrMoveOnExisting":              {f, move("f", "g"), file("g", "n"), plan.MoveOnExisting},
		"CON-04 RenameOrMoveToExisting":              {f, file("g", "longer"), move("f", "g"), plan.MoveOnExisting},
		"CON-04 RenameOrMoveOfDeleted":               {f, remove("f"), move("f", "g"), plan.MoveOnDelete},
		"CON-03 MetadataOnlyChange":                  {f, write("f", "1"), func(s stage, t *tree) { s.find(t, "f").mode = 0o755 }, 0},
		"equal bytes":                                {f, write("f", "1"), write("f", "1"), 0},
		"deleted by both":                            {f, remove("f"), remove("f"), 0},
		"CON-09 saved by renaming":                   {f, func(s stage, t *tree) { s.file(t, "t", "1"); s.move(t, "t", "f") }, func(stage, *tree) {}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stage{t, twoDrives()}
			if c.base != nil {
				c.base(s, s.w.drives[0])
				for _, x := range s.w.drives[0].items {
					x.known = true
				}
				s.sync(0)
			}
			c.first(s, s.w.drives[0])
			c.second(s, s.w.drives[1])
			s.sync(0)
			want := map[plan.Class]int{}
			if c.class != 0 {
				want[c.class] = 1
			}
			if !maps.Equal(s.w.conflicts, want) {
				t.Errorf("conflicts %v, want %v\n%s", s.w.conflicts, want, strings.Join(s.w.log, "\n"))
			}
		})
	}
}
