package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/integration/drive"
)

const (
	// farRate is what the line to an endpoint that is far away carries, in bytes a second.
	farRate = 100 << 20
	// farReaders read an endpoint at the same time to find out what it can give.
	farReaders = 16
	// farReads is how many reads at random are measured.
	farReads = 100
)

// farReport is what was measured of endpoints that are far away.
type farReport struct {
	Machine machine   `json:"machine"`
	Bytes   int64     `json:"bytes"` // of the big file
	Files   int       `json:"files"` // of 4 KiB that are pinned
	Rate    int64     `json:"rate"`
	Figures []farLine `json:"figures"`
}

// farLine is one figure.
type farLine struct {
	Latency string  `json:"latency"`
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Goal    string  `json:"goal,omitempty"`
}

// farSession measures with one latency.
type farSession struct {
	*bench
	latency time.Duration
	far     *drive.Far
	at      string // where the endpoint is
	v       *vdfs
	report  *farReport
}

// runFar measures endpoints that are far away.
func (b *bench) runFar(ctx context.Context, stdout io.Writer) error {
	r := &farReport{Machine: b.report.Machine, Bytes: b.Bytes, Files: b.Creates, Rate: farRate}
	for _, latency := range b.Far {
		s := &farSession{bench: b, latency: latency, report: r}
		if err := s.run(ctx, filepath.Join(b.dir, latency.String())); err != nil {
			return fmt.Errorf("endpoint %v away: %w", latency, err)
		}
	}
	if b.JSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.writeTable(stdout)
}

func (r *farReport) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "%s, %d processors, %s; a file of %d MiB, %d files of 4 KiB, a line of %d MiB/s\n\n",
		r.Machine.Kernel, r.Machine.Processors, runtime.Version(), r.Bytes>>20, r.Files, r.Rate>>20)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "latency\tfigure\tvalue\tunit\tgoal\n")
	for _, l := range r.Figures {
		fmt.Fprintf(table, "%s\t%s\t%.4g\t%s\t%s\n", l.Latency, l.Name, l.Value, l.Unit, l.Goal)
	}
	return table.Flush()
}

func (s *farSession) note(name string, value float64, unit, goal string) {
	fmt.Fprintf(s.talk, "%v away: %s: %.4g %s\n", s.latency, name, value, unit)
	s.report.Figures = append(s.report.Figures, farLine{s.latency.String(), name, value, unit, goal})
}

func (s *farSession) run(ctx context.Context, base string) (err error) {
	dir, at := filepath.Join(base, "dir"), filepath.Join(base, "far")
	for _, d := range []string{dir, at} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if err := s.fill(dir); err != nil {
		return err
	}
	if s.far, err = drive.NewFar(dir, at, s.latency, farRate); err != nil {
		return err
	}
	s.at = at
	defer func() { err = errors.Join(err, s.far.Close()) }()
	if s.v, err = s.newDrive(base); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.v.stop()) }()
	if err := s.v.mount("--from", at); err != nil {
		return err
	}
	if err := s.v.settle(ctx); err != nil {
		return err
	}
	// The conduit asks for what it needs besides.
	if _, err := s.v.Do("pause"); err != nil {
		return err
	}
	for _, measure := range []func(context.Context) error{s.firstByte, s.inOrder, s.again, s.atRandom, s.pin} {
		if err := errors.Join(ctx.Err(), measure(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// farTree is the name of the directory of small files.
const farTree = "tree"

// fill makes what the endpoint has. The big files are holes, so that no disk is measured.
func (s *farSession) fill(dir string) error {
	for _, name := range []string{"first", "ordered", "random"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, s.Bytes)); err != nil {
			return err
		}
	}
	const inOne = 100
	if err := os.Mkdir(filepath.Join(dir, farTree), 0o700); err != nil {
		return err
	}
	for done := 0; done < s.Creates; done += inOne {
		if err := createFiles(filepath.Join(dir, farTree, fmt.Sprint(done)), min(inOne, s.Creates-done)); err != nil {
			return err
		}
	}
	return nil
}

// firstByte measures how long the first byte takes, of the endpoint and of the drive.
func (s *farSession) firstByte(context.Context) error {
	block := make([]byte, 4<<10)
	for _, of := range []struct{ name, root string }{{"endpoint", s.at}, {"vdfs", s.v.root()}} {
		time.Sleep(drive.Remembers) // names are asked for anew
		before, start := s.far.Seen(), time.Now()
		if err := readSmall(filepath.Join(of.root, "first"), block); err != nil {
			return err
		}
		took := time.Since(start)
		if of.root == s.at {
			s.note("first byte, "+of.name+": requests", float64(s.far.Seen().Since(before).All()), "", "")
		}
		s.note("first byte, "+of.name, took.Seconds()*1e3, "ms", "")
	}
	return nil
}

// inOrder measures what the endpoint gives to one reader and to many, and what the drive gives to one.
func (s *farSession) inOrder(ctx context.Context) error {
	rate := func(read func() error) (float64, error) {
		start := time.Now()
		err := read()
		return perSecond(s.Bytes)(time.Since(start)), err
	}
	path := filepath.Join(s.at, "ordered")
	one, err := rate(func() error { return readPart(path, 0, s.Bytes) })
	if err != nil {
		return err
	}
	s.note("in order, endpoint: one reader", one, "MiB/s", "")
	raw, err := rate(func() error {
		var all errgroup.Group
		part := s.Bytes / farReaders
		for i := range int64(farReaders) {
			all.Go(func() error { return readPart(path, i*part, part) })
		}
		return all.Wait()
	})
	if err != nil {
		return err
	}
	s.note(fmt.Sprintf("in order, endpoint: %d readers", farReaders), raw, "MiB/s", "")
	before := s.far.Seen()
	ours, err := rate(func() error { return readFile(filepath.Join(s.v.root(), "ordered"), s.Bytes) })
	if err != nil {
		return err
	}
	asked := s.far.Seen().Since(before)
	s.note("in order, vdfs", ours, "MiB/s", "")
	s.note("in order, vdfs of the endpoint's", ours/raw, "×", "≥ 0.9")
	s.note("in order, bytes fetched", float64(asked.Bytes)/float64(s.Bytes), "× the file", "")
	return nil
}

// readPart reads part of a file in blocks of 1 MiB.
func readPart(path string, off, n int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for end := off + n; off < end; {
		k, err := f.ReadAt(block[:min(int64(len(block)), end-off)], off)
		if off += int64(k); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if k == 0 {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// again reads a file that is here once more.
func (s *farSession) again(context.Context) error {
	name := filepath.Join(s.v.root(), "ordered")
	if err := s.whole(name); err != nil {
		return err
	}
	before := s.far.Seen()
	if err := readFile(name, s.Bytes); err != nil {
		return err
	}
	s.note("opened again when it is here: requests", float64(s.far.Seen().Since(before).All()), "", "0")
	return nil
}

// whole waits until a file is here and verified.
func (s *farSession) whole(path string) error {
	done := drive.Poll(time.Minute, func() bool {
		var infos []drive.Info
		return s.v.JSON(&infos, "info", "--json", path) == nil && len(infos) == 1 && infos[0].Residency == "full"
	})
	if !done {
		return fmt.Errorf("%s did not become full", path)
	}
	return nil
}

// atRandom reads 4 KiB here and there.
func (s *farSession) atRandom(context.Context) error {
	f, err := os.Open(filepath.Join(s.v.root(), "random"))
	if err != nil {
		return err
	}
	defer f.Close()
	rnd := rand.New(rand.NewPCG(1, 0))
	block := make([]byte, 4<<10)
	before, start := s.far.Seen(), time.Now()
	for range farReads {
		if _, err := f.ReadAt(block, rnd.Int64N(s.Bytes>>12)<<12); err != nil {
			return err
		}
	}
	took, asked := time.Since(start), s.far.Seen().Since(before)
	s.note("at random, 4 KiB: time", took.Seconds()*1e3/farReads, "ms/read", "")
	s.note("at random, 4 KiB: fetched", float64(asked.Bytes)/farReads/1024, "KiB/read", "≤ 64")
	s.note("at random, 4 KiB: requests", float64(asked.All())/farReads, "/read", "")
	return nil
}

// pin has a tree of small files fetched.
func (s *farSession) pin(ctx context.Context) error {
	tree := filepath.Join(s.v.root(), farTree)
	before, start := s.far.Seen(), time.Now()
	pin := s.v.Command(ctx, "pin", "--wait", tree)
	var said strings.Builder
	pin.Stderr = &said
	if err := pin.Run(); err != nil {
		return fmt.Errorf("pin: %w: %s", err, said.String())
	}
	took, asked := time.Since(start), s.far.Seen().Since(before)
	s.note("pin of a tree: time", took.Seconds()*1e3/float64(s.Creates), "ms/file", "")
	s.note("pin of a tree: requests", float64(asked.All())/float64(s.Creates), "/file", "")
	return nil
}
