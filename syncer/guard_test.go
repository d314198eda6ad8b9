package syncer

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote/memory"
)

// touch changes the time of a file of the drive.
func (r *rig) touch(p string) {
	r.t.Helper()
	mtime := int64(1e18)
	_, err := r.c.SetAttr(r.find(p).Ino, cache.Attrs{Mtime: &mtime})
	r.must(err)
}

// held are the paths of the items that wait for a mass delete to be allowed, of either side.
func (r *rig) held(o cache.Origin) map[string]bool {
	r.t.Helper()
	out := map[string]bool{}
	r.must(r.c.View(func(tx *cache.Tx) error {
		return eachItem(tx, cache.ItemFilter{Origin: o}, func(it cache.Item) error {
			if !strings.Contains(it.Error, "mass delete") {
				return nil
			}
			p, err := r.e.ItemPath(tx, it)
			out[strings.TrimPrefix(p, "/")] = true
			return err
		})
	}))
	return out
}

// TestWhatIsDoneToHeldFilesDeletesNone works in the drive on files whose deletion at the endpoint is held.
func TestWhatIsDoneToHeldFilesDeletesNone(t *testing.T) {
	const all = 60
	name := func(i int) string { return fmt.Sprintf("d/f%02d", i) }
	each(t, func(t *testing.T, r *rig, f *far) {
		for i := range all {
			f.write(name(i), "1")
		}
		f.write("keep", "1")
		r.settle()
		want := r.tree()
		f.remove("d")
		r.must(r.cycle(r.legs()[0]))
		if held := r.held(cache.OriginRemote); len(held) != all+1 || !held["d"] || !held[name(0)] {
			t.Fatalf("held are %d: %v", len(held), held)
		}
		r.chmod("d", 0o700)
		for i := range all {
			switch i % 4 {
			case 0:
				r.chmod(name(i), 0o600)
			case 1:
				r.touch(name(i))
			case 2:
				r.move(name(i), name(i)+"-renamed")
				want[name(i)+"-renamed"] = want[name(i)]
				delete(want, name(i))
			}
		}
		for range 3 {
			r.must(r.cycle(r.legs()[0]))
		}
		wantTree(t, r.tree(), want)
		held := r.held(cache.OriginLocal)
		for _, p := range []string{name(0), name(1), name(2) + "-renamed"} {
			if !held[p] {
				t.Errorf("%s is not shown as held: %s", p, r.pending())
			}
		}
		if all := r.failed(); len(all) > 0 {
			t.Errorf("held is no error: %+v", all)
		}
		_, state, blocked, err := r.legs()[0].standing()
		if err != nil || state != SyncHeld || len(blocked) > 2 {
			t.Errorf("a run ends %s with %d lines: %v %v", state, len(blocked), blocked, err)
		}
		r.allow(r.legs()[0])
		r.settle()
		wantTree(t, r.agree(), map[string]string{"keep": "1"})
	})
}

// TestAnApprovalTravelsToTheOtherLegs allows a mass delete made at one endpoint, and then deletes in the drive what nobody
// allowed.
func TestAnApprovalTravelsToTheOtherLegs(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()), memory.New(fl.opts()))
			r.e.LocalGuardCount, r.e.LocalGuardPercent = 10, 20
			f, other, legs := r.far(0), r.far(1), r.legs()
			for i := range 60 {
				f.write(fmt.Sprintf("d/%02d", i), "1")
			}
			for i := range 15 {
				f.write(fmt.Sprintf("e/%02d", i), "1")
			}
			f.write("keep", "1")
			r.settle()
			all := r.agree()
			f.remove("d")
			r.must(r.cycle(legs[0]))
			r.must(r.cycle(legs[1]))
			wantTree(t, other.tree(), all)
			r.allow(legs[0])
			r.reopen() // an approval is as lasting as what it allows
			r.e.LocalGuardCount, r.e.LocalGuardPercent = 10, 20
			legs = r.legs()
			r.remove("e")
			r.must(r.cycle(legs[1]))
			want := map[string]string{"e/": "", "keep": "1"}
			for i := range 15 {
				want[fmt.Sprintf("e/%02d", i)] = "1"
			}
			wantTree(t, other.tree(), want)
			if _, state, _, err := legs[1].standing(); err != nil || state != SyncHeld {
				t.Errorf("what nobody allowed is %s, %v", state, err)
			}
			for _, l := range legs {
				r.allow(l)
			}
			r.settle()
			wantTree(t, r.agree(), map[string]string{"keep": "1"})
		})
	}
}

// purgeRig is a drive of 60 files, whose deletion of more than 10 at once, and a fifth, is held.
func purgeRig(t *testing.T, f func(t *testing.T, r *rig, l *leg, names []string)) {
	each(t, func(t *testing.T, r *rig, far *far) {
		r.e.LocalGuardCount, r.e.LocalGuardPercent = 10, 20
		var names []string
		for i := range 60 {
			names = append(names, fmt.Sprintf("f%02d", i))
			far.write(names[i], "1")
		}
		r.settle()
		r.tree()
		f(t, r, r.legs()[0], names)
	})
}

// allow lets a cycle delete what is held.
func (r *rig) allow(l *leg) {
	r.t.Helper()
	_, err := l.cycle(context.Background(), true, &syncCall{allowDeletes: true, done: make(chan error, 1)})
	r.must(err)
}

// left is how many objects an endpoint has.
func (r *rig) left() int { return len(r.stores[0].Tree()) }

// TestDeletionsThatAreSentOneByOneAreHeldTogether deletes all files of a drive, and lets each deletion be sent before the next.
func TestDeletionsThatAreSentOneByOneAreHeldTogether(t *testing.T) {
	purgeRig(t, func(t *testing.T, r *rig, l *leg, names []string) {
		for _, p := range names[:30] {
			r.remove(p)
			r.must(r.cycle(l))
		}
		if got := r.left(); got != 48 { // a fifth of 61, the root with them
			t.Errorf("%d objects are left at the endpoint", got)
		}
		if _, state, _, err := l.standing(); err != nil || state != SyncHeld {
			t.Errorf("the rest is %s, %v", state, err)
		}
		r.advance(2 * purgeSpan) // a person takes time
		r.must(r.cycle(l))
		if got := r.left(); got != 48 {
			t.Errorf("later %d objects are left at the endpoint", got)
		}
		r.allow(l)
		r.remove(names[30]) // what was allowed counts for no other
		r.settle()
		if got := len(r.agree()); got != 29 {
			t.Errorf("%d objects are left in the end", got)
		}
	})
}

// atLeisure removes three times as many files as are no purge, and goes on after the time that one lasts. It returns what is left.
func (r *rig) atLeisure(l *leg, names []string, between func()) []string {
	r.t.Helper()
	for range 3 {
		for _, p := range names[:9] {
			r.remove(p)
			r.must(r.cycle(l))
		}
		names = names[9:]
		r.advance(purgeSpan)
		between()
	}
	return names
}

// TestDeletionsThatAreNoPurgeAreNotHeld deletes files at leisure, and many that were there for a moment.
func TestDeletionsThatAreNoPurgeAreNotHeld(t *testing.T) {
	purgeRig(t, func(t *testing.T, r *rig, l *leg, names []string) {
		r.remove(r.atLeisure(l, names, func() {})[0])
		r.settle()
		for range 30 {
			r.write("passing", "1")
			r.settle()
			r.remove("passing")
			r.settle()
		}
		if got := len(r.agree()); got != 32 {
			t.Errorf("%d objects are left in the end", got)
		}
	})
}

// TestWhatHasComeSinceAPurgeBeganCounts deletes a few files of many, most of which were made soon after the first was deleted.
func TestWhatHasComeSinceAPurgeBeganCounts(t *testing.T) {
	for name, side := range map[string]struct {
		write  func(r *rig, p string)
		remove func(r *rig, p string)
	}{
		"made in the drive":    {func(r *rig, p string) { r.write(p, "1") }, (*rig).remove},
		"made at the endpoint": {func(r *rig, p string) { r.far(0).write(p, "1") }, func(r *rig, p string) { r.far(0).remove(p) }},
	} {
		t.Run(name, func(t *testing.T) {
			purgeRig(t, func(t *testing.T, r *rig, l *leg, names []string) {
				r.e.LocalGuardCount, r.e.LocalGuardPercent, r.e.GuardCount, r.e.GuardPercent = 10, 20, 10, 20
				side.remove(r, names[0])
				r.settle()
				for i := range 60 {
					side.write(r, fmt.Sprintf("new%02d", i))
				}
				r.settle()
				for i := range 20 {
					side.remove(r, fmt.Sprintf("new%02d", i))
				}
				r.settle()
				if got := len(r.agree()); got != 99 {
					t.Errorf("%d files are left, of 119 of which 20 were deleted", got)
				}
				for i := range 25 { // of 99
					side.remove(r, fmt.Sprintf("new%02d", 20+i))
				}
				r.must(r.cycle(l))
				if _, state, _, err := l.standing(); err != nil || state != SyncHeld {
					t.Errorf("too many are %s, %v", state, err)
				}
			})
		})
	}
}

// TestDeletionsThatAreSeenOneByOneAreHeldTogether deletes all files of an endpoint, and has each deletion followed before the next.
func TestDeletionsThatAreSeenOneByOneAreHeldTogether(t *testing.T) {
	purgeRig(t, func(t *testing.T, r *rig, l *leg, names []string) {
		r.e.GuardCount, r.e.GuardPercent = 10, 20
		far := r.far(0)
		for _, p := range names[:30] {
			far.remove(p)
			r.must(r.cycle(l))
		}
		if got := len(r.tree()); got != 48 { // a fifth of 61, the root with them
			t.Errorf("%d files are left in the drive", got)
		}
		if _, state, _, err := l.standing(); err != nil || state != SyncHeld {
			t.Errorf("the rest is %s, %v", state, err)
		}
		r.advance(2 * purgeSpan) // a person takes time
		r.must(r.cycle(l))
		if got := len(r.tree()); got != 48 {
			t.Errorf("later %d files are left in the drive", got)
		}
		r.allow(l)
		far.remove(names[30]) // what was allowed counts for no other
		r.settle()
		if got := len(r.agree()); got != 29 {
			t.Errorf("%d files are left in the end", got)
		}
		for range 30 { // nor does what was there for a moment
			far.write("passing", "1")
			r.settle()
			far.remove("passing")
			r.settle()
		}
	})
}

// TestDeletionsBeforeAndAfterARestartAreHeldTogether ends the process in the middle of a purge, and again while it is held.
func TestDeletionsBeforeAndAfterARestartAreHeldTogether(t *testing.T) {
	for name, side := range map[string]struct {
		remove func(r *rig, p string)
		left   func(r *rig) int // that the other side still has
	}{
		"made in the drive":    {(*rig).remove, (*rig).left},
		"made at the endpoint": {func(r *rig, p string) { r.far(0).remove(p) }, func(r *rig) int { return len(r.tree()) }},
	} {
		t.Run(name, func(t *testing.T) {
			purgeRig(t, func(t *testing.T, r *rig, _ *leg, names []string) {
				restart := func() *leg {
					r.reopen()
					r.e.LocalGuardCount, r.e.LocalGuardPercent, r.e.GuardCount, r.e.GuardPercent = 10, 20, 10, 20
					return r.legs()[0]
				}
				nine := func(l *leg, want int) {
					t.Helper()
					for _, p := range names[:9] {
						side.remove(r, p)
					}
					names = names[9:]
					r.must(r.cycle(l))
					if got := side.left(r); got != want {
						t.Fatalf("%d files are left, want %d", got, want)
					}
				}
				nine(restart(), 51)
				nine(restart(), 51)
				l := restart()
				r.advance(2 * purgeSpan) // a person takes time
				r.must(r.cycle(l))
				if got := side.left(r); got != 51 {
					t.Fatalf("%d files are left of those that are held", got)
				}
				if _, state, _, err := l.standing(); err != nil || state != SyncHeld {
					t.Errorf("they are %s, %v", state, err)
				}
				r.allow(l)
				r.settle()
				nine(restart(), 33) // what was allowed counts for no other
				r.settle()
				r.agree()
			})
		})
	}
}
