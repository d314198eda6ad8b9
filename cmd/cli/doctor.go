package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vdfs/cache"
	"vdfs/cmd/config"
	"vdfs/cmd/control"
	"vdfs/cmd/daemon"
)

func (a *app) doctor() *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the drive's index and content, and mend them",
		Long: `Checks what vdfs keeps on this machine, beside a running daemon or without one.
--repair mends what can be mended without a guess; an index that cannot be read
is replaced by its newest backup, or by a new one. Files are never deleted: what
was not sent yet and lost its name goes to lost+found in the data directory.`,
		Example: `  vdfs doctor
  vdfs unmount ~/Drive && vdfs doctor --repair`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDoctor(cmd.Context(), repair) },
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what can be mended; the drive must not be mounted")
	return cmd
}

func (a *app) runDoctor(ctx context.Context, repair bool) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the name of this machine: %w", err)
	}
	conf, err := config.Load(paths.Config, host)
	if errors.Is(err, config.ErrInvalid) {
		return usageError(err.Error())
	}
	if err != nil {
		return err
	}
	client := control.NewClient(paths.Socket())
	if d, err := client.Drive(ctx); err == nil {
		if repair {
			return usageError(fmt.Sprintf("the drive is in use: first `vdfs unmount %s`", d.Mountpoint))
		}
		found, err := control.Get[control.Problems](ctx, client, "/v1/doctor")
		if err != nil {
			return err
		}
		return a.tellProblems(found)
	}
	if !exists(filepath.Join(conf.CacheDir(paths), "index.db")) {
		return &control.Error{Code: control.NoDrive, Message: "there is no drive yet (vdfs mount MOUNTPOINT)"}
	}
	return a.examine(ctx, daemon.CacheOptions(paths, conf, slog.New(slog.DiscardHandler)), repair)
}

// examine works on the cache of a drive that has no daemon.
func (a *app) examine(ctx context.Context, o cache.Options, repair bool) error {
	c, err := cache.Open(ctx, o)
	if errors.Is(err, cache.ErrDamaged) {
		return a.damaged(ctx, o, repair, err)
	}
	if err != nil {
		return err
	}
	err = errors.Join(a.mend(ctx, c, repair), c.Close())
	if repair && errors.Is(err, cache.ErrDamaged) {
		return a.damaged(ctx, o, repair, err)
	}
	return err
}

func (a *app) mend(ctx context.Context, c *cache.Cache, repair bool) error {
	if repair {
		mended, err := c.Repair(ctx)
		for _, p := range mended {
			a.say("mended: %s", p)
		}
		if err != nil {
			return err
		}
	}
	found, err := c.Check(ctx)
	if err != nil {
		return err
	}
	return a.tellProblems(daemon.Problems(found))
}

// damaged explains an index that cannot be read, or replaces it.
func (a *app) damaged(ctx context.Context, o cache.Options, repair bool, cause error) error {
	if !repair {
		return fmt.Errorf("%w: `vdfs doctor --repair` restores its newest backup or begins a new one; no file is deleted", cause)
	}
	done, err := cache.Rebuild(ctx, o)
	if err != nil {
		return err
	}
	a.say("the damaged index is kept as %s", done.Damaged)
	if done.Backup != "" {
		a.say("restored the backup %s", done.Backup)
	} else {
		a.say("there was no backup: began a new index")
	}
	a.say("what was not sent yet is in %s after the next mount", filepath.Join(o.Dir, "lost+found"))
	return nil
}

func (a *app) tellProblems(found control.Problems) error {
	if len(found.Problems) == 0 {
		return a.print("no problems found\n")
	}
	for _, p := range found.Problems {
		text := "problem: " + p.What
		if p.Repair != "" {
			text += " (" + p.Repair + ")"
		}
		if err := a.print(text + "\n"); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s found", plural(int64(len(found.Problems)), "problem"))
}

// exists reports whether something is at path; what cannot be looked at counts as there.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
