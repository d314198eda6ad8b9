package syncer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// touched counts what waits to be looked at again.
func (r *rig) touched(l *leg) (n int64) {
	r.t.Helper()
	r.must(r.c.View(func(tx *cache.Tx) error {
		all, err := tx.Generations(cache.GenerationFilter{Conduit: l.conduitRow().ID})
		for _, g := range all {
			some, err := tx.CountTouched(l.id, g.Number)
			if err != nil {
				return err
			}
			n += some
		}
		return err
	}))
	return n
}

// TestAGenerationIsBegunWithItsFirstWorkAndVerifiedAfterItsLast looks at the row while a file is sent, while what was done is looked
// at again, and at the end.
func TestAGenerationIsBegunWithItsFirstWorkAndVerifiedAfterItsLast(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("old", "1")
		r.settle()
		before := len(r.generations())
		r.write("a", "1")
		r.write("b", "22")
		r.remove("old")
		var sending, watched cache.Generation
		r.script.Add(faulty.Rule{Method: faulty.Put, Nth: 1, Before: func() { sending = r.generations()[0] }})
		r.script.Add(faulty.Rule{Method: faulty.Stat, Match: func(c faulty.Call) bool { return len(r.far(0).tree()) == 2 }, Nth: 1, Before: func() { watched = r.generations()[0] }})
		r.must(r.cycle(r.legs()[0]))
		if sending.Completed != 0 || sending.Verification != cache.Unverified || sending.Number == 0 {
			t.Errorf("while a file is sent it is %+v", sending)
		}
		if watched.Completed == 0 || watched.Verification != cache.WaitingWatcher || watched.Copied != 2 || watched.Bytes != 3 || watched.Deleted != 1 {
			t.Errorf("while it is looked at it is %+v", watched)
		}
		all := r.generations()
		if g := all[0]; len(all) != before+1 || g.Verification != cache.Verified || g.Verified < g.Completed || g.Number != sending.Number {
			t.Errorf("at the end there are %+v", all)
		}
		if n := r.touched(r.legs()[0]); n > 0 {
			t.Errorf("%d objects are kept", n)
		}
		r.must(r.cycle(r.legs()[0]))
		if now := len(r.generations()); now != len(all) {
			t.Errorf("a run without work made generation %+v", r.generations()[0])
		}
	})
}

// TestWhatChangesDuringVerificationIsWorkForTheNextGeneration has either side change a file right before it is looked at again.
func TestWhatChangesDuringVerificationIsWorkForTheNextGeneration(t *testing.T) {
	for name, edit := range map[string]func(r *rig, f *far){
		"drive":              func(r *rig, _ *far) { r.write("f", "later") },
		"endpoint":           func(_ *rig, f *far) { f.write("f", "later") },
		"moved at endpoint":  func(_ *rig, f *far) { f.move("f", "later") },
		"gone from endpoint": func(_ *rig, f *far) { f.remove("f") },
		"both":               func(r *rig, f *far) { r.write("f", "later"); f.write("f", "other") },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				r.write("f", "first")
				r.write("g", "steady")
				r.script.Add(faulty.Rule{Method: faulty.Stat, Nth: 1, Before: func() { edit(r, f) }})
				r.must(r.cycle(r.legs()[0]))
				if g := r.generations()[0]; g.Verification != cache.FailedPrefix+"/f has changed since" || g.Verified != 0 {
					t.Fatalf("the generation is %+v", g)
				}
				r.settle()
				if g := r.generations()[0]; g.Verification != cache.Verified {
					t.Errorf("the next is %+v", g)
				}
				r.agree()
			})
		})
	}
}

// TestWhatCannotBeLookedAtIsNotVerified has the endpoint refuse the look.
func TestWhatCannotBeLookedAtIsNotVerified(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.write("f", "first")
		r.script.Add(faulty.Rule{Method: faulty.Stat, Err: remote.ErrDenied})
		r.must(r.cycle(r.legs()[0]))
		if g := r.generations()[0]; !strings.HasPrefix(g.Verification, cache.FailedPrefix+"what was done cannot be looked at") {
			t.Fatalf("the generation is %+v", g)
		}
		if _, state, blocked, err := r.legs()[0].standing(); err != nil || state != SyncParked || len(blocked) != 1 || !strings.HasPrefix(blocked[0].Reason, "not verified") {
			t.Errorf("a run ends %s with %v, %v", state, blocked, err)
		}
		r.script.Clear()
		r.write("g", "2")
		r.script.Add(faulty.Rule{Method: faulty.Stat, Nth: 1, Err: remote.ErrUnavailable})
		if err := r.cycle(r.legs()[0]); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("the endpoint was away: %v", err)
		}
		if g := r.generations()[0]; g.Verification != cache.WaitingWatcher {
			t.Fatalf("meanwhile the generation is %+v", g)
		}
		r.settle()
		if g := r.generations()[0]; g.Verification != cache.Verified {
			t.Errorf("in the end the generation is %+v", g)
		}
	})
}

// TestACopyThatFailedIsToldByItsGeneration has one of two copies fail.
func TestACopyThatFailedIsToldByItsGeneration(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.write("f", "1")
		r.write("g", "2")
		r.script.Add(faulty.Rule{Method: faulty.Put, Nth: 1, Err: remote.ErrQuota})
		r.must(r.cycle(r.legs()[0]))
		if g := r.generations()[0]; g.Verification != cache.FailedPrefix+"1 of its operations failed" || g.Errors != 1 || g.Copied != 1 || g.Completed == 0 {
			t.Fatalf("the generation is %+v", g)
		}
		if n := r.touched(r.legs()[0]); n > 0 {
			t.Errorf("%d objects are kept", n)
		}
	})
}

// TestABurstIsSeveralGenerations sends more than one takes in, and has it verified without any listing.
func TestABurstIsSeveralGenerations(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.settle()
	const files = generationObjects + 2*sendPage
	for i := range files {
		r.write(fmt.Sprintf("%05d", i), "text")
	}
	r.script.Forget()
	before := len(r.generations())
	r.must(r.cycle(r.legs()[0]))
	all := r.generations()
	all = all[:len(all)-before]
	var copied int64
	for _, g := range all {
		if copied += g.Copied; g.Copied > generationObjects+sendPage || g.Verification != cache.Verified {
			t.Errorf("one is %+v", g)
		}
	}
	if copied != files || len(all) < 2 {
		t.Errorf("%d files in %d generations", copied, len(all))
	}
	if n := len(r.script.Calls(faulty.List)); n > 0 {
		t.Errorf("%d directories were listed", n)
	}
	if n := len(r.script.Calls(faulty.Stat)); n > files+10 {
		t.Errorf("it took %d looks", n)
	}
}

// TestALargeFileHasAGenerationOfItsOwn sends one beside a small one.
func TestALargeFileHasAGenerationOfItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.settle()
	r.write("small", "1")
	_, h, err := r.c.Create(cache.RootIno, "large", 0o644, nobody)
	r.must(err)
	r.must(h.Truncate(ownGeneration + 1))
	r.must(h.Close())
	r.must(r.cycle(r.legs()[0]))
	all := r.generations()
	if len(all) < 2 || all[0].Bytes != ownGeneration+1 || all[0].Copied != 1 || all[1].Bytes != 1 || all[1].Copied != 1 {
		t.Fatalf("generations are %+v", all)
	}
	if all[0].Verification != cache.Verified || all[1].Verification != cache.Verified || all[0].Item == 0 {
		t.Errorf("generations are %+v", all)
	}
}

// TestWorkAfterACrashGoesOnInTheGenerationThatWasCut begins one by hand, as a daemon does that is killed then.
func TestWorkAfterACrashGoesOnInTheGenerationThatWasCut(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		var cut int64
		l := r.legs()[0]
		r.must(r.c.Update(0, func(tx *cache.Tx) (err error) {
			cut, err = tx.ClaimGeneration(l.conduitRow().ID, l.id, 0)
			return errors.Join(err, tx.CountInGeneration(l.conduitRow().ID, cut, cache.Generation{Copied: 3}))
		}))
		r.write("f", "1")
		r.reopen()
		r.settle()
		if g := r.generations()[0]; g.Number != cut || g.Copied != 4 || g.Verification != cache.Verified {
			t.Errorf("the generation is %+v, was %d", g, cut)
		}
		r.must(r.c.Update(0, func(tx *cache.Tx) (err error) {
			cut, err = tx.ClaimGeneration(l.conduitRow().ID, l.id, 0)
			return errors.Join(err, tx.CountInGeneration(l.conduitRow().ID, cut, cache.Generation{Copied: 3}))
		}))
		r.reopen()
		r.must(r.e.Pause(0))
		call := &syncCall{done: make(chan error, 1)}
		r.legs()[0].turn(context.Background(), call)
		if err := <-call.done; !errors.Is(err, ErrDisabled) {
			t.Errorf("a paused run ends with %v", err)
		}
		if g := r.generations()[0]; g.Number != cut || g.Completed == 0 || g.Verification != cache.FailedPrefix+"interrupted" {
			t.Errorf("while the drive is paused the generation is %+v, was %d", g, cut)
		}
		r.must(r.e.Resume())
	})
}

// TestAGenerationWaitsForTheLookAtTheOtherStorage has a conduit with two of them.
func TestAGenerationWaitsForTheLookAtTheOtherStorage(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.stores = append(r.stores, memory.New(flavours()[0].opts()), memory.New(flavours()[0].opts()))
	r.settle()
	cd := r.create(Spec{Name: "both", Source: "mem:1", Target: "mem:2", Policy: "synchronize"})
	r.settle()
	one, other := r.legs()[1], r.legs()[2]
	last := func() (g cache.Generation) {
		r.must(r.c.View(func(tx *cache.Tx) error {
			all, err := tx.Generations(cache.GenerationFilter{Conduit: cd.ID})
			for i := range all {
				if g.Number == 0 && all[i].Leg == one.id {
					g = all[i]
				}
			}
			return err
		}))
		return g
	}
	r.write("both/f", "1")
	r.must(r.cycle(one))
	if g := last(); g.Verification != cache.WaitingSync || g.Copied != 1 {
		t.Fatalf("before the other is looked at it is %+v", g)
	}
	if !one.verifying() {
		t.Error("who waits for the run does not wait for its verification")
	}
	r.must(r.cycle(other))
	r.must(r.cycle(one))
	if g := last(); g.Verification != cache.Verified {
		t.Fatalf("afterwards it is %+v", g)
	}
	r.settle()
	r.stores[2].SetOffline(true)
	r.write("both/g", "1")
	r.must(r.cycle(one))
	if err := r.cycle(other); err == nil {
		t.Fatal("the other is not away")
	}
	r.must(r.cycle(one))
	if g := last(); g.Verification != cache.WaitingSync || one.verifying() {
		t.Fatalf("while the other is away it is %+v", g)
	}
	r.advance(librarySyncMax + time.Minute)
	r.must(r.cycle(one))
	if g := last(); g.Verification != cache.FailedPrefix+"mem:2 was not reachable to be looked at" {
		t.Fatalf("for long, it is %+v", g)
	}
	r.stores[2].SetOffline(false)
	r.settle()
}

// TestACancelledRunDeletesNothing cancels one while it copies. What it was to delete waits until somebody asks for a run.
func TestACancelledRunDeletesNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.doomed(3)
		r.write("new", "1")
		l := r.legs()[0]
		begun, hold := make(chan struct{}), make(chan struct{})
		r.script.Add(faulty.Rule{Method: faulty.Put, Nth: 1, Hold: hold, Before: nil, Match: func(faulty.Call) bool { close(begun); return true }})
		call := &syncCall{done: make(chan error, 1)}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.turn(context.Background(), call)
		}()
		<-begun
		if res, err := r.e.Sync(context.Background(), SyncRequest{Cancel: true}); err != nil || res.State != SyncDone {
			t.Fatalf("cancel: %+v, %v", res, err)
		}
		<-ended
		close(hold)
		if err := <-call.done; !errors.Is(err, context.Canceled) {
			t.Fatalf("the run ends with %v", err)
		}
		for _, g := range r.generations() {
			if g.Completed == 0 {
				t.Errorf("a generation goes on: %+v", g)
			}
		}
		r.script.Clear()
		r.script.Forget()
		l.turn(context.Background(), nil)
		if n := len(r.script.Calls(faulty.Delete)); n > 0 {
			t.Fatalf("%d objects were deleted", n)
		}
		if _, ok := f.tree()["new"]; !ok {
			t.Error("the copy was not taken up")
		}
		if all, err := r.e.Status(); err != nil || !strings.HasPrefix(all[0].Message, "cancelled: 3 deletions wait") {
			t.Errorf("the status says %+v, %v", all, err)
		}
		l.turn(context.Background(), &syncCall{done: make(chan error, 1)})
		wantTree(t, f.tree(), map[string]string{"d/": "", "new": "1"})
	})
}

// TestThoseWhoAskForARunBeforeItBeginsShareIt has two more ask.
func TestThoseWhoAskForARunBeforeItBeginsShareIt(t *testing.T) {
	requests := make(chan *syncCall, 2)
	all := []*syncCall{{done: make(chan error, 1)}, {rescan: true, done: make(chan error, 1)}, {allowDeletes: true, done: make(chan error, 1)}}
	requests <- all[1]
	requests <- all[2]
	all[0].join(requests)
	if !all[0].rescan || !all[0].allowDeletes {
		t.Errorf("the run does not do what was asked for: %+v", all[0])
	}
	all[0].answer(ErrDisabled)
	for i, c := range all {
		if err := <-c.done; !errors.Is(err, ErrDisabled) {
			t.Errorf("%d got %v", i, err)
		}
	}
}

// TestNothingIsDoneOnAStaleIndex has the changes of the endpoint fail to come.
func TestNothingIsDoneOnAStaleIndex(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.doomed(3)
		r.write("new", "1")
		for cause, away := range map[error]bool{remote.ErrDenied: false, remote.ErrUnavailable: true} {
			r.script.Add(faulty.Rule{Method: faulty.Changes, Err: cause})
			err := r.cycle(r.legs()[0])
			if err == nil || !strings.Contains(err.Error(), "library sync incomplete") || errors.Is(err, ErrUnreachable) != away {
				t.Errorf("%v: the run ends with %v", cause, err)
			}
			if w := r.writes(); len(w) > 0 {
				t.Fatalf("%v: writes %v", cause, w)
			}
			r.script.Clear()
		}
		r.settle()
		wantTree(t, r.agree(), map[string]string{"d/": "", "new": "1"})
	})
}
