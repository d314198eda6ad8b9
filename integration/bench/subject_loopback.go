package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// loopback is go-fuse's loopback over a directory.
type loopback struct {
	bin, dir, at string
	flags        []string
	cmd          *exec.Cmd
	procs        int // its GOMAXPROCS
}

func (s *session) startLoopback(dir, at string) (subject, error) {
	l := &loopback{bin: s.tools.loopback(), dir: dir, at: at}
	if s.mode == modeNoPass {
		l.flags = []string{"-no-passthrough"}
	}
	if err := l.start(); err != nil {
		return nil, err
	}
	s.report.Machine.LoopbackProcs = l.procs
	return l, nil
}

func (l *loopback) start() error {
	l.cmd = exec.Command(l.bin, append(slices.Clone(l.flags), l.dir, l.at)...)
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start loopback: %w", err)
	}
	if err := l.cmd.Start(); err != nil {
		return fmt.Errorf("start loopback: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scanErr := fmt.Sscanf(line, "mounted, GOMAXPROCS %d", &l.procs); scanErr != nil {
		return fmt.Errorf("start loopback: it says %q: %w", line, errors.Join(err, l.cmd.Wait()))
	}
	return nil
}

func (l *loopback) name() string                 { return loopbackName }
func (l *loopback) root() string                 { return l.at }
func (l *loopback) settle(context.Context) error { return nil }
func (l *loopback) stir(context.Context) error   { return readFar(l.root()) }

func (l *loopback) remount(context.Context) error {
	if err := l.stop(); err != nil {
		return err
	}
	return l.start()
}

func (l *loopback) stop() error {
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop loopback: %w", err)
	}
	if err := l.cmd.Wait(); err != nil {
		return fmt.Errorf("stop loopback: %w", err)
	}
	return nil
}
