package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
)

// report is all that a run has to tell.
type report struct {
	Machine machine  `json:"machine"`
	Sizes   sizes    `json:"sizes"`
	Seconds float64  `json:"seconds"`
	Results []result `json:"results"`
}

// sizes are how much was measured.
type sizes struct {
	Creates   int   `json:"creates"` // in a round
	TreeFiles int   `json:"tree_files"`
	Bytes     int64 `json:"bytes"` // of a big file
}

// machine is on what was measured.
type machine struct {
	Kernel     string `json:"kernel"`
	Processors int    `json:"processors"`
	Go         string `json:"go"`
	// GOMAXPROCS of the loopback, which takes what Go gives it.
	LoopbackProcs int `json:"loopback_gomaxprocs"`
}

func newReport(s settings) report {
	return report{
		Machine: machine{Kernel: kernel(), Processors: runtime.NumCPU(), Go: runtime.Version()},
		Sizes:   sizes{s.Creates, s.TreeFiles, s.Bytes},
	}
}

// add takes over what another process has measured.
func (r *report) add(other report) {
	r.Results = append(r.Results, other.Results...)
	r.Machine.LoopbackProcs = max(r.Machine.LoopbackProcs, other.Machine.LoopbackProcs)
}

func (r report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// writeTable prints one table for each mode, and on what they were measured.
func (r report) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "%s, %d processors, %s, GOMAXPROCS of the loopback %d\n",
		r.Machine.Kernel, r.Machine.Processors, r.Machine.Go, r.Machine.LoopbackProcs)
	fmt.Fprintf(w, "%d files of 4 KiB in a round, a tree of %d files, big files of %d MiB; medians; %.0f s in all\n",
		r.Sizes.Creates, r.Sizes.TreeFiles, r.Sizes.Bytes>>20, r.Seconds)
	for _, m := range inOrder {
		if err := r.writeMode(w, m); err != nil {
			return fmt.Errorf("print table: %w", err)
		}
	}
	_, err := fmt.Fprintln(w, "\n× is vdfs divided by the other, round by round, with the least and the greatest: "+
		"for times lower is better, for MiB/s higher.")
	return err
}

func (r report) writeMode(w io.Writer, m mode) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	titled := false
	for _, line := range r.Results {
		if line.Mode != m {
			continue
		}
		if !titled {
			fmt.Fprintf(table, "\n%s\tnative\tloopback\tvdfs\tunit\trounds\t× native\t× loopback\tgoal\n", m)
			titled = true
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t", line.Name, line.Native.text(), line.Loopback.text(),
			line.Vdfs.text(), line.Unit, line.Rounds, line.OfNative.textWithSpread(), line.OfLoopback.textWithSpread())
		for i, g := range line.Goals {
			if i > 0 {
				fmt.Fprint(table, "; ")
			}
			fmt.Fprint(table, g.text(line.HigherIsBetter))
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

func (f *figure) text() string {
	if f == nil {
		return "-"
	}
	return digits(f.Median)
}

func (f *figure) textWithSpread() string {
	if f == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s-%s)", digits(f.Median), digits(f.Min), digits(f.Max))
}

// digits prints a number with three digits that matter.
func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
