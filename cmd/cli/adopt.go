package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) adopt() *cobra.Command {
	return &cobra.Command{
		Use:   "adopt DIR [PATH]",
		Short: "Take files from a copy that is on this machine instead of downloading them",
		Long: `Looks in a directory of this machine for the files of the drive that are not here,
by their paths below PATH, or below the whole drive. Those that the storage proves
to be the same are here from then on, sharing their bytes with DIR where the disk can.
Others stay as they are. DIR is not changed. Interrupted, it can be run again.`,
		Example: `  vdfs adopt ~/old-copy
  vdfs adopt /mnt/usb/Photos ~/Drive/Photos`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAdopt(cmd.Context(), args[0], args[1:]) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
}

func (a *app) runAdopt(ctx context.Context, dir string, in []string) error {
	dir, err := adoptArg(dir)
	if err != nil {
		return err
	}
	if len(in) > 0 {
		return a.each(ctx, in, func(g *group) ([]control.Refusal, bool, error) {
			r, err := a.adoptFrom(ctx, g.client, dir, g.paths[0])
			return r.Refused, err == nil, err
		})
	}
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	return a.adoptAll(ctx, client, dir, "/")
}

// adoptArg makes a directory absolute: the daemon has another working directory. The daemon looks at it.
func adoptArg(dir string) (string, error) {
	if dir == "" {
		return "", usageError("the directory to adopt from is empty")
	}
	return filepath.Abs(dir)
}

// adoptFrom adopts files and tells what was found.
func (a *app) adoptFrom(ctx context.Context, client *control.Client, dir string, at control.Path) (control.AdoptResult, error) {
	b := a.bar("adopt")
	r, err := control.Stream[control.AdoptResult](ctx, client, "/v1/adopt", control.AdoptRequest{Dir: control.Path(dir), Path: at}, b.report)
	b.end()
	if err == nil {
		a.say("%s", adoptText(r))
	}
	return r, err
}

func adoptText(r control.AdoptResult) string {
	return fmt.Sprintf("adopted %s (%s), %d differ, %d not there", plural(r.Files, "file"), size(r.Bytes), r.Differ, r.Absent)
}

// adoptAll is adoptFrom for a directory of the drive that is named nowhere else.
func (a *app) adoptAll(ctx context.Context, client *control.Client, dir string, at control.Path) error {
	r, err := a.adoptFrom(ctx, client, dir, at)
	if err != nil {
		return err
	}
	return a.complain(r.Refused, "", true)
}

// thenAdopt is what --adopt does after the rest of its command, which stays done.
func (a *app) thenAdopt(ctx context.Context, client *control.Client, dir string, at control.Path) error {
	err := a.adoptAll(ctx, client, dir, at)
	if err == nil {
		return nil
	}
	e := control.AsError(err)
	if e.Message == "" { // told already
		return err
	}
	return &control.Error{Code: e.Code, Message: "adopt: " + e.Message + "; `vdfs adopt` goes on where this ended"}
}
