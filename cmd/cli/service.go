package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
	"vdfs/cmd/daemon"
	"vdfs/cmd/service"
)

func (a *app) service() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Start the drive at login and after a crash",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.serviceInstall(), a.serviceRemove())
	return cmd
}

func (a *app) serviceInstall() *cobra.Command {
	var f mountFlags
	cmd := &cobra.Command{
		Use:   "install [MOUNTPOINT]",
		Short: "Mount the drive now, at every login and after a crash",
		Long: `Has systemd, the one of your session, mount the drive at every login and again
after a crash, and does so now unless it is mounted. Without a MOUNTPOINT it is
the one where the drive is mounted. Doing it again changes the mountpoint and
the options. The daemon then logs to the journal: journalctl --user --unit vdfs.

Each drive (VDFS_HOME) has a service of its own. On a machine that nobody logs
in to, "loginctl enable-linger" starts your services when it boots.`,
		Example: `  vdfs service install ~/Drive
  vdfs mount ~/Drive --from /srv/files && vdfs service install
  systemctl --user status vdfs`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.installService(cmd.Context(), args, f)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	cmd.Flags().BoolVar(&f.allowOther, "allow-other", false, "let other users in (as file permissions allow)")
	cmd.Flags().BoolVar(&f.readOnly, "read-only", false, "refuse changes through the mount")
	return cmd
}

func (a *app) serviceRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove",
		Short: "Undo install: stop the service and take it away",
		Long: `Unmounts the drive if its service has mounted it, and takes the service away. The
drive, its files and what is not sent yet stay as they are. A drive in use is
refused, naming the processes.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.removeService(cmd.Context()) },
	}
}

func (a *app) installService(ctx context.Context, args []string, f mountFlags) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	manager, err := a.manager(ctx)
	if err != nil {
		return err
	}
	running, err := daemon.RunningDaemon(ctx, paths)
	if err != nil {
		return err
	}
	mountpoint, err := serviceMountpoint(ctx, paths, running, args)
	if err != nil {
		return err
	}
	unit, err := a.unit(paths, mountpoint, f)
	if err != nil {
		return err
	}
	if err := manager.Install(ctx, unit, running == nil); err != nil {
		return err
	}
	if running == nil {
		a.say("installed %s: %s is mounted, and will be at every login", unit.Name, safe(mountpoint))
		return nil
	}
	return a.tellTakeover(ctx, manager, unit, running)
}

// tellTakeover says what becomes of a drive that was mounted already: nobody's work is interrupted.
func (a *app) tellTakeover(ctx context.Context, m *service.Manager, u service.Unit, running *control.Drive) error {
	pid, err := m.MainPID(ctx, u.Name)
	if err != nil {
		return err
	}
	if pid == running.PID {
		a.say("installed %s: it runs already, options that changed count from its next start", u.Name)
		return nil
	}
	a.say("installed %s: it takes over at the next login, or now if you unmount the drive and `systemctl --user start %s`",
		u.Name, u.Name)
	return nil
}

func (a *app) removeService(ctx context.Context) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	manager, err := a.manager(ctx)
	if err != nil {
		return err
	}
	home, err := driveHome(paths)
	if err != nil {
		return err
	}
	name := service.Name(home)
	installed, err := manager.Installed(name)
	if err != nil {
		return err
	}
	if !installed {
		a.say("there is no %s", name)
		return nil
	}
	if err := unmountServed(ctx, paths, manager, name); err != nil {
		return err
	}
	if err := manager.Remove(ctx, name); err != nil {
		return err
	}
	a.say("removed %s; the drive and its files stay as they are", name)
	return nil
}

// unmountServed unmounts the drive if its service has mounted it: a mere stop would take it from under the programs that
// use it.
func unmountServed(ctx context.Context, paths config.Paths, m *service.Manager, name string) error {
	running, err := daemon.RunningDaemon(ctx, paths)
	if err != nil || running == nil || running.Detached {
		return err
	}
	pid, err := m.MainPID(ctx, name)
	if err != nil || pid != running.PID {
		return err
	}
	client := control.NewClient(paths.Socket())
	if _, err := control.Post[control.None](ctx, client, "/v1/unmount", control.UnmountRequest{}); err != nil {
		return err
	}
	return gone(ctx, client, pid, endLimit)
}

// manager is the service manager of this user.
func (a *app) manager(ctx context.Context) (*service.Manager, error) {
	dir, err := config.Units(a.Getenv)
	if err != nil {
		return nil, err
	}
	return service.Find(ctx, dir)
}

// serviceMountpoint is where the service has to mount the drive: refused is what a start would refuse.
func serviceMountpoint(ctx context.Context, paths config.Paths, running *control.Drive, args []string) (string, error) {
	if running == nil {
		if len(args) == 0 {
			return "", &control.Error{Code: control.NoDrive, Message: "the drive is not mounted: say where it is to be (vdfs service install MOUNTPOINT)"}
		}
		return daemon.Try(ctx, daemon.Options{Paths: paths, Mountpoint: args[0]})
	}
	at := string(running.Mountpoint)
	if len(args) == 0 {
		return at, nil
	}
	if args[0] == "" {
		return "", usageError("mountpoint is empty")
	}
	asked, err := daemon.Resolve(args[0])
	if err != nil {
		return "", err
	}
	if asked != at {
		return "", usageError(fmt.Sprintf("the drive is mounted at %s: first `vdfs unmount` that, or leave it there", at))
	}
	return at, nil
}

// unit is the service of the drive at the mountpoint.
func (a *app) unit(paths config.Paths, mountpoint string, f mountFlags) (service.Unit, error) {
	home, err := driveHome(paths)
	if err != nil {
		return service.Unit{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return service.Unit{}, fmt.Errorf("find this program: %w", err)
	}
	args, err := daemonArgs(mountpoint, f)
	if err != nil {
		return service.Unit{}, err
	}
	u := service.Unit{Name: service.Name(home), Mountpoint: mountpoint, Program: program, Args: args}
	for _, name := range config.Variables() {
		value := a.Getenv(name)
		if name == config.HomeVariable {
			value = home
		}
		if filepath.IsAbs(value) {
			u.Set = append(u.Set, name+"="+value)
		} else {
			u.Unset = append(u.Unset, name) // the manager's own may be another
		}
	}
	return u, nil
}

// driveHome is the one directory that holds the drive, under its real name; "": the default drive.
func driveHome(paths config.Paths) (string, error) {
	if !paths.Isolated {
		return "", nil
	}
	return daemon.Resolve(filepath.Dir(paths.Config))
}
