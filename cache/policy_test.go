package cache

import (
	"errors"
	"slices"
	"testing"
)

// TestWhatAConduitIsGivenIsKept writes what policies and strategies need and reads it after the index was opened again.
func TestWhatAConduitIsGivenIsKept(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	cd := Conduit{Name: "c", UUID: "u", Policy: "archive", Strategy: "newest"}
	legs := []Leg{{Endpoint: "/from", Role: RoleSource}, {Endpoint: "/to"}}
	rules := []Rule{{"*.txt", "manual"}, {"a/\xff", "local"}}
	purge := Deletions{Leg: 1, Side: OriginLocal, Begun: 5, Objects: 60, Last: 7, Held: true}
	decision := Decision{Leg: 1, Dentry: 7, Version: 3, Content: "token", Strategy: "remote"}
	release := Release{Conduit: "c", Source: "/from", Destination: "/to/f", Path: "/f", Kind: File, Size: 5, Hash: Hash{1}}
	x.update(0, func(tx *Tx) (err error) {
		if cd.Place, err = tx.EnsurePlace(RootIno); err != nil {
			return err
		}
		if err := tx.CreateConduit(&cd, legs); err != nil {
			return err
		}
		b := Binding{Leg: legs[0].ID, Dentry: RootDentry, RemoteID: "r", Kind: Dir, Releasing: true}
		o := Observed{Leg: legs[0].ID, RemoteID: "x", Name: "x", Kind: Dir, Listed: true}
		return errors.Join(
			tx.SetRules(cd.ID, []Rule{{"old", "local"}, {"older", "local"}, {"oldest", "local"}}), tx.SetRules(cd.ID, rules), tx.PutDecision(Decision{Leg: 1, Dentry: 7}),
			tx.PutDecision(decision), tx.AddRelease(&release), tx.PutBinding(&b), tx.PutObserved(o), tx.SetPlaceReadOnly(cd.Place, true),
			tx.PutDeletions(Deletions{Leg: 1, Side: OriginLocal, Begun: 4}), tx.CountDeletion(1, OriginLocal, 1), tx.PutDeletions(purge),
			tx.CountDeletion(1, OriginLocal, 7), tx.CountDeletion(1, OriginLocal, 8), tx.CountDeletion(1, OriginRemote, 1), tx.PutDeletions(purge),
		)
	})
	x.abandon()
	x.open()
	x.update(0, func(tx *Tx) error {
		gotRules, err := tx.Rules(cd.ID)
		if err != nil || !slices.Equal(gotRules, rules) {
			t.Errorf("rules are %q, %v", gotRules, err)
		}
		got, ok, err := tx.Decision(1, 7)
		if err != nil || !ok || got != decision {
			t.Errorf("the decision is %+v, %v, %v", got, ok, err)
		}
		counted, err := tx.Deletions(1, OriginLocal)
		if purge.Done = 1; err != nil || counted != purge {
			t.Errorf("the deletions are %+v, %v; want %+v", counted, err, purge)
		}
		lines, err := tx.Releases(0, 10)
		if err != nil || len(lines) != 1 || lines[0] != release {
			t.Errorf("the audit log is %+v, %v; want %+v", lines, err, release)
		}
		gotLegs, err := tx.LegsOfConduit(cd.ID)
		if err != nil || len(gotLegs) != 2 || gotLegs[0].Role != RoleSource || gotLegs[1].Role != RoleTarget {
			t.Errorf("the legs are %+v, %v", gotLegs, err)
		}
		b, ok, err := tx.RootBinding(legs[0].ID)
		if err != nil || !ok || !b.Releasing {
			t.Errorf("the binding is %+v, %v, %v", b, ok, err)
		}
		o, ok, err := tx.Observed(legs[0].ID, "x")
		if err != nil || !ok || !o.Listed {
			t.Errorf("the observed row is %+v, %v, %v", o, ok, err)
		}
		if ro, err := tx.PlaceReadOnly(cd.Place); err != nil || !ro {
			t.Errorf("the place is read-only: %v, %v", ro, err)
		}
		return nil
	})
	if _, err := x.Mkdir(RootIno, "d", 0o755, Caller{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("mkdir: %v", err)
	}
	x.update(0, func(tx *Tx) error { return tx.SetPlaceReadOnly(cd.Place, false) })
	if _, err := x.Mkdir(RootIno, "d", 0o755, Caller{}); err != nil {
		t.Errorf("mkdir: %v", err)
	}
	x.update(0, func(tx *Tx) error {
		if err := tx.DeleteConduit(cd.ID); err != nil {
			return err
		}
		if left, err := tx.Deletions(1, OriginLocal); err != nil || left.Begun != 0 {
			t.Errorf("the deletions outlive their conduit: %+v, %v", left, err)
		}
		gone, err := tx.Rules(cd.ID)
		if len(gone) != 0 {
			t.Errorf("the rules outlive their conduit: %q", gone)
		}
		if lines, err := tx.Releases(0, 10); err != nil || len(lines) != 1 {
			t.Errorf("the audit log does not outlive the conduit: %+v, %v", lines, err)
		}
		return err
	})
}

// TestAChangeThatIsUndoneLeavesAPlaceAsItWas fails a transaction that has frozen a place.
func TestAChangeThatIsUndoneLeavesAPlaceAsItWas(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	undo := errors.New("undo")
	err := x.Update(0, func(tx *Tx) error {
		p, err := tx.EnsurePlace(RootIno)
		return errors.Join(err, tx.SetPlaceReadOnly(p, true), undo)
	})
	if !errors.Is(err, undo) || x.frozen.Load() != 0 {
		t.Errorf("%v, %d places are read-only", err, x.frozen.Load())
	}
}

// TestADecisionGoesWithWhatItIsAbout changes one thing after the other of a binding for whose dentry something was decided.
func TestADecisionGoesWithWhatItIsAbout(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(x *indexTest, b *Binding)
		goes   bool
	}{
		"another name there":    {func(_ *indexTest, b *Binding) { b.RemoteName = "other" }, false},
		"another time":          {func(_ *indexTest, b *Binding) { b.Mtime, b.LocalMtime = 1, 1 }, false},
		"a hash is known":       {func(_ *indexTest, b *Binding) { b.Hash = Hash{1} }, false},
		"another content there": {func(_ *indexTest, b *Binding) { b.Content = "new" }, true},
		"another version here":  {func(_ *indexTest, b *Binding) { b.LocalVersion++ }, true},
		"another dentry":        {func(x *indexTest, b *Binding) { b.Dentry = x.touch(RootIno, "g").ID }, true},
		"no dentry":             {func(_ *indexTest, b *Binding) { b.Dentry = 0 }, true},
		"the file is removed":   {func(x *indexTest, _ *Binding) { x.no(x.Unlink(RootIno, "f")) }, true},
	} {
		x := newIndexTest(t)
		leg := x.legs(RootIno, 1)[0]
		f := x.touch(RootIno, "f")
		id := x.bind(leg, f.ID)
		decided := func() (ok bool) {
			x.look(func(tx *Tx) (err error) {
				_, ok, err = tx.Decision(leg, f.ID)
				return err
			})
			return ok
		}
		x.update(0, func(tx *Tx) error {
			return tx.PutDecision(Decision{Leg: leg, Dentry: f.ID, Version: 7, Content: "c", Strategy: "local"})
		})
		var b Binding
		x.look(func(tx *Tx) (err error) {
			b, _, err = tx.Binding(id)
			return err
		})
		was := b
		tc.change(x, &b)
		if b != was {
			x.update(leg, func(tx *Tx) error { return tx.PutBinding(&b) })
		}
		if decided() == tc.goes {
			t.Errorf("%s: the decision goes: want %v", name, tc.goes)
		}
		x.update(leg, func(tx *Tx) error { return tx.DeleteBinding(id) })
		if decided() {
			t.Errorf("%s: the decision outlives the binding", name)
		}
	}
}
