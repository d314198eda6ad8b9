package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"vdfs/integration/drive"
	"vdfs/integration/tree"
)

// bench is one run: a working directory, what is needed for it, and what was measured.
type bench struct {
	settings
	args   []string // what the settings were read from
	talk   io.Writer
	dir    string
	tools  tools
	report report
	begun  time.Time
}

// tools is the directory of what is built for a run. All users can read it.
type tools string

func (t tools) vdfs() string     { return filepath.Join(string(t), "vdfs") }
func (t tools) loopback() string { return filepath.Join(string(t), "loopback") }
func (t tools) bench() string    { return filepath.Join(string(t), "bench") }

// source is a tar file of a source tree, load a smaller one that several writers unpack at once.
func (t tools) source() string { return filepath.Join(string(t), "source.tar") }
func (t tools) load() string   { return filepath.Join(string(t), "load.tar") }

// newBench makes the working directory and builds what is to be measured.
func newBench(s settings, args []string, talk io.Writer) (*bench, error) {
	dir, err := os.MkdirTemp(s.Dir, "vdfs-bench-")
	if err != nil {
		return nil, fmt.Errorf("make working directory: %w", err)
	}
	b := &bench{settings: s, args: args, talk: talk, dir: dir, tools: tools(s.Tools), begun: time.Now()}
	if s.Tools == "" {
		b.tools = tools(filepath.Join(dir, "tools"))
		if err := b.prepare(); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	b.report = newReport(s)
	return b, nil
}

// prepare fills the directory of tools.
func (b *bench) prepare() error {
	if err := os.Mkdir(string(b.tools), 0o755); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	// The user that root measures as has to get in.
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	built, err := drive.Build(string(b.tools), false)
	if err != nil {
		return err
	}
	if built != b.tools.vdfs() {
		if err := tree.Copy(built, b.tools.vdfs()); err != nil {
			return err
		}
	}
	for path, pkg := range map[string]string{
		b.tools.loopback(): "vdfs/integration/bench/loopback", b.tools.bench(): "vdfs/integration/bench",
	} {
		if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	source, load := "internal", "encoding"
	if b.Small {
		source, load = "strings", "sort"
	}
	return errors.Join(archive(b.tools.source(), source), archive(b.tools.load(), load))
}

// archive packs a part of Go's own source.
func archive(path, part string) error {
	source, err := tree.GoSource()
	if err != nil {
		return err
	}
	if out, err := exec.Command("tar", "-C", source, "-cf", path, part).CombinedOutput(); err != nil {
		return fmt.Errorf("make archive: %w: %s", err, out)
	}
	return nil
}

// run measures in one mode after the other.
func (b *bench) run(ctx context.Context) error {
	if canForget() && !b.Small { // what was deleted before this run, too: while ext4 remembers that, it creates slowly
		if err := errors.Join(b.syncDisk(), forget("3")); err != nil {
			return err
		}
	}
	for _, m := range b.Modes {
		measure := b.inMode
		if m == modeUser && os.Geteuid() == 0 {
			measure = b.asUser
		}
		if err := measure(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	b.report.Seconds = time.Since(b.begun).Seconds()
	return nil
}

// inMode measures in this process.
func (b *bench) inMode(ctx context.Context, m mode) error {
	s := &session{bench: b, mode: m, dir: filepath.Join(b.dir, string(m))}
	return errors.Join(s.run(ctx), s.stopSubjects())
}

// asUser measures in a process that is an ordinary user's from its beginning,
// so that the work is that user's, too.
func (b *bench) asUser(ctx context.Context, m mode) error {
	user := ordinary()
	dir := filepath.Join(b.dir, string(m))
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, int(user.Uid), int(user.Gid))); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.tools.bench(),
		append(slices.Clone(b.args), "-tools", string(b.tools), "-dir", dir, "-modes", string(m), "-walk="+strconv.FormatBool(m == b.Walker), "-remove="+strconv.FormatBool(m == b.Remover), "-json")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	// It has to unmount before it ends.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, b.talk
	if err := cmd.Run(); err != nil {
		return err
	}
	var theirs report
	if err := json.Unmarshal(out.Bytes(), &theirs); err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	b.report.add(theirs)
	return nil
}

// close removes the working directory, but not what is mounted in it yet:
// removing would reach through the mount.
func (b *bench) close() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("clean up: %w; left behind: %s", err, b.dir)
	}
	if bytes.Contains(mounts, []byte("/"+filepath.Base(b.dir)+"/")) {
		return fmt.Errorf("clean up: something is mounted yet; left behind: %s", b.dir)
	}
	return os.RemoveAll(b.dir)
}
