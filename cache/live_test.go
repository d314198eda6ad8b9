package cache

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"lukechampine.com/blake3"
)

// openClocked is a cache whose clock the test moves on.
func openClocked(t *testing.T) (c *Cache, advance func(time.Duration)) {
	t.Helper()
	ahead := time.Duration(0)
	c = openContents(t, t.TempDir())
	c.opt.Clock = func() time.Time { return time.Now().Add(ahead) }
	joined(t, c)
	return c, func(d time.Duration) { ahead += d }
}

// joined gives a drive an endpoint.
func joined(t *testing.T, c *Cache) {
	t.Helper()
	if err := c.Update(0, func(tx *Tx) error {
		place, err := tx.EnsurePlace(RootIno)
		if err != nil {
			return err
		}
		return tx.CreateConduit(&Conduit{UUID: "u", Name: "home", Place: place, Policy: "offload"}, []Leg{{Endpoint: "dir:/x"}})
	}); err != nil {
		t.Fatal(err)
	}
}

// copyVersion is the version that the last copy of an open file has, 0 if there is none.
func copyVersion(t *testing.T, c *Cache, ino Ino) (v uint64) {
	t.Helper()
	if err := c.CopyOpen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.View(func(tx *Tx) error {
		n, err := tx.Node(ino)
		if l, ok := tx.Live(n); ok {
			v = l.Version
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

// snap is the text of a version.
func snap(t *testing.T, s *Snapshot) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(s, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if h, err := s.EnsureHash(t.Context()); err != nil || h != Hash(blake3.Sum256(b)) {
		t.Errorf("its hash is %v, %v", h, err)
	}
	return string(b)
}

func TestAFileThatStaysOpenIsCopiedAsItIs(t *testing.T) {
	t.Parallel()
	c, advance := openClocked(t)
	ino, o := create(t, c, "f")
	write(t, o, "first", 0)
	want(t, "copied at once", copyVersion(t, c, ino), uint64(0))
	advance(10 * time.Minute)
	first := copyVersion(t, c, ino)
	if n := attr(t, c, ino); first == 0 || n.Version <= first || !n.Writing {
		t.Fatalf("version %d was copied of %+v", first, n)
	}
	s, err := c.Snapshot(ino, first)
	if err != nil {
		t.Fatal(err)
	}
	write(t, o, "SECOND", 0)
	want(t, "the copy", snap(t, s), "first")
	want(t, "its node", s.Node().Size, int64(5))
	want(t, "what a program reads", content(t, c, ino), "SECOND")
	_, err = c.Snapshot(ino, attr(t, c, ino).Version)
	wantErr(t, err, ErrBusy)

	want(t, "copied again soon", copyVersion(t, c, ino), first)
	advance(10 * time.Minute)
	second := copyVersion(t, c, ino)
	if second <= first {
		t.Fatalf("version %d was copied after %d", second, first)
	}
	_, err = c.Snapshot(ino, first)
	wantErr(t, err, ErrStale)
	want(t, "the first copy, to who has it", snap(t, s), "first")
	want(t, "backing files", backingFiles(t, c.opt.Dir), 3)
	closeIt(t, s)
	want(t, "when nobody has the first copy", backingFiles(t, c.opt.Dir), 2)

	advance(time.Hour)
	want(t, "of a file that was not changed", copyVersion(t, c, ino), second)
	write(t, o, "SECOND", 0)
	want(t, "of a file that has the same bytes", copyVersion(t, c, ino), second)

	s, err = c.Snapshot(ino, second)
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, o)
	want(t, "when it is closed", copyVersion(t, c, ino), uint64(0))
	want(t, "the copy of a closed file", snap(t, s), "SECOND")
	closeIt(t, s)
	n := attr(t, c, ino)
	want(t, "backing files of a closed file", backingFiles(t, c.opt.Dir), 1)
	if n.Version <= second || n.Writing {
		t.Errorf("closed it is %+v, the copy was version %d", n, second)
	}
	want(t, "a closed file", content(t, c, ino), "SECOND")
	advance(time.Hour)
	want(t, "of a closed file", copyVersion(t, c, ino), uint64(0))
}

func TestAFileThatIsWrittenToWhileItIsCopiedIsCopiedLater(t *testing.T) {
	t.Parallel()
	c, advance := openClocked(t)
	ino, o := create(t, c, "f")
	write(t, o, "text", 0)
	advance(time.Hour)
	st := c.files.find(ino)
	src, err := os.Open(c.store.path(st.cur.Load().id))
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, src)
	b, l, passed, err := c.still(st)
	if err != nil || b == nil || passed {
		t.Fatalf("still: %v, %v, %v", b, passed, err)
	}
	write(t, o, "torn", 0)
	stage, whole, err := c.copyFrom(t.Context(), st, l, src, false)
	switch {
	case err != nil:
		t.Fatal(err)
	case whole && l.changes != st.changes.Load(): // by reflink it is as it was in that moment
		t.Error("a copy of two moments is taken for whole")
	case whole:
		closeIt(t, stage)
	}
	want(t, "backing files", backingFiles(t, c.opt.Dir), 1)
	if copyVersion(t, c, ino) == 0 {
		t.Error("when nobody writes it is not copied")
	}
	closeIt(t, o)
}

func TestACopyIsNotOfAFileThatWasClosedAndOpenedMeanwhile(t *testing.T) {
	t.Parallel()
	c, advance := openClocked(t)
	ino, o := create(t, c, "f")
	write(t, o, "text", 0)
	advance(time.Hour)
	reader, err := c.OpenFile(ino, false)
	if err != nil {
		t.Fatal(err)
	}
	st := c.files.find(ino)
	src, err := os.Open(c.store.path(st.cur.Load().id))
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, src)
	_, l, _, err := c.still(st)
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, o)
	if o, err = c.OpenFile(ino, true); err != nil {
		t.Fatal(err)
	}
	write(t, o, "torn", 0) // as many changes as before
	want(t, "changes", st.changes.Load(), l.changes)
	stage, whole, err := c.copyFrom(t.Context(), st, l, src, false)
	if err != nil {
		t.Fatal(err)
	}
	if whole { // by reflink
		taken, err := c.takeLive(st, l)
		if err != nil || taken {
			t.Errorf("a copy of what was closed meanwhile is taken: %v, %v", taken, err)
		}
		closeIt(t, stage)
	}
	closeIt(t, o)
	closeIt(t, reader)
}

func TestAFileThatTheKernelWritesToIsCopiedByReflinkOrNotAtAll(t *testing.T) {
	t.Parallel()
	c, advance := openClocked(t)
	ino, o := create(t, c, "f")
	write(t, o, "text", 0)
	if err := o.MarkPassed(); err != nil {
		t.Fatal(err)
	}
	advance(time.Hour)
	v := copyVersion(t, c, ino)
	a, b := staged(t, c, "a"), staged(t, c, "b")
	from, err := os.Open(c.store.path(a.b.id))
	if err != nil {
		t.Fatal(err)
	}
	to, err := os.OpenFile(c.store.path(b.b.id), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if can := clones(to, from); can != (v != 0) {
		t.Errorf("the disk has reflinks: %v, version %d was copied", can, v)
	}
	if err := errors.Join(from.Close(), to.Close(), a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	closeIt(t, o)
}

func TestWhatWasCopiedIsNotThereAfterAKillAndTheFileIs(t *testing.T) {
	t.Parallel()
	c, advance := openClocked(t)
	ino, o := create(t, c, "f")
	write(t, o, "first", 0)
	advance(time.Hour)
	v := copyVersion(t, c, ino)
	if v == 0 {
		t.Fatal("it was not copied")
	}
	write(t, o, "later", 0)
	dir := c.opt.Dir
	abandon(t, c)
	c = openContents(t, dir)
	if err := c.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := attr(t, c, ino)
	if n.Writing || n.Version <= v {
		t.Errorf("after a kill it is %+v, the copy was version %d", n, v)
	}
	want(t, "after a kill", content(t, c, ino), "later")
	want(t, "backing files", backingFiles(t, c.opt.Dir), 1)
}

func TestOfWhatStaysHereNoCopyIsMade(t *testing.T) {
	t.Parallel()
	c, advance := openClocked(t)
	c.opt.LocalOnly = func(name string) bool { return name == "swap" }
	local, a := create(t, c, "swap")
	gone, b := create(t, c, "gone")
	write(t, a, "text", 0)
	write(t, b, "text", 0)
	if err := c.Unlink(RootIno, "gone"); err != nil {
		t.Fatal(err)
	}
	advance(time.Hour)
	want(t, "of what is never sent", copyVersion(t, c, local), uint64(0))
	want(t, "of what has no name", copyVersion(t, c, gone), uint64(0))
	closeIt(t, a)
	closeIt(t, b)
}

func TestTheProcessThatHasAFileOpenForWritingIsKnown(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "text")
	want(t, "of a closed file", c.Writer(n.Ino), uint32(0))
	o, err := c.OpenFileFor(n.Ino, true, 4711)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "of an open one", c.Writer(n.Ino), uint32(4711))
	closeIt(t, o)
	want(t, "when it is closed", c.Writer(n.Ino), uint32(0))
}
