package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/cache"
)

func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErrno(t *testing.T, err error, want unix.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func TestUnlinkedFileStaysUsable(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", []byte("before"))
	f := open(t, e.path("f"), os.O_RDWR)
	must(t, os.Remove(e.path("f")))
	_, err := f.WriteAt([]byte("AFTER!"), 0)
	must(t, err)
	got := make([]byte, 6)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if string(got) != "AFTER!" {
		t.Fatalf("read %q", got)
	}
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	if st.Nlink != 0 || st.Size != 6 {
		t.Fatalf("nlink %d, size %d", st.Nlink, st.Size)
	}
	must(t, f.Close())
	e.eventually("the node is gone after its last handle", func() bool {
		_, err := e.cache.Attr(cache.Ino(st.Ino))
		return errors.Is(err, cache.ErrNotFound)
	})
}

func TestRenameOverKeepsOldHandles(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("old", []byte("old content"))
	e.write("new", []byte("new"))
	f := open(t, e.path("old"), os.O_RDONLY)
	must(t, os.Rename(e.path("new"), e.path("old")))
	e.wantContent("old", []byte("new"))
	got, err := io.ReadAll(f)
	must(t, err)
	if string(got) != "old content" {
		t.Fatalf("old handle reads %q", got)
	}
	if _, err := os.Stat(e.path("new")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the source is still there: %v", err)
	}
}

func TestRenameFlags(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("a", []byte("A"))
	e.write("b", []byte("B"))
	must(t, os.Mkdir(e.path("d"), 0o755))
	err := unix.Renameat2(unix.AT_FDCWD, e.path("a"), unix.AT_FDCWD, e.path("b"), unix.RENAME_NOREPLACE)
	wantErrno(t, err, unix.EEXIST)
	must(t, unix.Renameat2(unix.AT_FDCWD, e.path("a"), unix.AT_FDCWD, e.path("b"), unix.RENAME_EXCHANGE))
	e.wantContent("a", []byte("B"))
	e.wantContent("b", []byte("A"))
	must(t, unix.Renameat2(unix.AT_FDCWD, e.path("a"), unix.AT_FDCWD, e.path("d"), unix.RENAME_EXCHANGE))
	e.wantContent("d", []byte("B"))
	if st := e.stat("a"); st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Fatalf("a has mode %o", st.Mode)
	}
	wantErrno(t, unix.Rename(e.path("a"), e.path("a/below")), unix.EINVAL)
}

func TestTruncateOnOpenBesideAnotherWriter(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", bytes.Repeat([]byte("x"), 100_000))
	f := open(t, e.path("f"), os.O_RDWR)
	g := open(t, e.path("f"), os.O_WRONLY|os.O_TRUNC)
	if st := e.stat("f"); st.Size != 0 {
		t.Fatalf("size %d after O_TRUNC", st.Size)
	}
	_, err := f.WriteAt([]byte("tail"), 8)
	must(t, err)
	_, err = g.WriteAt([]byte("head"), 0)
	must(t, err)
	e.wantContent("f", []byte("head\x00\x00\x00\x00tail"))
	must(t, f.Close())
	must(t, g.Close())
	e.wantContent("f", []byte("head\x00\x00\x00\x00tail"))
}

func TestMappings(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", bytes.Repeat([]byte("."), 3*4096))
	runHelper(t, "mmap-write", e.path("f"), "mapped")
	want := append([]byte("mapped"), bytes.Repeat([]byte("."), 3*4096-6)...)
	e.wantContent("f", want)
	if got := runHelper(t, "mmap-read", e.path("f")); got != string(want) {
		t.Fatalf("the mapping shows %.20q", got)
	}
	e.placeholder(cache.RootIno, "far", want)
	if got := runHelper(t, "mmap-read", e.path("far")); got != string(want) {
		t.Fatalf("the mapping of a placeholder shows %.20q", got)
	}
	e.placeholder(cache.RootIno, "far2", want)
	runHelper(t, "mmap-write", e.path("far2"), "MAPPED")
	e.wantContent("far2", append([]byte("MAPPED"), want[6:]...))
}

func TestSeveralWritersShareOneFile(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", nil)
	const writers, part = 4, 64 << 10
	var wg sync.WaitGroup
	for i := range writers {
		f := open(t, e.path("f"), os.O_WRONLY)
		wg.Go(func() {
			for off := 0; off < part; off += 4096 {
				if _, err := f.WriteAt(bytes.Repeat([]byte{'a' + byte(i)}, 4096), int64(i*part+off)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var want []byte
	for i := range writers {
		want = append(want, bytes.Repeat([]byte{'a' + byte(i)}, part)...)
	}
	e.wantContent("f", want)
}

func TestAppendsFromTwoHandlesDoNotOverlap(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("log", nil)
	var wg sync.WaitGroup
	for _, who := range []string{"one", "two"} {
		f := open(t, e.path("log"), os.O_WRONLY|os.O_APPEND)
		wg.Go(func() {
			for i := range 200 {
				if _, err := fmt.Fprintf(f, "%s %d\n", who, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(e.path("log"))
	must(t, err)
	next := map[string]int{}
	for _, line := range lines(string(got)) {
		var who string
		var i int
		if _, err := fmt.Sscanf(line, "%s %d", &who, &i); err != nil || next[who] != i {
			t.Fatalf("line %q: %v, expected %d", line, err, next[who])
		}
		next[who]++
	}
	if next["one"] != 200 || next["two"] != 200 {
		t.Fatalf("lines lost: %v", next)
	}
}

func TestTimesSetAfterWritingSurviveClose(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	when := time.Unix(1_000_000_000, 123_456_789)
	t.Run("while open", func(t *testing.T) {
		f := open(t, e.path("f"), os.O_RDWR|os.O_CREATE)
		_, err := f.WriteString("text")
		must(t, err)
		must(t, os.Chtimes(e.path("f"), when, when))
		must(t, f.Close())
		e.settled("f")
		checkTime(t, e, "f", when, 4)
	})
	t.Run("right after close", func(t *testing.T) {
		e.write("g", []byte("text"))
		must(t, os.Chtimes(e.path("g"), when, when))
		e.settled("g")
		checkTime(t, e, "g", when, 4)
	})
}

// settled waits until the last write handle of a file is closed, which comes after close(2).
func (e *env) settled(name string) {
	e.t.Helper()
	ino := cache.Ino(e.stat(name).Ino)
	e.eventually("the file is settled", func() bool {
		n, err := e.cache.Attr(ino)
		return err == nil && !n.Writing
	})
}

func checkTime(t *testing.T, e *env, name string, when time.Time, size int64) {
	t.Helper()
	n, err := e.cache.Attr(cache.Ino(e.stat(name).Ino))
	must(t, err)
	if n.Mtime != when.UnixNano() || n.Size != size {
		t.Fatalf("mtime %v, size %d, want %v, %d", time.Unix(0, n.Mtime), n.Size, when, size)
	}
	if st := e.stat(name); st.Mtim.Nano() != when.UnixNano() || st.Size != size {
		t.Fatalf("stat: mtime %v, size %d", st.Mtim, st.Size)
	}
}

func TestHolesAndAllocation(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	f := open(t, e.path("f"), os.O_RDWR|os.O_CREATE)
	fd := int(f.Fd())
	_, err := f.Write(bytes.Repeat([]byte("x"), 64<<10))
	must(t, err)
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 8192))
	at, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
	must(t, err)
	end, err := unix.Seek(fd, at, unix.SEEK_DATA)
	must(t, err)
	if at != 4096 || end != 3*4096 {
		t.Fatalf("the hole is %d-%d", at, end)
	}
	got := make([]byte, 4096)
	_, err = f.ReadAt(got, 8192)
	must(t, err)
	if !bytes.Equal(got, make([]byte, 4096)) {
		t.Fatalf("the hole reads %.10q", got)
	}
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, 60<<10, 8<<10))
	must(t, unix.Fallocate(fd, 0, 0, 100<<10))
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 200<<10))
	if st := e.stat("f"); st.Size != 100<<10 {
		t.Fatalf("size %d", st.Size)
	}
	wantErrno(t, unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), unix.EOPNOTSUPP)
}

func TestCopyFileRange(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	e.write("local", data)
	e.placeholder(cache.RootIno, "far", data)
	for _, src := range []string{"local", "far"} {
		in := open(t, e.path(src), os.O_RDONLY)
		out := open(t, e.path("copy of "+src), os.O_RDWR|os.O_CREATE)
		from, to := int64(5), int64(3)
		for left := len(data) - 5; left > 0; {
			n, err := unix.CopyFileRange(int(in.Fd()), &from, int(out.Fd()), &to, left, 0)
			must(t, err)
			if n == 0 {
				t.Fatalf("%s: stopped with %d left", src, left)
			}
			left -= n
		}
		must(t, out.Close())
		e.wantContent("copy of "+src, append([]byte{0, 0, 0}, data[5:]...))
	}
}

func TestSetidBitsGoWithAnUnprivilegedWrite(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", []byte("text"))
	must(t, unix.Chmod(e.path("f"), 0o6755))
	if st := e.stat("f"); st.Mode&0o7777 != 0o6755 {
		t.Fatalf("mode %o", st.Mode)
	}
	// chown takes them away from everybody, root too.
	must(t, os.Chown(e.path("f"), os.Getuid(), os.Getgid()))
	if st := e.stat("f"); st.Mode&0o7777 != 0o755 {
		t.Fatalf("mode %o after chown", st.Mode)
	}
	must(t, unix.Mkfifo(e.path("fifo"), 0))
	must(t, unix.Chmod(e.path("fifo"), 0o6755))
	before := e.stat("fifo")
	must(t, os.Chown(e.path("fifo"), -1, -1))
	if st := e.stat("fifo"); st.Mode&0o7777 != 0o755 || st.Ctim == before.Ctim {
		t.Fatalf("a fifo after chown of nothing: mode %o, ctime %v, was %v", st.Mode, st.Ctim, before.Ctim)
	}
	if os.Getuid() == 0 {
		return // CAP_FSETID keeps them over writes
	}
	must(t, unix.Chmod(e.path("f"), 0o4755))
	f := open(t, e.path("f"), os.O_WRONLY)
	_, err := f.WriteString("T")
	must(t, err)
	if st := e.stat("f"); st.Mode&0o7777 != 0o755 {
		t.Fatalf("mode %o after a write", st.Mode)
	}
	must(t, unix.Chmod(e.path("f"), 0o4755))
	_, err = f.WriteString("E")
	must(t, err)
	if st := e.stat("f"); st.Mode&0o7777 != 0o755 {
		t.Fatalf("mode %o after a second write", st.Mode)
	}
	must(t, unix.Chmod(e.path("f"), 0o4755))
	must(t, open(t, e.path("f"), os.O_RDONLY|os.O_TRUNC).Close())
	if st := e.stat("f"); st.Mode&0o7777 != 0o755 || st.Size != 0 {
		t.Fatalf("mode %o and %d bytes after O_RDONLY|O_TRUNC", st.Mode, st.Size)
	}
}

func TestHardLinks(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("a", []byte("one"))
	must(t, os.Link(e.path("a"), e.path("b")))
	e.write("b", []byte("two"))
	e.wantContent("a", []byte("two"))
	if a, b := e.stat("a"), e.stat("b"); a.Ino != b.Ino || a.Nlink != 2 {
		t.Fatalf("inodes %d and %d, %d links", a.Ino, b.Ino, a.Nlink)
	}
	must(t, os.Remove(e.path("a")))
	e.wantContent("b", []byte("two"))
	if st := e.stat("b"); st.Nlink != 1 {
		t.Fatalf("%d links", st.Nlink)
	}
	must(t, os.Mkdir(e.path("d"), 0o755))
	wantErrno(t, unix.Link(e.path("d"), e.path("d2")), unix.EPERM)
}

func TestSpecialFiles(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	must(t, unix.Mkfifo(e.path("fifo"), 0o600))
	if st := e.stat("fifo"); st.Mode != unix.S_IFIFO|0o600 {
		t.Fatalf("mode %o", st.Mode)
	}
	must(t, unix.Mknod(e.path("plain"), unix.S_IFREG|0o640, 0))
	if st := e.stat("plain"); st.Mode&unix.S_IFMT != unix.S_IFREG {
		t.Fatalf("mode %o", st.Mode)
	}
	must(t, os.Symlink("target\xff", e.path("link")))
	got, err := os.Readlink(e.path("link"))
	must(t, err)
	if got != "target\xff" {
		t.Fatalf("link to %q", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	odd := strings.Repeat("\xff\n\x01é", 60)[:255]
	e.write(odd, []byte("x"))
	e.wantContent(odd, []byte("x"))
	names, err := os.ReadDir(e.mnt)
	must(t, err)
	if len(names) != 1 || names[0].Name() != odd {
		t.Fatalf("listed %q", names)
	}
	_, err = os.Stat(e.path(strings.Repeat("a", 256)))
	wantErrno(t, err, unix.ENAMETOOLONG)
	wantErrno(t, os.Mkdir(e.path(strings.Repeat("a", 256)), 0o755), unix.ENAMETOOLONG)
	wantErrno(t, os.Rename(e.path(odd), e.path(strings.Repeat("a", 256))), unix.ENAMETOOLONG)
}

func TestFsyncOfFilesAndDirectories(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	f := open(t, e.path("f"), os.O_RDWR|os.O_CREATE)
	_, err := f.WriteString("text")
	must(t, err)
	must(t, f.Sync())
	n, err := e.cache.Attr(cache.Ino(e.stat("f").Ino))
	must(t, err)
	if n.Size != 4 {
		t.Fatalf("size %d after fsync", n.Size)
	}
	must(t, open(t, e.mnt, os.O_RDONLY).Sync())
}

func TestCreationTakesOwnerAndMode(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	must(t, os.Mkdir(e.path("d"), 0o750))
	must(t, unix.Chmod(e.path("d"), 0o2750))
	must(t, os.Mkdir(e.path("d/sub"), 0o700))
	if st := e.stat("d/sub"); st.Mode&0o7777 != 0o2700 || int(st.Uid) != os.Getuid() {
		t.Fatalf("mode %o, owner %d", st.Mode, st.Uid)
	}
	f, err := os.OpenFile(e.path("d/f"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	must(t, err)
	must(t, f.Close())
	if st := e.stat("d/f"); st.Mode&0o7777 != 0o600 {
		t.Fatalf("mode %o", st.Mode)
	}
	_, err = os.OpenFile(e.path("d/f"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	wantErrno(t, err, unix.EEXIST)
}

func TestXattrs(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", nil)
	p := e.path("f")
	buf := make([]byte, 100)
	_, err := unix.Getxattr(p, "user.x", buf)
	wantErrno(t, err, unix.ENODATA)
	must(t, unix.Setxattr(p, "user.x", []byte("value"), unix.XATTR_CREATE))
	wantErrno(t, unix.Setxattr(p, "user.x", []byte("again"), unix.XATTR_CREATE), unix.EEXIST)
	wantErrno(t, unix.Setxattr(p, "user.y", []byte("none"), unix.XATTR_REPLACE), unix.ENODATA)
	_, err = unix.Getxattr(p, "user.x", buf[:2])
	wantErrno(t, err, unix.ERANGE)
	n, err := unix.Getxattr(p, "user.vdfs.state", buf)
	must(t, err)
	if string(buf[:n]) != "local" {
		t.Fatalf("state %q", buf[:n])
	}
	_, err = unix.Getxattr(p, "user.vdfs.pin", buf)
	wantErrno(t, err, unix.ENODATA)
	must(t, unix.Setxattr(p, "user.vdfs.pin", []byte("pinned"), 0))
	n, err = unix.Getxattr(p, "user.vdfs.pin", buf)
	must(t, err)
	if string(buf[:n]) != "pinned" {
		t.Fatalf("pin %q", buf[:n])
	}
	wantErrno(t, unix.Setxattr(p, "user.vdfs.pin", []byte("nailed"), 0), unix.EINVAL)
	wantErrno(t, unix.Setxattr(p, "user.vdfs.state", []byte("cloud"), 0), unix.EPERM)
	n, err = unix.Listxattr(p, buf)
	must(t, err)
	if string(buf[:n]) != "user.x\x00" {
		t.Fatalf("listed %q", buf[:n])
	}
	must(t, unix.Removexattr(p, "user.vdfs.pin"))
	_, err = unix.Getxattr(p, "user.vdfs.pin", buf)
	wantErrno(t, err, unix.ENODATA)
	// By these ls learns that it need not ask every file.
	for _, none := range []string{"system.posix_acl_access", "system.posix_acl_default", "security.selinux"} {
		_, err = unix.Getxattr(p, none, buf)
		wantErrno(t, err, unix.EOPNOTSUPP)
	}
	_, err = unix.Getxattr(p, "security.capability", buf)
	wantErrno(t, err, unix.ENODATA)
}
