package syncer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
)

// closed are the states in which items have ended, by their ids.
func (r *rig) closed() map[int64]cache.ItemStatus {
	r.t.Helper()
	out := map[int64]cache.ItemStatus{}
	r.must(r.c.View(func(tx *cache.Tx) error {
		return eachItem(tx, cache.ItemFilter{Closed: true}, func(it cache.Item) error {
			if it.Status.Closed() {
				out[it.ID] = it.Status
			}
			return nil
		})
	}))
	return out
}

func TestAnItemIsProcessedWhileItsWriteIsUnderWay(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		l := r.legs()[0]
		var during cache.Item
		look := func() { during = r.itemOf("f") }
		r.script.Add(faulty.Rule{Method: faulty.Put, Nth: 1, Before: look, Err: fmt.Errorf("put file: %w", remote.ErrQuota)})
		r.write("f", "1")
		if it := r.itemOf("f"); it.Status != cache.ItemNew {
			t.Errorf("before it is sent it is %+v", it)
		}
		r.must(r.cycle(l))
		if during.Status != cache.ItemProcessing {
			t.Errorf("while it is sent it is %+v", during)
		}
		it := r.itemOf("f")
		if it.Status != cache.ItemError || !it.Parked {
			t.Errorf("when it was refused it is %+v", it)
		}
		r.unpark()
		r.script.Add(faulty.Rule{Method: faulty.Put, Before: look})
		r.must(r.cycle(l))
		if during.Status != cache.ItemProcessing || during.Error != "" || during.Parked {
			t.Errorf("when it is sent again it is %+v", during)
		}
		if got := r.closed()[it.ID]; got != cache.ItemCompleted {
			t.Errorf("in the end it is in state %d", got)
		}
		wantTree(t, r.agree(), map[string]string{"f": "1"})
	})
}

// TestNothingIsProcessedWhoseEndpointIsGone has the endpoint go in the middle of a write.
func TestNothingIsProcessedWhoseEndpointIsGone(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.script.Add(faulty.Rule{Method: faulty.Put, Err: remote.ErrUnavailable, Before: func() {
			r.script.Add(faulty.Rule{Err: remote.ErrUnavailable})
		}})
		r.write("f", "1")
		if err := r.cycle(r.legs()[0]); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("a cycle without its endpoint: %v", err)
		}
		if it := r.itemOf("f"); it.Status != cache.ItemNew {
			t.Errorf("the item is %+v", it)
		}
		r.script.Clear()
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "1"})
	})
}

// TestTheWorkOnAVersionThatWasGivenUpIsCancelled has a person choose between two versions, each of which is an item's.
func TestTheWorkOnAVersionThatWasGivenUpIsCancelled(t *testing.T) {
	const done, given = cache.ItemCompleted, cache.ItemCancelled
	for keep, want := range map[string]struct{ ours, theirs cache.ItemStatus }{
		KeepLocal: {done, given}, KeepMerged: {done, given}, KeepRemote: {given, done}, KeepBoth: {done, done},
	} {
		t.Run(keep, func(t *testing.T) {
			eachPolicy(t, strategyOf("manual"), func(t *testing.T, r *rig, f *far) {
				ask(r, f)
				open := map[cache.Origin]cache.Item{}
				r.must(r.c.View(func(tx *cache.Tx) error {
					return eachItem(tx, cache.ItemFilter{Status: cache.ItemConflicted}, func(it cache.Item) error {
						open[it.Origin] = it
						return nil
					})
				}))
				ours, theirs := open[cache.OriginLocal].ID, open[cache.OriginRemote].ID
				if ours == 0 || theirs == 0 {
					t.Fatalf("in conflict are %+v", open)
				}
				r.must(r.e.ResolveConflict(t.Context(), "/f.txt", keep, []byte("merged")))
				r.settle()
				if got := r.closed(); got[ours] != want.ours || got[theirs] != want.theirs {
					t.Errorf("ours ended in state %d, theirs in %d; want %+v", got[ours], got[theirs], want)
				}
			})
		})
	}
}

// TestItemsAreCarriedOutInTheirOrder makes directories in no order of their names, and then what is in them before they are,
// at an endpoint that takes one after the other.
func TestItemsAreCarriedOutInTheirOrder(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		oneAtATime(r.legs()[0])
		made := []string{"m", "z", "a", "k", "b"}
		for _, name := range made {
			r.mkdir(name)
		}
		r.write("f", "1")
		r.mkdir("d")
		r.mkdir("e")
		r.move("f", "d/f")
		r.move("d", "e/d")
		r.script.Forget()
		r.must(r.cycle(r.legs()[0]))
		var got []string
		for _, c := range r.script.Calls("") {
			if c.Method == faulty.Mkdir || c.Method == faulty.Put {
				got = append(got, c.Name)
			}
		}
		if want := append(slices.Clone(made), "e", "d", "f"); !slices.Equal(got, want) {
			t.Errorf("made were %q, want %q", got, want)
		}
	})
}

// oneAtATime has a leg do what it would do beside each other in turn.
func oneAtATime(l *leg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	caps := *l.caps
	caps.Parallel, l.conduit.Parallel = 1, 1
	l.caps = &caps
}

// TestWhatFailsForAWhileIsTriedForEver has an endpoint refuse a file for a reason that ends by itself.
func TestWhatFailsForAWhileIsTriedForEver(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.script.Add(faulty.Rule{Method: faulty.Put, Err: fmt.Errorf("put file: %w", remote.ErrLocked)})
		r.write("f", "waits")
		l := r.legs()[0]
		for i := range 25 {
			r.must(r.cycle(l))
			r.must(r.cycle(l)) // not at every cycle
			it := r.itemOf("f")
			if n := len(r.script.Calls(faulty.Put)); it.Status != cache.ItemError || it.Parked || it.Tries != i+1 || n != i+1 {
				t.Fatalf("after %d of %d tries the item is %+v", i+1, n, it)
			}
			if !strings.Contains(it.Error, remote.ErrLocked.Error()) {
				t.Fatalf("the item does not say why: %q", it.Error)
			}
			wait := time.Duration(it.Eligible - r.now().UnixNano())
			if least := min(minRetry<<i, maxRetry*3/4); wait > maxRetry || wait < least/2 {
				t.Fatalf("after %d tries it waits for %v", i+1, wait)
			}
			r.advance(wait)
		}
		r.script.Clear()
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "waits"})
	})
}

func TestBackoffGrowsToItsLimitAndDiffers(t *testing.T) {
	t.Parallel()
	for tries := 1; tries <= 70; tries++ {
		least := min(minRetry<<min(tries-1, 20), maxRetry*3/4)
		seen := map[time.Duration]bool{}
		for range 50 {
			d := backoff(tries)
			if seen[d] = true; d < least || d > maxRetry || d > least+least/2 {
				t.Fatalf("after %d tries: %v", tries, d)
			}
		}
		if len(seen) < 2 {
			t.Errorf("after %d tries everybody waits for %v", tries, seen)
		}
	}
}

// TestWhatIsParkedSaysWhatCanBeDone has an endpoint refuse a file for each of the reasons that last.
func TestWhatIsParkedSaysWhatCanBeDone(t *testing.T) {
	for _, why := range classes {
		if why.remedy == "" {
			continue
		}
		t.Run(why.cause.Error(), func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				r.script.Add(faulty.Rule{Method: faulty.Put, Match: func(c faulty.Call) bool { return c.Name == "f" }, Err: why.cause})
				r.write("f", "waits")
				r.write("g", "does not")
				r.must(r.cycle(r.legs()[0]))
				wantTree(t, f.tree(), map[string]string{"g": "does not"})
				it := r.itemOf("f")
				if it.Status != cache.ItemError || !it.Parked || it.Tries != 1 {
					t.Errorf("the item is %+v", it)
				}
				if it.Cause != why.Cause {
					t.Errorf("its cause is %q, want %q", it.Cause, why.Cause)
				}
				if !strings.Contains(it.Error, why.cause.Error()) || !strings.Contains(it.Error, why.remedy) {
					t.Errorf("it says %q, and not that one can %q", it.Error, why.remedy)
				}
			})
		})
	}
}

// TestWhatCannotComeSaysWhatCanBeDone has an object of the endpoint that the drive cannot have.
func TestWhatCannotComeSaysWhatCanBeDone(t *testing.T) {
	eachWithLongNames(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		f.write(long, "1")
		r.must(r.cycle(r.legs()[0]))
		it := r.wantFailed()
		if wait := time.Duration(it.Eligible - r.now().UnixNano()); !it.Parked || !strings.Contains(it.Error, "rename it there") || wait < minPause/2 {
			t.Errorf("the item rests for %v and is %+v", wait, it)
		}
		r.unpark()
		f.move(long, "short")
		r.settle()
		wantTree(t, r.agree(), map[string]string{"short": "1"})
	})
}
