package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

func TestRemoteChangesReachTheKernel(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	must(t, os.Mkdir(e.path("d"), 0o755))
	dir := cache.Ino(e.stat("d").Ino)
	absent := func(name string) bool {
		_, err := os.Lstat(e.path(name))
		return errors.Is(err, os.ErrNotExist)
	}
	names := func() int {
		entries, err := os.ReadDir(e.path("d"))
		must(t, err)
		return len(entries)
	}
	if !absent("d/f") || names() != 0 {
		t.Fatal("something is there already")
	}

	ino := e.placeholder(dir, "f", []byte("first"))
	e.eventually("a created name, cached as absent, shows", func() bool { return !absent("d/f") })
	e.eventually("it is in the cached listing", func() bool { return names() == 1 })
	e.wantContent("d/f", []byte("first"))

	e.replace(ino, []byte("the second version"))
	e.eventually("the new size shows", func() bool { return e.stat("d/f").Size == 18 })
	e.wantContent("d/f", []byte("the second version"))

	e.remote(func(tx *cache.Tx) error {
		n, err := tx.Node(ino)
		if err != nil {
			return err
		}
		n.Mode = 0o600
		return tx.UpdateNode(n)
	})
	e.eventually("the new mode shows", func() bool { return e.stat("d/f").Mode&0o777 == 0o600 })

	e.remote(func(tx *cache.Tx) error {
		d, err := tx.DentryOf(ino)
		if err != nil {
			return err
		}
		return tx.MoveDentry(d.ID, cache.RootIno, "moved")
	})
	e.eventually("the rename shows on both ends", func() bool { return absent("d/f") && !absent("moved") && names() == 0 })

	e.remote(func(tx *cache.Tx) error {
		d, err := tx.DentryOf(ino)
		if err != nil {
			return err
		}
		return tx.RemoveDentry(d.ID)
	})
	e.eventually("the removal shows", func() bool { return absent("moved") })
}

// The same size is the hard case: nothing but the version tells that the pages are old.
func TestNoOldPagesAfterARemoteChange(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	version := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 64<<10) }
	ino := e.placeholder(cache.RootIno, "f", version(0))
	for i := range 50 {
		// Read twice: the second time from kept pages.
		e.wantContent("f", version(i))
		e.wantContent("f", version(i))
		e.replace(ino, version(i+1))
		// No waiting here: an open between the commit and its notification must not keep the pages.
	}
}

func TestPagesAreKeptWhileTheVersionIs(t *testing.T) {
	t.Parallel()
	e := mounted(t, func(o *Options) { o.NoPassthrough = true }) // else the kernel has no pages of its own
	data := bytes.Repeat([]byte("page"), 64<<10)
	e.write("f", data)
	e.settled("f")
	e.wantContent("f", data)
	ino := cache.Ino(e.stat("f").Ino)
	// What the kernel holds cannot be asked for, so the backing file is changed behind everybody's back.
	o, err := e.cache.OpenFile(ino, false)
	must(t, err)
	_, err = o.Fd().WriteAt([]byte("CHANGED"), 0)
	must(t, errors.Join(err, o.Close()))
	e.wantContent("f", data)
}

func TestReaderKeepsItsVersion(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	ino := e.placeholder(cache.RootIno, "f", []byte("old version"))
	f := open(t, e.path("f"), os.O_RDONLY)
	got := make([]byte, 3)
	_, err := io.ReadFull(f, got)
	must(t, err)
	if _, err := e.cache.TrySwap(ino); !errors.Is(err, cache.ErrBusy) {
		t.Fatalf("swap of an open node: %v", err)
	}
	var fresh cache.Ino
	e.remote(func(tx *cache.Tx) error {
		n, err := tx.Node(ino)
		if err != nil {
			return err
		}
		n.Size, n.Content, n.Residency, n.Hash = 3, 0, cache.None, cache.Hash{}
		if fresh, err = tx.InsertNode(n); err != nil {
			return err
		}
		d, err := tx.DentryOf(ino)
		if err != nil {
			return err
		}
		return tx.SetDentryNode(d.ID, fresh)
	})
	e.hyd.set(fresh, []byte("new"))
	e.eventually("the name shows the new node", func() bool { return e.stat("f").Ino == uint64(fresh) })
	e.wantContent("f", []byte("new"))
	rest, err := io.ReadAll(f)
	must(t, err)
	if string(got)+string(rest) != "old version" {
		t.Fatalf("the handle read %q", string(got)+string(rest))
	}
}

func TestReadsNeverMixVersionsWhileTheyAreReplaced(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	const size = 256 << 10
	version := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, size+i) }
	ino := e.placeholder(cache.RootIno, "f", version(0))
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			data, err := os.ReadFile(e.path("f"))
			if err == nil && (len(data) < size || !bytes.Equal(data, bytes.Repeat(data[:1], len(data))) || int(data[0]-'a') != (len(data)-size)%26) {
				err = fmt.Errorf("%d bytes from %q to %q", len(data), data[:1], data[len(data)-1:])
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for i := range 40 {
		e.replace(ino, version(i+1))
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func TestRemoteRemovalTellsThoseWhoWatch(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", []byte("x")) // a change through the mount: no notification of it can come after the watch
	e.settled("f")
	ino := cache.Ino(e.stat("f").Ino)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, e.path("f"), unix.IN_DELETE_SELF)
	must(t, err)
	e.remote(func(tx *cache.Tx) error {
		d, err := tx.DentryOf(ino)
		if err != nil {
			return err
		}
		return tx.RemoveDentry(d.ID)
	})
	e.eventually("the watch fires", func() bool {
		n, err := unix.Read(fd, make([]byte, 256))
		return err == nil && n > 0
	})
}

func TestRemountForgetsNothing(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	must(t, os.Mkdir(e.path("d"), 0o755))
	e.write("d/f", []byte("text"))
	when := time.Unix(1_500_000_000, 0)
	must(t, os.Chtimes(e.path("d/f"), when, when))
	before := e.stat("d/f")
	e.unmount()
	e.mount()
	after := e.stat("d/f")
	if before.Ino != after.Ino || before.Mtim != after.Mtim || before.Size != after.Size {
		t.Fatalf("before %+v, after %+v", before, after)
	}
	e.wantContent("d/f", []byte("text"))
}

// Between a commit and its notification the kernel has the old size and the old pages. An open must not be fooled: reads
// would end where the old version did, appends begin there.
func TestOpenDoesNotNeedTheNotification(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.silence()
	ino := e.placeholder(cache.RootIno, "f", []byte("old"))
	for i := range 10 {
		e.wantContent("f", e.hyd.get(ino))
		fresh := bytes.Repeat([]byte{'a' + byte(i%26)}, 5000*(i+1))
		e.replace(ino, fresh)
		e.wantContent("f", fresh)

		fresh = bytes.Repeat([]byte{'A' + byte(i%26)}, 7000*(i+1))
		e.replace(ino, fresh)
		f := open(t, e.path("f"), os.O_RDWR|os.O_APPEND)
		_, err := f.WriteString("end")
		must(t, errors.Join(err, f.Close()))
		want := append(fresh, "end"...)
		e.wantContent("f", want)
		e.settled("f")
		e.hyd.set(ino, want)
	}
}

// The notification of a change may reach the kernel between its look at a file, for an open, and that open. The notification
// does not bring the new size, and what another thread is told may still be on its way.
func TestOpenNeedsTheSizeOfItsVersion(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	ino := e.placeholder(cache.RootIno, "f", bytes.Repeat([]byte("old"), 5000))
	st := e.stat("f")
	d := e.server.drive
	const mine, other = 1<<22 - 1, 1<<22 - 2
	asks := func(pid uint32) fuse.InHeader { return fuse.InHeader{NodeId: st.Ino, Caller: fuse.Caller{Pid: pid}} }
	opens := func(what string, pid uint32, want fuse.Status, flags uint32) {
		t.Helper()
		var out fuse.OpenOut
		if got := d.Open(nil, &fuse.OpenIn{InHeader: asks(pid)}, &out); got != want || got.Ok() && out.OpenFlags&fuse.FOPEN_DIRECT_IO != flags {
			t.Errorf("%s: %v with the flags %#x, want %v", what, got, out.OpenFlags, want)
		} else if got.Ok() {
			d.Release(nil, &fuse.ReleaseIn{InHeader: asks(pid), Fh: out.Fh})
		}
	}
	sent := func() { e.eventually("the notification is sent", func() bool { return !d.notifier.pending(ino) }) }
	replaced := func() {
		e.replace(ino, []byte("new"))
		sent()
	}
	sent()
	opens("never changed", mine, fuse.OK, 0)
	replaced()
	opens("looked at before", mine, fuse.Status(unix.ESTALE), 0)
	root := fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID, Caller: fuse.Caller{Pid: mine}}
	if s := d.Lookup(nil, &root, "f", &fuse.EntryOut{}); !s.Ok() {
		t.Fatal(s)
	}
	opens("looked up by another thread", other, fuse.Status(unix.ESTALE), 0)
	opens("looked up anew", mine, fuse.OK, 0)
	opens("by another thread, again", other, fuse.OK, fuse.FOPEN_DIRECT_IO)
	replaced()
	if s := d.GetAttr(nil, &fuse.GetAttrIn{InHeader: asks(mine)}, &fuse.AttrOut{}); !s.Ok() {
		t.Fatal(s)
	}
	opens("asked for its attributes", mine, fuse.OK, 0)
	replaced()
	replaced()
	opens("looked at before, again", mine, fuse.Status(unix.ESTALE), 0)
	replaced()
	opens("replaced once more", mine, fuse.OK, fuse.FOPEN_DIRECT_IO)
	opens("from another container", 0, fuse.OK, fuse.FOPEN_DIRECT_IO)
}

// A descriptor that is opened again has no name that the kernel could look up.
func TestReopeningADescriptorDoesNotNeedTheNotification(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.silence()
	ino := e.placeholder(cache.RootIno, "f", []byte("old"))
	e.wantContent("f", []byte("old"))
	fd, err := unix.Open(e.path("f"), unix.O_PATH, 0)
	must(t, err)
	defer unix.Close(fd)
	fresh := bytes.Repeat([]byte("fresh"), 1000)
	e.replace(ino, fresh)
	got, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
	must(t, err)
	if !bytes.Equal(got, fresh) {
		t.Fatalf("read %d bytes", len(got))
	}
	f := open(t, fmt.Sprintf("/proc/self/fd/%d", fd), os.O_WRONLY|os.O_APPEND)
	_, err = f.WriteString("end")
	must(t, errors.Join(err, f.Close()))
	e.wantContent("f", append(fresh, "end"...))
}

// The kernel may ask for a node that went before the notification of it came.
func TestANodeThatWentIsLookedUpAnew(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(path string) error{
		"open":     func(path string) error { _, err := os.ReadFile(path); return err },
		"truncate": func(path string) error { return os.Truncate(path, 1) },
		"chmod":    func(path string) error { return os.Chmod(path, 0o600) },
		"setxattr": func(path string) error { return unix.Setxattr(path, "user.a", []byte("1"), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := mounted(t)
			e.silence()
			old := e.placeholder(cache.RootIno, "f", []byte("old"))
			next := e.placeholder(cache.RootIno, "elsewhere", []byte("new"))
			if st := e.stat("f"); st.Ino != uint64(old) {
				t.Fatalf("inode %d", st.Ino)
			}
			e.remote(func(tx *cache.Tx) error {
				d, err := tx.DentryOf(old)
				if err != nil {
					return err
				}
				return tx.SetDentryNode(d.ID, next)
			})
			if _, err := e.cache.Attr(old); !errors.Is(err, cache.ErrNotFound) {
				t.Fatalf("the old node is still there: %v", err)
			}
			must(t, use(e.path("f")))
			if st := e.stat("f"); st.Ino != uint64(next) {
				t.Errorf("inode %d afterwards, want %d", st.Ino, next)
			}
		})
	}
}
