package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
)

func (a *app) info() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "info PATH...",
		Short:   "Show everything known about files",
		Example: `  vdfs info ~/Drive/notes.txt`,
		Args:    between(1, many),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runInfo(cmd.Context(), args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) runInfo(ctx context.Context, args []string, asJSON bool) error {
	all := []control.Info{}
	err := a.each(ctx, args, func(g *group) ([]control.Refusal, bool, error) {
		infos, err := control.Post[control.Infos](ctx, g.client, "/v1/info", control.Paths{Paths: g.paths})
		all = append(all, infos.Files...)
		return infos.Refused, len(infos.Files) > 0, err
	})
	if asJSON {
		return first(a.printJSON(all), err)
	}
	for i, info := range all {
		text := a.infoText(info)
		if i > 0 {
			text = "\n" + text
		}
		if perr := a.print(text); perr != nil {
			return perr
		}
	}
	return err
}

func (a *app) infoText(i control.Info) string {
	var out strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&out, "  %-10s"+format+"\n", append([]any{key}, args...)...)
	}
	out.WriteString(a.paint(bold, a.shown(string(i.Path))) + "\n")
	line("state", "%s", a.paint(stateColour(i.State), i.State))
	line("kind", "%s, inode %d", i.Kind, i.Ino)
	if i.Kind == "file" {
		line("size", "%s (%d bytes)", size(i.Size), i.Size)
		line("here", "%s (%s)", size(i.LocalBytes), i.Residency)
		line("version", "%d", i.Version)
		line("hash", "%s", either(i.Hash, "not known yet"))
	}
	line("modified", "%s (%s)", i.Mtime.In(a.Now().Location()).Format("2006-01-02 15:04:05"), ago(a.Now(), i.Mtime))
	line("sync", "%s", syncText(i))
	line("pin", "%s", pinText(i))
	line("conduits", "%s", either(strings.Join(i.Conduits, ", "), "none"))
	for _, c := range i.Copies {
		line("copy", "%s, verified %s", a.shown(c.Endpoint), since(a.Now(), c.Verified))
	}
	if i.OpenHandles > 0 {
		line("open", "%s", plural(int64(i.OpenHandles), "handle"))
	}
	if i.Error != "" {
		line("error", "%s", a.paint(red, i.Error))
	}
	return out.String()
}

// syncText also says why a file is never sent.
func syncText(i control.Info) string {
	switch {
	case i.Sync != "local-only":
		return i.Sync
	case i.Kind == "special":
		return "never: fifos, sockets and devices stay on this machine"
	case len(i.Conduits) == 0:
		return "never: it is in the directory of no conduit"
	case i.Ignored != nil:
		return "never: " + ignoredText(*i.Ignored)
	}
	return "never: by its name it is a lock, a backup or unfinished"
}

// ignoredText says by what something is ignored.
func ignoredText(by control.Ignored) string {
	switch {
	case by.Source == config.BuiltInSource:
		return "by its name it is a lock, a backup or unfinished (" + safe(by.Pattern) + ")"
	case strings.HasPrefix(by.Source, "/"):
		return fmt.Sprintf("ignored by %s (%s, line %d)", safe(by.Pattern), safe(by.Source), by.Line)
	}
	return fmt.Sprintf("ignored by %s (%s)", safe(by.Pattern), safe(by.Source))
}

func pinText(i control.Info) string {
	if i.PinFrom == "inherited" {
		return i.Pin + ", inherited from " + safe(string(i.PinPath))
	}
	return i.Pin + " (" + i.PinFrom + ")"
}

func either(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
