package syncer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote/memory"
)

// conflicts are all that were recorded, and what the history says of their number.
func (r *rig) conflicts() (rows []cache.ConflictRow, counted int64) {
	r.t.Helper()
	r.must(r.c.View(func(tx *cache.Tx) (err error) {
		rows, err = tx.Conflicts("", 0, 100)
		return err
	}))
	for _, g := range r.generations() {
		counted += g.Conflicts
	}
	return rows, counted
}

// told is a conflict as a person is told of it: the names are those of the files that are there now.
func (r *rig) told(c cache.ConflictRow) string {
	r.t.Helper()
	out := fmt.Sprintf("%s %s %s", c.Type, c.State, c.Path)
	r.must(r.c.View(func(tx *cache.Tx) error {
		if c.Dentry != 0 {
			p, err := tx.Path(c.Dentry)
			if err != nil || p != c.Path {
				r.t.Errorf("%s is the conflict of %q, %v", out, p, err)
			}
			out += " here"
		}
		if c.Conflict != 0 {
			p, err := tx.Path(c.Conflict)
			if err != nil || p != c.ConflictPath || !strings.Contains(p, " (conflict test ") {
				r.t.Errorf("%s has the conflict file %q, not %q, %v", out, p, c.ConflictPath, err)
			}
			out += " and aside"
		}
		return nil
	}))
	return out
}

// TestEveryConflictIsRecordedOnce plays each class of conflict. Where an endpoint cannot tell a rename from a deletion and a
// creation, another class comes of it.
func TestEveryConflictIsRecordedOnce(t *testing.T) {
	tree := func(r *rig, f *far) { f.write("f", "base"); f.write("d/f", "base") }
	for _, c := range []struct {
		name  string
		do    func(r *rig, f *far)
		want  []string
		blind []string // without fingerprints
	}{
		{"created and created", func(r *rig, f *far) { r.write("n", "mine"); f.write("n", "theirs") }, []string{"create-on-create open /n here and aside"}, nil},
		{"edited and edited", func(r *rig, f *far) { r.write("f", "mine"); f.write("f", "theirs") }, []string{"modify-on-modify open /f here and aside"}, nil},
		{"edited and deleted", func(r *rig, f *far) { r.write("f", "mine"); f.remove("f") }, []string{"modify-on-delete resolved /f here"}, nil},
		{"deleted and edited", func(r *rig, f *far) { r.remove("d/f"); f.write("d/f", "theirs") }, []string{"delete-on-modify resolved /d/f"}, nil},
		{"created in what was deleted there", func(r *rig, f *far) { r.write("d/n", "mine"); f.remove("d") }, []string{"modify-on-parent-delete resolved /d here"}, nil},
		{"created in what was deleted here", func(r *rig, f *far) { r.remove("d"); f.write("d/n", "theirs") }, []string{"modify-on-parent-delete resolved /d here"}, nil},
		{"edited in what was deleted there", func(r *rig, f *far) { r.write("d/f", "mine"); f.remove("d") }, []string{
			"modify-on-delete resolved /d/f here", "modify-on-parent-delete resolved /d here",
		}, nil},
		{"renamed and renamed", func(r *rig, f *far) { r.move("f", "g"); f.move("f", "h") }, []string{"move-on-move resolved /h here"}, []string{}},
		{
			"created where another moved", func(r *rig, f *far) { r.write("n", "mine"); f.move("f", "n") },
			[]string{"move-on-existing open /n here and aside"},
			[]string{"create-on-create open /n here and aside"},
		},
		{"a directory and a file", func(r *rig, f *far) { r.mkdir("n"); f.write("n", "theirs") }, []string{"type-mismatch open /n here and aside"}, nil},
		{"the same on both sides", func(r *rig, f *far) {
			r.write("f", "both")
			f.write("f", "both")
			r.write("n", "new")
			f.write("n", "new")
		}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				tree(r, f)
				r.settle()
				r.tree()
				c.do(r, f)
				r.settle()
				r.agree()
				want := c.want
				if strings.Contains(t.Name(), "without_fingerprints") && c.blind != nil {
					want = c.blind
				}
				r.wantConflicts(want)
			})
		})
	}
}

func (r *rig) wantConflicts(want []string) {
	r.t.Helper()
	rows, counted := r.conflicts()
	var got []string
	for _, row := range rows {
		got = append(got, r.told(row))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || counted != int64(len(want)) {
		r.t.Errorf("recorded are %q, and counted %d; want %q", got, counted, want)
	}
}

func TestAConflictOfTheFirstListingIsCounted(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.stores = append(r.stores, memory.New(fl.opts()))
			r.far(0).write("f", "theirs")
			r.write("f", "mine")
			r.join(0)
			r.settle()
			r.agree()
			r.wantConflicts([]string{"create-on-create open /f here and aside"})
		})
	}
}

// TestTheWinnerOfAConflictLeadsToIt resolves by the file that has the name, after both were renamed.
func TestTheWinnerOfAConflictLeadsToIt(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.write("n", "mine")
		f.write("n", "theirs")
		r.settle()
		rows, _ := r.conflicts()
		r.move("n", "winner")
		r.move(strings.TrimPrefix(rows[0].ConflictPath, "/"), "loser")
		r.must(r.e.ResolveConflict(t.Context(), "/winner", KeepRemote, nil))
		r.settle()
		wantTree(t, r.agree(), map[string]string{"winner": "theirs"})
	})
}
