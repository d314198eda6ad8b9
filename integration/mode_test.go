package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// mode demands the permission bits of what is at path.
func mode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	st, err := os.Lstat(path)
	must(t, err)
	if st.Mode().Perm() != want {
		t.Errorf("mode of %s is %o, want %o", path, st.Mode().Perm(), want)
	}
}

// Of an ordinary user's drive: root is stopped by no mode.
func TestFilesThatTheirOwnerMayNotReadAreSent(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	modes := map[string]os.FileMode{"none": 0, "write only": 0o200, "execute only": 0o111}
	for name, m := range modes {
		for _, n := range []string{name, "old " + name} {
			write(t, f.path(n), "text of "+n)
		}
		must(t, os.Chmod(f.path(name), m))
	}
	write(t, f.path("plain"), "goes on")
	f.sync()
	for name, m := range modes {
		must(t, os.WriteFile(f.path("old "+name), []byte("newer"), 0o644))
		must(t, os.Chmod(f.path("old "+name), m))
	}
	write(t, f.path("plain"), "goes on still")
	f.sync()
	wants(t, f.behind("plain"), "goes on still")
	for name, m := range modes {
		for _, n := range []string{name, "old " + name} {
			mode(t, f.path(n), m)
			mode(t, f.behind(n), m)
		}
		if i := f.info(name)[0]; i.Sync != "synced" {
			t.Errorf("%s is %s: %s", name, i.Sync, i.Error)
		}
	}
	if n := f.status().Conduits[0].Errors; n != 0 {
		t.Errorf("%d errors", n)
	}

	// What was freed can be fetched, as its mode in the drive decides who may read.
	f.do("offload", f.path("none"))
	must(t, os.Chmod(f.path("none"), 0o600))
	wants(t, f.path("none"), "text of none")
	for name := range modes {
		for _, n := range []string{name, "old " + name} {
			must(t, os.Chmod(f.path(n), 0o644))
		}
	}
	f.settled()
}

// As Go's module cache is, and what chmod -R a-w leaves.
func TestDirectoriesThatTheirOwnerMayNotWriteAreSent(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	t.Cleanup(func() { chmodAll(t, f.dir, 0o755) }) // or it could not be removed
	dirs := []string{"cache", "cache/mod@v1", "cache/mod@v1/sub", "cache/mod@v2", "theirs"}
	for _, d := range dirs[:4] {
		must(t, os.Mkdir(f.path(d), 0o755))
		write(t, f.path(d, "file"), "in "+d)
	}
	chmodAll(t, f.path("cache"), 0o555)
	must(t, os.Mkdir(f.behind("theirs"), 0o755))
	write(t, f.behind("theirs/file"), "in theirs")
	must(t, os.Chmod(f.behind("theirs"), 0o555))
	f.settled()
	for _, d := range dirs {
		mode(t, f.behind(d), 0o555)
		mode(t, f.path(d), 0o555)
	}

	// What happens in them between two chmods shows at the endpoint no chmod.
	f.do("pause")
	for _, d := range []string{"cache/mod@v2", "theirs"} {
		must(t, os.Chmod(f.path(d), 0o755))
		write(t, f.path(d, "file"), "new in "+d)
		write(t, f.path(d, "more"), "more in "+d)
		must(t, os.Symlink("file", f.path(d, "link")))
		must(t, os.Chmod(f.path(d), 0o555))
	}
	must(t, os.Chmod(f.path("cache"), 0o755))
	chmodAll(t, f.path("cache/mod@v1"), 0o755)
	must(t, os.RemoveAll(f.path("cache/mod@v1")))
	must(t, os.Chmod(f.path("theirs"), 0o755))
	must(t, os.Chmod(f.path("cache/mod@v2"), 0o755))
	must(t, os.Rename(f.path("cache/mod@v2"), f.path("theirs/moved")))
	must(t, os.Chmod(f.path("theirs/moved"), 0o555))
	must(t, os.Chmod(f.path("theirs"), 0o555))
	must(t, os.Chmod(f.path("cache"), 0o555))
	f.do("resume")
	f.settled()
	absent(t, f.behind("cache/mod@v1"))
	wants(t, f.behind("theirs/moved/more"), "more in cache/mod@v2")
	for _, d := range []string{"cache", "theirs", "theirs/moved"} {
		mode(t, f.behind(d), 0o555)
		mode(t, f.path(d), 0o555)
	}
	if n := f.status().Conduits[0].Errors; n != 0 {
		t.Errorf("%d errors", n)
	}
}

// chmodAll gives all directories of a tree a mode, each after what is in it, so that no mode is in its own way.
func chmodAll(t *testing.T, root string, m os.FileMode) {
	t.Helper()
	var dirs []string
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append([]string{path}, dirs...)
		}
		return err
	}))
	for _, d := range dirs {
		must(t, os.Chmod(d, m))
	}
}
