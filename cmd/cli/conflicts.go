package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) conflicts() *cobra.Command {
	var asJSON bool
	list := func(cmd *cobra.Command, _ []string) error { return a.listConflicts(cmd.Context(), asJSON) }
	cmd := &cobra.Command{
		Use:   "conflicts",
		Short: "Show and resolve conflicts",
		Long: `When two sides changed a file, the version that the storage had first keeps the
name and the other lies beside it as a conflict file. Nothing is lost meanwhile.
Where the strategy of the conduit is manual, both stay where they are, and the
file is not synced until you choose.`,
		Example: `  vdfs conflicts
  vdfs conflicts resolve ~/Drive/notes.txt --keep local
  vdfs conflicts resolve ~/Drive/notes.txt --keep merged ./notes-merged.txt`,
		Args: noArgs,
		RunE: list,
	}
	cmd.PersistentFlags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List the conflicts that are open", Args: noArgs, RunE: list},
		&cobra.Command{
			Use: "show PATH", Short: "Show both versions of a conflict", Args: between(1, 1),
			RunE: func(cmd *cobra.Command, args []string) error { return a.showConflicts(cmd.Context(), args[0], asJSON) },
		},
		a.resolveConflict(),
	)
	return cmd
}

func (a *app) resolveConflict() *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use:   "resolve PATH --keep local|remote|both|merged [FILE]",
		Short: "Decide a conflict",
		Long: `PATH is the file or its conflict file. What is not kept goes to the trash, from where
vdfs restore brings it back.
  local    the version that was made here
  remote   the version that the storage had
  both     both; where you were asked, the local one becomes a conflict file
  merged   the content of FILE`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runResolve(cmd.Context(), args, keep) },
	}
	cmd.Flags().StringVar(&keep, "keep", "", "local, remote, both or merged")
	_ = cmd.MarkFlagRequired("keep") // the flag exists: defined above
	_ = cmd.RegisterFlagCompletionFunc("keep", cobra.FixedCompletions([]string{"local", "remote", "both", "merged"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) runResolve(ctx context.Context, args []string, keep string) error {
	r := control.ResolveRequest{Keep: keep}
	switch {
	case keep != "local" && keep != "remote" && keep != "both" && keep != "merged":
		return usageError(fmt.Sprintf("--keep %s: choose local, remote, both or merged", keep))
	case keep == "merged" && len(args) != 2:
		return usageError("--keep merged needs the FILE with the merged content")
	case keep != "merged" && len(args) == 2:
		return usageError("FILE goes with --keep merged only")
	}
	if keep == "merged" {
		data, err := os.ReadFile(args[1])
		if err != nil {
			return fmt.Errorf("read merged content: %w", err)
		}
		r.Merged = data
	}
	g, err := a.one(ctx, args[0])
	if err != nil {
		return err
	}
	r.Path = g.paths[0]
	if _, err := control.Post[control.None](ctx, g.client, "/v1/conflicts/resolve", r); err != nil {
		return err
	}
	a.say("resolved %s: kept %s", safe(args[0]), keep)
	return nil
}

// one is the drive of a single path.
func (a *app) one(ctx context.Context, path string) (*group, error) {
	groups, _, err := a.locate(ctx, []string{path})
	if err != nil {
		return nil, err
	}
	return groups[0], nil
}

func (a *app) listConflicts(ctx context.Context, asJSON bool) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	list, err := control.Get[[]control.ConflictInfo](ctx, client, "/v1/conflicts")
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		a.say("no conflicts")
		return nil
	}
	t := table{colour: a.heading(-1)}
	t.add("ID", "TYPE", "PATH", "CONFLICT FILE")
	for _, c := range list {
		beside := a.shown(string(c.ConflictPath))
		if c.ConflictPath == "" {
			beside = "(choose which to keep)"
		}
		t.add(fmt.Sprint(c.ID), c.Type, a.shown(string(c.Path)), beside)
	}
	return a.print(t.String())
}

func (a *app) showConflicts(ctx context.Context, path string, asJSON bool) error {
	g, err := a.one(ctx, path)
	if err != nil {
		return err
	}
	list, err := control.Get[[]control.ConflictInfo](ctx, g.client, "/v1/conflicts"+control.Query("path", string(g.paths[0])))
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		return &control.Error{Code: control.NotFound, Message: fmt.Sprintf("%s: no conflict", path)}
	}
	for _, c := range list {
		if err := a.print(a.conflictText(c)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) conflictText(c control.ConflictInfo) string {
	side := func(s control.Side) string {
		text := size(s.Size) + ", modified " + ago(a.Now(), s.Mtime)
		if s.Device != "" {
			text += ", from " + s.Device
		}
		return text
	}
	kept := a.shown(string(c.ConflictPath))
	if c.ConflictPath == "" {
		kept = "both where they are, until you choose (vdfs conflicts resolve PATH --keep local|remote|both)"
	}
	return fmt.Sprintf("%s\n  type       %s (%s): %s\n  state      %s\n  kept as    %s\n  local      %s\n  remote     %s\n",
		a.paint(bold, a.shown(string(c.Path))), c.Type, c.Strategy, c.Reason, c.State, kept, side(c.Local), side(c.Remote))
}
