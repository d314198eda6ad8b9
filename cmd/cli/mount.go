package cli

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
	"vdfs/cmd/daemon"
	"vdfs/internal/fault"
)

// mountFlags are the flags of vdfs mount.
type mountFlags struct {
	from       string
	adopt      string
	foreground bool
	allowOther bool
	readOnly   bool
	noPass     bool
	ready      int
}

func (a *app) mount() *cobra.Command {
	var f mountFlags
	cmd := &cobra.Command{
		Use:   "mount MOUNTPOINT",
		Short: "Mount the drive and start its daemon",
		Long: `Mounts the drive on an empty directory, starts its daemon in the background and
returns when the mount answers. The first time it connects the drive to the
endpoint of --from, or to a directory of its own where there is none.`,
		Example: `  mkdir -p ~/Drive && vdfs mount ~/Drive
  vdfs mount ~/Drive --from /srv/files
  vdfs mount ~/Drive --from /mnt/nas --adopt ~/old-copy
  vdfs mount ~/Drive --foreground        for systemd and for debugging`,
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runMount(cmd.Context(), args[0], f) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	cmd.Flags().StringVar(&f.from, "from", "", "`endpoint` to show, the first time: /path or dir:/path")
	cmd.Flags().StringVar(&f.adopt, "adopt", "", "`directory` of this machine that has files of --from: take their bytes from there")
	cmd.Flags().BoolVar(&f.foreground, "foreground", false, "stay in the foreground, log to stderr")
	cmd.Flags().BoolVar(&f.allowOther, "allow-other", false, "let other users in (as file permissions allow)")
	cmd.Flags().BoolVar(&f.readOnly, "read-only", false, "refuse changes through the mount")
	cmd.Flags().BoolVar(&f.noPass, "no-passthrough", false, "have the daemon read and write for the kernel, also where root could do without")
	cmd.Flags().IntVar(&f.ready, "ready-fd", 0, "report the start on this descriptor")
	_ = cmd.Flags().MarkHidden("ready-fd") // the flag exists: defined above
	return cmd
}

func (a *app) runMount(ctx context.Context, mountpoint string, f mountFlags) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	if f.adopt != "" && (f.from == "" || f.foreground && f.ready == 0) {
		return usageError("--adopt needs --from, and is not for --foreground (see vdfs adopt)")
	}
	if f.foreground {
		return a.serve(ctx, paths, mountpoint, f)
	}
	args, err := childArgs(mountpoint, f)
	if err != nil {
		return err
	}
	env := os.Environ()
	if paths.Isolated {
		env = append(env, config.HomeVariable+"="+filepath.Dir(paths.Config)) // absolute: the daemon has another working directory
	}
	d, err := daemon.Spawn(ctx, args, env, paths.Log())
	if err != nil {
		return err
	}
	a.say("mounted %s", safe(string(d.Mountpoint)))
	if f.adopt == "" {
		return nil
	}
	dir, err := adoptArg(f.adopt)
	if err != nil {
		return err
	}
	return a.thenAdopt(ctx, control.NewClient(paths.Socket()), dir, "/")
}

// childArgs is the command line of the background daemon.
func childArgs(mountpoint string, f mountFlags) ([]string, error) {
	f.ready = daemon.ReadyFD
	return daemonArgs(mountpoint, f)
}

// daemonArgs is the command line of a daemon; its paths do not depend on the working directory.
func daemonArgs(mountpoint string, f mountFlags) ([]string, error) {
	if mountpoint == "" {
		return nil, usageError("mountpoint is empty")
	}
	mountpoint, err := filepath.Abs(mountpoint)
	if err != nil {
		return nil, err
	}
	args := []string{"mount", "--foreground"}
	if f.ready > 0 {
		args = append(args, "--ready-fd", strconv.Itoa(f.ready))
	}
	if f.from != "" {
		from, err := daemon.EndpointPath(f.from) // looked at by the daemon: a dead disk would keep this process from ending
		if err != nil {
			return nil, err
		}
		args = append(args, "--from", from)
	}
	if f.adopt != "" {
		dir, err := adoptArg(f.adopt)
		if err != nil {
			return nil, err
		}
		args = append(args, "--adopt", dir)
	}
	if f.allowOther {
		args = append(args, "--allow-other")
	}
	if f.readOnly {
		args = append(args, "--read-only")
	}
	if f.noPass {
		args = append(args, "--no-passthrough")
	}
	return append(args, "--", mountpoint), nil
}

// serve is the daemon itself.
func (a *app) serve(ctx context.Context, paths config.Paths, mountpoint string, f mountFlags) error {
	if err := fault.Check(); err != nil {
		return usageError(err.Error())
	}
	o := daemon.Options{
		Paths: paths, Mountpoint: mountpoint, From: f.from, Adopt: f.adopt,
		AllowOther: f.allowOther, ReadOnly: f.readOnly, NoPassthrough: f.noPass, Version: versionText(), Service: a.Service, Stderr: a.Err,
	}
	if f.ready > 0 {
		o.Ready = daemon.ReadyOn(f.ready)
	}
	err := daemon.Run(ctx, o)
	if err != nil && f.ready > 0 {
		// It was reported to whoever started this daemon, or logged.
		return &control.Error{Code: control.AsError(err).Code}
	}
	return err
}

// guard is not for people: see daemon.Guard.
func (a *app) guard() *cobra.Command {
	return &cobra.Command{
		Use: daemon.GuardVerb, Hidden: true, Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return daemon.Guard() },
	}
}
