package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/cmd/config"
	"vdfs/cmd/control"
	fuse "vdfs/fs"
	"vdfs/internal/procs"
	"vdfs/internal/schedule"
	"vdfs/internal/sdnotify"
	"vdfs/offload"
	"vdfs/offload/caller"
)

const (
	lockWait  = 10 * time.Second // for a daemon that is just ending
	drainWait = 3 * time.Second  // for answers under way when the daemon ends
)

// Options are what a daemon is started with.
type Options struct {
	Paths      config.Paths
	Mountpoint string
	From       string // endpoint for the first mount; "": the embedded directory
	// Adopt is a directory that files will be adopted from, once the drive is mounted; "": none. The start only refuses one
	// that cannot be.
	Adopt      string
	AllowOther bool
	ReadOnly   bool
	// NoPassthrough has all reads and writes come through the daemon.
	NoPassthrough bool
	Version       string
	Ready         Ready            // told once how the start went; a daemon with a silent one logs to Stderr
	Service       sdnotify.Manager // told when the drive is mounted, and when the end begins
	Stderr        io.Writer        // the log of a foreground daemon
}

// Run mounts the drive and serves it until ctx ends or the mount is gone. The
// outcome of the start is told to Ready before; the error is that of the start or of the end.
func Run(ctx context.Context, o Options) error {
	p, err := prepare(ctx, o)
	if err != nil {
		return errors.Join(err, o.Ready.Failed(err))
	}
	d, err := start(ctx, p)
	if err != nil {
		return errors.Join(err, o.Ready.Failed(err))
	}
	d.log.Info("drive mounted", "mountpoint", d.plan.mountpoint, "pid", os.Getpid(), "version", o.Version)
	if err := o.Ready.Mounted(d.who()); err != nil {
		d.log.Warn("nobody waits for the mount", "error", err)
	}
	d.tell(sdnotify.Ready)
	err = d.serve(ctx)
	if err != nil && !o.Ready.Silent() {
		d.log.Error("daemon failed", "error", err) // whoever started it is long gone
	}
	d.log.Info("daemon ended")
	return errors.Join(err, d.close())
}

// daemon is a mounted drive.
type daemon struct {
	plan   *plan
	tasks  schedule.Tasks
	log    *slog.Logger
	file   *logFile // nil in the foreground
	parts  *parts
	server *fuse.Server
	guard  *guard // nil: this user cannot have one
	socket net.Listener
	http   *http.Server
	record Running
	// detached: a person took the mount away while programs used it.
	detached atomic.Bool
	late     atomic.Bool // see syncer.Options
}

// start opens and mounts the drive. On failure everything is closed again.
func start(ctx context.Context, p *plan) (*daemon, error) {
	d := &daemon{plan: p}
	if err := d.open(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// open creates what is missing and mounts. A conduit that was made for a mount that failed is taken back: nobody can have used it.
func (d *daemon) open(ctx context.Context) error {
	if err := d.plan.Paths.Create(); err != nil {
		return err
	}
	if err := d.openLog(); err != nil {
		return err
	}
	var err error
	if d.parts, err = d.assemble(ctx); err != nil {
		return err
	}
	created, err := d.firstConduit(ctx)
	if err != nil {
		return err
	}
	err = d.mount()
	if err != nil && created {
		err = errors.Join(err, d.parts.engine.DeleteConduit(ctx, homeConduit, true))
	}
	return err
}

// openLog lets a background daemon write its log, and its last words, to the log file.
func (d *daemon) openLog() error {
	level, err := d.plan.conf.LogLevel()
	if err != nil {
		return err
	}
	var w io.Writer = d.plan.Stderr
	if !d.plan.Ready.Silent() {
		if d.file, err = openLog(d.plan.Paths.Log(), maxLog); err != nil {
			return err
		}
		if err := d.file.takeStderr(); err != nil {
			return err
		}
		w = d.file
	}
	d.log = slog.New(classified{slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})})
	return nil
}

// openCache waits for a daemon of this drive that is on its way out.
func (d *daemon) openCache(ctx context.Context, callers *caller.Table, events *event.Bus) (*cache.Cache, error) {
	options := CacheOptions(d.plan.Paths, d.plan.conf, d.log)
	options.Counts = func(pid uint32) bool { return callers.Was(pid).Uses() }
	options.Used = offload.Opened(events)
	options.LocalOnly = func(name string) bool { return !d.late.Load() && config.LocalOnly(name) }
	options.Tasks = &d.tasks
	deadline := time.NewTimer(lockWait)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := cache.Open(ctx, options)
		if !errors.Is(err, cache.ErrLocked) {
			return c, explainOpen(err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-deadline.C:
			return nil, explainOpen(err)
		case <-again.C:
		}
	}
}

// explainOpen adds what a person can do.
func explainOpen(err error) error {
	switch {
	case errors.Is(err, cache.ErrLocked):
		return fmt.Errorf("another daemon has this drive open: %w", err)
	case errors.Is(err, cache.ErrDamaged):
		return fmt.Errorf("%w (see `vdfs doctor`; `vdfs doctor --repair` mends it and deletes no file)", err)
	}
	return err
}

// CacheOptions open the cache of a drive; vdfs doctor uses them without a daemon.
func CacheOptions(p config.Paths, c config.Config, log *slog.Logger) cache.Options {
	return cache.Options{
		Dir: c.CacheDir(p), Device: c.Device.Name, Logger: log,
		LocalOnly: config.LocalOnly, OpenFor: time.Duration(c.Sync.OpenFiles), TrashKept: time.Duration(c.Trash.Retention), TrashMost: c.Trash.Most(), UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
	}
}

// mount opens the control socket, mounts, and records the drive.
func (d *daemon) mount() (err error) {
	socket, err := control.Listen(d.plan.Paths.Socket())
	if err != nil {
		return err
	}
	d.socket = socket
	o := mountOptions(d.plan.conf)
	o.Mountpoint, o.Cache, o.Hydrator, o.Lister = d.plan.mountpoint, d.parts.cache, d.parts.readers, d.parts.engine
	o.States, o.Room, o.Logger = d.parts.states, d.parts.offload, d.log
	o.AllowOther, o.ReadOnly, o.NoPassthrough = d.plan.AllowOther, d.plan.ReadOnly, d.plan.NoPassthrough
	if d.server, err = fuse.Mount(o); err != nil {
		return err
	}
	d.parts.awaitCloses = d.server.AwaitCloses
	d.guarded()
	d.http = control.NewServer(d.handlers())
	d.record = Running{control.Path(d.plan.mountpoint), control.Path(d.plan.Paths.Socket()), os.Getpid()}
	if err := record(d.plan.Paths.Drives, d.record); err != nil {
		// Only commands without VDFS_HOME miss it.
		d.log.Warn("drive cannot be found by its mountpoint", "error", err)
	}
	return nil
}

// guarded starts the guard of the mount. Without one all works that works at all while the daemon lives.
func (d *daemon) guarded() {
	m, err := mountAt(d.plan.mountpoint)
	if err == nil && m != nil {
		d.guard, err = startGuard(m.minor)
	}
	if err != nil {
		d.log.Debug("mount is not guarded against a killed daemon", "error", err)
	}
}

// serve runs every part until the mount is gone; see the package documentation for the order of the end.
func (d *daemon) serve(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer d.parts.hear(d.log)()
	g, work := errgroup.WithContext(work)
	g.Go(func() error { return named("cache", d.parts.cache.Run(work)) })
	g.Go(func() error { return named("syncer", d.parts.engine.Run(work)) })
	g.Go(func() error { return named("offload", d.parts.offload.Run(work)) })
	g.Go(func() error { return named("mount", d.server.Run(work)) })
	g.Go(func() error { d.watchPower(work); return nil })
	g.Go(func() error { return named("control socket", ignore(d.http.Serve(d.socket), http.ErrServerClosed)) })
	select {
	case <-d.server.Done():
		d.tell(sdnotify.Stopping)
	case <-ctx.Done():
		d.detach()
	case <-work.Done(): // a part failed
		d.detach()
	}
	d.drain()
	stop()
	return g.Wait()
}

// tell tells the service manager, if one started this daemon.
func (d *daemon) tell(state string) {
	if err := d.plan.Service.Tell(state); err != nil {
		d.log.Warn("service manager does not listen", "error", err)
	}
}

// named says which part failed; the end of the daemon is no failure.
func named(part string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("%s: %w", part, err)
}

// detach takes the mount away because the daemon has to end, whoever uses it.
func (d *daemon) detach() {
	d.tell(sdnotify.Stopping)
	err := d.server.Unmount(false)
	if errors.Is(err, fuse.ErrInUse) {
		d.log.Warn("mount is in use, detaching it", "by", describe(d.holders()))
		err = d.server.Unmount(true)
	}
	if err != nil {
		d.log.Error("unmount failed", "error", err)
	}
}

// drain lets answers under way go out.
func (d *daemon) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainWait)
	defer cancel()
	if err := d.http.Shutdown(ctx); err != nil {
		if err := d.http.Close(); err != nil {
			d.log.Warn("close control socket", "error", err)
		}
	}
}

// close lets go of everything that start took.
func (d *daemon) close() error {
	var errs []error
	if d.guard != nil {
		if err := d.guard.dismiss(); err != nil {
			d.log.Warn("guard of the mount was not there any more", "error", err)
		}
	}
	if d.record.PID != 0 {
		errs = append(errs, forget(d.plan.Paths.Drives, d.record))
	}
	if d.socket != nil {
		errs = append(errs, ignore(d.socket.Close(), net.ErrClosed))
	}
	if d.parts != nil {
		errs = append(errs, d.parts.cache.Close())
	}
	if d.file != nil {
		errs = append(errs, d.file.Close())
	}
	return errors.Join(errs...)
}

func (d *daemon) who() control.Drive {
	return control.Drive{
		Version: d.plan.Version, PID: os.Getpid(),
		Mountpoint: control.Path(d.plan.mountpoint), Data: control.Path(d.plan.conf.CacheDir(d.plan.Paths)),
		Detached: d.detached.Load(),
	}
}

// holders are the processes that use the mount.
func (d *daemon) holders() []control.Holder {
	m, err := mountAt(d.plan.mountpoint)
	if err != nil || m == nil {
		return nil
	}
	return holders(procs.Device{Major: m.major, Minor: m.minor})
}
