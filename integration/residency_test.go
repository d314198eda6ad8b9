package integration

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPinKeepsAndOffloadRefusesWhatIsPinned(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.MkdirAll(f.behind("keep/sub"), 0o755))
	write(t, f.behind("keep/file"), "pinned by its directory")
	write(t, f.behind("keep/sub/deep"), "too")
	write(t, f.behind("other"), "not pinned")
	f.mount()

	f.do("pin", "--wait", f.path("keep"))
	for name, want := range map[string]string{"keep/file": "full", "keep/sub/deep": "full", "other": "none"} {
		if i := f.info(name)[0]; i.Residency != want {
			t.Errorf("after the pin %s is %s, want %s", name, i.Residency, want)
		}
	}
	if i := f.info("keep/sub/deep")[0]; i.Pin != "pinned" || i.PinFrom != "inherited" {
		t.Errorf("the pin of a file below: %+v", i)
	}
	write(t, f.behind("keep/late"), "arrives after the pin")
	f.becomesFullAfterArrival("keep/late")

	if r := f.run("offload", f.path("keep")); r.Code != 3 && r.Code != 7 || !strings.Contains(r.Stderr, "pin") {
		t.Errorf("offload of what is pinned: want a refusal that says so, got %s", r)
	}
	if i := f.info("keep/file")[0]; i.Residency != "full" {
		t.Errorf("a refused offload dropped bytes: %+v", i)
	}
	f.do("offload", "--include-pinned", f.path("keep/file"))
	if i := f.info("keep/file")[0]; i.Residency != "none" {
		t.Errorf("offload --include-pinned left it %s", i.Residency)
	}
	f.do("unpin", f.path("keep"))
	f.do("fetch", "--wait", f.path("other"))
	f.do("offload", "--dry-run", f.path("keep"), f.path("other"))
	if i := f.info("other")[0]; i.Residency != "full" {
		t.Errorf("fetched, then offloaded for show, it is %s", i.Residency)
	}
	f.do("offload", f.path("keep"), f.path("other"))
	if held := f.status().Cache.Bytes; held != 0 {
		t.Errorf("everything offloaded, and %d bytes are here", held)
	}
	f.settled()
}

// becomesFullAfterArrival waits for a file made in the directory to be here whole.
func (f *fixture) becomesFullAfterArrival(name string) {
	f.t.Helper()
	eventually(f.t, name+" arrives", func() bool {
		_, err := os.Lstat(f.path(name))
		return err == nil
	})
	f.becomesFull([]string{name})
}

func TestOffloadRefusesWhatIsNotSentYet(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	f.do("pause")
	write(t, f.path("unsent"), "nobody else has this")
	if r := f.run("offload", f.path("unsent")); r.Code == 0 {
		t.Errorf("offload dropped the only copy: %s", r)
	}
	wants(t, f.path("unsent"), "nobody else has this")
	f.do("resume")
	f.sync()
	f.do("offload", f.path("unsent"))
	wants(t, f.path("unsent"), "nobody else has this")
}

func TestMetadataNeverHydrates(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	big := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	must(t, os.WriteFile(f.behind("big"), big, 0o644))
	must(t, os.WriteFile(f.behind("doomed"), big, 0o644))
	must(t, os.WriteFile(f.behind("emptied"), big, 0o644))
	f.mount()
	sh(t, f.at, "ls", "-lR", ".")
	must(t, os.Rename(f.path("big"), f.path("renamed")))
	must(t, os.Chmod(f.path("renamed"), 0o600))
	h, err := os.Open(f.path("renamed"))
	must(t, err)
	must(t, h.Close())
	must(t, os.Remove(f.path("doomed")))
	must(t, os.Truncate(f.path("emptied"), 0))
	if held := f.status().Cache.Bytes; held != 0 {
		t.Errorf("metadata operations fetched %d bytes", held)
	}
	// A read of a part fetches no more than it needs at first, and never zeros.
	h, err = os.Open(f.path("renamed"))
	must(t, err)
	defer h.Close()
	part := make([]byte, 4096)
	_, err = h.ReadAt(part, 512<<10)
	must(t, err)
	if !bytes.Equal(part, big[512<<10:][:4096]) {
		t.Error("a part of a file that is not here reads wrong")
	}
	f.settled()
}

func TestVirtualAttributes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("file"), "text")
	f.mount()
	get := func(name string) string {
		t.Helper()
		value := make([]byte, 256)
		n, err := unix.Getxattr(f.path("file"), name, value)
		must(t, err)
		return string(value[:n])
	}
	if got := get("user.vdfs.state"); got != "cloud" {
		t.Errorf("before it is read the state is %q, want cloud", got)
	}
	wants(t, f.path("file"), "text")
	eventually(t, "the state is local", func() bool { return get("user.vdfs.state") == "local" })
	if got := get("user.vdfs.local_bytes"); got != "4" {
		t.Errorf("user.vdfs.local_bytes is %q, want 4", got)
	}
	must(t, unix.Setxattr(f.path("file"), "user.vdfs.pin", []byte("pinned"), 0))
	if got := get("user.vdfs.pin"); got != "pinned" {
		t.Errorf("after pinning user.vdfs.pin is %q", got)
	}
	if i := f.info("file")[0]; i.Pin != "pinned" || i.PinFrom != "self" {
		t.Errorf("after pinning by attribute: %+v", i)
	}
	must(t, unix.Removexattr(f.path("file"), "user.vdfs.pin"))
	if i := f.info("file")[0]; i.Pin == "pinned" {
		t.Errorf("after removing the attribute: %+v", i)
	}
	list := make([]byte, 1024)
	n, err := unix.Listxattr(f.path("file"), list)
	must(t, err)
	if strings.Contains(string(list[:n]), "vdfs") {
		t.Errorf("virtual attributes are listed: %q", list[:n])
	}
	must(t, unix.Setxattr(f.path("file"), "user.mine", []byte("kept"), 0))
	if got := get("user.mine"); got != "kept" {
		t.Errorf("an attribute of one's own is %q", got)
	}
}

func TestAPartThatWasReadCanBeFreed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	text := bytes.Repeat([]byte("some of it is read. "), 3<<20)
	must(t, os.WriteFile(f.behind("big"), text, 0o644))
	f.mount()
	part := make([]byte, 4<<10)
	read := func() {
		t.Helper()
		big, err := os.Open(f.path("big"))
		must(t, err)
		_, err = big.ReadAt(part, 1<<20)
		must(t, errors.Join(err, big.Close()))
		if !bytes.Equal(part, text[1<<20:][:len(part)]) {
			t.Error("what was read is not what is there")
		}
	}
	read()
	eventually(t, "a part is here, and nothing more comes", func() bool {
		before := f.info("big")[0]
		return before.Residency == "partial" && f.run("offload", f.path("big")).Code == 0
	})
	if i := f.info("big")[0]; i.Residency != "none" || f.status().Cache.Bytes != 0 {
		t.Errorf("after the offload it is %+v", i)
	}
	read()

	// What the storage has no more is not dropped: nobody else has that part.
	eventually(t, "a part is here again", func() bool { return f.info("big")[0].Residency == "partial" })
	f.do("pause")
	must(t, os.WriteFile(f.behind("big"), []byte("another"), 0o644))
	eventually(t, "offload finds that it is not proved", func() bool {
		r := f.run("offload", f.path("big"))
		return r.Code == 3 && strings.Contains(r.Stderr, "proved")
	})
	if i := f.info("big")[0]; i.LocalBytes == 0 {
		t.Errorf("the part is gone: %+v", i)
	}
	f.do("resume")
}
