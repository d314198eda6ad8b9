package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A daemon that is killed takes its mount down with it: the kernel closes the connection, and whoever waits gets an error.
// Not so while one of its threads is in a notification that waits for a page, and that page for a read that the daemon
// was to answer: nothing ends that thread, so nothing closes the connection, and every program that touches the mount
// hangs, ps(1) too, which looks at mapped files. Another process has to break the circle. The guard is that process: this
// program again, asleep, with nothing but the means to end the connection.

// GuardVerb is the verb that makes this program a guard; people do not use it.
const GuardVerb = "guard"

const (
	guardTalk  = 3 // a socket: the guard says that it is awake, the daemon that it ends cleanly
	guardAbort = 4 // the connection's abort file
	// guardSignal tells that the thread which started the guard has died, and so the daemon: the socket stays open as long
	// as one of its threads lives. No session or service manager sends it.
	guardSignal = unix.SIGUSR1
)

// guard is the daemon's side of it.
type guard struct {
	talk  *os.File
	ended chan error
}

// startGuard watches over the mount with this device number for as long as this process lives.
func startGuard(minor uint32) (*guard, error) {
	abort, err := openAbort(minor)
	if err != nil {
		return nil, err
	}
	defer abort.Close()
	return startGuardOn(abort)
}

func startGuardOn(abort *os.File) (*guard, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	g := &guard{os.NewFile(uintptr(ends[0]), "guard"), make(chan error, 1)}
	theirs := os.NewFile(uintptr(ends[1]), "daemon")
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe", GuardVerb)
	cmd.Args[0] = "vdfs"
	cmd.Dir = "/"
	cmd.Env = []string{} // it is nobody's daemon
	cmd.ExtraFiles = []*os.File{theirs, abort}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: guardSignal}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the end of this thread is what the guard waits for
		err := cmd.Start()
		started <- err
		if err == nil {
			g.ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("start guard: %w", err), g.talk.Close())
	}
	if err := theirs.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("start guard: %w", err), g.dismiss())
	}
	if _, err := io.ReadFull(g.talk, make([]byte, 1)); err != nil {
		return nil, errors.Join(fmt.Errorf("start guard: %w", err), g.dismiss())
	}
	return g, nil
}

// dismiss ends the guard: the mount is gone, or its daemon answers for it no more by its own will.
func (g *guard) dismiss() error {
	_, err := g.talk.Write([]byte{1})
	err = errors.Join(err, g.talk.Close(), <-g.ended)
	if err != nil {
		return fmt.Errorf("end guard: %w", err)
	}
	return nil
}

// openAbort opens the file that ends a FUSE connection. Numbers are used again after an unmount, so it has to be opened
// while the mount is sure to live. Without the control file system only the administrator can have it.
func openAbort(minor uint32) (*os.File, error) {
	name := strconv.FormatUint(uint64(minor), 10)
	f, err := os.OpenFile(filepath.Join("/sys/fs/fuse/connections", name, "abort"), os.O_WRONLY, 0)
	if err == nil {
		return f, nil
	}
	fs, serr := unix.Fsopen("fusectl", unix.FSOPEN_CLOEXEC)
	if serr != nil {
		return nil, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("open fusectl: %w", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open fusectl: %w", err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat(root, name+"/abort", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open fusectl: %w", err)
	}
	return os.NewFile(uintptr(fd), "abort"), nil
}

// Guard is the guard's life: it returns when the daemon has ended, and ends the connection if that was no clean end.
func Guard() error {
	// Whoever ends a session or a service means the daemon, which takes the guard with it.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM)
	died := make(chan os.Signal, 1)
	signal.Notify(died, guardSignal)
	talk, abort := os.NewFile(guardTalk, "daemon"), os.NewFile(guardAbort, "abort")
	if _, err := talk.Write([]byte{1}); err != nil {
		return fmt.Errorf("say that the guard is awake: %w", err)
	}
	clean := make(chan bool, 1)
	go func() {
		_, err := io.ReadFull(talk, make([]byte, 1))
		clean <- err == nil
	}()
	select {
	case yes := <-clean:
		if yes {
			return nil
		}
	case <-died:
	}
	if _, err := abort.Write([]byte("1")); err != nil {
		return fmt.Errorf("end connection: %w", err)
	}
	return nil
}
