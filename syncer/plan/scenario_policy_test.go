package plan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"vdfs/syncer/plan"
)

// oneWay is a place that the endpoint src feeds and the endpoint dst gets.
type oneWay struct {
	stage
	src, drive, dst *tree
}

func newOneWay(t *testing.T, w *world) oneWay {
	return oneWay{stage{t, w}, w.endpoints[0], w.drives[0], w.endpoints[1]}
}

// run brings the place to rest, beginning with one of its legs.
func (s oneWay) run(first int) {
	s.t.Helper()
	s.w.only = s.w.legs[first]
	for range 5 {
		if _, _, err := s.w.round(false); err != nil {
			s.t.Fatal(err)
		}
	}
	s.w.only = nil
	err := s.w.quiet()
	if err == nil {
		err = s.w.converged()
	}
	if err != nil {
		s.t.Fatalf("%v\n%s", err, strings.Join(s.w.log, "\n"))
	}
}

func (s oneWay) expect(t *tree, want ...string) {
	s.t.Helper()
	if got := shape(t); !slices.Equal(got, want) {
		s.t.Errorf("%s: got %q, want %q\n%s", t.name, got, want, strings.Join(s.w.log, "\n"))
	}
}

// oneWayCase is a scenario of a policy that flows one way.
type oneWayCase struct {
	// act is done on top of the directory d with the files d/f=f0 and d/g=g0,
	// and the file h=h0, that are everywhere.
	act func(oneWay)
	// src and dst are what is there in the end.
	src, dst []string
	// saved are the contents that are in a trash.
	saved []string
	// drift is how many decisions undid what was done at the target.
	drift int
}

func (c oneWayCase) play(t *testing.T, make func() *world, first int) {
	t.Helper()
	s := newOneWay(t, make())
	s.mkdir(s.src, "d")
	s.file(s.src, "d/f", "f0")
	s.file(s.src, "d/g", "g0")
	s.file(s.src, "h", "h0")
	for _, x := range s.src.items {
		x.known = true
	}
	s.run(0)
	s.w.count, s.w.log = map[plan.OpKind]int{}, nil
	c.act(s)
	s.run(first)
	s.expect(s.src, c.src...)
	s.expect(s.dst, c.dst...)
	if got := slices.Sorted(maps.Keys(s.w.saved)); !slices.Equal(got, c.saved) {
		t.Errorf("saved %q, want %q\n%s", got, c.saved, strings.Join(s.w.log, "\n"))
	}
	if s.w.drift != c.drift {
		t.Errorf("drift was undone %d times, want %d\n%s", s.w.drift, c.drift, strings.Join(s.w.log, "\n"))
	}
	if len(s.w.conflicts) > 0 {
		t.Errorf("conflicts %v", s.w.conflicts)
	}
}

func playOneWay(t *testing.T, make func() *world, cases map[string]oneWayCase) {
	t.Helper()
	for name, c := range cases {
		for first, leg := range []string{"source", "target"} {
			t.Run(name+", "+leg+" first", func(t *testing.T) {
				t.Parallel()
				c.play(t, make, first)
			})
		}
	}
}

func TestReplicate(t *testing.T) {
	t.Parallel()
	base := []string{"d/", "d/f=f0", "d/g=g0", "h=h0"}
	playOneWay(t, mirror, map[string]oneWayCase{
		"edit at the source": {
			act: func(s oneWay) { s.write(s.src, "h", "new") },
			src: []string{"d/", "d/f=f0", "d/g=g0", "h=new"}, dst: []string{"d/", "d/f=f0", "d/g=g0", "h=new"},
		},
		"deleted at the source": {
			act: func(s oneWay) { s.remove(s.src, "d") }, src: []string{"h=h0"}, dst: []string{"h=h0"},
			saved: []string{"f0", "g0"},
		},
		"edit at the target": {
			act: func(s oneWay) { s.write(s.dst, "h", "mine") }, src: base, dst: base, saved: []string{"mine"}, drift: 1,
		},
		"edit on both": {
			act: func(s oneWay) { s.write(s.dst, "h", "mine"); s.write(s.src, "h", "new") },
			src: []string{"d/", "d/f=f0", "d/g=g0", "h=new"}, dst: []string{"d/", "d/f=f0", "d/g=g0", "h=new"},
			saved: []string{"mine"}, drift: 1,
		},
		"edit at the target, deleted at the source": {
			act: func(s oneWay) { s.write(s.dst, "h", "mine"); s.remove(s.src, "h") },
			src: []string{"d/", "d/f=f0", "d/g=g0"}, dst: []string{"d/", "d/f=f0", "d/g=g0"},
			saved: []string{"mine"},
		},
		"touch at the target": {
			act: func(s oneWay) { s.find(s.dst, "h").mtime = 77 }, src: base, dst: base, drift: 1,
		},
		"chmod at the target": {
			act: func(s oneWay) { s.find(s.dst, "d").mode = 0o700 }, src: base, dst: base, drift: 1,
		},
		"deleted at the target": {
			act: func(s oneWay) { s.remove(s.dst, "h") }, src: base, dst: base, drift: 1,
		},
		"directory deleted at the target": {
			act: func(s oneWay) { s.remove(s.dst, "d") }, src: base, dst: base, drift: 3,
		},
		"renamed at the target": {
			act: func(s oneWay) { s.move(s.dst, "h", "d/x") }, src: base, dst: base, drift: 1,
		},
		"two names swapped at the target": {
			act: func(s oneWay) { s.exchange(s.dst, "d/f", "h") }, src: base, dst: base, drift: 1,
		},
		"more at the target": {
			act: func(s oneWay) { s.file(s.dst, "d/more", "more"); s.mkdir(s.dst, "x"); s.file(s.dst, "x/y", "y") },
			src: base, dst: base, saved: []string{"more", "y"}, drift: 3,
		},
		"something else under the name": {
			act: func(s oneWay) { s.remove(s.dst, "h"); s.mkdir(s.dst, "h"); s.file(s.dst, "h/x", "x") },
			src: base, dst: base, saved: []string{"x"}, drift: 3,
		},
		"moved below what is more": {
			act: func(s oneWay) { s.mkdir(s.dst, "x"); s.move(s.dst, "d", "x/d"); s.move(s.dst, "x", "d") },
			src: base, dst: base, drift: 2,
		},
		"saved at the target by renaming": {
			act: func(s oneWay) { s.file(s.dst, "t", "mine"); s.move(s.dst, "t", "h") },
			src: base, dst: base, saved: []string{"mine"}, drift: 2,
		},
	})
}

func TestReplicateKeepsWhatIsMore(t *testing.T) {
	t.Parallel()
	base := []string{"d/", "d/f=f0", "d/g=g0", "h=h0"}
	playOneWay(t, keepingMirror, map[string]oneWayCase{
		"more at the target": {
			act: func(s oneWay) { s.file(s.dst, "d/more", "more"); s.mkdir(s.dst, "x"); s.file(s.dst, "x/y", "y") },
			src: base, dst: []string{"d/", "d/f=f0", "d/g=g0", "d/more=more", "h=h0", "x/", "x/y=y"},
		},
		"deleted at the source": {
			act: func(s oneWay) { s.remove(s.src, "d") }, src: []string{"h=h0"}, dst: base,
		},
		"made again at the source": {
			act: func(s oneWay) { s.remove(s.src, "h"); s.run(0); s.run(1); s.file(s.src, "h", "new") },
			src: []string{"d/", "d/f=f0", "d/g=g0", "h=new"}, dst: []string{"d/", "d/f=f0", "d/g=g0", "h=new"}, saved: []string{"h0"}, drift: 1,
		},
		"a file takes the name of a kept directory": {
			act: func(s oneWay) { s.remove(s.src, "d"); s.run(0); s.run(1); s.file(s.src, "d", "new") },
			src: []string{"d=new", "h=h0"}, dst: []string{"d=new", "h=h0"}, saved: []string{"f0", "g0"}, drift: 3,
		},
		"edit at the target": {
			act: func(s oneWay) { s.write(s.dst, "h", "mine") }, src: base, dst: base, saved: []string{"mine"}, drift: 1,
		},
	})
}

// What stays at a target after the drive has deleted it stays under a name, also
// when it was parked at that moment.
func TestWhatIsKeptIsNotLeftParked(t *testing.T) {
	t.Parallel()
	base := []string{"d/", "d/f=f0", "h=h0"}
	for name, c := range map[string]struct {
		parked []string
		act    func(s stage, d, e *tree, l *leg)
		want   []string
		saved  []string
	}{
		"a file": {[]string{"h"}, func(s stage, d, _ *tree, _ *leg) { s.remove(d, "h") }, base, nil},
		"another has its name": {[]string{"h"}, func(s stage, d, _ *tree, _ *leg) {
			s.remove(d, "h")
			s.mkdir(d, "h")
		}, []string{"d/", "d/f=f0", "h 2=h0", "h/"}, nil},
		"another of the target has its name": {[]string{"h"}, func(s stage, d, e *tree, _ *leg) {
			s.remove(d, "h")
			s.file(e, "h", "more")
		}, []string{"d/", "d/f=f0", "h 2=h0", "h=more"}, nil},
		"a file and its directory":        {[]string{"d/f", "d"}, func(s stage, d, _ *tree, _ *leg) { s.remove(d, "d") }, base, nil},
		"a file, not its directory":       {[]string{"d/f"}, func(s stage, d, _ *tree, _ *leg) { s.remove(d, "d") }, base, nil},
		"a directory, not the file in it": {[]string{"d"}, func(s stage, d, _ *tree, _ *leg) { s.remove(d, "d") }, base, nil},
		"its directory is nobody's any more": {[]string{"d/f"}, func(s stage, d, _ *tree, l *leg) {
			b, _, _ := l.BindingOfDentry(plan.DentryID(s.find(d, "d").id))
			s.remove(d, "d")
			l.drop(b.ID)
		}, base, nil},
		"what was in a directory takes its name": {nil, func(s stage, d, _ *tree, _ *leg) {
			s.move(d, "d/f", "t")
			s.remove(d, "d")
			s.move(d, "t", "d")
		}, []string{"d 2/", "d=f0", "h=h0"}, nil},
		"it was only in the way, and its directory is kept": {nil, func(s stage, d, e *tree, l *leg) {
			s.file(e, "d/way", "in the way")
			s.park(e, "d/way", l)
			s.remove(d, "d")
		}, base, []string{"in the way"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stage{t, mirrorOfDrive()}
			s.w.legs[0].rules.KeepExtra, s.w.extra = true, true
			d, e, l := s.w.drives[0], s.w.endpoints[0], s.w.legs[0]
			s.mkdir(d, "d")
			s.file(d, "d/f", "f0")
			s.file(d, "h", "h0")
			s.sync(0)
			for _, path := range c.parked {
				s.park(e, path, l)
			}
			c.act(s, d, e, l)
			s.sync(0)
			if got := shape(e); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q\n%s", got, c.want, strings.Join(s.w.log, "\n"))
			}
			if got := slices.Sorted(maps.Keys(s.w.saved)); !slices.Equal(got, c.saved) {
				t.Errorf("saved %q, want %q", got, c.saved)
			}
		})
	}
}

// The first sync with a target that is not empty: what is equal stays, what is
// not is saved.
func TestReplicateOntoWhatIsThere(t *testing.T) {
	t.Parallel()
	for first := range 2 {
		s := newOneWay(t, mirror())
		for _, e := range []*tree{s.src, s.dst} {
			s.mkdir(e, "d")
			s.file(e, "d/same", "same")
			s.symlink(e, "l", "d")
		}
		s.file(s.src, "d/other", "theirs")
		s.file(s.dst, "d/other", "mine")
		s.symlink(s.src, "m", "to")
		s.symlink(s.dst, "m", "away")
		s.file(s.dst, "more", "more")
		s.run(first)
		s.expect(s.dst, "d/", "d/other=theirs", "d/same=same", "l->d", "m->to")
		if first == 0 {
			if got := slices.Sorted(maps.Keys(s.w.saved)); !slices.Equal(got, []string{"away", "mine", "more"}) {
				t.Errorf("saved %q", got)
			}
			if s.w.count[plan.OpPut] > 0 || s.w.count[plan.OpReplace] != 2 {
				t.Errorf("operations %v", s.w.count)
			}
		}
	}
}

// What somebody did in the drive of a mirror, which is to be read-only, stays
// there and never reaches the source.
func TestReplicateNeverWritesToItsSource(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(oneWay)
		want []string
	}{
		"edit":   {func(s oneWay) { s.write(s.drive, "d/f", "drive") }, []string{"d/", "d/f=drive", "h=h0"}},
		"create": {func(s oneWay) { s.file(s.drive, "d/n", "drive") }, []string{"d/", "d/f=f0", "d/n=drive", "h=h0"}},
		"delete": {func(s oneWay) { s.remove(s.drive, "d") }, []string{"d/", "d/f=f0", "h=h0"}},
		"rename": {func(s oneWay) { s.move(s.drive, "h", "d/i") }, []string{"d/", "d/f=f0", "d/i=h0"}},
		"edit, and at the source": {
			func(s oneWay) { s.write(s.drive, "h", "drive"); s.write(s.src, "h", "source") },
			[]string{"d/", "d/f=f0", "h (conflict drive 2026-01-02 030405)=drive", "h=source"},
		},
		"create in what the source deletes": {
			func(s oneWay) { s.file(s.drive, "d/n", "drive"); s.remove(s.src, "d") },
			[]string{"d/", "d/n=drive", "h=h0"},
		},
		"rename into what the source deletes": {
			func(s oneWay) { s.move(s.drive, "h", "d/i"); s.remove(s.src, "d") },
			[]string{"d/", "d/i=h0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newOneWay(t, brokenInto())
			s.mkdir(s.src, "d")
			s.file(s.src, "d/f", "f0")
			s.file(s.src, "h", "h0")
			s.run(0)
			c.act(s)
			want := shape(s.src)
			s.run(0)
			s.expect(s.src, want...)
			s.expect(s.drive, c.want...)
			s.expect(s.dst, c.want...)
		})
	}
}

// archived is an archive in which everything has come to rest.
func archived(t *testing.T) oneWay {
	t.Helper()
	s := newOneWay(t, archive())
	s.mkdir(s.src, "d")
	s.file(s.src, "d/f", "f0")
	s.symlink(s.src, "l", "d")
	s.run(0)
	return s
}

func TestArchiveMoves(t *testing.T) {
	t.Parallel()
	s := archived(t)
	all := []string{"d/", "d/f=f0", "l->d"}
	s.expect(s.src)
	s.expect(s.drive, all...)
	s.expect(s.dst, all...)
	if !s.find(s.drive, "d/f").placeholder {
		t.Error("the bytes are here")
	}
	if n := s.w.count[plan.OpRelease]; n != 3 || s.w.count[plan.OpMarkRelease] != n {
		t.Errorf("operations %v", s.w.count)
	}
}

func TestArchiveGivesWhatComesAgainAnotherName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(oneWay)
		want []string
	}{
		"same bytes": {
			func(s oneWay) { s.mkdir(s.src, "d"); s.file(s.src, "d/f", "f0"); s.symlink(s.src, "l", "d") },
			[]string{"d/", "d/f=f0", "l->d"},
		},
		"other bytes": {
			func(s oneWay) { s.mkdir(s.src, "d"); s.file(s.src, "d/f", "f1"); s.symlink(s.src, "l", "e") },
			[]string{"d/", "d/f 2=f1", "d/f=f0", "l 2->e", "l->d"},
		},
		"other bytes, again": {
			func(s oneWay) {
				s.mkdir(s.src, "d")
				s.file(s.src, "d/f", "f1")
				s.run(0)
				s.mkdir(s.src, "d")
				s.file(s.src, "d/f", "f2")
				s.file(s.src, "d/f 2", "f3")
			},
			[]string{"d/", "d/f 2 2=f3", "d/f 2=f1", "d/f 3=f2", "d/f=f0", "l->d"},
		},
		"another kind": {
			func(s oneWay) { s.file(s.src, "d", "a file") }, []string{"d 2=a file", "d/", "d/f=f0", "l->d"},
		},
	} {
		for first, leg := range []string{"source", "target"} {
			t.Run(name+", "+leg+" first", func(t *testing.T) {
				t.Parallel()
				s := archived(t)
				c.act(s)
				s.run(first)
				s.expect(s.src)
				s.expect(s.dst, c.want...)
				s.expect(s.drive, c.want...)
				if len(s.w.conflicts) > 0 || len(s.w.saved) > 0 {
					t.Errorf("conflicts %v, saved %v", s.w.conflicts, s.w.saved)
				}
			})
		}
	}
}

// What is in the archive already is never overwritten by what comes to it.
func TestArchiveOntoWhatIsThere(t *testing.T) {
	t.Parallel()
	for first := range 2 {
		s := newOneWay(t, archive())
		s.file(s.src, "f", "new")
		s.file(s.dst, "f", "old")
		s.file(s.src, "g", "same")
		s.file(s.dst, "g", "same")
		s.run(first)
		s.expect(s.src)
		s.expect(s.dst, "f 2=new", "f=old", "g=same")
	}
}

// hold keeps the archive from proving anything.
func (l *leg) hold() { l.silent = true }

func TestArchiveReleasesNothingUnproved(t *testing.T) {
	t.Parallel()
	s := newOneWay(t, archive())
	s.w.legs[1].hold()
	s.file(s.src, "f", "f0")
	s.mkdir(s.src, "d")
	s.file(s.src, "d/g", "g0")
	s.run(0)
	s.expect(s.src, "d/", "d/g=g0", "f=f0")
	s.expect(s.dst, "d/", "d/g=g0", "f=f0")
	d, err := plan.Decide(s.w.legs[0], plan.Subject{Remote: remoteID(s.find(s.src, "f").id)}, s.w.legs[0].rules)
	if err != nil || d.Wait == nil || d.Wait.Reason != plan.WaitProof {
		t.Errorf("decided %+v, %v", d, err)
	}
}

// markedRelease is an archive in which f is marked, proved and not yet released.
func markedRelease(t *testing.T) (oneWay, plan.Subject) {
	t.Helper()
	s := newOneWay(t, archive())
	s.file(s.src, "f", "f0")
	subject := plan.Subject{Remote: remoteID(s.find(s.src, "f").id)}
	source := s.w.legs[0]
	for range 50 {
		source.pull()
		d, err := plan.Decide(source, subject, source.rules)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Ops) == 1 && d.Ops[0].Kind == plan.OpRelease {
			return s, subject
		}
		if _, _, err := s.w.decide(source, subject, plan.SideDrive); err != nil {
			t.Fatal(err)
		}
		target := s.w.legs[1]
		target.pull()
		target.prove(func() bool { return true })
		for _, other := range target.subjects() {
			for _, side := range []plan.Side{plan.SideDrive, plan.SideEndpoint} {
				if _, _, err := s.w.decide(target, other, side); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Fatal("f is never released")
	return s, subject
}

// The reply to the release is lost, and until the source is looked at again
// the archive does not know any more what it has proved. If the absence of the
// file at its source were a deletion, it would be deleted from the archive.
func TestReleasedIsNotDeleted(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(oneWay){
		"proof is forgotten":         func(s oneWay) { clear(s.w.legs[1].proofs) },
		"touched in the archive":     func(s oneWay) { s.find(s.dst, "f").mtime = 99 },
		"something new has its name": func(s oneWay) { clear(s.w.legs[1].proofs); s.file(s.src, "f", "new") },
		"and its identity": func(s oneWay) {
			clear(s.w.legs[1].proofs)
			s.src.items = append(s.src.items, &item{id: s.src.last, parent: rootID, name: "f", kind: plan.File, bytes: "new", version: 7})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := markedRelease(t)
			s.remove(s.src, "f")
			then(s)
			s.run(0)
			s.expect(s.src)
			if s.find(s.dst, "f").bytes != "f0" || s.w.count[plan.OpDeleteRemote]+s.w.count[plan.OpReplace] > 0 {
				t.Errorf("the archive has %q\n%s", shape(s.dst), strings.Join(s.w.log, "\n"))
			}
		})
	}
}

// What comes under the name of a released file does not take over from it, even
// if it is seen first: it would overwrite it in the archive.
func TestReleasedHasNoHeir(t *testing.T) {
	t.Parallel()
	s, _ := markedRelease(t)
	l := s.w.legs[0]
	released, _, _ := l.BindingOfRemote(remoteID(s.find(s.src, "f").id))
	s.remove(s.src, "f")
	s.file(s.src, "f", "new")
	l.pull()
	d, err := plan.Decide(l, plan.Subject{Remote: remoteID(s.find(s.src, "f").id)}, l.rules)
	if err != nil || len(d.Ops) > 0 || d.Wait == nil || d.Wait.On != (plan.Subject{Binding: released.ID}) {
		t.Errorf("decided %+v, %v", d, err)
	}
}

// A file that is marked may have been released, or be about to be: what is
// written to it at the source from then on is another one.
func TestWhatIsWrittenToAMarkedFileIsNew(t *testing.T) {
	t.Parallel()
	s, subject := markedRelease(t)
	release, err := plan.Decide(s.w.legs[0], subject, s.w.legs[0].rules)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.src, "f", "f1")
	if err := s.w.legs[0].execute(s.w, release.Ops[0]); err == nil {
		t.Fatal("what was not proved was released")
	}
	s.run(0)
	s.expect(s.src)
	s.expect(s.dst, "f 2=f1", "f=f0")
}

// Without a mark, and without a proof, what is gone at the source was deleted
// there.
func TestWhatIsDeletedBeforeItIsArchivedIsGone(t *testing.T) {
	t.Parallel()
	s := newOneWay(t, archive())
	s.w.legs[1].hold()
	s.file(s.src, "f", "f0")
	s.run(0)
	s.remove(s.src, "f")
	s.run(0)
	s.expect(s.dst)
	if !s.w.saved["f0"] {
		t.Error("nothing is in the archive's trash")
	}
}

// What the archive has proved stays there, also when somebody was faster than
// the release and removed it from the source.
func TestWhatIsDeletedAfterItWasProvedStaysInTheArchive(t *testing.T) {
	t.Parallel()
	s := newOneWay(t, archive())
	s.w.legs[1].hold()
	s.mkdir(s.src, "d")
	s.file(s.src, "d/f", "f0")
	s.run(0)
	s.w.legs[1].silent = false
	s.w.legs[1].prove(func() bool { return true })
	s.remove(s.src, "d")
	s.run(0)
	s.expect(s.dst, "d/", "d/f=f0")
	s.expect(s.drive, "d/", "d/f=f0")
}

// Two sides of one file: the source edits what is archived but not released.
func TestArchiveFollowsItsSourceUntilItReleases(t *testing.T) {
	t.Parallel()
	s := newOneWay(t, archive())
	s.w.legs[1].hold()
	s.file(s.src, "f", "f0")
	s.run(0)
	s.write(s.src, "f", "f1")
	s.move(s.src, "f", "g")
	s.w.legs[1].silent = false
	s.run(0)
	s.expect(s.src)
	s.expect(s.dst, "g=f1")
	if !s.w.saved["f0"] {
		t.Error("what was overwritten in the archive is not in its trash")
	}
}

// A file that was changed in the archive before its source released it stays at
// the source, and its directory with it.
func TestArchiveKeepsASourceThatWasOvertaken(t *testing.T) {
	t.Parallel()
	s := newOneWay(t, archive())
	s.w.legs[1].hold()
	s.mkdir(s.src, "d")
	s.file(s.src, "d/f", "f0")
	s.file(s.src, "d/g", "g0")
	s.run(0)
	s.write(s.dst, "d/f", "changed")
	s.w.legs[1].silent = false
	s.run(1)
	s.expect(s.src, "d/", "d/f=f0")
	s.expect(s.dst, "d/", "d/f=changed", "d/g=g0")
}

// A directory of which not all is known says nothing about what it lacks: on
// neither side may anything be removed because of it.
func TestUnlistedDirectoriesLackNothing(t *testing.T) {
	t.Parallel()
	waits := func(t *testing.T, l *leg, x *item) {
		t.Helper()
		l.pull()
		d, err := plan.Decide(l, plan.Subject{Remote: remoteID(x.id)}, l.rules)
		if err != nil || len(d.Ops) > 0 || d.Wait == nil || d.Wait.Reason != plan.WaitTransit {
			t.Errorf("decided %+v, %v", d, err)
		}
	}
	s := newOneWay(t, mirror())
	s.mkdir(s.src, "d")
	s.run(0)
	s.find(s.drive, "d").unlisted = true
	s.file(s.dst, "d/x", "perhaps of the source")
	waits(t, s.w.legs[1], s.find(s.dst, "d/x"))
	s.find(s.drive, "d").unlisted = false
	s.mkdir(s.dst, "more")
	s.find(s.dst, "more").unlisted = true
	waits(t, s.w.legs[1], s.find(s.dst, "more"))

	s = newOneWay(t, archive())
	s.mkdir(s.src, "d")
	s.find(s.src, "d").unlisted = true
	for range 5 {
		if _, _, err := s.w.round(true); err != nil {
			t.Fatal(err)
		}
	}
	waits(t, s.w.legs[0], s.find(s.src, "d"))
}
