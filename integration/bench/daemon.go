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

// contact reports what taking the tree in has cost.
func (s *session) contact() measure {
	return measure{
		lines:  []line{{name: "first contact with the tree", unit: "s"}, {name: "peak memory of it", unit: "MiB"}},
		rounds: 1, only: []string{vdfsName},
		work: func(_ context.Context, sub subject, _ int) ([]float64, error) {
			v, err := daemonOf(sub)
			if err != nil {
				return nil, err
			}
			return []float64{v.firstContact.Seconds(), float64(v.peak) / (1 << 20)}, nil
		},
	}
}

// cycles measures what the daemon spends on a tree that did not change.
func (s *session) cycles() []measure {
	var measures []measure
	for _, c := range []struct {
		name  string
		flags []string
	}{{"no-change cycle", nil}, {"no-change scan", []string{"--rescan"}}} {
		measures = append(measures, measure{
			lines: []line{
				{name: c.name, unit: "CPU s", goals: []goal{within(1)}},
				{name: c.name + ", duration", unit: "s"},
			},
			rounds: s.Rounds, only: []string{vdfsName},
			work: func(ctx context.Context, sub subject, _ int) ([]float64, error) {
				v, err := daemonOf(sub)
				if err != nil {
					return nil, err
				}
				return v.cost(func() error { return v.sync(ctx, c.flags...) })
			},
		})
	}
	return measures
}

// cost is the processor time of the daemon while work runs, and how long that took, in seconds.
func (v *vdfs) cost(work func() error) ([]float64, error) {
	before, err := v.cpu()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return nil, err
	}
	took := time.Since(start)
	after, err := v.cpu()
	return []float64{after - before, took.Seconds()}, err
}

// daemonOf is the subject with a daemon to look at.
func daemonOf(s subject) (*vdfs, error) {
	v, ok := s.(*vdfs)
	if !ok {
		return nil, fmt.Errorf("measure daemon: %s has none of ours", s.name())
	}
	return v, nil
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
