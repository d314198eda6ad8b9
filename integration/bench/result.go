package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// result is one line of the table: medians, 0 where nothing was measured.
type result struct {
	Name           string  `json:"name"`
	Unit           string  `json:"unit"`
	HigherIsBetter bool    `json:"higher_is_better"`
	Native         float64 `json:"native,omitempty"`
	Loopback       float64 `json:"loopback,omitempty"`
	Vdfs           float64 `json:"vdfs"`
}

type results []result

// writeJSON prints all results as one array.
func (r results) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// writeTable prints all results with ratios, and on what they were measured.
func (r results) writeTable(w io.Writer, s settings) error {
	fmt.Fprintf(w, "%s, %d processors, GOMAXPROCS of all daemons %s, as %s; medians of %d\n\n",
		kernel(), runtime.NumCPU(), orDefault(os.Getenv("GOMAXPROCS")), user(), s.Rounds)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "measure\tnative\tloopback\tvdfs\tunit\tof native\tof loopback\t")
	for _, line := range r {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", line.Name, figure(line.Native), figure(line.Loopback),
			figure(line.Vdfs), line.Unit, ratio(line.Vdfs, line.Native), ratio(line.Vdfs, line.Loopback))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	_, err := fmt.Fprintln(w, "\nRatios are vdfs divided by the other: for times lower is better, for MiB/s higher.")
	return err
}

// figure prints a number with three digits that matter.
func figure(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func ratio(v, of float64) string {
	if v == 0 || of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f ×", v/of)
}

// median is the middle value, of an even number the lower of the two; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimRight(string(u.Release[:]), "\x00")
}

func user() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return "an ordinary user"
}

func orDefault(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}
