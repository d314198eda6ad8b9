package cache

import (
	"fmt"
	"testing"
)

func TestIgnoreFilesAreFound(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d := x.mkdir(RootIno, "d")
	x.legs(RootIno, 1)
	x.touch(RootIno, IgnoreName)
	x.mkdir(d.Ino, IgnoreName) // no file
	x.touch(d.Ino, "other")
	var have []IgnoreFile
	x.look(func(tx *Tx) (err error) {
		have, err = tx.IgnoreFiles()
		return err
	})
	if len(have) != 1 || have[0].Dir != RootIno || have[0].Version == 0 {
		t.Fatalf("there is %+v", have)
	}
	f := have[0]
	f.Text = "*.o\n\xff"
	x.update(0, func(tx *Tx) error { return tx.PutIgnore(f, true) })
	if got := x.unchecked(); got != "/ " {
		t.Errorf("to look at is %q", got)
	}
	x.update(0, func(tx *Tx) error { return tx.PutIgnore(f, false) })
	if got := x.unchecked(); got != "" {
		t.Errorf("the same text: to look at is %q", got)
	}
	x.look(func(tx *Tx) error {
		now, err := tx.IgnoreInForce()
		if err == nil && (len(now) != 1 || now[0].Text != f.Text || now[0].Ino != f.Ino || now[0].Version != f.Version) {
			err = fmt.Errorf("in force is %+v", now)
		}
		return err
	})
	x.update(0, func(tx *Tx) error { return tx.DropIgnore(RootIno) })
	if got := x.unchecked(); got != "/ " {
		t.Errorf("to look at is %q", got)
	}
}

// unchecked takes the directories that are to be looked at again, with a space after each.
func (x *indexTest) unchecked() (out string) {
	x.t.Helper()
	x.update(0, func(tx *Tx) error {
		for {
			u, ok, err := tx.NextRecheck(1)
			if err != nil || !ok {
				return err
			}
			p, err := tx.Path(u.ID)
			if err != nil {
				return err
			}
			out += p + " "
			if err := tx.Rechecked(u.ID, 0); err != nil {
				return err
			}
		}
	})
	return out
}

func TestAMovedDirectoryIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.mkdir(RootIno, "outside")
	x.legs(x.mkdir(RootIno, "p").Ino, 1)
	p := x.lookup(RootIno, "p")
	a := x.mkdir(p.Ino, "a")
	x.touch(p.Ino, "f")
	if got := x.unchecked(); got != "" {
		t.Errorf("new names: to look at is %q", got)
	}
	x.no(x.Rename(p.Ino, "f", p.Ino, "g", 0))
	x.no(x.Rename(RootIno, "outside", RootIno, "still", 0))
	if got := x.unchecked(); got != "" {
		t.Errorf("a file, and a directory of no place: to look at is %q", got)
	}
	x.no(x.Rename(p.Ino, "a", p.Ino, "b", 0))
	x.update(0, func(tx *Tx) error {
		u, _, err := tx.NextRecheck(1)
		if err != nil {
			return err
		}
		return tx.Rechecked(u.ID, 77)
	})
	x.update(0, func(tx *Tx) error {
		u, ok, err := tx.NextRecheck(1)
		if err == nil && (!ok || u.ID != a.ID || u.After != 77) {
			err = fmt.Errorf("to look at is %+v, %v", u, ok)
		}
		return err
	})
	x.no(x.Rmdir(p.Ino, "b"))
	if got := x.unchecked(); got != "" {
		t.Errorf("what is gone: to look at is %q", got)
	}
}

func TestWhatIsPassedOverIsNobodysWork(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	const n = 5
	x.update(leg, func(tx *Tx) error {
		for i := range n {
			o := Observed{Leg: leg, RemoteID: fmt.Sprint("r", i), Parent: "root", Name: fmt.Sprint("n", i), Kind: File, Content: "c", Ignored: i > 0}
			if err := tx.PutObserved(o); err != nil {
				return err
			}
		}
		return tx.PutObserved(Observed{Leg: leg, RemoteID: "g", Parent: "root", Name: "g", Kind: Dir, Gone: true, Ignored: true})
	})
	page := func() (ids string) {
		x.look(func(tx *Tx) error {
			rows, err := tx.ObservedPage(leg, "", 100)
			for _, o := range rows {
				ids += o.RemoteID + " "
			}
			return err
		})
		return ids
	}
	if got := page(); got != "g r0 " {
		t.Errorf("work is %q", got)
	}
	x.look(func(tx *Tx) error {
		count, err := tx.CountUnbound(leg)
		if err == nil && count != 1 {
			err = fmt.Errorf("%d are unbound", count)
		}
		return err
	})
	for i, want := range []string{"g r0 r1 r2 ", "g r0 r1 r2 r3 r4 ", "g r0 r1 r2 r3 r4 "} {
		x.update(leg, func(tx *Tx) error {
			more, err := tx.LookAgain(leg, "root", 2)
			if more != (i < 2) {
				t.Errorf("look %d: %v", i, more)
			}
			return err
		})
		if got := page(); got != want {
			t.Errorf("look %d: work is %q, not %q", i, got, want)
		}
	}
}

func TestUnjudge(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.touch(RootIno, "a.tmp")
	_, err := x.Mknod(RootIno, "fifo", Fifo, 0o600, 0, Caller{})
	x.no(err)
	x.update(0, (*Tx).Unjudge)
	if x.lookup(RootIno, "a.tmp").LocalOnly || !x.lookup(RootIno, "fifo").LocalOnly {
		t.Errorf("after it: %+v, %+v", x.lookup(RootIno, "a.tmp"), x.lookup(RootIno, "fifo"))
	}
}
