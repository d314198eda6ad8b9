package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) pause() *cobra.Command {
	return &cobra.Command{
		Use:   "pause [DURATION]",
		Short: "Stop uploads and prefetch; files can still be opened",
		Example: `  vdfs pause
  vdfs pause 2h`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r control.PauseRequest
			if len(args) == 1 {
				d, err := time.ParseDuration(args[0])
				if err != nil || d < time.Second {
					return usageError(fmt.Sprintf("%q is not a duration such as 30m or 2h", args[0]))
				}
				r.Seconds = int64(d / time.Second)
			}
			client, err := a.own(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := control.Post[control.None](cmd.Context(), client, "/v1/pause", r); err != nil {
				return err
			}
			if r.Seconds == 0 {
				a.say("paused until vdfs resume")
			} else {
				a.say("paused for %s", span(time.Duration(r.Seconds)*time.Second))
			}
			return nil
		},
	}
}

func (a *app) resume() *cobra.Command {
	return &cobra.Command{
		Use:   "resume",
		Short: "End a pause",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.own(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := control.Post[control.None](cmd.Context(), client, "/v1/resume", control.None{}); err != nil {
				return err
			}
			a.say("resumed")
			return nil
		},
	}
}
