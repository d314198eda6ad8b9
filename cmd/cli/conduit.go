package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
)

func (a *app) conduit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conduit",
		Short: "Manage conduits: which storage is joined to which directory of the drive",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.conduitCreate(), a.conduitList(), a.conduitShow(), a.conduitPause(), a.conduitResume(), a.conduitDelete())
	return cmd
}

func (a *app) conduitCreate() *cobra.Command {
	var s control.ConduitSpec
	var at, adopt string
	cmd := &cobra.Command{
		Use:   "create NAME --source ENDPOINT --target ENDPOINT --policy POLICY",
		Short: "Join a storage to a directory of the drive",
		Example: `  vdfs conduit create photos --source drive:/Photos --target /srv/photos --policy synchronize
  vdfs conduit create films --source drive:/Films --target dir:/mnt/films --policy offload
  vdfs conduit create work --source drive:/Work --target /mnt/nas/work --policy synchronize --adopt ~/Work-copy`,
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Name = args[0]
			s.At, s.Adopt = control.Path(at), control.Path(adopt)
			return a.createConduit(cmd.Context(), s)
		},
	}
	cmd.Flags().StringVar(&s.Source, "source", "", "`endpoint`: drive:/path or a directory")
	cmd.Flags().StringVar(&s.Target, "target", "", "`endpoint`: drive:/path or a directory")
	cmd.Flags().StringVar(&s.Policy, "policy", "", "offload or synchronize")
	cmd.Flags().StringVar(&at, "at", "", "directory of the drive, where source and target do not say it")
	cmd.Flags().StringVar(&adopt, "adopt", "", "`directory` of this machine that has the same files: take their bytes from there")
	for _, name := range []string{"source", "target", "policy"} {
		_ = cmd.MarkFlagRequired(name) // the flags exist: defined above
	}
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions([]string{"offload", "synchronize"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) createConduit(ctx context.Context, s control.ConduitSpec) error {
	for _, e := range []*string{&s.Source, &s.Target} {
		abs, err := endpointArg(*e)
		if err != nil {
			return err
		}
		*e = abs
	}
	if s.Adopt != "" {
		abs, err := adoptArg(string(s.Adopt))
		if err != nil {
			return err
		}
		s.Adopt = control.Path(abs)
	}
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	c, err := control.Post[control.ConduitStatus](ctx, client, "/v1/conduits", s)
	if err != nil {
		return err
	}
	a.say("created conduit %s at %s", c.Name, safe(string(c.At)))
	if s.Adopt == "" {
		return nil
	}
	return a.thenAdopt(ctx, client, string(s.Adopt), c.At)
}

// endpointArg makes a directory absolute: the daemon has another working directory.
func endpointArg(e string) (string, error) {
	path, isDir := strings.CutPrefix(e, "dir:")
	if !isDir {
		if scheme, _, ok := strings.Cut(e, ":"); ok && !strings.Contains(scheme, "/") {
			return e, nil
		}
	}
	if path == "" {
		return "", usageError("an endpoint is empty")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	return abs, nil
}

func (a *app) conduitList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the conduits", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.own(cmd.Context())
			if err != nil {
				return err
			}
			list, err := control.Get[[]control.ConduitStatus](cmd.Context(), client, "/v1/conduits")
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list)
			}
			if len(list) == 0 {
				a.say("no conduits")
				return nil
			}
			return a.print(a.conduitTable(list))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) conduitShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show one conduit", Args: between(1, 1), ValidArgsFunction: a.completeConduits,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.own(cmd.Context())
			if err != nil {
				return err
			}
			c, err := control.Get[control.ConduitStatus](cmd.Context(), client, "/v1/conduits/"+control.Escape(args[0]))
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(c)
			}
			return a.print(a.conduitText(c))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) conduitText(c control.ConduitStatus) string {
	var out strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&out, "  %-13s"+format+"\n", append([]any{key}, args...)...)
	}
	out.WriteString(a.paint(bold, c.Name) + "\n")
	line("state", "%s", a.paint(stateColour(c.State), c.State))
	if c.Message != "" {
		line("because", "%s", c.Message)
	}
	line("policy", "%s", c.Policy)
	line("source", "%s", a.shown(c.Source))
	line("target", "%s", a.shown(c.Target))
	line("at", "%s", a.shown(string(c.At)))
	line("last sync", "%s", since(a.Now(), c.LastSync))
	if c.NextSync != nil {
		line("next look", "%s", ago(a.Now(), *c.NextSync))
	}
	line("generation", "%d %s", c.Generation, c.Verification)
	line("to do", "%d up, %d down", c.PendingLocal, c.PendingRemote)
	line("conflicts", "%d", c.Conflicts)
	line("errors", "%d", c.Errors)
	return out.String()
}

func (a *app) conduitPause() *cobra.Command {
	return a.conduitVerb("pause", "Stop the work of one conduit; its files can still be opened", "paused")
}

func (a *app) conduitResume() *cobra.Command {
	return a.conduitVerb("resume", "Let a paused conduit work again", "resumed")
}

func (a *app) conduitVerb(verb, short, done string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: between(1, 1), ValidArgsFunction: a.completeConduits,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.own(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := control.Post[control.None](cmd.Context(), client, "/v1/conduits/"+control.Escape(args[0])+"/"+verb, control.None{}); err != nil {
				return err
			}
			a.say("%s %s", done, args[0])
			return nil
		},
	}
}

func (a *app) conduitDelete() *cobra.Command {
	var force, hydrate bool
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a conduit, never files",
		Long: `Deletes the relation and its records. Files here and at the endpoint stay. A conduit
whose files are not all here is refused: --hydrate fetches them first, --force
leaves names without content.`,
		Example: `  vdfs conduit delete photos --hydrate`,
		Args:    between(1, 1), ValidArgsFunction: a.completeConduits,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.own(cmd.Context())
			if err != nil {
				return err
			}
			request := "/v1/conduits/" + control.Escape(args[0])
			if hydrate {
				if err := a.hydrateConduit(cmd.Context(), client, request); err != nil {
					return err
				}
			}
			if force {
				request += control.Query("force", "1")
			}
			if err := control.Delete(cmd.Context(), client, request); err != nil {
				return err
			}
			a.say("deleted conduit %s", args[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&hydrate, "hydrate", false, "fetch what is only at the endpoint first")
	cmd.Flags().BoolVar(&force, "force", false, "also when files of it are only at the endpoint")
	cmd.MarkFlagsMutuallyExclusive("hydrate", "force")
	return cmd
}

// hydrateConduit brings everything at a conduit's place here.
func (a *app) hydrateConduit(ctx context.Context, client *control.Client, request string) error {
	c, err := control.Get[control.ConduitStatus](ctx, client, request)
	if err != nil {
		return err
	}
	b := a.bar("fetch")
	defer b.end()
	r, err := control.Stream[control.PathsResult](ctx, client, "/v1/fetch", control.PathsRequest{Paths: []control.Path{c.At}, Wait: true}, b.report)
	if err == nil && len(r.Refused) > 0 {
		err = fmt.Errorf("%s: %s", r.Refused[0].Path, r.Refused[0].Reason)
	}
	return err
}

// completeConduits offers the names of conduits to the shell, if the daemon is quick.
func (a *app) completeConduits(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	client, err := a.own(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := control.Get[[]control.ConduitStatus](ctx, client, "/v1/conduits")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
