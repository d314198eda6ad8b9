package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// operations are those whose latency is measured, in the order they are done.
var operations = []string{"create 4 KiB", "stat", "open, read, close"}

// latency measures how long small operations take one by one, quiet and under load.
func (s *session) latency() measure {
	m := measure{rounds: s.Rounds, work: s.latencyOnce}
	for _, op := range operations {
		name := "latency, " + op
		m.lines = append(
			m.lines,
			line{name: name + ": quiet median", unit: "µs"},
			line{name: name + ": quiet p99", unit: "µs"},
			line{name: name + ": loaded median", unit: "µs"},
			line{name: name + ": loaded p99", unit: "µs"},
			line{name: name + ": loaded p99 of quiet median", unit: "×", relative: true, goals: []goal{within(5)}},
		)
	}
	return m
}

func (s *session) latencyOnce(ctx context.Context, sub subject, round int) ([]float64, error) {
	p := probe{dir: filepath.Join(sub.root(), fmt.Sprintf("probe%d", round))}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return nil, fmt.Errorf("measure latency: %w", err)
	}
	for range s.Creates / 2 {
		if err := p.try(); err != nil {
			return nil, err
		}
	}
	quiet := p.take()
	if err := s.settle(ctx, sub); err != nil {
		return nil, err
	}
	if err := s.underLoad(ctx, sub, round, p.try); err != nil {
		return nil, err
	}
	loaded := p.take()
	var values []float64
	for op := range operations {
		usual, worst := micros(percentile(quiet[op], 50)), micros(percentile(loaded[op], 99))
		values = append(values, usual, micros(percentile(quiet[op], 99)), micros(percentile(loaded[op], 50)), worst, worst/usual)
	}
	return values, nil
}

func micros(d time.Duration) float64 { return d.Seconds() * 1e6 }

// probe does small operations in a directory and takes the time of each.
type probe struct {
	dir  string
	next int // the number of the next file
	took [3][]time.Duration
}

// try makes a file, looks at it and reads it back.
func (p *probe) try() error {
	path := smallFile(p.dir, p.next)
	p.next++
	body := make([]byte, 4<<10)
	for op, do := range []func() error{
		func() error { return os.WriteFile(path, body, 0o644) },
		func() error { _, err := os.Lstat(path); return err },
		func() error { return readSmall(path, body) },
	} {
		start := time.Now()
		if err := do(); err != nil {
			return fmt.Errorf("%s: %w", operations[op], err)
		}
		p.took[op] = append(p.took[op], time.Since(start))
	}
	return nil
}

// take returns the times since the last take by operation, sorted.
func (p *probe) take() [3][]time.Duration {
	took := p.took
	p.took = [3][]time.Duration{}
	for _, times := range took {
		slices.Sort(times)
	}
	return took
}
