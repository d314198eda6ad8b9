package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// trapEnv makes the test binary a daemon that walks into the trap which guards are for.
const trapEnv = "DAEMON_TEST_TRAP"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == GuardVerb {
		end(Guard())
	}
	if at := os.Getenv(trapEnv); at != "" {
		end(walkIntoTrap(at))
	}
	os.Exit(m.Run())
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// trap is a file system with one file, "file". It answers no read, but tells the kernel to drop the pages for which that
// read was: the kernel waits for the read.
type trap struct {
	gofuse.RawFileSystem
	server *gofuse.Server
}

const (
	trapFile = 2 // its node
	trapSize = 64 << 10
)

func (tr *trap) Lookup(_ <-chan struct{}, _ *gofuse.InHeader, name string, out *gofuse.EntryOut) gofuse.Status {
	if name != "file" {
		return gofuse.ENOENT
	}
	out.NodeId, out.Generation = trapFile, 1
	out.Attr = gofuse.Attr{Ino: trapFile, Mode: unix.S_IFREG | 0o644, Size: trapSize, Nlink: 1}
	return gofuse.OK
}

func (tr *trap) GetAttr(_ <-chan struct{}, in *gofuse.GetAttrIn, out *gofuse.AttrOut) gofuse.Status {
	out.Attr = gofuse.Attr{Ino: in.NodeId, Mode: unix.S_IFDIR | 0o755, Nlink: 2}
	if in.NodeId == trapFile {
		out.Attr = gofuse.Attr{Ino: trapFile, Mode: unix.S_IFREG | 0o644, Size: trapSize, Nlink: 1}
	}
	return gofuse.OK
}

func (tr *trap) Open(<-chan struct{}, *gofuse.OpenIn, *gofuse.OpenOut) gofuse.Status {
	return gofuse.OK
}

func (tr *trap) Read(<-chan struct{}, *gofuse.ReadIn, []byte) (gofuse.ReadResult, gofuse.Status) {
	fmt.Println("reading")
	tr.server.InodeNotify(trapFile, 0, 0)
	select {}
}

// walkIntoTrap serves a trap at a directory until it is killed.
func walkIntoTrap(at string) error {
	tr := &trap{RawFileSystem: gofuse.NewDefaultRawFileSystem()}
	var err error
	if tr.server, err = gofuse.NewServer(tr, at, &gofuse.MountOptions{FsName: "vdfs-trap", DirectMount: true}); err != nil {
		return err
	}
	go tr.server.Serve()
	if err := tr.server.WaitMount(); err != nil {
		return err
	}
	m, err := mountAt(at)
	if err != nil || m == nil {
		return errors.Join(err, errors.New("it is not mounted"))
	}
	if _, err := startGuard(m.minor); err != nil {
		return err
	}
	fmt.Println(m.minor)
	select {}
}

// trapped starts such a daemon, has a program read its file, and returns both when the daemon sits in the trap.
func trapped(t *testing.T) (daemon, reader *exec.Cmd) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	daemon = exec.Command("/proc/self/exe")
	daemon.Env = append(os.Environ(), trapEnv+"="+at)
	daemon.Stderr = os.Stderr
	out, err := daemon.StdoutPipe()
	if err == nil {
		err = daemon.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	said := bufio.NewScanner(out)
	said.Scan()
	var minor uint32
	if _, err := fmt.Sscan(said.Text(), &minor); err != nil {
		t.Fatalf("the daemon does not start: %q", said.Text())
	}
	abort, err := openAbort(minor)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever fails, nothing is left that hangs.
	t.Cleanup(func() { _, _ = abort.Write([]byte("1")); abort.Close() })
	reader = exec.Command("cat", filepath.Join(at, "file"))
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	said.Scan()
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if !within(func() bool { return waitsForDisk(daemon.Process.Pid) }) {
		t.Fatal("the daemon did not walk into the trap")
	}
	return daemon, reader
}

// waitsForDisk reports whether a thread of a process is where no signal reaches it.
func waitsForDisk(pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return false
	}
	for _, task := range tasks {
		if text, err := os.ReadFile(task); err == nil && strings.Contains(string(text), "State:\tD") {
			return true
		}
	}
	return false
}

// within waits until a condition holds.
func within(condition func() bool) bool {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-again.C {
		if condition() {
			return true
		}
	}
	return false
}

func TestAGuardFreesWhoWaitsForAKilledDaemon(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only the administrator may end connections here")
	}
	daemon, reader := trapped(t)
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, cmd := range map[string]*exec.Cmd{"reader": reader, "daemon": daemon} {
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("the %s ended well", name)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the %s hangs", name)
		}
	}
}

func TestADismissedGuardLeavesTheConnectionAlone(t *testing.T) {
	t.Parallel()
	abort, err := os.CreateTemp(t.TempDir(), "abort")
	if err != nil {
		t.Fatal(err)
	}
	g, err := startGuardOn(abort)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.dismiss(); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(abort.Name()); err != nil || len(text) > 0 {
		t.Errorf("it wrote %q, %v", text, err)
	}
}
