package syncer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/memory"
)

// strategyOf is a conduit from the drive with a strategy.
func strategyOf(s string, rules ...cache.Rule) Spec {
	return Spec{Source: "drive:/", Target: "mem:0", Policy: "synchronize", Strategy: s, Rules: rules}
}

// future is later than any time that the tests make.
var future = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// loser says where the version that has lost is.
type loser uint8

const (
	hereInTrash loser = iota + 1
	thereInTrash
	besideIt
)

// TestStrategiesDecideBetweenTwoEdits has both sides change a file, and looks for the winner on both and for the loser in the
// trash of its side.
func TestStrategiesDecideBetweenTwoEdits(t *testing.T) {
	later := func(f *far) { f.patch("f.txt", remote.Patch{Mtime: &future}) }
	for _, c := range []struct {
		strategy     string
		mine, theirs string
		after        func(f *far)
		want         string
		loser        loser
	}{
		{"newest", "mine is later", "theirs", nil, "mine is later", thereInTrash},
		{"LAST_WRITE_WINS", "mine", "theirs is later", later, "theirs is later", hereInTrash},
		{"largest", "mine is larger", "theirs", nil, "mine is larger", thereInTrash},
		{"largest", "mine", "theirs is larger", nil, "theirs is larger", hereInTrash},
		{"LocalWins", "mine", "theirs", nil, "mine", thereInTrash},
		{"remote", "mine", "theirs", nil, "theirs", hereInTrash},
		{"source", "mine", "theirs", nil, "mine", thereInTrash},
		{"target", "mine", "theirs", nil, "theirs", hereInTrash},
		{"KeepBoth", "mine", "theirs", nil, "theirs", besideIt},
	} {
		for _, base := range []string{"base", ""} {
			name := fmt.Sprintf("%s/%s against %s", c.strategy, c.mine, c.theirs)
			if base == "" {
				name += ", both new"
			}
			t.Run(name, func(t *testing.T) {
				eachPolicy(t, strategyOf(c.strategy), func(t *testing.T, r *rig, f *far) {
					r.settle()
					if base != "" {
						f.write("f.txt", base)
						r.settle()
						r.read("f.txt")
					}
					r.write("f.txt", c.mine)
					f.write("f.txt", c.theirs)
					if c.after != nil {
						c.after(f)
					}
					r.settle()
					tree := r.agree()
					if tree["f.txt"] != c.want {
						t.Errorf("f.txt is %q", tree["f.txt"])
					}
					lost := c.mine
					if c.want == c.mine {
						lost = c.theirs
					}
					r.wantLoser(tree, lost, c.loser)
					rows, counted := r.conflicts()
					if len(rows) != 1 || counted != 1 {
						t.Errorf("recorded are %+v, and counted %d", rows, counted)
					}
					if open := rows[0].State == cache.ConflictOpen; open != (c.loser == besideIt) {
						t.Errorf("the record is %+v", rows[0])
					}
					if rows[0].Path != "/f.txt" || !strings.Contains(rows[0].LocalInfo, fmt.Sprintf(`"size":%d`, len(c.mine))) ||
						!strings.Contains(rows[0].RemoteInfo, fmt.Sprintf(`"size":%d`, len(c.theirs))) {
						t.Errorf("the record does not tell of both sides: %+v", rows[0])
					}
				})
			})
		}
	}
}

// wantLoser checks that a version that has lost is where it is to be, and nowhere else.
func (r *rig) wantLoser(tree map[string]string, lost string, where loser) {
	r.t.Helper()
	here, there := r.kept()["/f.txt"], r.keptThere(0)["f.txt"]
	beside := ""
	for p, v := range tree {
		if strings.HasPrefix(p, "f (conflict ") {
			beside = v
		}
	}
	if got := map[loser]string{hereInTrash: here, thereInTrash: there, besideIt: beside}; got[where] != lost {
		r.t.Errorf("the loser %q is not where it should be: %q", lost, got)
	}
	if where != besideIt && beside != "" {
		r.t.Errorf("there is a conflict file: %q", tree)
	}
}

func TestStrategiesThatNameASideMeanItsDeletions(t *testing.T) {
	t.Run("deleted here", func(t *testing.T) {
		eachPolicy(t, strategyOf("local"), func(t *testing.T, r *rig, f *far) {
			f.write("f.txt", "base")
			r.settle()
			r.remove("f.txt")
			f.write("f.txt", "theirs")
			r.settle()
			wantTree(t, r.agree(), map[string]string{})
			r.wantLoser(nil, "theirs", thereInTrash)
			r.wantRecord("delete-on-modify resolved /f.txt")
		})
	})
	t.Run("deleted there", func(t *testing.T) {
		eachPolicy(t, strategyOf("remote"), func(t *testing.T, r *rig, f *far) {
			f.write("f.txt", "base")
			r.settle()
			r.write("f.txt", "mine")
			f.remove("f.txt")
			r.settle()
			wantTree(t, r.agree(), map[string]string{})
			r.wantLoser(nil, "mine", hereInTrash)
			r.wantRecord("modify-on-delete resolved /f.txt")
		})
	})
	t.Run("an edit is kept where no side is named", func(t *testing.T) {
		eachPolicy(t, strategyOf("newest"), func(t *testing.T, r *rig, f *far) {
			f.write("f.txt", "base")
			r.settle()
			r.write("f.txt", "mine")
			f.remove("f.txt")
			r.settle()
			wantTree(t, r.agree(), map[string]string{"f.txt": "mine"})
		})
	})
}

// wantRecord checks that there is one record of a conflict, counted once.
func (r *rig) wantRecord(want string) {
	r.t.Helper()
	rows, counted := r.conflicts()
	if len(rows) != 1 || counted != 1 || fmt.Sprintf("%s %s %s", rows[0].Type, rows[0].State, rows[0].Path) != want {
		r.t.Errorf("recorded are %+v, and counted %d; want %s", rows, counted, want)
	}
}

func TestASymlinkThatLosesIsInTheTrash(t *testing.T) {
	eachPolicy(t, strategyOf("remote"), func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.symlink("s", "base")
		r.settle()
		r.remove("s")
		r.symlink("s", "mine")
		e, err := f.find("s")
		r.must(err)
		dir := e.Parent
		f.remove("s")
		_, err = f.ep.Mkdir(t.Context(), dir, "s", remote.Attr{Target: "theirs"}, "")
		r.must(err)
		r.settle()
		wantTree(t, r.agree(), map[string]string{"s": "-> theirs"})
		if kept := r.kept(); kept["/s"] != "-> mine" {
			t.Errorf("the trash has %q", kept)
		}
	})
}

// TestRulesDecideByName gives patterns strategies of their own.
func TestRulesDecideByName(t *testing.T) {
	spec := strategyOf("remote",
		cache.Rule{Pattern: "*.log", Strategy: "local"}, cache.Rule{Pattern: "keep/deep", Strategy: "local"}, cache.Rule{Pattern: "/d/*.txt", Strategy: "LocalWins"})
	local := map[string]bool{"a.log": true, "d/b.log": true, "keep/deep/x": true, "keep/deep/e/y": true, "d/c.txt": true}
	remotes := map[string]bool{"a.txt": true, "keep/x": true, "d/e/c.txt": true, "logs": true}
	eachPolicy(t, spec, func(t *testing.T, r *rig, f *far) {
		for _, set := range []map[string]bool{local, remotes} {
			for p := range set {
				f.write(p, "base")
			}
		}
		r.settle()
		r.tree()
		for _, set := range []map[string]bool{local, remotes} {
			for p := range set {
				r.write(p, "mine")
				f.write(p, "theirs")
			}
		}
		r.settle()
		for p, v := range r.agree() {
			if local[p] && v != "mine" || remotes[p] && v != "theirs" {
				t.Errorf("%s is %q", p, v)
			}
		}
	})
}

func TestStrategiesAndRulesThatCannotBeAreRefused(t *testing.T) {
	r := &rig{t: t, dir: t.TempDir(), stores: []*memory.Store{memory.New(memory.Options{})}}
	r.open()
	defer func() { r.must(r.c.Close()) }()
	for name, s := range map[string]Spec{
		"unknown strategy":       strategyOf("oldest"),
		"merging":                strategyOf("merge"),
		"rule without pattern":   strategyOf("", cache.Rule{Pattern: "/", Strategy: "newest"}),
		"rule without strategy":  strategyOf("", cache.Rule{Pattern: "*.txt"}),
		"broken pattern":         strategyOf("", cache.Rule{Pattern: "[", Strategy: "newest"}),
		"unknown rule":           strategyOf("", cache.Rule{Pattern: "*", Strategy: "oldest"}),
		"extra kept in a sync":   {Source: "drive:/", Target: "mem:0", Policy: "synchronize", KeepExtra: true},
		"unknown policy":         {Source: "drive:/", Target: "mem:0", Policy: "consolidate"},
		"archive without target": {Source: "mem:0", Target: "drive:/a", Policy: "archive"},
	} {
		s.Name = "c"
		_, err := r.e.CreateConduit(t.Context(), s)
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatTheEndpointCannotKeepIsNotOverwritten has a strategy decide against a version of an endpoint without a trash.
func TestWhatTheEndpointCannotKeepIsNotOverwritten(t *testing.T) {
	t.Parallel()
	caps := memory.AllCaps()
	caps.Trash, caps.Versions = false, false
	r := newPolicyRig(t, strategyOf("local"), memory.New(memory.Options{Caps: &caps}))
	f := r.far(0)
	f.write("f", "base")
	f.write("g", "base")
	r.settle()
	r.write("f", "mine")
	f.write("f", "theirs")
	r.write("g", "mine")
	r.once()
	wantTree(t, f.tree(), map[string]string{"f": "theirs", "g": "mine"})
	if failed := r.failed(); len(failed) != 1 || !failed[0].Parked || !strings.Contains(failed[0].Error, "conflict-file") {
		t.Errorf("failed are %+v", failed)
	}
}

// ask brings one file into a conflict that a person has to decide.
func ask(r *rig, f *far) {
	r.settle()
	f.write("f.txt", "base")
	f.write("other", "base")
	r.settle()
	r.tree()
	r.write("f.txt", "mine")
	f.write("f.txt", "theirs")
	r.write("other", "changed")
	r.once()
	r.once()
}

// asked checks that a question is open, and that a run says so.
func (r *rig) asked(want bool) {
	r.t.Helper()
	rows, _ := r.conflicts()
	open := 0
	for _, row := range rows {
		if isQuestion(row) {
			open++
			if row.Path != "/f.txt" {
				r.t.Errorf("the question is %+v", row)
			}
		}
	}
	_, state, blocked, err := r.legs()[0].standing()
	r.must(err)
	if got := open == 1 && state == SyncConflicts && len(blocked) == 1 && blocked[0].Path == "/f.txt"; got != want || open > 1 {
		r.t.Errorf("open questions: %d, a run ends %s %v", open, state, blocked)
	}
}

func TestWithManualBothStayUntilAPersonHasChosen(t *testing.T) {
	for keep, want := range map[string]string{KeepLocal: "mine", KeepRemote: "theirs", KeepMerged: "merged", KeepBoth: "theirs"} {
		t.Run(keep, func(t *testing.T) {
			eachPolicy(t, strategyOf("manual"), func(t *testing.T, r *rig, f *far) {
				ask(r, f)
				wantTree(t, r.tree(), map[string]string{"f.txt": "mine", "other": "changed"})
				wantTree(t, f.tree(), map[string]string{"f.txt": "theirs", "other": "changed"})
				r.asked(true)
				r.reopen() // a question is as lasting as what it is about
				r.once()
				r.asked(true)
				r.must(r.e.ResolveConflict(t.Context(), "/f.txt", keep, []byte("merged")))
				r.reopen() // so is the answer
				r.settle()
				tree := r.agree()
				if tree["f.txt"] != want {
					t.Errorf("f.txt is %q", tree["f.txt"])
				}
				r.asked(false)
				switch keep {
				case KeepLocal, KeepMerged:
					r.wantLoser(tree, "theirs", thereInTrash)
				case KeepRemote:
					r.wantLoser(tree, "mine", hereInTrash)
				default:
					r.wantLoser(tree, "mine", besideIt)
				}
				if rows, counted := r.conflicts(); len(rows) != 1 || counted != 1 {
					t.Errorf("recorded are %+v, and counted %d", rows, counted)
				}
			})
		})
	}
}

// TestAnAnswerIsForgottenWithTheVersionsThatItWasAbout edits a side after a person has chosen, before that was carried out.
func TestAnAnswerIsForgottenWithTheVersionsThatItWasAbout(t *testing.T) {
	for name, edit := range map[string]func(r *rig, f *far){
		"of the drive":    func(r *rig, _ *far) { r.write("f.txt", "mine again") },
		"of the endpoint": func(_ *rig, f *far) { f.write("f.txt", "theirs again") },
	} {
		t.Run(name, func(t *testing.T) {
			eachPolicy(t, strategyOf("manual"), func(t *testing.T, r *rig, f *far) {
				ask(r, f)
				r.must(r.e.ResolveConflict(t.Context(), "/f.txt", KeepLocal, nil))
				edit(r, f)
				here, there := r.tree(), f.tree()
				r.once()
				r.once()
				wantTree(t, r.tree(), here)
				wantTree(t, f.tree(), there)
				r.asked(true)
				r.must(r.e.ResolveConflict(t.Context(), "/f.txt", KeepRemote, nil))
				r.settle()
				wantTree(t, r.agree(), there)
			})
		})
	}
}

// TestAnAnswerGoesWithWhatItIsAbout has a person choose, and then the conflict end in one way or another.
func TestAnAnswerGoesWithWhatItIsAbout(t *testing.T) {
	for name, end := range map[string]func(r *rig, f *far){
		"it is carried out":            func(*rig, *far) {},
		"deleted in the drive":         func(r *rig, _ *far) { r.remove("f.txt") },
		"deleted at the endpoint":      func(_ *rig, f *far) { f.remove("f.txt") },
		"renamed over":                 func(r *rig, _ *far) { r.write("x~", "another"); r.move("x~", "f.txt") },
		"both are alike":               func(r *rig, _ *far) { r.write("f.txt", "theirs") },
		"it gets a name that is local": func(r *rig, _ *far) { r.move("f.txt", "f.txt~") },
	} {
		t.Run(name, func(t *testing.T) {
			eachPolicy(t, strategyOf("manual"), func(t *testing.T, r *rig, f *far) {
				ask(r, f)
				id := r.find("f.txt").ID
				r.must(r.e.ResolveConflict(t.Context(), "/f.txt", KeepLocal, nil))
				if !r.decided(id) {
					t.Fatal("the answer was not kept")
				}
				end(r, f)
				for range 5 {
					r.once()
				}
				if r.decided(id) {
					t.Error("the answer outlives what it is about")
				}
			})
		})
	}
}

// decided reports whether something was decided about a dentry.
func (r *rig) decided(id cache.DentryID) (ok bool) {
	r.t.Helper()
	r.must(r.c.View(func(tx *cache.Tx) (err error) {
		_, ok, err = tx.Decision(r.legs()[0].id, id)
		return err
	}))
	return ok
}

func TestAQuestionThatNobodyNeedsToAnswerIsTakenBack(t *testing.T) {
	eachPolicy(t, strategyOf("manual"), func(t *testing.T, r *rig, f *far) {
		ask(r, f)
		r.write("f.txt", "theirs")
		r.settle()
		r.asked(false)
		wantTree(t, r.agree(), map[string]string{"f.txt": "theirs", "other": "changed"})
	})
}
