package syncer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// itemOf is the open item of a path in the drive.
func (r *rig) itemOf(p string) (it cache.Item) {
	r.t.Helper()
	id := r.find(p).ID
	r.must(r.c.View(func(tx *cache.Tx) (err error) {
		it, _, err = tx.LocalItem(r.legs()[0].id, id)
		return err
	}))
	return it
}

// refuse has the endpoint refuse to look at what is called name, as where somebody else took the right to.
func (r *rig) refuse(f *far, name string, err error) {
	r.script.Add(faulty.Rule{Err: err, Match: func(c faulty.Call) bool {
		if c.Method != faulty.Verify && c.Method != faulty.Read {
			return c.Method == faulty.Lookup && c.Name == name
		}
		e, lerr := f.find(name)
		return lerr == nil && e.ID == c.ID
	}})
}

func TestAWriteThatCannotBeLookedBackAtHoldsUpNothingElse(t *testing.T) {
	for name, cause := range map[string]error{
		"denied":       fmt.Errorf("read file: %w", remote.ErrDenied),
		"another disk": fmt.Errorf("read file: %w: %w", remote.ErrDetached, remote.ErrUnavailable),
		"a bad sector": fmt.Errorf("read file: %w", remote.ErrUnavailable),
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				r.refuse(f, "bad", cause)
				r.write("bad", "who knows")
				r.write("good", "sent")
				for range 3 {
					for _, l := range r.legs() {
						r.must(r.cycle(l))
					}
					r.advance(time.Minute)
				}
				r.write("later", "sent, too")
				for _, l := range r.legs() {
					r.must(r.cycle(l))
				}
				got := r.stores[0].Tree()
				wantTree(t, got, map[string]string{"bad": "who knows", "good": "sent", "later": "sent, too"})
				it := r.itemOf("bad")
				if it.Status != cache.ItemError || !it.Parked || !strings.Contains(it.Error, "read file") {
					t.Errorf("the item is %+v, want an error that says why", it)
				}

				// What happened meanwhile is sorted out as soon as it can be looked at: it was ours.
				r.move("bad", "better")
				r.script.Clear()
				r.settle()
				wantTree(t, r.agree(), map[string]string{"better": "who knows", "good": "sent", "later": "sent, too"})
			})
		})
	}
}

func TestAnUnclearWriteIsNotMadeAgainUnderAnotherName(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.refuse(f, "bad", fmt.Errorf("read file: %w", remote.ErrDenied))
		r.write("bad", "who knows")
		for _, l := range r.legs() {
			r.must(r.cycle(l))
		}
		r.move("bad", "better")
		for range 3 {
			for _, l := range r.legs() {
				r.must(r.cycle(l))
			}
			r.advance(time.Hour)
		}
		if got := r.stores[0].Tree(); got["better"] != "" {
			t.Errorf("it was sent twice: %v", got)
		}
		r.script.Clear()
		r.settle()
		wantTree(t, r.agree(), map[string]string{"better": "who knows"})
	})
}

func TestWhatIsParkedIsTriedAgainByItself(t *testing.T) {
	for name, cause := range map[string]error{
		"quota": remote.ErrQuota, "denied": remote.ErrDenied, "read-only": remote.ErrReadOnly,
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				r.script.Add(faulty.Rule{Method: faulty.Put, Err: fmt.Errorf("put file: %w", cause)})
				r.write("f", "waits")
				tries := func() int { return len(r.script.Calls(faulty.Put)) }
				for i := range 8 {
					was := tries()
					for range 3 { // not at every cycle
						for _, l := range r.legs() {
							r.must(r.cycle(l))
						}
					}
					if n := tries() - was; n != 1 {
						t.Fatalf("round %d: %d tries, want one", i, n)
					}
					it := r.itemOf("f")
					if it.Status != cache.ItemError || !it.Parked || !strings.Contains(it.Error, "tried again by itself") {
						t.Fatalf("the item is %+v, want it parked and told what to do", it)
					}
					wait := time.Duration(it.Eligible - r.now().UnixNano())
					if wait < 30*time.Second || wait > maxRetry {
						t.Fatalf("it waits for %v", wait)
					}
					r.advance(wait)
				}
				r.script.Clear()
				r.settle()
				wantTree(t, r.agree(), map[string]string{"f": "waits"})
			})
		})
	}
}

func TestWhatIsParkedIsTriedWhenTheEndpointHasRoomAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(memory.Options{Quota: 10}))
	r.settle()
	r.write("f", strings.Repeat("x", 20))
	l := r.legs()[0]
	r.must(r.cycle(l))
	if it := r.itemOf("f"); !it.Parked {
		t.Fatalf("the item is %+v, want it parked", it)
	}
	r.stores[0].SetQuota(1000)
	r.must(r.cycle(l))
	r.must(r.cycle(l))
	wantTree(t, r.agree(), map[string]string{"f": strings.Repeat("x", 20)})
}

func TestWhatIsParkedIsTriedWhenTheEndpointChanged(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.script.Add(faulty.Rule{Method: faulty.Put, Err: fmt.Errorf("put file: %w", remote.ErrDenied)})
		r.write("f", "waits")
		l := r.legs()[0]
		r.must(r.cycle(l))
		r.script.Clear()
		r.must(r.cycle(l))
		if it := r.itemOf("f"); !it.Parked {
			t.Fatalf("the item is %+v, want it parked", it)
		}
		r.advance(minStir)
		f.write("theirs", "a change")
		r.must(r.cycle(l))
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "waits", "theirs": "a change"})
	})
}

func TestAnAnnouncedWriteThatIsUnreadableHoldsUpNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		r.write("f", "sent")
		r.must(r.c.Update(0, func(tx *cache.Tx) error { return tx.Announce(r.legs()[0].id, 1000, []byte("of another vdfs")) }))
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": "sent"})
	})
}
