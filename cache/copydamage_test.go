package cache

import (
	"errors"
	"testing"

	"vdfs/internal/digest"
)

func TestADamagedStoredCopyIsNoProofUntilItIsAnother(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	f, g := x.touch(RootIno, "f"), x.touch(RootIno, "g")
	var b Binding
	id := x.bind(leg, f.ID)
	x.update(0, func(tx *Tx) (err error) {
		if b, _, err = tx.Binding(id); err != nil {
			return err
		}
		b.Content, b.Proof, b.Verified = "token", 4, 5
		return tx.PutBinding(&b)
	})
	put := func(d Damage) (fresh bool) {
		t.Helper()
		x.update(0, func(tx *Tx) (err error) {
			fresh, err = tx.PutDamage(d)
			return err
		})
		return fresh
	}
	known := func() (all []Damage) {
		t.Helper()
		x.look(func(tx *Tx) (err error) {
			all, err = tx.Damages(Damage{}, 10)
			return err
		})
		return all
	}
	d := Damage{Binding: b.ID, Ino: f.Ino, Version: 1, Content: "token", What: "bits flipped"}
	if put(Damage{Binding: b.ID, Ino: f.Ino, Version: 1, Content: "older"}) || len(known()) > 0 {
		t.Error("damage of an object that is another by now is recorded")
	}
	if !put(d) || put(d) {
		t.Error("it is no news the first time, or still is the second")
	}
	x.look(func(tx *Tx) error {
		now, _, err := tx.Binding(b.ID)
		if now.Proof != 0 || now.Verified != 0 {
			t.Errorf("it counts as proved: %+v", now)
		}
		n, cerr := tx.CountDamage()
		if n[leg] != 1 || n[0] != 0 {
			t.Errorf("counted are %v", n)
		}
		return errors.Join(err, cerr)
	})
	if all := known(); len(all) != 1 || all[0].Leg != leg || all[0].Dentry != f.ID || all[0].What != d.What || all[0].Found == 0 {
		t.Errorf("known is %+v", all)
	}
	x.update(0, func(tx *Tx) error { return tx.ClearDamage(0, g.Ino) })
	if len(known()) != 1 {
		t.Error("what is here of another file was found to be good, and the copy is forgotten")
	}
	x.update(0, func(tx *Tx) error { return tx.ClearDamage(b.ID, 0) })
	if len(known()) != 0 || !put(d) {
		t.Error("it is known after it was found to be good")
	}
	// Another object is another matter.
	x.update(0, func(tx *Tx) error {
		b.Content = "another"
		return tx.PutBinding(&b)
	})
	if len(known()) != 0 {
		t.Error("the damage of an object that was replaced is told")
	}
	x.update(0, func(tx *Tx) error { return tx.PruneDamage() })
	x.look(func(tx *Tx) error {
		some, err := tx.queryRow("SELECT 1 FROM damage", func(*row) {})
		if some {
			t.Error("it is still in the index")
		}
		return err
	})
}

func TestDamagedBytesAreMendedAtOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	const good, bad = "the good bytes", "the bad bytes!"
	n := makeFile(t, c, "f", bad)
	set := func(h Hash) {
		t.Helper()
		if err := c.Update(0, func(tx *Tx) error { return tx.SetHash(n.Ino, n.Version, h) }); err != nil {
			t.Fatal(err)
		}
		n = attr(t, c, n.Ino)
	}
	set(digest.Sum([]byte(good))) // as if a bit had flipped since
	snap, err := c.Snapshot(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	got, err := snap.Reread(t.Context())
	if err := errors.Join(err, snap.Close()); err != nil || got != digest.Sum([]byte(bad)) {
		t.Fatalf("read again it has %x, %v", got, err)
	}
	damaged := func() bool {
		t.Helper()
		some := false
		err := c.View(func(tx *Tx) error {
			here, err := tx.DamagedHere()
			some = here[n.Ino]
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return some
	}
	if err := c.Update(0, func(tx *Tx) error {
		_, err := tx.PutDamage(Damage{Ino: n.Ino, Version: n.Version, Content: HereContent(n), What: "x"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want(t, "it is damaged", damaged(), true)

	s := staged(t, c, good)
	reader, err := c.OpenFile(n.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, c.Mend(n, got, s), ErrBusy)
	closeIt(t, reader)
	old := n
	old.Version--
	wantErr(t, c.Mend(old, got, s), ErrStale)
	other := staged(t, c, "other bytes yet")
	wantErr(t, c.Mend(n, got, other), ErrStale)
	closeIt(t, other)
	want(t, "nothing was changed", content(t, c, n.Ino), bad)

	if err := c.Mend(n, got, s); err != nil {
		t.Fatal(err)
	}
	closeIt(t, s)
	now := attr(t, c, n.Ino)
	want(t, "mended", content(t, c, n.Ino), good)
	want(t, "its version", now.Version, n.Version)
	want(t, "its residency", now.Residency, Full)
	want(t, "it is damaged", damaged(), false)
	err = c.View(func(tx *Tx) error {
		rows, err := tx.Trash(0, 10)
		if len(rows) != 1 || rows[0].Hash != got || rows[0].Path != "/f" || rows[0].Reason != damagedReason {
			t.Errorf("the trash has %+v", rows)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := c.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
