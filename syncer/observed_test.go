package syncer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote/memory"
)

// long is a name that some storages can give an object, and the drive cannot.
var long = strings.Repeat("n", 256)

// eachWithLongNames is each for endpoints whose names may be longer than those of the drive.
func eachWithLongNames(t *testing.T, run func(t *testing.T, r *rig, f *far)) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			o := fl.opts()
			o.Caps.Names.MaxBytes = 1000
			r := newRig(t, memory.New(o))
			run(t, r, r.far(0))
		})
	}
}

// failed are the items that `vdfs errors` shows.
func (r *rig) failed() (out []cache.Item) {
	r.t.Helper()
	r.must(r.c.View(func(tx *cache.Tx) (err error) {
		out, err = tx.ListItems(cache.ItemFilter{Errors: true})
		return err
	}))
	return out
}

// wantFailed checks that the endpoint's object alone is in error, and returns its item.
func (r *rig) wantFailed() cache.Item {
	r.t.Helper()
	all := r.failed()
	if len(all) != 1 || all[0].Origin != cache.OriginRemote || all[0].Name != long || !strings.Contains(all[0].Error, "invalid name") {
		r.t.Fatalf("in error: %+v", all)
	}
	s, err := r.e.Status()
	if err != nil || s[0].Errors != 1 || s[0].State != StateAttention {
		r.t.Fatalf("status %+v %v", s, err)
	}
	return all[0]
}

// postpone sets when an item may be tried again.
func (r *rig) postpone(it cache.Item, to time.Time) {
	r.t.Helper()
	it.Eligible = to.UnixNano()
	r.must(r.c.Update(0, func(tx *cache.Tx) error {
		_, err := tx.UpdateItem(&it)
		return err
	}))
}

func TestAnObjectThatCannotBeAppliedStopsNoOther(t *testing.T) {
	eachWithLongNames(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		r.settle()
		f.write("a", "1")
		f.write(long, "2")
		f.write("z", "3")
		r.write("mine", "4")
		r.must(r.cycle(l))
		wantTree(t, r.tree(), map[string]string{"a": "1", "z": "3", "mine": "4"})
		wantTree(t, f.tree(), map[string]string{"a": "1", "z": "3", "mine": "4", long: "2"})

		r.postpone(r.wantFailed(), time.Now().Add(maxRetry))
		r.must(r.cycle(l))
		if it := r.wantFailed(); it.Tries != 1 {
			t.Fatalf("it was tried before its time: %+v", it)
		}
		r.postpone(r.wantFailed(), time.Now())
		r.must(r.cycle(l))
		if it := r.wantFailed(); it.Tries != 2 || it.Eligible <= r.e.now() {
			t.Fatalf("it was not tried again, or does not rest: %+v", it)
		}

		r.postpone(r.wantFailed(), time.Now().Add(maxRetry))
		f.move(long, "short")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"a": "1", "z": "3", "mine": "4", "short": "2"})
	})
}

func TestAFirstListingShowsWhatCanBeShown(t *testing.T) {
	eachWithLongNames(t, func(t *testing.T, r *rig, f *far) {
		f.write("d/a", "1")
		f.write("d/"+long, "2")
		f.write("d/z", "3")
		r.must(r.cycle(r.legs()[0]))
		r.wantFailed()
		wantTree(t, r.tree(), map[string]string{"d/": "", "d/a": "1", "d/z": "3"})
		f.move("d/"+long, "d/short")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"d/": "", "d/a": "1", "d/z": "3", "d/short": "2"})
	})
}

func TestAProgramListsADirectoryOfWhichNotAllCanBeShown(t *testing.T) {
	eachWithLongNames(t, func(t *testing.T, r *rig, f *far) {
		f.write("a", "1")
		f.write(long, "2")
		r.must(r.e.List(context.Background(), cache.RootIno))
		wantTree(t, r.tree(), map[string]string{"a": "1"})
		r.wantFailed()
	})
}

// TestAnEditIsNotSentOverAChangeThatFailed is invariant I9 where the endpoint's change cannot be applied here.
func TestAnEditIsNotSentOverAChangeThatFailed(t *testing.T) {
	eachWithLongNames(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		f.write("f", "base")
		f.write("other", "base")
		r.settle()
		r.tree()
		f.write("f", "theirs")
		f.move("f", long)
		r.write("f", "mine")
		r.write("other", "mine")
		r.must(r.cycle(l))
		r.must(r.cycle(l))
		if got := f.tree(); got[long] != "theirs" || got["other"] != "mine" {
			t.Fatalf("the endpoint has %q", got)
		}
		f.move(long, "g")
		r.unpark()
		r.settle()
		var have []string
		for _, v := range r.agree() {
			have = append(have, v)
		}
		if all := strings.Join(have, " "); !strings.Contains(all, "theirs") || !strings.Contains(all, "mine") {
			t.Fatalf("the drive has %q", r.tree())
		}
	})
}

func TestAnErrorOfTheCacheIsNotThatOfOneObject(t *testing.T) {
	t.Parallel()
	for _, cause := range whole {
		if err := fmt.Errorf("apply: %w", &objectError{"id", fmt.Errorf("settle: %w", cause)}); ofOne(err) != nil || !errors.Is(err, cause) {
			t.Errorf("%v is taken for the error of one object", cause)
		}
	}
	if err := fmt.Errorf("apply: %w", &objectError{"id", cache.ErrName}); ofOne(err) == nil {
		t.Error("an invalid name is taken for more than its object's error")
	}
}

func TestWaitingIsNoError(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("f", "base")
		r.settle()
		r.read("f")
		w, err := r.c.OpenFile(r.find("f").Ino, true)
		r.must(err)
		f.write("f", "theirs")
		r.must(r.cycle(r.legs()[0]))
		if all := r.failed(); len(all) > 0 || !strings.Contains(r.pending(), "open for writing") {
			t.Fatalf("in error: %+v\n%s", all, r.pending())
		}
		r.must(w.Close())
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "theirs"})
	})
}

func TestAllThatFailedIsTriedAgainWhenAPersonAsks(t *testing.T) {
	t.Parallel()
	const failures = 10_050
	r := newRig(t)
	r.stores = append(r.stores, memory.New(memory.Options{}))
	r.join(0)
	l := r.legs()[0]
	for i := 0; i < failures; i += 1000 {
		r.must(r.c.Update(0, func(tx *cache.Tx) error {
			for k := range min(1000, failures-i) {
				if err := tx.MarkRemote(l.id, fmt.Sprint(i+k), "f", cache.OpUpdate); err != nil {
					return err
				}
				it, _, err := tx.RemoteItem(l.id, fmt.Sprint(i+k))
				if err != nil {
					return err
				}
				it.Status, it.Parked, it.Error = cache.ItemError, true, "in vain"
				if _, err := tx.UpdateItem(&it); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	if _, state, blocked, err := l.standing(); err != nil || state != SyncParked || len(blocked) != blockedMax {
		t.Errorf("%s with %d lines, %v", state, len(blocked), err)
	}
	r.must(l.unpark())
	if left := r.failed(); len(left) > 0 {
		t.Errorf("%d at least are left", len(left))
	}
}

// TestSyncWaitsForAFileThatIsHeldForAMoment has a remote change meet a file that is held for an open that is under way: whoever
// waits for the sync waits for that, too, but not for a program that has the file open for writing.
func TestSyncWaitsForAFileThatIsHeldForAMoment(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		f.write("f", "old")
		r.settle()
		r.read("f")
		e := r.find("f")
		f.write("f", "newer")

		brief, err := r.c.HoldBriefly(e.Ino)
		r.must(err)
		r.must(r.cycle(l))
		waits := func(when string, want bool) {
			t.Helper()
			wait, state, blocked, err := l.standing()
			r.must(err)
			if (wait > 0) != want || (state == SyncDone) != want || (len(blocked) == 0) != want {
				t.Errorf("%s: wait %v, %s, %+v", when, wait, state, blocked)
			}
		}
		waits("while it is held for a moment", true)
		program, err := r.c.OpenFile(e.Ino, true)
		r.must(err)
		waits("while a program has it open as well", false)
		r.must(brief.Close())
		waits("while a program has it open", false)
		r.must(program.Close())
		waits("when nobody has it any more", true)
		r.must(r.cycle(l))
		if _, state, blocked, err := l.standing(); err != nil || state != SyncDone || len(blocked) > 0 || r.read("f") != "newer" {
			t.Errorf("at the end: %s, %+v, %v", state, blocked, err)
		}
	})
}
