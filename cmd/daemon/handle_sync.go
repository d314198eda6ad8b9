package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"vdfs/cache"
	"vdfs/cmd/control"
	"vdfs/syncer"
)

const (
	pageSize     = 1000                   // rows of one answer
	progressTick = 250 * time.Millisecond // between two looks at the queue during a sync
)

// syncHandler is a control.SyncHandler.
type syncHandler struct{ *parts }

// Sync runs one cycle, or with Wait as many as it takes. While a person waits, the queue is their progress.
func (h syncHandler) Sync(ctx context.Context, r control.SyncRequest, report control.Report) (control.SyncResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.Wait {
		h.awaitCloses(ctx)
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		if r.Wait {
			h.reportQueue(ctx, r.Conduits, report)
		}
	}()
	result, err := h.engine.Sync(ctx, syncer.SyncRequest{
		Conduits: r.Conduits, Wait: r.Wait, Rescan: r.Rescan, AllowDeletes: r.AllowDeletes, Cancel: r.Cancel,
	})
	cancel()
	<-told
	if err != nil {
		return control.SyncResult{}, coded(err)
	}
	out := control.SyncResult{State: result.State, Blocked: []control.Refusal{}}
	if !r.Wait && result.State != syncer.SyncUnreachable && result.State != syncer.SyncHeld && result.State != syncer.SyncCancelled {
		// What is left after one cycle is not stuck: it goes on in the background.
		out.State = "started"
		return out, nil
	}
	for _, b := range result.Blocked {
		out.Blocked = append(out.Blocked, control.Refusal{Path: control.Path(b.Path), Conduit: b.Conduit, Code: control.Partly, Reason: b.Reason})
	}
	return out, nil
}

// reportQueue tells how much of the longest queue seen is done, and what the runs of the conduits are at, until ctx ends.
func (h syncHandler) reportQueue(ctx context.Context, conduits []string, report control.Report) {
	tick := time.NewTicker(progressTick)
	defer tick.Stop()
	var most int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var open int64
		err := h.cache.Survey(func(tx *cache.Tx) error {
			counts, err := tx.CountItems()
			for _, c := range counts {
				open += c.Count
			}
			return err
		})
		if err != nil {
			return // the cache is closing
		}
		run, err := h.engine.Progress(conduits)
		if err != nil {
			return
		}
		most = max(most, open)
		report(control.Progress{Done: most - open, Total: most, Run: runProgress(run)})
	}
}

// Queue reads a page of the open items.
func (h syncHandler) Queue(_ context.Context, stuck bool, after int64) ([]control.QueueItem, error) {
	out := []control.QueueItem{}
	err := h.cache.Survey(func(tx *cache.Tx) error {
		names, err := conduitNames(tx)
		if err != nil {
			return err
		}
		items, err := tx.ListItems(cache.ItemFilter{Errors: stuck, After: after, Limit: pageSize})
		if err != nil {
			return err
		}
		for _, it := range items {
			p, err := h.engine.ItemPath(tx, it)
			if err != nil {
				return err
			}
			q, err := h.queueItem(tx, it, names[it.Leg], p)
			if err != nil {
				return err
			}
			out = append(out, q)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	return out, nil
}

// queueItem is an item of a conduit as it is told, with its path.
func (p *parts) queueItem(tx *cache.Tx, it cache.Item, conduit, path string) (control.QueueItem, error) {
	q := control.QueueItem{
		ID: it.ID, Conduit: conduit, Path: control.Path(path), Origin: originWord(it.Origin), Operation: operationWord(it.Operation),
		Status: statusWord(it.Status), Attempts: it.Tries, Created: time.Unix(0, it.Created).UTC(),
	}
	var err error
	q.Error, err = p.engine.ItemReason(tx, it)
	q.Retryable = true
	if class, ok := syncer.ClassNamed(it.Cause); ok && it.Error != "" {
		q.Category, q.Condition, q.Retryable = string(class.Category), string(class.Condition), class.Retryable
	}
	if !it.Due(p.clock().UnixNano()) && it.Eligible != cache.Never {
		next := time.Unix(0, it.Eligible).UTC()
		q.Next = &next
	}
	return q, err
}

func originWord(o cache.Origin) string {
	if o == cache.OriginRemote {
		return "remote"
	}
	return "local"
}

func operationWord(o cache.Operation) string {
	return word(map[cache.Operation]string{
		cache.OpCreate: "create", cache.OpUpdate: "update", cache.OpDelete: "delete", cache.OpMove: "move",
	}, o)
}

func statusWord(s cache.ItemStatus) string {
	return word(map[cache.ItemStatus]string{
		cache.ItemNew: "new", cache.ItemValidated: "validated", cache.ItemProcessing: "processing",
		cache.ItemConflicted: "conflicted", cache.ItemError: "error", cache.ItemCompleted: "completed", cache.ItemCancelled: "cancelled",
	}, s)
}

// word is the word for a stored number; one of a newer version is shown as it is.
func word[K ~uint8](words map[K]string, k K) string {
	if w, ok := words[k]; ok {
		return w
	}
	return fmt.Sprint(uint8(k))
}

// conduitNames are the names of the conduits by leg.
func conduitNames(tx *cache.Tx) (map[cache.LegID]string, error) {
	conduits, err := tx.Conduits()
	if err != nil {
		return nil, err
	}
	byID := map[cache.ConduitID]string{}
	for _, c := range conduits {
		byID[c.ID] = c.Name
	}
	legs, err := tx.Legs()
	names := map[cache.LegID]string{}
	for _, l := range legs {
		names[l.ID] = byID[l.Conduit]
	}
	return names, err
}

// when is a stored time; 0 is none.
func when(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	t := time.Unix(0, ns).UTC()
	return &t
}

// Conflicts reads the open conflicts, or those one file is part of.
func (h syncHandler) Conflicts(ctx context.Context, p control.Path) ([]control.ConflictInfo, error) {
	out := []control.ConflictInfo{}
	var of cache.DentryID
	if p != "" {
		e, err := walker{h.cache, h.engine, h.wait}.find(ctx, p)
		if err != nil {
			return nil, coded(err)
		}
		of = e.ID
	}
	err := h.cache.Survey(func(tx *cache.Tx) error {
		var rows []cache.ConflictRow
		var err error
		if of != 0 {
			rows, err = tx.ConflictsOf(of)
		} else {
			rows, err = tx.Conflicts(cache.ConflictOpen, 0, pageSize)
		}
		for _, row := range rows {
			info, err := conflictInfo(tx, row)
			if err != nil {
				return err
			}
			out = append(out, info)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read conflicts: %w", err)
	}
	return out, nil
}

// conflictInfo shows where the two files are now; where one is gone, where it was.
func conflictInfo(tx *cache.Tx, row cache.ConflictRow) (control.ConflictInfo, error) {
	c := control.ConflictInfo{
		ID: row.ID, Path: control.Path(row.Path), ConflictPath: control.Path(row.ConflictPath),
		Type: row.Type, Strategy: row.Strategy, State: row.State,
	}
	condition, reason := syncer.ConflictReason(row.Type)
	c.Condition, c.Reason = string(condition), reason
	for _, f := range []struct {
		id   cache.DentryID
		path *control.Path
	}{{row.Dentry, &c.Path}, {row.Conflict, &c.ConflictPath}} {
		if f.id == 0 {
			continue
		}
		p, err := tx.Path(f.id)
		if err == nil {
			*f.path = control.Path(p)
		} else if !notFound(err) {
			return c, err
		}
	}
	var err error
	if c.Local, err = side(row.LocalInfo); err != nil {
		return c, err
	}
	c.Remote, err = side(row.RemoteInfo)
	return c, err
}

func side(text string) (control.Side, error) {
	var v syncer.VersionInfo
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return control.Side{}, fmt.Errorf("decode side of a conflict: %w", err)
	}
	return control.Side{Size: v.Size, Mtime: time.Unix(0, v.Mtime).UTC(), Device: v.Device, Hash: v.Hash}, nil
}

// Resolve decides a conflict.
func (h syncHandler) Resolve(ctx context.Context, r control.ResolveRequest) error {
	return coded(h.engine.ResolveConflict(ctx, string(r.Path), r.Keep, r.Merged))
}

// Pause stops uploads and prefetch.
func (h syncHandler) Pause(_ context.Context, r control.PauseRequest) error {
	if r.Seconds < 0 {
		return refuse(control.Usage, "a pause cannot be negative")
	}
	return coded(h.engine.Pause(time.Duration(r.Seconds) * time.Second))
}

// Resume ends a pause.
func (h syncHandler) Resume(context.Context) error { return coded(h.engine.Resume()) }
