package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) history() *cobra.Command {
	var asJSON, releases bool
	cmd := &cobra.Command{
		Use:   "history [CONDUIT]",
		Short: "Show the runs that did something, newest first, or what an archive has released",
		Long: `Shows what each run copied and deleted. With --releases it shows the audit log
instead, the oldest line first: each file that the source of an archive has given up,
and where it is since. Nothing removes a line of that, also not the end of the conduit.`,
		Example: `  vdfs history home
  vdfs history --releases --json > released.json`,
		Args:              between(0, 1),
		ValidArgsFunction: a.completeConduits,
		RunE: func(cmd *cobra.Command, args []string) error {
			if releases {
				return a.runReleases(cmd.Context(), strings.Join(args, ""), asJSON)
			}
			request := "/v1/history"
			if len(args) == 1 {
				request += control.Query("conduit", args[0])
			}
			return a.runHistory(cmd.Context(), request, asJSON)
		},
	}
	cmd.Flags().BoolVar(&releases, "releases", false, "the audit log of archives")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) runHistory(ctx context.Context, request string, asJSON bool) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	generations, err := control.Get[[]control.Generation](ctx, client, request)
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
