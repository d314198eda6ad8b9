package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"vdfs/integration/drive"
)

// syncReport is what was measured of syncing.
type syncReport struct {
	Machine machine    `json:"machine"`
	Seconds float64    `json:"seconds"`
	Figures []syncLine `json:"figures"`
}

// syncLine is one figure of one program.
type syncLine struct {
	Name     string  `json:"name"`
	Of       string  `json:"of"` // what was measured: a program, or a way of vdfs
	Unit     string  `json:"unit,omitempty"`
	Value    *figure `json:"value,omitempty"` // missing: not measured
	Rounds   int     `json:"rounds"`
	OfRsync  *figure `json:"of_rsync,omitempty"`  // ratios, round by round
	OfUnison *figure `json:"of_unison,omitempty"` // likewise
	Goals    []goal  `json:"goals,omitempty"`
	LeftOut  string  `json:"left_out,omitempty"` // why it was not measured
}

// newSyncLine sums up what was measured; rsync and unison are what it is compared with, if with anything.
func newSyncLine(l line, of string, values, rsync, unison []float64) syncLine {
	out := syncLine{
		Name: l.name, Of: of, Unit: l.unit, Value: figureOf(values), Rounds: len(values),
		OfRsync: figureOf(ratios(values, rsync)), OfUnison: figureOf(ratios(values, unison)),
	}
	for _, g := range l.goals {
		by := map[string]*figure{"": out.Value, rsyncName: out.OfRsync, unisonName: out.OfUnison}[g.Of]
		if by != nil {
			g.Reached = by.Median <= g.Limit
			out.Goals = append(out.Goals, g)
		}
	}
	return out
}

// syncSession measures syncing.
type syncSession struct {
	*bench
	dir    string
	report syncReport
}

// runSync measures syncing, and nothing else. What removes files comes last: that is bench.close.
func (b *bench) runSync(ctx context.Context, stdout io.Writer) error {
	s := &syncSession{bench: b, dir: filepath.Join(b.dir, "sync"), report: syncReport{Machine: b.report.Machine}}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	big := fileSet{count: int(max(1, b.Bytes>>20)), size: 1 << 20}
	small := fileSet{count: b.TreeFiles, size: 4 << 10}
	for _, measure := range []func(context.Context) error{
		func(ctx context.Context) error { return s.firstSync(ctx, "big", big, 1.5) },
		func(ctx context.Context) error { return s.firstSync(ctx, "small", small, 3) },
		func(ctx context.Context) error { return s.settled(ctx, small) },
	} {
		if err := errors.Join(ctx.Err(), measure(ctx)); err != nil {
			return err
		}
	}
	s.report.Seconds = time.Since(b.begun).Seconds()
	if b.JSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(s.report)
	}
	return s.report.writeTable(stdout)
}

// wants reports whether a measurement of that name is asked for.
func (s *syncSession) wants(name string) bool { return s.Only.MatchString(name) }

// note adds figures to the report.
func (s *syncSession) note(lines ...syncLine) {
	for _, l := range lines {
		fmt.Fprintf(s.talk, "%s: %s: %s %s %s\n", l.Name, l.Of, l.Value.text(), l.Unit, l.LeftOut)
	}
	s.report.Figures = append(s.report.Figures, lines...)
}

func (r syncReport) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "%s, %d processors, %s; medians; %.0f s in all\n\n", r.Machine.Kernel, r.Machine.Processors, runtime.Version(), r.Seconds)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "figure\tof\tvalue\tunit\trounds\t× rsync\t× unison\tgoal\n")
	for _, l := range r.Figures {
		said := []string{l.LeftOut}
		for _, g := range l.Goals {
			said = append(said, g.text(false))
		}
		said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.Name, l.Of, l.Value.textWithSpread(), l.Unit, l.Rounds,
			l.OfRsync.textWithSpread(), l.OfUnison.textWithSpread(), strings.Join(said, "; "))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	_, err := fmt.Fprintln(w, "\n× is a figure divided by the other's, round by round, with the least and the greatest; lower is better.")
	return err
}

// emptyDrive mounts a drive without any conduit, whose files and mountpoint are below base.
func (b *bench) emptyDrive(base string) (*vdfs, error) {
	v, err := b.newDrive(base)
	if err != nil {
		return nil, err
	}
	if err := v.mount(); err != nil {
		return v, err
	}
	_, err = v.Do("conduit", "delete", "home", "--force")
	return v, err
}

// newDrive makes a drive that is not mounted yet, of which nothing goes by itself.
func (b *bench) newDrive(base string) (*vdfs, error) {
	home, mount := filepath.Join(base, "home"), filepath.Join(base, "mount")
	if err := errors.Join(os.MkdirAll(home, 0o700), os.MkdirAll(mount, 0o700)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte("[offload]\nenabled = false\n"), 0o600); err != nil {
		return nil, err
	}
	return &vdfs{Drive: &drive.Drive{
		Bin: b.tools.vdfs(), Home: home, Mount: mount, Env: []string{"HOME=" + base, "XDG_RUNTIME_DIR="},
	}}, nil
}

// await runs commands one after the other, each of which may take as long as it likes, and returns how long they took.
func (v *vdfs) await(ctx context.Context, commands ...[]string) (time.Duration, error) {
	start := time.Now()
	for _, args := range commands {
		if out, err := v.Command(ctx, args...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("vdfs %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return time.Since(start), nil
}
