package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOfAFileThatWasNotSyncedZerosAtTheEndOfBlocksAreTornOff(t *testing.T) {
	t.Parallel()
	text := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'x'
		}
		return b
	}
	type part struct {
		at    int64
		bytes []byte
	}
	for name, c := range map[string]struct {
		parts        []part
		size, synced int64
		want         int64
	}{
		"whole":                              {[]part{{0, text(10000)}}, 10000, 0, 10000},
		"all synced, zeros and all":          {[]part{{0, text(100)}}, 100_000, 100_000, 100_000},
		"shorter than what was synced":       {[]part{{0, text(100)}}, 100, 4000, 100},
		"a hole at the end":                  {[]part{{0, text(8192)}}, 20_000, 0, 8192},
		"a hole in between":                  {[]part{{0, text(4096)}, {8192, text(10)}}, 8202, 0, 4096},
		"a synced hole in between":           {[]part{{0, text(4096)}, {8192, text(10)}}, 8202, 8192, 8202},
		"the rest of a block":                {[]part{{0, text(5000)}}, 8192, 0, 5000},
		"the rest of a synced block":         {[]part{{0, text(5000)}}, 6000, 5000, 5000},
		"the rest of one, then bytes":        {[]part{{0, text(5000)}, {8192, text(5000)}}, 13192, 5000, 5000},
		"synced zeros, then bytes":           {[]part{{0, text(5000)}, {6000, text(1000)}}, 7000, 6000, 7000},
		"bytes, then the rest of a block":    {[]part{{0, text(9000)}}, 12288, 5000, 9000},
		"only zeros, never synced":           {nil, 3000, 0, 0},
		"nothing":                            {nil, 0, 0, 0},
		"synced to the end of a block":       {[]part{{0, text(9000)}}, 9000, 4096, 9000},
		"behind the end of a block, nothing": {[]part{{0, text(4096)}}, 9000, 4096, 4096},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, p := range c.parts {
				if _, err := f.WriteAt(p.bytes, p.at); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Truncate(c.size); err != nil {
				t.Fatal(err)
			}
			got, err := torn(f, c.synced, c.size)
			if err != nil || got != c.want {
				t.Errorf("%d bytes of %d are kept, want %d: %v", got, c.size, c.want, err)
			}
		})
	}
}

func TestAfterAPowerCutAFileBeingWrittenIsJudgedBeforeItIsSettled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n, o := create(t, c, "log")
	write(t, o, "synced", 0)
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	write(t, o, " and lost", 6)
	path := c.store.path(rowOf(t, c, n).Content)
	setBoot(t, c, "another-boot/0000000000000001")
	abandon(t, c)
	for _, err := range []error{os.Truncate(path, 6), os.Truncate(path, 15)} { // the size reached the disk, the bytes did not
		if err != nil {
			t.Fatal(err)
		}
	}

	c = openContents(t, dir)
	got := rowOf(t, c, n)
	want(t, "writing", got.Writing, false)
	want(t, "size", got.Size, 6)
	want(t, "content", content(t, c, n), "synced")
}

func TestAfterAPowerCutAFileThatNeverReachedTheDiskIsEmpty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makeFile(t, c, "new", "gone with the power")
	setBoot(t, c, "another-boot/0000000000000001")
	if err := os.Remove(c.store.path(n.Content)); err != nil {
		t.Fatal(err)
	}
	abandon(t, c)

	c = openContents(t, dir)
	got := rowOf(t, c, n.Ino)
	want(t, "size", got.Size, 0)
	want(t, "version", got.Version, n.Version+1)
	want(t, "content", content(t, c, n.Ino), "")
	if problems, err := c.Check(context.Background()); err != nil || len(problems) > 0 {
		t.Errorf("after it: %v, %v", problems, err)
	}
}

// TestAfterAPowerCutAFileIsTheLatestThatAnEndpointHas loses the bytes of a file of which two endpoints have older versions.
func TestAfterAPowerCutAFileIsTheLatestThatAnEndpointHas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makeFile(t, c, "f", "gone with the power")
	if err := c.Update(0, func(tx *Tx) error {
		d, err := tx.DentryOf(n.Ino)
		if err != nil {
			return err
		}
		for leg, size := range map[LegID]int64{1: 11, 2: 33, 3: 22} {
			b := Binding{Leg: leg, Dentry: d.ID, RemoteID: "r", RemoteName: "f", Kind: File, Size: size, LocalParent: RootDentry, LocalName: "f", LocalVersion: uint64(size)}
			if err := tx.PutBinding(&b); err != nil {
				return err
			}
		}
		return tx.exec("UPDATE nodes SET version = 44 WHERE ino = ?", n.Ino)
	}); err != nil {
		t.Fatal(err)
	}
	setBoot(t, c, "another-boot/0000000000000001")
	if err := os.Remove(c.store.path(n.Content)); err != nil {
		t.Fatal(err)
	}
	abandon(t, c)

	c = openContents(t, dir)
	got := rowOf(t, c, n.Ino)
	want(t, "version", got.Version, 33)
	want(t, "size", got.Size, 33)
}

func TestAfterAPowerCutBytesThatHaveTheirHashStillAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makeFile(t, c, "f", "zeros at the end\x00\x00\x00")
	s, err := c.Snapshot(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.EnsureHash(context.Background()); err != nil {
		t.Fatal(err)
	}
	closeIt(t, s)
	setBoot(t, c, "another-boot/0000000000000001")
	abandon(t, c)

	c = openContents(t, dir)
	got := rowOf(t, c, n.Ino)
	want(t, "version", got.Version, n.Version)
	want(t, "hash known", got.Hash.Known(), true)
	want(t, "content", content(t, c, n.Ino), "zeros at the end\x00\x00\x00")
}

func TestABackingFileIsThereUntilTheIndexIsDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makeFile(t, c, "f", "text")
	if err := c.Unlink(RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.store.path(n.Content)); err != nil {
		t.Errorf("before the index is synced: %v", err)
	}
	if problems, err := c.Check(context.Background()); err != nil || len(problems) > 0 {
		t.Errorf("a file that waits is no problem: %v, %v", problems, err)
	}
	removeDropped(t, c)
	if _, err := os.Stat(c.store.path(n.Content)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after it: %v", err)
	}
}

func TestBytesAreChangedInPlaceOnlyUnderADurableMark(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "text")
	want(t, "noted when new", c.store.notes.has(n.Content), true)
	if err := c.syncContents(context.Background()); err != nil {
		t.Fatal(err)
	}
	want(t, "noted when clean", c.store.notes.has(n.Content), false)
	began := c.wal.began
	o, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	write(t, o, "TE", 0)
	want(t, "syncs of the index", c.wal.began, began+1)
	want(t, "noted when written to", c.store.notes.has(n.Content), true)
	write(t, o, "XT", 2)
	closeIt(t, o)
	if o, err = c.OpenFile(n.Ino, true); err != nil {
		t.Fatal(err)
	}
	write(t, o, "again", 0)
	closeIt(t, o)
	want(t, "syncs of the index", c.wal.began, began+1)
}

func TestAFileThatNobodyElseUsesIsEmptiedByANewOne(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "old")
	if err := c.syncContents(context.Background()); err != nil {
		t.Fatal(err)
	}
	reader, err := c.OpenFile(n.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	empty := func() ContentID {
		t.Helper()
		o, err := c.OpenFile(n.Ino, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Truncate(0); err != nil {
			t.Fatal(err)
		}
		write(t, o, "new", 0)
		closeIt(t, o)
		return rowOf(t, c, n.Ino).Content
	}
	want(t, "content beside a reader", empty(), n.Content)
	closeIt(t, reader)
	if err := c.syncContents(context.Background()); err != nil {
		t.Fatal(err)
	}
	if empty() == n.Content {
		t.Error("the bytes that are durable were cut in place")
	}
	want(t, "content", content(t, c, n.Ino), "new")
}

func TestWhatIsCutOffIsNotSyncedAnyMore(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n, o := create(t, c, "f")
	synced := func() (size int64) {
		t.Helper()
		err := c.read(func(tx *Tx) error {
			_, err := tx.queryRow(`SELECT synced FROM contents WHERE ino=?`, func(r *row) { size = r.int() }, n)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return size
	}
	write(t, o, "0123456789", 0)
	want(t, "before", synced(), 0)
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	want(t, "after a sync", synced(), 10)
	write(t, o, "more", 10)
	if err := c.syncContents(context.Background()); err != nil {
		t.Fatal(err)
	}
	want(t, "after a round", synced(), 14)
	if err := o.Truncate(3); err != nil {
		t.Fatal(err)
	}
	want(t, "after a cut", synced(), 3)
	if err := o.Allocate(unix.FALLOC_FL_KEEP_SIZE, 0, 100); err != nil {
		t.Fatal(err)
	}
	want(t, "after an allocation", synced(), 3)
	closeIt(t, o)
}
