package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) why() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why PATH...",
		Short: "Show who had files fetched, and why they stay or wait",
		Example: `  vdfs why ~/Drive/film.mkv
  vdfs why ~/Drive/film.mkv --json`,
		Args: between(1, many),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runWhy(cmd.Context(), args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) runWhy(ctx context.Context, args []string, asJSON bool) error {
	all := []control.Why{}
	err := a.each(ctx, args, func(g *group) ([]control.Refusal, bool, error) {
		whys, err := control.Post[control.Whys](ctx, g.client, "/v1/why", control.Paths{Paths: g.paths})
		all = append(all, whys.Files...)
		return whys.Refused, len(whys.Files) > 0, err
	})
	if asJSON {
		return first(a.printJSON(all), err)
	}
	for i, w := range all {
		text := a.whyText(w)
		if i > 0 {
			text = "\n" + text
		}
		if perr := a.print(text); perr != nil {
			return perr
		}
	}
	return err
}

func (a *app) whyText(w control.Why) string {
	var out strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&out, "  %-10s"+format+"\n", append([]any{key}, args...)...)
	}
	out.WriteString(a.paint(bold, a.shown(string(w.Path))) + "\n")
	line("state", "%s", a.paint(stateColour(w.State), w.State))
	if w.Kind == "file" {
		line("here", "%s (%s)", size(w.LocalBytes), w.Residency)
	}
	if w.Fetched != nil || w.LocalBytes > 0 {
		line("fetched", "%s", fetchedText(w.Fetched, a.Now()))
	}
	if w.Used != nil {
		line("used", "%s", ago(a.Now(), *w.Used))
	}
	if w.PinnedBy != "" {
		line("pinned", "by %s", a.shown(string(w.PinnedBy)))
	}
	for _, reason := range w.Kept {
		line("kept", "%s", safe(reason))
	}
	if w.LocalBytes > 0 && len(w.Kept) == 0 {
		line("may go", "%s", mayGo(w.Copies))
	}
	if w.Ignored != nil {
		line("sync", "never: %s", ignoredText(*w.Ignored))
	}
	for _, q := range w.Waits {
		line("waits", "%s", safe(waitText(q)))
	}
	if w.Error != "" && len(w.Waits) == 0 {
		line("error", "%s", a.paint(red, safe(w.Error)))
	}
	return out.String()
}

// fetchedText says for whom bytes came.
func fetchedText(f *control.Fetched, now time.Time) string {
	if f == nil {
		return "never: it was written here"
	}
	return fmt.Sprintf("for %s (%s), %s", safe(either(f.Program, "a program that cannot be told")), safe(either(f.Kind, "unknown")), ago(now, f.At))
}

// mayGo says on what condition bytes may be dropped.
func mayGo(copies []control.Copy) string {
	if len(copies) == 0 {
		return "if an endpoint proves first that it stores this version"
	}
	return fmt.Sprintf("as %s stores this version", safe(copies[0].Endpoint))
}

// waitText says what an endpoint is still to hear, or to tell.
func waitText(q control.QueueItem) string {
	way := "to"
	if q.Origin == "remote" {
		way = "from"
	}
	text := fmt.Sprintf("%s %s %s: %s", q.Operation, way, q.Conduit, q.Status)
	if q.Error != "" {
		text += fmt.Sprintf(" after %s: %s", plural(int64(q.Attempts), "attempt"), q.Error)
	}
	return text
}
