package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"vdfs/integration/drive"
	"vdfs/integration/tree"
)

// bench is one run: a working directory, two binaries and what was measured.
type bench struct {
	settings
	talk     io.Writer
	dir      string
	vdfs     string // the binary
	loopback string // the binary
	archive  string // a tar file of a source tree
	subjects []subject
	results  results
}

// newBench builds what is to be measured and makes the working directory.
func newBench(s settings, talk io.Writer) (*bench, error) {
	dir, err := os.MkdirTemp(s.Dir, "vdfs-bench-")
	if err != nil {
		return nil, fmt.Errorf("make working directory: %w", err)
	}
	b := &bench{settings: s, talk: talk, dir: dir, loopback: filepath.Join(dir, "loopback.bin")}
	if err := b.prepare(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

func (b *bench) prepare() error {
	var err error
	if b.vdfs, err = drive.Build(b.dir, false); err != nil {
		return err
	}
	out, err := exec.Command("go", "build", "-o", b.loopback, "vdfs/integration/bench/loopback").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build loopback: %w\n%s", err, out)
	}
	source, err := tree.GoSource()
	if err != nil {
		return err
	}
	if b.Small {
		source = filepath.Join(source, "strings")
	}
	b.archive = filepath.Join(b.dir, "source.tar")
	out, err = exec.Command("tar", "-C", filepath.Dir(source), "-cf", b.archive, filepath.Base(source)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make archive: %w: %s", err, out)
	}
	return nil
}

// run does all measurements.
func (b *bench) run(ctx context.Context) error {
	for _, group := range []func(context.Context) error{b.files, b.walks} {
		if err := group(ctx); err != nil {
			return err
		}
		if err := b.stopSubjects(); err != nil {
			return err
		}
	}
	return nil
}

// close stops what is running still and removes the working directory.
func (b *bench) close() error {
	err := b.stopSubjects()
	if err != nil {
		// Something may be mounted yet: removing would reach through the mount.
		return fmt.Errorf("%w; left behind: %s", err, b.dir)
	}
	return os.RemoveAll(b.dir)
}

func (b *bench) stopSubjects() error {
	var failures []error
	for _, s := range b.subjects {
		failures = append(failures, s.stop())
	}
	b.subjects = nil
	return errors.Join(failures...)
}

// files measures making, reading and writing files.
func (b *bench) files(ctx context.Context) error {
	if err := b.startAll(ctx, "files", nil); err != nil {
		return err
	}
	megabytes := float64(b.Bytes) / (1 << 20)
	measures := []measure{
		{
			name: fmt.Sprintf("create %d files of 4 KiB", b.Creates), unit: "µs/file",
			work:  func(root string, round int) error { return createFiles(root, round, b.Creates) },
			value: func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.Creates) },
		},
		{
			name: "untar a source tree", unit: "s",
			work:  func(root string, round int) error { return b.untar(ctx, root, round) },
			value: time.Duration.Seconds,
		},
		{
			name: fmt.Sprintf("write %.0f MiB", megabytes), unit: "MiB/s", higherIsBetter: true,
			work:  func(root string, round int) error { return writeFile(root, round, b.Bytes) },
			value: func(d time.Duration) float64 { return megabytes / d.Seconds() },
		},
		{
			name: fmt.Sprintf("read %.0f MiB", megabytes), unit: "MiB/s", higherIsBetter: true,
			work:  func(root string, round int) error { return readFile(root, round, b.Bytes) },
			value: func(d time.Duration) float64 { return megabytes / d.Seconds() },
		},
	}
	for _, m := range measures {
		if err := b.inTurn(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// walks measures listing a big tree, taking it in, and finding it unchanged.
func (b *bench) walks(ctx context.Context) error {
	fmt.Fprintf(b.talk, "making a tree of %d files\n", b.TreeFiles)
	filled := func(dir string) error { return tree.Many(dir, b.TreeFiles, 64) }
	if err := b.startAll(ctx, "walks", filled); err != nil {
		return err
	}
	for _, w := range []struct {
		name string
		args []string
	}{{"find", []string{"find"}}, {"ls -lR", []string{"ls", "-lR"}}} {
		for _, first := range []bool{true, false} {
			which := "later"
			if first {
				which = "first"
			}
			err := b.inTurn(ctx, measure{
				name: fmt.Sprintf("%s %s over %d files", which, w.name, b.TreeFiles), unit: "s",
				remount: first,
				work:    func(root string, _ int) error { return walk(ctx, root, w.args...) },
				value:   time.Duration.Seconds,
			})
			if err != nil {
				return err
			}
		}
	}
	return b.cycles(ctx)
}

// measure is one kind of work, done by every subject in turn.
type measure struct {
	name, unit     string
	higherIsBetter bool
	remount        bool // before each time, so that the kernel knows nothing
	work           func(root string, round int) error
	value          func(time.Duration) float64
}

// inTurn lets every subject do the work in every round and keeps the medians.
func (b *bench) inTurn(ctx context.Context, m measure) error {
	values := map[string][]float64{}
	for round := range b.Rounds {
		for _, s := range b.subjects {
			fmt.Fprintf(b.talk, "%s: %s, round %d of %d\n", m.name, s.name(), round+1, b.Rounds)
			if m.remount {
				if err := s.remount(ctx); err != nil {
					return fmt.Errorf("%s: remount %s: %w", m.name, s.name(), err)
				}
			}
			start := time.Now()
			if err := m.work(s.root(), round); err != nil {
				return fmt.Errorf("%s: %s: %w", m.name, s.name(), err)
			}
			values[s.name()] = append(values[s.name()], m.value(time.Since(start)))
			// What a subject does afterwards must not disturb the next one.
			if err := s.settle(ctx); err != nil {
				return fmt.Errorf("%s: settle %s: %w", m.name, s.name(), err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	b.results = append(b.results, result{
		Name: m.name, Unit: m.unit, HigherIsBetter: m.higherIsBetter,
		Native: median(values[nativeName]), Loopback: median(values[loopbackName]), Vdfs: median(values[vdfsName]),
	})
	return nil
}
