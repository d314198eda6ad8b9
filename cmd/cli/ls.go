package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) ls() *cobra.Command {
	var long bool
	cmd := &cobra.Command{
		Use:   "ls [PATH...]",
		Short: "List files with their states",
		Example: `  vdfs ls ~/Drive
  vdfs ls -l ~/Drive/Films`,
		Args: between(0, many),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runLs(cmd.Context(), args, long) },
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, links, owner, size and time")
	return cmd
}

func (a *app) runLs(ctx context.Context, args []string, long bool) error {
	if len(args) == 0 {
		dir, err := a.here(ctx)
		if err != nil {
			return err
		}
		args = []string{dir}
	}
	return a.each(ctx, args, func(g *group) ([]control.Refusal, bool, error) {
		var refused []control.Refusal
		done := false
		for _, p := range g.paths {
			err := a.list(ctx, g, p, long, len(args) > 1)
			if err == nil {
				done = true
				continue
			}
			if len(args) == 1 {
				return nil, false, err
			}
			e := control.AsError(err)
			refused = append(refused, control.Refusal{Path: p, Code: e.Code, Reason: e.Message})
		}
		return refused, done, nil
	})
}

// here is the working directory if it lies in a drive, else the root of the environment's drive.
func (a *app) here(ctx context.Context) (string, error) {
	paths, err := a.paths()
	if err != nil {
		return "", err
	}
	if wd, err := os.Getwd(); err == nil && enclosing(a.drives(ctx, paths), wd) != nil {
		return wd, nil
	}
	d, err := control.NewClient(paths.Socket()).Drive(ctx)
	if err != nil {
		return "", a.whyDown(err)
	}
	return string(d.Mountpoint), nil
}

// list prints one path page by page: a directory may have a million entries.
func (a *app) list(ctx context.Context, g *group, p control.Path, long, heading bool) error {
	for after := int64(0); ; {
		page, err := control.Post[control.Listing](ctx, g.client, "/v1/list", control.ListRequest{Path: p, After: after})
		if err != nil {
			return err
		}
		var out strings.Builder
		if heading && page.Dir && after == 0 {
			fmt.Fprintf(&out, "%s:\n", a.shown(g.mountpoint+string(p)))
		}
		for _, e := range page.Entries {
			out.WriteString(a.line(e, long))
		}
		if err := a.print(out.String()); err != nil {
			return err
		}
		if after = page.Next; after == 0 {
			return nil
		}
	}
}

func (a *app) line(e control.ListEntry, long bool) string {
	name := a.shown(string(e.Name))
	if e.Kind == "dir" {
		name = a.paint(blue, name)
	}
	state := fmt.Sprintf("%-9s", e.State)
	state = a.paint(stateColour(e.State), state)
	if !long {
		return fmt.Sprintf("%s  %s\n", state, name)
	}
	if e.Target != "" {
		name += " -> " + a.shown(string(e.Target))
	}
	return fmt.Sprintf("%s %3d %5d %5d %8s  %s  %s  %s\n",
		modeText(e.Kind, e.Mode), e.Nlink, e.UID, e.GID, size(e.Size), stamp(a.Now(), e.Mtime), state, name)
}

// stamp is a time as ls writes it: with the hour for the last half year, else with the year.
func stamp(now, t time.Time) string {
	t = t.In(now.Location())
	if d := now.Sub(t); d > -time.Hour && d < 183*24*time.Hour {
		return t.Format("Jan _2 15:04")
	}
	return t.Format("Jan _2  2006")
}

// modeText is the first column of ls -l.
func modeText(kind string, mode uint32) string {
	out := []byte("?rwxrwxrwx")
	if c, ok := map[string]byte{
		"file": '-', "dir": 'd', "symlink": 'l', "fifo": 'p', "socket": 's', "char": 'c', "block": 'b',
	}[kind]; ok {
		out[0] = c
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			out[1+i] = '-'
		}
	}
	for _, s := range []struct {
		bit  uint32
		at   int
		with byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		if mode&s.bit == 0 {
			continue
		}
		if out[s.at] == '-' {
			out[s.at] = s.with - 'a' + 'A'
		} else {
			out[s.at] = s.with
		}
	}
	return string(out)
}
