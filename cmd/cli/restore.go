package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) restore() *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore PATH",
		Short: "Get back what was deleted or overwritten, or lost a conflict",
		Long: `Gives a file the newest version that it had before, or the one that --version
counts from the newest on, and puts what it has now into the drive's trash: the next
vdfs restore brings that back. Of a directory all that was deleted in it last comes
back, or what it had at a time; with --to all that it had then, into another one. Versions come from the drive's trash, from conflict
files, and from the trash of the storages. What is restored is then sent like any
change.`,
		Example: `  vdfs restore ~/Drive/notes.txt --list
  vdfs restore ~/Drive/notes.txt
  vdfs restore ~/Drive/notes.txt --version 3 --to ~/Drive/notes-old.txt
  vdfs restore ~/Drive/Photos                   what was deleted in it last
  vdfs restore ~/Drive/Photos --at "2026-03-01 12:00"
  vdfs restore ~/Drive/Photos --at 2026-03-01 --to ~/Drive/Photos-in-March`,
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.chosen = cmd.Flags().Changed("version")
			return a.runRestore(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().BoolVar(&o.list, "list", false, "only show the versions, the newest first")
	cmd.Flags().IntVar(&o.version, "version", 0, "which of them; 1 is the newest")
	cmd.Flags().StringVar(&o.at, "at", "", `what it had at a time: "2026-03-01 12:00", 2026-03-01, or 2h for two hours ago`)
	cmd.Flags().StringVar(&o.to, "to", "", "put a file here instead, and what is there into the trash; or what was in a directory into another one, where nothing is replaced")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "as JSON")
	return cmd
}

type restoreOptions struct {
	list, asJSON, chosen bool
	version              int
	at, to               string
}

func (a *app) runRestore(ctx context.Context, path string, o restoreOptions) error {
	r := control.RestoreRequest{Version: o.version}
	switch {
	case o.chosen && o.version < 1:
		return usageError("--version counts from 1, the newest")
	case o.list && (o.chosen || o.at != "" || o.to != ""):
		return usageError("--list shows all versions and goes with --json only")
	case o.chosen && o.at != "":
		return usageError("choose --version or --at")
	}
	if o.at != "" {
		at, err := pointInTime(a.Now(), "--at", o.at)
		if err != nil {
			return err
		}
		r.At = &at
	}
	paths := []string{path}
	if o.to != "" {
		paths = append(paths, o.to)
	}
	groups, outside, err := a.locate(ctx, paths)
	if err != nil {
		return err
	}
	if len(outside) > 0 || len(groups) > 1 {
		return usageError("PATH and --to have to be in one drive")
	}
	g := groups[0]
	r.Path = g.paths[0]
	if o.to != "" {
		r.To = g.paths[1]
	}
	if o.list {
		return a.listVersions(ctx, g, o.asJSON)
	}
	return a.restoreOne(ctx, g, path, r, o.asJSON)
}

// pointInTime reads a time that is given with a flag, as a date or as how long ago it was.
func pointInTime(now time.Time, flag, text string) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return now, usageError(fmt.Sprintf(`%s %s: give a time as "2026-03-01 12:00", a day as 2026-03-01, or how long ago as 2h`, flag, text))
}

func (a *app) restoreOne(ctx context.Context, g *group, path string, r control.RestoreRequest, asJSON bool) error {
	b := a.bar("restore")
	did, err := control.Stream[control.RestoreResult](ctx, g.client, "/v1/restore", r, b.report)
	b.end()
	if err != nil {
		return err
	}
	if asJSON {
		err = a.printJSON(did)
	} else {
		a.tellRestored(path, did)
	}
	return first(err, a.complain(did.Refused, g.mountpoint, did.Files+did.Same > 0))
}

func (a *app) tellRestored(path string, did control.RestoreResult) {
	switch {
	case did.Files == 0 && did.Same > 0:
		a.say("%s: nothing to do, it has that version", safe(path))
	case did.Files == 1:
		a.say("restored %s: %s, %s %s", safe(path), size(did.Bytes), did.Version.Why, ago(a.Now(), did.Version.When))
	case did.Files > 1:
		a.say("restored %s: %s (%s)", safe(path), plural(did.Files, "file"), size(did.Bytes))
	}
}

func (a *app) listVersions(ctx context.Context, g *group, asJSON bool) error {
	found, err := control.Post[control.Versions](ctx, g.client, "/v1/versions", control.VersionsRequest{Path: g.paths[0]})
	if err != nil {
		return err
	}
	for _, e := range found.Away {
		a.say("vdfs: the trash of %s (%s) was not looked into: %s", a.shown(string(e.Path)), e.Conduit, e.Reason)
		if e.Code == control.Unreachable && len(found.Versions) == 0 {
			err = &control.Error{Code: e.Code}
		}
	}
	switch {
	case asJSON:
		return first(a.printJSON(found.Versions), err)
	case len(found.Versions) == 0:
		a.say("nothing of it is kept")
		return err
	}
	t := table{colour: a.heading(-1)}
	head := []string{"VERSION", "WENT", "SIZE", "MODIFIED", "WHY", "CONDUIT", "FROM"}
	if found.Dir {
		head[3] = "FILES"
	}
	t.add(head...)
	for _, v := range found.Versions {
		mid := since(a.Now(), v.Mtime)
		if found.Dir {
			mid = fmt.Sprint(v.Files)
		}
		t.add(fmt.Sprint(v.Version), ago(a.Now(), v.When), size(v.Size), mid, v.Why, cmp.Or(v.Conduit, "-"), a.shown(cmp.Or(v.From, "this drive")))
	}
	return a.print(t.String())
}

// runReleases prints the audit log.
func (a *app) runReleases(ctx context.Context, conduit string, asJSON bool) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	list := jsonList{app: a}
	lines := 0
	_, err = control.Items[control.Release, control.None](ctx, client, "/v1/releases", control.ReleasesRequest{Conduit: conduit}, func(r control.Release) error {
		if asJSON {
			return list.add(r)
		}
		lines++
		return a.print(fmt.Sprintf("%s  %-12s  %9s  %s -> %s\n", r.At.Local().Format(time.DateTime), r.Conduit, size(r.Size), a.shown(string(r.Path)), a.shown(r.Destination)))
	})
	switch {
	case err != nil:
		return err
	case asJSON:
		return list.end()
	case lines == 0:
		a.say("nothing was released")
	}
	return nil
}
