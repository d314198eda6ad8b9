package main

import (
	"context"
	"regexp"
	"slices"
	"time"
)

// line is one figure that a measurement yields: a line of the table.
type line struct {
	name, unit     string
	higherIsBetter bool
	relative       bool // a ratio already
	goals          []goal
}

// measure is one kind of work, done by every subject in turn.
type measure struct {
	lines  []line
	rounds int
	only   []string // names of subjects; empty: all
	// before prepares the round. It is not measured.
	before func(ctx context.Context, s subject, round int) error
	// work returns one value for each line.
	work func(ctx context.Context, s subject, round int) ([]float64, error)
}

func (m measure) name() string { return m.lines[0].name }

func (m measure) takes(subject string) bool {
	return len(m.only) == 0 || slices.Contains(m.only, subject)
}

func (m measure) matches(only *regexp.Regexp) bool {
	return slices.ContainsFunc(m.lines, func(l line) bool { return only.MatchString(l.name) })
}

// timed is work of which the duration is of interest, turned into a value.
func timed(
	value func(time.Duration) float64, work func(ctx context.Context, root string, round int) error,
) func(context.Context, subject, int) ([]float64, error) {
	return func(ctx context.Context, s subject, round int) ([]float64, error) {
		start := time.Now()
		if err := work(ctx, s.root(), round); err != nil {
			return nil, err
		}
		return []float64{value(time.Since(start))}, nil
	}
}

// perFile turns the duration of work on so many files into µs for each.
func perFile(count int) func(time.Duration) float64 {
	return func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(count) }
}

// perSecond turns the duration of work on so many bytes into MiB/s.
func perSecond(size int64) func(time.Duration) float64 {
	return func(d time.Duration) float64 { return float64(size) / (1 << 20) / d.Seconds() }
}

// short is the number of rounds of measurements that take little time: their
// medians need more of them.
func (s settings) short() int { return 2*s.Rounds - 1 }
