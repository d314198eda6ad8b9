package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

// historyShown is how many generations are shown where nothing is asked for.
const historyShown = 200

func (a *app) history() *cobra.Command {
	var o historyOptions
	cmd := &cobra.Command{
		Use:   "history [CONDUIT]",
		Short: "Show the runs that did something, newest first, what they come to, or what an archive has released",
		Long: `Shows what each run copied and deleted. It goes back for 90 days; of more than 20 000
runs of a conduit only the last day is shown whole. --totals adds the runs up instead,
those of the last 24 hours and all, or those that --since and --until choose. With
--releases it shows the audit log, the oldest line first: each file that the source of
an archive has given up, and where it is since. Nothing removes a line of that, also
not the end of the conduit.`,
		Example: `  vdfs history home
  vdfs history --failed --since 24h
  vdfs history home --totals
  vdfs history --totals --since 2026-03-01 --until 2026-04-01 --json
  vdfs history --releases --json > released.json`,
		Args:              between(0, 1),
		ValidArgsFunction: a.completeConduits,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.conduit = strings.Join(args, "")
			o.limited = cmd.Flags().Changed("limit")
			return a.runHistory(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", `only runs that began at a time or later: "2026-03-01 12:00", 2026-03-01, or 24h for a day ago`)
	f.StringVar(&o.until, "until", "", "only runs that began before a time")
	f.IntVar(&o.limit, "limit", historyShown, "at most so many `runs`, the newest; 0: all")
	f.BoolVar(&o.failed, "failed", false, "only runs with errors, or that were not verified in the end")
	f.BoolVar(&o.totals, "totals", false, "what the runs come to, by conduit")
	f.BoolVar(&o.releases, "releases", false, "the audit log of archives")
	f.BoolVar(&o.asJSON, "json", false, "as JSON")
	return cmd
}

type historyOptions struct {
	conduit, since, until            string
	limit                            int
	limited                          bool // a limit was asked for
	failed, totals, releases, asJSON bool
}

// request is what the options ask the daemon for.
func (o historyOptions) request(now time.Time) (r control.HistoryRequest, err error) {
	r = control.HistoryRequest{Conduit: o.conduit, Failed: o.failed, Limit: o.limit}
	switch {
	case o.releases && (o.since != "" || o.until != "" || o.failed || o.totals || o.limited):
		return r, usageError("--releases shows the whole log and goes with --json only")
	case o.totals && o.limited:
		return r, usageError("--totals adds up all runs: choose them with --since and --until")
	case o.limit < 0:
		return r, usageError("--limit is a number of runs, or 0 for all")
	}
	for _, t := range []struct {
		flag, text string
		to         **time.Time
	}{{"--since", o.since, &r.Since}, {"--until", o.until, &r.Until}} {
		if t.text == "" {
			continue
		}
		at, err := pointInTime(now, t.flag, t.text)
		if err != nil {
			return r, err
		}
		*t.to = &at
	}
	return r, nil
}

func (a *app) runHistory(ctx context.Context, o historyOptions) error {
	r, err := o.request(a.Now())
	switch {
	case err != nil:
		return err
	case o.releases:
		return a.runReleases(ctx, o.conduit, o.asJSON)
	case o.totals:
		return a.showTotals(ctx, r, o.asJSON)
	}
	return a.showHistory(ctx, r, o.asJSON)
}

func (a *app) showTotals(ctx context.Context, r control.HistoryRequest, asJSON bool) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	totals, err := control.Get[[]control.HistoryTotals](ctx, client, "/v1/history/totals"+r.Query())
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(totals)
	}
	if len(totals) == 0 {
		a.say("no conduits")
		return nil
	}
	t := table{colour: a.heading(-1)}
	t.add("CONDUIT", "PERIOD", "SINCE", "RUNS", "AVERAGE", "COPIED", "DELETED", "CONFLICTS", "ERRORS", "BYTES", "FAILED", "VERIFIED")
	for _, s := range totals {
		since, took := "-", "-"
		if s.Since != nil {
			since = ago(a.Now(), *s.Since)
		}
		if s.Completed > 0 {
			took = fmt.Sprintf("%.1f s", s.AverageSeconds)
		}
		t.add(s.Conduit, periods[s.Period], since, fmt.Sprint(s.Generations), took, fmt.Sprint(s.Copied), fmt.Sprint(s.Deleted),
			fmt.Sprint(s.Conflicts), fmt.Sprint(s.Errors), size(s.Bytes), fmt.Sprint(s.Failed), fmt.Sprint(s.Verified))
	}
	return a.print(t.String())
}

// periods are the words for those of control.HistoryTotals.
var periods = map[string]string{"kept": "all", "day": "24 hours", "chosen": "chosen"}

func (a *app) showHistory(ctx context.Context, r control.HistoryRequest, asJSON bool) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	generations, err := control.Get[[]control.Generation](ctx, client, "/v1/history"+r.Query())
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(generations)
	}
	if len(generations) == 0 {
		a.say("nothing yet")
		return nil
	}
	t := table{colour: a.heading(-1)}
	t.add("CONDUIT", "NR", "STARTED", "TOOK", "COPIED", "DELETED", "CONFLICTS", "ERRORS", "BYTES", "VERIFICATION")
	for _, g := range generations {
		took := "under way"
		if g.Completed != nil {
			took = span(g.Completed.Sub(g.Started))
		}
		t.add(g.Conduit, fmt.Sprint(g.Generation), ago(a.Now(), g.Started), took, fmt.Sprint(g.Copied), fmt.Sprint(g.Deleted),
			fmt.Sprint(g.Conflicts), fmt.Sprint(g.Errors), size(g.Bytes), g.Verification)
	}
	return a.print(t.String())
}
