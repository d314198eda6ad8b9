package plan_test

import (
	"testing"

	"vdfs/syncer/plan"
)

func TestDeleteAgainstSomething(t *testing.T) {
	t.Parallel()
	f := func(s stage, t *tree) { s.file(t, "f", "v0") }
	d := func(s stage, t *tree) {
		s.mkdir(t, "d")
		s.file(t, "d/f", "f0")
		s.file(t, "d/g", "g0")
	}
	removes := func(path string) func(stage, *tree) {
		return func(s stage, t *tree) { s.remove(t, path) }
	}
	playAll(t, map[string]scenario{
		"edit against delete": {
			base: f, a: func(s stage, t *tree) { s.write(t, "f", "vA") }, b: removes("f"), wantA: []string{"f=vA"},
		},
		"delete against delete": {base: f, a: removes("f"), b: removes("f")},
		"delete and create again": {
			base: f, b: func(s stage, t *tree) { s.remove(t, "f"); s.file(t, "f", "new") }, wantA: []string{"f=new"},
		},
		"delete against touch": {
			base: func(s stage, t *tree) { f(s, t); s.find(t, "f").known = true },
			a:    func(s stage, t *tree) { s.find(t, "f").mtime = 77 }, b: func(s stage, t *tree) { s.remove(t, "f") },
		},
		"delete against rename": {
			base: f, a: func(s stage, t *tree) { s.move(t, "f", "g") }, b: removes("f"),
		},
		"directory deleted against child edited": {
			base: d, a: removes("d"), b: func(s stage, t *tree) { s.write(t, "d/f", "vB") },
			wantA: []string{"d/", "d/f=vB"},
		},
		"directory deleted against child created": {
			base: d, a: removes("d"), b: func(s stage, t *tree) { s.file(t, "d/new", "n") },
			wantA: []string{"d/", "d/new=n"},
		},
		"directories deleted against child created deep inside": {
			base: func(s stage, t *tree) { d(s, t); s.mkdir(t, "d/e"); s.mkdir(t, "d/e/x") },
			a:    removes("d"), b: func(s stage, t *tree) { s.file(t, "d/e/new", "n") },
			wantA: []string{"d/", "d/e/", "d/e/new=n"},
		},
		"directory deleted against child moved in": {
			base: func(s stage, t *tree) { d(s, t); s.mkdir(t, "x"); s.file(t, "x/h", "h0") },
			a:    removes("d"), b: func(s stage, t *tree) { s.move(t, "x/h", "d/h") },
			wantA: []string{"d/", "d/h=h0", "x/"},
		},
		"directory deleted against child moved out": {
			base: d, a: removes("d"), b: func(s stage, t *tree) { s.move(t, "d/f", "f") },
		},
		"directory deleted and made under the name it was moved to": {
			base: d, a: func(s stage, t *tree) { s.remove(t, "d"); s.mkdir(t, "e"); s.file(t, "e/n", "n") },
			b:     func(s stage, t *tree) { s.move(t, "d", "e"); s.file(t, "e/new", "new") },
			wantA: []string{"e/", "e/n=n", "e/new=new"},
		},
		"directory deleted and made again": {
			base: d, a: func(s stage, t *tree) { s.remove(t, "d"); s.mkdir(t, "d") },
			b:     func(s stage, t *tree) { s.write(t, "d/f", "vB") },
			wantA: []string{"d/", "d/f=vB"},
		},
	})
}

func TestDirectoryWithUnsentFileOutlivesItsDeletion(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a, b := s.w.drives[0], s.w.drives[1]
	s.mkdir(a, "d")
	s.file(a, "d/f", "f0")
	s.sync(0)
	s.file(b, "d/lock~", "pid")
	s.remove(a, "d")
	s.sync(0)
	if got := shape(b); len(got) != 1 || got[0] != "d/" || s.find(b, "d/lock~").bytes != "pid" {
		t.Errorf("B has %q", got)
	}
}

// Even where what is new at the endpoint has not been taken in yet, the name of
// a directory that lives on there is not given away.
func TestDeletedDirectoryThatLivesOnIsNotParked(t *testing.T) {
	t.Parallel()
	s := stage{t, oneDrive(1)}
	d, e, l := s.w.drives[0], s.w.endpoints[0], s.w.legs[0]
	s.mkdir(d, "d")
	s.mkdir(d, "d/e")
	s.sync(0)
	s.remove(d, "d")
	s.file(d, "d", "a file now")
	s.file(e, "d/e/new", "n")
	l.pull()
	got, err := plan.Decide(l, plan.Subject{Dentry: plan.DentryID(s.find(d, "d").id)}, twoWay)
	want := plan.Subject{Remote: remoteID(s.find(e, "d/e/new").id)}
	if err != nil || len(got.Ops) > 0 || got.Wait == nil || got.Wait.On != want {
		t.Errorf("decided %+v, %v; want to wait for %s", got, err, want)
	}
}

func TestDeletionWaitsForOpenFile(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a, b, h := s.w.drives[0], s.w.drives[1], s.w.endpoints[0]
	s.file(a, "f", "v0")
	s.sync(0)
	s.find(b, "f").busy = true
	s.remove(a, "f")
	for range 5 {
		if _, _, err := s.w.round(false); err != nil {
			t.Fatal(err)
		}
	}
	s.find(b, "f") // still there
	s.write(b, "f", "written late")
	s.find(b, "f").busy = false
	s.sync(0)
	if x := s.find(h, "f"); x.bytes != "written late" {
		t.Errorf("H has %q", x.bytes)
	}
}

func TestTypeChanges(t *testing.T) {
	t.Parallel()
	f := func(s stage, t *tree) { s.file(t, "f", "v0") }
	toDir := func(s stage, t *tree) {
		s.remove(t, "f")
		s.mkdir(t, "f")
		s.file(t, "f/x", "x")
	}
	edit := func(s stage, t *tree) { s.write(t, "f", "vB") }
	playAll(t, map[string]scenario{
		"file becomes directory": {base: f, a: toDir, wantA: []string{"f/", "f/x=x"}},
		"directory becomes file": {
			base:  func(s stage, t *tree) { s.mkdir(t, "d"); s.mkdir(t, "d/e"); s.file(t, "d/e/f", "f") },
			a:     func(s stage, t *tree) { s.remove(t, "d"); s.file(t, "d", "now a file") },
			wantA: []string{"d=now a file"},
		},
		"file edited against file becomes directory": {
			base: f, a: toDir, b: edit,
			wantA: []string{"f cf(B)=vB", "f/", "f/x=x"}, wantB: []string{"f cf(A)/", "f cf(A)/x=x", "f=vB"},
		},
		"file created against directory created": {
			a:     func(s stage, t *tree) { s.file(t, "d", "file") },
			b:     func(s stage, t *tree) { s.mkdir(t, "d"); s.file(t, "d/x", "x") },
			wantA: []string{"d cf(B)/", "d cf(B)/x=x", "d=file"}, wantB: []string{"d cf(A)=file", "d/", "d/x=x"},
		},
		"file becomes symlink against file edited": {
			base: func(s stage, t *tree) { f(s, t); s.file(t, "g", "g0") },
			a:    func(s stage, t *tree) { s.remove(t, "f"); s.symlink(t, "f", "g") }, b: edit,
			wantA: []string{"f cf(B)=vB", "f->g", "g=g0"}, wantB: []string{"f cf(A)->g", "f=vB", "g=g0"},
		},
		"directory with new child against directory becomes file": {
			base:  func(s stage, t *tree) { s.mkdir(t, "d") },
			a:     func(s stage, t *tree) { s.remove(t, "d"); s.file(t, "d", "file") },
			b:     func(s stage, t *tree) { s.file(t, "d/new", "n") },
			wantA: []string{"d cf(B)/", "d cf(B)/new=n", "d=file"}, wantB: []string{"d cf(A)=file", "d/", "d/new=n"},
		},
	})
}

func TestMoves(t *testing.T) {
	t.Parallel()
	f := func(s stage, t *tree) { s.file(t, "f", "v0") }
	fg := func(s stage, t *tree) { f(s, t); s.file(t, "g", "g0") }
	d := func(s stage, t *tree) { s.mkdir(t, "d"); s.file(t, "d/f", "f0") }
	ab := func(s stage, t *tree) {
		s.mkdir(t, "a")
		s.file(t, "a/x", "x")
		s.mkdir(t, "b")
		s.file(t, "b/y", "y")
	}
	moves := func(pairs ...string) func(stage, *tree) {
		return func(s stage, t *tree) {
			for i := 0; i < len(pairs); i += 2 {
				s.move(t, pairs[i], pairs[i+1])
			}
		}
	}
	one := func(k plan.OpKind) map[plan.OpKind]int {
		m := noBytes()
		m[k], m[plan.OpDeleteRemote], m[plan.OpDeleteLocal], m[plan.OpCreateLocal] = 1, 0, 0, 0
		return m
	}
	playAll(t, map[string]scenario{
		"moved and changed, where its old bytes have the new name": {
			base: f, a: func(s stage, t *tree) { s.move(t, "f", "g") },
			b:     func(s stage, t *tree) { s.write(t, "f", "vB"); s.file(t, "g", "v0") },
			wantA: []string{"g cf(B)=v0", "g=vB"}, wantB: []string{"g cf(A)=vB", "g=v0"},
		},
		"rename": {base: f, a: moves("f", "g"), wantA: []string{"g=v0"}, sent: one(plan.OpMoveRemote)},
		"rename against edit": {
			base: f, a: moves("f", "g"), b: func(s stage, t *tree) { s.write(t, "f", "vB") }, wantA: []string{"g=vB"},
		},
		"rename against rename": {
			base: f, a: moves("f", "g"), b: moves("f", "h"), wantA: []string{"g=v0"}, wantB: []string{"h=v0"}, sent: noBytes(),
		},
		"rename against the same rename": {base: f, a: moves("f", "g"), b: moves("f", "g"), wantA: []string{"g=v0"}, sent: noBytes()},
		"rename over existing":           {base: fg, a: moves("f", "g"), wantA: []string{"g=v0"}, sent: noBytes()},
		"rename and new file of the name": {
			base: f, a: func(s stage, t *tree) { s.move(t, "f", "g"); s.file(t, "f", "new") }, wantA: []string{"f=new", "g=v0"},
		},
		"rename against file created under the new name": {
			base: f, a: moves("f", "g"), b: func(s stage, t *tree) { s.file(t, "g", "B") },
			wantA: []string{"g cf(B)=B", "g=v0"}, wantB: []string{"g cf(A)=v0", "g=B"},
		},
		"rename against file created with the same bytes": {
			base: f, a: moves("f", "g"), b: func(s stage, t *tree) { s.file(t, "g", "v0") }, wantA: []string{"g=v0"},
		},
		"two files swapped": {
			base: fg, a: func(s stage, t *tree) { s.exchange(t, "f", "g") }, wantA: []string{"f=g0", "g=v0"}, sent: noBytes(),
		},
		"swap against edit": {
			base: fg, a: func(s stage, t *tree) { s.exchange(t, "f", "g") }, b: func(s stage, t *tree) { s.write(t, "f", "vB") },
			wantA: []string{"f=g0", "g=vB"},
		},
		"three names rotated": {
			base: func(s stage, t *tree) { fg(s, t); s.file(t, "h", "h0") },
			a:    moves("f", "t", "h", "f", "g", "h", "t", "g"), wantA: []string{"f=h0", "g=v0", "h=g0"}, sent: noBytes(),
		},
		"move and edit": {
			base: f, a: func(s stage, t *tree) { s.move(t, "f", "g"); s.write(t, "g", "new") }, wantA: []string{"g=new"},
			sent: map[plan.OpKind]int{plan.OpPut: 0, plan.OpReplace: 1, plan.OpMoveRemote: 1},
		},
		"directory renamed against child edited": {
			base: d, a: moves("d", "e"), b: func(s stage, t *tree) { s.write(t, "d/f", "vB") }, wantA: []string{"e/", "e/f=vB"},
		},
		"directory renamed against child created": {
			base: d, a: moves("d", "e"), b: func(s stage, t *tree) { s.file(t, "d/new", "n") },
			wantA: []string{"e/", "e/f=f0", "e/new=n"},
		},
		"two moves that would make a circle": {
			base: ab, a: moves("a", "b/a"), b: moves("b", "a/b"),
			wantA: []string{"b/", "b/a/", "b/a/x=x", "b/y=y"}, wantB: []string{"a/", "a/b/", "a/b/y=y", "a/x=x"}, sent: noBytes(),
		},
		"directory and its child change places": {
			base: func(s stage, t *tree) { s.mkdir(t, "a"); s.mkdir(t, "a/b"); s.file(t, "a/b/y", "y") },
			a:    moves("a/b", "t", "a", "t/b", "t", "a"), wantA: []string{"a/", "a/b/", "a/y=y"}, sent: noBytes(),
		},
		"directory moved into a new one of its name": {
			base: d, a: func(s stage, t *tree) { s.mkdir(t, "t"); s.move(t, "d", "t/d"); s.move(t, "t", "d") },
			wantA: []string{"d/", "d/d/", "d/d/f=f0"}, sent: noBytes(),
		},
		"child takes the name of its deleted directory": {
			base: d, a: moves("d/f", "t", "t", "d"), wantA: []string{"d=f0"}, sent: noBytes(),
		},
	})
}

func TestLargeDirectoryIsRenamedAtOnce(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a := s.w.drives[0]
	s.mkdir(a, "d")
	for i := range 60 {
		s.file(a, "d/"+string(rune('A'+i)), "x"+string(rune('A'+i)))
	}
	s.sync(0)
	s.w.count = map[plan.OpKind]int{}
	s.move(a, "d", "e")
	s.sync(0)
	total := 0
	for _, n := range s.w.count {
		total += n
	}
	if total != 2 {
		t.Errorf("%d operations: %v", total, s.w.count)
	}
}
