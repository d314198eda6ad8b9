package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process watches one process until it ends, whoever its parent is.
type process struct{ pid, fd int }

func watch(pid int) (process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	return process{pid, fd}, err
}

// ended waits up to d for the end.
func (p process) ended(d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
}

// ending reports whether the process has begun to leave. It runs no code any more, so whatever it had to do is done; what
// can keep it now is a dead disk that does not let a thread go.
func (p process) ending() bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		switch key, value, _ := strings.Cut(lines.Text(), ":"); key {
		case "State":
			if strings.HasPrefix(strings.TrimSpace(value), "Z") {
				return true
			}
		case "SigPnd": // of the first thread: the end of a process kills the others
			pending, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err == nil && pending&(1<<(unix.SIGKILL-1)) != 0
		}
	}
	return false
}

func (p process) close() { _ = unix.Close(p.fd) } // nothing was written to it
