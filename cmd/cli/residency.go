package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

// onPaths runs one of the long requests about paths with a bar and tells the result.
func (a *app) onPaths(ctx context.Context, verb string, args []string, r control.PathsRequest, tell func(control.PathsResult) string) error {
	return a.each(ctx, args, func(g *group) ([]control.Refusal, bool, error) {
		r.Paths = g.paths
		b := a.bar(verb)
		result, err := control.Stream[control.PathsResult](ctx, g.client, "/v1/"+verb, r, b.report)
		b.end()
		if err != nil {
			return nil, false, err
		}
		if result.Paths > 0 {
			a.say("%s", tell(result))
		}
		return result.Refused, result.Paths > 0, nil
	})
}

func (a *app) unpin() *cobra.Command {
	return &cobra.Command{
		Use:     "unpin PATH...",
		Short:   "Undo pin, online and exclude: back to what the directory above says",
		Example: `  vdfs unpin ~/Drive/Work`,
		Args:    between(1, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onPaths(cmd.Context(), "unpin", args, control.PathsRequest{}, func(r control.PathsResult) string {
				return "unpinned " + plural(r.Paths, "path")
			})
		},
	}
}

func (a *app) online() *cobra.Command {
	return &cobra.Command{
		Use:   "online PATH...",
		Short: "Keep files at their storage: drop their bytes here when nobody uses them",
		Long: `Drops the bytes of files that their storage has proved to keep, now or when they
may go, before those of other files. They stay listed and come back when they are
read. Pins below stay. vdfs unpin undoes it.`,
		Example: `  vdfs online ~/Drive/Films`,
		Args:    between(1, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onPaths(cmd.Context(), "online", args, control.PathsRequest{}, func(r control.PathsResult) string {
				return releaseText("online", r)
			})
		},
	}
}

func (a *app) exclude() *cobra.Command {
	return &cobra.Command{
		Use:   "exclude PATH...",
		Short: "Keep files at their storage and do not show them here",
		Long: `Hides files and directories that are wholly at their storage, and drops their bytes
here. Nothing is deleted: changes at the storage are followed, the name stays taken,
and a directory with something hidden in it is not empty. Refused while anything of
it is open for writing, pinned by itself, or not sent yet. vdfs unpin shows it again;
vdfs pins and vdfs ls still list it.`,
		Example: `  vdfs exclude ~/Drive/Archive
  vdfs unpin ~/Drive/Archive       show it again`,
		Args: between(1, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onPaths(cmd.Context(), "exclude", args, control.PathsRequest{}, func(r control.PathsResult) string {
				return releaseText("excluded", r)
			})
		},
	}
}

func releaseText(done string, r control.PathsResult) string {
	text := fmt.Sprintf("%s: freed %s of %s", done, size(r.Bytes), plural(r.Files, "file"))
	if r.Kept > 0 {
		text += fmt.Sprintf("; %s may not go yet", plural(r.Kept, "more file"))
	}
	return text
}

func (a *app) pin() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "pin PATH...",
		Short: "Always keep files here, also those still to come below a directory",
		Example: `  vdfs pin ~/Drive/Work
  vdfs pin ~/Drive/Talk --wait     return when all of it is here`,
		Args: between(1, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onPaths(cmd.Context(), "pin", args, control.PathsRequest{Wait: wait}, func(r control.PathsResult) string {
				return fetchText("pinned", r, wait)
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return when the bytes are here")
	return cmd
}

func (a *app) fetch() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:     "fetch PATH...",
		Short:   "Download files once, without pinning them",
		Example: `  vdfs fetch ~/Drive/Film.mkv --wait`,
		Args:    between(1, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onPaths(cmd.Context(), "fetch", args, control.PathsRequest{Wait: wait}, func(r control.PathsResult) string {
				return fetchText("fetched", r, wait)
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return when the bytes are here")
	return cmd
}

func fetchText(done string, r control.PathsResult, waited bool) string {
	if r.Bytes == 0 && r.Files == 0 {
		return done + ": everything is here already"
	}
	if waited {
		return fmt.Sprintf("%s: %s here (%s)", done, plural(r.Files, "file"), size(r.Bytes))
	}
	return fmt.Sprintf("%s: %s to download (%s)", done, plural(r.Files, "file"), size(r.Bytes))
}

func (a *app) offload() *cobra.Command {
	var r control.PathsRequest
	cmd := &cobra.Command{
		Use:   "offload PATH...",
		Short: "Free the local space of files that their storage has proved to keep",
		Example: `  vdfs offload ~/Drive/Films
  vdfs offload ~/Drive --dry-run`,
		Args: between(1, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onPaths(cmd.Context(), "offload", args, r, func(res control.PathsResult) string {
				if r.DryRun {
					return fmt.Sprintf("would free %s of %s", size(res.Bytes), plural(res.Files, "file"))
				}
				return fmt.Sprintf("freed %s of %s", size(res.Bytes), plural(res.Files, "file"))
			})
		},
	}
	cmd.Flags().BoolVar(&r.IncludePinned, "include-pinned", false, "also files that are pinned")
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "only say what would be freed")
	return cmd
}
