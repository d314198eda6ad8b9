package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
)

func (a *app) conduit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conduit",
		Short: "Manage conduits: which storage is joined to which directory of the drive",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.conduitCreate(), a.conduitEdit(), a.conduitList(), a.conduitShow(), a.conduitPause(), a.conduitResume(), a.conduitDelete())
	return cmd
}

// policies and strategies are offered to the shell.
var (
	policies   = []string{"synchronize", "offload", "replicate", "archive"}
	strategies = config.Strategies
)

// choice are the flags of what can be chosen for a conduit, now and later.
type choice struct {
	strategy, cadence string
	rules             []string
	parallel          int
	bandwidth         bandwidth
	keepExtra         bool
	noIgnore          bool
	given             func(flag string) bool
}

// useRules is whether rules may ignore anything, nil if that was not said.
func (c *choice) useRules() *bool {
	if !c.given("no-ignore") {
		return nil
	}
	use := !c.noIgnore
	return &use
}

func (c *choice) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.strategy, "strategy", "", "who wins a conflict: conflict-file (both are kept; the default, unless conflict.default says another), "+strings.Join(strategies[1:], ", "))
	f.StringVar(&c.cadence, "cadence", "", "when it works: instant (the default: at once), interval:1h (or 5m, 1d, …) or manual (only when vdfs sync asks)")
	f.StringArrayVar(&c.rules, "rule", nil, "`PATTERN=STRATEGY` for the names, or with a slash the paths, that fit; the first that fits holds")
	f.IntVar(&c.parallel, "parallel", 0, "how many `files` are copied at once; many small ones that travel together count as one")
	f.Var(&c.bandwidth, "bandwidth", "how fast contents may be sent, and may come, as 2MiB/s or 500kB/s; 0: as fast as they can")
	f.BoolVar(&c.keepExtra, "keep-extra", false, "replicate: the target keeps what the source does not have, or not any more")
	f.BoolVar(&c.noIgnore, "no-ignore", false, "sync all there is, also what ignore files, sync.ignore and the built-in patterns leave out")
	c.given = f.Changed
	_ = cmd.RegisterFlagCompletionFunc("strategy", cobra.FixedCompletions(strategies, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("cadence", cobra.FixedCompletions([]string{instant, "interval:5m", "interval:1h", "interval:1d", "manual"}, cobra.ShellCompDirectiveNoFileComp))
}

// ruleArgs reads rules as they are written on the command line.
func ruleArgs(args []string) (out []control.Rule, err error) {
	for _, arg := range args {
		pattern, strategy, ok := config.SplitRule(arg)
		if !ok {
			return nil, usageError(fmt.Sprintf("--rule %s: write PATTERN=STRATEGY, as in '*.txt=newest'", arg))
		}
		out = append(out, control.Rule{Pattern: pattern, Strategy: strategy})
	}
	return out, nil
}

func (a *app) conduitCreate() *cobra.Command {
	var s control.ConduitSpec
	var c choice
	var at, adopt string
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "create NAME --source ENDPOINT --target ENDPOINT --policy POLICY",
		Short: "Join a storage to a directory of the drive, or two storages to each other",
		Long: `Joins a storage to a directory of the drive, or two storages to each other. A directory
may have several conduits: each keeps a storage of its own in agreement with it. Two
storages meet in a directory of the drive that --at names, else in one named after the
conduit; bytes go from one to the other without staying here.

  replicate    the target is made like the source; what only it has goes to its trash
  synchronize  both ways, and the drive keeps the content
  offload      both ways, and the drive frees the space of what the storage has
  archive      files move to the target for good, and stay in the drive as placeholders`,
		Example: `  vdfs conduit create photos --source drive:/Photos --target /srv/photos --policy synchronize
  vdfs conduit create backup --source drive:/Photos --target /mnt/usb/photos --policy replicate
  vdfs conduit create both --source /srv/a --target /mnt/nas/a --policy synchronize --at /a
  vdfs conduit create films --source drive:/Films --target dir:/mnt/films --policy offload --dry-run
  vdfs conduit create notes --source drive:/Notes --target /srv/notes --policy synchronize --strategy newest --rule '*.md=manual'
  vdfs conduit create work --source drive:/Work --target /mnt/nas/work --policy synchronize --adopt ~/Work-copy`,
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s.Name = args[0]
			s.At, s.Adopt = control.Path(at), control.Path(adopt)
			s.Strategy, s.Cadence, s.Parallel, s.Bandwidth, s.KeepExtra = c.strategy, c.cadence, c.parallel, int64(c.bandwidth), c.keepExtra
			s.UseIndexRules = c.useRules()
			if s.Rules, err = ruleArgs(c.rules); err != nil {
				return err
			}
			switch {
			case dryRun:
				return a.previewConduit(cmd.Context(), s, asJSON)
			case asJSON:
				return usageError("--json is for --dry-run")
			}
			return a.createConduit(cmd.Context(), s)
		},
	}
	cmd.Flags().StringVar(&s.Source, "source", "", "`endpoint`: drive:/path or a directory")
	cmd.Flags().StringVar(&s.Target, "target", "", "`endpoint`: drive:/path or a directory")
	cmd.Flags().StringVar(&s.Policy, "policy", "", strings.Join(policies, ", "))
	cmd.Flags().StringVar(&at, "at", "", "directory of the drive where two storages meet")
	cmd.Flags().StringVar(&adopt, "adopt", "", "`directory` of this machine that has the same files: take their bytes from there")
	c.flags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be copied and deleted and what is in conflict, and change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --dry-run: as JSON")
	cmd.MarkFlagsMutuallyExclusive("adopt", "dry-run")
	for _, name := range []string{"source", "target", "policy"} {
		_ = cmd.MarkFlagRequired(name) // the flags exist: defined above
	}
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions(policies, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// absoluteEnds makes the endpoints of a spec independent of where the command runs.
func absoluteEnds(s *control.ConduitSpec) error {
	for _, e := range []*string{&s.Source, &s.Target} {
		abs, err := endpointArg(*e)
		if err != nil {
			return err
		}
		*e = abs
	}
	return nil
}

func (a *app) createConduit(ctx context.Context, s control.ConduitSpec) error {
	if err := absoluteEnds(&s); err != nil {
		return err
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

// previewConduit says what createConduit would do.
func (a *app) previewConduit(ctx context.Context, s control.ConduitSpec, asJSON bool) error {
	if err := absoluteEnds(&s); err != nil {
		return err
	}
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	p, err := control.Post[control.ConduitPreview](ctx, client, "/v1/conduits/preview", s)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(p)
	}
	return a.print(a.previewText(p))
}

func (a *app) previewText(p control.ConduitPreview) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s at %s, %s: nothing was changed\n\n", a.paint(bold, p.Name), a.shown(string(p.At)), p.Policy)
	t := table{colour: a.heading(-1)}
	t.add("ENDPOINT", "", "GETS", "GIVES", "LOSES", "RELEASES", "CONFLICTS")
	for _, e := range p.Endpoints {
		t.add(a.shown(e.Endpoint), e.Role, tallyText(e.Gets), tallyText(e.Gives), tallyText(e.Deletes), tallyText(e.Releases), fmt.Sprint(e.Conflicts))
	}
	out.WriteString(t.String())
	fmt.Fprintf(&out, "\nin all %s to copy (%s), %s, %s\n", plural(p.Copies, "file"), size(p.Bytes), plural(p.Deletes, "delete"), plural(p.Conflicts, "conflict"))
	for _, l := range []struct {
		what  string
		names []control.Path
	}{{"conflict", p.ConflictPaths}, {"delete", p.DeletePaths}} {
		for _, name := range l.names {
			fmt.Fprintf(&out, "%-9s %s\n", l.what, a.shown(string(name)))
		}
	}
	return out.String()
}

func tallyText(t control.Tally) string {
	if t.Files == 0 {
		return "-"
	}
	return fmt.Sprintf("%s, %s", plural(t.Files, "file"), size(t.Bytes))
}

func (a *app) conduitEdit() *cobra.Command {
	var c choice
	var name string
	var noRules bool
	cmd := &cobra.Command{
		Use:   "edit NAME",
		Short: "Change the settings of a conduit",
		Long: `Changes the settings of a conduit; what is not given stays. Rules replace all that the
conduit had. What waits for a decision is decided anew. Source, target, policy and the
directory of the drive stay: delete the conduit and create another one.`,
		Example: `  vdfs conduit edit photos --name pictures
  vdfs conduit edit notes --strategy newest --rule '*.md=manual' --rule 'drafts/*=local'
  vdfs conduit edit notes --no-rules
  vdfs conduit edit backup --keep-extra=false
  vdfs conduit edit backup --bandwidth 2MiB/s --parallel 1
  vdfs conduit edit backup --cadence interval:1d
  vdfs conduit edit backup --no-ignore`,
		Args: between(1, 1), ValidArgsFunction: a.completeConduits,
		RunE: func(cmd *cobra.Command, args []string) error {
			e := control.ConduitEdit{Conduit: args[0]}
			for flag, take := range map[string]func(){
				"name": func() { e.Name = &name }, "strategy": func() { e.Strategy = &c.strategy }, "cadence": func() { e.Cadence = &c.cadence },
				"parallel": func() { e.Parallel = &c.parallel }, "bandwidth": func() { e.Bandwidth = (*int64)(&c.bandwidth) }, "keep-extra": func() { e.KeepExtra = &c.keepExtra },
				"no-ignore": func() { e.UseIndexRules = c.useRules() },
			} {
				if cmd.Flags().Changed(flag) {
					take()
				}
			}
			if len(c.rules) > 0 || noRules {
				rules, err := ruleArgs(c.rules)
				if err != nil {
					return err
				}
				rules = append([]control.Rule{}, rules...) // none are something else than null
				e.Rules = &rules
			}
			return a.editConduit(cmd.Context(), e)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "a new `name`")
	c.flags(cmd)
	cmd.Flags().BoolVar(&noRules, "no-rules", false, "take all rules away")
	cmd.MarkFlagsMutuallyExclusive("rule", "no-rules")
	return cmd
}

func (a *app) editConduit(ctx context.Context, e control.ConduitEdit) error {
	if e == (control.ConduitEdit{Conduit: e.Conduit}) {
		return usageError("nothing to change: give a setting, see --help")
	}
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	now, err := control.Post[control.ConduitStatus](ctx, client, "/v1/conduits/edit", e)
	if err != nil {
		return err
	}
	a.say("changed conduit %s", now.Name)
	return nil
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
	line("strategy", "%s", c.Strategy)
	for _, r := range c.Rules {
		line("rule", "%s=%s", a.shown(r.Pattern), r.Strategy)
	}
	if c.KeepExtra {
		line("keeps", "what the source does not have, or not any more")
	}
	if !c.UseIndexRules {
		line("ignores", "nothing")
	}
	line("source", "%s", a.shown(c.Source))
	line("target", "%s", a.shown(c.Target))
	line("at", "%s", a.shown(string(c.At)))
	if c.ReadOnly {
		line("", "programs change nothing there: its files come from the source")
	}
	line("limits", "%s at once, %s", plural(int64(c.Parallel), "file"), rateText(c.Bandwidth))
	line("last sync", "%s", since(a.Now(), c.LastSync))
	line("cadence", "%s", c.Cadence)
	if c.NextSync != nil {
		next := "next look"
		if c.Cadence != instant {
			next = "next run"
		}
		line(next, "%s", ago(a.Now(), *c.NextSync))
	}
	line("generation", "%d %s", c.Generation, c.Verification)
	switch tree := since(a.Now(), c.TreeVerified); c.TreeVerification {
	case "":
		line("verified", "not as a whole yet")
	case "verified":
		line("verified", "as a whole %s", tree)
	default:
		line("verified", "as a whole %s; at the last look %s", tree, strings.TrimPrefix(c.TreeVerification, "failed:"))
	}
	line("to do", "%d up, %d down", c.PendingLocal, c.PendingRemote)
	line("conflicts", "%d", c.Conflicts)
	line("errors", "%d", c.Errors)
	if c.Drift > 0 {
		line("drift", "what was done at the target was undone %d times", c.Drift)
	}
	line("so far", "%s, %s, %s", plural(c.TotalSyncs, "run"), plural(c.FilesSynced, "file"), size(c.BytesSent))
	if c.LastError != "" {
		line("last error", "%s (%s)", c.LastError, since(a.Now(), c.LastErrorAt))
	}
	if len(c.Endpoints) > 1 {
		for _, e := range c.Endpoints {
			line("", "%s: %s, %d up, %d down", e.Role, a.paint(stateColour(e.State), e.State), e.PendingLocal, e.PendingRemote)
		}
	}
	return out.String()
}

// storages are the endpoints of a conduit that are not the drive.
func storages(c control.ConduitStatus) string {
	var out []string
	for _, e := range c.Endpoints {
		out = append(out, e.Endpoint)
	}
	return strings.Join(out, " -> ")
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
		Long: `Deletes the relation and its records. Files here and at the endpoints stay. A conduit
whose files are neither here nor at a storage of another conduit is refused: --hydrate
fetches them first, --force leaves names without content.`,
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
