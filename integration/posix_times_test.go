package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// moved tells which times of a file or directory differ: a, m and c of stat(2).
func moved(before, after unix.Stat_t) string {
	var s strings.Builder
	for _, c := range []struct {
		letter   byte
		from, to unix.Timespec
	}{{'a', before.Atim, after.Atim}, {'m', before.Mtim, after.Mtim}, {'c', before.Ctim, after.Ctim}} {
		if c.from != c.to {
			s.WriteByte(c.letter)
		}
	}
	return s.String()
}

// nextTick waits until file systems stamp with another time than before.
func nextTick(t *testing.T, dir string) {
	t.Helper()
	probe := filepath.Join(dir, "tick")
	write(t, probe, "")
	first := statOf(t, probe).Mtim
	eventually(t, "the clock moves on", func() bool {
		write(t, probe, "")
		return statOf(t, probe).Mtim != first
	})
	must(t, os.Remove(probe))
}

func statOpen(t *testing.T, f *os.File) (st unix.Stat_t) {
	t.Helper()
	must(t, unix.Fstat(int(f.Fd()), &st))
	return st
}

// timesOf does a list of operations in a directory and tells what each moved, of the file and of its directory.
func timesOf(t *testing.T, root string) map[string]string {
	t.Helper()
	dir := filepath.Join(root, "dir")
	file := filepath.Join(dir, "file")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Mkdir(filepath.Join(root, "other"), 0o755))
	write(t, file, "text")
	open, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	defer open.Close()
	openDir, err := os.Open(dir)
	must(t, err)
	defer openDir.Close()
	out := map[string]string{}
	for _, op := range []struct {
		name string
		do   func() error
	}{
		{"write", func() error { _, err := open.WriteAt([]byte("T"), 0); return err }},
		{"write of nothing", func() error { _, err := open.WriteAt(nil, 0); return err }},
		{"truncate", func() error { return os.Truncate(file, 2) }},
		{"truncate of what is open", func() error { return open.Truncate(1) }},
		{"grow", func() error { return open.Truncate(100) }},
		{"allocate", func() error { return unix.Fallocate(int(open.Fd()), 0, 0, 5000) }},
		{"punch", func() error {
			return unix.Fallocate(int(open.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
		}},
		{"chmod", func() error { return os.Chmod(file, 0o600) }},
		{"chown to the same", func() error { return os.Chown(file, os.Getuid(), os.Getgid()) }},
		{"chown of nothing", func() error { return os.Chown(file, -1, -1) }},
		{"utimes", func() error { return os.Chtimes(file, time.Unix(1, 1), time.Unix(2, 2)) }},
		{"utimes of atime", func() error { return os.Chtimes(file, time.Unix(3, 3), time.Time{}) }},
		{"utimes of mtime", func() error { return os.Chtimes(file, time.Time{}, time.Unix(4, 4)) }},
		{"touch", func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, file, nil, 0) }},
		{"setxattr", func() error { return unix.Setxattr(file, "user.a", []byte("1"), 0) }},
		{"removexattr", func() error { return unix.Removexattr(file, "user.a") }},
		{"link", func() error { return os.Link(file, filepath.Join(dir, "second")) }},
		{"unlink of a link", func() error { return os.Remove(filepath.Join(dir, "second")) }},
		{"rename", func() error { return os.Rename(file, filepath.Join(dir, "renamed")) }},
		{"rename back", func() error { return os.Rename(filepath.Join(dir, "renamed"), file) }},
		{"rename to the same", func() error { return os.Rename(file, file) }},
		{"mkdir beside", func() error { return os.Mkdir(filepath.Join(dir, "sub"), 0o755) }},
		{"rmdir beside", func() error { return os.Remove(filepath.Join(dir, "sub")) }},
		{"symlink beside", func() error { return os.Symlink("file", filepath.Join(dir, "link")) }},
		{"change beside", func() error { return os.WriteFile(filepath.Join(dir, "beside"), []byte("new"), 0o644) }},
		{"rewriting beside", func() error { return os.WriteFile(filepath.Join(dir, "beside"), []byte("new"), 0o644) }},
		{"replace", func() error { return os.Rename(filepath.Join(dir, "link"), filepath.Join(dir, "beside")) }},
		{"moving the directory", func() error { return os.Rename(dir, filepath.Join(root, "other", "dir")) }},
		{"moving it back", func() error { return os.Rename(filepath.Join(root, "other", "dir"), dir) }},
	} {
		nextTick(t, root)
		f, d := statOpen(t, open), statOpen(t, openDir)
		must(t, op.do())
		out[op.name] = fmt.Sprintf("file %s, directory %s", moved(f, statOpen(t, open)), moved(d, statOpen(t, openDir)))
	}
	return out
}

// What moves which time is as on the disk below.
func TestTimesMoveAsOnTheDiskBelow(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	want := timesOf(t, t.TempDir())
	for op, got := range timesOf(t, f.at) {
		if got != want[op] {
			t.Errorf("%s moves: %s, want: %s", op, got, want[op])
		}
	}
}

func TestANewFileHasOneTime(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	h, err := os.Create(f.path("file"))
	must(t, err)
	made := statOf(t, f.path("file"))
	if made.Atim != made.Mtim || made.Mtim != made.Ctim {
		t.Errorf("atime %v, mtime %v, ctime %v", made.Atim, made.Mtim, made.Ctim)
	}
	must(t, h.Close())
	f.sync()
	f.do("unmount", f.at)
	f.mount()
	if which := moved(made, statOf(t, f.path("file"))); which != "" {
		t.Errorf("sent and mounted again, without a change: the times %s moved", which)
	}
}

// Programs such as make compare the times of files wherever they lie.
func TestStampsGoWithThoseOfTheDiskBelow(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	native := t.TempDir()
	must(t, os.Mkdir(f.path("dir"), 0o755))
	write(t, f.path("file"), "")
	var last time.Time
	for i := range 300 {
		name := fmt.Sprint("n", i)
		for _, step := range []struct {
			name  string
			do    func() error
			stamp func() unix.Timespec
		}{
			{
				"file on the disk", func() error { return os.WriteFile(filepath.Join(native, "file"), []byte{1}, 0o644) },
				func() unix.Timespec { return statOf(t, filepath.Join(native, "file")).Mtim },
			},
			{
				"directory in the drive", func() error { return os.Symlink("x", f.path("dir", name)) },
				func() unix.Timespec { return statOf(t, f.path("dir")).Mtim },
			},
			{
				"written file in the drive", func() error { return os.WriteFile(f.path("file"), []byte{1}, 0o644) },
				func() unix.Timespec { return statOf(t, f.path("file")).Mtim },
			},
			{
				"touched file in the drive", func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, f.path("file"), nil, 0) },
				func() unix.Timespec { return statOf(t, f.path("file")).Mtim },
			},
			{
				"mode in the drive", func() error { return os.Chmod(f.path("file"), 0o600+os.FileMode(i%2)) },
				func() unix.Timespec { return statOf(t, f.path("file")).Ctim },
			},
		} {
			must(t, step.do())
			stamp := step.stamp()
			now := time.Unix(stamp.Unix())
			if now.Before(last) {
				t.Fatalf("round %d: %s is stamped %v, after %v", i, step.name, now, last)
			}
			last = now
		}
	}
}

func TestReadingMovesTheAccessTimeOfAFileOnly(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	must(t, os.Mkdir(f.path("dir"), 0o755))
	write(t, f.path("dir/file"), "text")
	must(t, os.Symlink("file", f.path("dir/link")))
	nextTick(t, f.at)
	file, dir, link := statOf(t, f.path("dir/file")), statOf(t, f.path("dir")), statOf(t, f.path("dir/link"))
	f.do("unmount", f.at)
	f.mount() // what the kernel remembers is gone, so the daemon sees the read
	wants(t, f.path("dir/file"), "text")
	_, err := os.ReadDir(f.path("dir"))
	must(t, err)
	_, err = os.Readlink(f.path("dir/link"))
	must(t, err)
	f.do("unmount", f.at)
	f.mount()
	if got := moved(file, statOf(t, f.path("dir/file"))); got != "a" {
		t.Errorf("reading a file moved %q, want its access time", got)
	}
	if got := moved(dir, statOf(t, f.path("dir"))); got != "" {
		t.Errorf("listing a directory moved %q", got)
	}
	if got := moved(link, statOf(t, f.path("dir/link"))); got != "" {
		t.Errorf("reading a link moved %q", got)
	}
}
