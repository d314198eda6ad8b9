package main

import (
	"context"
	"time"

	"vdfs/integration/tree"
)

// walks measures listing a big tree, taking it in, and finding it unchanged.
func (s *session) walks() group {
	g := group{
		name: "walks", fill: func(dir string) error { return tree.Many(dir, s.TreeFiles, 64) },
		measures: []measure{s.contact()},
	}
	for _, w := range []struct {
		program      []string
		first, later []goal
	}{
		{[]string{"find"}, []goal{ofLoopback(0.5)}, []goal{ofLoopback(1), ofNative(2)}},
		{[]string{"ls", "-lR"}, []goal{ofNative(1.25)}, []goal{ofLoopback(1), ofNative(2)}},
	} {
		g.measures = append(g.measures, s.firstWalk(w.program, w.first), s.laterWalk(w.program, w.later))
	}
	g.measures = append(g.measures, s.cycles()...)
	return g
}

// firstWalk lists the tree when the kernel knows nothing of it. Who may not have
// the kernel forget the disk's tree can only remount: then there is no native figure.
func (s *session) firstWalk(program []string, goals []goal) measure {
	cold := canForget()
	m := measure{
		lines:  []line{{name: "first " + program[0], unit: "s", goals: goals}},
		rounds: s.Rounds,
		before: func(ctx context.Context, sub subject, _ int) error {
			if err := sub.remount(ctx); err != nil || !cold {
				return err
			}
			return forget("2")
		},
		work: walkWith(program),
	}
	if !cold {
		m.only = []string{loopbackName, vdfsName}
	}
	return m
}

func (s *session) laterWalk(program []string, goals []goal) measure {
	return measure{
		lines:  []line{{name: "later " + program[0], unit: "s", goals: goals}},
		rounds: s.short(),
		before: func(ctx context.Context, sub subject, _ int) error { return walk(ctx, sub.root(), program...) },
		work:   walkWith(program),
	}
}

func walkWith(program []string) func(context.Context, subject, int) ([]float64, error) {
	return timed(time.Duration.Seconds, func(ctx context.Context, root string, _ int) error {
		return walk(ctx, root, program...)
	})
}
