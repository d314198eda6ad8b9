package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"vdfs/cache"
	"vdfs/cmd/control"
	fuse "vdfs/fs"
	"vdfs/syncer"
)

// handlers is what the control socket serves.
func (d *daemon) handlers() control.Handlers {
	return control.Handlers{
		Drive:    driveHandler{d},
		Files:    fileHandler{d.parts, walker{d.parts.cache, d.parts.engine, d.parts.wait}, d},
		Sync:     syncHandler{d.parts},
		Conduits: conduitHandler{d},
		Events:   eventHandler{d.parts, d.plan.Version},
	}
}

// driveHandler is a control.DriveHandler.
type driveHandler struct{ d *daemon }

// Drive says who is there.
func (h driveHandler) Drive(context.Context) (control.Drive, error) { return h.d.who(), nil }

// Status gathers the state of everything. Its cost grows with the queue and what is pinned, not with the drive.
func (h driveHandler) Status(ctx context.Context) (control.Status, error) {
	s, err := h.d.parts.status(ctx)
	s.Version, s.Drive, s.Mountpoint = h.d.plan.Version, filepath.Base(h.d.plan.mountpoint), control.Path(h.d.plan.mountpoint)
	s.Tasks = taskStatus(h.d.tasks.Metrics())
	return s, err
}

// status is all of it but for what the drive is called.
func (p *parts) status(context.Context) (control.Status, error) {
	conduits, notes, err := p.conduits()
	if err != nil {
		return control.Status{}, err
	}
	stats, err := p.cache.Stats()
	if err != nil {
		return control.Status{}, err
	}
	s := control.Status{
		Metrics: p.metrics(), Conduits: conduits, State: driveState(conduits, p.engine.Paused()), Nodes: stats.Nodes, Notes: append(notes, p.readers.Notes()...),
		Cache: control.CacheStatus{
			Bytes: stats.ContentBytes, Budget: p.offload.Budget(), Free: stats.DiskAvailable, Index: stats.IndexBytes,
		},
	}
	err = p.cache.Survey(func(tx *cache.Tx) (err error) {
		damaged, err := tx.CountDamage()
		if err != nil {
			return err
		}
		if n := damaged[0]; n > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("of %d files what is on this machine is damaged; `vdfs errors` names them, `vdfs verify --repair` repairs them", n))
			if s.State == "idle" || s.State == "syncing" {
				s.State = "attention"
			}
		}
		if s.Cache.Dirty, err = tx.DirtyBytes(); err != nil {
			return err
		}
		if s.Cache.Pinned, err = tx.PinnedBytes(); err != nil {
			return err
		}
		counts, err := tx.CountItems()
		s.Queue = control.QueueCounts(syncer.QueueOf(counts))
		return err
	})
	if err != nil {
		return control.Status{}, err
	}
	s.Memory, err = residentMemory()
	return s, err
}

// driveState is the one word for the whole drive: the worst of its conduits, unless a person paused everything.
func driveState(conduits []control.ConduitStatus, paused bool) string {
	if paused {
		return "paused"
	}
	for _, state := range []string{"error", "offline", "attention", "syncing"} {
		for _, c := range conduits {
			if c.State == state {
				return state
			}
		}
	}
	return "idle"
}

// residentMemory is what the kernel charges this process with, in bytes.
func residentMemory() (int64, error) {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("read memory use: %w", err)
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0, fmt.Errorf("read memory use: %q", data)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read memory use: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// Doctor looks for what must not be, in the index and in the content.
func (h driveHandler) Doctor(ctx context.Context) (control.Problems, error) {
	found, err := h.d.parts.cache.Check(ctx)
	return Problems(found), err
}

// Problems are the cache's findings as the protocol has them.
func Problems(found []cache.Problem) control.Problems {
	out := control.Problems{Problems: []control.Problem{}}
	for _, p := range found {
		repair := ""
		if p.Mendable {
			repair = "vdfs doctor --repair mends it"
		}
		out.Problems = append(out.Problems, control.Problem{What: p.String(), Repair: repair})
	}
	return out
}

// Unmount ends the mount, and with it the daemon; that follows once this is answered.
func (h driveHandler) Unmount(ctx context.Context, r control.UnmountRequest) (control.UnmountResult, error) {
	if r.Wait {
		if err := h.sendAll(ctx); err != nil {
			return control.UnmountResult{}, err
		}
	}
	err := h.detach(ctx, r.Lazy)
	if err == nil && r.Lazy {
		h.d.detached.Store(true)
	}
	if !errors.Is(err, fuse.ErrInUse) {
		return h.left(), err
	}
	by := "a program of another user, or a mount below it"
	if found := h.d.holders(); len(found) > 0 {
		by = describe(found)
	}
	return control.UnmountResult{}, refuse(control.Failed, "%s is in use by %s; close it, or use --lazy", h.d.plan.mountpoint, by)
}

// left is what an unmount leaves to be sent. It is told, not more: that it cannot be counted holds up nobody.
func (h driveHandler) left() (r control.UnmountResult) {
	var err error
	if r.Pending, err = h.d.parts.pending(); err != nil {
		h.d.log.Warn("count what is not sent", "error", err)
	}
	return r
}

// busyGrace is how long a mount may be in use before an unmount is refused: files that were just closed, by the last
// command of a script or a process that is ending, the kernel lets go of a little later.
const busyGrace, busyPause = time.Second, 20 * time.Millisecond

// detach unmounts.
func (h driveHandler) detach(ctx context.Context, lazy bool) error {
	for end := time.Now().Add(busyGrace); ; {
		err := h.d.server.Unmount(lazy)
		if !errors.Is(err, fuse.ErrInUse) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(busyPause):
		}
	}
}

// sendAll is the end of `unmount --wait`: nothing is unmounted while something could not be sent.
func (h driveHandler) sendAll(ctx context.Context) error {
	h.d.parts.awaitCloses(ctx)
	result, err := h.d.parts.engine.Sync(ctx, syncer.SyncRequest{Wait: true})
	if err != nil {
		return coded(fmt.Errorf("not unmounted: %w", err))
	}
	switch result.State {
	case syncer.SyncDone, syncer.SyncConflicts:
		return nil
	case syncer.SyncUnreachable:
		return refuse(control.Unreachable, "not unmounted: an endpoint is unreachable, not everything is sent")
	}
	return refuse(control.Partly, "not unmounted: %d changes cannot be sent (see vdfs errors)", len(result.Blocked))
}
