package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// session is everything that is measured in one mode.
type session struct {
	*bench
	mode     mode
	dir      string
	subjects []subject
}

// group is what is measured on the same subjects.
type group struct {
	name     string
	fill     func(dir string) error // makes what the subjects show
	measures []measure
}

// run does all measurements of the mode. What removes files comes last.
func (s *session) run(ctx context.Context) error {
	var groups []group
	if s.mode == s.Walker {
		groups = append(groups, s.walks())
	}
	for _, g := range append(groups, s.files()) {
		if err := s.group(ctx, g); err != nil {
			return err
		}
		if err := s.stopSubjects(); err != nil {
			return err
		}
	}
	return nil
}

// group takes those of the measurements that are wanted.
func (s *session) group(ctx context.Context, g group) error {
	var wanted []measure
	for _, m := range g.measures {
		if m.matches(s.Only) {
			wanted = append(wanted, m)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := s.startAll(ctx, g); err != nil {
		return err
	}
	for _, m := range wanted {
		if err := s.inTurn(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m.name(), err)
		}
	}
	return nil
}

func (s *session) stopSubjects() error {
	var failures []error
	for _, sub := range s.subjects {
		failures = append(failures, sub.stop())
	}
	s.subjects = nil
	return errors.Join(failures...)
}

// patience is how long a measurement may take before its rounds get fewer: all
// measurements together have to stay within a quarter of an hour.
const patience = 30 * time.Second

// inTurn lets every subject do the work in every round, so that what the machine
// does besides hits all of them alike.
func (s *session) inTurn(ctx context.Context, m measure) error {
	taken := make([]samples, len(m.lines))
	for i := range taken {
		taken[i] = samples{}
	}
	begun := time.Now()
	for round := range m.rounds {
		for _, sub := range s.subjects {
			if !m.takes(sub.name()) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			values, err := s.once(ctx, m, sub, round)
			if err != nil {
				return fmt.Errorf("%s: %w", sub.name(), err)
			}
			for i, v := range values {
				taken[i][sub.name()] = append(taken[i][sub.name()], v)
			}
		}
		done := time.Duration(round + 1)
		if took := time.Since(begun); took+took/done > patience {
			break
		}
	}
	fmt.Fprintf(s.talk, "%s: %s: %.1f s\n", s.mode, m.name(), time.Since(begun).Seconds())
	for i, l := range m.lines {
		s.report.Results = append(s.report.Results, newResult(s.mode, l, taken[i]))
	}
	return nil
}

// once is one subject's work of one round.
func (s *session) once(ctx context.Context, m measure, sub subject, round int) ([]float64, error) {
	if m.before != nil {
		if err := m.before(ctx, sub, round); err != nil {
			return nil, err
		}
		if err := s.settle(ctx, sub); err != nil {
			return nil, err
		}
	}
	values, err := m.work(ctx, sub, round)
	if err != nil {
		return nil, err
	}
	return values, s.settle(ctx, sub)
}

// settle waits for what the subject and the disk do afterwards: it must not
// disturb the next one.
func (s *session) settle(ctx context.Context, sub subject) error {
	if err := sub.settle(ctx); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return s.syncDisk()
}

// syncDisk writes out all that the disk has to write. It may take long on a disk
// that others use, so it is left out where no figure is of interest.
func (b *bench) syncDisk() error {
	if b.Small {
		return nil
	}
	fd, err := unix.Open(b.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("write out %s: %w", b.dir, err)
	}
	if err := errors.Join(unix.Syncfs(fd), unix.Close(fd)); err != nil {
		return fmt.Errorf("write out %s: %w", b.dir, err)
	}
	return nil
}
