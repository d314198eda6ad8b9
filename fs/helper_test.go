package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// Some things cannot be done by the process that serves the mount: a page fault in a mapping blocks a thread without
// the scheduler's knowledge, and a program must be killed. The test binary does them as a child.
const helperEnv = "FS_TEST_HELPER"

func TestMain(m *testing.M) {
	helpers := map[string]func(args []string) error{
		"mmap-write": mmapWrite, "mmap-read": mmapRead, "read": readAll, "direct-read": directRead,
		"serve": serve,
	}
	if do := helpers[os.Getenv(helperEnv)]; do != nil {
		if err := do(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper is a child that does one of the above.
func helper(t *testing.T, what string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+what)
	return cmd
}

func runHelper(t *testing.T, what string, args ...string) string {
	t.Helper()
	out, err := helper(t, what, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", what, err, out)
	}
	return string(out)
}

func mapFile(path string, flags, prot int, use func(p []byte) error) error {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), prot, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return errors.Join(use(p), unix.Munmap(p), f.Close())
}

// mmapWrite PATH TEXT writes TEXT over the beginning through a mapping.
func mmapWrite(args []string) error {
	return mapFile(args[0], os.O_RDWR, unix.PROT_READ|unix.PROT_WRITE, func(p []byte) error {
		copy(p, args[1])
		return unix.Msync(p, unix.MS_SYNC)
	})
}

// mmapRead PATH prints the file.
func mmapRead(args []string) error {
	return mapFile(args[0], os.O_RDONLY, unix.PROT_READ, func(p []byte) error {
		_, err := os.Stdout.Write(bytes.Clone(p))
		return err
	})
}

// readAll PATH reads the file.
func readAll(args []string) error {
	_, err := os.ReadFile(args[0])
	return err
}

// serve MOUNTPOINT STATE mounts a drive with a file "ready" in it, prints the number of a child that outlives it, and
// waits to be killed.
func serve(args []string) error {
	c, err := cache.Open(context.Background(), cache.Options{Dir: args[1], UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	if err != nil {
		return err
	}
	if _, err := c.Mknod(cache.RootIno, "ready", cache.File, 0o600, 0, cache.Caller{}); err != nil {
		return err
	}
	s, err := Mount(Options{Mountpoint: args[0], Cache: c, Hydrator: &fakeHydrator{}, Lister: &fakeLister{}, States: &fakeStates{}, Room: &fakeRoom{}})
	if err != nil {
		return err
	}
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		return err
	}
	fmt.Println(child.Process.Pid)
	return s.Run(context.Background())
}

// directRead PATH reads past the page cache, where a signal interrupts the request itself. It prints its thread, so that
// the signal can go there, and the error.
func directRead(args []string) error {
	runtime.LockOSThread()
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
	fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	fmt.Println(unix.Gettid())
	_, err = unix.Read(fd, make([]byte, 4096))
	fmt.Println(err)
	return nil
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

// endsWhenKilled kills a program that waits for the mount.
func endsWhenKilled(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	must(t, cmd.Process.Kill())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it was killed
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("a killed program hangs")
	}
}
