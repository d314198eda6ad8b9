package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// passes is how often one measurement reads as much as the big file has.
const passes = 4

// files measures bytes, making files, opening them, and removing them where nothing is made after that.
func (s *session) files() group {
	measures := append(s.bytes(), s.creates()...)
	measures = append(measures, s.opens(), s.latency())
	if s.mode == s.Remover {
		measures = append(measures, s.unlinks())
	}
	return group{name: "files", fill: makeFar, measures: measures}
}

// bytes measures writing and reading a big file.
func (s *session) bytes() []measure {
	goals := func(passthrough float64) []goal {
		if s.mode.passthrough() {
			return []goal{ofNative(passthrough)}
		}
		return []goal{ofLoopback(0.9)}
	}
	random := goals(0.9)
	if !s.mode.passthrough() {
		random = append(random, ofNative(0.75))
	}
	rate := func(name string, goals []goal) []line {
		return []line{{name: name, unit: "MiB/s", higherIsBetter: true, goals: goals}}
	}
	write := func(name string, block int, goals []goal) measure {
		return measure{
			lines: rate(name, goals), rounds: s.short(),
			work: timed(perSecond(s.Bytes), func(_ context.Context, root string, round int) error {
				return writeFile(filepath.Join(root, fmt.Sprintf("big-%d-%d", block, round)), block, s.Bytes)
			}),
		}
	}
	return []measure{
		write("write, 4 KiB blocks", 4<<10, goals(0.75)),
		write("write, 1 MiB blocks", 1<<20, goals(0.9)),
		{
			lines: rate("read, 1 MiB blocks", goals(0.9)), rounds: s.short(), before: s.warmFile,
			work: timed(perSecond(passes*s.Bytes), func(_ context.Context, root string, _ int) error {
				for range passes {
					if err := readFile(warmFile(root), s.Bytes); err != nil {
						return err
					}
				}
				return nil
			}),
		},
		{
			lines: rate("random read, 4 KiB, warm", random), rounds: s.short(), before: s.warmFile,
			work: timed(perSecond(passes*s.Bytes), func(_ context.Context, root string, round int) error {
				return readRandomly(warmFile(root), s.Bytes, passes*s.Bytes>>12, uint64(round))
			}),
		},
	}
}

func warmFile(root string) string { return filepath.Join(root, "warm") }

// warmFile sees to a big file of which the kernel has all pages.
func (s *session) warmFile(_ context.Context, sub subject, _ int) error {
	path := warmFile(sub.root())
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := writeFile(path, 1<<20, s.Bytes); err != nil {
			return err
		}
	}
	return readFile(path, s.Bytes)
}

// creates measures making many files.
func (s *session) creates() []measure {
	return []measure{
		{
			lines:  []line{{name: "create files of 4 KiB", unit: "µs/file", goals: []goal{ofLoopback(0.8)}}},
			rounds: s.short(),
			work: timed(perFile(s.Creates), func(_ context.Context, root string, round int) error {
				return createFiles(createdIn(root, round), s.Creates)
			}),
		},
		{
			lines:  []line{{name: "create files of 4 KiB, two writers", unit: "µs/file", goals: []goal{ofLoopback(1.2)}}},
			rounds: s.short(),
			work: timed(perFile(s.Creates), func(_ context.Context, root string, round int) error {
				failed := make(chan error, 2)
				for writer := range cap(failed) {
					dir := filepath.Join(root, fmt.Sprintf("pair%d-%d", round, writer))
					go func() { failed <- createFiles(dir, s.Creates/2) }()
				}
				return errors.Join(<-failed, <-failed)
			}),
		},
		{
			lines:  []line{{name: "untar a source tree", unit: "s", goals: []goal{ofLoopback(1)}}},
			rounds: s.Rounds,
			work: timed(time.Duration.Seconds, func(ctx context.Context, root string, round int) error {
				return untar(ctx, s.tools.source(), filepath.Join(root, fmt.Sprintf("untar%d", round)))
			}),
		},
	}
}

func createdIn(root string, round int) string {
	return filepath.Join(root, fmt.Sprintf("created%d", round))
}

// created sees to the files that this round needs.
func (s *session) created(_ context.Context, sub subject, round int) error {
	dir := createdIn(sub.root(), round)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return createFiles(dir, s.Creates)
}

// opens measures what a small file costs that the kernel knows.
func (s *session) opens() measure {
	return measure{
		lines:  []line{{name: "open, read, close a small file, warm", unit: "µs/file"}},
		rounds: s.short(),
		before: func(ctx context.Context, sub subject, round int) error {
			if err := s.created(ctx, sub, 0); err != nil || round > 0 {
				return err
			}
			return readFiles(createdIn(sub.root(), 0), s.Creates)
		},
		work: timed(perFile(s.Creates), func(_ context.Context, root string, _ int) error {
			return readFiles(createdIn(root, 0), s.Creates)
		}),
	}
}

// unlinks measures removing what was created.
func (s *session) unlinks() measure {
	return measure{
		lines:  []line{{name: "unlink files", unit: "µs/file"}},
		rounds: s.Rounds,
		before: s.created,
		work: timed(perFile(s.Creates), func(_ context.Context, root string, round int) error {
			return removeFiles(createdIn(root, round), s.Creates)
		}),
	}
}
