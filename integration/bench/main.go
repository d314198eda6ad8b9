// Command bench measures vdfs against the disk below it and against go-fuse's
// own loopback, all in one run and in turn, and prints medians and ratios. Only
// ratios of one run mean anything: the machine decides the absolute figures.
// docs/performance.md says what is measured, and why so.
//
// Nothing is deleted before something is made, as file systems create slowly for
// a while after a mass deletion.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// settings are what a run is asked for.
type settings struct {
	Rounds    int             // of the long measurements; the short ones have nearly twice as many
	Creates   int             // files of 4 KiB in a round
	TreeFiles int             // files of the big tree
	Bytes     int64           // of the big files
	Dir       string          // where everything happens; emptied of it afterwards
	Modes     []mode          // in the order they run
	Walker    mode            // the one of them that walks the big tree; empty: none
	Remover   mode            // the one of them that removes files; empty: none
	Only      *regexp.Regexp  // the names of the measurements to take
	Far       []time.Duration // not empty: how far away the endpoints are that are measured, and nothing else is
	Sync      bool            // measure syncing, and nothing else
	Limit     time.Duration   // of a first sync that is measured then
	JSON      bool
	Small     bool   // as little as shows that the benchmark works
	Tools     string // where everything is built already; empty: build it
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
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	b, err := newBench(s, args, stderr)
	if err != nil {
		return err
	}
	switch {
	case s.Sync:
		return errors.Join(b.runSync(ctx, stdout), b.close())
	case len(s.Far) > 0:
		return errors.Join(b.runFar(ctx, stdout), b.close())
	}
	err = b.run(ctx)
	if closeErr := b.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if s.JSON {
		return b.report.writeJSON(stdout)
	}
	return b.report.writeTable(stdout)
}

func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	quick := flags.Bool("quick", false, "small sizes: does the benchmark itself work?")
	modes := flags.String("modes", "", "comma-separated, of nopass, root and user (default: all that can be run)")
	far := flags.String("far", "", "comma-separated latencies such as 20ms: measure endpoints that are so far away, and nothing else")
	flags.BoolVar(&s.Sync, "sync", false, "measure syncing beside rsync and unison, and nothing else")
	flags.DurationVar(&s.Limit, "limit", 2*time.Minute, "with -sync: a first sync that takes longer is given up and left out")
	only := flags.String("measure", "", "regular expression: the measurements to take")
	flags.IntVar(&s.Rounds, "rounds", 3, "rounds of each measurement")
	flags.IntVar(&s.Creates, "creates", 2_000, "files of 4 KiB to create in a round")
	flags.IntVar(&s.TreeFiles, "tree", 100_000, "files in the tree to walk and to sync")
	flags.Int64Var(&s.Bytes, "bytes", 0, "size of the files to read and write (default: 128 MiB, with -far 1 GiB, with -sync 1 GiB of files of 1 MiB)")
	flags.StringVar(&s.Dir, "dir", "", "directory on the disk to measure (default: the temporary directory)")
	flags.BoolVar(&s.JSON, "json", false, "print JSON instead of a table")
	flags.StringVar(&s.Tools, "tools", "", "for the benchmark's own use: what it has built already")
	walk := flags.Bool("walk", true, "for the benchmark's own use: whether the big tree is walked at all")
	remove := flags.Bool("remove", true, "for the benchmark's own use: whether files are removed at all")
	if err := flags.Parse(args); err != nil {
		return s, fmt.Errorf("read flags: %w", err)
	}
	if *quick {
		s.Rounds, s.Creates, s.TreeFiles, s.Bytes, s.Small = 1, 100, 500, 8<<20, true
	}
	var err error
	if s.Far, err = latencies(*far); err != nil {
		return s, err
	}
	switch {
	case s.Sync && len(s.Far) > 0:
		return s, errors.New("read flags: -sync and -far are two runs")
	case s.Bytes != 0:
	case s.Sync || len(s.Far) > 0:
		s.Bytes = 1 << 30
	default:
		s.Bytes = 128 << 20
	}
	if s.Only, err = regexp.Compile(*only); err != nil {
		return s, fmt.Errorf("read flags: %w", err)
	}
	switch {
	case s.Sync || len(s.Far) > 0:
		return s, nil
	case *modes == "":
		s.Modes = possible(stderr)
	default:
		if s.Modes, err = named(strings.Split(*modes, ",")); err != nil {
			return s, err
		}
	}
	if len(s.Modes) == 0 {
		return s, errNoMode
	}
	if *walk {
		s.Walker = walker(s.Modes)
	}
	if *remove {
		s.Remover = s.Modes[len(s.Modes)-1] // nothing is created after it
	}
	return s, nil
}

// latencies reads the list of them.
func latencies(text string) (all []time.Duration, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		d, err := time.ParseDuration(part)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("read flags: %q is no latency", part)
		}
		all = append(all, d)
	}
	return all, nil
}
