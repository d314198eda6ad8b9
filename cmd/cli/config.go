package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
)

// setting is one element of `vdfs config list --json`.
type setting struct {
	Key     string `json:"key"`
	Value   any    `json:"value"`
	Default any    `json:"default"`
	Set     bool   `json:"set"` // it differs from the default
}

func (a *app) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and change the settings of the drive",
		Long: `Shows and changes the settings of the drive, which are in one file. A drive that is
mounted has those that it was mounted with. What a conduit can choose for itself
is changed with vdfs conduit edit.`,
		Example: `  vdfs config list
  vdfs config get cache.max_size
  vdfs config set cache.max_size 200GiB
  vdfs config set hydrate.deny backup-scanner 'virus*'
  vdfs config unset cache.max_size`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List all settings", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.listConfig(asJSON) },
	}
	list.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.AddCommand(
		list,
		&cobra.Command{
			Use: "get KEY", Short: "Print a setting; of a list each item on a line", Args: between(1, 1), ValidArgsFunction: completeKeys,
			RunE: func(_ *cobra.Command, args []string) error { return a.getConfig(args[0]) },
		},
		&cobra.Command{
			Use: "set KEY [VALUE...]", Short: "Change a setting; a list takes any number of values", Args: between(1, many),
			ValidArgsFunction: completeKeys,
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.editConfig(cmd.Context(), args[0], args[1:])
			},
		},
		&cobra.Command{
			Use: "unset KEY", Short: "Go back to the default of a setting", Args: between(1, 1), ValidArgsFunction: completeKeys,
			RunE: func(cmd *cobra.Command, args []string) error { return a.editConfig(cmd.Context(), args[0], nil) },
		},
	)
	return cmd
}

// completeKeys offers the keys, then the values of one that has few.
func completeKeys(cmd *cobra.Command, args []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	switch {
	case len(args) == 0:
		for _, k := range config.Keys() {
			out = append(out, k.Name)
		}
	case len(args) == 1 && cmd.Name() == "set":
		if k, err := config.FindKey(args[0]); err == nil {
			out = k.Choices()
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// loadConfig is the drive's configuration, and that of a drive without any.
func (a *app) loadConfig() (conf, standard config.Config, file string, err error) {
	paths, err := a.paths()
	if err != nil {
		return conf, standard, "", err
	}
	host, err := os.Hostname()
	if err != nil {
		return conf, standard, "", fmt.Errorf("find the name of this machine: %w", err)
	}
	conf, err = config.Load(paths.Config, host)
	return conf, config.Default(host), paths.Config, usage(err)
}

// usage makes a complaint about a configuration one about what its owner wrote.
func usage(err error) error {
	if errors.Is(err, config.ErrInvalid) {
		return usageError(err.Error())
	}
	return err
}

func (a *app) listConfig(asJSON bool) error {
	conf, standard, file, err := a.loadConfig()
	if err != nil {
		return err
	}
	all := []setting{}
	t := table{colour: a.heading(-1)}
	t.add("KEY", "VALUE", "DEFAULT")
	for _, k := range config.Keys() {
		value, usual := k.Text(conf), k.Text(standard)
		s := setting{Key: k.Name, Value: k.Of(conf), Default: k.Of(standard), Set: !slices.Equal(value, usual)}
		if k.List() { // none is an empty list, too
			s.Value, s.Default = append([]string{}, value...), append([]string{}, usual...)
		}
		all = append(all, s)
		cells := []string{k.Name, a.shown(strings.Join(value, ", "))}
		if s.Set {
			cells = append(cells, a.shown(strings.Join(usual, ", ")))
		}
		t.add(cells...)
	}
	if asJSON {
		return a.printJSON(all)
	}
	if err := a.print(t.String()); err != nil {
		return err
	}
	a.say("the file is %s", safe(file))
	return nil
}

func (a *app) getConfig(name string) error {
	k, err := config.FindKey(name)
	if err != nil {
		return usage(err)
	}
	conf, _, _, err := a.loadConfig()
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, v := range k.Text(conf) {
		out.WriteString(v + "\n")
	}
	return a.print(out.String())
}

// editConfig changes a key in the file; nil: takes it out.
func (a *app) editConfig(ctx context.Context, name string, values []string) error {
	k, err := config.FindKey(name)
	if err != nil {
		return usage(err)
	}
	paths, err := a.paths()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the name of this machine: %w", err)
	}
	changed, err := config.Edit(paths.Config, host, k, values)
	if err != nil {
		return usage(err)
	}
	switch d, err := control.NewClient(paths.Socket()).Drive(ctx); {
	case !changed:
		a.say("%s stays as it is", name)
	case err == nil:
		a.say("changed %s; the drive at %s has it when it is mounted anew", name, safe(string(d.Mountpoint)))
	default:
		a.say("changed %s", name)
	}
	return nil
}
