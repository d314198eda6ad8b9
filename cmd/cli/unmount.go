package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
	"vdfs/cmd/daemon"
)

// endLimit is how long a daemon may take to end after its mount is gone.
const endLimit = time.Minute

func (a *app) unmount() *cobra.Command {
	var r control.UnmountRequest
	cmd := &cobra.Command{
		Use:   "unmount MOUNTPOINT",
		Short: "Unmount a drive and stop its daemon",
		Long: `Unmounts cleanly and stops the daemon. What is not sent yet stays recorded and
is sent after the next mount. A drive in use is refused, naming the processes.`,
		Example: `  vdfs unmount ~/Drive
  vdfs unmount ~/Drive --wait    send everything first`,
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runUnmount(cmd.Context(), args[0], r) },
	}
	cmd.Flags().BoolVar(&r.Wait, "wait", false, "send everything first")
	cmd.Flags().BoolVar(&r.Lazy, "lazy", false, "take it away even while programs use it")
	return cmd
}

func (a *app) runUnmount(ctx context.Context, arg string, r control.UnmountRequest) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	path, err := absolute(arg)
	if err != nil {
		return err
	}
	d := enclosing(a.drives(ctx, paths), path)
	if d == nil || d.mountpoint != path {
		if real, err := daemon.Resolve(path); err == nil {
			path, d = real, enclosing(a.drives(ctx, paths), real)
		}
	}
	if d == nil || d.mountpoint != path {
		return a.unmountDead(path)
	}
	client := control.NewClient(d.socket)
	who, err := client.Drive(ctx)
	if err != nil {
		if control.AsError(err).Code == control.NoDrive {
			return a.unmountDead(path)
		}
		return err
	}
	left, err := control.Post[control.UnmountResult](ctx, client, "/v1/unmount", r)
	if err != nil {
		return err
	}
	if r.Lazy {
		a.say("detached %s; the daemon ends with the last program that uses it", safe(path))
		return nil
	}
	if err := gone(ctx, client, who.PID, endLimit); err != nil {
		return err
	}
	a.say("unmounted %s", safe(path))
	if left.Pending > 0 {
		a.say("not sent yet: %s; this goes on after the next mount", plural(left.Pending, "change"))
	}
	return nil
}

// unmountDead takes away what a daemon that is gone left mounted.
func (a *app) unmountDead(path string) error {
	recovered, err := daemon.RecoverMount(path)
	if err != nil {
		return err
	}
	if !recovered {
		return &control.Error{Code: control.NoDrive, Message: fmt.Sprintf("no drive is mounted at %s", path)}
	}
	a.say("took away the mount that a dead daemon left at %s", safe(path))
	return nil
}
