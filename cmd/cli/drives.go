package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
	"vdfs/cmd/daemon"
)

// group is the paths of one command line that lie in one drive.
type group struct {
	client     *control.Client
	mountpoint string
	paths      []control.Path // inside the drive
}

// drive is a mounted drive that a path may lie in.
type drive struct {
	mountpoint string
	socket     string
	dead       bool // its daemon crashed: only a hint where the path belongs
}

// own is the daemon of the drive that the environment chooses, or, without
// VDFS_HOME, of the drive that the working directory lies in.
func (a *app) own(ctx context.Context) (*control.Client, error) {
	paths, err := a.paths()
	if err != nil {
		return nil, err
	}
	if !paths.Isolated {
		if wd, err := os.Getwd(); err == nil {
			if d := enclosing(a.drives(ctx, paths), wd); d != nil {
				return control.NewClient(d.socket), nil
			}
		}
	}
	return control.NewClient(paths.Socket()), nil
}

// drives are the drives this user has running, the environment's own first.
func (a *app) drives(ctx context.Context, paths config.Paths) []drive {
	var all []drive
	if d, err := control.NewClient(paths.Socket()).Drive(ctx); err == nil {
		all = append(all, drive{mountpoint: string(d.Mountpoint), socket: paths.Socket()})
	}
	for _, r := range daemon.RunningDrives(paths.Drives) {
		w, err := watch(r.PID)
		if err == nil {
			w.close()
		}
		all = append(all, drive{string(r.Mountpoint), string(r.Socket), err != nil})
	}
	return all
}

// enclosing is the drive a path lies in, the innermost of several, a living one before one that crashed; nil: none.
func enclosing(all []drive, path string) *drive {
	var best *drive
	for i := range all {
		d := &all[i]
		if _, ok := inside(d.mountpoint, path); ok && (best == nil || d.before(best)) {
			best = d
		}
	}
	return best
}

func (d *drive) before(other *drive) bool {
	if d.dead != other.dead {
		return other.dead
	}
	return len(d.mountpoint) > len(other.mountpoint)
}

// inside is path as seen from the mountpoint: "/", "/a/b".
func inside(mountpoint, path string) (control.Path, bool) {
	if path == mountpoint {
		return "/", true
	}
	if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(mountpoint, "/")+"/"); ok {
		return control.Path("/" + rest), true
	}
	return "", false
}

// locate sorts the paths of a command line by drive. Those in no drive are
// refusals; when all are, that is the error.
func (a *app) locate(ctx context.Context, args []string) ([]*group, []control.Refusal, error) {
	paths, err := a.paths()
	if err != nil {
		return nil, nil, err
	}
	all := a.drives(ctx, paths)
	var groups []*group
	var outside []control.Refusal
	for _, arg := range args {
		path, err := absolute(arg)
		if err != nil {
			return nil, nil, err
		}
		d := enclosing(all, path)
		if d == nil {
			outside = append(outside, control.Refusal{Path: control.Path(path), Code: control.NoDrive, Reason: "is not inside a mounted drive"})
			continue
		}
		groups = put(groups, d, path)
	}
	if len(groups) == 0 && len(outside) > 0 {
		return nil, nil, a.complain(outside, "", false)
	}
	return groups, outside, nil
}

func put(groups []*group, d *drive, path string) []*group {
	rel, _ := inside(d.mountpoint, path)
	for _, g := range groups {
		if g.client.Socket() == d.socket {
			g.paths = append(g.paths, rel)
			return groups
		}
	}
	return append(groups, &group{control.NewClient(d.socket), d.mountpoint, []control.Path{rel}})
}

// absolute resolves the symbolic links on the way to a path, not one that the
// path itself is. Where the way cannot be walked (the daemon is dead, the storage
// away) the path is taken as it is written.
func absolute(arg string) (string, error) {
	path, err := filepath.Abs(arg)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", arg, err)
	}
	if arg == "" {
		return "", usageError("empty path")
	}
	if path == "/" {
		return path, nil
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path, nil //nolint:nilerr // see above
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}

// each runs f for every drive that args lie in and joins what was refused.
// Errors of single drives are told and leave the others to be done.
func (a *app) each(ctx context.Context, args []string, f func(*group) ([]control.Refusal, bool, error)) error {
	groups, outside, err := a.locate(ctx, args)
	if err != nil {
		return err
	}
	var result error
	anything := false
	for _, g := range groups {
		refused, done, err := f(g)
		anything = anything || done
		if err != nil && len(groups) == 1 && len(outside) == 0 {
			return err
		}
		if err != nil {
			a.say("vdfs: %v", err)
			err = &control.Error{Code: control.AsError(err).Code}
		} else {
			err = a.complain(refused, g.mountpoint, done)
		}
		result = worse(result, err)
	}
	return partly(worse(result, a.complain(outside, "", anything)), anything)
}

// worse keeps one of two outcomes that were told already: equal ones, else "in part".
func worse(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil, exitCode(a) == exitCode(b):
		return a
	}
	return &control.Error{Code: control.Partly}
}

// partly is err, as "in part" when something was done all the same.
func partly(err error, done bool) error {
	if err != nil && done && control.AsError(err).Code != control.Partly {
		return &control.Error{Code: control.Partly, Message: err.Error()}
	}
	return err
}

// leaving is how long the end of a process takes at most, unless a dead disk holds it.
const leaving = 3 * time.Second

// gone waits until a process has ended, or would have but for a dead disk. A process that cannot be watched counts as gone.
func gone(ctx context.Context, client *control.Client, pid int, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("the daemon is still running"))
	defer cancel()
	w, err := watch(pid)
	if err != nil {
		return nil //nolint:nilerr // ended already
	}
	defer w.close()
	var since time.Time // it began to leave
	for {
		if w.ended(100 * time.Millisecond) {
			return nil
		}
		switch {
		case !w.ending():
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > leaving:
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the end of the daemon (pid %d, %s): %w", pid, client.Socket(), context.Cause(ctx))
		}
	}
}
