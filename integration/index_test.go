package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vdfs/integration/tree"
)

func TestBadInputIndexFromANewerVersion(t *testing.T) {
	t.Parallel()
	need(t, "sqlite3")
	f := mounted(t, "")
	write(t, f.path("file"), "text")
	f.sync()
	f.do("unmount", f.at)
	version := strings.TrimSpace(sh(t, "/", "sqlite3", f.index(), "PRAGMA user_version"))
	sh(t, "/", "sqlite3", f.index(), "PRAGMA user_version = 4711")
	before := sh(t, "/", "sqlite3", f.index(), ".dump")

	r := f.run("mount", f.at)
	if r.Code != 1 || !strings.Contains(r.Stderr, "newer") || strings.Count(strings.TrimSpace(r.Stderr), "\n") > 0 {
		t.Errorf("want exit 1 and one line that says newer: %s", r)
	}
	if sh(t, "/", "sqlite3", f.index(), ".dump", "PRAGMA user_version") != before+"4711\n" {
		t.Error("the refused index was changed")
	}

	sh(t, "/", "sqlite3", f.index(), "PRAGMA user_version = "+version)
	f.do("mount", f.at)
	wants(t, f.path("file"), "text")
}

func TestBadInputDamagedIndex(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	for _, name := range []string{"one", "two", "three"} {
		write(t, f.path(name), "synced "+name)
	}
	f.sync()
	f.do("pause")
	write(t, f.path("unsent"), "only the drive has this")
	f.do("unmount", f.at)
	scribble(t, f.index())
	dir := snapshots(t, []string{f.dir})

	r := f.run("mount", f.at)
	if r.Code == 0 || strings.Count(strings.TrimSpace(r.Stderr), "\n") > 0 ||
		!strings.Contains(r.Stderr, "damaged") || !strings.Contains(r.Stderr, "vdfs doctor") {
		t.Fatalf("want one line that says damaged and points to vdfs doctor: %s", r)
	}
	if r := f.run("doctor"); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "damaged") || !strings.Contains(r.Stdout+r.Stderr, "--repair") {
		t.Errorf("doctor does not explain: %s", r)
	}
	if now := snapshots(t, []string{f.dir}); now != dir {
		t.Errorf("looking at a damaged index changed the directory:\n%s", diffLines(t, dir, now))
	}
	if got := f.unsentCopies(); len(got) == 0 {
		t.Error("the unsent file is not on the disk any more")
	}

	f.do("doctor", "--repair")
	if got := f.unsentCopies(); len(got) == 0 {
		t.Fatal("the repair lost the unsent file")
	}
	f.mount()
	for _, name := range []string{"one", "two", "three"} {
		// The index that was put back is older than the directory: what is newer there comes in as any change does.
		eventually(t, name+" is shown again", func() bool { return holds(f.path(name), "synced "+name) })
		wants(t, f.behind(name), "synced "+name)
	}
}

// index is the database of an unmounted drive.
func (f *fixture) index() string {
	f.t.Helper()
	found, err := filepath.Glob(filepath.Join(f.Home, "data", "index.db"))
	must(f.t, err)
	if len(found) != 1 {
		f.t.Fatalf("no index below %s", f.Home)
	}
	return found[0]
}

// unsentCopies finds the files in the state directory that hold the unsent text.
func (f *fixture) unsentCopies() []string {
	f.t.Helper()
	names, err := tree.Files(f.Home)
	must(f.t, err)
	var found []string
	for _, name := range names {
		if holds(filepath.Join(f.Home, name), "only the drive has this") {
			found = append(found, name)
		}
	}
	return found
}

// scribble overwrites the pages of a database after its header with nonsense.
func scribble(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	h, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	const header = 4096
	if info.Size() < 4*header {
		t.Fatalf("the index has %d bytes only", info.Size())
	}
	_, err = h.WriteAt([]byte(strings.Repeat("nonsense", int(info.Size()-header)/8)), header)
	must(t, err)
	must(t, h.Close())
}
