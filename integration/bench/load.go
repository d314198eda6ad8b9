package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

const (
	// writers unpack at the same time. They are programs of their own, as those of
	// one process would wait for Go's scheduler instead of the file system.
	writers = 8
	// farSize is the size of the file that is fetched meanwhile.
	farSize = 32 << 20
)

// farFile is at the endpoint before anything is mounted.
func farFile(root string) string { return filepath.Join(root, "far") }

func makeFar(dir string) error { return writeFile(farFile(dir), 1<<20, farSize) }

func readFar(root string) error { return readFile(farFile(root), farSize) }

// underLoad calls try again and again while eight programs write and the subject
// is busy besides, until all have written.
func (s *session) underLoad(ctx context.Context, sub subject, round int, try func() error) error {
	wrote := make(chan error, writers)
	for i := range writers {
		dir := filepath.Join(sub.root(), fmt.Sprintf("load%d-%d", round, i))
		go func() { wrote <- untar(ctx, s.tools.load(), dir) }()
	}
	written, allWritten := context.WithCancel(ctx)
	defer allWritten()
	busy := errgroup.Group{}
	busy.Go(func() error { return whileIn(written, func() error { return sub.stir(ctx) }) })
	busy.Go(func() error { return whileIn(written, try) })
	var failures []error
	for range writers {
		failures = append(failures, <-wrote)
	}
	allWritten()
	return errors.Join(append(failures, busy.Wait())...)
}

// whileIn repeats what is to be done at least once until ctx ends or it fails.
func whileIn(ctx context.Context, do func() error) error {
	for {
		if err := do(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}
