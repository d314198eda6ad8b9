package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

// statusFlags are the flags of vdfs status.
type statusFlags struct{ json, state, watch, verbose bool }

func (a *app) status() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status [PATH...]",
		Short: "Show the drive, its conduits, queue and cache; with paths, their states",
		Example: `  vdfs status
  vdfs status --state               one word: idle, syncing, paused, offline, attention, error
  vdfs status ~/Drive/notes.txt     cloud, local, pending, …`,
		Args: between(0, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.watch {
				return a.watchStatus(cmd.Context(), args, f)
			}
			return a.runStatus(cmd.Context(), args, f)
		},
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "as JSON")
	cmd.Flags().BoolVar(&f.state, "state", false, "one word")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "also what had the conduits work, and the tasks of the daemon")
	cmd.Flags().BoolVar(&f.watch, "watch", false, "again whenever something has happened, until interrupted")
	cmd.MarkFlagsMutuallyExclusive("json", "state")
	return cmd
}

func (a *app) runStatus(ctx context.Context, args []string, f statusFlags) error {
	if len(args) > 0 {
		return a.pathStates(ctx, args, f)
	}
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	s, err := control.Get[control.Status](ctx, client, "/v1/status")
	if err != nil {
		return a.whyDown(err)
	}
	switch {
	case f.json:
		return a.printJSON(s)
	case f.state:
		return a.print(s.State + "\n")
	}
	text := a.statusText(s)
	if f.verbose {
		text += "\n" + a.workText(s)
	}
	return a.print(text)
}

// whyDown tells a drive whose daemon does not run from one that does not exist.
func (a *app) whyDown(err error) error {
	if control.AsError(err).Code != control.NoDrive {
		return err
	}
	paths, perr := a.paths()
	if perr != nil {
		return perr
	}
	if exists(paths.Data) {
		return &control.Error{Code: control.NoDrive, Message: fmt.Sprintf("the drive in %s is not mounted, its daemon does not run (vdfs mount MOUNTPOINT)", paths.Data)}
	}
	return &control.Error{Code: control.NoDrive, Message: "there is no drive yet (vdfs mount MOUNTPOINT)"}
}

// pathStates is status with paths: one word each.
func (a *app) pathStates(ctx context.Context, args []string, f statusFlags) error {
	type row struct {
		Path  control.Path `json:"path"`
		State string       `json:"state"`
	}
	rows := []row{}
	err := a.each(ctx, args, func(g *group) ([]control.Refusal, bool, error) {
		infos, err := control.Post[control.Infos](ctx, g.client, "/v1/info", control.Paths{Paths: g.paths})
		for _, i := range infos.Files {
			rows = append(rows, row{i.Path, i.State})
		}
		return infos.Refused, len(infos.Files) > 0, err
	})
	if f.json {
		return first(a.printJSON(rows), err)
	}
	t := table{colour: func(_, column int, text string) string {
		if column == 0 {
			return a.paint(stateColour(text), text)
		}
		return text
	}}
	for _, r := range rows {
		if f.state {
			t.add(r.State)
		} else {
			t.add(r.State, a.shown(string(r.Path)))
		}
	}
	return first(a.print(t.String()), err)
}

// first is the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) statusText(s control.Status) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %s\n\n", a.paint(bold, a.shown(string(s.Mountpoint))), a.paint(stateColour(s.State), s.State))
	if len(s.Conduits) > 0 {
		out.WriteString(a.conduitTable(s.Conduits))
		out.WriteByte('\n')
	}
	here := size(s.Cache.Bytes) + " here"
	if s.Cache.Budget > 0 {
		here += " of " + size(s.Cache.Budget)
	}
	fmt.Fprintf(&out, "cache   %s, %s pinned, %s not sent yet, %s free on the disk\n",
		here, size(s.Cache.Pinned), size(s.Cache.Dirty), size(s.Cache.Free))
	fmt.Fprintf(&out, "queue   %s\n", queueText(s.Queue))
	fmt.Fprintf(&out, "index   %s for %s\n", size(s.Cache.Index), plural(s.Nodes, "node"))
	fmt.Fprintf(&out, "daemon  %s in memory, version %s\n", size(s.Memory), s.Version)
	for _, c := range s.Conduits {
		if c.Progress != nil {
			fmt.Fprintf(&out, "\n%s: %s", c.Name, runText(*c.Progress))
		}
		if c.Message != "" {
			fmt.Fprintf(&out, "\n%s: %s", c.Name, c.Message)
		}
	}
	for _, note := range s.Notes {
		fmt.Fprintf(&out, "\n%s", note)
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

func queueText(q control.QueueCounts) string {
	var parts []string
	for _, c := range []struct {
		n    int64
		what string
	}{
		{q.New + q.Validated, "waiting"}, {q.Processing, "under way"}, {q.Conflicted, "in conflict"}, {q.Error, "with an error"},
	} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(parts) == 0 {
		return "empty"
	}
	return strings.Join(parts, ", ")
}

// conduitTable is shared with vdfs conduit list.
func (a *app) conduitTable(conduits []control.ConduitStatus) string {
	t := table{colour: a.heading(3)}
	t.add("CONDUIT", "AT", "POLICY", "STATE", "TO DO", "LAST SYNC", "RUNS", "ENDPOINT")
	for _, c := range conduits {
		todo := fmt.Sprintf("%d up, %d down", c.PendingLocal, c.PendingRemote)
		if c.PendingLocal+c.PendingRemote == 0 {
			todo = "-"
		}
		t.add(c.Name, a.shown(string(c.At)), c.Policy, c.State, todo, since(a.Now(), c.LastSync), a.runsText(c), a.shown(storages(c)))
	}
	return t.String()
}
