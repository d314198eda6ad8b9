package cache

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// needPassing skips where nothing is passed.
func needPassing(t *testing.T, c *Cache) {
	t.Helper()
	if !c.CanPass() {
		t.Skip("the disk of the tests cannot tell who has a file open for writing")
	}
}

// passedTo opens the backing file of a passed handle as the kernel does for a program.
func passedTo(t *testing.T, c *Cache, o *OpenFile) *os.File {
	t.Helper()
	if err := o.MarkPassed(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(c.store.path(rowOf(t, c, o.Ino()).Content), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func openIt(t *testing.T, c *Cache, ino Ino) *OpenFile {
	t.Helper()
	o, err := c.OpenFile(ino, true)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// oldFile makes a file that was last changed long ago and whose hash is known.
func oldFile(t *testing.T, c *Cache, name, text string) Node {
	t.Helper()
	n := makeFile(t, c, name, text)
	mtime := int64(1_000_000_007_000_000_009)
	if _, err := c.SetAttr(n.Ino, Attrs{Mtime: &mtime}); err != nil {
		t.Fatal(err)
	}
	s, err := c.Snapshot(n.Ino, n.Version)
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, s)
	if _, err := s.EnsureHash(context.Background()); err != nil {
		t.Fatal(err)
	}
	return attr(t, c, n.Ino)
}

func settleHeld(t *testing.T, c *Cache) {
	t.Helper()
	if err := c.SettleHeld(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestAPassedFileIsSettledWhenNobodyOutsideCanWriteToIt(t *testing.T) {
	t.Parallel()
	for name, mapped := range map[string]bool{"a descriptor": false, "a mapping": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openContents(t, t.TempDir())
			needPassing(t, c)
			ino, o := create(t, c, "f")
			write(t, o, "12345678", 0)
			outside := passedTo(t, c, o)
			end := func() { closeIt(t, outside) }
			if mapped {
				pages, err := unix.Mmap(int(outside.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					t.Fatal(err)
				}
				closeIt(t, outside)
				end = func() {
					copy(pages, "stored")
					if err := unix.Munmap(pages); err != nil {
						t.Fatal(err)
					}
				}
			}
			closeIt(t, o)
			want(t, "writing after the close", rowOf(t, c, ino).Writing, true)
			settleHeld(t, c)
			want(t, "writing while it is held", rowOf(t, c, ino).Writing, true)
			if _, err := c.Snapshot(ino, 1); err == nil {
				t.Error("a file that is written to can be sent")
			}
			again := openIt(t, c, ino)
			write(t, again, "!", 8)
			closeIt(t, again)
			want(t, "writing after another writer", rowOf(t, c, ino).Writing, true)
			end()
			settleHeld(t, c)
			n := rowOf(t, c, ino)
			want(t, "writing in the end", n.Writing, false)
			want(t, "size", n.Size, 9)
			if mapped {
				want(t, "content", content(t, c, ino), "stored78!")
			}
		})
	}
}

func TestAFileThatIsHeldOverTheEndOfTheProcessIsSettledLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	needPassing(t, c)
	ino, o := create(t, c, "f")
	write(t, o, "before", 0)
	outside := passedTo(t, c, o)
	abandon(t, c)

	c = openContents(t, dir)
	want(t, "writing after the restart", rowOf(t, c, ino).Writing, true)
	if _, err := outside.WriteAt([]byte(" and after"), 6); err != nil {
		t.Fatal(err)
	}
	want(t, "live size", attr(t, c, ino).Size, 16)
	closeIt(t, outside)
	settleHeld(t, c)
	want(t, "writing in the end", rowOf(t, c, ino).Writing, false)
	want(t, "size", rowOf(t, c, ino).Size, 16)
	want(t, "content", content(t, c, ino), "before and after")
}

func TestAPassedFileThatNobodyWroteToIsWhatItWas(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	needPassing(t, c)
	for name, s := range map[string]struct {
		do   func(*OpenFile, *os.File) error
		same bool
	}{
		"nothing": {func(*OpenFile, *os.File) error { return nil }, true},
		"a read":  {func(_ *OpenFile, f *os.File) error { _, err := f.Read(make([]byte, 3)); return err }, true},
		"a write": {func(_ *OpenFile, f *os.File) error { _, err := f.WriteAt([]byte("x"), 0); return err }, false},
		"a store": {func(_ *OpenFile, f *os.File) error {
			p, err := unix.Mmap(int(f.Fd()), 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			p[0] = 'x'
			return unix.Munmap(p)
		}, false},
		"a write by request": {func(o *OpenFile, _ *os.File) error { _, err := o.WriteAt([]byte("x"), 0); return err }, false},
		"a write and the old time": {func(o *OpenFile, f *os.File) error {
			if _, err := f.WriteAt([]byte("x"), 0); err != nil {
				return err
			}
			mtime := int64(1_000_000_007_000_000_009)
			_, err := c.SetAttr(o.Ino(), Attrs{Mtime: &mtime})
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := oldFile(t, c, name, "text")
			o := openIt(t, c, n.Ino)
			outside := passedTo(t, c, o)
			if err := s.do(o, outside); err != nil {
				t.Fatal(err)
			}
			closeIt(t, outside)
			closeIt(t, o)
			got := rowOf(t, c, n.Ino)
			want(t, "writing", got.Writing, false)
			if s.same {
				want(t, "hash", got.Hash, n.Hash)
				want(t, "mtime", got.Mtime, n.Mtime)
			} else {
				want(t, "hash is known", got.Hash.Known(), false)
			}
		})
	}
}
