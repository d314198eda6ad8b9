package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vdfs/cache/event"
	"vdfs/cmd/control"
)

func (a *app) events() *cobra.Command {
	var r control.EventsRequest
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened lately, or with --follow what happens",
		Long: `Shows the last lines of the drive's diary, or with --follow everything from now on,
until it is interrupted: on a terminal as text, else, and with --json, one JSON value a line.
docs/events.md has the types.`,
		Example: `  vdfs events --follow
  vdfs events --follow --type FileConflictDetected,SyncFailed | while read -r line; do notify-send "$line"; done
  vdfs events --limit 20`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Follow && cmd.Flags().Changed("limit") || r.Limit < 0 {
				return usageError("--limit is a number of lines of the diary, not for --follow")
			}
			return a.runEvents(cmd.Context(), r, asJSON || !terminal(a.Out))
		},
	}
	cmd.Flags().BoolVarP(&r.Follow, "follow", "f", false, "what happens from now on")
	cmd.Flags().StringSliceVar(&r.Types, "type", nil, "only events of these types")
	cmd.Flags().IntVar(&r.Limit, "limit", 100, "so many of the last; 0: all that the diary has")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, also on a terminal")
	types := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return event.Names(), cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("type", types); err != nil {
		panic(err) // the flag was made a few lines above
	}
	return cmd
}

func (a *app) runEvents(ctx context.Context, r control.EventsRequest, asJSON bool) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	some := false
	_, err = control.Items[control.Event, control.None](ctx, client, "/v1/events", r, func(e control.Event) error {
		some = true
		if !asJSON {
			return a.print(a.eventText(e) + "\n")
		}
		data, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
		return a.print(string(data) + "\n")
	})
	switch {
	case err != nil && r.Follow && ctx.Err() != nil:
		return nil // the person has seen enough
	case err != nil:
		return a.whyDown(err)
	case !some && !asJSON:
		a.say("nothing yet")
	}
	return nil
}

// eventText is an event in a line for people.
func (a *app) eventText(e control.Event) string {
	parts := []string{e.At.Local().Format("2006-01-02 15:04:05"), a.paint(eventColour(e), e.Type)}
	add := func(text string) {
		if text != "" {
			parts = append(parts, text)
		}
	}
	add(e.Conduit)
	if e.OldPath != "" {
		add(a.shown(string(e.OldPath)) + " ->")
	}
	add(a.shown(string(e.Path)))
	if e.Path == "" && e.Online != nil {
		add(a.shown(e.Endpoint))
	}
	add(eventDetail(e))
	if e.ConflictPath != "" {
		add("(" + a.shown(string(e.ConflictPath)) + ")")
	}
	add(a.shown(e.Message))
	add(a.shown(e.Error))
	if e.Dropped > 0 {
		add(fmt.Sprintf("[%d events before this one were lost]", e.Dropped))
	}
	return strings.Join(parts, "  ")
}

// eventDetail is what the numbers and words of an event say.
func eventDetail(e control.Event) string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case e.Received != nil && e.TotalBytes != nil:
		add("%s of %s", size(*e.Received), size(*e.TotalBytes))
	case e.TotalFiles != nil && e.Files != nil && e.Bytes != nil && e.TotalBytes != nil:
		add("%d of %s, %s of %s", *e.Files, plural(*e.TotalFiles, "file"), size(*e.Bytes), size(*e.TotalBytes))
	case e.Files != nil && e.Deleted != nil && e.Bytes != nil:
		add("%s, %s, %d deleted", plural(*e.Files, "file"), size(*e.Bytes), *e.Deleted)
	case e.Bytes != nil:
		add("%s", size(*e.Bytes))
	case e.TotalBytes != nil:
		add("%s", size(*e.TotalBytes))
	}
	switch {
	case e.Online != nil && *e.Online:
		add("online")
	case e.Online != nil:
		add("offline")
	}
	if e.Queue != nil {
		add("%s", queueText(*e.Queue))
	}
	to := cmp.Or(e.Pin, e.State)
	if e.From != "" && to != "" {
		to = e.From + " -> " + to
	}
	for _, word := range []string{to, e.Policy, e.ConflictType, e.Strategy, e.Operation, e.Origin, e.Verification} {
		if word != "" {
			add("%s", word)
		}
	}
	return strings.Join(out, ", ")
}

func eventColour(e control.Event) string {
	switch {
	case strings.HasSuffix(e.Type, "Failed"), e.Type == "FileCorrupted":
		return red
	case e.Type == "FileConflictDetected", e.Online != nil && !*e.Online:
		return yellow
	case strings.HasSuffix(e.Type, "Completed"), e.Type == "FileConflictResolved":
		return green
	}
	return cyan
}

func (a *app) metrics() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "Show what was done and how much there is, as Prometheus reads it",
		Long: `Prints the metrics of the drive in the text form of Prometheus. The control socket gives the same
at /metrics. With --json it prints what was done since the daemon started and in the last 24 hours.`,
		Example: `  vdfs metrics | grep vdfs_queue_items
  curl --unix-socket SOCKET http://vdfs/metrics`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.own(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				m, err := control.Get[control.Metrics](cmd.Context(), client, "/v1/metrics")
				if err != nil {
					return a.whyDown(err)
				}
				return a.printJSON(m)
			}
			text, err := control.Text(cmd.Context(), client, "/metrics")
			if err != nil {
				return a.whyDown(err)
			}
			return a.print(text)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
