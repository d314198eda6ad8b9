package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// fill makes many empty files without going through the mount.
func (e *env) fill(parent cache.Ino, n int) {
	e.t.Helper()
	e.remote(func(tx *cache.Tx) error {
		for i := range n {
			if _, err := insert(tx, parent, fmt.Sprintf("file %05d", i), cache.Node{Kind: cache.File, Mode: 0o644, Listing: cache.Listed}); err != nil {
				return err
			}
		}
		return nil
	})
}

// dirents reads one getdents buffer.
func dirents(t *testing.T, fd int, buf []byte) []fuse.DirEntry {
	t.Helper()
	n, err := unix.Getdents(fd, buf)
	must(t, err)
	var out []fuse.DirEntry
	for p := buf[:n]; len(p) > 0; {
		var d fuse.DirEntry
		p = p[d.Parse(p):]
		out = append(out, d)
	}
	return out
}

func TestListingWhileDeletingSeesEveryNameOnce(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	const n = 10_000
	e.fill(cache.RootIno, n)
	d := open(t, e.mnt, os.O_RDONLY)
	seen := map[string]int{}
	buf := make([]byte, 4096)
	for {
		page := dirents(t, int(d.Fd()), buf)
		if len(page) == 0 {
			break
		}
		for i, entry := range page {
			seen[entry.Name]++
			if entry.Name[0] != '.' && i%2 == 0 {
				must(t, os.Remove(e.path(entry.Name)))
			}
		}
	}
	if len(seen) != n+2 {
		t.Fatalf("saw %d names, want %d", len(seen), n+2)
	}
	for name, times := range seen {
		if times != 1 {
			t.Fatalf("%q came %d times", name, times)
		}
	}
}

func TestSeekdirComesBackToTheSameEntry(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.fill(cache.RootIno, 500)
	for _, cached := range []string{"first listing", "listing kept by the kernel"} {
		d := open(t, e.mnt, os.O_RDONLY)
		fd := int(d.Fd())
		var all []fuse.DirEntry
		buf := make([]byte, 8192)
		for page := dirents(t, fd, buf); len(page) > 0; page = dirents(t, fd, buf) {
			all = append(all, page...)
		}
		if len(all) != 502 || all[0].Name != "." || all[1].Name != ".." {
			t.Fatalf("%s: %d entries, beginning with %v", cached, len(all), all[:2])
		}
		for _, i := range []int{0, 1, 2, 3, 250, 500} {
			_, err := unix.Seek(fd, int64(all[i].Off), unix.SEEK_SET)
			must(t, err)
			if next := dirents(t, fd, buf)[0]; next.Name != all[i+1].Name {
				t.Fatalf("%s: after %q comes %q, want %q", cached, all[i].Name, next.Name, all[i+1].Name)
			}
		}
		_, err := unix.Seek(fd, 0, unix.SEEK_SET)
		must(t, err)
		if first := dirents(t, fd, buf)[0]; first.Name != "." {
			t.Fatalf("%s: rewound to %q", cached, first.Name)
		}
	}
}

func TestOwnChangesShowInTheNextListing(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	must(t, os.Mkdir(e.path("d"), 0o755))
	for i := range 20 {
		e.write(fmt.Sprintf("d/%d", i), nil)
		if i >= 10 {
			must(t, os.Remove(e.path(fmt.Sprintf("d/%d", i-10))))
		}
		names, err := os.ReadDir(e.path("d"))
		must(t, err)
		if want := min(i+1, 10); len(names) != want {
			t.Fatalf("%d names after step %d, want %d", len(names), i, want)
		}
	}
}

func TestRemovedDirectoryStillAnswersItsHandle(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	must(t, os.Mkdir(e.path("d"), 0o711))
	d := open(t, e.path("d"), os.O_RDONLY)
	must(t, os.Remove(e.path("d")))
	var st unix.Stat_t
	must(t, unix.Fstat(int(d.Fd()), &st))
	if st.Nlink != 0 || st.Mode != unix.S_IFDIR|0o711 {
		t.Fatalf("%d links, mode %o", st.Nlink, st.Mode)
	}
	_, err := os.Create(e.path("d/f"))
	wantErrno(t, err, unix.ENOENT)
}

func TestDirectoryErrors(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	must(t, os.MkdirAll(e.path("d/sub"), 0o755))
	e.write("f", nil)
	wantErrno(t, unix.Rmdir(e.path("d")), unix.ENOTEMPTY)
	wantErrno(t, unix.Rmdir(e.path("f")), unix.ENOTDIR)
	wantErrno(t, unix.Unlink(e.path("d")), unix.EISDIR)
	wantErrno(t, unix.Rename(e.path("f"), e.path("d")), unix.EISDIR)
	wantErrno(t, unix.Rename(e.path("d"), e.path("f")), unix.ENOTDIR)
	wantErrno(t, unix.Mkdir(e.path("d"), 0o755), unix.EEXIST)
	if st := e.stat("d"); st.Nlink != 3 {
		t.Fatalf("%d links", st.Nlink)
	}
}

// unlisted makes a directory whose names are elsewhere.
func (e *env) unlisted(name string) cache.Ino {
	e.t.Helper()
	var ino cache.Ino
	e.remote(func(tx *cache.Tx) (err error) {
		ino, err = insert(tx, cache.RootIno, name, cache.Node{Kind: cache.Dir, Mode: 0o755, Listing: cache.Unlisted})
		return err
	})
	return ino
}

func TestUnlistedDirectoryIsListedByWhateverNeedsIt(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.list.script(func(_ context.Context, ino cache.Ino) error {
		return e.cache.Update(leg, func(tx *cache.Tx) error {
			if _, err := insert(tx, ino, "inside", cache.Node{Kind: cache.File, Mode: 0o644, Listing: cache.Listed}); err != nil {
				return err
			}
			return tx.SetListing(ino, cache.Listed)
		})
	})
	uses := map[string]func(dir string) error{
		"readdir": func(dir string) error {
			names, err := os.ReadDir(dir)
			if err == nil && len(names) != 1 {
				err = fmt.Errorf("names %v", names)
			}
			return err
		},
		"lookup": func(dir string) error { _, err := os.Stat(dir + "/inside"); return err },
		"absence": func(dir string) error {
			if _, err := os.Stat(dir + "/outside"); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		},
		"create of a taken name": func(dir string) error {
			if _, err := os.OpenFile(dir+"/inside", os.O_CREATE|os.O_EXCL, 0o644); !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		},
		"mkdir": func(dir string) error { return os.Mkdir(dir+"/new", 0o755) },
		"rmdir": func(dir string) error {
			if err := unix.Rmdir(dir); !errors.Is(err, unix.ENOTEMPTY) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		},
		"rename over it": func(dir string) error {
			if err := os.Mkdir(dir+" new", 0o755); err != nil {
				return err
			}
			if err := unix.Rename(dir+" new", dir); !errors.Is(err, unix.ENOTEMPTY) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		},
	}
	for name, use := range uses {
		e.unlisted(name)
		before := e.list.calls.Load()
		if err := use(e.path(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := e.list.calls.Load() - before; n != 1 {
			t.Errorf("%s: listed %d times", name, n)
		}
	}
}

func TestUnlistableDirectoryIsNeverShownEmpty(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.unlisted("d")
	_, err := os.ReadDir(e.path("d"))
	wantErrno(t, err, unix.EHOSTDOWN)
	_, err = os.Stat(e.path("d/x"))
	wantErrno(t, err, unix.EHOSTDOWN)
	e.list.script(func(_ context.Context, ino cache.Ino) error {
		return e.cache.Update(leg, func(tx *cache.Tx) error { return tx.SetListing(ino, cache.Listed) })
	})
	names, err := os.ReadDir(e.path("d"))
	must(t, err)
	if len(names) != 0 {
		t.Fatalf("names %v", names)
	}
}

// A first listing larger than the feed must not wait for notifications that wait for the lookup that waits for it.
func TestLookupListsAHugeDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("inserts 80 000 names")
	}
	e := mounted(t)
	const n = 80_000
	e.list.script(func(_ context.Context, ino cache.Ino) error {
		for at := 0; at < n; at += 4000 {
			err := e.cache.Update(leg, func(tx *cache.Tx) error {
				for i := at; i < at+4000; i++ {
					if _, err := insert(tx, ino, fmt.Sprint(i), cache.Node{Kind: cache.File, Mode: 0o644, Listing: cache.Listed}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return e.cache.Update(leg, func(tx *cache.Tx) error { return tx.SetListing(ino, cache.Listed) })
	})
	e.unlisted("d")
	if _, err := os.Stat(e.path("d/79999")); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedListingWaitsEndAlone(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.unlisted("d")
	ended, waiting := make(chan struct{}), make(chan struct{}, 1)
	var once sync.Once
	e.list.script(func(ctx context.Context, _ cache.Ino) error {
		waiting <- struct{}{}
		<-ctx.Done()
		once.Do(func() { close(ended) })
		return ctx.Err()
	})
	cmd := helper(t, "read", e.path("d/x"))
	must(t, cmd.Start())
	<-waiting
	endsWhenKilled(t, cmd)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the wait went on without its program")
	}
}
