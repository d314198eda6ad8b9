package integration

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHolesAndAllocation(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	h, err := os.Create(f.path("file"))
	must(t, err)
	defer h.Close()
	fd := int(h.Fd())
	size := func(want int64) {
		t.Helper()
		if got := statOf(t, f.path("file")).Size; got != want {
			t.Errorf("size %d, want %d", got, want)
		}
	}
	text := bytes.Repeat([]byte("text"), 16<<10)
	_, err = h.Write(text)
	must(t, err)
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 8<<10, 16<<10))
	clear(text[8<<10 : 24<<10])
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, 40_000, 100))
	clear(text[40_000:40_100])
	size(64 << 10)
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 64<<10, 64<<10))
	size(64 << 10)
	must(t, unix.Fallocate(fd, 0, 64<<10, 1000))
	size(64<<10 + 1000)
	text = append(text, make([]byte, 1000)...)
	wants(t, f.path("file"), string(text))
	for _, c := range []struct {
		name   string
		whence int
		from   int64
		want   int64
	}{
		{"data at the beginning", unix.SEEK_DATA, 0, 0},
		{"a hole behind it", unix.SEEK_HOLE, 0, 8 << 10},
		{"data behind the hole", unix.SEEK_DATA, 9 << 10, 24 << 10},
	} {
		got, err := unix.Seek(fd, c.from, c.whence)
		must(t, err)
		if got != c.want {
			t.Errorf("%s: at %d, want %d", c.name, got, c.want)
		}
	}
	if _, err := unix.Seek(fd, 1<<20, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
		t.Errorf("data behind the end: %v", err)
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a range taken out: %v", err)
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE, 0, 4096); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a hole that may change the size: %v", err)
	}
	must(t, h.Close())
	f.settled()
}

func TestLocksExcludeEachOther(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "0123456789")
	open := func() *os.File {
		t.Helper()
		h, err := os.OpenFile(f.path("file"), os.O_RDWR, 0)
		must(t, err)
		return h
	}
	a, b := open(), open()
	defer b.Close()
	must(t, unix.Flock(int(a.Fd()), unix.LOCK_SH))
	must(t, unix.Flock(int(b.Fd()), unix.LOCK_SH|unix.LOCK_NB))
	if err := unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("an exclusive flock beside a shared one: %v", err)
	}
	// Locks of the open file, not of the process: one process can see them exclude each other.
	lock := func(h *os.File, kind int16, from, n int64) error {
		return unix.FcntlFlock(h.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: from, Len: n})
	}
	must(t, lock(a, unix.F_WRLCK, 0, 5))
	must(t, lock(b, unix.F_WRLCK, 5, 5))
	if err := lock(b, unix.F_RDLCK, 4, 1); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
		t.Errorf("a range lock over another: %v", err)
	}
	held := unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 1}
	must(t, unix.FcntlFlock(b.Fd(), unix.F_OFD_GETLK, &held))
	if held.Type != unix.F_WRLCK || held.Start != 0 || held.Len != 5 {
		t.Errorf("the lock in the way is %+v", held)
	}
	must(t, a.Close())
	must(t, lock(b, unix.F_WRLCK, 0, 5))
	must(t, unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

func TestAProgramThatRunsIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	need(t, "sleep", "cp")
	f := mounted(t, "")
	program, err := exec.LookPath("sleep")
	must(t, err)
	// By cp: a child of this process may hold a copy of what this process has open for writing for a moment.
	sh(t, f.at, "cp", program, f.path("program"))
	cmd := exec.Command(f.path("program"), "1000")
	must(t, cmd.Start())
	for name, do := range map[string]func() error{
		"opened for writing": opens(f.path("program"), unix.O_WRONLY),
		"truncated":          func() error { return os.Truncate(f.path("program"), 0) },
	} {
		if err := do(); !errors.Is(err, unix.ETXTBSY) {
			t.Errorf("a program %s while it runs: %v", name, err)
		}
	}
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("the killed program ended well")
	}
	h, err := os.OpenFile(f.path("program"), os.O_WRONLY, 0)
	must(t, err)
	defer h.Close()
	if err := exec.Command(f.path("program"), "0").Run(); !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("a program started while it is open for writing: %v", err)
	}
}

func TestUnlinkedFilesLiveAsLongAsTheyAreOpen(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "first")
	f.sync()
	h, err := os.OpenFile(f.path("file"), os.O_RDWR, 0)
	must(t, err)
	defer h.Close()
	second, err := os.Open(f.path("file"))
	must(t, err)
	defer second.Close()
	must(t, os.Remove(f.path("file")))
	absent(t, f.path("file"))
	_, err = h.WriteAt([]byte(" and more"), 5)
	must(t, err)
	must(t, h.Truncate(10))
	must(t, h.Chmod(0o600))
	must(t, h.Sync())
	if st := statOpen(t, h); st.Nlink != 0 || st.Size != 10 || st.Mode&0o777 != 0o600 {
		t.Errorf("%d links, %d bytes, mode %o", st.Nlink, st.Size, st.Mode)
	}
	write(t, f.path("file"), "another")
	got, err := io.ReadAll(second)
	must(t, err)
	if string(got) != "first and " {
		t.Errorf("the other handle reads %q", got)
	}
	wants(t, f.path("file"), "another")
	f.sync()
	wants(t, f.behind("file"), "another")
	must(t, h.Close())
	must(t, second.Close())
	f.settled()
}

func TestMappedPages(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), string(bytes.Repeat([]byte("."), 10_000)))
	h, err := os.OpenFile(f.path("file"), os.O_RDWR, 0)
	must(t, err)
	defer h.Close()
	shared, err := unix.Mmap(int(h.Fd()), 0, 10_000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	private, err := unix.Mmap(int(h.Fd()), 0, 10_000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	must(t, err)

	copy(private, "private")
	copy(shared[5000:], "shared")
	_, err = h.WriteAt([]byte("written"), 9000)
	must(t, err)
	got := make([]byte, 10_000)
	_, err = h.ReadAt(got, 0)
	must(t, err)
	want := bytes.Repeat([]byte("."), 10_000)
	copy(want[5000:], "shared")
	copy(want[9000:], "written")
	if !bytes.Equal(got, want) || !bytes.Equal(shared, want) {
		t.Errorf("read: %s; mapped: %s", differ(got, want), differ(shared, want))
	}
	if got := string(private[:8]); got != "private." {
		t.Errorf("the private map has %q", got)
	}
	must(t, os.Remove(f.path("file")))
	copy(shared, "without a name")
	must(t, unix.Msync(shared, unix.MS_SYNC))
	_, err = h.ReadAt(got, 0)
	must(t, err)
	if !bytes.HasPrefix(got, []byte("without a name")) {
		t.Errorf("what was mapped of an unlinked file reads %q", got[:20])
	}
	must(t, unix.Munmap(shared))
	must(t, unix.Munmap(private))
}

// Bytes stored through a map reach the directory, however the program ends.
func TestMappedStoresAreSent(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), string(make([]byte, 100_000)))
	f.sync()
	h, err := os.OpenFile(f.path("file"), os.O_RDWR, 0)
	must(t, err)
	pages, err := unix.Mmap(int(h.Fd()), 0, 100_000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	must(t, h.Close()) // the map keeps the file open
	want := make([]byte, 100_000)
	for at := 0; at < len(want); at += 7000 {
		copy(pages[at:], "mapped")
		copy(want[at:], "mapped")
	}
	must(t, unix.Munmap(pages))
	f.settled()
	wants(t, f.behind("file"), string(want))
}
