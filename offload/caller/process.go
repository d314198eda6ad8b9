package caller

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is what /proc says of one.
type process struct {
	start    string // in clock ticks since boot: with the id it names a process for good
	parent   uint32
	terminal bool   // it has one
	exe      string // path; "": may not be looked at
	args     []string
	cgroup   string // path in the unified hierarchy, or that of systemd
}

// argsMax is as much of the arguments as is looked at.
const argsMax = 4096

// identify reads what tells a process from another that had its id, and from what it ran before.
func identify(proc string, pid uint32) (p process, err error) {
	dir := filepath.Join(proc, strconv.FormatUint(uint64(pid), 10))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return p, err
	}
	if err := p.readStat(stat); err != nil {
		return p, err
	}
	// That of another user's process may not be read; then its arguments have to do.
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		p.exe = strings.TrimSuffix(exe, " (deleted)")
	}
	return p, nil
}

// readStat takes what is wanted from the line of /proc/PID/stat. The name in it may hold anything, so fields count from
// its end.
func (p *process) readStat(line []byte) error {
	const parent, terminal, start = 1, 4, 19
	end := bytes.LastIndexByte(line, ')')
	fields := strings.Fields(string(line[end+1:]))
	if end < 0 || len(fields) <= start {
		return fmt.Errorf("read state of a process: %q", line)
	}
	id, err := strconv.ParseUint(fields[parent], 10, 32)
	if err != nil {
		return fmt.Errorf("read state of a process: %w", err)
	}
	p.parent, p.terminal, p.start = uint32(id), fields[terminal] != "0", fields[start]
	return nil
}

// read is identify with everything else.
func read(proc string, pid uint32) (process, error) {
	p, err := identify(proc, pid)
	if err != nil {
		return p, err
	}
	dir := filepath.Join(proc, strconv.FormatUint(uint64(pid), 10))
	if p.args, err = readArgs(filepath.Join(dir, "cmdline")); err != nil {
		return p, err
	}
	group, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without control groups
		return p, err
	}
	p.cgroup = cgroupOf(string(group))
	return p, nil
}

// argsWait bounds the wait for the arguments of a process.
const argsWait = time.Second

var errArgs = errors.New("arguments of a process are not to be had")

// readArgs reads the arguments of a process. The kernel takes them from its memory, and cannot while one of its threads
// has that locked: one that waits in there for the very bytes that this is about would wait for ever. What cannot be read
// in time is left to come to its end when the thread does.
func readArgs(name string) ([]string, error) {
	type result struct {
		args []string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		args, err := argsIn(name)
		got <- result{args, err}
	}()
	timer := time.NewTimer(argsWait)
	defer timer.Stop()
	select {
	case r := <-got:
		return r.args, r.err
	case <-timer.C:
		return nil, errArgs
	}
}

func argsIn(name string) (args []string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, argsMax))
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), nil
}

// cgroupOf finds the path that systemd gave a process.
func cgroupOf(lines string) string {
	for line := range strings.Lines(lines) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		if id == "0" || controllers == "name=systemd" {
			return path
		}
	}
	return ""
}

// name is the program that a process runs: behind an interpreter its script. "": cannot be told.
func (p *process) name() string {
	exe := path.Base(p.exe)
	if p.exe == "" || fits(exe, boxes) {
		exe = ""
		if len(p.args) > 0 {
			exe = strings.TrimPrefix(path.Base(p.args[0]), "-") // a login shell
		}
	}
	if fits(exe, interpreters) {
		if script := p.script(); script != "" {
			return script
		}
	}
	return exe
}

// script is what an interpreter runs; "": nothing, or a text in its arguments.
func (p *process) script() string {
	for i := 1; i < len(p.args); i++ {
		switch a := p.args[i]; {
		case a == "-m" && i+1 < len(p.args): // of Python: a module
			return p.args[i+1]
		case a == "-c" || a == "-e" || a == "-E":
			return ""
		case !strings.HasPrefix(a, "-") && a != "":
			return path.Base(a)
		}
	}
	return ""
}

// typedAt reports whether it is a shell that takes its commands from a terminal.
func (p *process) typedAt() bool {
	return p.terminal && fits(p.name(), shells) && p.script() == "" && !hasCommand(p.args)
}

func hasCommand(args []string) bool {
	for _, a := range args {
		if strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.HasSuffix(a, "c") {
			return true
		}
	}
	return false
}

// service reports whether systemd started a process as a service, and not for a person's session: one of the system, or
// one of the person's that is no application.
func (p *process) service() bool {
	if p.terminal {
		return false
	}
	leaf := path.Base(p.cgroup)
	switch {
	case strings.Contains(p.cgroup, "/background.slice/"):
		return true
	case strings.HasPrefix(p.cgroup, "/system.slice/"):
		return strings.HasSuffix(leaf, ".service")
	case !strings.Contains(p.cgroup, "/user@") || strings.Contains(p.cgroup, "/session.slice/"):
		return false
	}
	// Applications are app-NAME-ID.service or .scope; what the bus starts is dbus-NAME.service.
	return strings.HasSuffix(leaf, ".service") && !fits(leaf, []string{"app-*", "dbus-*", "user@*", "*terminal*", "org.*"})
}
