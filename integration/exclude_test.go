package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// shows checks which names the mount lists in a directory, and that those that exist beside them are not found either.
func (f *fixture) shows(when, dir string, want ...string) {
	f.t.Helper()
	entries, err := os.ReadDir(f.path(dir))
	must(f.t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		f.t.Errorf("%s: %q shows %v, want %v", when, dir, got, want)
	}
}

// found waits until the kernel has heard that a name is shown, or is not.
func (f *fixture) found(name string, want bool) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%s is found: %v", name, want), func() bool {
		_, err := os.Lstat(f.path(name))
		return errors.Is(err, os.ErrNotExist) == !want && (err == nil) == want
	})
}

// rescanned has everything compared that could be taken for a deletion.
func (f *fixture) rescanned() {
	f.t.Helper()
	f.do("sync", "--wait", "--rescan", "--timeout", "180s")
}

func TestWhatIsExcludedIsHiddenHereAndUntouchedThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.MkdirAll(f.behind("dir/sub"), 0o755))
	for _, name := range []string{"dir/a", "dir/sub/b", "dir/c", "plain", "top"} {
		write(t, f.behind(name), "text of "+name)
	}
	f.mount()
	wants(t, f.path("dir/a"), "text of dir/a")
	wants(t, f.path("top"), "text of top")
	f.shows("at first", "", "dir", "plain", "top")
	f.do("exclude", f.path("dir"), f.path("top"))
	hidden := func(when string) {
		t.Helper()
		f.found("top", false)
		f.found("dir", false)
		f.shows(when, "", "plain")
		absent(t, f.path("dir/a"))
	}
	hidden("excluded")
	if held := f.status().Cache.Bytes; held != 0 {
		t.Errorf("%d bytes are here of what is excluded", held)
	}
	if i := f.info("dir")[0]; i.Pin != "excluded" {
		t.Errorf("info of what is excluded: %+v", i)
	}
	if out := f.do("ls", f.at); !strings.Contains(out, "excluded   top") {
		t.Errorf("vdfs ls prints %q", out)
	}
	if out := f.do("pins"); strings.Count(out, "excluded") != 2 {
		t.Errorf("vdfs pins prints %q", out)
	}
	f.rescanned()
	for _, name := range []string{"dir/a", "dir/sub/b", "top"} {
		wants(t, f.behind(name), "text of "+name)
	}

	// The names are taken.
	for what, err := range map[string]error{
		"create":    os.WriteFile(f.path("top"), []byte("other"), 0o644),
		"mkdir":     os.Mkdir(f.path("dir"), 0o755),
		"symlink":   os.Symlink("plain", f.path("top")),
		"link":      os.Link(f.path("plain"), f.path("top")),
		"rename":    unix.Rename(f.path("plain"), f.path("top")),
		"noreplace": unix.Renameat2(unix.AT_FDCWD, f.path("plain"), unix.AT_FDCWD, f.path("top"), unix.RENAME_NOREPLACE),
	} {
		if !errors.Is(err, unix.EEXIST) {
			t.Errorf("%s of a name that is excluded: %v, want EEXIST", what, err)
		}
	}
	if err := os.Remove(f.path("top")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removing what is excluded: %v", err)
	}
	hidden("after all that")

	// The endpoint's changes are followed.
	write(t, f.behind("dir/a"), "changed there, and longer")
	write(t, f.behind("dir/new"), "made there")
	must(t, os.Remove(f.behind("dir/c")))
	write(t, f.behind("top.tmp"), "saved there by rename")
	must(t, os.Rename(f.behind("top.tmp"), f.behind("top")))
	f.rescanned()
	f.shows("changed there", "", "plain")
	f.do("unmount", f.at)
	f.mount()
	hidden("mounted again")
	must(t, f.Kill())
	f.mount()
	hidden("killed and mounted again")
	f.rescanned()
	if i := f.info("top")[0]; i.Size != int64(len("saved there by rename")) || i.Pin != "excluded" || i.Residency != "none" {
		t.Errorf("changed there: %+v", i)
	}

	f.do("unpin", f.path("dir"), f.path("top"))
	f.found("dir", true)
	f.found("top", true)
	f.shows("shown again", "", "dir", "plain", "top")
	f.shows("shown again", "dir", "a", "new", "sub")
	for name, text := range map[string]string{
		"dir/a": "changed there, and longer", "dir/new": "made there", "dir/sub/b": "text of dir/sub/b", "top": "saved there by rename",
	} {
		wants(t, f.path(name), text)
	}
	f.settled()
	if extra := f.conflictFiles(f.at, "dir", "plain", "top"); len(extra) > 0 {
		t.Errorf("conflicts: %v", extra)
	}
}

func TestRemovingAroundWhatIsExcludedKeepsIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	for _, dir := range []string{"in/deep", "other"} {
		must(t, os.MkdirAll(f.behind(dir), 0o755))
	}
	for _, name := range []string{"in/deep/secret", "in/deep/seen", "in/seen"} {
		write(t, f.behind(name), "text of "+name)
	}
	f.mount()
	f.do("exclude", f.path("in/deep/secret"))
	f.found("in/deep/secret", false)
	if out, err := command(f.at, "rm", "-rf", "in").CombinedOutput(); err == nil || !strings.Contains(string(out), "not empty") {
		t.Errorf("rm -rf around what is excluded: %v, %s", err, out)
	}
	if err := unix.Rename(f.path("other"), f.path("in/deep")); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("renaming over a directory with something excluded: %v, want ENOTEMPTY", err)
	}
	f.shows("after rm", "in/deep")
	must(t, os.Rename(f.path("in"), f.path("moved")))
	f.rescanned()
	wants(t, f.behind("moved/deep/secret"), "text of in/deep/secret")
	absent(t, f.behind("moved/deep/seen"))
	absent(t, f.behind("in"))
	f.do("unpin", f.path("moved/deep/secret"))
	f.found("moved/deep/secret", true)
	wants(t, f.path("moved/deep/secret"), "text of in/deep/secret")
	f.settled()
}

func TestExcludeRefusesWhatIsNotSentYet(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.Mkdir(f.behind("dir"), 0o755))
	write(t, f.behind("dir/old"), "old")
	write(t, f.behind("plain"), "plain")
	f.mount()
	f.shows("at first", "", "dir", "plain")
	f.do("pause")
	write(t, f.path("dir/unsent"), "nobody else has this")
	r := f.run("exclude", f.path("dir"), f.path("plain"))
	if r.Code != 3 || !strings.Contains(r.Stderr, "dir/unsent: has changes that are not sent yet") {
		t.Errorf("exclude of what is not sent: %s", r)
	}
	f.found("plain", false)
	f.shows("refused in part", "", "dir")
	wants(t, f.path("dir/unsent"), "nobody else has this")
	if r := f.run("exclude", f.at); r.Code != 3 {
		t.Errorf("exclude of the whole drive: %s", r)
	}
	f.do("resume")
	f.sync()

	// Who has it open goes on, and what they write is sent.
	h, err := os.OpenFile(f.path("dir/old"), os.O_RDWR, 0)
	must(t, err)
	if r := f.run("exclude", f.path("dir")); r.Code != 3 || !strings.Contains(r.Stderr, "open for writing") {
		t.Errorf("exclude of what is open for writing: %s", r)
	}
	must(t, h.Close())
	dir, err := unix.Open(f.path("dir"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(dir)
	f.do("exclude", f.path("dir"))
	fd, err := unix.Openat(dir, "late", unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, err)
	_, err = unix.Write(fd, []byte("written inside"))
	must(t, errors.Join(err, unix.Close(fd)))
	f.rescanned()
	wants(t, f.behind("dir/late"), "written inside")
	f.shows("still excluded", "")
	f.do("unpin", f.path("dir"), f.path("plain"))
	f.found("dir", true)
	f.found("plain", true)
	f.settled()
}

func TestWhatIsDeletedThereIsNotExcludedAnyMore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("file"), "first")
	write(t, f.behind("plain"), "plain")
	f.mount()
	f.do("exclude", f.path("file"))
	f.found("file", false)
	f.shows("excluded", "", "plain")
	must(t, os.Remove(f.behind("file")))
	f.rescanned()
	if r := f.run("unpin", f.path("file")); r.Code != 1 || !strings.Contains(r.Stderr, "no such file") {
		t.Errorf("unpin of what was deleted: %s", r)
	}
	f.found("file", false)
	write(t, f.path("file"), "second")
	f.settled()
	wants(t, f.behind("file"), "second")
}
