package cli

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// process watches one process until it ends, whoever its parent is.
type process struct{ fd int }

func watch(pid int) (process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	return process{fd}, err
}

// ended waits up to d for the end.
func (p process) ended(d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
}

func (p process) close() { _ = unix.Close(p.fd) } // nothing was written to it
