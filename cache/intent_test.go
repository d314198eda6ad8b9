package cache

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// cloud makes a file whose bytes are at an endpoint, as the syncer does.
func (x *indexTest) cloud(parent Ino, name string, size int64) (id DentryID, ino Ino) {
	x.t.Helper()
	x.update(1, func(tx *Tx) (err error) {
		if ino, err = tx.InsertNode(Node{Kind: File, Size: size}); err == nil {
			id, err = tx.InsertDentry(parent, name, ino)
		}
		return err
	})
	return id, ino
}

func (x *indexTest) intend(id DentryID, i Intent) {
	x.t.Helper()
	x.update(0, func(tx *Tx) error { return tx.SetIntent(id, i) })
}

func (x *indexTest) wantIntent(what string, id DentryID, intent Intent, from DentryID) {
	x.t.Helper()
	x.look(func(tx *Tx) error {
		i, by, err := tx.EffectiveIntent(id)
		if err == nil && (i != intent || by != from) {
			err = fmt.Errorf("%s: intent %d from %d, want %d from %d", what, i, by, intent, from)
		}
		return err
	})
}

// wantWalks checks which directories are noted to be walked, and forgets them.
func (x *indexTest) wantWalks(what string, ids ...DentryID) {
	x.t.Helper()
	x.update(0, func(tx *Tx) error {
		got, err := tx.Walks()
		slices.Sort(got)
		if err == nil && !slices.Equal(got, ids) {
			err = fmt.Errorf("%s: to be walked: %v, want %v", what, got, ids)
		}
		for _, id := range got {
			err = errors.Join(err, tx.EndWalk(id))
		}
		return err
	})
}

func TestIntentsFollowMoves(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	keep, plain := x.mkdir(RootIno, "keep"), x.mkdir(RootIno, "plain")
	sub := x.mkdir(plain.Ino, "sub")
	in, _ := x.cloud(sub.Ino, "f", 9)
	x.wantWalks("nothing is pinned")
	x.intend(keep.ID, Pinned)
	x.wantWalks("a pinned directory", keep.ID)

	fresh := x.mkdir(keep.Ino, "fresh")
	x.wantIntent("made below", fresh.ID, Pinned, keep.ID)
	x.wantWalks("nothing can be below a new directory")

	x.no(x.Rename(plain.Ino, "sub", keep.Ino, "sub", 0))
	x.wantIntent("moved in", in, Pinned, keep.ID)
	x.wantWalks("a directory moved in", sub.ID)
	x.no(x.Rename(keep.Ino, "sub", plain.Ino, "sub", 0))
	x.wantIntent("moved out", in, Inherited, 0)
	x.wantWalks("a directory moved out")

	other := x.mkdir(keep.Ino, "other")
	x.no(x.Rename(plain.Ino, "sub", keep.Ino, "other", RenameExchange))
	x.wantIntent("swapped in", in, Pinned, keep.ID)
	x.wantIntent("swapped out", other.ID, Inherited, 0)
	x.wantWalks("swapped", sub.ID)

	x.intend(in, Online)
	x.intend(fresh.ID, Pinned)
	x.wantWalks("pinned twice", fresh.ID)
	x.no(x.Rename(sub.Ino, "f", plain.Ino, "f", 0))
	x.no(x.Rename(keep.Ino, "fresh", plain.Ino, "fresh", 0))
	x.wantIntent("an own wish moved", in, Online, in)
	x.wantIntent("an own pin moved", fresh.ID, Pinned, fresh.ID)
}

func TestIntentsAreListedInPages(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	var want []DentryID
	for i := range 7 {
		d := x.mkdir(RootIno, fmt.Sprint(i))
		if i%2 == 0 {
			x.intend(d.ID, Intent(1+i/2%3))
			want = append(want, d.ID)
		}
	}
	var got []DentryID
	x.look(func(tx *Tx) error {
		for after := DentryID(0); ; {
			page, err := tx.Intents(after, 3)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, d := range page {
				got, after = append(got, d.ID), d.ID
			}
		}
	})
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHoldingsTellWhatIsHereAndElsewhere(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	legs := x.legs(RootIno, 2)
	sent, own := x.touch(RootIno, "sent"), x.touch(RootIno, "own")
	x.write("sent", "12345")
	x.write("own", "123")
	cloud, _ := x.cloud(RootIno, "cloud", 9)
	for i, leg := range legs {
		x.bind(leg, sent.ID)
		x.bind(leg, cloud)
		x.update(leg, func(tx *Tx) error {
			n, err := tx.Node(sent.Ino)
			if err != nil {
				return err
			}
			b, _, err := tx.BindingOfDentry(leg, sent.ID)
			b.LocalVersion, b.Proof = n.Version, 1+i
			return errors.Join(err, tx.PutBinding(&b), tx.DeleteAllItems(leg))
		})
	}
	hard, err := x.Link(sent.Ino, RootIno, "hard")
	x.no(err)
	want := func(when string, id DentryID, proof int, present int64, unsent bool, copies int) {
		t.Helper()
		x.look(func(tx *Tx) error {
			h, err := tx.Holding(id, proof)
			if err == nil && (h.Present != present || h.Unsent != unsent || h.Copies != copies) {
				err = fmt.Errorf("%s: %s has %d bytes, unsent %v, %d copies; want %d, %v, %d", when, h.Name, h.Present, h.Unsent, h.Copies, present, unsent, copies)
			}
			return err
		})
	}
	want("another name is new", sent.ID, 1, 5, true, 2)
	x.update(0, func(tx *Tx) error { return errors.Join(tx.DeleteAllItems(legs[0]), tx.DeleteAllItems(legs[1])) })
	want("sent", sent.ID, 1, 5, false, 2)
	want("sent, strictly", sent.ID, 2, 5, false, 1)
	want("by its other name", hard.ID, 1, 5, false, 2)
	want("no endpoint has it", own.ID, 1, 3, true, 0)
	want("not here", cloud, 1, 0, false, 0)
	x.update(0, func(tx *Tx) error { return tx.MarkLocal(sent.ID) })
	want("changed", sent.ID, 1, 5, true, 2)
	x.write("sent", "123456")
	want("another version", sent.ID, 1, 6, true, 0)
	x.look(func(tx *Tx) error {
		page, err := tx.Holdings(RootIno, sent.ID, 2, 1)
		if err == nil && (len(page) != 2 || page[0].ID != own.ID || page[0].Present != 3) {
			err = fmt.Errorf("page %+v", page)
		}
		return err
	})
}
