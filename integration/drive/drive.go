package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// commandLimit ends a command that hangs; no command of the tests needs as long.
const commandLimit = 5 * time.Minute

// Drive is one drive: a binary, a home of its own and the place where it is
// mounted. Its methods may be called from several goroutines.
type Drive struct {
	// Bin is the path of the built binary.
	Bin string
	// Home is the VDFS_HOME of this drive.
	Home string
	// Mount is the mountpoint; it need not exist.
	Mount string
	// Env is added to the environment of every command.
	Env []string
}

// Result is what a finished command left behind.
type Result struct {
	Args   []string
	Stdout string
	Stderr string
	Code   int
}

// String shows the command with all it said, for failure messages.
func (r Result) String() string {
	return fmt.Sprintf("vdfs %s: exit %d\nstdout: %s\nstderr: %s",
		strings.Join(r.Args, " "), r.Code, r.Stdout, r.Stderr)
}

// Command prepares a run of the binary with this drive's home. The caller may
// change it before starting it.
func (d *Drive) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.Bin, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "VDFS_HOME="+d.Home, "NO_COLOR=1")
	cmd.Env = append(cmd.Env, d.Env...)
	return cmd
}

// Run runs one command to its end. A non-zero exit is a Result, not an error;
// an error means that the command could not be run, or that a process it left
// behind keeps its output open, which would hang `vdfs mount | cat`.
func (d *Drive) Run(args ...string) (Result, error) {
	return d.RunContext(context.Background(), args...)
}

// RunContext is Run, ended early by ctx.
func (d *Drive) RunContext(ctx context.Context, args ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := d.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	r := Result{Args: args, Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("run vdfs %s: %w\n%s", strings.Join(args, " "), err, r)
	}
	return r, nil
}

// Do runs a command that has to succeed and returns its standard output.
func (d *Drive) Do(args ...string) (string, error) {
	r, err := d.Run(args...)
	if err != nil {
		return "", err
	}
	if r.Code != 0 {
		return "", fmt.Errorf("command failed: %s", r)
	}
	return r.Stdout, nil
}

// JSON runs a command that has to succeed and decodes its standard output.
func (d *Drive) JSON(into any, args ...string) error {
	out, err := d.Do(args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("decode output of vdfs %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Log returns the last part of the daemon's log, and what it complained of before that, for failure messages.
func (d *Drive) Log() string {
	const keep = 8 << 10
	complaint := regexp.MustCompile(`(?m)^.*level=(WARN|ERROR).*\n`)
	var all strings.Builder
	err := filepath.WalkDir(d.Home, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".log") {
			// A log that vanished meanwhile is not worth failing for.
			return nil //nolint:nilerr
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		before, tail := text[:max(0, len(text)-keep)], text[max(0, len(text)-keep):]
		complaints := bytes.Join(complaint.FindAll(before, -1), nil)
		fmt.Fprintf(&all, "%s:\n%s...\n%s\n", path, complaints[max(0, len(complaints)-keep):], tail)
		return nil
	})
	if err != nil {
		fmt.Fprintf(&all, "read logs: %v\n", err)
	}
	return all.String()
}
