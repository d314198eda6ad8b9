package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// joined mounts a drive of its own directory and joins another one to it.
func joined(t *testing.T, args ...string) (f *fixture, far string) {
	t.Helper()
	f = newFixture(t, "")
	f.mount()
	far = filepath.Join(t.TempDir(), "far")
	must(t, os.Mkdir(far, 0o755))
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "FAR", far)
	}
	f.do(append([]string{"conduit", "create", "other"}, args...)...)
	return f, far
}

// inTrash reports whether some file with this content is in the trash of a storage.
func inTrash(t *testing.T, f *fixture, far, content string) bool {
	t.Helper()
	found := false
	for _, root := range []string{f.Home, far} {
		must(t, filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || !strings.Contains(path, "/trash/") {
				return err
			}
			data, err := os.ReadFile(path)
			found = found || string(data) == content
			return err
		}))
	}
	return found
}

// TestReplicateUndoesWhatIsDoneAtTheTarget has a program work in the target of a mirror.
func TestReplicateUndoesWhatIsDoneAtTheTarget(t *testing.T) {
	t.Parallel()
	f, far := joined(t, "--source", "drive:/Docs", "--target", "FAR", "--policy", "mirror")
	must(t, os.Mkdir(f.path("Docs", "d"), 0o755))
	write(t, f.path("Docs", "d", "f"), "one")
	write(t, f.path("Docs", "g"), "two")
	write(t, f.path("Docs", "steady"), "three")
	write(t, f.path("Docs", "d", "steady"), "four")
	f.sync()
	sameTrees(t, f.path("Docs"), far)
	watch := watchOver(t, []string{f.path("Docs"), far}, "steady", "d/steady")
	mine := watchOver(t, []string{f.path("Docs")}, "d/f", "g") // the source, to which nothing is done

	write(t, filepath.Join(far, "d", "f"), "edited there")
	must(t, os.Remove(filepath.Join(far, "g")))
	write(t, filepath.Join(far, "d", "added"), "added there")
	must(t, os.MkdirAll(filepath.Join(far, "x", "y"), 0o755))
	write(t, filepath.Join(far, "x", "y", "z"), "deep there")
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	sameTrees(t, f.path("Docs"), far)
	wants(t, f.path("Docs", "d", "f"), "one")
	wants(t, filepath.Join(far, "g"), "two")
	watch.unharmed(t)
	mine.unharmed(t)
	for _, lost := range []string{"edited there", "added there", "deep there"} {
		if !inTrash(t, f, far, lost) {
			t.Errorf("%q is in no trash", lost)
		}
	}
	if text := f.do("conduit", "show", "other"); !strings.Contains(text, "replicate") || !strings.Contains(text, "drift") {
		t.Errorf("the drift is not shown:\n%s", text)
	}
	var shown struct{ Drift int64 }
	must(t, f.JSON(&shown, "conduit", "show", "other", "--json"))
	if shown.Drift < 4 {
		t.Errorf("drift is %d", shown.Drift)
	}
}

// TestReplicateKeepsWhatIsMore has a mirror that keeps what the drive does not have, or not any more, also while it exchanges names.
func TestReplicateKeepsWhatIsMore(t *testing.T) {
	t.Parallel()
	f, far := joined(t, "--source", "drive:/Docs", "--target", "FAR", "--policy", "mirror", "--keep-extra")
	must(t, os.Mkdir(f.path("Docs", "d"), 0o755))
	for _, name := range []string{"a", "b", "d/a", "d/b", "steady"} {
		write(t, f.path("Docs", name), name)
	}
	f.sync()
	write(t, filepath.Join(far, "more"), "more")
	write(t, filepath.Join(far, "d", "more"), "more")
	watch := watchOver(t, []string{far}, "steady", "more", "d/more")
	mine := watchOver(t, []string{f.path("Docs")}, "steady")

	swap := func(one, other string) error {
		return unix.Renameat2(unix.AT_FDCWD, f.path("Docs", one), unix.AT_FDCWD, f.path("Docs", other), unix.RENAME_EXCHANGE)
	}
	must(t, swap("a", "b"))
	must(t, swap("d/a", "d/b"))
	f.run("sync") // perhaps it is in the middle of that when they go
	must(t, os.RemoveAll(f.path("Docs", "d")))
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	wants(t, filepath.Join(far, "a"), "b")
	wants(t, filepath.Join(far, "b"), "a")
	absent(t, f.path("Docs", "more"))
	absent(t, f.path("Docs", "d"))
	kept := map[string]bool{read(t, filepath.Join(far, "d", "a")): true, read(t, filepath.Join(far, "d", "b")): true}
	if !kept["d/a"] || !kept["d/b"] {
		t.Errorf("kept are %v", kept)
	}
	if extra := f.conflictFiles(filepath.Join(far, "d"), "a", "b", "more"); len(extra) > 0 {
		t.Errorf("there are %q, too", extra)
	}
	watch.unharmed(t)
	mine.unharmed(t)
}

// TestReplicateIntoTheDriveIsReadOnly mirrors a directory into the drive, where programs try everything.
func TestReplicateIntoTheDriveIsReadOnly(t *testing.T) {
	t.Parallel()
	f, far := joined(t, "--source", "FAR", "--target", "drive:/Mirror", "--policy", "replicate")
	must(t, os.Mkdir(filepath.Join(far, "d"), 0o755))
	write(t, filepath.Join(far, "d", "f"), "one")
	write(t, filepath.Join(far, "g"), "two")
	write(t, filepath.Join(far, "steady"), "three")
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	sameTrees(t, far, f.path("Mirror"))
	watch := watchOver(t, []string{far, f.path("Mirror")}, "steady", "g")
	write(t, f.path("own"), "outside")
	at := func(parts ...string) string { return f.path(append([]string{"Mirror"}, parts...)...) }
	open := func(path string, flags int) error {
		h, err := os.OpenFile(path, flags, 0o644)
		if err == nil {
			_ = h.Close() // the test fails already
		}
		return err
	}
	for name, do := range map[string]func() error{
		"create":         func() error { return open(at("new"), os.O_CREATE|os.O_WRONLY) },
		"open to write":  func() error { return open(at("g"), os.O_WRONLY) },
		"open to append": func() error { return open(at("g"), os.O_RDWR|os.O_APPEND) },
		"cut by opening": func() error { return open(at("g"), os.O_RDONLY|os.O_TRUNC) },
		"truncate":       func() error { return os.Truncate(at("g"), 1) },
		"mkdir":          func() error { return os.Mkdir(at("d", "new"), 0o755) },
		"symlink":        func() error { return os.Symlink("g", at("new")) },
		"link":           func() error { return os.Link(at("g"), at("new")) },
		"mkfifo":         func() error { return unix.Mkfifo(at("new"), 0o644) },
		"unlink":         func() error { return unix.Unlink(at("g")) },
		"rename":         func() error { return unix.Rename(at("g"), at("h")) },
		"rename out":     func() error { return unix.Rename(at("g"), f.path("h")) },
		"rename in":      func() error { return unix.Rename(f.path("own"), at("own")) },
		"exchange": func() error {
			return unix.Renameat2(unix.AT_FDCWD, at("g"), unix.AT_FDCWD, at("d"), unix.RENAME_EXCHANGE)
		},
		"chmod":           func() error { return os.Chmod(at("g"), 0o600) },
		"chmod directory": func() error { return os.Chmod(at("d"), 0o700) },
		"times":           func() error { return unix.Utimes(at("g"), []unix.Timeval{{Sec: 1}, {Sec: 1}}) },
		"setxattr":        func() error { return unix.Setxattr(at("g"), "user.x", []byte("1"), 0) },
		"removexattr":     func() error { return unix.Removexattr(at("g"), "user.x") },
	} {
		if err := do(); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.do("pin", at("d"))
	write(t, filepath.Join(far, "g"), "two again")
	must(t, os.RemoveAll(filepath.Join(far, "d")))
	write(t, filepath.Join(far, "new"), "three")
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	sameTrees(t, far, at())
	wants(t, at("g"), "two again")
	wants(t, filepath.Join(far, "new"), "three")
	f.do("conduit", "delete", "other", "--hydrate")
	write(t, at("g"), "mine now")
	watch.unharmed(t)
}

// TestStrategiesThroughTheMount has both sides edit a file under each strategy.
func TestStrategiesThroughTheMount(t *testing.T) {
	t.Parallel()
	for strategy, want := range map[string]string{
		"local": "mine", "target": "what is theirs", "largest": "what is theirs", "newest": "what is theirs",
	} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			f, far := joined(t, "--source", "drive:/Docs", "--target", "FAR", "--policy", "synchronize", "--strategy", strategy, "--rule", "*.keep=conflict-file")
			for _, name := range []string{"f", "g.keep", "steady"} {
				write(t, f.path("Docs", name), "base")
			}
			f.sync()
			watch := watchOver(t, []string{f.path("Docs"), far}, "steady")
			f.do("pause")
			for _, name := range []string{"f", "g.keep"} {
				write(t, f.path("Docs", name), "mine")
				write(t, filepath.Join(far, name), "what is theirs")
				later := []unix.Timeval{{Sec: 1 << 32}, {Sec: 1 << 32}}
				must(t, unix.Utimes(filepath.Join(far, name), later))
			}
			f.do("resume")
			f.do("sync", "--rescan", "--wait", "--timeout", "180s")
			sameTrees(t, f.path("Docs"), far)
			wants(t, f.path("Docs", "f"), want)
			wants(t, f.path("Docs", "g.keep"), "what is theirs")
			watch.unharmed(t)
			if extra := f.conflictFiles(f.path("Docs"), "f", "g.keep", "steady"); len(extra) != 1 || !strings.HasPrefix(extra[0], "g (conflict") {
				t.Errorf("conflict files are %q", extra)
			}
			if want == "mine" {
				if !inTrash(t, f, far, "what is theirs") {
					t.Error("their version is in no trash")
				}
			} else if text := f.do("du"); !strings.Contains(text, "4 B in the trash") {
				t.Errorf("my version is not in the trash:\n%s", text)
			}
			if text := f.do("conduit", "show", "other"); !strings.Contains(text, strategy) || !strings.Contains(text, "*.keep=conflict-file") {
				t.Errorf("strategy and rule are not shown:\n%s", text)
			}
		})
	}
}

// TestManualWaitsForAPerson leaves a conflict to a person, and everything else goes on.
func TestManualWaitsForAPerson(t *testing.T) {
	t.Parallel()
	f, far := joined(t, "--source", "drive:/Docs", "--target", "FAR", "--policy", "synchronize", "--strategy", "manual")
	write(t, f.path("Docs", "f"), "base")
	write(t, f.path("Docs", "steady"), "base")
	f.sync()
	watch := watchOver(t, []string{f.path("Docs"), far}, "steady")
	f.do("pause")
	write(t, f.path("Docs", "f"), "mine")
	write(t, filepath.Join(far, "f"), "what is theirs")
	f.do("resume")
	write(t, f.path("Docs", "other"), "goes on")
	r := f.run("sync", "--rescan", "--wait", "--timeout", "180s")
	if r.Code != 4 || !strings.Contains(r.Stderr, "Docs/f") {
		t.Fatalf("want exit 4 and the file: %s", r)
	}
	wants(t, f.path("Docs", "f"), "mine")
	wants(t, filepath.Join(far, "f"), "what is theirs")
	wants(t, filepath.Join(far, "other"), "goes on")
	var list []drive.Conflict
	must(t, f.JSON(&list, "conflicts", "--json"))
	if len(list) != 1 || list[0].Path != "/Docs/f" {
		t.Errorf("conflicts are %+v", list)
	}
	if text := f.do("conflicts", "show", f.path("Docs", "f")); !strings.Contains(text, "until you choose") || !strings.Contains(text, "manual") {
		t.Errorf("the question is not told:\n%s", text)
	}
	if word := strings.TrimSpace(f.do("status", "--state", f.path("Docs", "f"))); word != "conflict" {
		t.Errorf("the file's state is %s", word)
	}
	f.do("conflicts", "resolve", f.path("Docs", "f"), "--keep", "local")
	f.sync()
	sameTrees(t, f.path("Docs"), far)
	watch.unharmed(t)
	wants(t, filepath.Join(far, "f"), "mine")
	if !inTrash(t, f, far, "what is theirs") {
		t.Error("their version is in no trash")
	}
}

// TestMergePutsTheLinesOfBothTogether edits other lines of a text on both sides, and the same ones of another.
func TestMergePutsTheLinesOfBothTogether(t *testing.T) {
	t.Parallel()
	f, far := joined(t, "--source", "drive:/Docs", "--target", "FAR", "--policy", "synchronize", "--strategy", "merge")
	const base = "first\ntwo\nthree\nlast\n"
	for _, name := range []string{"apart", "same", "steady"} {
		write(t, f.path("Docs", name), base)
	}
	f.sync()
	watch := watchOver(t, []string{f.path("Docs"), far}, "steady")
	f.do("pause")
	edit := func(path, old, now string) { write(t, path, strings.Replace(read(t, path), old, now, 1)) }
	edit(f.path("Docs", "apart"), "first", "mine")
	edit(filepath.Join(far, "apart"), "last", "theirs")
	edit(f.path("Docs", "same"), "two", "mine")
	edit(filepath.Join(far, "same"), "two", "what is theirs")
	f.do("resume")
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	sameTrees(t, f.path("Docs"), far)
	wants(t, f.path("Docs", "apart"), "mine\ntwo\nthree\ntheirs\n")
	wants(t, f.path("Docs", "same"), strings.Replace(base, "two", "what is theirs", 1))
	watch.unharmed(t)
	if extra := f.conflictFiles(f.path("Docs"), "apart", "same", "steady"); len(extra) != 1 || !strings.HasPrefix(extra[0], "same (conflict") {
		t.Errorf("conflict files are %q", extra)
	}
}
