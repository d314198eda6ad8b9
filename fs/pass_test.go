package fs

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// refuser is a kernel that passes nothing through.
type refuser struct {
	passer
	asked int
}

func (r *refuser) RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno) {
	r.asked++
	return 0, syscall.ELOOP
}

func TestAfterTheFirstRefusalNothingIsPassed(t *testing.T) {
	t.Parallel()
	c, err := cache.Open(t.Context(), cache.Options{Dir: t.TempDir()})
	must(t, err)
	d := newDrive(Options{Cache: c, Room: &fakeRoom{}, Logger: slog.New(slog.DiscardHandler)})
	r := &refuser{}
	d.ways.init(r, true)
	for _, name := range []string{"a", "b"} {
		in := &fuse.CreateIn{InHeader: fuse.InHeader{NodeId: uint64(cache.RootIno)}, Flags: unix.O_RDWR, Mode: 0o644}
		var out fuse.CreateOut
		if s := d.Create(nil, in, name, &out); !s.Ok() || out.OpenFlags&fuse.FOPEN_PASSTHROUGH != 0 {
			t.Fatalf("create %s: %v with flags %#x", name, s, out.OpenFlags)
		}
		write := &fuse.WriteIn{InHeader: fuse.InHeader{NodeId: out.NodeId}, Fh: out.Fh}
		if n, s := d.Write(nil, write, []byte("text")); !s.Ok() || n != 4 {
			t.Errorf("write %s: %d bytes, %v", name, n, s)
		}
		d.Release(nil, &fuse.ReleaseIn{InHeader: fuse.InHeader{NodeId: out.NodeId}, Fh: out.Fh})
		must(t, c.SettleHeld(t.Context()))
		if n, err := c.Attr(cache.Ino(out.NodeId)); err != nil || n.Size != 4 || n.Writing {
			t.Errorf("%s is %+v after the close: %v", name, n, err)
		}
	}
	if r.asked != 1 {
		t.Errorf("the kernel was asked %d times, want once", r.asked)
	}
	d.notifier.feed.Close()
	must(t, c.Close())
}

// Whether files are passed or not, and whoever opens first, all handles see one file.
func TestHandlesOfAllKindsSeeOneFile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"passed": func(*Options) {}, "by requests": func(o *Options) { o.NoPassthrough = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for first, flags := range map[string]int{
				"reader": os.O_RDONLY, "writer": os.O_WRONLY, "both": os.O_RDWR, "appender": os.O_WRONLY | os.O_APPEND,
				"sync": os.O_WRONLY | os.O_SYNC, "truncating": os.O_WRONLY | os.O_TRUNC,
			} {
				e := mounted(t, change)
				e.write("f", []byte("0123456789"))
				model := []byte("0123456789")
				if flags&os.O_TRUNC != 0 {
					model = nil
				}
				handles := []*os.File{open(t, e.path("f"), flags)}
				check := func(what string) {
					t.Helper()
					e.wantContent("f", model)
					if st := e.stat("f"); st.Size != int64(len(model)) {
						t.Errorf("%s first, after %s: size is %d, want %d", first, what, st.Size, len(model))
					}
				}
				check("the first open")
				r, w := open(t, e.path("f"), os.O_RDONLY), open(t, e.path("f"), os.O_RDWR)
				a, s := open(t, e.path("f"), os.O_WRONLY|os.O_APPEND), open(t, e.path("f"), os.O_WRONLY|os.O_SYNC)
				handles = append(handles, r, w, a, s)
				put := func(f *os.File, text string, at int) {
					t.Helper()
					_, err := f.WriteAt([]byte(text), int64(at))
					must(t, err)
					if grow := at + len(text) - len(model); grow > 0 {
						model = append(model, make([]byte, grow)...)
					}
					copy(model[at:], text)
				}
				put(w, "abc", 3)
				check("a write")
				_, err := a.WriteString("end")
				must(t, err)
				model = append(model, "end"...)
				check("an append")
				put(s, "sync", 20)
				check("a synced write")
				must(t, w.Truncate(5))
				model = model[:5]
				check("a truncation")
				must(t, os.Truncate(e.path("f"), 9000))
				model = append(model, make([]byte, 8995)...)
				check("a growth")
				pages, err := unix.Mmap(int(w.Fd()), 0, 9000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				must(t, err)
				if name == "passed" { // else the page fault is a request to this process
					copy(pages[8000:], "mapped")
					copy(model[8000:], "mapped")
					check("a store")
				}
				must(t, unix.Munmap(pages))
				got := make([]byte, 10_000)
				n, err := r.ReadAt(got, 0)
				if !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], model) {
					t.Errorf("%s first: the reader has %d other bytes: %v", first, n, err)
				}
				h := open(t, e.path("f"), os.O_WRONLY|os.O_TRUNC)
				handles = append(handles, h)
				model = nil
				put(w, "anew", 0)
				check("O_TRUNC")
				for _, h := range handles {
					must(t, h.Close())
				}
				check("the end")
				e.settled("f")
				check("the settle")
			}
		})
	}
}

func TestStoresToAPassedMappingMoveTheTimeAtOnce(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	if e.server.drive.ways.off.Load() {
		t.Skip("nothing is passed here")
	}
	e.write("f", make([]byte, 8192))
	e.settled("f")
	old := time.Unix(1_000_000_000, 0)
	must(t, os.Chtimes(e.path("f"), old, old))
	if st := e.stat("f"); st.Mtim.Nano() != old.UnixNano() {
		t.Fatalf("mtime is %d, want %d", st.Mtim.Nano(), old.UnixNano())
	}
	f := open(t, e.path("f"), os.O_RDWR)
	pages, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	must(t, f.Close())
	e.stat("f")
	pages[0] = 1
	moved := e.stat("f")
	first := moved.Mtim.Nano()
	if first == old.UnixNano() {
		t.Error("a store does not move the time")
	}
	must(t, unix.Munmap(pages))
	ino := cache.Ino(e.stat("f").Ino)
	e.eventually("the file is settled", func() bool {
		must(t, e.cache.SettleHeld(t.Context()))
		n, err := e.cache.Attr(ino)
		must(t, err)
		return !n.Writing
	})
	if st := e.stat("f"); st.Mtim.Nano() != first {
		t.Errorf("mtime is %d after the settle, want %d", st.Mtim.Nano(), first)
	}
}
