package cache

import (
	"errors"
	"testing"
)

// TestASurveyAsksOnce takes the connection away after the first answers: the second ones have to come without it.
func TestASurveyAsksOnce(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d := x.mkdir(RootIno, "d")
	x.no(x.Survey(func(tx *Tx) error {
		look := func() (e Entry, there bool, err error) {
			e, err = tx.Entry(d.ID)
			if err == nil {
				_, there, err = tx.EntryAt(d.Ino, "absent")
			}
			return e, there, err
		}
		first, there, err := look()
		x.no(err)
		if there {
			t.Error("a name is there that nobody made")
		}
		conn := tx.conn
		tx.conn = nil
		second, there, err := look()
		tx.conn = conn
		if second != first || there {
			t.Errorf("%v became %v", first, second)
		}
		return err
	}))
	x.no(x.View(func(tx *Tx) error {
		if tx.memo != nil {
			return errors.New("what may be the writer's view remembers")
		}
		return nil
	}))
}

// TestASurveyRemembersABoundedNumber asks more than is remembered.
func TestASurveyRemembersABoundedNumber(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.no(x.Survey(func(tx *Tx) error {
		for i := range 2*memoMax + 10 {
			if _, err := tx.Node(Ino(1000 + i)); !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			if len(tx.memo) > memoMax {
				t.Fatalf("%d rows are remembered", len(tx.memo))
			}
		}
		_, err := tx.Node(RootIno)
		return err
	}))
}
