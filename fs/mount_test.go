package fs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCheckMountpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "full"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "full", "file"), nil, 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	must(t, os.Symlink("empty", filepath.Join(dir, "link")))
	for path, want := range map[string]error{
		"missing": ErrMissing, "missing/below": ErrMissing, "file": ErrNotDirectory, "full": ErrNotEmpty, "empty": nil, "link": nil,
	} {
		got, err := CheckMountpoint(filepath.Join(dir, path))
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if err == nil && filepath.Base(got) != "empty" {
			t.Errorf("%s resolves to %s", path, got)
		}
	}
	if _, err := CheckMountpoint("/proc"); !errors.Is(err, ErrMounted) {
		t.Errorf("/proc: %v", err)
	}
}

func TestMountTableShowsTheDrive(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	m, found := mountAt(e.mnt)
	if !found || m.fstype != "fuse.sshfs" || m.source != "vdfs" {
		t.Fatalf("mounted as %+v, %v", m, found)
	}
	if _, err := CheckMountpoint(e.mnt); !errors.Is(err, ErrMounted) {
		t.Fatalf("a second mount: %v", err)
	}
	if gone, err := Recover(e.mnt); gone || err != nil {
		t.Fatalf("recovered a living mount: %v, %v", gone, err)
	}
	var st unix.Statfs_t
	must(t, unix.Statfs(e.mnt, &st))
	if st.Blocks == 0 || st.Namelen != 255 || st.Flags&unix.ST_NOSUID == 0 || st.Flags&unix.ST_NODEV == 0 {
		t.Fatalf("statfs: %+v", st)
	}
}

func TestParseMount(t *testing.T) {
	t.Parallel()
	m, ok := parseMount(`36 35 0:45 / /home/a\040b/\134x rw,nosuid shared:1 master:2 - fuse.sshfs vd\011fs rw,user_id=0`)
	if !ok || m.point != `/home/a b/\x` || m.fstype != "fuse.sshfs" || m.source != "vd\tfs" {
		t.Fatalf("%+v, %v", m, ok)
	}
	for _, bad := range []string{"", "36 35", "36 35 0:45 / - fuse x", "36 35 0:45 / /x rw - fuse"} {
		if _, ok := parseMount(bad); ok {
			t.Errorf("%q was understood", bad)
		}
	}
}

func TestUnmountBusy(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", []byte("text"))
	f, err := os.Open(e.path("f"))
	must(t, err)
	if err := e.server.Unmount(false); !errors.Is(err, ErrInUse) {
		t.Fatalf("unmount of a busy mount: %v", err)
	}
	e.wantContent("f", []byte("text"))
	must(t, e.server.Unmount(true))
	got := make([]byte, 4)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "text" {
		t.Fatalf("the open file reads %q, %v", got, err)
	}
	must(t, f.Close())
	<-e.server.Done()
}

func TestReadOnlyMount(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	e.write("f", []byte("text"))
	e.unmount()
	e.mount(func(o *Options) { o.ReadOnly = true })
	e.wantContent("f", []byte("text"))
	_, err := os.Create(e.path("g"))
	wantErrno(t, err, unix.EROFS)
	wantErrno(t, os.Chmod(e.path("f"), 0o600), unix.EROFS)
}

// servedByChild mounts a drive that a process of its own serves.
func servedByChild(t *testing.T) (mnt string, cmd *exec.Cmd) {
	t.Helper()
	needFUSE(t)
	dir := t.TempDir()
	mnt = filepath.Join(dir, "mnt")
	must(t, os.Mkdir(mnt, 0o755))
	cmd = helper(t, "serve", mnt, filepath.Join(dir, "state"))
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		if _, found := mountAt(mnt); found {
			if err := detach(mnt, true); err != nil {
				t.Error(err)
			}
		}
	})
	line, err := bufio.NewReader(pipe).ReadString('\n')
	must(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	// The child must not keep the connection alive, or the mount would hang instead of being stale.
	t.Cleanup(func() { must(t, unix.Kill(child, unix.SIGKILL)) })
	_, err = os.Stat(filepath.Join(mnt, "ready"))
	must(t, err)
	return mnt, cmd
}

// until waits for a condition that comes by itself.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// threads reads a file of each thread of a process.
func threads(t *testing.T, pid int, file string) (out []string) {
	t.Helper()
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", pid, file))
	must(t, err)
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil { // else it has just ended
			out = append(out, string(text))
		}
	}
	return out
}

// stopped reports whether no thread of a process runs.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	return !slices.ContainsFunc(threads(t, pid, "status"), func(s string) bool { return !strings.Contains(s, "State:\tT") })
}

// inSyscall reports whether a thread of this process is in a system call.
func inSyscall(t *testing.T, number uintptr) bool {
	t.Helper()
	return slices.ContainsFunc(threads(t, os.Getpid(), "syscall"), func(s string) bool { return strings.HasPrefix(s, fmt.Sprint(number, " ")) })
}

func TestAMountIsStaleWhoseProcessGoesWhileItIsAsked(t *testing.T) {
	t.Parallel()
	mnt, cmd := servedByChild(t)
	must(t, cmd.Process.Signal(unix.SIGSTOP))
	until(t, "it stops", func() bool { return stopped(t, cmd.Process.Pid) })
	checked := make(chan error, 1)
	go func() {
		_, err := CheckMountpoint(mnt)
		checked <- err
	}()
	until(t, "the mount is asked", func() bool { return inSyscall(t, unix.SYS_STATFS) })
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	if err := <-checked; !errors.Is(err, ErrStaleMount) {
		t.Errorf("a mount whose process went meanwhile: %v", err)
	}
	if found, err := Recover(mnt); !found || err != nil {
		t.Errorf("recover: %v, %v", found, err)
	}
}

func TestStaleMountIsRecovered(t *testing.T) {
	t.Parallel()
	mnt, cmd := servedByChild(t)
	must(t, cmd.Process.Kill())
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the helper ended with %v", err)
	}
	if _, err := CheckMountpoint(mnt); !errors.Is(err, ErrStaleMount) {
		t.Fatalf("a stale mount: %v", err)
	}
	gone, err := Recover(mnt)
	if !gone || err != nil {
		t.Fatalf("recover: %v, %v", gone, err)
	}
	if _, err := CheckMountpoint(mnt); err != nil {
		t.Fatal(err)
	}
}

func TestMountFailsCleanly(t *testing.T) {
	t.Parallel()
	if _, err := Mount(Options{Mountpoint: t.TempDir()}); err == nil {
		t.Fatal("mounted without a cache")
	}
}
