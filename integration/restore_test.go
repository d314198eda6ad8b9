package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/tree"
)

// version is one line of `vdfs restore --list --json`.
type version struct {
	Version, Files int
	Size           int64
	Kind, Why      string
	Conduit, From  string
}

// versions are what a path can have again.
func (f *fixture) versions(path string) (list []version) {
	f.t.Helper()
	must(f.t, f.JSON(&list, "restore", path, "--list", "--json"))
	for i, v := range list {
		if v.Version != i+1 {
			f.t.Errorf("version %d is listed at %d", v.Version, i+1)
		}
	}
	return list
}

// saves has a file saved as editors do: beside it, synced, and renamed over it.
func saves(t *testing.T, path, text string) {
	t.Helper()
	h, err := os.Create(filepath.Join(filepath.Dir(path), ".saving.swp"))
	must(t, err)
	_, err = h.WriteString(text)
	must(t, err)
	must(t, h.Sync())
	must(t, h.Close())
	must(t, os.Rename(h.Name(), path))
}

func TestADeletedOrOverwrittenFileComesBack(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	must(t, os.Mkdir(f.path("d"), 0o755))
	file := f.path("d", "notes.txt")
	write(t, file, "as it was first")
	must(t, os.Chmod(file, 0o640))
	old := time.Now().Add(-48 * time.Hour).Truncate(time.Second)
	must(t, os.Chtimes(file, old, old))
	f.sync()
	saves(t, file, "saved by an editor")
	f.sync()

	out := f.do("restore", file, "--list")
	if strings.Count(out, "\n") != 2 || !strings.Contains(out, "overwritten") || !strings.Contains(out, "home") {
		t.Errorf("listed is\n%s", out)
	}
	f.do("restore", file)
	wants(t, file, "as it was first")
	fi, err := os.Stat(file)
	must(t, err)
	if fi.Mode().Perm() != 0o640 || !fi.ModTime().Equal(old) {
		t.Errorf("it has mode %v and time %v", fi.Mode(), fi.ModTime())
	}
	f.settled()
	f.do("restore", file) // undone
	wants(t, file, "saved by an editor")
	f.settled()

	must(t, os.RemoveAll(f.path("d")))
	f.do("restore", file) // wherever the deletion is by now
	wants(t, file, "saved by an editor")
	f.settled()
	must(t, os.RemoveAll(f.path("d")))
	f.sync()
	absent(t, f.behind("d"))
	f.do("restore", file)
	wants(t, file, "saved by an editor")
	f.settled()
	wants(t, f.behind("d", "notes.txt"), "saved by an editor")
	if r := f.run("restore", file); r.Code != 0 || !strings.Contains(r.Stderr, "nothing to do") {
		t.Errorf("restored again: %s", r)
	}

	f.do("restore", file, "--version", fmt.Sprint(len(f.versions(file))), "--to", f.path("before.txt"))
	wants(t, f.path("before.txt"), "as it was first")
	for _, wrong := range [][]string{{file, "--version", "99"}, {f.path("never")}} {
		if r := f.run(append([]string{"restore"}, wrong...)...); r.Code != 1 || strings.Count(r.Stderr, "\n") != 1 {
			t.Errorf("restore %q: %s", wrong, r)
		}
	}
	if r := f.run("restore", f.path("never"), "--list", "--json"); r.Code != 0 || strings.TrimSpace(r.Stdout) != "[]" {
		t.Errorf("versions of what never was: %s", r)
	}
	// After a new start of the daemon it is as before.
	n := len(f.versions(file))
	must(t, f.Kill())
	f.do("mount", f.at)
	if got := len(f.versions(file)); got != n {
		t.Errorf("of %d versions %d are left", n, got)
	}
}

func TestADirectoryOfAThousandFilesComesBack(t *testing.T) {
	t.Parallel()
	const files = 1000
	dir := filepath.Join(t.TempDir(), "dir")
	must(t, tree.Many(filepath.Join(dir, "d"), files, 10))
	f := mounted(t, dir)
	f.sync()
	copied := filepath.Join(t.TempDir(), "copy")
	must(t, tree.Copy(f.path("d"), copied))
	must(t, os.RemoveAll(f.path("d")))
	f.do("sync", "--wait", "--allow-deletes", "--timeout", "180s")
	absent(t, f.behind("d"))
	if v := f.versions(f.path("d")); len(v) != 1 || v[0].Files != files || v[0].Kind != "dir" {
		t.Fatalf("listed are %+v", v)
	}
	if r := f.run("restore", f.path("d")); r.Code != 0 || !strings.Contains(r.Stderr, "1000 files") {
		t.Errorf("restore said %s", r)
	}
	diffR(t, copied, f.path("d"))
	f.settled()
	diffR(t, copied, f.behind("d"))
}

func TestTheLoserOfAConflictComesBack(t *testing.T) {
	t.Parallel()
	f, far := joined(t, "--source", "drive:/Docs", "--target", "FAR", "--policy", "synchronize", "--strategy", "newest", "--rule", "*.both=conflict-file")
	write(t, f.path("Docs", "f"), "base")
	write(t, f.path("Docs", "g.both"), "base")
	f.sync()
	f.do("pause")
	for _, name := range []string{"f", "g.both"} {
		write(t, f.path("Docs", name), "this is mine")
		write(t, filepath.Join(far, name), "what is theirs")
		later := []unix.Timeval{{Sec: 1 << 32}, {Sec: 1 << 32}}
		must(t, unix.Utimes(filepath.Join(far, name), later))
	}
	f.do("resume")
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	for _, name := range []string{"f", "g.both"} {
		wants(t, f.path("Docs", name), "what is theirs")
		at := 0
		for _, v := range f.versions(f.path("Docs", name)) {
			if v.Size == int64(len("this is mine")) && at == 0 {
				at = v.Version
			}
		}
		f.do("restore", f.path("Docs", name), "--version", fmt.Sprint(at))
		wants(t, f.path("Docs", name), "this is mine")
	}
	f.sync()
	sameTrees(t, f.path("Docs"), far)
	wants(t, filepath.Join(far, "f"), "this is mine")
}

func TestWhatIsDeletedAtTheStorageComesBack(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.behind("f"), "only copy")
	f.sync()
	wants(t, f.path("f"), "only copy")
	f.do("fetch", "--wait", f.path("f"))
	must(t, os.Remove(f.behind("f")))
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	absent(t, f.path("f"))
	f.do("restore", f.path("f"))
	wants(t, f.path("f"), "only copy")
	f.settled()
	wants(t, f.behind("f"), "only copy")
}

func TestRestoringWhileTheStorageIsAwayOrTheFileInUse(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("gone"), "at the storage only")
	write(t, f.path("used"), "first")
	f.sync()
	must(t, os.Remove(f.path("gone")))
	saves(t, f.path("used"), "second")
	f.sync()

	h, err := os.OpenFile(f.path("used"), os.O_WRONLY, 0)
	must(t, err)
	_, err = h.WriteString("SEC")
	must(t, err)
	if r := f.run("restore", f.path("used")); r.Code != 1 || !strings.Contains(r.Stderr, "open for writing") {
		t.Errorf("while it is written to: %s", r)
	}
	must(t, h.Close())
	wants(t, f.path("used"), "SECond")
	f.do("restore", f.path("used"), "--version", fmt.Sprint(len(f.versions(f.path("used")))))
	wants(t, f.path("used"), "first")
	f.do("restore", f.path("used"))
	wants(t, f.path("used"), "SECond")
	f.sync()

	must(t, os.Rename(f.dir, f.dir+".away"))
	f.goesOffline()
	if r := f.run("restore", f.path("gone")); r.Code != 5 || !strings.Contains(r.Stderr, "connect it and try again") || !strings.Contains(r.Stderr, f.dir) {
		t.Errorf("while the storage is away: %s", r)
	}
	if r := f.run("restore", f.path("gone"), "--list"); r.Code != 5 || !strings.Contains(r.Stderr, f.dir) {
		t.Errorf("listed while the storage is away: %s", r)
	}
	f.do("restore", f.path("used")) // the drive's own trash needs no storage
	wants(t, f.path("used"), "first")
	must(t, os.Rename(f.dir+".away", f.dir))
	f.sync()
	f.do("restore", f.path("gone"))
	f.settled()
	wants(t, f.behind("gone"), "at the storage only")
	wants(t, f.behind("used"), "first")
}

func TestAnArchiveShowsWhatItReleasedAndIsNotRestoredInto(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	from, to := archived(t, f)
	f.mount()
	if r := f.run("history", "--releases"); r.Code != 0 || r.Stdout != "" || !strings.Contains(r.Stderr, "nothing") {
		t.Errorf("before anything was released: %s", r)
	}
	f.do("conduit", "create", "old", "--source", from, "--target", to, "--policy", "archive", "--at", "/Archive")
	allArchived(t, f, from, to)
	var log []struct {
		Conduit, Path, Destination, Hash string
		Size                             int64
		At                               time.Time
	}
	must(t, f.JSON(&log, "history", "old", "--releases", "--json"))
	found := map[string]string{}
	for _, l := range log {
		found[l.Path] = fmt.Sprintf("%s %d %s", l.Conduit, l.Size, l.Destination)
		if l.At.IsZero() || l.Path == "/Archive/g 2" && len(l.Hash) != 64 {
			t.Errorf("the log has %+v", l)
		}
	}
	for path, want := range map[string]string{"/Archive/d/f": "old 3 " + to + "/d/f", "/Archive/g 2": "old 3 " + to + "/g 2"} {
		if found[path] != want {
			t.Errorf("of %s the log has %q, want %q", path, found[path], want)
		}
	}
	if out := f.do("history", "--releases"); strings.Count(out, "\n") != len(log) || !strings.Contains(out, to+"/d/f") {
		t.Errorf("the log is\n%s", out)
	}
	if r := f.run("history", "nonsense", "--releases"); r.Code != 1 {
		t.Errorf("of a conduit that never was: %s", r)
	}
	if r := f.run("restore", f.path("Archive", "d", "f")); r.Code != 1 || !strings.Contains(r.Stderr, "read-only") || !strings.Contains(r.Stderr, "--to") {
		t.Errorf("restored into it: %s", r)
	}
	if v := f.versions(f.path("Archive", "d", "f")); len(v) != 1 || v[0].Why != "released" || v[0].From != from {
		t.Errorf("versions are %+v", v)
	}
	f.do("restore", f.path("Archive", "d", "f"), "--to", f.path("taken out"))
	wants(t, f.path("taken out"), "one")
	f.do("conduit", "delete", "old", "--hydrate")
	if out := f.do("history", "--releases"); strings.Count(out, "\n") != len(log) {
		t.Errorf("without the conduit the log is\n%s", out)
	}
}
