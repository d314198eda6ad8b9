package cache

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
)

func TestPlacesHaveBorders(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	below := x.mkdir(x.mkdir(RootIno, "in").Ino, "below")
	in := x.lookup(RootIno, "in")
	x.touch(below.Ino, "early")
	outer := x.legs(RootIno, 1)[0]
	x.update(0, func(tx *Tx) error { return tx.DeleteAllItems(outer) })
	inner := x.legs(in.Ino, 1)[0]
	f := x.touch(below.Ino, "f")
	x.touch(RootIno, "g")
	x.wantWork(inner, "create f")
	x.wantWork(outer, "create g")

	x.is(x.Rename(RootIno, "g", in.Ino, "g", 0), ErrBorder)
	x.is(x.Rename(below.Ino, "f", RootIno, "f", 0), ErrBorder)
	x.is(x.Rename(below.Ino, "f", RootIno, "g", RenameExchange), ErrBorder)
	_, err := x.Link(f.Ino, RootIno, "hard")
	x.is(err, ErrBorder)
	x.is(x.Rename(RootIno, "in", RootIno, "out", 0), ErrBusy)
	d := x.mkdir(RootIno, "d")
	x.is(x.Rename(RootIno, "d", RootIno, "in", 0), ErrBusy)
	x.is(x.Rename(RootIno, "d", RootIno, "in", RenameExchange), ErrBusy)
	x.no(x.Rename(below.Ino, "f", in.Ino, "f", 0))
	empty := x.mkdir(RootIno, "empty")
	x.legs(empty.Ino, 1)
	x.is(x.Rmdir(RootIno, "empty"), ErrBusy)

	x.wantWork(outer, "create g", "create d") // neither place directory is work of the place around it
	x.chmod("in", 0o700)
	x.wantWork(outer, "create g", "create d")
	sub := x.mkdir(below.Ino, "sub")
	if sub.Node.Place != in.placeOf(x) || d.Node.Place == sub.Node.Place {
		t.Errorf("sub is in place %d, d in %d", sub.Node.Place, d.Node.Place)
	}
	x.update(0, func(tx *Tx) error {
		again, err := tx.EnsurePlace(in.Ino)
		if err == nil && again != sub.Node.Place {
			err = fmt.Errorf("a second place %d for one directory", again)
		}
		dir, err2 := tx.PlaceDir(again)
		if err2 == nil && dir != in.Ino {
			err2 = fmt.Errorf("place %d is at %d", again, dir)
		}
		_, err3 := tx.EnsurePlace(f.Ino)
		if errors.Is(err3, ErrNotDir) {
			err3 = nil
		}
		return errors.Join(err, err2, err3)
	})
	x.wantSound()
}

// placeOf is the place that a directory's children belong to now.
func (e Entry) placeOf(x *indexTest) PlaceID {
	n, err := x.Attr(e.Ino)
	x.no(err)
	return n.Place
}

func TestAPlaceAroundAnotherLeavesThatOneAlone(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	in := x.mkdir(RootIno, "in")
	inner := x.legs(in.Ino, 1)[0]
	outer := x.legs(RootIno, 1)[0]
	x.mkdir(x.mkdir(in.Ino, "a").Ino, "b")
	x.wantWork(inner, "create a", "create b")
	x.wantWork(outer)
	x.wantSound()
}

func TestASyncedDirectoryCannotBecomeAPlace(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	d := x.mkdir(RootIno, "d")
	x.bind(leg, d.ID)
	x.is(x.Update(0, func(tx *Tx) error { _, err := tx.EnsurePlace(d.Ino); return err }), ErrInvalid)
}

func TestIntentIsInheritedAndStaysWithTheName(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d := x.mkdir(RootIno, "d")
	f := x.touch(d.Ino, "f")
	want := func(id DentryID, intent Intent, from DentryID) {
		t.Helper()
		x.look(func(tx *Tx) error {
			i, by, err := tx.EffectiveIntent(id)
			if err == nil && (i != intent || by != from) {
				err = fmt.Errorf("intent %d from %d, want %d from %d", i, by, intent, from)
			}
			return err
		})
	}
	set := func(id DentryID, i Intent) {
		t.Helper()
		x.update(0, func(tx *Tx) error { return tx.SetIntent(id, i) })
	}
	want(f.ID, Inherited, 0)
	set(RootDentry, Auto)
	want(f.ID, Auto, RootDentry)
	set(d.ID, Pinned)
	want(f.ID, Pinned, d.ID)
	set(f.ID, Online)
	want(f.ID, Online, f.ID)
	save := x.touch(d.Ino, "save")
	x.no(x.Rename(d.Ino, "save", d.Ino, "f", 0))
	want(save.ID, Online, save.ID)
	set(save.ID, Inherited)
	want(save.ID, Pinned, d.ID)
	x.is(x.Update(0, func(tx *Tx) error { return tx.SetIntent(999, Pinned) }), ErrNotFound)
}

func TestAPinFetchesWhatIsNotHere(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d := x.mkdir(RootIno, "d")
	x.update(0, func(tx *Tx) error { return tx.SetIntent(d.ID, Pinned) })
	queued := func() (inos []Ino) {
		t.Helper()
		x.look(func(tx *Tx) error {
			ts, err := tx.NextTransfers(false, Never, 100)
			for _, tr := range ts {
				inos = append(inos, tr.Ino)
			}
			return err
		})
		return inos
	}
	x.touch(d.Ino, "here already")
	var a, b Ino
	var bID DentryID
	x.update(1, func(tx *Tx) (err error) {
		a, err = tx.InsertNode(Node{Kind: File, Size: 9})
		if err == nil {
			_, err = tx.InsertDentry(d.Ino, "a", a)
		}
		if err == nil {
			b, err = tx.InsertNode(Node{Kind: File, Size: 9})
		}
		if err == nil {
			bID, err = tx.InsertDentry(RootIno, "b", b)
		}
		return err
	})
	if got := queued(); !slices.Equal(got, []Ino{a}) {
		t.Fatalf("queued %v, want %v", got, []Ino{a})
	}
	x.no(x.Rename(RootIno, "b", d.Ino, "b", 0))
	if got := queued(); !slices.Equal(got, []Ino{a, b}) {
		t.Fatalf("queued %v, want %v", got, []Ino{a, b})
	}
	x.update(0, func(tx *Tx) error {
		ts, err := tx.NextTransfers(false, Never, 100)
		for _, tr := range ts {
			err = errors.Join(err, tx.DeleteTransfer(tr.ID))
		}
		return err
	})
	x.update(1, func(tx *Tx) error { return tx.ReplaceContent(b, 10, 5, Hash{1}) })
	if got := queued(); !slices.Equal(got, []Ino{b}) {
		t.Fatalf("after a new version queued %v", got)
	}
	x.update(0, func(tx *Tx) error { return tx.RemoveDentry(bID) })
	if got := queued(); len(got) > 0 {
		t.Errorf("queued for a file that is gone: %v", got)
	}
}

func TestReplaceContentIsANewVersionWithoutBytes(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	legs := x.legs(RootIno, 2)
	f := x.touch(RootIno, "f")
	x.write("f", "old bytes")
	for _, leg := range legs {
		x.bind(leg, f.ID)
	}
	before := x.lookup(RootIno, "f").Node
	feed := x.Feed()
	x.update(legs[0], func(tx *Tx) error { return tx.ReplaceContent(f.Ino, 100, 42, Hash{7}) })
	n := x.lookup(RootIno, "f").Node
	if n.Size != 100 || n.Mtime != 42 || n.Hash != (Hash{7}) || n.Residency != None || n.Content != 0 || n.Version != before.Version+1 {
		t.Errorf("node is %+v", n)
	}
	if got := feed.Next(10); len(got) != 1 || got[0].Ino != f.Ino || !got[0].Data {
		t.Errorf("feed is %+v", got)
	}
	x.wantWork(legs[0])
	x.wantWork(legs[1], "update f")
	o, err := x.OpenFile(f.Ino, false)
	x.no(err)
	if _, err := o.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrNotLocal) {
		t.Errorf("read of a placeholder: %v", err)
	}
	x.no(o.Close())
	_, w, err := x.Create(RootIno, "open", 0o644, Caller{})
	x.no(err)
	x.is(x.Update(legs[0], func(tx *Tx) error { return tx.ReplaceContent(w.Ino(), 1, 1, Hash{}) }), ErrBusy)
	x.no(w.Close())
	x.wantSound()
}

func TestSetDentryNodeLeavesOldHandlesTheirNode(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	f := x.touch(RootIno, "f")
	x.write("f", "old")
	reader, err := x.OpenFile(f.Ino, false)
	x.no(err)
	feed := x.Feed()
	var fresh Ino
	x.update(leg, func(tx *Tx) (err error) {
		fresh, err = tx.InsertNode(Node{Kind: File, Size: 3})
		if err == nil {
			err = tx.SetDentryNode(f.ID, fresh)
		}
		return err
	})
	if got := feed.Next(10); len(got) == 0 || got[len(got)-1].Parent != RootIno || got[len(got)-1].Name != "f" {
		t.Errorf("feed is %+v", got)
	}
	if e := x.lookup(RootIno, "f"); e.Ino != fresh || e.ID != f.ID || e.Node.Nlink != 1 {
		t.Fatalf("f is %+v", e)
	}
	p := make([]byte, 3)
	if _, err := reader.ReadAt(p, 0); err != nil || string(p) != "old" {
		t.Fatalf("the old handle reads %q, %v", p, err)
	}
	x.no(reader.Close())
	_, err = x.Attr(f.Ino)
	x.is(err, ErrNotFound)

	writer, err := x.OpenFile(x.touch(RootIno, "w").Ino, true)
	x.no(err)
	x.is(x.Update(leg, func(tx *Tx) error {
		ino, err := tx.InsertNode(Node{Kind: File})
		if err != nil {
			return err
		}
		d, _, err := tx.DentryAt(RootIno, "w")
		if err != nil {
			return err
		}
		return tx.SetDentryNode(d.ID, ino)
	}), ErrBusy)
	x.no(writer.Close())
	x.wantSound()
}

func TestRemoveDentryTellsTheKernelWhatIsGone(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d := x.mkdir(RootIno, "d")
	f := x.touch(d.Ino, "f")
	feed := x.Feed()
	x.is(x.Update(1, func(tx *Tx) error { return tx.RemoveDentry(d.ID) }), ErrNotEmpty)
	x.is(x.Update(1, func(tx *Tx) error { return tx.MoveDentry(f.ID, RootIno, "d") }), ErrExists)
	x.update(1, func(tx *Tx) error {
		if err := tx.RemoveDentry(f.ID); err != nil {
			return err
		}
		return tx.RemoveDentry(d.ID)
	})
	var gone []Ino
	for _, ch := range feed.Next(10) {
		gone = append(gone, ch.Gone)
	}
	if !slices.Equal(gone, []Ino{f.Ino, d.Ino}) {
		t.Errorf("gone are %v", gone)
	}
	x.wantSound()
}

func TestInsertDentryRefusesASecondNameForADirectory(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d := x.mkdir(RootIno, "d")
	x.is(x.Update(1, func(tx *Tx) error { _, err := tx.InsertDentry(RootIno, "e", d.Ino); return err }), ErrInvalid)
	var sub Ino
	x.update(1, func(tx *Tx) (err error) {
		if sub, err = tx.InsertNode(Node{Kind: Dir, Mode: 0o755}); err == nil {
			_, err = tx.InsertDentry(d.Ino, "sub", sub)
		}
		return err
	})
	if n, err := x.Attr(sub); err != nil || n.Nlink != 2 || n.Listing != Unlisted {
		t.Errorf("sub is %+v, %v", n, err)
	}
	x.wantSound()
}

func TestRowsComeBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	x.update(0, func(tx *Tx) error {
		place, err := tx.EnsurePlace(RootIno)
		if err != nil {
			return err
		}
		cd := Conduit{
			UUID: "u", Name: "n", Place: place, Source: "s", Target: "t", Policy: "offload", PolicyConfig: `{"a":1}`, Strategy: "x", Cadence: "y",
			Enabled: true, Parallel: 5, Bandwidth: 6, UseIndexRules: true,
		}
		legs := []Leg{{Endpoint: "dir:/a", Identity: "i", Cursor: "c", LastSeq: 3, Contact: true, State: "held", Message: "m", LastScan: 4, ScanCost: 5}, {Endpoint: "b"}}
		if err := tx.CreateConduit(&cd, legs); err != nil {
			return err
		}
		if err := tx.CreateConduit(&Conduit{UUID: "u2", Name: "n", Place: place}, nil); !errors.Is(err, ErrExists) {
			t.Errorf("a second conduit of the name: %v", err)
		}
		got, _, err := tx.ConduitByName("n")
		same("conduit", got, cd)
		byUUID, _, err2 := tx.ConduitByName("u")
		same("conduit by uuid", byUUID, cd)
		both, err3 := tx.LegsOf(place)
		same("legs", both, legs)
		cd.TotalSyncs, cd.LastError, cd.Updated = 9, "e", tx.Now()
		err4 := tx.UpdateConduit(cd)
		got, _, err5 := tx.Conduit(cd.ID)
		same("updated conduit", got, cd)
		legs[1].Cursor, legs[1].State = "next", "offline"
		err6 := tx.UpdateLeg(legs[1])
		leg, _, err7 := tx.Leg(legs[1].ID)
		same("updated leg", leg, legs[1])
		return errors.Join(err, err2, err3, err4, err5, err6, err7, tx.rows(same, cd, legs[0].ID))
	})
	x.wantSoundBut("binding below none")
	x.update(0, func(tx *Tx) error {
		cd, _, err := tx.ConduitByName("n")
		if err != nil {
			return err
		}
		return tx.DeleteConduit(cd.ID)
	})
	for _, table := range []string{"conduits", "legs", "bindings", "observed", "items", "generations", "conflicts"} {
		x.look(func(tx *Tx) error {
			n, _, err := get(tx, (*row).int, "SELECT count(*) FROM "+table)
			if err == nil && n != 0 {
				err = fmt.Errorf("%d rows are left in %s", n, table)
			}
			return err
		})
	}
}

func (x *indexTest) wantSoundBut(what string) {
	x.t.Helper()
	problems, err := x.Check(x.t.Context())
	x.no(err)
	for _, p := range problems {
		if p.What != what {
			x.t.Errorf("the index is broken: %v", p)
		}
	}
}

// rows writes and reads the rows that belong to a leg.
func (tx *Tx) rows(same func(string, any, any), cd Conduit, leg LegID) error {
	b := Binding{
		Leg: leg, Dentry: RootDentry, RemoteID: "r", Ident: "i", RemoteName: "\xff", Kind: Symlink, Tag: "t", Content: "c", Hash: Hash{1}, Size: 2,
		Mtime: 3, Mode: 0o644, Target: "tt", LocalParent: 5, LocalName: "ln", LocalVersion: 6, LocalMtime: 7, LocalMode: 0o600, Proof: 1, Verified: 8, Listed: true,
	}
	errs := []error{tx.PutBinding(&b)}
	root, _, err := tx.RootBinding(leg)
	same("root binding", root, b)
	child := Binding{Leg: leg, RemoteID: "r2", Parent: b.ID, RemoteName: "kid", Kind: Dir}
	errs = append(errs, err, tx.PutBinding(&child))
	b.Tag, b.Dentry = "t2", 0
	errs = append(errs, tx.PutBinding(&b))
	for name, find := range map[string]func() (Binding, bool, error){
		"by id": func() (Binding, bool, error) { return tx.Binding(b.ID) }, "by remote": func() (Binding, bool, error) { return tx.BindingOfRemote(leg, "r") },
		"by ident": func() (Binding, bool, error) { return tx.BindingByIdent(leg, "i") },
	} {
		got, ok, err := find()
		same("binding "+name, got, b)
		same("found "+name, ok, true)
		errs = append(errs, err)
	}
	at, _, err := tx.BindingAt(b.ID, "kid")
	same("binding at", at, child)
	kids, err2 := tx.BindingChildren(b.ID, "", 1)
	same("binding children", kids, []Binding{child})
	unlisted, err3 := tx.UnlistedBindings(leg, 0, 10)
	same("unlisted", unlisted, []Binding{child})
	errs = append(errs, err, err2, err3, tx.MarkDelete(b.ID))

	o := Observed{Leg: leg, RemoteID: "r9", Ident: "i9", Parent: "r", Name: "\xfe", Kind: Symlink, Tag: "t", Content: "c", Hash: Hash{2}, Size: 1, Mtime: 2, Mode: 3, Target: "x"}
	errs = append(errs, tx.PutObserved(o), tx.PutObserved(o), tx.PutObserved(Observed{Leg: leg, RemoteID: "r8", Parent: "r", Name: "gone", Kind: File, Gone: true}))
	got, _, err := tx.ObservedAt(leg, "r", "\xfe")
	same("observed at", got, o)
	byIdent, _, err2 := tx.ObservedByIdent(leg, "i9")
	same("observed by ident", byIdent, o)
	children, err3 := tx.ObservedChildren(leg, "r", "", 10)
	same("observed children", children, []Observed{o})
	page, err4 := tx.ObservedPage(leg, "r8", 10)
	same("observed page", page, []Observed{o})
	errs = append(errs, err, err2, err3, err4)

	g, err := tx.BeginGeneration(cd.ID, leg, 7)
	same("generation number", g.Number, int64(1))
	again, err2 := tx.ClaimGeneration(cd.ID, leg, 7)
	same("generation under way", again, g.Number)
	g.Copied, g.Bytes = 2, 3
	errs = append(errs, err, err2, tx.CountInGeneration(cd.ID, g.Number, Generation{Copied: 2, Bytes: 3}))
	open, err := tx.OpenGenerations(leg)
	same("open generations", open, []Generation{g})
	cf := ConflictRow{Leg: leg, Type: "edit", Strategy: "s", Dentry: 1, Conflict: 2, Path: "/\xff", ConflictPath: "/c", LocalInfo: "{}", RemoteInfo: "{}"}
	errs = append(errs, err, tx.PutConflict(&cf))
	cf.Resolved = 5
	errs = append(errs, tx.PutConflict(&cf))
	cfs, err := tx.ConflictsOf(2)
	same("conflicts", cfs, []ConflictRow{cf})
	all, err2 := tx.Conflicts(ConflictResolved, 0, 10)
	same("resolved conflicts", len(all), 0)
	return errors.Join(append(errs, err, err2)...)
}

func TestTransfersKeepAgeAndHigherPriority(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	f, g := x.touch(RootIno, "f"), x.touch(RootIno, "g")
	x.update(0, func(tx *Tx) error {
		a := Transfer{Ino: f.Ino, Priority: 5}
		b := Transfer{Ino: f.Ino, Priority: 1, Resume: []byte("here"), Tries: 1, Next: 10}
		c := Transfer{Ino: g.Ino, Priority: 9, Next: 100}
		err := errors.Join(tx.PutTransfer(&a), tx.PutTransfer(&b), tx.PutTransfer(&c))
		if err == nil && (a.ID != b.ID || b.Priority != 5) {
			err = fmt.Errorf("%+v, then %+v", a, b)
		}
		due, err2 := tx.NextTransfers(false, 50, 10)
		if err2 == nil && (len(due) != 1 || string(due[0].Resume) != "here" || due[0].Tries != 1) {
			err2 = fmt.Errorf("due %+v", due)
		}
		all, err3 := tx.NextTransfers(false, 100, 10)
		if err3 == nil && (len(all) != 2 || all[0].Ino != g.Ino) {
			err3 = fmt.Errorf("order %+v", all)
		}
		ahead, err6 := tx.NextTransfers(false, 10-int64(LongestRest)-1, 10) // when the clock has been set back
		if err6 == nil && len(ahead) != 2 {
			err6 = fmt.Errorf("of a clock that was ahead: %+v", ahead)
		}
		at, ok, err4 := tx.NextTransferTime(false)
		if err4 == nil && (!ok || at != 10) {
			err4 = fmt.Errorf("next at %d, %v", at, ok)
		}
		_, some, err5 := tx.NextTransferTime(true)
		if err5 == nil && some {
			err5 = errors.New("there is something to send")
		}
		return errors.Join(err, err2, err3, err4, err5, err6)
	})
	first := func(want int64) {
		t.Helper()
		x.update(0, func(tx *Tx) error {
			at, ok, err := tx.NextTransferTime(false)
			if err == nil && (!ok || at != want) {
				err = fmt.Errorf("next at %d, %v, want %d", at, ok, want)
			}
			return err
		})
	}
	for i, c := range []struct {
		priority   int
		next, want int64
	}{{-1, 7, 7}, {9, 8, 7}, {0, 3, 3}, {-1, 2, 2}} {
		f := x.touch(RootIno, fmt.Sprint(i))
		x.update(0, func(tx *Tx) error { return tx.PutTransfer(&Transfer{Ino: f.Ino, Priority: c.priority, Next: c.next}) })
		first(c.want)
	}
}

func TestTrashKeepsTheBytesUntilItIsEmptied(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	f := x.touch(RootIno, "f")
	x.write("f", "precious")
	var row TrashRow
	x.update(1, func(tx *Tx) (err error) {
		if row, err = tx.TrashNode(f.Ino, 1, "/f", "deleted at the endpoint"); err == nil {
			err = tx.RemoveDentry(f.ID)
		}
		return err
	})
	x.abandon()
	x.open()
	read := func() error {
		b, err := x.store.open(row.Content)
		if err != nil {
			return err
		}
		p := make([]byte, 8)
		_, err = b.file.ReadAt(p, 0)
		if err == nil && string(p) != "precious" {
			err = fmt.Errorf("trash holds %q", p)
		}
		return joinClose(err, b.file)
	}
	x.no(read())
	x.wantSound()
	x.update(0, func(tx *Tx) error { return tx.DeleteTrash(row.ID) })
	removeDropped(t, x.Cache)
	if read() == nil {
		t.Error("the bytes outlive their row")
	}
}

func TestTheDiaryIsBounded(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.update(0, func(tx *Tx) error {
		for i := range activityMax + 5 {
			if err := tx.AddActivity("test", fmt.Sprint(i)); err != nil {
				return err
			}
		}
		newest, err := tx.Activities(0, 1)
		if err == nil && newest[0].Text != fmt.Sprint(activityMax+4) {
			err = fmt.Errorf("newest is %+v", newest)
		}
		n, _, err2 := get(tx, (*row).int, "SELECT count(*) FROM activity")
		if err2 == nil && n != activityMax {
			err2 = fmt.Errorf("%d lines", n)
		}
		return errors.Join(err, err2)
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.update(0, func(tx *Tx) error {
		v, err := tx.Setting("k")
		if v != nil {
			err = fmt.Errorf("unset key is %q", v)
		}
		return errors.Join(err, tx.SetSetting("k", []byte("v")))
	})
	x.abandon()
	x.open()
	x.update(0, func(tx *Tx) error {
		v, err := tx.Setting("k")
		if string(v) != "v" {
			err = fmt.Errorf("key is %q", v)
		}
		return errors.Join(err, tx.SetSetting("k", nil))
	})
}

func TestDoctorFindsAndMends(t *testing.T) {
	t.Parallel()
	damage := map[string]string{
		"name without a node":                 "INSERT INTO dentries(parent, name, ino) VALUES(1, x'61', 4242)",
		"name in what is no directory":        "UPDATE dentries SET parent = 4242 WHERE name = x'66'",
		"wrong link count":                    "UPDATE nodes SET nlink = 9 WHERE kind = 1",
		"wrong number of extended attributes": "UPDATE nodes SET xattrs = 3 WHERE ino = 1",
		"directory in the wrong place":        "UPDATE nodes SET place = 77 WHERE kind = 2 AND ino <> 1",
		"binding of a name that is gone":      "UPDATE bindings SET dentry = 4242",
		"work on nothing":                     "INSERT INTO items(leg, origin, dentry, operation, status, created, updated) VALUES(1, 2, 4242, 1, 1, 0, 0)",
		"work of a leg that is gone":          "INSERT INTO items(leg, origin, remote_id, operation, status, created, updated) VALUES(77, 1, 'r', 1, 1, 0, 0)",
		"transfer of a node that is gone":     "INSERT INTO transfers(ino, created) VALUES(4242, 0)",
		"directory out of reach of the root":  "UPDATE dentries SET parent = ino WHERE ino IN (SELECT ino FROM nodes WHERE kind = 2) AND id <> 1",
		"binding below none":                  "UPDATE bindings SET parent = 4242",
		"place without a directory":           "INSERT INTO places(ino) VALUES(4242)",
	}
	for what, sql := range damage {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			x := newIndexTest(t)
			leg := x.legs(RootIno, 1)[0]
			f := x.touch(RootIno, "f")
			x.mkdir(RootIno, "d")
			x.update(0, func(tx *Tx) error {
				return tx.PutBinding(&Binding{Leg: leg, Dentry: f.ID, RemoteID: "r", RemoteName: "f", Kind: File, LocalName: "f"})
			})
			x.wantSound()
			x.no(x.onWriter(func(c *conn) error { return c.script(sql) }))
			problems, err := x.Check(t.Context())
			x.no(err)
			i := slices.IndexFunc(problems, func(p Problem) bool { return p.What == what })
			if i < 0 {
				t.Fatalf("not found; Check says %v", problems)
			}
			mended, err := x.Repair(t.Context())
			x.no(err)
			if !problems[i].Mendable {
				return
			}
			if !slices.ContainsFunc(mended, func(p Problem) bool { return p.What == what }) {
				t.Errorf("not mended: %v", mended)
			}
			x.wantSound()
		})
	}
}
