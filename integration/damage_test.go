package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"vdfs/integration/tree"
)

const pageSize = 4096

// damagedDrive is an unmounted drive with some files that were sent and one that was not.
func damagedDrive(t *testing.T) *fixture {
	t.Helper()
	need(t, "sqlite3")
	f := mounted(t, "")
	for i := range 200 {
		write(t, f.path(fmt.Sprintf("file-number-%d", i)), fmt.Sprintf("text %d", i))
	}
	f.sync()
	f.do("pause")
	write(t, f.path("unsent"), "only the drive has this")
	f.do("unmount", f.at)
	return f
}

// rootPage is where a table or an index of the database begins.
func (f *fixture) rootPage(name string) int64 {
	f.t.Helper()
	out := sh(f.t, "/", "sqlite3", f.index(), "SELECT rootpage FROM sqlite_schema WHERE name = '"+name+"'")
	page, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	must(f.t, err)
	return page
}

// change rewrites a page of the index.
func (f *fixture) changePage(page int64, change func([]byte)) {
	f.t.Helper()
	h, err := os.OpenFile(f.index(), os.O_RDWR, 0)
	must(f.t, err)
	b := make([]byte, pageSize)
	_, err = h.ReadAt(b, (page-1)*pageSize)
	must(f.t, err)
	change(b)
	_, err = h.WriteAt(b, (page-1)*pageSize)
	must(f.t, err)
	must(f.t, h.Close())
}

// flipName flips a bit of a file's name in a place of the index that counts: what SQLite says of it tells that from the bytes that
// a deleted row, or one that was moved to another page, has left.
func flipName(t *testing.T, f *fixture) {
	t.Helper()
	all, err := os.ReadFile(f.index())
	must(t, err)
	for at := len(all); ; {
		if at = bytes.LastIndex(all[:at], []byte("file-number-77")); at < 0 {
			t.Fatal("the name is nowhere in the index")
		}
		flip := func() { f.changePage(int64(at/pageSize)+1, func(b []byte) { b[at%pageSize+3] ^= 0x04 }) }
		flip()
		if strings.TrimSpace(sh(t, "/", "sqlite3", f.index(), "PRAGMA integrity_check")) != "ok" {
			return
		}
		flip()
	}
}

func TestADamagedPageOfTheIndexIsSeenAndMended(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*testing.T, *fixture){
		"a torn page": func(_ *testing.T, f *fixture) {
			f.changePage(f.rootPage("dentries_name"), func(b []byte) { clear(b[pageSize/2:]) })
		},
		"a page of zeros": func(_ *testing.T, f *fixture) {
			f.changePage(f.rootPage("nodes"), func(b []byte) { clear(b) })
		},
		"a page of another table": func(_ *testing.T, f *fixture) {
			var other []byte
			f.changePage(f.rootPage("contents"), func(b []byte) { other = bytes.Clone(b) })
			f.changePage(f.rootPage("dentries"), func(b []byte) { copy(b, other) })
		},
		"a flipped bit of a page's kind": func(_ *testing.T, f *fixture) {
			f.changePage(f.rootPage("bindings"), func(b []byte) { b[0] ^= 0x10 })
		},
		"a flipped bit of a name": flipName,
		"a file that ends too early": func(t *testing.T, f *fixture) {
			info, err := os.Stat(f.index())
			must(t, err)
			must(t, os.Truncate(f.index(), info.Size()/2/pageSize*pageSize))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := damagedDrive(t)
			damage(t, f)
			f.refusedAndMended()
		})
	}
}

// refusedAndMended demands that the damage is seen, explained in a line and mended, and that nothing is lost by it.
func (f *fixture) refusedAndMended() {
	t := f.t
	t.Helper()
	index, err := os.ReadFile(f.index())
	must(t, err)
	endpoint := snapshots(t, []string{f.dir})
	r := f.run("mount", f.at)
	if r.Code == 0 || strings.Count(strings.TrimSpace(r.Stderr), "\n") > 0 ||
		!strings.Contains(r.Stderr, f.index()) || !strings.Contains(r.Stderr, "damaged") || !strings.Contains(r.Stderr, "vdfs doctor --repair") {
		t.Fatalf("want one line that names the file, says damaged and points to vdfs doctor --repair: %s", r)
	}
	if r := f.run("doctor"); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "damaged") {
		t.Errorf("doctor does not see it: %s", r)
	}
	if now := snapshots(t, []string{f.dir}); now != endpoint {
		t.Errorf("looking at a damaged index changed the directory:\n%s", diffLines(t, endpoint, now))
	}
	f.do("doctor", "--repair")
	kept, err := filepath.Glob(f.index() + ".damaged-*")
	must(t, err)
	if len(kept) != 1 || !bytes.Equal([]byte(read(t, kept[0])), index) {
		t.Errorf("the damaged index is not kept as it was: %v", kept)
	}
	f.mount()
	f.do("resume")
	f.settled()
	if got := f.unsentCopies(); len(got) == 0 {
		t.Error("the unsent file is lost")
	}
	names, err := tree.Files(f.dir)
	must(t, err)
	if len(names) < 200 {
		t.Errorf("%d files are left of 200", len(names))
	}
	f.do("doctor")
}

// A backup is older than the contents: what was written, sent and removed since is none of its knowledge, and must not
// be mixed up with what it knows.
func TestARestoredBackupLosesNothingThatCameAfterIt(t *testing.T) {
	t.Parallel()
	need(t, "sqlite3")
	f := mounted(t, "")
	for _, name := range []string{"still", "edited", "saved", "sent", "removed"} {
		write(t, f.path(name), "first "+name)
	}
	f.sync()
	f.do("unmount", f.at)
	old, err := filepath.Glob(filepath.Join(f.Home, "data", "backups", "*"))
	must(t, err)
	for _, name := range old {
		must(t, os.Remove(name))
	}
	f.mount()
	eventually(t, "the index is backed up", func() bool {
		now, err := filepath.Glob(filepath.Join(f.Home, "data", "backups", "index-*.db"))
		return err == nil && len(now) == 1
	})

	overwrite(t, f.path("sent"), "NEXT")
	must(t, os.Remove(f.path("removed")))
	f.sync()
	f.do("pause")
	overwrite(t, f.path("edited"), "EDIT")
	write(t, f.path("saved.new"), "second saved")
	must(t, os.Rename(f.path("saved.new"), f.path("saved")))
	write(t, f.path("unsent"), "only the drive has this")
	f.do("unmount", f.at)
	f.changePage(f.rootPage("dentries"), func(b []byte) { clear(b) })

	f.do("doctor", "--repair")
	f.mount()
	f.do("resume")
	f.settled()
	wants(t, f.path("still"), "first still")
	wants(t, f.path("edited"), "EDITt edited")
	wants(t, f.path("sent"), "NEXTt sent")
	absent(t, f.path("removed"))
	for _, text := range []string{"second saved", "only the drive has this"} {
		if !f.hasLost(text) {
			t.Errorf("what was not sent is not in lost+found: %q", text)
		}
	}
	f.do("doctor")
}

// overwrite changes the beginning of a file in place.
func overwrite(t *testing.T, path, text string) {
	t.Helper()
	h, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = h.WriteAt([]byte(text), 0)
	must(t, err)
	must(t, h.Close())
}

// hasLost reports whether a file in lost+found holds a text.
func (f *fixture) hasLost(text string) bool {
	f.t.Helper()
	found, err := filepath.Glob(filepath.Join(f.Home, "data", "lost+found", "*"))
	must(f.t, err)
	for _, path := range found {
		if holds(path, text) {
			return true
		}
	}
	return false
}
