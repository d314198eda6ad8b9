package cache

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"lukechampine.com/blake3"
)

// source is an open file to copy from, closed when the test ends.
func source(t *testing.T, text string) *os.File {
	t.Helper()
	return sourceIn(t, t.TempDir(), text)
}

func sourceIn(t *testing.T, dir, text string) *os.File {
	t.Helper()
	path := filepath.Join(dir, "source")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// draft copies src for a node.
func draft(t *testing.T, c *Cache, n Node, src *os.File) *Draft {
	t.Helper()
	d, err := c.Draft(t.Context(), n.Ino, n.Version, src)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADraftBecomesTheWholeContent(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"small": "data", "empty": "", "in several pieces": strings.Repeat("0123456789", 250_000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := openContents(t, dir)
			n := makePlaceholder(t, c, "p", int64(len(text)))
			d := draft(t, c, n, source(t, text))
			want(t, "hash", d.Hash(), Hash(blake3.Sum256([]byte(text))))
			want(t, "residency before", rowOf(t, c, n.Ino).Residency, None)
			if err := d.Complete(Reader{Program: "vdfs adopt", Kind: "vdfs"}); err != nil {
				t.Fatal(err)
			}
			closeIt(t, d)
			got := rowOf(t, c, n.Ino)
			want(t, "residency", got.Residency, Full)
			want(t, "recorded hash", got.Hash, d.Hash())
			want(t, "version", got.Version, n.Version)
			want(t, "mtime", got.Mtime, n.Mtime)
			want(t, "writing", got.Writing, false)
			want(t, "content is right", content(t, c, n.Ino) == text, true)
			want(t, "backing files", backingFiles(t, dir), 1)
			want(t, "bytes", c.store.bytes.Load(), int64(len(text)))
			if err := c.View(func(tx *Tx) error {
				f, err := tx.LastFetch(n.Ino)
				want(t, "fetched for", f.Program, "vdfs adopt")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			_, err := c.Draft(t.Context(), n.Ino, n.Version, source(t, text))
			wantErr(t, err, ErrStale)
			closeIt(t, c)
			c = openContents(t, dir)
			want(t, "content after a start is right", content(t, c, n.Ino) == text, true)
		})
	}
}

func TestADraftTakesThePlaceOfAPartUnderThoseWhoUseIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makePlaceholder(t, c, "p", 6)
	reader, err := c.OpenFile(n.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Fill(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	fillPart := func(text string, off int64) error {
		if _, err := f.WriteAt([]byte(text), off); err != nil {
			return err
		}
		return f.Commit(Range{Off: off, Len: int64(len(text))})
	}
	if err := fillPart("abc", 0); err != nil {
		t.Fatal(err)
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	want(t, "bytes of the part", c.store.bytes.Load(), 3)
	d := draft(t, c, n, source(t, "abcdef"))
	_, err = reader.ReadAt(make([]byte, 6), 0)
	wantErr(t, err, ErrNotLocal) // nobody sees the draft
	if err := d.Complete(Reader{}); err != nil {
		t.Fatal(err)
	}
	closeIt(t, d)
	buf := make([]byte, 6)
	if k, err := reader.ReadAt(buf, 0); err != nil || string(buf) != "abcdef" {
		t.Fatalf("the open handle reads %q, %v", buf[:k], err)
	}
	wantErr(t, fillPart("def", 3), ErrStale)
	wantErr(t, f.Complete(Hash{}), ErrStale)
	closeIt(t, f)
	closeIt(t, reader)
	removeDropped(t, c)
	want(t, "backing files", backingFiles(t, dir), 1)
	want(t, "bytes", c.store.bytes.Load(), 6)
	want(t, "use", c.InUse(n.Ino), Use{})
	if problems, err := c.Check(context.Background()); err != nil || len(problems) != 0 {
		t.Fatalf("%v, %v", problems, err)
	}
}

func TestADraftThatIsNotWantedLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	n := makePlaceholder(t, c, "p", 4)
	closeIt(t, draft(t, c, n, source(t, "else")))
	want(t, "backing files of a closed one", backingFiles(t, dir), 0)

	_, err := c.Draft(t.Context(), n.Ino, n.Version, source(t, "les"))
	wantErr(t, err, ErrSource)
	_, err = c.Draft(t.Context(), n.Ino, n.Version+1, source(t, "data"))
	wantErr(t, err, ErrStale)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Draft(ended, n.Ino, n.Version, source(t, "data"))
	wantErr(t, err, context.Canceled)
	want(t, "backing files of those that failed", backingFiles(t, dir), 0)
	want(t, "row", rowOf(t, c, n.Ino), n)

	longer := draft(t, c, n, source(t, "data and more"))
	want(t, "hash of a source that has grown", longer.Hash(), Hash(blake3.Sum256([]byte("data"))))
	closeIt(t, longer)

	d := draft(t, c, n, source(t, "data"))
	var zero int64
	if _, err := c.SetAttr(n.Ino, Attrs{Size: &zero}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, d.Complete(Reader{}), ErrStale)
	closeIt(t, d)
	want(t, "content of what was overtaken", content(t, c, n.Ino), "")
	want(t, "backing files in the end", backingFiles(t, dir), 1)
}

// What FICLONE gives is tried where the disk can.
func TestADraftSharesBytesWhereTheDiskCan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	text := strings.Repeat("shared ", 20_000)
	n := makePlaceholder(t, c, "p", int64(len(text)))
	src := source(t, text)
	probe, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, probe)
	if err := unix.IoctlFileClone(int(probe.Fd()), int(src.Fd())); err != nil {
		t.Skipf("no reflinks here: %v", err)
	}
	d := draft(t, c, n, src)
	want(t, "hash", d.Hash(), Hash(blake3.Sum256([]byte(text))))
	if err := d.Complete(Reader{}); err != nil {
		t.Fatal(err)
	}
	closeIt(t, d)
	want(t, "content is right", content(t, c, n.Ino) == text, true)
}
