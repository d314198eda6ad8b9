package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"lukechampine.com/blake3"
)

// openContents opens a cache in dir that a test may abandon, as kill -9 does, with reopen.
func openContents(t *testing.T, dir string) *Cache {
	t.Helper()
	c, err := Open(context.Background(), Options{Dir: dir, Device: "here"})
	if err == nil {
		err = c.count() // as Run does
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.writer.conn != nil { // else the test closed it
			_ = c.Close() // complains of the lock where the test abandoned it
		}
	})
	return c
}

// abandon does what the kernel does for a killed process and no more: its files are closed, the lock goes, and what was not
// committed.
func abandon(t *testing.T, c *Cache) {
	t.Helper()
	for _, st := range c.files.m {
		if b := st.cur.Load(); b != nil {
			closeIt(t, b.file)
		}
	}
	c.writer.Lock()
	defer c.writer.Unlock()
	if c.writer.group.late != nil {
		c.writer.group.late.Stop()
	}
	err := c.writer.conn.close()
	c.writer.conn = nil
	if err := errors.Join(err, c.lock.Close()); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, c *Cache, name string) (Ino, *OpenFile) {
	t.Helper()
	e, o, err := c.Create(RootIno, name, 0o644, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	return e.Ino, o
}

func write(t *testing.T, o *OpenFile, text string, off int64) {
	t.Helper()
	if n, err := o.WriteAt([]byte(text), off); err != nil || n != len(text) {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
}

func closeIt(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// makeFile makes a settled file.
func makeFile(t *testing.T, c *Cache, name, text string) Node {
	t.Helper()
	ino, o := create(t, c, name)
	write(t, o, text, 0)
	closeIt(t, o)
	return attr(t, c, ino)
}

// makePlaceholder makes a file as the syncer does: known, not here.
func makePlaceholder(t *testing.T, c *Cache, name string, size int64) Node {
	t.Helper()
	var ino Ino
	err := c.Update(0, func(tx *Tx) (err error) {
		if ino, err = tx.InsertNode(Node{Kind: File, Mode: 0o644, Size: size, Mtime: 12345, Listing: Listed}); err != nil {
			return err
		}
		_, err = tx.InsertDentry(RootIno, name, ino)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return attr(t, c, ino)
}

func attr(t *testing.T, c *Cache, ino Ino) Node {
	t.Helper()
	n, err := c.Attr(ino)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// rowOf reads a node as the index has it.
func rowOf(t *testing.T, c *Cache, ino Ino) Node {
	t.Helper()
	var n Node
	if err := c.View(func(tx *Tx) (err error) { n, err = tx.Node(ino); return err }); err != nil {
		t.Fatal(err)
	}
	return n
}

func content(t *testing.T, c *Cache, ino Ino) string {
	t.Helper()
	o, err := c.OpenFile(ino, false)
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, o)
	b, err := io.ReadAll(io.NewSectionReader(o, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s is %v, want %v", what, got, want)
	}
}

func wantErr(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error is %v, want %v", err, target)
	}
}

// backingFiles counts the files below content/.
func backingFiles(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "content", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestWritingIsMarkedBeforeTheFirstByteAndSettledAtTheLastClose(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "hello")
	want(t, "size", rowOf(t, c, n.Ino).Size, 5)
	want(t, "writing", n.Writing, false)

	a, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "version after opening", attr(t, c, n.Ino).Version, n.Version)
	write(t, a, "0123456789", 0)
	want(t, "version after the first write", rowOf(t, c, n.Ino).Version, n.Version+1)
	want(t, "mark", rowOf(t, c, n.Ino).Writing, true)
	want(t, "live size", attr(t, c, n.Ino).Size, 10)
	closeIt(t, a)
	want(t, "mark while another writer has it", rowOf(t, c, n.Ino).Writing, true)
	if _, err := b.WriteAppend([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	closeIt(t, b)
	got := rowOf(t, c, n.Ino)
	want(t, "mark after the last close", got.Writing, false)
	want(t, "settled size", got.Size, 12)
	want(t, "version after several writes", got.Version, n.Version+1)
	want(t, "content", content(t, c, n.Ino), "0123456789ab")
	if len(c.files.m) != 0 {
		t.Fatalf("states left: %v", c.files.m)
	}
}

func TestAnOpenWithoutAWriteChangesNothing(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "x")
	seq := c.Seq()
	o, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, o)
	want(t, "commits", c.Seq(), seq)
	want(t, "node", rowOf(t, c, n.Ino), rowOf(t, c, n.Ino))
}

func TestAHandleForReadingCannotChange(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "x")
	o, err := c.OpenFile(n.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, o)
	_, err = o.WriteAt([]byte("y"), 0)
	wantErr(t, err, ErrInvalid)
	wantErr(t, o.Truncate(0), ErrInvalid)
	wantErr(t, o.MarkWrite(), ErrInvalid)
	want(t, "version", attr(t, c, n.Ino).Version, n.Version)
}

func TestKillWhileWritingLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	kept, o := create(t, c, "kept")
	write(t, o, "acknowledged", 0)
	mtime := int64(1_000_000_007_000_000_009)
	if _, err := c.SetAttr(kept, Attrs{Mtime: &mtime}); err != nil {
		t.Fatal(err)
	}
	empty, _ := create(t, c, "empty")
	gone, _ := create(t, c, "gone")
	if err := c.Unlink(RootIno, "gone"); err != nil {
		t.Fatal(err)
	}
	abandon(t, c)

	c = openContents(t, dir)
	n := rowOf(t, c, kept)
	want(t, "size", n.Size, 12)
	want(t, "mtime", n.Mtime, mtime)
	want(t, "writing", n.Writing, false)
	want(t, "content", content(t, c, kept), "acknowledged")
	want(t, "size of the empty one", rowOf(t, c, empty).Size, 0)
	_, err := c.Attr(gone)
	wantErr(t, err, ErrNotFound)
	if err := c.sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	want(t, "backing files", backingFiles(t, dir), 2)
	want(t, "bytes", c.store.bytes.Load(), 12)
}

func TestASettleThatFailedIsMadeUpFor(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	left, o := create(t, c, "left")
	write(t, o, "12345", 0)
	open, w := create(t, c, "open")
	// The handle goes as by a last close whose transaction failed.
	c.files.closeWriter(o.st, o.as)
	if err := c.letGo(o.st); err != nil {
		t.Fatal(err)
	}
	want(t, "mark", rowOf(t, c, left).Writing, true)
	if err := c.settleLeft(context.Background()); err != nil {
		t.Fatal(err)
	}
	n := rowOf(t, c, left)
	want(t, "mark afterwards", n.Writing, false)
	want(t, "size", n.Size, 5)
	want(t, "mark of an open one", rowOf(t, c, open).Writing, true)
	closeIt(t, w)
}

func TestMtimeSetWhileOpenSurvivesTheSettle(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	ino, o := create(t, c, "f")
	write(t, o, "x", 0)
	mtime := int64(1_234_567_890_123_456_789)
	n, err := c.SetAttr(ino, Attrs{Mtime: &mtime})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "mtime in the reply", n.Mtime, mtime)
	closeIt(t, o)
	want(t, "mtime after close", rowOf(t, c, ino).Mtime, mtime)
	// A mark without a write keeps it too.
	o, err = c.OpenFile(ino, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.MarkWrite(); err != nil {
		t.Fatal(err)
	}
	want(t, "mtime while marked", attr(t, c, ino).Mtime, mtime)
	closeIt(t, o)
	want(t, "mtime after a mark without a write", rowOf(t, c, ino).Mtime, mtime)
}

func TestUnlinkedWhileOpenStaysUntilTheLastClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makeFile(t, c, "f", "still here")
	o, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unlink(RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	want(t, "links", attr(t, c, n.Ino).Nlink, 0)
	write(t, o, "STILL", 0)
	want(t, "content", content(t, c, n.Ino), "STILL here")
	closeIt(t, o)
	_, err = c.Attr(n.Ino)
	wantErr(t, err, ErrNotFound)
	_, err = c.OpenFile(n.Ino, false)
	wantErr(t, err, ErrNotFound)
	removeDropped(t, c)
	want(t, "backing files", backingFiles(t, dir), 0)
	want(t, "states", len(c.files.m), 0)
}

func TestPlaceholdersAreReadRangeByRange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	text := bytes.Repeat([]byte("0123456789"), 10)
	n := makePlaceholder(t, c, "p", int64(len(text)))
	o, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	_, err = o.ReadAt(buf, 0)
	wantErr(t, err, ErrNotLocal)
	_, err = o.WriteAt(buf, 0)
	wantErr(t, err, ErrNotLocal)
	want(t, "missing", o.Missing(95, 100), true)
	want(t, "missing behind the end", o.Missing(100, 5), false)
	wantErr(t, o.Truncate(50), ErrNotLocal)
	if err := o.Truncate(100); err != nil {
		t.Fatal(err)
	}
	want(t, "version untouched", attr(t, c, n.Ino).Version, n.Version)

	f, err := c.Fill(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(off, end int64) {
		t.Helper()
		if _, err := f.WriteAt(text[off:end], off); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(Range{Off: off, Len: end - off}); err != nil {
			t.Fatal(err)
		}
	}
	fill(90, 100)
	if k, err := o.ReadAt(make([]byte, 20), 90); k != 10 || err != io.EOF {
		t.Fatalf("read %d, %v", k, err)
	}
	want(t, "fd while partial", o.Fd() == nil, true)
	wantErr(t, f.Complete(Hash{}), ErrNotLocal)
	want(t, "missing ranges", len(f.Missing(0, 200)), 1)
	fill(0, 90)
	sum, err := f.Hash()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "hash", sum, Hash(blake3.Sum256(text)))
	if err := f.Complete(sum); err != nil {
		t.Fatal(err)
	}
	closeIt(t, f)
	want(t, "fd when full", o.Fd() != nil, true)
	write(t, o, "X", 0)
	closeIt(t, o)
	got := rowOf(t, c, n.Ino)
	want(t, "residency", got.Residency, Full)
	want(t, "version", got.Version, n.Version+1)
	want(t, "content", content(t, c, n.Ino), "X"+string(text[1:]))
	want(t, "backing files", backingFiles(t, dir), 1)
}

func TestPartialRangesSurviveAKillAndResetForgetsThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makePlaceholder(t, c, "p", 10)
	f, err := c.Fill(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("abc"), 2); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(Range{Off: 2, Len: 3}); err != nil {
		t.Fatal(err)
	}
	closeIt(t, f)
	want(t, "residency", rowOf(t, c, n.Ino).Residency, Partial)
	abandon(t, c)

	c = openContents(t, dir)
	f, err = c.Fill(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "bytes here", f.Bytes(), 3)
	o, err := c.OpenFile(n.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 3)
	if _, err := o.ReadAt(buf, 2); err != nil || string(buf) != "abc" {
		t.Fatalf("read %q: %v", buf, err)
	}
	if err := f.Reset(); err != nil {
		t.Fatal(err)
	}
	_, err = o.ReadAt(buf, 2)
	wantErr(t, err, ErrNotLocal)
	closeIt(t, o)
	closeIt(t, f)
	want(t, "bytes", c.store.bytes.Load(), 0)
}

func TestTruncatingAPlaceholderNeedsNoBytesAndOvertakesAFill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makePlaceholder(t, c, "p", 10)
	f, err := c.Fill(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("abc"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(Range{Off: 0, Len: 3}); err != nil {
		t.Fatal(err)
	}
	var zero int64
	if _, err := c.SetAttr(n.Ino, Attrs{Size: &zero}); err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("def"), 3)
	wantErr(t, err, ErrStale)
	wantErr(t, f.Commit(Range{Off: 3, Len: 3}), ErrStale)
	wantErr(t, f.Complete(Hash{}), ErrStale)
	closeIt(t, f)
	got := rowOf(t, c, n.Ino)
	want(t, "size", got.Size, 0)
	want(t, "residency", got.Residency, Full)
	want(t, "content", content(t, c, n.Ino), "")
	want(t, "backing files", backingFiles(t, dir), 1)
	_, err = c.Fill(n.Ino, n.Version)
	wantErr(t, err, ErrStale)
}

// partOf makes a file of which the first bytes are here, and the index knows.
func partOf(t *testing.T, c *Cache, name, text string, here int) Node {
	t.Helper()
	n := makePlaceholder(t, c, name, int64(len(text)))
	f, err := c.Fill(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	put(t, f, text[:here], 0)
	closeIt(t, f)
	return n
}

func put(t *testing.T, f *Fill, text string, off int64) {
	t.Helper()
	if _, err := f.WriteAt([]byte(text), off); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(Range{Off: off, Len: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
}

func TestToCutAFileTakesOnlyTheBytesThatStay(t *testing.T) {
	t.Parallel()
	for name, sync := range map[string]bool{"fetched just now": false, "that was synced": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := openContents(t, dir)
			n := partOf(t, c, "p", "0123456789", 6)
			if sync {
				if err := c.SyncContents(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			o, err := c.OpenFile(n.Ino, true)
			if err != nil {
				t.Fatal(err)
			}
			reader, err := c.OpenFile(n.Ino, false)
			if err != nil {
				t.Fatal(err)
			}
			wantErr(t, o.Truncate(7), ErrNotLocal)
			wantErr(t, o.Truncate(11), ErrNotLocal)
			want(t, "version untouched", attr(t, c, n.Ino).Version, n.Version)
			if err := o.Truncate(4); err != nil {
				t.Fatal(err)
			}
			got := attr(t, c, n.Ino)
			want(t, "size", got.Size, 4)
			want(t, "version", got.Version, n.Version+1)
			want(t, "the time has moved", got.Mtime > n.Mtime, true)
			var synced int64
			if synced, err = c.syncedBytes(got.Content); err != nil {
				t.Fatal(err)
			}
			want(t, "bytes known to be on the disk", synced, 0)
			want(t, "noted", c.store.notes.has(got.Content), true)
			buf := make([]byte, 20)
			if k, err := reader.ReadAt(buf, 0); string(buf[:k]) != "0123" || err != io.EOF {
				t.Fatalf("a reader has %q, %v", buf[:k], err)
			}
			if err := o.Truncate(6); err != nil { // it is like any file now
				t.Fatal(err)
			}
			closeIt(t, o)
			closeIt(t, reader)
			got = rowOf(t, c, n.Ino)
			want(t, "residency", got.Residency, Full)
			want(t, "writing", got.Writing, false)
			want(t, "content", content(t, c, n.Ino), "0123\x00\x00")
			want(t, "backing files", backingFiles(t, dir), 1)
			want(t, "bytes", c.store.bytes.Load(), 6)
			if problems, err := c.Check(t.Context()); err != nil || len(problems) > 0 {
				t.Errorf("%v, %v", problems, err)
			}
		})
	}
}

func TestACutOvertakesWhoeverFillsTheFile(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makePlaceholder(t, c, "p", 10)
	f, err := c.Fill(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	put(t, f, "0123", 0) // the index has not heard of it
	if _, err := f.WriteAt([]byte("4567"), 4); err != nil {
		t.Fatal(err)
	}
	size := int64(3)
	got, err := c.SetAttr(n.Ino, Attrs{Size: &size})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "size", got.Size, 3)
	wantErr(t, f.Commit(Range{Off: 4, Len: 4}), ErrStale)
	closeIt(t, f)
	want(t, "content", content(t, c, n.Ino), "012")
	want(t, "bytes", c.store.bytes.Load(), 3)
}

// TestACutThatFindsNoRoomToBeNotedLeavesAPart lets the index be full when the new version is to be noted.
func TestACutThatFindsNoRoomToBeNotedLeavesAPart(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := partOf(t, c, "p", "0123456789", 6)
	err := c.onWriter(func(conn *conn) error {
		return conn.script(`PRAGMA max_page_count = 1; CREATE TEMP TRIGGER full AFTER UPDATE OF writing ON nodes WHEN new.writing = 1
			BEGIN INSERT INTO meta(key, value) VALUES('full', zeroblob(1000000)); END`)
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Fill(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("6789"), 6); err != nil {
		t.Fatal(err)
	}
	o, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, o.Truncate(4), ErrNoSpace)
	got := attr(t, c, n.Ino)
	want(t, "size", got.Size, 10)
	want(t, "version", got.Version, n.Version)
	want(t, "residency", got.Residency, Partial)
	wantErr(t, f.Commit(Range{Off: 6, Len: 4}), ErrStale) // its bytes are cut off
	closeIt(t, f)
	if _, err = o.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrNotLocal) {
		t.Errorf("bytes that were cut off read %v", err)
	}
	buf := make([]byte, 4)
	if _, err := o.ReadAt(buf, 0); err != nil || string(buf) != "0123" {
		t.Errorf("what stays reads %q, %v", buf, err)
	}
	if err := c.onWriter(func(conn *conn) error { return conn.script(`DROP TRIGGER full`) }); err != nil {
		t.Fatal(err)
	}
	if f, err = c.Fill(n.Ino, n.Version); err != nil {
		t.Fatal(err)
	}
	put(t, f, "456789", 4)
	if err := f.Complete(Hash{}); err != nil {
		t.Fatal(err)
	}
	closeIt(t, f)
	closeIt(t, o)
	want(t, "content", content(t, c, n.Ino), "0123456789")
	want(t, "bytes", c.store.bytes.Load(), 10)
}

func TestASnapshotNeverMixesVersions(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "version one")
	s, err := c.Snapshot(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.EnsureHash(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "hash", h, Hash(blake3.Sum256([]byte("version one"))))
	want(t, "recorded hash", rowOf(t, c, n.Ino).Hash, h)

	o, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Snapshot(n.Ino, n.Version)
	wantErr(t, err, ErrBusy)
	buf := make([]byte, 5)
	if _, err := s.ReadAt(buf, 0); err != nil { // opened for writing, not written
		t.Fatal(err)
	}
	write(t, o, "V", 0)
	_, err = s.ReadAt(buf, 0)
	wantErr(t, err, ErrStale)
	wantErr(t, s.Err(), ErrStale)
	closeIt(t, o)
	_, err = s.ReadAt(buf, 0)
	wantErr(t, err, ErrStale)
	closeIt(t, s)
	_, err = c.Snapshot(n.Ino, n.Version)
	wantErr(t, err, ErrStale)
	want(t, "hash of the new version", rowOf(t, c, n.Ino).Hash.Known(), false)
	p := makePlaceholder(t, c, "p", 3)
	_, err = c.Snapshot(p.Ino, p.Version)
	wantErr(t, err, ErrNotLocal)
}

func TestSwapAndDropExcludeEverybodyAndNeverWait(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	n := makeFile(t, c, "f", "text")
	r, err := c.OpenFile(n.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.OpenFile(n.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	_, err = c.TrySwap(n.Ino)
	if wantErr(t, err, ErrBusy); !errors.As(err, &busy) || busy.Use != (Use{Readers: 1, Writers: 1}) {
		t.Fatalf("got %v", err)
	}
	want(t, "open writers", c.OpenWriters(n.Ino), true)
	closeIt(t, r)
	closeIt(t, w)
	lease, err := c.TrySwap(n.Ino)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.TryDrop(n.Ino)
	wantErr(t, err, ErrBusy)

	opened := make(chan error, 1)
	go func() {
		o, err := c.OpenFile(n.Ino, false)
		if err == nil {
			err = o.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("an open did not wait for the swap: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	lease.Release()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}

func TestDropKeepsTheNodeAndRefusesAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makeFile(t, c, "f", "12345")
	_, err := c.Drop(n.Ino, n.Version+1)
	wantErr(t, err, ErrStale)
	freed, err := c.Drop(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "freed", freed, 5)
	got := rowOf(t, c, n.Ino)
	want(t, "residency", got.Residency, None)
	want(t, "size", got.Size, 5)
	want(t, "version", got.Version, n.Version)
	removeDropped(t, c)
	want(t, "backing files", backingFiles(t, dir), 0)
	want(t, "bytes", c.store.bytes.Load(), 0)
	freed, err = c.Drop(n.Ino, n.Version)
	if err != nil || freed != 0 {
		t.Fatalf("dropping nothing: %d, %v", freed, err)
	}
}

// removeDropped does what Run does in the background.
func removeDropped(t *testing.T, c *Cache) {
	t.Helper()
	if _, err := c.removeDropped(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// setBoot lets the contents seem written in another boot.
func setBoot(t *testing.T, c *Cache, boot string) {
	t.Helper()
	if err := c.update(0, true, func(tx *Tx) error { return tx.exec(`UPDATE contents SET boot=? WHERE boot<>''`, boot) }); err != nil {
		t.Fatal(err)
	}
}

func TestAfterAPowerCutUnsyncedContentsAreDroppedIfCleanAndRehashedIfDirty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	synced := makeFile(t, c, "synced", "on disk")
	if err := c.syncContents(context.Background()); err != nil {
		t.Fatal(err)
	}
	dirty := makeFile(t, c, "dirty", "long text")
	s, err := c.Snapshot(dirty.Ino, dirty.Version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.EnsureHash(context.Background()); err != nil {
		t.Fatal(err)
	}
	closeIt(t, s)
	partial := makePlaceholder(t, c, "partial", 10)
	f, err := c.Fill(partial.Ino, partial.Version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("abc"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(Range{Off: 0, Len: 3}); err != nil {
		t.Fatal(err)
	}
	closeIt(t, f)
	clean := makeFile(t, c, "clean", "at the endpoint")
	err = c.update(0, true, func(tx *Tx) error {
		d, err := tx.DentryOf(clean.Ino)
		if err != nil {
			return err
		}
		return tx.exec(`INSERT INTO bindings(leg, dentry, remote_id, parent, remote_name, kind, r_tag, r_content, r_size, l_parent, l_name, l_version)
			VALUES(1, ?, 'r', 0, x'', 1, '', '', ?, 1, x'', ?)`, d.ID, clean.Size, clean.Version)
	})
	if err != nil {
		t.Fatal(err)
	}
	setBoot(t, c, "another-boot/0000000000000001")
	if err := os.Truncate(c.store.path(rowOf(t, c, dirty.Ino).Content), 4); err != nil { // what the disk kept
		t.Fatal(err)
	}
	abandon(t, c)

	c = openContents(t, dir)
	want(t, "synced content", content(t, c, synced.Ino), "on disk")
	want(t, "partial", rowOf(t, c, partial.Ino).Residency, None)
	want(t, "clean", rowOf(t, c, clean.Ino).Residency, None)
	want(t, "clean size", rowOf(t, c, clean.Ino).Size, clean.Size)
	got := rowOf(t, c, dirty.Ino)
	want(t, "dirty size", got.Size, 4)
	want(t, "dirty hash known", got.Hash.Known(), false)
	want(t, "dirty version", got.Version, dirty.Version+1)
	want(t, "dirty content", content(t, c, dirty.Ino), "long")
}

func TestSyncingLeavesWhatIsBeingWrittenForALaterRound(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	makeFile(t, c, "settled", "x")
	_, o := create(t, c, "open")
	write(t, o, "y", 0)
	stamped := func() (n int64) {
		t.Helper()
		err := c.View(func(tx *Tx) error {
			_, err := tx.queryRow(`SELECT count(*) FROM contents WHERE boot<>''`, func(r *row) { n = r.int() })
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	want(t, "stamped before", stamped(), 2)
	for range 2 {
		if err := c.syncContents(context.Background()); err != nil {
			t.Fatal(err)
		}
		want(t, "stamped while one is written", stamped(), 1)
	}
	closeIt(t, o)
	if err := c.syncContents(context.Background()); err != nil {
		t.Fatal(err)
	}
	want(t, "stamped at the end", stamped(), 0)
	want(t, "more to do", c.store.dirty.Load(), false)
}

func TestFsyncSettlesAndKeepsTheMark(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	ino, o := create(t, c, "f")
	write(t, o, "12345", 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := o.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := rowOf(t, c, ino)
	want(t, "size", n.Size, 5)
	want(t, "mark", n.Writing, true)
	closeIt(t, o)
	want(t, "bytes", c.store.bytes.Load(), 5)
}

func TestUnsentContentsOutliveALostIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	makeFile(t, c, "unsent", "precious")
	odd := "odd\xff\nname"
	makeFile(t, c, odd, "odd")
	sent := makeFile(t, c, "sent", "at the endpoint")
	wantErr(t, c.MarkSent(sent.Ino+100, 1), ErrNotFound)
	if err := c.MarkSent(sent.Ino, sent.Version+1); err != nil { // overtaken: nothing happens
		t.Fatal(err)
	}
	if _, unsent, err := readOrigin(c.store.path(sent.Content)); err != nil || !unsent {
		t.Fatalf("unsent %v, %v", unsent, err)
	}
	if err := c.MarkSent(sent.Ino, sent.Version); err != nil {
		t.Fatal(err)
	}
	closeIt(t, c)
	for _, name := range []string{"index.db", "index.db-wal", "index.db-shm"} {
		if err := removeIfThere(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c = openContents(t, dir)
	if err := c.Update(0, (*Tx).Salvage); err != nil {
		t.Fatal(err)
	}
	closeIt(t, c)
	c = openContents(t, dir)
	names, err := os.ReadDir(filepath.Join(dir, "lost+found"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, "lost+found", n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[n.Name()] = string(b)
	}
	if len(got) != 2 || got["1 unsent"] != "precious" || got["2 "+odd] != "odd" {
		t.Fatalf("lost+found holds %v", got)
	}
	removeDropped(t, c)
	want(t, "backing files", backingFiles(t, dir), 0)
	n := makeFile(t, c, "new", "new")
	want(t, "new content", content(t, c, n.Ino), "new")
}

func TestSweepSparesWhatHasARowOrIsNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	stray, err := c.store.create()
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, stray.file)
	n := makeFile(t, c, "f", "x")
	if err := os.WriteFile(c.store.path(n.Content+1), nil, 0o600); err != nil { // made when the process ended
		t.Fatal(err)
	}
	closeIt(t, c)
	c = openContents(t, dir)
	// A file that is being made has no row yet.
	made, err := c.store.create()
	if err != nil {
		t.Fatal(err)
	}
	closeIt(t, made.file)
	want(t, "content id", made.id, n.Content+2) // the number that is taken by a leftover is passed over
	if err := c.sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	want(t, "backing files", backingFiles(t, dir), 3)
	want(t, "content", content(t, c, n.Ino), "x")
	if _, err := os.Stat(c.store.path(stray.id)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the leftover: %v", err)
	}
}

func TestSeekAndAllocate(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	p := makePlaceholder(t, c, "p", 100)
	o, err := c.OpenFile(p.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		off    int64
		whence int
		want   int64
		err    error
	}{{10, unix.SEEK_DATA, 10, nil}, {10, unix.SEEK_HOLE, 100, nil}, {100, unix.SEEK_DATA, 0, unix.ENXIO}, {0, io.SeekStart, 0, ErrInvalid}} {
		at, err := o.Seek(step.off, step.whence)
		if at != step.want || !errors.Is(err, step.err) {
			t.Errorf("seek %d %d: %d, %v", step.off, step.whence, at, err)
		}
	}
	closeIt(t, o)
	ino, w := create(t, c, "f")
	if err := w.Allocate(0, 0, 8192); err != nil {
		t.Fatal(err)
	}
	write(t, w, "x", 5000)
	if err := w.Allocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096); err != nil {
		t.Fatal(err)
	}
	if at, err := w.Seek(0, unix.SEEK_DATA); err != nil || at != 4096 {
		t.Fatalf("data at %d, %v", at, err)
	}
	closeIt(t, w)
	want(t, "size", rowOf(t, c, ino).Size, 8192)
}

// TestReadersAndTruncatersRace: every read is one of the versions that truncation and rewriting make, and no state or file
// is left.
func TestReadersAndTruncatersRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makeFile(t, c, "f", "aaaaaaaa")
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				o, err := c.OpenFile(n.Ino, false)
				if err != nil {
					t.Error(err)
					return
				}
				buf := make([]byte, 8)
				k, err := o.ReadAt(buf, 0)
				if err != nil && err != io.EOF || len(bytes.Trim(buf[:k], "a")) > 0 {
					t.Errorf("read %q: %v", buf[:k], err)
				}
				if s, err := c.Snapshot(n.Ino, attr(t, c, n.Ino).Version); err == nil {
					k, err := s.ReadAt(buf, 0)
					if err == nil && k != 8 {
						t.Errorf("a snapshot of a settled version has %d bytes", k)
					}
					closeIt(t, s)
				} else if !errors.Is(err, ErrBusy) && !errors.Is(err, ErrStale) {
					t.Error(err)
				}
				closeIt(t, o)
			}
		})
	}
	for range 100 {
		o, err := c.OpenFile(n.Ino, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Truncate(0); err != nil {
			t.Fatal(err)
		}
		write(t, o, "aaaaaaaa", 0)
		closeIt(t, o)
	}
	stop.Store(true)
	wg.Wait()
	want(t, "states", len(c.files.m), 0)
	want(t, "backing files", backingFiles(t, dir), 1)
	want(t, "content", content(t, c, n.Ino), "aaaaaaaa")
}

func TestQuietPeriodGrowsWithRewritingAndComesBack(t *testing.T) {
	t.Parallel()
	var q quietPeriods
	q.init(50*time.Millisecond, 200*time.Millisecond, 5*time.Second)
	now := int64(1e18)
	var got []time.Duration
	for range 7 {
		got = append(got, time.Duration(q.next(1, 10, now)))
		now += int64(time.Second)
	}
	for i, w := range []time.Duration{50e6, 400e6, 800e6, 1600e6, 3200e6, 5e9, 5e9} {
		want(t, "quiet period", got[i], w)
	}
	want(t, "after a rest", q.next(1, 10, now+int64(time.Minute)), 50e6)
	want(t, "of a long file", q.next(2, 1<<30, now), 200e6)
	want(t, "of a long file that is written again", q.next(2, 1<<30, now), 400e6)
	for i := range Ino(5000) {
		q.next(i+2, 10, now)
	}
	want(t, "remembered", len(q.recent), quietRemembered)
}

func TestAccessTimesAreSeenAtOnceAndWrittenLater(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	c, err := Open(context.Background(), Options{Dir: t.TempDir(), Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, c)
	n := makeFile(t, c, "f", "x")
	now = now.Add(time.Hour)
	c.TouchAtime(n.Ino)
	want(t, "atime", attr(t, c, n.Ino).Atime, now.UnixNano())
	want(t, "atime in the index", rowOf(t, c, n.Ino).Atime, n.Atime)
	if err := c.flushUsage(); err != nil {
		t.Fatal(err)
	}
	want(t, "atime in the index later", rowOf(t, c, n.Ino).Atime, now.UnixNano())
}

func TestRunEndsWithItsContextAndBacksTheIndexUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	makeFile(t, c, "f", "x")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	deadline := time.Now().Add(20 * time.Second)
	for have, err := c.backups(); len(have) == 0; have, err = c.backups() {
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no backup: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	have, err := c.backups()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := openConn(have[0], true)
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, closer(conn.close))
	n := int64(0)
	if _, err := conn.one(`SELECT count(*) FROM nodes`, func(r *row) { n = r.int() }); err != nil || n != 2 {
		t.Fatalf("the backup has %d nodes: %v", n, err)
	}
}

// TestBackupsOfAClockThatWasAhead backs up, sets the clock back and backs up again.
func TestBackupsOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dir := t.TempDir()
	c, err := Open(context.Background(), Options{Dir: dir, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, c)
	newest := func(files int) {
		t.Helper()
		have, err := c.backups()
		if err != nil || len(have) == 0 || len(have) > backupsKept {
			t.Fatalf("backups %v: %v", have, err)
		}
		conn, err := openConn(have[len(have)-1], true)
		if err != nil {
			t.Fatal(err)
		}
		defer closeIt(t, closer(conn.close))
		n := int64(0)
		if _, err := conn.one(`SELECT count(*) FROM nodes`, func(r *row) { n = r.int() }); err != nil || n != int64(1+files) {
			t.Fatalf("the newest backup has %d nodes, want those of %d files: %v", n, files, err)
		}
	}
	now = now.Add(40 * 24 * time.Hour)
	for files := 1; files <= 2*backupsKept; files++ {
		makeFile(t, c, fmt.Sprint(files), "x")
		if err := c.Backup(); err != nil {
			t.Fatal(err)
		}
		newest(files)
		if files == backupsKept {
			now = now.Add(-40 * 24 * time.Hour)
		}
	}
	have, err := c.backups()
	if err == nil {
		last := have[len(have)-1]
		err = os.Chtimes(last, now.Add(time.Hour), now.Add(time.Hour)) // it was made when the clock was ahead
	}
	if err != nil {
		t.Fatal(err)
	}
	makeFile(t, c, "more", "x")
	if err := c.backupIfDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	newest(2*backupsKept + 1)
	makeFile(t, c, "still more", "x")
	now = time.Now().Add(time.Minute)
	if err := c.backupIfDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	newest(2*backupsKept + 1) // a minute old
}

type closer func() error

func (f closer) Close() error { return f() }

func BenchmarkCreateWriteClose(b *testing.B) {
	c, err := Open(context.Background(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 4096)
	i := 0
	for b.Loop() {
		i++
		_, o, err := c.Create(RootIno, "f"+string(rune('a'+i%26))+time.Duration(i).String(), 0o644, Caller{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.WriteAt(buf, 0); err != nil {
			b.Fatal(err)
		}
		if err := o.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestPinnedBytesFollowTheNearestIntent(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	mkdir := func(in Ino, name string) Entry {
		e, err := c.Mkdir(in, name, 0o755, Caller{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	fill := func(in Ino, name, text string) Entry {
		e, o, err := c.Create(in, name, 0o644, Caller{})
		if err == nil {
			_, err = o.WriteAt([]byte(text), 0)
		}
		if err = errors.Join(err, o.Close()); err != nil {
			t.Fatal(err)
		}
		return e
	}
	pinned := func(e Entry, as Intent) int64 {
		var n int64
		err := c.Update(0, func(tx *Tx) (err error) {
			if err = tx.SetIntent(e.ID, as); err == nil {
				n, err = tx.PinnedBytes()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	d := mkdir(RootIno, "d")
	sub := mkdir(d.Ino, "sub")
	fill(RootIno, "outside", "12345678")
	f := fill(d.Ino, "f", "1")
	fill(sub.Ino, "deep", "22")
	if _, err := c.Link(f.Ino, sub.Ino, "again"); err != nil {
		t.Fatal(err)
	}
	want(t, "with the directory", pinned(d, Pinned), 3)
	want(t, "without the one below", pinned(sub, Online), 1)
	want(t, "with a file in that", pinned(f, Pinned), 1)
	want(t, "of the one below alone", pinned(d, Inherited), 1)
}
