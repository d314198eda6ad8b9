package integration

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// As root files are passed to the kernel, which reads and writes them by itself; as an ordinary user these tests demand the
// same without.

func TestAMappingThatOutlivesItsDescriptorIsSentAsItIsInTheEnd(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	size := 3 * os.Getpagesize()
	h, err := os.OpenFile(f.path("file"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	must(t, h.Truncate(int64(size)))
	pages, err := unix.Mmap(int(h.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	must(t, h.Close())
	text := make([]byte, size)
	for i, word := range []string{"first", "second", "third"} {
		at := i * os.Getpagesize()
		copy(pages[at:], word)
		copy(text[at:], word)
		wants(t, f.path("file"), string(text))
		f.run("sync", "--wait", "--timeout", "5s") // may find it in use
	}
	// A page that was written to is written to again: that moves no time.
	copy(pages, "FIRST")
	copy(text, "FIRST")
	must(t, unix.Munmap(pages))
	eventually(t, "the last stores are sent", func() bool {
		got, err := os.ReadFile(f.behind("file"))
		return err == nil && string(got) == string(text)
	})
	f.settled()
}

func TestADescriptorThatOutlivesTheDaemonLosesNothing(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	h, err := os.OpenFile(f.path("file"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	put := func(text string) bool {
		_, err := h.WriteString(text)
		return err == nil
	}
	if !put("before") {
		t.Fatal("the mount takes no write")
	}
	want := "before"
	must(t, f.Kill())
	if put(", while it was dead") {
		want += ", while it was dead"
	}
	f.mount()
	wants(t, f.path("file"), want)
	f.run("sync", "--wait", "--timeout", "5s") // may find it in use
	if put(", and after") {
		want += ", and after"
	}
	_ = h.Close() // it belongs to the mount that died
	wants(t, f.path("file"), want)
	f.settled()
	wants(t, f.behind("file"), want)
}

func TestAFileThatIsOpenedForWritingAndNotWrittenToIsNotSent(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "text")
	old := time.Unix(1_000_000_000, 0)
	must(t, os.Chtimes(f.path("file"), old, old))
	f.settled()
	stat := func() (st unix.Stat_t) {
		t.Helper()
		must(t, unix.Stat(f.behind("file"), &st))
		return st
	}
	before, hash := stat(), f.info("file")[0].Hash
	if hash == "" {
		t.Error("the hash of a file that was sent is not known")
	}
	for _, flags := range []int{os.O_RDWR, os.O_WRONLY, os.O_WRONLY | os.O_APPEND} {
		r, err := os.Open(f.path("file"))
		must(t, err)
		for range 2 {
			h, err := os.OpenFile(f.path("file"), flags, 0)
			must(t, err)
			must(t, h.Close())
		}
		must(t, r.Close())
		f.settled()
		if after := stat(); after.Ino != before.Ino || after.Ctim != before.Ctim {
			t.Errorf("opened with %#x and closed it was sent again", flags)
		}
		if got := f.info("file")[0].Hash; got != hash {
			t.Errorf("opened with %#x and closed its hash is %q, want %q", flags, got, hash)
		}
	}
	f.do("offload", f.path("file")) // an endpoint has this very version
	wants(t, f.path("file"), "text")
}

func TestAFileThatIsBeingReadIsNotFreed(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "text")
	f.settled()
	r, err := os.Open(f.path("file"))
	must(t, err)
	f.run("offload", f.path("file"))
	if info := f.info("file")[0]; info.Residency != "full" || info.OpenHandles == 0 {
		t.Errorf("open and to be freed it is %s with %d handles", info.Residency, info.OpenHandles)
	}
	write(t, f.behind("other"), "another version")
	must(t, os.Rename(f.behind("other"), f.behind("file")))
	eventually(t, "the drive has the new version", func() bool { return read(t, f.path("file")) == "another version" })
	got := make([]byte, 100)
	n, err := r.ReadAt(got, 0)
	if string(got[:n]) != "text" {
		t.Errorf("who has it open reads %q (%v), want the version that was opened", got[:n], err)
	}
	must(t, r.Close())
	f.settled()
	f.do("offload", f.path("file"))
}
