package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/cmd/config"
	"vdfs/cmd/control"
	"vdfs/internal/power"
	"vdfs/offload"
	"vdfs/syncer"
)

// unmounted is a whole drive over the directory files, working but not mounted.
func unmounted(t *testing.T) (d *daemon, files string) {
	t.Helper()
	root := made(t, "Drive", "files")
	files = filepath.Join(root, "files")
	paths := config.Paths{Config: filepath.Join(root, "config.toml"), Data: filepath.Join(root, "data"), Runtime: filepath.Join(root, "run")}
	d = &daemon{log: slog.New(slog.DiscardHandler), plan: &plan{
		Options: Options{Paths: paths, Version: "test"}, conf: config.Default("here"),
		mountpoint: filepath.Join(root, "Drive"), from: files, asked: true, first: true, embedded: paths.Embedded(),
		state: []string{paths.Data, paths.Runtime},
	}}
	if err := paths.Create(); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.parts, err = d.assemble(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- d.parts.engine.Run(ctx) }()
	go func() { done <- d.parts.offload.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, <-done, d.close()); err != nil {
			t.Error(err)
		}
	})
	if created, err := d.firstConduit(t.Context()); err != nil || !created {
		t.Fatalf("first conduit: %v, %v", created, err)
	}
	if err := d.parts.engine.List(t.Context(), cache.RootIno); err != nil {
		t.Fatal(err)
	}
	return d, files
}

// noReport drops progress.
func noReport(control.Progress) {}

func TestHandlersTellTheLifeOfAFile(t *testing.T) {
	t.Parallel()
	d, files := unmounted(t)
	h := d.handlers()
	ctx := t.Context()
	if err := errors.Join(os.Mkdir(filepath.Join(files, "dir"), 0o755), os.WriteFile(filepath.Join(files, "dir", "old\xff"), []byte("from there"), 0o644)); err != nil {
		t.Fatal(err)
	}
	e, o, err := d.parts.cache.Create(cache.RootIno, "new", 0o640, cache.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteAt([]byte("from here"), 0); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := h.Sync.Sync(ctx, control.SyncRequest{Wait: true, Rescan: true}, noReport); err != nil || r.State != "done" {
		t.Fatalf("sync: %+v, %v", r, err)
	}
	if text, err := os.ReadFile(filepath.Join(files, "new")); err != nil || string(text) != "from here" {
		t.Fatalf("at the endpoint: %q, %v", text, err)
	}

	infos, err := h.Files.Info(ctx, control.Paths{Paths: []control.Path{"/new", "/dir/old\xff", "/dir", "/none", "/new/x"}})
	if err != nil || len(infos.Files) != 3 || len(infos.Refused) != 2 {
		t.Fatalf("info: %+v, %v", infos, err)
	}
	sent, old := infos.Files[0], infos.Files[1]
	if sent.Ino != uint64(e.Ino) || sent.Kind != "file" || sent.Size != 9 || sent.State != "local" || sent.Residency != "full" ||
		sent.LocalBytes != 9 || sent.Sync != "synced" || sent.Pin != "auto" || sent.PinFrom != "default" || len(sent.Hash) != 64 ||
		!reflect.DeepEqual(sent.Conduits, []string{"home"}) || len(sent.Copies) != 1 || sent.Copies[0].Endpoint != files || sent.Copies[0].Verified == nil {
		t.Errorf("the file that was sent: %+v", sent)
	}
	if old.Path != "/dir/old\xff" || old.State != "cloud" || old.Residency != "none" || old.LocalBytes != 0 || old.Size != 10 {
		t.Errorf("the placeholder: %+v", old)
	}
	for _, r := range infos.Refused {
		if r.Code != control.NotFound || r.Reason == "" {
			t.Errorf("refused: %+v", r)
		}
	}

	if r, err := h.Files.Pin(ctx, control.PathsRequest{Paths: []control.Path{"/dir"}, Wait: true}, noReport); err != nil || r.Files != 1 || r.Bytes != 10 {
		t.Fatalf("pin: %+v, %v", r, err)
	}
	infos, err = h.Files.Info(ctx, control.Paths{Paths: []control.Path{"/dir/old\xff"}})
	if err != nil || infos.Files[0].State != "pinned" || infos.Files[0].PinFrom != "inherited" || infos.Files[0].PinPath != "/dir" {
		t.Errorf("pinned: %+v, %v", infos, err)
	}
	r, err := h.Files.Offload(ctx, control.PathsRequest{Paths: []control.Path{"/"}}, noReport)
	if err != nil || r.Files != 1 || r.Bytes != 9 || len(r.Refused) != 1 || r.Refused[0].Path != "/dir/old\xff" || !strings.Contains(r.Refused[0].Reason, "pinned") {
		t.Errorf("offload: %+v, %v", r, err)
	}
	if r, err := h.Files.Unpin(ctx, control.PathsRequest{Paths: []control.Path{"/dir", "/none"}}, noReport); err != nil || r.Paths != 1 || len(r.Refused) != 1 {
		t.Errorf("unpin: %+v, %v", r, err)
	}
	if r, err := h.Files.Fetch(ctx, control.PathsRequest{Paths: []control.Path{"/new"}, Wait: true}, noReport); err != nil || r.Bytes != 9 {
		t.Errorf("fetch: %+v, %v", r, err)
	}
	list, err := h.Files.List(ctx, control.ListRequest{Path: "/"})
	if err != nil || !list.Dir || list.Next != 0 || len(list.Entries) != 2 {
		t.Errorf("list: %+v, %v", list, err)
	}
	history, err := h.Sync.History(ctx, control.HistoryRequest{Conduit: "home"})
	if err != nil || len(history) == 0 || history[0].Copied != 1 || history[0].Bytes != 9 || history[0].Completed == nil {
		t.Errorf("history: %+v, %v", history, err)
	}
}

func TestHandlersShowWhatWaits(t *testing.T) {
	t.Parallel()
	d, _ := unmounted(t)
	h := d.handlers()
	ctx := t.Context()
	if err := h.Sync.Pause(ctx, control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := d.parts.cache.Mkdir(cache.RootIno, name, 0o755, cache.Caller{}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := h.Drive.Status(ctx)
	if err != nil || s.State != "paused" || s.Queue.New != 2 || s.Drive != "Drive" || s.Memory < 1<<20 || s.Cache.Index < 1<<12 || s.Nodes != 3 || len(s.Conduits) != 1 || s.Conduits[0].PendingLocal != 2 {
		t.Errorf("status: %+v, %v", s, err)
	}
	items, err := h.Sync.Queue(ctx, false, 0)
	if err != nil || len(items) != 2 || items[0].Path != "/a" || items[0].Conduit != "home" || items[0].Origin != "local" || items[0].Operation != "create" || items[0].Status != "new" {
		t.Fatalf("queue: %+v, %v", items, err)
	}
	if next, err := h.Sync.Queue(ctx, false, items[0].ID); err != nil || len(next) != 1 || next[0].Path != "/b" {
		t.Errorf("second page: %+v, %v", next, err)
	}
	if stuck, err := h.Sync.Queue(ctx, true, 0); err != nil || len(stuck) != 0 {
		t.Errorf("nothing is stuck: %+v, %v", stuck, err)
	}
	if err := h.Sync.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if r, err := h.Sync.Sync(ctx, control.SyncRequest{Wait: true}, noReport); err != nil || r.State != "done" {
		t.Errorf("sync: %+v, %v", r, err)
	}
	if p, err := h.Drive.Doctor(ctx); err != nil || len(p.Problems) != 0 {
		t.Errorf("doctor: %+v, %v", p, err)
	}
}

func TestConduitsAreRefusedWhereTheyWouldRecurse(t *testing.T) {
	t.Parallel()
	d, files := unmounted(t)
	h := d.handlers().Conduits
	other := made(t, "x")
	for name, tc := range map[string]struct {
		target string
		code   control.Code
	}{
		"inside the mountpoint": {d.plan.mountpoint, control.Usage}, "around the state": {filepath.Dir(files), control.Usage},
		"in the state": {d.plan.Paths.Data, control.Usage}, "missing": {filepath.Join(other, "none"), control.Unreachable},
		"another storage": {"s3://bucket", control.Usage}, "used already": {files, control.Usage},
	} {
		_, err := h.Create(t.Context(), control.ConduitSpec{Name: "c", Source: "drive:/c", Target: tc.target, Policy: "synchronize"})
		if err == nil || control.AsError(err).Code != tc.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := h.Create(t.Context(), control.ConduitSpec{Name: "c", Source: "drive:/c", Target: filepath.Join(other, "x"), Policy: "bidirectional"})
	if err != nil || c.Policy != "synchronize" || c.At != "/c" {
		t.Fatalf("create: %+v, %v", c, err)
	}
	if err := errors.Join(h.PauseConduit(t.Context(), "c"), h.ResumeConduit(t.Context(), "c")); err != nil {
		t.Error(err)
	}
	// Only a place that was looked into is known to lose nothing.
	if r, err := d.handlers().Sync.Sync(t.Context(), control.SyncRequest{Wait: true}, noReport); err != nil || r.State != "done" {
		t.Errorf("sync: %+v, %v", r, err)
	}
	if err := h.Delete(t.Context(), "c", false); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{"pause": h.PauseConduit(t.Context(), "c"), "delete": h.Delete(t.Context(), "c", false)} {
		if err == nil || control.AsError(err).Code != control.NotFound {
			t.Errorf("%s a conduit that is gone: %v", what, err)
		}
	}
}

func TestALaterMountKeepsItsEndpoint(t *testing.T) {
	t.Parallel()
	d, files := unmounted(t)
	if created, err := d.firstConduit(t.Context()); err != nil || created {
		t.Errorf("the same endpoint: %v, %v", created, err)
	}
	d.plan.from = files + "-other"
	_, err := d.firstConduit(t.Context())
	refused(t, err, control.Usage, files, "home")
	d.plan.asked = false
	if _, err := d.firstConduit(t.Context()); err != nil {
		t.Errorf("without --from: %v", err)
	}
	d.plan.mountpoint = filepath.Join(files, "x")
	_, err = d.firstConduit(t.Context())
	refused(t, err, control.Usage, "contains the mountpoint")
}

func TestEveryConfigurationKeyChangesBehaviour(t *testing.T) {
	t.Parallel()
	paths := config.Paths{Data: "/data"}
	const disk = 1000 << 30
	// evicts is the default, but for what f changes.
	evicts := func(f func(*offload.Eviction)) map[string]any {
		v := offload.Eviction{Budget: 50 << 30, FreeLow: 50 << 30, FreeHigh: 60 << 30}
		f(&v)
		return map[string]any{"eviction": v}
	}
	// behaviour is everything the configuration decides.
	behaviour := func(c config.Config) map[string]any {
		so, co, oo, mo, who := engineOptions(c), CacheOptions(paths, c, nil), offloadOptions(c, disk), mountOptions(c), callerOptions(c)
		var out bytes.Buffer
		d := &daemon{plan: &plan{Options: Options{Stderr: &out}, conf: c}}
		if err := d.openLog(); err != nil {
			t.Fatal(err)
		}
		d.log.Debug("told")
		battery, _ := sparing(c.Sync, power.State{OnBattery: true})
		metered, _ := sparing(c.Sync, power.State{Metered: true})
		return map[string]any{
			"adaptive": so.Adaptive, "battery": battery, "metered": metered,
			"device": so.Device, "cache device": co.Device, "interval": so.Interval, "dir": co.Dir, "trash": co.TrashKept, "their trash": so.TrashKept, "trash size": co.TrashMost, "their trash size": so.TrashMost, "open files": co.OpenFor,
			"sends": so.Transfers, "fetches": oo.Background, "timeout": oo.Timeout,
			"copies": oo.MinCopies, "eviction": oo.Eviction, "strategy": so.Strategy, "rules": so.Rules, "parallel": so.Parallel,
			"denied": who.Deny, "allowed": who.Allow, "subtype": mo.Subtype, "markers": mo.Markers,
			"count": so.GuardCount, "percent": so.GuardPercent, "own count": so.LocalGuardCount, "own percent": so.LocalGuardPercent, "debug": out.Len() > 0,
			"ignore": so.Ignore[len(so.Ignore)-1].Text(),
		}
	}
	cases := map[string]struct {
		set  func(*config.Config)
		want map[string]any
	}{
		"sync.concurrency": {func(c *config.Config) { c.Sync.Concurrency = 9 }, map[string]any{"parallel": 9}},
		"conflict.default": {func(c *config.Config) { c.Conflict.Default = "newest" }, map[string]any{"strategy": "newest"}},
		"conflict.rules": {
			func(c *config.Config) { c.Conflict.Rules = []string{"*.md=merge"} },
			map[string]any{"rules": []cache.Rule{{Pattern: "*.md", Strategy: "merge"}}},
		},
		"hydrate.deny":  {func(c *config.Config) { c.Hydrate.Deny = []string{"scan*"} }, map[string]any{"denied": []string{"scan*"}}},
		"hydrate.allow": {func(c *config.Config) { c.Hydrate.Allow = []string{"gthumb-*"} }, map[string]any{"allowed": []string{"gthumb-*"}}},
		"mount.subtype": {func(c *config.Config) { c.Mount.Subtype = "vdfs" }, map[string]any{"subtype": "vdfs"}},
		"mount.markers": {func(c *config.Config) { c.Mount.Markers = []string{".nomedia"} }, map[string]any{"markers": []string{".nomedia"}}},

		"device.name":     {func(c *config.Config) { c.Device.Name = "desk" }, map[string]any{"device": "desk", "cache device": "desk"}},
		"sync.open_files": {func(c *config.Config) { c.Sync.OpenFiles = config.Duration(time.Hour) }, map[string]any{"open files": time.Hour}},
		"sync.interval":   {func(c *config.Config) { c.Sync.Interval = config.Duration(time.Hour) }, map[string]any{"interval": time.Hour}},
		"sync.ignore":     {func(c *config.Config) { c.Sync.Ignore = []string{"*.a", "!b"} }, map[string]any{"ignore": "*.a\n!b"}},
		"sync.adaptive":   {func(c *config.Config) { c.Sync.Adaptive = false }, map[string]any{"adaptive": false}},
		"sync.on_battery": {func(c *config.Config) { c.Sync.OnBattery = config.SparePause }, map[string]any{"battery": syncer.SparePause}},
		"sync.on_metered": {func(c *config.Config) { c.Sync.OnMetered = config.SpareNothing }, map[string]any{"metered": syncer.SpareNothing}},
		"cache.dir":       {func(c *config.Config) { c.Cache.Dir = "/big" }, map[string]any{"dir": "/big"}},
		"cache.max_size":  {func(c *config.Config) { c.Cache.MaxSize = 9 }, evicts(func(v *offload.Eviction) { v.Budget = 9 })},
		"offload.enabled": {func(c *config.Config) { c.Offload.Enabled = false }, evicts(func(v *offload.Eviction) { *v = offload.Eviction{} })},
		"offload.free_low": {
			func(c *config.Config) { c.Offload.FreeLow = 10 }, evicts(func(v *offload.Eviction) { v.FreeLow, v.FreeHigh = 10, 12 }),
		},
		"offload.free_high": {
			func(c *config.Config) { c.Offload.FreeHigh = 70 << 30 }, evicts(func(v *offload.Eviction) { v.FreeHigh = 70 << 30 }),
		},
		"offload.idle": {
			func(c *config.Config) { c.Offload.Idle = config.Duration(time.Hour) }, evicts(func(v *offload.Eviction) { v.Idle = time.Hour }),
		},
		"offload.keep_recent": {
			func(c *config.Config) { c.Offload.KeepRecent = config.Duration(time.Hour) },
			evicts(func(v *offload.Eviction) { v.KeepRecent = time.Hour }),
		},
		"offload.min_size":             {func(c *config.Config) { c.Offload.MinSize = 9 }, evicts(func(v *offload.Eviction) { v.MinSize = 9 })},
		"offload.include":              {func(c *config.Config) { c.Offload.Include = []string{"a"} }, evicts(func(v *offload.Eviction) { v.Include = []string{"a"} })},
		"offload.exclude":              {func(c *config.Config) { c.Offload.Exclude = []string{"b"} }, evicts(func(v *offload.Eviction) { v.Exclude = []string{"b"} })},
		"offload.min_copies":           {func(c *config.Config) { c.Offload.MinCopies = 2 }, map[string]any{"copies": 2}},
		"hydrate.timeout":              {func(c *config.Config) { c.Hydrate.Timeout = config.Duration(time.Minute) }, map[string]any{"timeout": time.Minute}},
		"guard.max_delete_count":       {func(c *config.Config) { c.Guard.MaxDeleteCount = 7 }, map[string]any{"count": 7}},
		"guard.max_delete_percent":     {func(c *config.Config) { c.Guard.MaxDeletePercent = 8 }, map[string]any{"percent": 8}},
		"guard.max_own_delete_count":   {func(c *config.Config) { c.Guard.MaxOwnDeleteCount = 7 }, map[string]any{"own count": 7}},
		"guard.max_own_delete_percent": {func(c *config.Config) { c.Guard.MaxOwnDeletePercent = 8 }, map[string]any{"own percent": 8}},
		"trash.retention":              {func(c *config.Config) { c.Trash.Retention = config.Duration(48 * time.Hour) }, map[string]any{"trash": 48 * time.Hour, "their trash": 48 * time.Hour}},
		"trash.max_size":               {func(c *config.Config) { c.Trash.MaxSize = 9 }, map[string]any{"trash size": int64(9), "their trash size": int64(9)}},
		"transfer.concurrency":         {func(c *config.Config) { c.Transfer.Concurrency = 2 }, map[string]any{"sends": 2, "fetches": 2}},
		"log.level":                    {func(c *config.Config) { c.Log.Level = "debug" }, map[string]any{"debug": true}},
	}
	for _, k := range config.Keys() {
		tc, ok := cases[k.Name]
		if !ok {
			t.Errorf("%s: nobody has shown that it changes anything", k.Name)
			continue
		}
		c := config.Default("here")
		want := behaviour(c)
		for k, v := range tc.want {
			want[k] = v
		}
		tc.set(&c)
		if got := behaviour(c); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", k.Name, got, want)
		}
		if reflect.DeepEqual(k.Of(c), k.Of(config.Default("here"))) {
			t.Errorf("%s: the case changes another key", k.Name)
		}
	}
}
