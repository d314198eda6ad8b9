package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestARowThatIsKeptBackIsSeenByWhoeverAsks puts rows, changes and deletes them at random, in transactions of a few steps, and
// asks in every way after each step. What a map says is what the table has to say.
func TestARowThatIsKeptBackIsSeenByWhoeverAsks(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	want := map[string]Observed{}
	for range 60 {
		before := make(map[string]Observed, len(want))
		for k, o := range want {
			before[k] = o
		}
		undo := rnd.IntN(5) == 0
		err := x.Update(leg, func(tx *Tx) error {
			for range 1 + rnd.IntN(12) {
				id := fmt.Sprint("r", rnd.IntN(12))
				if rnd.IntN(3) == 0 {
					if _, _, err := tx.Observed(leg, id); err != nil {
						return err
					}
				}
				if rnd.IntN(3) == 0 {
					delete(want, id)
					if err := tx.DeleteObserved(leg, id); err != nil {
						return err
					}
				} else {
					// No two have a name or a fingerprint in common, so that there is one answer.
					o := Observed{Leg: leg, RemoteID: id, Parent: fmt.Sprint("p", rnd.IntN(2)), Name: fmt.Sprint(id, rnd.IntN(2)), Ident: fmt.Sprint(id, rnd.IntN(2)), Kind: File, Size: rnd.Int64N(99), Gone: rnd.IntN(4) == 0}
					want[id] = o
					if err := tx.PutObserved(o); err != nil {
						return err
					}
				}
				if err := wantObserved(tx, leg, want, rnd.IntN(4) == 0); err != nil {
					return err
				}
			}
			if undo {
				return ErrBusy
			}
			return nil
		})
		if undo {
			x.is(err, ErrBusy)
			want = before
		} else {
			x.no(err)
		}
		x.look(func(tx *Tx) error { return wantObserved(tx, leg, want, true) })
	}
}

// wantObserved asks for what is to be there by each key, and in pages if that is wanted.
func wantObserved(tx *Tx, leg LegID, want map[string]Observed, pages bool) error {
	for i := range 12 {
		id := fmt.Sprint("r", i)
		w, there := want[id]
		if o, ok, err := tx.Observed(leg, id); err != nil || ok != there || o != w {
			return fmt.Errorf("%s is %v, %v, want %v: %w", id, o, ok, w, errors.Join(err, ErrInvalid))
		}
		for j := range 2 {
			name := fmt.Sprint(id, j)
			present := there && !w.Gone
			if o, ok, err := tx.ObservedByIdent(leg, name); err != nil || ok != (present && w.Ident == name) || ok && o != w {
				return fmt.Errorf("%s by fingerprint %s is %v, %v, want %v: %w", id, name, o, ok, w, errors.Join(err, ErrInvalid))
			}
			for _, parent := range []string{"p0", "p1"} {
				if o, ok, err := tx.ObservedAt(leg, parent, name); err != nil || ok != (present && w.Parent == parent && w.Name == name) || ok && o != w {
					return fmt.Errorf("%s at %s/%s is %v, %v, want %v: %w", id, parent, name, o, ok, w, errors.Join(err, ErrInvalid))
				}
			}
		}
	}
	if !pages {
		return nil
	}
	all, err := tx.ObservedPage(leg, "", 100)
	var rows []Observed
	for _, o := range want {
		rows = append(rows, o)
	}
	slices.SortFunc(rows, func(a, b Observed) int { return strings.Compare(a.RemoteID, b.RemoteID) })
	if err != nil || !slices.Equal(all, rows) {
		return fmt.Errorf("all are %v, want %v: %w", all, rows, errors.Join(err, ErrInvalid))
	}
	return nil
}

// TestOfTwoUnderOneNameTheOtherIsLeft observes two objects of one name and fingerprint in a transaction and forgets the second.
func TestOfTwoUnderOneNameTheOtherIsLeft(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	x.update(leg, func(tx *Tx) error {
		for _, id := range []string{"a", "b"} {
			if _, _, err := tx.Observed(leg, id); err != nil {
				return err
			}
			if err := tx.PutObserved(Observed{Leg: leg, RemoteID: id, Parent: "p", Name: "n", Ident: "i", Kind: File}); err != nil {
				return err
			}
		}
		if err := tx.DeleteObserved(leg, "b"); err != nil {
			return err
		}
		named, ok, err := tx.ObservedAt(leg, "p", "n")
		twin, ok2, err2 := tx.ObservedByIdent(leg, "i")
		if !ok || !ok2 || named.RemoteID != "a" || twin.RemoteID != "a" {
			t.Errorf("by name %v (%v), by fingerprint %v (%v)", named, ok, twin, ok2)
		}
		return errors.Join(err, err2)
	})
}
