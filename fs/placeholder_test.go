package fs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/cache"
)

func TestPlaceholdersAreNotFetchedByWhatNeedsNoBytes(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("far"), 1000)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		e.placeholder(cache.RootIno, name, data)
	}
	if st := e.stat("a"); st.Size != 3000 || st.Blocks < 1 {
		t.Fatalf("size %d, %d blocks", st.Size, st.Blocks)
	}
	_, err := os.ReadDir(e.mnt)
	must(t, err)
	f := open(t, e.path("a"), os.O_RDONLY)
	at, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	must(t, err)
	if at != 3000 {
		t.Fatalf("a hole at %d", at)
	}
	must(t, f.Close())
	must(t, os.Rename(e.path("a"), e.path("a2")))
	must(t, os.Rename(e.path("b"), e.path("a2")))
	must(t, os.Chmod(e.path("c"), 0o600))
	must(t, os.Chtimes(e.path("c"), time.Now(), time.Now()))
	must(t, os.Link(e.path("c"), e.path("c2")))
	must(t, os.Remove(e.path("d")))
	f = open(t, e.path("e"), os.O_WRONLY|os.O_TRUNC)
	_, err = f.WriteString("mine")
	must(t, errors.Join(err, f.Close()))
	e.wantContent("e", []byte("mine"))
	must(t, os.Truncate(e.path("f"), 0))
	must(t, os.Truncate(e.path("c"), 3000))
	// touch(1)
	f = open(t, e.path("c"), os.O_WRONLY|os.O_CREATE)
	must(t, f.Close())
	if n := e.hyd.fetches(); n != 0 {
		t.Fatalf("%d fetches", n)
	}
	e.wantContent("c", data)
}

func TestReadWaitsForItsOwnRange(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	ino := e.placeholder(cache.RootIno, "f", data)
	f := open(t, e.path("f"), os.O_RDONLY)
	got := make([]byte, 1000)
	_, err := f.ReadAt(got, 500_000)
	must(t, err)
	if !bytes.Equal(got, data[500_000:501_000]) {
		t.Fatalf("read %.20q", got)
	}
	n, err := e.cache.Attr(ino)
	must(t, err)
	if n.Residency == cache.Full || e.hyd.completed.Load() != 0 {
		t.Fatal("the whole file was fetched")
	}
	e.wantContent("f", data)
}

func TestWritingCompletesTheFileFirst(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("far"), 100_000)
	changes := map[string]func(f *os.File) error{
		"write":    func(f *os.File) error { _, err := f.WriteAt([]byte("NEW"), 3); return err },
		"truncate": func(f *os.File) error { return f.Truncate(1000) },
		"allocate": func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 0, 400_000) },
		"append":   func(f *os.File) error { _, err := f.WriteAt([]byte("end"), 300_000); return err },
	}
	wants := map[string][]byte{
		"write":    append([]byte("farNEW"), data[6:]...),
		"truncate": data[:1000],
		"allocate": append(bytes.Clone(data), make([]byte, 100_000)...),
		"append":   append(bytes.Clone(data), "end"...),
	}
	for name, change := range changes {
		e.placeholder(cache.RootIno, name, data)
		f := open(t, e.path(name), os.O_RDWR)
		must(t, change(f))
		must(t, f.Close())
		e.wantContent(name, wants[name])
	}
	e.placeholder(cache.RootIno, "by path", data)
	must(t, os.Truncate(e.path("by path"), 10))
	e.wantContent("by path", data[:10])
}

func TestToCutAFileOnlyWhatStaysIsFetched(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	e.placeholder(cache.RootIno, "handle", data)
	e.placeholder(cache.RootIno, "path", data)
	f := open(t, e.path("handle"), os.O_RDWR)
	must(t, f.Truncate(1000))
	must(t, f.Close())
	must(t, os.Truncate(e.path("path"), 1000))
	if n := e.hyd.completed.Load(); n != 0 {
		t.Errorf("the whole file was fetched %d times", n)
	}
	for _, name := range []string{"handle", "path"} {
		e.wantContent(name, data[:1000])
		must(t, os.Truncate(e.path(name), 2000))
		e.wantContent(name, append(bytes.Clone(data[:1000]), make([]byte, 1000)...))
	}
	e.placeholder(cache.RootIno, "longer", data)
	must(t, os.Truncate(e.path("longer"), int64(len(data))+10))
	e.wantContent("longer", append(bytes.Clone(data), make([]byte, 10)...))
}

func TestHoldingOpenForWritingStartsCompletion(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	ino := e.placeholder(cache.RootIno, "f", []byte("far away"))
	open(t, e.path("f"), os.O_RDWR)
	e.eventually("the file is here", func() bool {
		n, err := e.cache.Attr(ino)
		return err == nil && n.Residency == cache.Full
	})
}

func TestStartingAProgramStartsCompletion(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	program, err := os.ReadFile("/bin/true")
	must(t, err)
	ino := e.placeholder(cache.RootIno, "true", program)
	must(t, os.Chmod(e.path("true"), 0o755))
	f := open(t, e.path("true"), os.O_RDONLY)
	must(t, f.Close())
	if n := e.hyd.begun.Load(); n != 0 {
		t.Fatalf("opened to be read, it was completed %d times", n)
	}
	// By a shell: this process serves the mount, and must not wait for it while it forks.
	must(t, exec.Command("/bin/sh", "-c", `exec "$0"`, e.path("true")).Run())
	if n := e.hyd.begun.Load(); n != 1 {
		t.Errorf("started, it was completed %d times", n)
	}
	e.eventually("the file is here", func() bool {
		n, err := e.cache.Attr(ino)
		return err == nil && n.Residency == cache.Full
	})
}

func TestReadsOfWhatIsHereAreToldWhileSomethingIsMissing(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	e.placeholder(cache.RootIno, "f", data)
	e.write("here", data)
	first := open(t, e.path("f"), os.O_RDONLY)
	got := make([]byte, 100_000)
	_, err := first.ReadAt(got, 0)
	must(t, err)
	ensured := e.hyd.ensured.Load()
	// Another open drops the kernel's pages of what was not verified.
	second := open(t, e.path("f"), os.O_RDONLY)
	_, err = second.ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, data[:len(got)]) {
		t.Error("it reads wrong")
	}
	if end := e.hyd.ahead.Load(); end < int64(len(got))/2 {
		t.Errorf("told of reads up to %d", end)
	}
	if n := e.hyd.ensured.Load(); n > ensured+1 { // the kernel's read-ahead may want more
		t.Errorf("what was here was waited for %d times", n-ensured)
	}
	e.hyd.ahead.Store(0)
	e.wantContent("here", data)
	if end := e.hyd.ahead.Load(); end != 0 {
		t.Errorf("of a file that is here, told of reads up to %d", end)
	}
}

func TestUnreachableEndpoint(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.placeholder(cache.RootIno, "far", []byte("far"))
	e.write("near", []byte("near"))
	e.hyd.setOffline(true)
	_, err := os.Open(e.path("far"))
	wantErrno(t, err, unix.ENETUNREACH)
	e.wantContent("near", []byte("near"))
	e.write("near", []byte("changed"))
	must(t, os.Rename(e.path("far"), e.path("far2")))
	f := open(t, e.path("far2"), os.O_WRONLY)
	_, err = f.WriteString("x")
	wantErrno(t, err, unix.ENETUNREACH)
	must(t, f.Close())
	e.hyd.setOffline(false)
	e.wantContent("far2", []byte("far"))
}

func TestAFileReplacedWhileItIsOpenedIsOpenedAnew(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	old := e.placeholder(cache.RootIno, "f", []byte("old"))
	next := e.placeholder(cache.RootIno, "elsewhere", []byte("the new version"))
	e.hyd.next(func() error {
		// An endpoint's change takes the name away from the node that is being opened, and its bytes with it.
		e.remote(func(tx *cache.Tx) error {
			d, err := tx.DentryOf(old)
			if err != nil {
				return err
			}
			return tx.SetDentryNode(d.ID, next)
		})
		return errnoError(unix.ENETUNREACH)
	})
	e.wantContent("f", []byte("the new version"))
}

func TestBlockedReadIsInterruptible(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.placeholder(cache.RootIno, "f", bytes.Repeat([]byte("x"), 8192))
	e.write("near", []byte("near"))
	release := e.hyd.block()
	defer release()

	t.Run("by a signal", func(t *testing.T) {
		cmd := helper(t, "direct-read", e.path("f"))
		pipe, err := cmd.StdoutPipe()
		must(t, err)
		out := bufio.NewReader(pipe)
		must(t, cmd.Start())
		thread, err := out.ReadString('\n')
		must(t, err)
		tid, err := strconv.Atoi(strings.TrimSpace(thread))
		must(t, err)
		e.eventually("the read waits", func() bool { return e.hyd.waiting.Load() == 1 })
		must(t, unix.Tgkill(cmd.Process.Pid, tid, unix.SIGUSR1))
		said, err := out.ReadString('\n')
		must(t, err)
		must(t, cmd.Wait())
		if strings.TrimSpace(said) != unix.EINTR.Error() {
			t.Fatalf("the read ended with %q", said)
		}
		e.eventually("its wait ended", func() bool { return e.hyd.waiting.Load() == 0 })
	})
	t.Run("by a kill", func(t *testing.T) {
		cmd := helper(t, "read", e.path("f"))
		must(t, cmd.Start())
		e.eventually("the read waits", func() bool { return e.hyd.waiting.Load() == 1 })
		endsWhenKilled(t, cmd)
	})
	// Everything else works meanwhile.
	var st unix.Statfs_t
	must(t, unix.Statfs(e.mnt, &st))
	e.wantContent("near", []byte("near"))
	e.stat("f")
	_, err := os.ReadDir(e.mnt)
	must(t, err)
	release()
	e.wantContent("f", bytes.Repeat([]byte("x"), 8192))
}

func TestWhoNeedsBytesIsTold(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("x"), 8192)
	e.placeholder(cache.RootIno, "read", data)
	e.placeholder(cache.RootIno, "written", data)
	e.placeholder(cache.RootIno, "cut", data)
	for name, args := range map[string][]string{
		"read":    {"cat", e.path("read")},
		"written": {"dd", "if=/dev/zero", "of=" + e.path("written"), "bs=1", "count=1", "conv=notrunc"},
		"cut":     {"truncate", "-s", "10", e.path("cut")},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		must(t, cmd.Start())
		pid := uint32(cmd.Process.Pid)
		must(t, cmd.Wait())
		if got := e.hyd.pid.Load(); got != pid {
			t.Errorf("%s: bytes were needed by process %d, want %d", name, got, pid)
		}
	}
}

func TestARefusedReadLeavesTheFileAsItIs(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	e.placeholder(cache.RootIno, "f", data)
	const head = 64 << 10
	e.hyd.refuse(func(off, n int64) bool { return off+n > head })
	f := open(t, e.path("f"), os.O_RDONLY)
	got := make([]byte, len(data))
	n, err := io.ReadFull(f, got)
	wantErrno(t, err, unix.EPERM)
	if n != head || !bytes.Equal(got[:n], data[:n]) {
		t.Fatalf("read %d bytes before the refusal, want the head", n)
	}
	if st := e.stat("f"); st.Size != int64(len(data)) {
		t.Fatalf("the size is %d now", st.Size)
	}
	e.hyd.refuse(nil)
	_, err = f.ReadAt(got, 0) // on the handle that was refused
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Fatal("after the refusal the file reads wrong")
	}
	must(t, f.Close())
	e.wantContent("f", data)
}

func TestBackupToolsAreToldTheTruth(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	for _, size := range []int64{1, 511, 4096, 1 << 20} {
		name := strconv.FormatInt(size, 10)
		e.placeholder(cache.RootIno, name, bytes.Repeat([]byte("x"), int(size)))
		if st := e.stat(name); st.Blocks*512 < size {
			t.Errorf("a file of %d bytes that is not here has %d blocks", size, st.Blocks)
		}
		f := open(t, e.path(name), os.O_RDONLY)
		for _, off := range []int64{0, size / 2, size - 1} {
			data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
			must(t, err)
			hole, err := unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE)
			must(t, err)
			if data != off || hole != size {
				t.Errorf("of %d bytes at %d: data at %d, a hole at %d", size, off, data, hole)
			}
		}
		must(t, f.Close())
	}
	if n := e.hyd.fetches(); n != 0 {
		t.Fatalf("%d fetches", n)
	}
}
