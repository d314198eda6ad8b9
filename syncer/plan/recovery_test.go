package plan_test

import (
	"slices"
	"testing"

	"vdfs/syncer/plan"
)

// forget drops the whole base of a leg, as when an index is rebuilt.
func (s stage) forget(l *leg) {
	root := l.base[rootBinding]
	l.base = map[plan.BindingID]plan.Binding{rootBinding: root}
}

func TestLostBaseIsFoundAgainWithoutMovingBytes(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a, b, h := s.w.drives[0], s.w.drives[1], s.w.endpoints[0]
	s.mkdir(a, "d")
	s.file(a, "d/f", "f0")
	s.file(a, "g", "g0")
	s.symlink(a, "l", "g")
	s.sync(0)
	want := shape(h)
	s.forget(s.w.legs[1])
	for _, x := range b.items {
		x.placeholder = false
	}
	s.find(b, "g").mtime = 5
	s.w.count = map[plan.OpKind]int{}
	s.sync(1)
	if got := shape(b); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for kind, n := range s.w.count {
		if kind != plan.OpBind && kind != plan.OpSetLocalMeta && kind.Side() != plan.SideKnowledge {
			t.Errorf("%d times %s", n, kind)
		}
	}
	if s.w.count[plan.OpBind] != 4 || s.find(b, "g").mtime != s.find(h, "g").mtime {
		t.Errorf("operations %v, mtime %d", s.w.count, s.find(b, "g").mtime)
	}
}

// An object that was parked when its base was lost has no name to go back to.
func TestParkedObjectWithoutBaseGetsAName(t *testing.T) {
	t.Parallel()
	s := stage{t, oneDrive(1)}
	e, l := s.w.endpoints[0], s.w.legs[0]
	s.file(e, "parking", "bytes")
	s.find(e, "parking").parkedBy = l
	s.sync(0)
	if got := shape(e); len(got) != 1 || got[0] == "parking=bytes" {
		t.Errorf("got %q", got)
	}
}

// The drive's own move was under way when it was taken back there: the object
// goes back too, and nothing is left under a parking name.
func TestParkedObjectGoesWhereItsDentryIs(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(stage, *tree){
		"taken back":    func(stage, *tree) {},
		"moved on":      func(s stage, d *tree) { s.move(d, "f", "g") },
		"name is taken": func(s stage, d *tree) { s.move(d, "f", "g"); s.file(d, "f", "other") },
		"deleted":       func(s stage, d *tree) { s.remove(d, "f") },
		"edited":        func(s stage, d *tree) { s.write(d, "f", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stage{t, oneDrive(1)}
			d, e, l := s.w.drives[0], s.w.endpoints[0], s.w.legs[0]
			s.file(d, "f", "v0")
			s.sync(0)
			s.park(e, "f", l)
			then(s, d)
			want := shape(d)
			s.sync(0)
			if got := shape(d); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// The drive was left with a parking name in it: the circle was cut, and then
// the endpoint changed its mind.
func TestParkedDentryGoesWhereItsObjectIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then func(stage, *tree)
		want []string
	}{
		"still there": {func(stage, *tree) {}, []string{"f=v0"}},
		"moved":       {func(s stage, e *tree) { s.move(e, "f", "g") }, []string{"g=v0"}},
		"deleted":     {func(s stage, e *tree) { s.remove(e, "f") }, nil},
		"edited":      {func(s stage, e *tree) { s.write(e, "f", "new") }, []string{"f=new"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stage{t, oneDrive(1)}
			d, e, l := s.w.drives[0], s.w.endpoints[0], s.w.legs[0]
			s.file(d, "f", "v0")
			s.sync(0)
			s.park(d, "f", l)
			c.then(s, e)
			s.sync(0)
			if got := shape(d); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEditedParkedDentryOutlivesItsObject(t *testing.T) {
	t.Parallel()
	s := stage{t, oneDrive(1)}
	d, e, l := s.w.drives[0], s.w.endpoints[0], s.w.legs[0]
	s.file(d, "f", "v0")
	s.sync(0)
	s.write(d, "f", "edited")
	s.park(d, "f", l)
	s.remove(e, "f")
	s.sync(0)
	if want := []string{"f (conflict drive 2026-01-02 030405)=edited"}; !slices.Equal(shape(e), want) {
		t.Errorf("got %q, want %q", shape(e), want)
	}
}

// What another leg has parked is left alone until that leg moves it on.
func TestParkedElsewhereIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := stage{t, twoDrives()}
	a, h := s.w.drives[0], s.w.endpoints[0]
	s.file(a, "f", "v0")
	s.sync(0)
	x := s.find(h, "f")
	x.name, x.parkedBy = ".park", s.w.legs[1]
	s.write(a, "f", "edited")
	l := s.w.legs[0]
	l.pull()
	for _, subject := range l.subjects() {
		d, err := plan.Decide(l, subject, twoWay)
		if err != nil || len(d.Ops) > 0 {
			t.Errorf("%s: %v, %v", subject, d.Ops, err)
		}
		if b := l.base[subject.Binding]; b.LocalName == "f" && (d.Wait == nil || d.Wait.Reason != plan.WaitTransit) {
			t.Errorf("%s waits for %v", subject, d.Wait)
		}
	}
}

// The drive gave the object up, and the reply to its deletion was lost; then the dentry got its name back, and somebody who
// never saw its content has sent a file of that name.
func TestAFileOfTheNameOfWhatWasGivenUpIsNoUpdateOfIt(t *testing.T) {
	t.Parallel()
	s := stage{t, oneDrive(1)}
	d, e, l := s.w.drives[0], s.w.endpoints[0], s.w.legs[0]
	s.file(d, "f", "seen here only")
	s.sync(0)
	for id, b := range l.base {
		if b.LocalName == "f" {
			if b.RemoteHash == "" {
				t.Fatal("the base knows no hash")
			}
			b.LocalVersion = 0 // as OpDisown leaves it
			l.base[id] = b
		}
	}
	s.remove(e, "f")
	s.file(e, "f", "other")
	s.sync(0)
	want := []string{"f (conflict drive 2026-01-02 030405)=seen here only", "f=other"}
	if got := shape(e); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
