package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) sync() *cobra.Command {
	var r control.SyncRequest
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "sync [CONDUIT...]",
		Short: "Sync now, or join the run under way",
		Long: `Starts a run of the named conduits, or of all. With --wait it returns when nothing
can proceed any more: 0 all is done and verified, 3 something waits (each is
named), 4 a conflict needs a decision, 5 an endpoint is unreachable, 7 deletions
are held back.`,
		Example: `  vdfs sync --wait
  vdfs sync home --wait --timeout 5m
  vdfs sync home --allow-deletes    a mass deletion is meant`,
		Args:              between(0, many),
		ValidArgsFunction: a.completeConduits,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Conduits = args
			ctx := cmd.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %s (the run goes on in the background)", timeout))
				defer cancel()
			}
			return a.runSync(ctx, r)
		},
	}
	cmd.Flags().BoolVar(&r.Wait, "wait", false, "return when nothing can proceed")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "with --wait: give up waiting after this `duration`")
	cmd.Flags().BoolVar(&r.Rescan, "rescan", false, "look at everything at the endpoint, not only at what changed")
	cmd.Flags().BoolVar(&r.AllowDeletes, "allow-deletes", false, "let deletions through that are held back")
	cmd.Flags().BoolVar(&r.Cancel, "cancel", false, "stop the run under way")
	cmd.MarkFlagsMutuallyExclusive("cancel", "wait")
	return cmd
}

func (a *app) runSync(ctx context.Context, r control.SyncRequest) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	b := a.bar("sync")
	result, err := control.Stream[control.SyncResult](ctx, client, "/v1/sync", r, b.report)
	b.end()
	if err != nil {
		return err
	}
	return a.tellSync(result)
}

// blockedName is a path with its conduit; a whole conduit is just that.
func blockedName(x control.Refusal) string {
	switch {
	case x.Path == "":
		return "conduit " + x.Conduit
	case x.Conduit == "":
		return safe(string(x.Path))
	}
	return safe(string(x.Path)) + " (" + x.Conduit + ")"
}

// tellSync names what is left and returns the error that fits the state.
func (a *app) tellSync(r control.SyncResult) error {
	for _, x := range r.Blocked {
		a.say("vdfs: %s: %s", blockedName(x), x.Reason)
	}
	switch r.State {
	case "done":
		a.say("in sync")
		return nil
	case "started":
		return nil
	case "conflicts":
		return &control.Error{Code: control.Conflict, Message: "conflicts wait for a decision (vdfs conflicts)"}
	case "unreachable":
		return &control.Error{Code: control.Unreachable, Message: "an endpoint is unreachable; what is not sent yet stays recorded"}
	case "parked":
		return &control.Error{Code: control.Partly, Message: fmt.Sprintf("%s not done", plural(int64(len(r.Blocked)), "item"))}
	case "held":
		return &control.Error{Code: control.Refused, Message: "a mass deletion is held back (vdfs sync --allow-deletes, if it is meant)"}
	case "cancelled":
		return &control.Error{Code: control.Partly, Message: "the run was cancelled"}
	}
	return fmt.Errorf("the daemon answered with the state %q", r.State)
}
