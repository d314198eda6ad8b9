package cache

import (
	"context"
	"errors"
	"testing"
	"time"
)

// staged is a stage that holds a text.
func staged(t *testing.T, c *Cache, text string) *Stage {
	t.Helper()
	s, err := c.Stage(int64(len(text)), Reader{Program: "p", Kind: "vdfs"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// swap gives a file that nobody uses the version that was staged.
func (tx *Tx) swap(ino Ino, s *Stage) error {
	if use := tx.Exclude(ino); use != (Use{}) {
		return &BusyError{use}
	}
	err := tx.ReplaceContent(ino, s.Size(), 1, Hash{})
	if err == nil {
		err = tx.FillWith(ino, s)
	}
	return err
}

func TestAStagedVersionTakesThePlaceOfTheOldOneAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	old := makeFile(t, c, "f", "the old version")
	s := staged(t, c, "the new one")
	want(t, "while it is staged", content(t, c, old.Ino), "the old version")

	undone := errors.New("undone")
	wantErr(t, c.Update(0, func(tx *Tx) error { return errors.Join(tx.swap(old.Ino, s), undone) }), undone)
	want(t, "after a swap that was undone", content(t, c, old.Ino), "the old version")
	want(t, "its node", attr(t, c, old.Ino), old)

	if err := c.Update(0, func(tx *Tx) error { return tx.swap(old.Ino, s) }); err != nil {
		t.Fatal(err)
	}
	closeIt(t, s)
	n := attr(t, c, old.Ino)
	want(t, "after the swap", content(t, c, old.Ino), "the new one")
	want(t, "its hash", n.Hash, s.Hash())
	want(t, "how much is here", n.Residency, Full)
	want(t, "it is another version", n.Version > old.Version, true)
	want(t, "bytes", c.store.bytes.Load(), s.Size())
	removeDropped(t, c)
	want(t, "backing files", backingFiles(t, dir), 1)
	wantErr(t, c.Update(0, func(tx *Tx) error { return tx.swap(old.Ino, s) }), ErrInvalid)
	want(t, "after it was to be taken again", content(t, c, old.Ino), "the new one")
	if problems, err := c.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestWhoReadsTheOldVersionKeepsItWhenAStagedOneComes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	old := makeFile(t, c, "f", "the old version")
	reader, err := c.OpenFile(old.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	s := staged(t, c, "the new one")
	wantErr(t, c.Update(0, func(tx *Tx) error { return tx.swap(old.Ino, s) }), ErrBusy)
	err = c.Update(0, func(tx *Tx) error {
		e, err := tx.mustEntry(RootIno, "f")
		if err != nil {
			return err
		}
		ino, err := tx.InsertNode(Node{Kind: File, Mode: 0o644, Size: s.Size(), Listing: Listed})
		if err != nil {
			return err
		}
		return errors.Join(tx.FillWith(ino, s), tx.SetDentryNode(e.ID, ino))
	})
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, s)
	b := make([]byte, 100)
	n, _ := reader.ReadAt(b, 0)
	want(t, "who had it open", string(b[:n]), "the old version")
	e, err := c.Lookup(RootIno, "f")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "who opens it now", content(t, c, e.Ino), "the new one")
	closeIt(t, reader)
	removeDropped(t, c)
	want(t, "backing files", backingFiles(t, dir), 1)
}

func TestWhatIsStagedWhenTheProcessEndsIsSweptAwayAtTheNextStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	old := makeFile(t, c, "f", "the old version")
	whole := staged(t, c, "the new one")
	part, err := c.Stage(1000, Reader{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.WriteAt([]byte("a part"), 0); err != nil {
		t.Fatal(err)
	}
	closeIt(t, part.b.file)
	if err := c.SyncIndex(); err != nil {
		t.Fatal(err)
	}
	abandon(t, c)
	want(t, "backing files at the end", backingFiles(t, dir), 3)
	c = openContents(t, dir)
	if err := c.sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	want(t, "backing files after a start", backingFiles(t, dir), 1)
	want(t, "content", content(t, c, old.Ino), "the old version")
	if whole.b.id <= old.Content {
		t.Fatal("the stage has a number of before")
	}
}

func TestAStageIsNoLargerThanItsVersionAndWholeWhenItIsSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makeFile(t, c, "f", "old")
	s, err := c.Stage(4, Reader{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.WriteAt([]byte("12345"), 0)
	wantErr(t, err, ErrInvalid)
	if _, err := s.WriteAt([]byte("12"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(t.Context()); err == nil {
		t.Error("half of it was sealed")
	}
	wantErr(t, c.Update(0, func(tx *Tx) error { return tx.swap(n.Ino, s) }), ErrInvalid)
	want(t, "content", content(t, c, n.Ino), "old")
	closeIt(t, s)
	want(t, "backing files", backingFiles(t, dir), 1)
}

func TestAVersionThatWasMadeHereWasNotFetchedAndIsInUse(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "the old version")
	for _, tc := range []struct {
		who           Reader
		fetched, used bool
	}{{Reader{}, false, true}, {Reader{Program: "p", Kind: "vdfs", Unused: true}, true, false}} {
		s, err := c.Stage(4, tc.who)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteAt([]byte("made"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = c.Update(0, func(tx *Tx) error {
			if err := tx.swap(n.Ino, s); err != nil {
				return err
			}
			f, err := tx.LastFetch(n.Ino)
			used, err2 := tx.LastUse(n.Ino)
			want(t, "it was fetched", f.At != 0, tc.fetched)
			want(t, "it was used", used != 0, tc.used)
			return errors.Join(err, err2)
		})
		if err != nil {
			t.Fatal(err)
		}
		closeIt(t, s)
	}
}

func TestWhatIsPinnedOrWasOpenedLatelyIsRefreshed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	c, err := Open(context.Background(), Options{Dir: t.TempDir(), Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, c)
	c.BytesAbove(1000)
	dir, err := c.Mkdir(RootIno, "dir", 0o755, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	n := makeFile(t, c, "f", "here")
	makePlaceholder(t, c, "away", 100)
	refreshes := func(what, name string, size int64, yes bool, program string) {
		t.Helper()
		err := c.View(func(tx *Tx) error {
			e, err := tx.Resolve("/" + name)
			if err != nil {
				return err
			}
			who, got, err := tx.Refreshes(e, size)
			if err == nil && got != yes {
				t.Errorf("%s: %v, want %v", what, got, yes)
			}
			if got && who.Program != program {
				t.Errorf("%s: fetched for %q, want %q", what, who.Program, program)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	refreshes("made just now", "f", 100, true, "vdfs refresh")
	refreshes("it is more than may be here", "f", 1001, false, "")
	refreshes("it is empty", "f", 0, false, "")
	now = now.Add(25 * time.Hour)
	refreshes("made a day ago", "f", 100, false, "")
	if err := c.Rename(RootIno, "f", dir.Ino, "f", 0); err != nil {
		t.Fatal(err)
	}
	pin := func(i Intent) {
		t.Helper()
		if err := c.Update(0, func(tx *Tx) error { return tx.SetIntent(dir.ID, i) }); err != nil {
			t.Fatal(err)
		}
	}
	pin(Pinned)
	refreshes("its directory is pinned", "dir/f", 5000, true, "vdfs pin")
	pin(Inherited)
	refreshes("its directory is not pinned any more", "dir/f", 100, false, "")
	o, err := c.OpenFile(n.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, o)
	if err := c.flushUsage(); err != nil {
		t.Fatal(err)
	}
	refreshes("opened again", "dir/f", 100, true, "vdfs refresh")
	refreshes("nothing of it is here", "away", 100, false, "")
}
