package cache

import (
	"slices"
	"testing"
	"time"
)

func TestMovesAreBoundedByAgeAndNumber(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	now := c.opt.Clock()
	c.opt.Clock = func() time.Time { return now }
	began := now
	left := func() (out []string) {
		t.Helper()
		if err := c.View(func(tx *Tx) error {
			all, err := tx.MovesSince(1, 0)
			for _, m := range all {
				out = append(out, m.Old+m.New)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for i := range 9 {
		now = began.Add(time.Duration(i) * time.Hour)
		if err := c.Update(0, func(tx *Tx) error { return tx.AddMove(1+LegID(i)/8, string(rune('a'+i)), "x") }); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Update(0, func(tx *Tx) error {
		_, err := tx.PurgeMoves(began.Add(2*time.Hour).UnixNano(), 4, 100)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := left(); !slices.Equal(got, []string{"ex", "fx", "gx", "hx"}) {
		t.Errorf("left are %q", got)
	}
	now = now.Add(trashKept)
	if err := c.purgeTrash(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := left(); len(got) != 0 {
		t.Errorf("after a long time %q are left", got)
	}
}
