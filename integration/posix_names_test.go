package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheLongestPathsAndNames(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	const pathMax = unix.PathMax - 1 // without the zero at the end
	dir := f.at
	for pathMax-len(dir)-1 > 255 {
		dir = filepath.Join(dir, strings.Repeat("d", 100))
		must(t, os.Mkdir(dir, 0o755))
	}
	longest := filepath.Join(dir, strings.Repeat("x", pathMax-len(dir)-1))
	write(t, longest, "at the end of a long path")
	wants(t, longest, "at the end of a long path")
	must(t, os.Rename(longest, f.path("short")))
	must(t, os.Rename(f.path("short"), longest))
	if err := os.WriteFile(longest+"x", nil, 0o644); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a path one byte longer: %v", err)
	}
	write(t, f.path(strings.Repeat("n", 255)), "a long name")
	if err := os.WriteFile(f.path(strings.Repeat("n", 256)), nil, 0o644); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a name of 256 bytes: %v", err)
	}
	if _, err := os.Lstat(f.path(strings.Repeat("n", 256))); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a look at a name of 256 bytes: %v", err)
	}
	f.sync()
	// The directory's own path is shorter, so all of it can be read there.
	wants(t, f.dir+strings.TrimPrefix(longest, f.at), "at the end of a long path")
}

func TestSymbolicLinks(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	must(t, os.Symlink("b", f.path("a")))
	must(t, os.Symlink("a", f.path("b")))
	if _, err := os.ReadFile(f.path("a")); !errors.Is(err, unix.ELOOP) {
		t.Errorf("two links to each other: %v", err)
	}
	must(t, os.Mkdir(f.path("dir"), 0o755))
	must(t, os.Symlink("../dir", f.path("dir/self")))
	write(t, f.path("dir/file"), "text")
	wants(t, f.at+strings.Repeat("/dir/self/..", 20)+"/dir/file", "text")
	if _, err := os.ReadFile(f.at + "/dir" + strings.Repeat("/self", 41) + "/file"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("41 links on the way: %v", err)
	}
	if _, err := unix.Open(f.path("a"), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link opened without following: %v", err)
	}
	long := strings.Repeat("t", 4095)
	must(t, os.Symlink(long, f.path("long")))
	got, err := os.Readlink(f.path("long"))
	must(t, err)
	if got != long || statOf(t, f.path("long")).Size != int64(len(long)) {
		t.Errorf("a target of %d bytes came back with %d, st_size %d", len(long), len(got), statOf(t, f.path("long")).Size)
	}
	must(t, os.Remove(f.path("long")))
}

func TestLinksOfDirectoriesAreCounted(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	links := func(name string, want uint64) {
		t.Helper()
		if got := uint64(statOf(t, f.path(name)).Nlink); got != want {
			t.Errorf("%s has %d links, want %d", name, got, want)
		}
	}
	must(t, os.MkdirAll(f.path("a/one"), 0o755))
	must(t, os.MkdirAll(f.path("a/two"), 0o755))
	must(t, os.Mkdir(f.path("b"), 0o755))
	write(t, f.path("a/file"), "")
	links("a", 4)
	links("a/one", 2)
	must(t, os.Rename(f.path("a/one"), f.path("b/one")))
	links("a", 3)
	links("b", 3)
	must(t, unix.Rename(f.path("a/two"), f.path("b/one"))) // over an empty one
	links("a", 2)
	links("b", 3)
	must(t, unix.Renameat2(unix.AT_FDCWD, f.path("a/file"), unix.AT_FDCWD, f.path("b/one"), unix.RENAME_EXCHANGE))
	links("a", 3)
	links("b", 2)
	must(t, os.Remove(f.path("a/file"))) // a directory now
	links("a", 2)
	f.sync()
	f.do("unmount", f.at)
	f.mount()
	links("a", 2)
	links("b", 2)
	links("", 4)
}

func TestRenameFlags(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, f.path(from), unix.AT_FDCWD, f.path(to), flags)
	}
	write(t, f.path("a"), "of a")
	write(t, f.path("b"), "of b")
	must(t, os.Mkdir(f.path("dir"), 0o755))
	write(t, f.path("dir/in"), "in")
	ino := statOf(t, f.path("a")).Ino

	if err := rename("a", "b", unix.RENAME_NOREPLACE); !errors.Is(err, unix.EEXIST) {
		t.Errorf("no replace onto a name that is taken: %v", err)
	}
	must(t, rename("a", "free", unix.RENAME_NOREPLACE))
	must(t, rename("free", "b", unix.RENAME_EXCHANGE))
	wants(t, f.path("b"), "of a")
	wants(t, f.path("free"), "of b")
	if got := statOf(t, f.path("b")).Ino; got != ino {
		t.Errorf("the inode number changed from %d to %d", ino, got)
	}
	must(t, rename("b", "dir", unix.RENAME_EXCHANGE))
	wants(t, f.path("dir"), "of a")
	wants(t, f.path("b/in"), "in")
	if err := rename("b", "b/in", unix.RENAME_EXCHANGE); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a directory exchanged with what is in it: %v", err)
	}
	if err := rename("free", "nothing", unix.RENAME_EXCHANGE); !errors.Is(err, unix.ENOENT) {
		t.Errorf("exchange with nothing: %v", err)
	}
	if err := rename("free", "x", unix.RENAME_WHITEOUT); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a rename that leaves a whiteout: %v", err)
	}
	f.settled()
	wants(t, f.behind("b/in"), "in")
}

func TestAFileWithoutANameIsRefused(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	if _, err := unix.Open(f.at, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("O_TMPFILE: %v", err)
	}
	if entries, err := os.ReadDir(f.at); err != nil || len(entries) > 0 {
		t.Errorf("O_TMPFILE left %v behind, %v", entries, err)
	}
}

// What is read from a directory while names come and go: each that stays exactly once, and a position that a program
// kept is good for as long as the directory is open.
func TestPositionsInADirectoryWhileNamesComeAndGo(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	dir := f.path("dir")
	must(t, os.Mkdir(dir, 0o755))
	const names = 500
	path := func(kind string, i int) string { return filepath.Join(dir, fmt.Sprintf("%s%04d", kind, i)) }
	for i := range names {
		must(t, os.Symlink("x", path("stays", i)))
		must(t, os.Symlink("x", path("goes", i)))
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	var seen []dirEntry
	for round := 0; ; round++ {
		page := direntsOf(t, fd)
		if len(page) == 0 {
			break
		}
		seen = append(seen, page...)
		for i := round * 20; i < min(names, (round+1)*20); i++ {
			must(t, os.Remove(path("goes", i)))
			must(t, os.Symlink("x", path("comes", i)))
			must(t, os.Rename(path("stays", i), path("moved", i)))
			must(t, os.Rename(path("moved", i), path("stays", i)))
		}
	}
	count := map[string]int{}
	for _, e := range seen {
		count[e.name]++
	}
	for i := range names {
		if name := filepath.Base(path("stays", i)); count[name] != 1 {
			t.Fatalf("%s was listed %d times", name, count[name])
		}
	}
	for name, n := range count {
		if n > 1 {
			t.Errorf("%s was listed %d times", name, n)
		}
	}

	middle := seen[len(seen)/2]
	_, err = unix.Seek(fd, middle.next, unix.SEEK_SET)
	must(t, err)
	var rest []string
	for page := direntsOf(t, fd); len(page) > 0; page = direntsOf(t, fd) {
		for _, e := range page {
			rest = append(rest, e.name)
		}
	}
	for _, e := range seen[:len(seen)/2+1] {
		if strings.HasPrefix(e.name, "stays") && slices.Contains(rest, e.name) {
			t.Errorf("%s comes again behind the position of %s", e.name, middle.name)
		}
	}
	for _, e := range seen[len(seen)/2+1:] {
		if strings.HasPrefix(e.name, "stays") && !slices.Contains(rest, e.name) {
			t.Errorf("%s does not come behind the position of %s", e.name, middle.name)
		}
	}
}

// dirEntry is a name in a directory and the position behind it.
type dirEntry struct {
	name string
	next int64
}

// direntsOf reads on in an open directory, a few names at a time.
func direntsOf(t *testing.T, fd int) (out []dirEntry) {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Getdents(fd, buf)
	must(t, err)
	for buf = buf[:n]; len(buf) > 0; {
		size := binary.NativeEndian.Uint16(buf[16:])
		name, _, _ := strings.Cut(string(buf[19:size]), "\x00")
		out = append(out, dirEntry{name, int64(binary.NativeEndian.Uint64(buf[8:]))})
		buf = buf[size:]
	}
	return out
}

func TestExtendedAttributes(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	path := f.path("file")
	write(t, path, "text")
	value := func(name string) string {
		t.Helper()
		buf := make([]byte, 64<<10)
		n, err := unix.Getxattr(f.path("renamed"), name, buf)
		if err != nil {
			return err.Error()
		}
		return string(buf[:n])
	}
	must(t, unix.Setxattr(path, "user.small", []byte("1"), unix.XATTR_CREATE))
	must(t, unix.Setxattr(path, "user.empty", nil, 0))
	must(t, unix.Setxattr(path, "user.big", []byte(strings.Repeat("b", 60_000)), 0))
	must(t, unix.Setxattr(path, "user.gone", []byte("x"), 0))
	for _, c := range []struct {
		name string
		do   func() error
		want error
	}{
		{"made again", func() error { return unix.Setxattr(path, "user.small", []byte("2"), unix.XATTR_CREATE) }, unix.EEXIST},
		{"replaced though absent", func() error { return unix.Setxattr(path, "user.none", []byte("2"), unix.XATTR_REPLACE) }, unix.ENODATA},
		{"removed", func() error { return unix.Removexattr(path, "user.gone") }, nil},
		{"removed again", func() error { return unix.Removexattr(path, "user.gone") }, unix.ENODATA},
		{"of a buffer too small", func() error { _, err := unix.Getxattr(path, "user.big", make([]byte, 10)); return err }, unix.ERANGE},
		{"of no known kind", func() error { return unix.Setxattr(path, "strange.a", []byte("1"), 0) }, unix.EOPNOTSUPP},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("an attribute %s: %v, want %v", c.name, err, c.want)
		}
	}
	f.sync()
	must(t, os.Rename(path, f.path("renamed")))
	must(t, f.Kill())
	f.mount()
	for name, want := range map[string]string{"user.small": "1", "user.empty": "", "user.big": strings.Repeat("b", 60_000)} {
		if got := value(name); got != want {
			t.Errorf("%s is %.20q, want %.20q", name, got, want)
		}
	}
	buf := make([]byte, 1000)
	n, err := unix.Listxattr(f.path("renamed"), buf)
	must(t, err)
	if list := string(buf[:n]); list != "user.big\x00user.empty\x00user.small\x00" {
		t.Errorf("listed are %q", list)
	}
}
