package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) verify() *cobra.Command {
	var repair, asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [PATH...]",
		Short: "Read all copies of files again, and find those that are damaged",
		Long: `Reads every copy of the files at or below the paths, or of the whole drive, where it
is stored, and compares it with what was agreed on: bits flip on disks without anybody
telling. A copy that somebody changed is none that is damaged; the next sync takes it in.
A damaged copy counts as none until it is repaired: nothing is dropped because of it.

With --repair a good copy takes the place of a damaged one, which goes to the trash.
Where there is no good copy, nothing is changed.

Without a path vdfs also looks at all that the storages have, and whether anything is
left to do. Exit code 3: something is damaged, and was not repaired; 5: a storage
could not be asked.`,
		Example: `  vdfs verify
  vdfs verify ~/Drive/Photos --repair
  vdfs verify --json`,
		Args: between(0, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runVerify(cmd.Context(), args, repair, asJSON)
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "put good copies in the place of damaged ones")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) runVerify(ctx context.Context, args []string, repair, asJSON bool) error {
	var sum control.Verification
	found, at := []control.Finding{}, []string{}
	err := a.onPathsOrDrive(ctx, args, func(g *group) ([]control.Refusal, bool, error) {
		b := a.bar("verify")
		r, err := control.Told[control.Finding, control.Verification](ctx, g.client, "/v1/verify", control.VerifyRequest{Paths: g.paths, Repair: repair},
			b.report, func(f control.Finding) error {
				found, at = append(found, f), append(at, g.mountpoint)
				return nil
			})
		b.end()
		sum.Files, sum.Copies, sum.Bytes = sum.Files+r.Files, sum.Copies+r.Copies, sum.Bytes+r.Bytes
		sum.Damaged, sum.Repaired, sum.Changed = sum.Damaged+r.Damaged, sum.Repaired+r.Repaired, sum.Changed+r.Changed
		sum.Unreachable += r.Unreachable
		sum.Trees = append(sum.Trees, r.Trees...)
		return r.Refused, r.Files > 0, err
	})
	if err != nil && sum.Files == 0 && len(found) == 0 {
		return err
	}
	out := verified{sum, found}
	out.Refused = []control.Refusal{}
	if out.Trees == nil {
		out.Trees = []control.TreeCheck{}
	}
	if asJSON {
		err = first(a.printJSON(out), err)
	} else {
		err = first(a.print(a.verifiedText(out, at)), err)
	}
	switch {
	case err != nil:
		return err
	case sum.Damaged > 0:
		return &control.Error{Code: control.Partly}
	case sum.Unreachable > 0:
		return &control.Error{Code: control.Unreachable}
	}
	return nil
}

// verified is what `vdfs verify --json` prints.
type verified struct {
	control.Verification
	Findings []control.Finding `json:"findings"`
}

// verifiedText is that for people; at are the mountpoints that the paths are in.
func (a *app) verifiedText(v verified, at []string) string {
	var out strings.Builder
	for i, f := range v.Findings {
		colour := ""
		switch f.State {
		case "damaged":
			colour = red
		case "repaired":
			colour = green
		}
		where := a.shown(cmp.Or(f.Endpoint, "this machine"))
		if f.Path == "" {
			fmt.Fprintf(&out, "%s: %s: %s\n", a.paint(colour, f.State), where, f.Reason)
			continue
		}
		fmt.Fprintf(&out, "%s: %s (%s): %s\n", a.paint(colour, f.State), a.shown(at[i]+string(f.Path)), where, f.Reason)
		if f.Remedy != "" {
			fmt.Fprintf(&out, "  %s\n", f.Remedy)
		}
	}
	copies := "1 copy is"
	if v.Copies != 1 {
		copies = fmt.Sprintf("%d copies are", v.Copies)
	}
	fmt.Fprintf(&out, "%s, %s good (%s)", plural(v.Files, "file"), copies, size(v.Bytes))
	for _, c := range []struct {
		n    int64
		what string
	}{{v.Damaged, "damaged"}, {v.Repaired, "repaired"}, {v.Changed, "changed"}, {v.Unreachable, "not looked at"}} {
		if c.n > 0 {
			fmt.Fprintf(&out, ", %d %s", c.n, c.what)
		}
	}
	out.WriteByte('\n')
	for _, t := range v.Trees {
		fmt.Fprintf(&out, "all of %s (%s): %s\n", a.shown(t.Endpoint), t.Conduit, treeText(t.Result))
	}
	return out.String()
}

// treeText is the result of a look at all that an endpoint has.
func treeText(result string) string {
	if why, ok := strings.CutPrefix(result, "failed:"); ok {
		return why
	}
	return "as the drive has it, nothing is left to do"
}

// damages are the damaged copies that are known, as `vdfs errors` shows what is stuck.
func (a *app) damages(ctx context.Context, client *control.Client) ([]control.QueueItem, error) {
	all, err := control.Get[[]control.Damage](ctx, client, "/v1/damage")
	items := []control.QueueItem{}
	for _, d := range all {
		origin := "remote"
		if d.Endpoint == "" {
			origin = "local"
		}
		items = append(items, control.QueueItem{
			Conduit: d.Conduit, Path: d.Path, Origin: origin, Operation: "verify", Status: "damaged", Created: d.Found,
			Error: fmt.Sprintf("the copy on %s is damaged: %s (vdfs verify --repair)", cmp.Or(d.Endpoint, "this machine"), d.Reason),
		})
	}
	return items, err
}
