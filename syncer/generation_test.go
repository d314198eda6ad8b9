package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// many is more than a page of items.
const many = pageSize + 44

// doomed makes files that both sides have, and deletes them in the drive.
func (r *rig) doomed(n int) {
	r.t.Helper()
	f := r.far(0)
	f.mkdir("d")
	for i := range n {
		f.write(fmt.Sprintf("d/%03d", i), "old")
	}
	r.settle()
	for i := range n {
		r.remove(fmt.Sprintf("d/%03d", i))
	}
	r.script.Forget()
}

// writes are the calls so far that wrote, in their order.
func (r *rig) writes() (out []faulty.Method) {
	for _, c := range r.script.Calls("") {
		if slices.Contains([]faulty.Method{faulty.Put, faulty.Verify, faulty.Mkdir, faulty.Update, faulty.Delete}, c.Method) {
			out = append(out, c.Method)
		}
	}
	return out
}

// generations are those of the first conduit, the newest first.
func (r *rig) generations() (out []cache.Generation) {
	r.t.Helper()
	r.must(r.c.View(func(tx *cache.Tx) error {
		cd, _, err := tx.ConduitByName("home")
		if err == nil {
			out, err = tx.Generations(cache.GenerationFilter{Conduit: cd.ID})
		}
		return err
	}))
	return out
}

// TestNothingIsDeletedBeforeAllIsCopied is invariant I10, for more items than a page has.
func TestNothingIsDeletedBeforeAllIsCopied(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.doomed(many)
		r.write("new", "1")
		r.mkdir("e")
		r.write("e/new", "2")
		before := len(r.generations())
		r.must(r.cycle(r.legs()[0]))
		writes := r.writes()
		last := max(slices.Index(reversed(writes), faulty.Put), 0)
		for _, m := range []faulty.Method{faulty.Put, faulty.Verify, faulty.Mkdir} {
			last = min(last, slices.Index(reversed(writes), m))
		}
		if first := slices.Index(writes, faulty.Delete); first < 0 || first < len(writes)-1-last {
			t.Fatalf("the first deletion is write %d, the last copy %d, of %d", first, len(writes)-1-last, len(writes))
		}
		wantTree(t, r.agree(), map[string]string{"d/": "", "e/": "", "new": "1", "e/new": "2"})
		g := r.generations()
		if len(g) != before+1 || g[0].Copied != 2 || g[0].Deleted != many {
			t.Fatalf("generations %+v", g[:len(g)-before])
		}
	})
}

func reversed[T any](s []T) []T {
	out := slices.Clone(s)
	slices.Reverse(out)
	return out
}

// TestACopyThatFailsKeepsTheDeletionsOfItsGeneration has copies fail for good, for a while, and by what the endpoint turns out
// to hold.
func TestACopyThatFailsKeepsTheDeletionsOfItsGeneration(t *testing.T) {
	for _, cause := range []error{remote.ErrQuota, remote.ErrLocked, remote.ErrPrecondition} {
		t.Run(cause.Error(), func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.doomed(3)
				r.write("new", "1")
				r.script.Add(faulty.Rule{Method: faulty.Put, Err: cause})
				r.must(r.cycle(r.legs()[0]))
				if n := len(f.tree()); n != 4 || slices.Contains(r.writes(), faulty.Delete) {
					t.Fatalf("%d objects are left at the endpoint", n)
				}
				if errors.Is(cause, remote.ErrPrecondition) {
					return // it is tried again at once, and fails again
				}
				// It rests now. The deletions are a later generation's.
				r.postpone(r.failed()[0], r.e.Clock().Add(1<<40))
				r.must(r.cycle(r.legs()[0]))
				wantTree(t, f.tree(), map[string]string{"d/": ""})
				r.script.Clear()
				r.unpark()
				r.settle()
				wantTree(t, r.agree(), map[string]string{"d/": "", "new": "1"})
			})
		})
	}
}

// TestACopyThatSucceedsInTheEndKeepsNoDeletion meets a surprise that is cleared up in the same generation.
func TestACopyThatSucceedsInTheEndKeepsNoDeletion(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.doomed(3)
		r.write("new", "1")
		r.write("other", "2")
		r.script.Add(faulty.Rule{Method: faulty.Put, Nth: 1, Err: remote.ErrPrecondition})
		r.must(r.cycle(r.legs()[0]))
		wantTree(t, r.agree(), map[string]string{"d/": "", "new": "1", "other": "2"})
		if writes := r.writes(); slices.Index(writes, faulty.Delete) < slices.Index(writes, faulty.Verify) {
			t.Fatalf("a deletion before the last copy: %v", writes)
		}
	})
}

// TestATreeIsDeletedFromItsLeaves has directories come before what is in them.
func TestATreeIsDeletedFromItsLeaves(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.settle()
		at := "t"
		for range 12 {
			for i := range 30 {
				f.write(fmt.Sprintf("%s/%d", at, i), "1")
			}
			at += "/t"
		}
		r.settle()
		r.remove("t")
		r.must(r.cycle(r.legs()[0]))
		wantTree(t, r.agree(), map[string]string{})
	})
}

// TestDeletionsOfTheDriveAreHeld deletes most of a large drive in it.
func TestDeletionsOfTheDriveAreHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(memory.Options{}))
	f := r.far(0)
	const gone = 1001
	l := r.legs()[0]
	for i := range gone {
		f.write(fmt.Sprintf("d%d/%04d", i%2, i), "1")
	}
	f.write("keep", "1")
	r.settle()
	r.remove("d0")
	r.remove("d1")
	r.write("new", "2")
	for range 2 {
		r.must(r.cycle(l))
		if n := len(f.tree()); n != gone+4 {
			t.Fatalf("the endpoint has %d objects, want %d", n, gone+4)
		}
	}
	if held := r.held(cache.OriginLocal); len(held) != gone {
		t.Errorf("%d are shown as held", len(held))
	}
	if wait, state, blocked, err := l.standing(); err != nil || wait != 0 || state != SyncHeld || len(blocked) > 3 {
		t.Errorf("a run waits %v and ends %s with %d lines: %v %v", wait, state, len(blocked), blocked, err)
	}
	_, err := l.cycle(context.Background(), true, &syncCall{allowDeletes: true, done: make(chan error, 1)})
	r.must(err)
	r.settle()
	wantTree(t, r.agree(), map[string]string{"keep": "1", "new": "2"})
}
