package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/cmd/control"
	"vdfs/cmd/metrics"
)

const (
	followRoom = 1024      // events that wait for one follower; then the oldest go
	chunk      = 64 << 10  // bytes, in which progress is counted
	diaryKind  = "Message" // the type of what is in the diary and no event
)

// eventHandler is a control.EventHandler.
type eventHandler struct {
	*parts
	version string
}

// Events tells what is in the diary, the oldest first, or what happens from now on.
func (h eventHandler) Events(ctx context.Context, r control.EventsRequest, item func(control.Event) error) (control.None, error) {
	types, err := typesOf(r.Types)
	switch {
	case err != nil:
	case r.Follow:
		err = h.follow(ctx, types, item)
	default:
		err = h.fromDiary(r, types, item)
	}
	return control.None{}, err
}

// typesOf are the types with these names; no names: all.
func typesOf(list []string) (event.Set, error) {
	if len(list) == 0 {
		return event.All, nil
	}
	var set event.Set
	for _, name := range list {
		t, ok := event.Parse(name)
		if !ok {
			return 0, refuse(control.Usage, "no event has the type %q: choose from %s", name, strings.Join(event.Names(), ", "))
		}
		set |= event.Of(t)
	}
	return set, nil
}

func (h eventHandler) follow(ctx context.Context, types event.Set, item func(control.Event) error) error {
	s := h.events.Subscribe(types, followRoom)
	defer s.Close()
	for {
		e, err := s.Next(ctx)
		if err == nil {
			err = item(controlEvent(e))
		}
		if err != nil {
			return err
		}
	}
}

// fromDiary reads the last of the diary.
func (h eventHandler) fromDiary(r control.EventsRequest, types event.Set, item func(control.Event) error) error {
	var found []control.Event
	for before := int64(0); ; {
		var page []cache.Activity
		err := h.cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.Activities(before, pageSize)
			return err
		})
		if err != nil {
			return err
		}
		for _, a := range page {
			before = a.ID
			t, isEvent := event.Parse(a.Kind)
			if isEvent && types.Has(t) || !isEvent && types == event.All {
				found = append(found, fromActivity(a))
			}
			if r.Limit > 0 && len(found) == r.Limit {
				break
			}
		}
		if len(page) < pageSize || r.Limit > 0 && len(found) == r.Limit {
			break
		}
	}
	slices.Reverse(found)
	for _, e := range found {
		if err := item(e); err != nil {
			return err
		}
	}
	return nil
}

// controlEvent is an event as the protocol has it.
func controlEvent(e event.Event) control.Event {
	out := control.Event{
		Seq: e.Seq, At: e.At, Type: e.Type.String(), Dropped: e.Dropped, Conduit: e.Conduit, Endpoint: e.Endpoint,
		Path: control.Path(e.Path), Kind: e.Kind, Origin: e.Origin, Operation: e.Operation, Direction: e.Way.String(),
		Hash: e.Hash, Seconds: e.Took.Seconds(), ConflictType: e.Class, Strategy: e.Strategy, Generation: e.Generation, Error: e.Error,
	}
	switch e.Type {
	case event.FileUploadStarted, event.FileUploadCompleted, event.FileDownloadCompleted, event.FileHydrated:
		out.TotalBytes = &e.Total
	case event.FileChunkReceived:
		last := max(e.Bytes-1, 0) / chunk
		out.TotalBytes, out.Received, out.Chunk = &e.Total, &e.Bytes, &last
	case event.FileOffloaded:
		out.TotalBytes, out.Bytes = &e.Total, &e.Bytes
	case event.FileConflictDetected, event.FileConflictResolved:
		out.ConflictPath, out.Local, out.Remote = control.Path(e.OtherPath), sideOf(e.Local), sideOf(e.Remote)
	case event.FileMoved:
		out.OldPath = control.Path(e.OtherPath)
	case event.PinChanged:
		out.From, out.Pin = e.From, e.To
	case event.ConduitCreated, event.ConduitUpdated, event.ConduitDeleted:
		out.Policy = e.To
	case event.SyncProgress:
		out.Files, out.TotalFiles, out.Bytes, out.TotalBytes = &e.Files, &e.FilesTotal, &e.Bytes, &e.Total
		out.Rate, out.ETA = e.Rate, e.Rest.Seconds()
	case event.SyncCompleted:
		out.Files, out.Deleted, out.Conflicts, out.Errors, out.Bytes = &e.Files, &e.Deleted, &e.Conflicts, &e.Errors, &e.Bytes
	case event.SyncStateChanged:
		out.From, out.State, out.Message, out.Error = e.From, e.To, e.Error, "" // why it is so is no failure
	case event.VerificationComplete:
		out.Verification = e.To
	case event.ConnectivityChanged:
		out.Online = &e.Online
	case event.QueueStatusChanged:
		q := control.QueueCounts(*e.Queue)
		out.Queue = &q
	}
	return out
}

// sideOf is a version of a conflict; nil: nothing is known of it.
func sideOf(text string) *control.Side {
	if text == "" || text == "{}" {
		return nil
	}
	s, err := side(text)
	if err != nil {
		return nil // the record has it, as it is
	}
	return &s
}

// Metrics is what was done so far.
func (h eventHandler) Metrics(context.Context) (control.Metrics, error) { return h.metrics(), nil }

func (p *parts) metrics() control.Metrics {
	r := p.meter.Read()
	return control.Metrics{
		Since: p.since, Sums: sums(r.Total), Day: sums(r.Day),
		UpNow: r.UpNow, DownNow: r.DownNow, UpAverage: r.UpMean, DownAverage: r.DownMean,
	}
}

func sums(s metrics.Sums) control.Sums {
	return control.Sums{
		Syncs: s.Syncs, SyncSeconds: s.AverageSync().Seconds(), BytesUp: s.Up, BytesDown: s.Down, FilesSent: s.Sent, FilesFetched: s.Fetched,
		FilesOffloaded: s.Offloaded, BytesOffloaded: s.Freed, Conflicts: s.Conflicts, Resolved: s.Resolved, Errors: s.Errors,
	}
}

// Prometheus is all that can be measured. Its cost is that of a status.
func (h eventHandler) Prometheus(ctx context.Context) (string, error) {
	s, err := h.status(ctx)
	if err != nil {
		return "", err
	}
	var t metrics.Text
	r := h.meter.Read()
	t.Gauges("vdfs_build_info", "The version that runs.").Sample(1, metrics.Label{Name: "version", Value: h.version})
	t.Gauge("process_start_time_seconds", "When the daemon started, in seconds since 1970.", seconds(h.since))
	t.Gauge("process_resident_memory_bytes", "Memory of the daemon.", float64(s.Memory))
	counters(&t, r.Total)
	t.Gauge("vdfs_upload_bytes_per_second", "Bytes of files that went to endpoints, over the last ten seconds.", float64(r.UpNow))
	t.Gauge("vdfs_download_bytes_per_second", "Bytes of files that came from endpoints, over the last ten seconds.", float64(r.DownNow))
	const mean = "Likewise, over the seconds of the last 24 hours in which there were any."
	t.Gauge("vdfs_upload_average_bytes_per_second", mean, float64(r.UpMean))
	t.Gauge("vdfs_download_average_bytes_per_second", mean, float64(r.DownMean))
	t.Counter("vdfs_events_dropped_total", "Events that subscribers were too slow for.", float64(h.events.Lost()))
	t.Gauge("vdfs_event_subscribers", "Those who are told of events, the daemon's own included.", float64(h.events.Subscribers()))
	levels(&t, s)
	return t.String(), nil
}

// counters are what only grows.
func counters(t *metrics.Text, s metrics.Sums) {
	for _, c := range []struct {
		name, help string
		value      int64
	}{
		{"vdfs_uploaded_bytes_total", "Bytes of files that went to endpoints.", s.Up},
		{"vdfs_downloaded_bytes_total", "Bytes of files that came from endpoints.", s.Down},
		{"vdfs_uploaded_files_total", "Files that were sent, proved and recorded.", s.Sent},
		{"vdfs_downloaded_files_total", "Files that were fetched whole and verified.", s.Fetched},
		{"vdfs_offloaded_files_total", "Files whose bytes were dropped here.", s.Offloaded},
		{"vdfs_offloaded_bytes_total", "Bytes that were dropped here.", s.Freed},
		{"vdfs_conflicts_total", "Conflicts that arose.", s.Conflicts},
		{"vdfs_conflicts_resolved_total", "Conflicts that were settled, by themselves or by a person.", s.Resolved},
		{"vdfs_errors_total", "Changes that could not be synced, runs that failed, and corrupt files.", s.Errors},
		{"vdfs_corrupted_files_total", "Times that bytes of a file were not what they must be.", s.Corrupted},
		{"vdfs_disconnects_total", "Times that an endpoint went away.", s.Disconnects},
	} {
		t.Counter(c.name, c.help, float64(c.value))
	}
	t.Summary("vdfs_sync_duration_seconds", "Runs that did something, and how long they took.", s.SyncTime.Seconds(), s.Syncs)
}

// levels are what goes up and down.
func levels(t *metrics.Text, s control.Status) {
	queue := t.Gauges("vdfs_queue_items", "Changes that are still to be synced, by status.")
	for _, q := range []struct {
		status string
		n      int64
	}{
		{"new", s.Queue.New},
		{"validated", s.Queue.Validated},
		{"processing", s.Queue.Processing},
		{"conflicted", s.Queue.Conflicted},
		{"error", s.Queue.Error},
	} {
		queue.Sample(float64(q.n), metrics.Label{Name: "status", Value: q.status})
	}
	t.Gauge("vdfs_cache_bytes", "Bytes of files that are here.", float64(s.Cache.Bytes))
	t.Gauge("vdfs_cache_budget_bytes", "How many may be; 0: as many as there is room for.", float64(s.Cache.Budget))
	t.Gauge("vdfs_cache_pinned_bytes", "Those that are pinned.", float64(s.Cache.Pinned))
	t.Gauge("vdfs_cache_unsent_bytes", "Those that are not sent yet.", float64(s.Cache.Dirty))
	t.Gauge("vdfs_cache_free_bytes", "Room on the disk below.", float64(s.Cache.Free))
	t.Gauge("vdfs_index_bytes", "Size of the index.", float64(s.Cache.Index))
	t.Gauge("vdfs_nodes", "Files and directories in the index.", float64(s.Nodes))
	if len(s.Conduits) == 0 {
		return
	}
	online := t.Gauges("vdfs_endpoint_online", "1: the endpoint was there at the last look.")
	for _, c := range s.Conduits {
		for _, e := range c.Endpoints {
			online.Sample(flag(e.State != "offline"), conduitLabel(c), metrics.Label{Name: "endpoint", Value: e.Endpoint})
		}
	}
	conflicts := t.Gauges("vdfs_open_conflicts", "Conflicts that wait for somebody.")
	for _, c := range s.Conduits {
		conflicts.Sample(float64(c.Conflicts), conduitLabel(c))
	}
	var synced []control.ConduitStatus
	for _, c := range s.Conduits {
		if c.LastSync != nil {
			synced = append(synced, c)
		}
	}
	if len(synced) == 0 {
		return
	}
	last := t.Gauges("vdfs_last_sync_timestamp_seconds", "When a run last went well, in seconds since 1970.")
	for _, c := range synced {
		last.Sample(seconds(*c.LastSync), conduitLabel(c))
	}
}

func conduitLabel(c control.ConduitStatus) metrics.Label {
	return metrics.Label{Name: "conduit", Value: c.Name}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
