package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/cmd/config"
	"vdfs/cmd/control"
	"vdfs/cmd/metrics"
	fuse "vdfs/fs"
	"vdfs/internal/clock"
	"vdfs/internal/fault"
	"vdfs/internal/merge"
	"vdfs/offload"
	"vdfs/offload/caller"
	"vdfs/syncer"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/dir"
)

const (
	homeConduit = "home"   // the conduit that a first mount makes
	drivePrefix = "drive:" // begins the name of a directory of the drive where an endpoint is named
)

// parts are the layers of one drive, joined: offload fetches through the syncer,
// the mount lists through the syncer and hydrates through offload.
type parts struct {
	cache   *cache.Cache
	engine  *syncer.Engine
	offload *offload.Manager
	readers *offload.Readers
	states  states
	wait    time.Duration // how long a person's request waits for an endpoint
	clock   func() time.Time
	events  *event.Bus
	diary   *event.Subscription
	logged  *event.Subscription
	meter   *metrics.Meter
	since   time.Time // it is counted
	// awaitCloses waits for the closes that programs have seen return; nothing before there is a mount.
	awaitCloses func(context.Context)
}

// assemble opens the drive. It starts nothing.
func (d *daemon) assemble(ctx context.Context) (*parts, error) {
	conf := d.plan.conf
	callers := caller.New(callerOptions(conf))
	now, steady := fault.Clock(time.Now), clock.Begin()
	d.tasks.Now = now
	meter := metrics.New(steady.Now)
	events := event.New(event.Options{Tap: meter, Now: now, Steady: steady.Now})
	c, err := d.openCache(ctx, callers, events)
	if err != nil {
		return nil, err
	}
	p := &parts{
		cache: c, wait: time.Duration(conf.Hydrate.Timeout), clock: now, awaitCloses: func(context.Context) {},
		events: events, meter: meter, since: now().UTC(),
		diary: events.Subscribe(diary, diaryRoom), logged: events.Subscribe(logTypes(d.log), diaryRoom),
	}
	so := engineOptions(conf)
	so.Cache, so.Open, so.Logger, so.Events, so.Clock, so.Merge = c, d.openEndpoint, d.log, p.events, now, merge.Text
	so.Late = &d.late
	so.Tasks = &d.tasks
	if p.engine, err = syncer.New(so); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	stats, err := c.StatFS()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	oo := offloadOptions(conf, stats.DiskTotal)
	oo.Cache, oo.Source, oo.Logger, oo.Events, oo.Clock = c, p.engine, d.log, p.events, now
	p.offload = offload.New(oo)
	p.readers = offload.NewReaders(p.offload, callers)
	p.states = states{p}
	return p, nil
}

// engineOptions is what the configuration says about agreement.
func engineOptions(c config.Config) syncer.Options {
	var rules []cache.Rule
	for _, r := range c.Conflict.Rules {
		if pattern, strategy, ok := config.SplitRule(r); ok {
			rules = append(rules, cache.Rule{Pattern: pattern, Strategy: strategy})
		}
	}
	return syncer.Options{
		Strategy: c.Conflict.Default, Rules: rules, Parallel: c.Sync.Concurrency,
		Device: c.Device.Name, Interval: time.Duration(c.Sync.Interval), Adaptive: c.Sync.Adaptive, Transfers: c.Transfer.Concurrency,
		TrashKept: time.Duration(c.Trash.Retention), TrashMost: c.Trash.Most(),
		GuardCount: c.Guard.MaxDeleteCount, GuardPercent: c.Guard.MaxDeletePercent,
		LocalGuardCount: c.Guard.MaxOwnDeleteCount, LocalGuardPercent: c.Guard.MaxOwnDeletePercent,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Contains: endpointContains, Ignore: c.Ignore(),
	}
}

// callerOptions is what the configuration says about the programs that read.
func callerOptions(c config.Config) caller.Options {
	return caller.Options{Deny: c.Hydrate.Deny, Allow: c.Hydrate.Allow}
}

// mountOptions is what the configuration says about the mount.
func mountOptions(c config.Config) fuse.Options {
	return fuse.Options{Subtype: c.Mount.Subtype, Markers: c.Mount.Markers}
}

// offloadOptions is what the configuration says about fetching and dropping, with the cache on a disk of that many bytes.
func offloadOptions(c config.Config, disk int64) offload.Options {
	o := offload.Options{Timeout: time.Duration(c.Hydrate.Timeout), MinCopies: c.Offload.MinCopies, Background: c.Transfer.Concurrency}
	if !c.Offload.Enabled {
		return o
	}
	low, high := c.Watermarks(disk)
	o.Eviction = offload.Eviction{
		Budget: c.Budget(disk), FreeLow: low, FreeHigh: high,
		Idle: time.Duration(c.Offload.Idle), KeepRecent: time.Duration(c.Offload.KeepRecent),
		MinSize: int64(c.Offload.MinSize), Include: c.Offload.Include, Exclude: c.Offload.Exclude,
	}
	return o
}

// openEndpoint opens the storage of a leg. Leg 0 is one that is only looked at before its conduit is made.
func (d *daemon) openEndpoint(_ context.Context, endpoint string, leg cache.Leg) (remote.Endpoint, error) {
	root, err := endpointDir(endpoint)
	if err != nil {
		return nil, err
	}
	return dir.Open(root, dir.Options{
		Staging: d.plan.Paths.Staging(int64(leg.ID)), KnownRoot: leg.Identity,
		Poll: time.Duration(d.plan.conf.Sync.Interval), Now: fault.Clock(time.Now), Logger: d.log,
	})
}

// firstConduit connects a drive that has no conduit yet, and refuses --from where it is connected to something else.
func (d *daemon) firstConduit(ctx context.Context) (created bool, err error) {
	all, err := d.parts.engine.Status()
	if err != nil {
		return false, err
	}
	if len(all) > 0 {
		return false, d.sameEndpoint(all)
	}
	if d.plan.from == d.plan.embedded {
		if err := os.MkdirAll(d.plan.from, 0o700); err != nil {
			return false, fmt.Errorf("create the drive's own directory: %w", err)
		}
	} else if err := usableEndpoint(d.plan.from); err != nil {
		return false, err
	}
	_, err = d.parts.engine.CreateConduit(ctx, syncer.Spec{
		Name: homeConduit, Source: drivePrefix + "/", Target: d.plan.from, Policy: syncer.PolicyOffload,
	})
	if err != nil {
		return false, fmt.Errorf("connect the drive to %s: %w", d.plan.from, coded(err))
	}
	return true, nil
}

// endpointsOf are the ends of a conduit that are no directory of the drive.
func endpointsOf(c syncer.ConduitStatus) (out []string) {
	for _, l := range c.Legs {
		out = append(out, l.Endpoint)
	}
	return out
}

// sameEndpoint refuses --from where no conduit has that endpoint, and a mountpoint inside an endpoint of any.
func (d *daemon) sameEndpoint(all []syncer.ConduitStatus) error {
	found, other := false, ""
	for _, c := range all {
		for _, endpoint := range endpointsOf(c) {
			root, err := endpointDir(endpoint)
			if err != nil {
				return err
			}
			if err := separate(d.plan.mountpoint, root, d.plan.embedded, d.plan.state); err != nil {
				return err
			}
			found = found || root == d.plan.from
			other = fmt.Sprintf("%s (conduit %s)", root, c.Name)
		}
	}
	if found || !d.plan.asked {
		return nil
	}
	return refuse(control.Usage, "the drive is connected to %s already; --from is for the first mount, `vdfs conduit create` adds storages", other)
}

// endpointContains reports whether an endpoint lies in another one, also where a directory has two names. One whose disk does
// not answer is known by its name.
func endpointContains(outer, inner string) bool {
	if !answers(outer, answerMax) || !answers(inner, answerMax) {
		return below(outer, inner)
	}
	return contains(outer, inner)
}
