package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"vdfs/cmd/control"
)

// ReadyFD is the descriptor on which a background daemon says how its start went.
const ReadyFD = 3

// readiness is that message: exactly one field is set.
type readiness struct {
	Drive *control.Drive `json:"drive,omitempty"`
	Error *control.Error `json:"error,omitempty"`
}

// Spawn starts args (a command line of this very program that runs a daemon in
// the foreground and reports to ReadyFD) in a session of its own and waits until
// its mount answers. env is its environment. The error is the daemon's own. When ctx ends first, the
// daemon is told to stop and waited for.
func Spawn(ctx context.Context, args, env []string, logHint string) (control.Drive, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return control.Drive{}, fmt.Errorf("start daemon: %w", err)
	}
	defer read.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "vdfs"
	cmd.Dir = "/" // the daemon must keep no directory busy
	cmd.Env = env
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	if cerr := write.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return control.Drive{}, fmt.Errorf("start daemon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // it may have ended by itself
	defer stop()
	return await(read, cmd, logHint)
}

// await reads the daemon's message; a daemon that failed or died is reaped.
func await(read io.Reader, cmd *exec.Cmd, logHint string) (control.Drive, error) {
	var r readiness
	decodeErr := json.NewDecoder(read).Decode(&r)
	if decodeErr == nil && r.Drive != nil {
		return *r.Drive, cmd.Process.Release()
	}
	exit := wait(cmd)
	if decodeErr == nil && r.Error != nil {
		return control.Drive{}, r.Error
	}
	if exit == nil {
		exit = errors.New("it ended before the drive was mounted")
	}
	return control.Drive{}, fmt.Errorf("start daemon: %w (see %s)", exit, logHint)
}

// endMax is how long a daemon that failed may take to end. One that looked at a dead disk ends when that disk does.
const endMax = 5 * time.Second

// wait reaps a daemon and says how it ended.
func wait(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case exit := <-done:
		return exit
	case <-time.After(endMax):
		return errors.New("it does not end")
	}
}

// Ready is the daemon's end of the start: it reports once. The zero Ready reports to nobody.
type Ready struct{ w io.WriteCloser }

// ReadyOn reports on a descriptor that Spawn gave this process.
func ReadyOn(fd int) Ready {
	syscall.CloseOnExec(fd)
	return Ready{os.NewFile(uintptr(fd), "ready")}
}

// Mounted reports success.
func (r Ready) Mounted(d control.Drive) error { return r.send(readiness{Drive: &d}) }

// Failed reports why there is no mount.
func (r Ready) Failed(err error) error {
	e := control.AsError(err)
	e.Message = strings.ReplaceAll(e.Message, "\n", "; ")
	return r.send(readiness{Error: e})
}

// Silent reports whether nobody listens to this Ready.
func (r Ready) Silent() bool { return r.w == nil }

func (r Ready) send(m readiness) error {
	if r.w == nil {
		return nil
	}
	if err := errors.Join(json.NewEncoder(r.w).Encode(m), r.w.Close()); err != nil {
		return fmt.Errorf("report start: %w", err)
	}
	return nil
}
