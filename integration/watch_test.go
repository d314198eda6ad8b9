package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// screen is a terminal of 24 lines of 80 characters with a command in it.
type screen struct {
	cmd  *exec.Cmd
	keys *os.File
	read chan struct{} // closed when the command has closed it

	mu   sync.Mutex
	said strings.Builder
}

// onScreen runs a command of the drive in a terminal of its own.
func (f *fixture) onScreen(args ...string) *screen {
	f.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	must(f.t, err)
	fd := int(master.Fd())
	must(f.t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(f.t, err)
	must(f.t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(f.t, err)
	defer slave.Close()
	ctx, cancel := context.WithCancel(context.Background())
	s := &screen{cmd: f.Command(ctx, args...), keys: master, read: make(chan struct{})}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(f.t, s.cmd.Start())
	f.t.Cleanup(func() {
		cancel()
		_ = s.cmd.Wait() // it may have been waited for
		<-s.read
		master.Close()
	})
	go func() {
		defer close(s.read)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			s.mu.Lock()
			s.said.Write(buf[:n])
			s.mu.Unlock()
			if err != nil { // EIO: nobody has it open any more
				return
			}
		}
	}()
	return s
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// frames are the pictures that were drawn, one over the other.
func (s *screen) frames() []string {
	return strings.Split(s.text(), "\x1b[H")[1:]
}

func TestAWatchIsRedrawnInPlace(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	f.settled()
	s := f.onScreen("status", "--watch")
	begun := time.Now()
	eventually(t, "it shows the drive", func() bool { return strings.Contains(s.text(), f.at[:20]) && strings.Contains(s.text(), "last sync") })
	for i := range 5 {
		write(t, f.path(fmt.Sprint("file", i)), "x")
		f.sync()
	}
	long := strings.Repeat("long ", 40)
	write(t, f.path(long), "x")
	f.sync()
	eventually(t, "it shows what has happened", func() bool {
		return strings.Contains(s.text(), "SyncCompleted") && strings.Contains(s.text(), "/long long")
	})
	took := time.Since(begun)
	if _, err := s.keys.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	<-s.read
	text := s.text()
	if !strings.HasPrefix(text, "\x1b[?25l\x1b[2J\x1b[H") || strings.Count(text, "\x1b[2J") != 1 {
		t.Errorf("it does not begin with one clear screen: %q", text[:min(len(text), 100)])
	}
	if at := strings.LastIndex(text, "\x1b[?25h"); at < strings.LastIndex(text, "\x1b[H") {
		t.Error("the cursor is not shown again")
	}
	frames := s.frames()
	if most := int(took/(500*time.Millisecond)) + 2; len(frames) > most {
		t.Errorf("%d pictures in %v", len(frames), took)
	}
	for _, frame := range frames {
		lines := strings.Split(frame, "\r\n")
		if len(lines) > 24 {
			t.Errorf("a picture has %d lines", len(lines))
		}
		for _, line := range lines[:len(lines)-1] {
			line = strings.TrimSuffix(line, "\x1b[0m\x1b[K")
			if line = strings.TrimSuffix(line, "\x1b[K"); len([]rune(line)) > 80 {
				t.Errorf("a line has %d characters: %q", len([]rune(line)), line)
			}
		}
	}
}

func TestAWatchThatIsNoScreenPrintsPlainLines(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	f.settled()
	before := f.metric("vdfs_event_subscribers")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, err := os.Create(f.Home + "-out")
	must(t, err)
	defer out.Close()
	cmd := f.Command(ctx, "status", "--watch")
	cmd.Stdout = out
	must(t, cmd.Start())
	eventually(t, "it listens", func() bool { return f.metric("vdfs_event_subscribers") == before+1 })
	write(t, f.path("file"), "x")
	f.sync()
	eventually(t, "it says what has happened", func() bool { return strings.Contains(read(t, out.Name()), "SyncCompleted") })
	must(t, cmd.Process.Signal(unix.SIGINT))
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if text := read(t, out.Name()); strings.Contains(text, "\x1b") || !strings.Contains(text, "\nhome ") {
		t.Errorf("it said %q", text)
	}
}

func TestAWatchEndsWithTheDaemon(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	s := f.onScreen("status", "--watch")
	eventually(t, "it shows the drive", func() bool { return strings.Contains(s.text(), "last sync") })
	f.do("unmount", f.at)
	_ = s.cmd.Wait() // its exit code says how it ended
	<-s.read
	if code := s.cmd.ProcessState.ExitCode(); code != 6 || !strings.Contains(s.text(), "\x1b[?25h") {
		t.Errorf("exit %d, the last of it %q", code, s.text()[max(0, len(s.text())-200):])
	}
}
