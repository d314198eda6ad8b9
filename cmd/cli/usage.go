package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) pins() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "pins",
		Short: "Show what was pinned, set online or excluded, and the bytes it decides about",
		Example: `  vdfs pins
  vdfs pins --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runPins(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

const pinLine = "%-8s %9s %9s %7s  %s\n"

func (a *app) runPins(ctx context.Context, asJSON bool) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	list := jsonList{app: a}
	lines := 0
	_, err = control.Items[control.PinInfo, control.None](ctx, client, "/v1/pins", control.None{}, func(p control.PinInfo) error {
		if asJSON {
			return list.add(p)
		}
		text := fmt.Sprintf(pinLine, p.Pin, size(p.Here), size(p.Missing), fmt.Sprint(p.Files), a.shown(string(p.Path)))
		if lines++; lines == 1 {
			text = a.paint(bold, fmt.Sprintf(pinLine, "PIN", "HERE", "MISSING", "FILES", "PATH")) + text
		}
		return a.print(text)
	})
	switch {
	case err != nil:
		return err
	case asJSON:
		return list.end()
	case lines == 0:
		a.say("nothing is pinned")
	}
	return nil
}

func (a *app) du() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "du [PATH...]",
		Short: "Show what takes local space: pinned, cached, partial, dirty (not sent)",
		Long: `Counts the bytes that are on this machine at or below the paths, or of the whole
drive. Pinned bytes stay. Cached ones, and those of partial files, go when room is
needed. Dirty ones are at no storage yet and never go.`,
		Example: `  vdfs du                      the whole drive, with its trash and that of its storages
  vdfs du ~/Drive/Work ~/Drive/Films`,
		Args: between(0, many),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runDu(cmd.Context(), args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) runDu(ctx context.Context, args []string, asJSON bool) error {
	all := []control.DiskUse{}
	var kept []control.StorageTrash
	err := a.onPathsOrDrive(ctx, args, func(g *group) ([]control.Refusal, bool, error) {
		r, err := control.Post[control.DiskUses](ctx, g.client, "/v1/du", control.Paths{Paths: g.paths})
		all, kept = append(all, r.Usage...), r.Kept
		return r.Refused, len(r.Usage) > 0, err
	})
	if asJSON {
		return first(a.printJSON(all), err)
	}
	if len(all) == 0 {
		return err
	}
	t := table{colour: a.heading(-1)}
	t.add("TOTAL", "PINNED", "CACHED", "PARTIAL", "DIRTY", "PATH")
	for _, u := range all {
		t.add(size(u.Total), size(u.Pinned), size(u.Cached), size(u.Partial), size(u.Dirty), a.shown(string(u.Path)))
	}
	text := t.String()
	if len(args) == 0 {
		text += fmt.Sprintf("in the total: %s in the trash, %s of removed files that are still open\n", size(all[0].Trash), size(all[0].Other))
		for _, k := range kept {
			text += a.keptText(k)
		}
	}
	return first(a.print(text), err)
}

// keptText tells what a storage has in its trash.
func (a *app) keptText(k control.StorageTrash) string {
	what := fmt.Sprintf("%s, %s", size(k.Bytes), plural(k.Files, "version"))
	if k.Unknown != "" {
		what = "not known, " + k.Unknown
	}
	return fmt.Sprintf("in the trash of %s (%s): %s\n", a.shown(k.Endpoint), k.Conduit, what)
}

// onPathsOrDrive is each, or without any path once for the drive of the environment.
func (a *app) onPathsOrDrive(ctx context.Context, args []string, f func(*group) ([]control.Refusal, bool, error)) error {
	if len(args) > 0 {
		return a.each(ctx, args, f)
	}
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	_, _, err = f(&group{client: client, paths: []control.Path{}})
	return err
}

func (a *app) redundancy() *cobra.Command {
	var r control.RedundancyRequest
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "redundancy [PATH...]",
		Short: "Show the files of which fewer than two whole copies are known",
		Long: `Counts for every file the whole copies of its present version: one for each
storage that has proved to keep it, and one if it is all on this machine. A copy that
was found to be damaged does not count. Nobody is asked anything: vdfs verify does
that. Empty files do not count.`,
		Example: `  vdfs redundancy
  vdfs redundancy ~/Drive/Photos --all
  vdfs redundancy --min 3           those with fewer than three copies`,
		Args: between(0, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.Min < 1 {
				return usageError("--min counts copies from 1 on")
			}
			return a.runRedundancy(cmd.Context(), args, r, asJSON)
		},
	}
	cmd.Flags().BoolVar(&r.All, "all", false, "every file with the number of its copies")
	cmd.Flags().IntVar(&r.Min, "min", 2, "how many copies are enough")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

const copyLine = "%6s %6s %-5s %9s  %s%s\n"

func (a *app) runRedundancy(ctx context.Context, args []string, q control.RedundancyRequest, asJSON bool) error {
	out := copiesOut{app: a, asJSON: asJSON, list: jsonList{app: a, indent: "  "}}
	var sum control.Redundancy
	err := a.onPathsOrDrive(ctx, args, func(g *group) ([]control.Refusal, bool, error) {
		r, err := control.Items[control.FileCopies, control.Redundancy](ctx, g.client, "/v1/redundancy",
			control.RedundancyRequest{Paths: g.paths, All: q.All, Min: q.Min}, out.file)
		for copies, files := range r.By {
			for len(sum.By) <= copies {
				sum.By = append(sum.By, 0)
			}
			sum.By[copies] += files
		}
		sum.Files, sum.AtRisk, sum.Bytes = sum.Files+r.Files, sum.AtRisk+r.AtRisk, sum.Bytes+r.Bytes
		return r.Refused, r.Files > 0, err
	})
	if err != nil && sum.Files == 0 {
		return err
	}
	if asJSON {
		if perr := first(out.begin(), out.list.end()); perr != nil {
			return perr
		}
		rest := fmt.Sprintf(",\n  \"checked\": %d,\n  \"at_risk\": %d,\n  \"at_risk_bytes\": %d,\n  \"by_copies\": %s\n}\n", sum.Files, sum.AtRisk, sum.Bytes, counts(sum.By))
		return first(a.print(rest), err)
	}
	enough := fmt.Sprint(q.Min)
	if q.Min == 2 {
		enough = "two"
	}
	a.say("%d of %s: fewer than %s copies are known (%s)", sum.AtRisk, plural(sum.Files, "file"), enough, size(sum.Bytes))
	var by []string
	for copies, files := range sum.By {
		if files > 0 {
			by = append(by, fmt.Sprintf("%s with %d", plural(files, "file"), copies))
		}
	}
	if len(by) > 0 {
		a.say("copies: %s", strings.Join(by, ", "))
	}
	return err
}

// counts is a list of numbers in JSON.
func counts(of []int64) string {
	text := make([]string, len(of))
	for i, n := range of {
		text[i] = fmt.Sprint(n)
	}
	return "[" + strings.Join(text, ", ") + "]"
}

// copiesOut prints files as they come.
type copiesOut struct {
	app    *app
	asJSON bool
	list   jsonList
	begun  bool
}

// begin prints what comes before the first file, once.
func (o *copiesOut) begin() error {
	if o.begun {
		return nil
	}
	o.begun = true
	if o.asJSON {
		return o.app.print("{\n  \"files\": ")
	}
	return o.app.print(o.app.paint(bold, fmt.Sprintf(copyLine, "COPIES", "PROVED", "HERE", "SIZE", "PATH", "")))
}

func (o *copiesOut) file(c control.FileCopies) error {
	if err := o.begin(); err != nil {
		return err
	}
	if o.asJSON {
		return o.list.add(c)
	}
	here := "no"
	if c.Here {
		here = "yes"
	}
	at := ""
	if len(c.Endpoints) > 0 {
		at = "  (" + o.app.shown(strings.Join(c.Endpoints, ", ")) + ")"
	}
	return o.app.print(fmt.Sprintf(copyLine, fmt.Sprint(c.Copies), fmt.Sprint(c.Proved), here, size(c.Size), o.app.shown(string(c.Path)), at))
}
