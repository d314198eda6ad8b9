package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vdfs/integration/drive"
)

const (
	nativeName   = "native"
	loopbackName = "loopback"
	vdfsName     = "vdfs"
)

// subject is a file system under measurement.
type subject interface {
	name() string
	// root is where the work is done.
	root() string
	// remount makes the kernel forget what it knows of the tree.
	remount(ctx context.Context) error
	// settle returns when nothing happens in the background any more.
	settle(ctx context.Context) error
	// stop unmounts. It may be called only once.
	stop() error
}

// startAll makes the three subjects, each over a directory of its own, which
// fill, if there is one, has filled before.
func (b *bench) startAll(ctx context.Context, group string, fill func(dir string) error) error {
	base := filepath.Join(b.dir, group)
	for _, name := range []string{nativeName, loopbackName, vdfsName} {
		dir := filepath.Join(base, name, "dir")
		at := filepath.Join(base, name, "mount")
		for _, d := range []string{dir, at} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
		}
		if fill != nil {
			if err := fill(dir); err != nil {
				return err
			}
		}
		var s subject
		var err error
		switch name {
		case nativeName:
			s = native(dir)
		case loopbackName:
			s, err = b.startLoopback(dir, at)
		case vdfsName:
			s, err = b.startVdfs(ctx, dir, at, filepath.Join(base, name, "home"))
		}
		if s != nil {
			b.subjects = append(b.subjects, s)
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	return nil
}

// native is the disk itself.
type native string

func (n native) name() string                  { return nativeName }
func (n native) root() string                  { return string(n) }
func (n native) remount(context.Context) error { return nil }
func (n native) settle(context.Context) error  { return nil }
func (n native) stop() error                   { return nil }

// loopback is go-fuse's loopback over a directory.
type loopback struct {
	bin, dir, at string
	cmd          *exec.Cmd
}

func (b *bench) startLoopback(dir, at string) (subject, error) {
	l := &loopback{bin: b.loopback, dir: dir, at: at}
	if err := l.start(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *loopback) start() error {
	l.cmd = exec.Command(l.bin, l.dir, l.at)
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start loopback: %w", err)
	}
	if err := l.cmd.Start(); err != nil {
		return fmt.Errorf("start loopback: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "mounted" {
		return fmt.Errorf("start loopback: it says %q: %w", line, errors.Join(err, l.cmd.Wait()))
	}
	return nil
}

func (l *loopback) name() string                 { return loopbackName }
func (l *loopback) root() string                 { return l.at }
func (l *loopback) settle(context.Context) error { return nil }

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

// vdfs is a drive over a directory, with its conduit attached and active.
type vdfs struct {
	*drive.Drive
	dir string
	// firstContact is how long it took until the whole directory was known.
	firstContact time.Duration
	// peak is the most memory the daemon had taken by then, in bytes.
	peak int64
}

func (b *bench) startVdfs(ctx context.Context, dir, at, home string) (subject, error) {
	v := &vdfs{dir: dir, Drive: &drive.Drive{
		Bin: b.vdfs, Home: home, Mount: at,
		Env: []string{"HOME=" + filepath.Dir(home), "XDG_RUNTIME_DIR="},
	}}
	start := time.Now()
	if _, err := v.Do("mount", at, "--from", dir); err != nil {
		return v, err
	}
	if err := v.settle(ctx); err != nil {
		return v, err
	}
	v.firstContact = time.Since(start)
	var err error
	v.peak, err = v.peakMemory()
	return v, err
}

func (v *vdfs) name() string { return vdfsName }
func (v *vdfs) root() string { return v.Mount }
func (v *vdfs) stop() error  { return v.Close() }

func (v *vdfs) remount(ctx context.Context) error {
	if _, err := v.Do("unmount", v.Mount); err != nil {
		return err
	}
	if _, err := v.Do("mount", v.Mount); err != nil {
		return err
	}
	return v.settle(ctx)
}

func (v *vdfs) settle(ctx context.Context) error {
	return v.sync(ctx)
}

// sync runs a whole cycle with the given flags.
func (v *vdfs) sync(ctx context.Context, flags ...string) error {
	r, err := v.RunContext(ctx, append([]string{"sync", "--wait"}, flags...)...)
	if err != nil {
		return err
	}
	if r.Code != 0 {
		return fmt.Errorf("sync did not complete: %s", r)
	}
	return nil
}
