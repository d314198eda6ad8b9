package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"vdfs/syncer/plan"
)

// stage is two drives A and B on the endpoint H, on which a scenario is
// played. Paths begin without a slash.
type stage struct {
	t *testing.T
	w *world
}

func (s stage) find(t *tree, path string) *item {
	s.t.Helper()
	x := t.get(rootID)
	for name := range strings.SplitSeq(path, "/") {
		if x = t.at(x.id, name); x == nil {
			s.t.Fatalf("%s has no %q", t.name, path)
		}
	}
	return x
}

// parent is the directory of path and the name in it.
func (s stage) parent(t *tree, path string) (int64, string) {
	s.t.Helper()
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return rootID, path
	}
	return s.find(t, path[:i]).id, path[i+1:]
}

func (s stage) add(t *tree, path string, x item) {
	s.t.Helper()
	dir, name := s.parent(t, path)
	if _, err := t.add(dir, name, x); err != nil {
		s.t.Fatal(err)
	}
}

func (s stage) file(t *tree, path, bytes string) {
	s.t.Helper()
	s.add(t, path, item{kind: plan.File, bytes: bytes, mode: 0o644, mtime: t.stamp()})
}

func (s stage) mkdir(t *tree, path string) {
	s.t.Helper()
	s.add(t, path, item{kind: plan.Dir, mode: 0o755})
}

func (s stage) symlink(t *tree, path, target string) {
	s.t.Helper()
	s.add(t, path, item{kind: plan.Symlink, bytes: target})
}

func (s stage) write(t *tree, path, bytes string) {
	s.t.Helper()
	x := s.find(t, path)
	x.bytes, x.version, x.mtime, x.known, x.placeholder = bytes, x.version+1, x.mtime+100, false, false
}

func (s stage) move(t *tree, from, to string) {
	s.t.Helper()
	dir, name := s.parent(t, to)
	if old := t.at(dir, name); old != nil {
		s.remove(t, to)
	}
	if err := t.move(s.find(t, from).id, dir, name); err != nil {
		s.t.Fatal(err)
	}
}

// remove is rm -r.
func (s stage) remove(t *tree, path string) {
	s.t.Helper()
	x := s.find(t, path)
	for _, c := range t.children(x.id) {
		s.remove(t, path+"/"+c.name)
	}
	if err := t.remove(x.id); err != nil {
		s.t.Fatal(err)
	}
}

// park leaves an object with a parking name, as a move that was under way does.
func (s stage) park(t *tree, path string, by *leg) {
	s.t.Helper()
	x := s.find(t, path)
	x.name, x.parkedBy = fmt.Sprintf(".park-%d", x.id), by
}

func (s stage) exchange(t *tree, a, b string) {
	s.t.Helper()
	x, y := s.find(t, a), s.find(t, b)
	x.parent, y.parent, x.name, y.name = y.parent, x.parent, y.name, x.name
}

// sync lets both drives come to rest, first the one that is to be accepted
// first.
func (s stage) sync(first int) {
	s.t.Helper()
	legs := s.w.legs
	s.w.legs = []*leg{legs[first]}
	err := s.w.quiet()
	if s.w.legs = legs; err == nil {
		err = s.w.quiet()
	}
	if err == nil {
		err = s.w.converged()
	}
	if err != nil {
		s.t.Fatalf("%v\n%s", err, strings.Join(s.w.log, "\n"))
	}
}

// shape lists the paths with their contents, conflict names shortened to
// "cf(A)" after the device that made them.
func shape(t *tree) []string {
	var out []string
	for _, x := range t.items {
		if x.id == rootID || t.localOnly(x) {
			continue
		}
		path := strings.TrimPrefix(t.path(x), "./")
		path = strings.ReplaceAll(path, " (conflict A 2026-01-02 030405)", " cf(A)")
		path = strings.ReplaceAll(path, " (conflict B 2026-01-02 030405)", " cf(B)")
		switch x.kind {
		case plan.Dir:
			path += "/"
		case plan.Symlink:
			path += "->" + x.bytes
		default:
			path += "=" + x.bytes
		}
		out = append(out, path)
	}
	slices.Sort(out)
	return out
}

// scenario is one case, played once with A accepted first and once with B.
type scenario struct {
	base func(stage, *tree)
	a, b func(stage, *tree)
	// want is the final shape when A, or B, was accepted first; wantB is
	// left out where it is the same.
	wantA, wantB []string
	// sent bounds the operations of some kinds after the base was made.
	sent map[plan.OpKind]int
}

func (c scenario) play(t *testing.T, first int) {
	t.Helper()
	s := stage{t, twoDrives()}
	a, b := s.w.drives[0], s.w.drives[1]
	if c.base != nil {
		c.base(s, a)
		s.sync(0)
	}
	s.w.count, s.w.log = map[plan.OpKind]int{}, nil
	if c.a != nil {
		c.a(s, a)
	}
	if c.b != nil {
		c.b(s, b)
	}
	s.sync(first)
	want := c.wantA
	if first == 1 && c.wantB != nil {
		want = c.wantB
	}
	if got := shape(s.w.endpoints[0]); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q\n%s", got, want, strings.Join(s.w.log, "\n"))
	}
	for kind, most := range c.sent {
		if s.w.count[kind] > most {
			t.Errorf("%d operations %s, want at most %d\n%s", s.w.count[kind], kind, most, strings.Join(s.w.log, "\n"))
		}
	}
}

func playAll(t *testing.T, cases map[string]scenario) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		for first, who := range []string{"A", "B"} {
			t.Run(fmt.Sprintf("%s, %s first", name, who), func(t *testing.T) {
				t.Parallel()
				cases[name].play(t, first)
			})
		}
	}
}

// noBytes forbids every transfer of content to the endpoint.
func noBytes() map[plan.OpKind]int {
	return map[plan.OpKind]int{plan.OpPut: 0, plan.OpReplace: 0}
}
