package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vdfs/cache"
	"vdfs/syncer"
	"vdfs/syncer/remote/dir"
)

// faultPoints lists what VDFS_FAULT can arm, for the crash tests: a point that no test passes is one too many.
func (a *app) faultPoints() *cobra.Command {
	return &cobra.Command{
		Use:    "fault-points",
		Short:  "List the fault points that VDFS_FAULT can arm",
		Args:   noArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			all := slices.Concat(cache.FaultPoints(), syncer.FaultPoints(), dir.FaultPoints())
			return a.print(strings.Join(all, "\n") + "\n")
		},
	}
}
