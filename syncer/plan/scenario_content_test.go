package plan_test

import (
	"testing"

	"vdfs/syncer/plan"
)

func TestContentConflicts(t *testing.T) {
	t.Parallel()
	f := func(s stage, t *tree) { s.file(t, "f.txt", "v0") }
	write := func(bytes string) func(stage, *tree) {
		return func(s stage, t *tree) { s.write(t, "f.txt", bytes) }
	}
	create := func(bytes string) func(stage, *tree) {
		return func(s stage, t *tree) { s.file(t, "f.txt", bytes) }
	}
	playAll(t, map[string]scenario{
		"edit against edit": {
			base: f, a: write("vA"), b: write("vB"),
			wantA: []string{"f cf(B).txt=vB", "f.txt=vA"}, wantB: []string{"f cf(A).txt=vA", "f.txt=vB"},
		},
		"edit against edit of another size needs no hash": {
			base: f, a: write("long A"), b: write("longer B"),
			wantA: []string{"f cf(B).txt=longer B", "f.txt=long A"}, wantB: []string{"f cf(A).txt=long A", "f.txt=longer B"},
			sent: map[plan.OpKind]int{plan.OpNeedLocalHash: 0, plan.OpNeedRemoteHash: 0},
		},
		"edit against edit with the same bytes": {
			base: f, a: write("v1"), b: write("v1"),
			wantA: []string{"f.txt=v1"}, sent: map[plan.OpKind]int{plan.OpReplace: 1, plan.OpUpdateLocal: 0},
		},
		"create against create": {
			a: create("vA"), b: create("vB"),
			wantA: []string{"f cf(B).txt=vB", "f.txt=vA"}, wantB: []string{"f cf(A).txt=vA", "f.txt=vB"},
		},
		"create against create with the same bytes": {
			a: create("v"), b: create("v"),
			wantA: []string{"f.txt=v"}, sent: map[plan.OpKind]int{plan.OpPut: 1, plan.OpReplace: 0},
		},
		"first sync of two different replicas": {
			a:     func(s stage, t *tree) { s.file(t, "a", "a"); s.file(t, "x", "1") },
			b:     func(s stage, t *tree) { s.file(t, "b", "b"); s.file(t, "x", "2") },
			wantA: []string{"a=a", "b=b", "x cf(B)=2", "x=1"}, wantB: []string{"a=a", "b=b", "x cf(A)=1", "x=2"},
		},
		"conflict on a conflict file does not nest": {
			base:  func(s stage, t *tree) { s.file(t, "f (conflict C 2025-01-01 000000).txt", "c") },
			a:     func(s stage, t *tree) { s.write(t, "f (conflict C 2025-01-01 000000).txt", "A") },
			b:     func(s stage, t *tree) { s.write(t, "f (conflict C 2025-01-01 000000).txt", "B") },
			wantA: []string{"f (conflict C 2025-01-01 000000).txt=A", "f cf(B).txt=B"},
			wantB: []string{"f (conflict C 2025-01-01 000000).txt=B", "f cf(A).txt=A"},
		},
		"edit against touch": {
			base: f, a: write("vA"), b: func(s stage, t *tree) { s.find(t, "f.txt").mtime = 77 },
			wantA: []string{"f.txt=vA"}, sent: map[plan.OpKind]int{plan.OpReplace: 1},
		},
		"touch only moves no bytes": {
			base: f, b: func(s stage, t *tree) { s.find(t, "f.txt").mtime = 77 },
			wantA: []string{"f.txt=v0"}, sent: map[plan.OpKind]int{plan.OpPut: 0, plan.OpReplace: 0, plan.OpUpdateLocal: 0},
		},
		"edit of another size against touch": {
			base:  func(s stage, t *tree) { f(s, t); s.find(t, "f.txt").known = true },
			a:     write("longer"),
			b:     func(s stage, t *tree) { s.find(t, "f.txt").mtime = 77 },
			wantA: []string{"f.txt=longer"}, sent: map[plan.OpKind]int{plan.OpReplace: 1},
		},
		"symlink against symlink": {
			base:  func(s stage, t *tree) { s.symlink(t, "l", "0") },
			a:     func(s stage, t *tree) { s.write(t, "l", "a") },
			b:     func(s stage, t *tree) { s.write(t, "l", "b") },
			wantA: []string{"l cf(B)->b", "l->a"}, wantB: []string{"l cf(A)->a", "l->b"},
		},
	})
}

func TestEditAgainstChmodKeepsBoth(t *testing.T) {
	t.Parallel()
	for first := range 2 {
		s := stage{t, twoDrives()}
		a, b := s.w.drives[0], s.w.drives[1]
		s.file(a, "f", "v0")
		s.sync(0)
		s.write(a, "f", "vA")
		s.find(b, "f").mode = 0o755
		s.sync(first)
		if x := s.find(s.w.endpoints[0], "f"); x.bytes != "vA" || x.mode != 0o755 || len(shape(a)) != 1 {
			t.Errorf("first %d: %q mode %o, tree %q", first, x.bytes, x.mode, shape(a))
		}
	}
}

func TestEditAgainstTouchHasTheTimeOfTheEdit(t *testing.T) {
	t.Parallel()
	for first := range 2 {
		s := stage{t, twoDrives()}
		a, b := s.w.drives[0], s.w.drives[1]
		s.file(a, "f", "v0")
		s.sync(0)
		s.write(a, "f", "vA")
		want := s.find(a, "f").mtime
		s.find(b, "f").mtime = 7
		s.sync(first)
		if x := s.find(s.w.endpoints[0], "f"); x.bytes != "vA" || x.mtime != want {
			t.Errorf("first %d: %q with mtime %d, want %d", first, x.bytes, x.mtime, want)
		}
	}
}

// The reply to the move tells the time, which must not be taken for agreed: the
// file that was written anew here turns out to be the same, time and all.
func TestTouchIsNotForgottenBehindAMove(t *testing.T) {
	t.Parallel()
	s := stage{t, oneDrive(1)}
	d, e := s.w.drives[0], s.w.endpoints[0]
	s.file(d, "f", "v0")
	s.sync(0)
	x := s.find(d, "f")
	x.version, x.known = x.version+1, true
	s.move(d, "f", "g")
	s.find(e, "f").mtime = 77
	s.sync(0)
	if x.mtime != 77 || s.find(e, "g").mtime != 77 {
		t.Errorf("the times are %d and %d", x.mtime, s.find(e, "g").mtime)
	}
}

// Nor may what the reply to a parking tells: the file was put aside in the
// drive, something else takes its name, and then it comes back under another.
func TestTouchIsNotForgottenBehindAParking(t *testing.T) {
	t.Parallel()
	for _, kind := range []plan.Kind{plan.File, plan.Dir} {
		s := stage{t, oneDrive(1)}
		d, e, l := s.w.drives[0], s.w.endpoints[0], s.w.legs[0]
		s.add(d, "f", item{kind: kind, mode: 0o755, known: true})
		s.sync(0)
		s.move(d, "f", "f~")
		s.symlink(d, "f", "to")
		x := s.find(e, "f")
		x.mode, x.mtime = 0o700, 77
		l.pull()
		for _, side := range []plan.Side{plan.SideDrive, plan.SideEndpoint} { // the symlink comes first
			if _, _, err := s.w.decide(l, plan.Subject{Dentry: plan.DentryID(s.find(d, "f").id)}, side); err != nil {
				t.Fatal(err)
			}
		}
		s.move(d, "f~", "g")
		s.sync(0)
		for _, r := range []*tree{d, e} {
			if x := s.find(r, "g"); x.mode != 0o700 || kind == plan.File && x.mtime != 77 {
				t.Errorf("%s of %s: mode %o, time %d", kind, r.name, x.mode, x.mtime)
			}
		}
	}
}

func TestThreeSidesEditOneFile(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a, b, h := s.w.drives[0], s.w.drives[1], s.w.endpoints[0]
	s.file(a, "f", "v0")
	s.sync(0)
	s.write(a, "f", "vA")
	s.write(b, "f", "vB")
	s.write(h, "f", "vH")
	s.sync(0)
	want := []string{"f cf(A)=vA", "f cf(B)=vB", "f=vH"}
	if got := shape(h); len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEditorsWayOfSavingIsOneUpdate(t *testing.T) {
	t.Parallel()
	ways := map[string]func(stage, *tree){
		"temporary file renamed over it": func(s stage, t *tree) {
			s.file(t, "f.tmp~", "new")
			s.move(t, "f.tmp~", "f")
		},
		"backup kept under a local-only name": func(s stage, t *tree) {
			s.move(t, "f", "f~")
			s.file(t, "f", "new")
		},
		"moved away, written anew, removed": func(s stage, t *tree) {
			s.move(t, "f", "f.bak")
			s.file(t, "f", "new")
			s.remove(t, "f.bak")
		},
	}
	for name, save := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := func(s stage, t *tree) { s.file(t, "f", "v0") }
			alone := scenario{base: base, a: save, wantA: []string{"f=new"}, sent: map[plan.OpKind]int{
				plan.OpPut: 0, plan.OpReplace: 1, plan.OpDeleteRemote: 0, plan.OpMoveRemote: 0, plan.OpCreateLocal: 0,
			}}
			alone.play(t, 0)
			edited := scenario{
				base: base, a: save, b: func(s stage, t *tree) { s.write(t, "f", "vB") },
				wantA: []string{"f cf(B)=vB", "f=new"}, wantB: []string{"f cf(A)=new", "f=vB"},
			}
			edited.play(t, 0)
			edited.play(t, 1)
		})
	}
}

// An endpoint whose identities do not survive an editor shows a new object.
func TestSavingAtTheEndpointIsOneUpdate(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a, h := s.w.drives[0], s.w.endpoints[0]
	s.file(a, "f", "v0")
	s.sync(0)
	before := s.find(a, "f").id
	s.file(h, "tmp", "new")
	s.move(h, "tmp", "f")
	s.sync(0)
	if x := s.find(a, "f"); x.id != before || x.bytes != "new" || len(shape(a)) != 1 {
		t.Errorf("dentry %d became %d, tree %q", before, x.id, shape(a))
	}
}
