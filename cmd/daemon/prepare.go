package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"vdfs/cmd/config"
	"vdfs/cmd/control"
)

// plan is what a start will do, found out without changing anything but a stale mount.
type plan struct {
	Options
	conf       config.Config
	mountpoint string   // resolved
	from       string   // resolved; the embedded directory where nothing was asked for
	embedded   string   // resolved
	asked      bool     // from was asked for
	first      bool     // there is no index yet
	state      []string // resolved directories of vdfs itself
}

// prepare refuses whatever can be refused.
func prepare(ctx context.Context, o Options) (*plan, error) {
	p := &plan{Options: o, asked: o.From != ""}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find the name of this machine: %w", err)
	}
	if p.conf, err = config.Load(o.Paths.Config, host); err != nil {
		return nil, configError(err)
	}
	if err := fuseReady(); err != nil {
		return nil, err
	}
	if p.mountpoint, err = checkMountpoint(o.Mountpoint); err != nil {
		return nil, err
	}
	if err := soleDaemon(ctx, o.Paths); err != nil {
		return nil, err
	}
	if p.first, err = missing(filepath.Join(p.conf.CacheDir(o.Paths), "index.db")); err != nil {
		return nil, err
	}
	if p.state, err = stateDirs(o.Paths, p.conf); err != nil {
		return nil, err
	}
	return p, p.checkEndpoint()
}

// Try refuses what a start would refuse, and else says where the drive would be mounted. It changes nothing but a stale mount.
func Try(ctx context.Context, o Options) (mountpoint string, err error) {
	p, err := prepare(ctx, o)
	if err != nil {
		return "", err
	}
	return p.mountpoint, nil
}

// configError is the owner's to mend: it is about what they wrote.
func configError(err error) error {
	if errors.Is(err, config.ErrInvalid) {
		return &control.Error{Code: control.Usage, Message: err.Error()}
	}
	return err
}

// checkEndpoint looks at the endpoint of a first mount. Of a later one it may be away: the drive works without it.
func (p *plan) checkEndpoint() error {
	var err error
	if p.embedded, err = resolve(p.Paths.Embedded()); err != nil {
		return err
	}
	p.from = p.embedded
	if p.asked {
		if p.from, err = endpointDir(p.From); err != nil {
			return err
		}
	}
	endpoint := p.from
	if !p.asked && !p.first {
		endpoint = "" // whatever the conduits say, which were checked when they were made
	}
	if p.first && p.asked && p.from != p.embedded {
		if err := usableEndpoint(p.from); err != nil {
			return err
		}
	}
	if err := separate(p.mountpoint, endpoint, p.embedded, p.state); err != nil || p.Adopt == "" {
		return err
	}
	_, err = adoptable(p.Adopt, p.mountpoint, []string{p.from}, p.state)
	return err
}

// soleDaemon refuses to start beside a daemon of the same drive. One whose mount is gone is about to end, and waited for.
func soleDaemon(ctx context.Context, paths config.Paths) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(lockWait); ; {
		d, err := RunningDaemon(ctx, paths)
		if err != nil || d == nil {
			return err
		}
		if d.Detached {
			return refuse(control.Failed, "the daemon of this drive (pid %d) was detached from %s and ends with the last program that uses it: try again then", d.PID, d.Mountpoint)
		}
		m, err := mountAt(string(d.Mountpoint))
		if err != nil {
			return err
		}
		if m != nil || time.Now().After(deadline) {
			return refuse(control.Failed, "a daemon of this drive is running already (pid %d): it is mounted at %s", d.PID, d.Mountpoint)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// RunningDaemon asks for the daemon of the drive; nil: there is none.
func RunningDaemon(ctx context.Context, paths config.Paths) (*control.Drive, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d, err := control.NewClient(paths.Socket()).Drive(ctx)
	if err == nil {
		return &d, nil
	}
	if control.AsError(err).Code == control.NoDrive {
		return nil, nil
	}
	return nil, err
}

func missing(path string) (bool, error) {
	_, err := os.Lstat(path)
	if err == nil {
		return false, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, fmt.Errorf("look for the index: %w", err)
}
