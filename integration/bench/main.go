// Command bench measures vdfs against the disk below it and against go-fuse's
// own loopback, all in one run and in turn, and prints medians and ratios. Only
// ratios of one run mean anything: the machine decides the absolute figures.
//
// Nothing is deleted between measurements, as file systems create slowly for a
// while after a mass deletion.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// settings are the sizes of a run.
type settings struct {
	Rounds    int    // of the short measurements; medians are reported
	Creates   int    // files of 4 KiB
	TreeFiles int    // files of the big tree
	Bytes     int64  // of the sequential file
	Dir       string // where everything happens; emptied of it afterwards
	JSON      bool
	Small     bool // a part of Go's source is unpacked, not all
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// run is the whole program. The table goes to stdout, what it is doing to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	quick := flags.Bool("quick", false, "small sizes: does the benchmark itself work?")
	flags.IntVar(&s.Rounds, "rounds", 3, "rounds of each measurement")
	flags.IntVar(&s.Creates, "creates", 10_000, "files of 4 KiB to create")
	flags.IntVar(&s.TreeFiles, "tree", 100_000, "files in the tree to walk and to sync")
	flags.Int64Var(&s.Bytes, "bytes", 1<<30, "size of the file to read and write")
	flags.StringVar(&s.Dir, "dir", "", "directory on the disk to measure (default: the temporary directory)")
	flags.BoolVar(&s.JSON, "json", false, "print JSON instead of a table")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("read flags: %w", err)
	}
	if *quick {
		s.Rounds, s.Creates, s.TreeFiles, s.Bytes, s.Small = 1, 300, 1_000, 8<<20, true
	}
	b, err := newBench(s, stderr)
	if err != nil {
		return err
	}
	err = b.run(ctx)
	if closeErr := b.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if s.JSON {
		return b.results.writeJSON(stdout)
	}
	return b.results.writeTable(stdout, s)
}
