package sdnotify

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listen is a manager's socket.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// heard is the next message.
func heard(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// shortDir is a temporary directory whose name leaves room for that of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestMessagesArriveOneByOne(t *testing.T) {
	for kind, name := range map[string]string{
		"a file":             filepath.Join(shortDir(t), "notify"),
		"an abstract socket": fmt.Sprintf("@vdfs-test-%d", os.Getpid()),
	} {
		t.Run(kind, func(t *testing.T) {
			c := listen(t, name)
			t.Setenv(variable, name)
			m := Take()
			for _, state := range []string{Ready, Stopping} {
				if err := m.Tell(state); err != nil {
					t.Fatal(err)
				}
			}
			if got := heard(t, c); got != "READY=1" {
				t.Errorf("first %q", got)
			}
			if got := heard(t, c); got != "STOPPING=1" {
				t.Errorf("second %q", got)
			}
		})
	}
}

func TestChildrenDoNotInheritTheSocket(t *testing.T) {
	t.Setenv(variable, "/nowhere")
	Take()
	out, err := exec.Command("env").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), variable) {
		t.Errorf("a child has it:\n%s", out)
	}
	if m := Take(); m != (Manager{}) {
		t.Errorf("taken twice: %+v", m)
	}
}

func TestWithoutAManagerNothingIsSaid(t *testing.T) {
	t.Parallel()
	if err := (Manager{}).Tell(Ready); err != nil {
		t.Error(err)
	}
}

func TestAManagerThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	err := Manager{filepath.Join(shortDir(t), "gone")}.Tell(Ready)
	if err == nil || !strings.Contains(err.Error(), Ready) {
		t.Errorf("error %v", err)
	}
}
