package syncer

import (
	"fmt"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// jumps are by how much people and time servers set clocks.
var jumps = map[string]time.Duration{
	"minutes back": -5 * time.Minute, "hours back": -3 * time.Hour, "days back": -10 * 24 * time.Hour, "days ahead": 40 * 24 * time.Hour,
}

// TestNothingWaitsForAClockThatWasAhead sets the clock while all kinds of work wait for their turn.
func TestNothingWaitsForAClockThatWasAhead(t *testing.T) {
	for name, by := range jumps {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				r.e.Quiet = 200 * time.Millisecond
				for _, p := range []string{"edited", "removed", "renamed", "chmod"} {
					r.write(p, "before")
				}
				r.advance(time.Second)
				r.settle()
				r.write("edited", "after")
				r.write("new", "new")
				r.remove("removed")
				r.move("renamed", "other")
				r.chmod("chmod", 0o600)
				r.jump(by)
				r.settle()
				wantTree(t, r.agree(), map[string]string{"edited": "after", "new": "new", "other": "before", "chmod": "before"})
			})
		})
	}
}

// TestAnItemThatFailedIsTriedWhenTheClockIsSetBack waits after failures for much longer than they would, were the clock let go on.
func TestAnItemThatFailedIsTriedWhenTheClockIsSetBack(t *testing.T) {
	for _, cause := range []error{remote.ErrQuota, remote.ErrChanged} {
		t.Run(cause.Error(), func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				r.script.Add(faulty.Rule{Method: faulty.Put, Err: fmt.Errorf("put file: %w", cause)})
				r.write("f", "text")
				for range 12 {
					r.once()
					r.advance(maxRetry)
				}
				r.once()
				r.jump(-10 * 24 * time.Hour)
				r.script.Clear()
				r.settle()
				wantTree(t, r.agree(), map[string]string{"f": "text"})
				// What fails from now on waits as ever.
				r.script.Add(faulty.Rule{Method: faulty.Put, Err: fmt.Errorf("put file: %w", remote.ErrQuota)})
				r.write("g", "text")
				r.once()
				was := len(r.script.Calls(faulty.Put))
				r.once()
				if tries := len(r.script.Calls(faulty.Put)) - was; tries > 0 {
					t.Errorf("it was tried %d times right after it failed", tries)
				}
			})
		})
	}
}

// TestAPurgeEndsWhateverTheClockSays deletes files at leisure while the clock is set back again and again.
func TestAPurgeEndsWhateverTheClockSays(t *testing.T) {
	purgeRig(t, func(t *testing.T, r *rig, l *leg, names []string) {
		left := r.atLeisure(l, names, func() { r.jump(-24 * time.Hour) })
		r.settle()
		if got := len(r.agree()); got != len(left) {
			t.Errorf("%d objects are left, want %d", got, len(left))
		}
	})
}

// TestARunTakesAsLongAsItTakes sets the clock in the middle of a run.
func TestARunTakesAsLongAsItTakes(t *testing.T) {
	for name, by := range jumps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(memory.Options{}))
			r.settle()
			r.write("f", "text")
			r.script.Add(faulty.Rule{Method: faulty.Put, Nth: 1, Then: func() { r.jump(by) }})
			r.settle()
			for _, g := range r.generations() {
				if took := time.Duration(g.Completed - g.Started); took < 0 || took > time.Hour {
					t.Errorf("generation %d took %v", g.Number, took)
				}
			}
		})
	}
}

// TestAPauseIsNoLongerThanAskedFor sets the clock back during a pause, and starts anew.
func TestAPauseIsNoLongerThanAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(memory.Options{}))
	r.must(r.e.Pause(time.Hour))
	r.jump(-24 * time.Hour)
	r.reopen()
	if !r.e.Paused() {
		t.Fatal("the pause is over")
	}
	until := fmt.Appendf(nil, "%d %d", r.now().UnixNano(), time.Millisecond) // as Pause notes it, and it is still on
	r.must(r.c.Update(0, func(tx *cache.Tx) error { return tx.SetSetting(pauseKey, until) }))
	r.jump(-24 * time.Hour)
	r.reopen()
	for end := time.Now().Add(20 * time.Second); r.e.Paused(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a pause of a millisecond does not end")
		}
	}
}
