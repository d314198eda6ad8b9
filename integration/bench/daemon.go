package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTicks is the unit of /proc/PID/stat, the same on every Linux that Go knows.
const clockTicks = 100

// cycles measures what the daemon spends on a tree that did not change, and
// reports what taking it in had cost.
func (b *bench) cycles(ctx context.Context) error {
	v, err := b.drive()
	if err != nil {
		return err
	}
	b.results = append(
		b.results,
		result{Name: fmt.Sprintf("first contact with %d files", b.TreeFiles), Unit: "s", Vdfs: v.firstContact.Seconds()},
		result{Name: "peak memory of it", Unit: "MiB", Vdfs: float64(v.peak) / (1 << 20)},
	)
	for _, c := range []struct {
		name  string
		flags []string
	}{{"no-change cycle", nil}, {"no-change cycle with --rescan", []string{"--rescan"}}} {
		var cpu, wall []float64
		for round := range b.Rounds {
			fmt.Fprintf(b.talk, "%s, round %d of %d\n", c.name, round+1, b.Rounds)
			before, err := v.cpu()
			if err != nil {
				return err
			}
			start := time.Now()
			if err := v.sync(ctx, c.flags...); err != nil {
				return err
			}
			wall = append(wall, time.Since(start).Seconds())
			after, err := v.cpu()
			if err != nil {
				return err
			}
			cpu = append(cpu, after-before)
		}
		b.results = append(
			b.results,
			result{Name: c.name, Unit: "CPU s", Vdfs: median(cpu)},
			result{Name: c.name, Unit: "s", Vdfs: median(wall)},
		)
	}
	return nil
}

// drive finds the vdfs among the subjects.
func (b *bench) drive() (*vdfs, error) {
	for _, s := range b.subjects {
		if v, ok := s.(*vdfs); ok {
			return v, nil
		}
	}
	return nil, errors.New("find drive: none is mounted")
}

// pid is the process of the daemon.
func (v *vdfs) pid() (int, error) {
	pids, err := v.Daemons()
	if err != nil {
		return 0, err
	}
	if len(pids) != 1 {
		return 0, fmt.Errorf("find daemon: %d processes belong to the drive", len(pids))
	}
	return pids[0], nil
}

// cpu is the processor time that the daemon has used so far, in seconds.
func (v *vdfs) cpu() (float64, error) {
	pid, err := v.pid()
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read cpu time: %w", err)
	}
	// The name in brackets may hold anything: count from its end.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("read cpu time: unexpected stat %q", text)
	}
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read cpu time: %w", err)
		}
		ticks += n
	}
	return float64(ticks) / clockTicks, nil
}

// peakMemory is the most memory the daemon ever had resident, in bytes.
func (v *vdfs) peakMemory() (int64, error) {
	pid, err := v.pid()
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read peak memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		value, found := strings.CutPrefix(line, "VmHWM:")
		if !found {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read peak memory: %w", err)
		}
		return kib << 10, nil
	}
	return 0, errors.New("read peak memory: no VmHWM")
}
