package syncer

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"vdfs/cache"
)

func TestAPathIsFollowedThroughMoves(t *testing.T) {
	t.Parallel()
	p := past{
		{At: 10, Old: "a", New: "b"},
		{At: 20, Old: "b/x", New: "c"},
		{At: 30, Old: "dir", New: "b/dir"},
		{At: 40, Old: "b", New: "a"},
		{At: 45, New: "n"},
	}
	for _, tc := range []struct {
		path     string
		from, to int64
		want     string // "": it was not there
	}{
		{"c", 50, 0, "a/x"},
		{"c", 50, 15, "b/x"},
		{"c", 50, 20, "c"},
		{"c", 15, 0, "c"}, // the move to it was later
		{"a/dir/f", 50, 0, "dir/f"},
		{"a/dir", 50, 35, "b/dir"},
		{"a/f", 50, 0, "a/f"},
		{"a/f", 25, 0, ""}, // at 10 all that was in it had gone
		{"dir/f", 50, 0, ""},
		{"ab", 50, 0, "ab"},
		{"other", 50, 0, "other"},
		{"n", 50, 0, ""},
		{"n", 40, 0, "n"}, // it was another one then
		{"m", 60, 0, "m"},
	} {
		got, ok := p.back(tc.path, tc.from, tc.to)
		if ok != (tc.want != "") || ok && got != tc.want {
			t.Errorf("%s at %d was %q at %d, want %q", tc.path, tc.from, got, tc.to, tc.want)
		}
	}
	for _, tc := range []struct {
		path string
		at   int64
		want []string
	}{
		{"a", 0, []string{"a", "b", "c"}},
		{"a/x", 0, []string{"a/x", "b/x", "c"}},
		{"dir/f", 0, []string{"dir/f", "b/dir/f", "a/dir/f"}},
		{"dir/f", 35, []string{"dir/f"}},
		{"", 0, []string{""}},
		{"c", 50, []string{"c"}},
	} {
		if got := p.ahead(tc.path, tc.at); !slices.Equal(got, tc.want) {
			t.Errorf("%q since %d may be at %q, want %q", tc.path, tc.at, got, tc.want)
		}
	}
}

// TestMovesAreWrittenDown moves files and directories from both sides.
func TestMovesAreWrittenDown(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.mkdir("d")
		r.write("d/f", "x")
		r.write("g", "y")
		r.settle()
		r.move("d", "e")
		r.settle()
		r.move("e/f", "h")
		r.move("g", "e/g")
		r.settle()
		f.move("e", "k")
		r.settle()
		r.write("k/g", "only the content")
		r.settle()
		var moves []string
		r.must(r.c.View(func(tx *cache.Tx) error {
			all, err := tx.MovesSince(r.legs()[0].id, 0)
			for _, m := range all {
				if m.Old != "" { // else it came there
					moves = append(moves, m.Old+" "+m.New)
				}
			}
			return err
		}))
		slices.Sort(moves[1:3])
		want := []string{"d e", "e/f h", "g e/g", "e k"}
		if strings.HasSuffix(t.Name(), "without_fingerprints") { // there it is another directory
			want = want[:3]
		}
		if !slices.Equal(moves, want) {
			t.Errorf("written down are %q, want %q", moves, want)
		}
	})
}

// TestWhatLooksOlderThanItIsWasNotThereBefore brings a file with an old time, as a copy that keeps times does, and deletes it, renamed.
func TestWhatLooksOlderThanItIsWasNotThereBefore(t *testing.T) {
	eachKept(t, plainSync, func(t *testing.T, r *rig, f *far) {
		r.mkdir("d")
		r.write("d/stays", "x")
		r.settle()
		then := r.now().UnixNano()
		r.write("d/copied", "seems to be old")
		r.touch("d/copied")
		r.settle()
		was := r.now().UnixNano()
		r.move("d/copied", "d/renamed")
		r.settle()
		r.remove("d/renamed")
		r.settle()
		if _, err := r.e.Restore(t.Context(), RestoreRequest{Path: "/d", At: then}, nil); !errors.Is(err, ErrNoVersion) {
			t.Errorf("before it came it was restored: %v", err)
		}
		r.restore(RestoreRequest{Path: "/d", At: was})
		r.has("d/copied", "seems to be old")
		r.restore(RestoreRequest{Path: "/d", At: was, To: "/e"})
		r.has("e/copied", "seems to be old")
		r.has("e/stays", "x")
		r.settle()
		r.agree()
	})
}
