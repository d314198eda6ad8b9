package daemon

import (
	"context"
	"errors"
	"fmt"

	"vdfs/cache"
	"vdfs/cmd/control"
	"vdfs/offload"
	"vdfs/syncer"
)

// found are the paths of a request that name something, and those that do not.
type found struct {
	ids     []cache.DentryID
	paths   []control.Path
	refused []control.Refusal
}

// findAll looks every path up; only the end of the client is an error.
func (h fileHandler) findAll(ctx context.Context, paths []control.Path) (found, error) {
	f := found{refused: []control.Refusal{}}
	for _, p := range paths {
		e, err := h.find(ctx, p)
		if ctx.Err() != nil {
			return f, ctx.Err()
		}
		if err != nil {
			f.refused = append(f.refused, refusal(p, err))
			continue
		}
		f.ids, f.paths = append(f.ids, e.ID), append(f.paths, p)
	}
	return f, nil
}

// Pin keeps what is at or below the paths here.
func (h fileHandler) Pin(ctx context.Context, r control.PathsRequest, report control.Report) (control.PathsResult, error) {
	return h.bring(ctx, r, report, wish{h.offload.Pin, h.offload.MissingForPin, h.offload.WaitForPin})
}

// Fetch downloads what is at or below the paths, once.
func (h fileHandler) Fetch(ctx context.Context, r control.PathsRequest, report control.Report) (control.PathsResult, error) {
	return h.bring(ctx, r, report, wish{h.offload.Fetch, h.offload.Missing, h.offload.Wait})
}

// wish is a way to have bytes here: how to queue them, to count what is missing, and to wait for it.
type wish struct {
	queue   func(context.Context, ...cache.DentryID) error
	missing func(context.Context, ...cache.DentryID) (offload.Missing, error)
	wait    func(context.Context, func(offload.Missing), ...cache.DentryID) error
}

// bring queues what is missing and, if wanted, waits for it. The result says how much that was.
func (h fileHandler) bring(ctx context.Context, r control.PathsRequest, report control.Report, w wish) (control.PathsResult, error) {
	f, err := h.findAll(ctx, r.Paths)
	out := control.PathsResult{Refused: f.refused}
	if err != nil || len(f.ids) == 0 {
		return out, err
	}
	for _, id := range f.ids {
		if err := h.listBelow(ctx, id); err != nil {
			return out, coded(err)
		}
	}
	before, err := w.missing(ctx, f.ids...)
	if err == nil {
		err = w.queue(ctx, f.ids...)
	}
	if err != nil {
		return out, coded(err)
	}
	out.Files, out.Bytes, out.Paths = int64(before.Files), before.Bytes, int64(len(f.ids))
	if !r.Wait {
		return out, nil
	}
	return out, coded(h.await(ctx, f.ids, report, w))
}

// listBelow looks into every directory at or below a dentry that nobody looked into yet: only what is listed can be fetched.
func (h fileHandler) listBelow(ctx context.Context, id cache.DentryID) error {
	var e cache.Entry
	err := h.parts.cache.View(func(tx *cache.Tx) (err error) {
		e, err = tx.Entry(id)
		return err
	})
	if err != nil || e.Node.Kind != cache.Dir {
		return err
	}
	return h.listTree(ctx, e.Ino)
}

func (h fileHandler) listTree(ctx context.Context, dir cache.Ino) error {
	for after := cache.DentryID(0); ; {
		entries, err := h.page(ctx, dir, after, listPage)
		if notFound(err) {
			return nil // it went meanwhile
		}
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			after = e.ID
			if e.Node.Kind != cache.Dir || e.Hidden() {
				continue
			}
			if err := h.listTree(ctx, e.Ino); err != nil {
				return err
			}
		}
	}
}

// await returns when nothing is missing. Where its endpoint is away, or no byte
// came for as long as a read would wait, it gives up: the rest stays queued.
func (h fileHandler) await(ctx context.Context, ids []cache.DentryID, report control.Report, w wish) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var most, least int64 = 0, -1
	moved := h.clock()
	err := w.wait(ctx, func(left offload.Missing) {
		most = max(most, left.Bytes)
		report(control.Progress{Done: most - left.Bytes, Total: most, Bytes: true})
		if left.Bytes != least {
			least, moved = left.Bytes, h.clock()
		}
		if left.Error != "" && (h.anyOffline() || h.clock().Sub(moved) > h.parts.wait) {
			stop(refuse(control.Unreachable, "%s still to come, they stay queued: %s", count(left.Files, "file"), left.Error))
		}
	}, ids...)
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

// anyOffline reports whether a conduit's endpoint is away.
func (h fileHandler) anyOffline() bool {
	all, err := h.engine.Status()
	if err != nil {
		return false // the next look decides
	}
	for _, c := range all {
		for _, l := range c.Legs {
			if l.State == syncer.StateOffline {
				return true
			}
		}
	}
	return false
}

// Unpin takes the paths' own wishes away.
func (h fileHandler) Unpin(ctx context.Context, r control.PathsRequest, _ control.Report) (control.PathsResult, error) {
	f, err := h.findAll(ctx, r.Paths)
	out := control.PathsResult{Refused: f.refused}
	if err != nil || len(f.ids) == 0 {
		return out, err
	}
	if err := h.offload.Unpin(ctx, f.ids...); err != nil {
		return out, coded(err)
	}
	out.Paths = int64(len(f.ids))
	return out, nil
}

// Online has what is at or below the paths dropped when nobody uses it, and at once what may go now.
func (h fileHandler) Online(ctx context.Context, r control.PathsRequest, report control.Report) (control.PathsResult, error) {
	return h.release(ctx, r, report, h.offload.Online)
}

// Exclude has what is at or below the paths kept at its endpoint and not shown here. What is not there wholly is refused.
func (h fileHandler) Exclude(ctx context.Context, r control.PathsRequest, report control.Report) (control.PathsResult, error) {
	return h.release(ctx, r, report, h.offload.Exclude)
}

// release gives paths a wish by which their bytes are to go. The result says what went; what has to stay for now is counted.
func (h fileHandler) release(ctx context.Context, r control.PathsRequest, report control.Report,
	wish func(context.Context, cache.DentryID) (*offload.Report, error),
) (control.PathsResult, error) {
	h.awaitCloses(ctx)
	f, err := h.findAll(ctx, r.Paths)
	out := control.PathsResult{Refused: f.refused}
	if err != nil {
		return out, err
	}
	for i, id := range f.ids {
		did, err := wish(ctx, id)
		if refused, ok := keptHere(f.paths[i], err); ok {
			out.Refused = append(out.Refused, refused)
			continue
		}
		if err != nil {
			return out, coded(err)
		}
		out.Paths++
		out.Files += int64(did.Files)
		out.Bytes += did.Freed
		out.Kept += int64(len(did.Skipped) + did.Omitted)
		report(control.Progress{Done: int64(i + 1), Total: int64(len(f.ids))})
	}
	return out, nil
}

// keptHere is the refusal of a path that cannot be hidden, because of itself or of something below.
func keptHere(p control.Path, err error) (control.Refusal, bool) {
	var kept *offload.KeptError
	switch {
	case errors.As(err, &kept):
		return control.Refusal{Path: control.Path(kept.Path), Code: control.Partly, Reason: kept.Reason}, true
	case errors.Is(err, cache.ErrBusy):
		return control.Refusal{Path: p, Code: control.Partly, Reason: "is the directory of a conduit"}, true
	}
	return control.Refusal{}, false
}

// Offload frees what may go at or below the paths; what must stay is named with its reason.
func (h fileHandler) Offload(ctx context.Context, r control.PathsRequest, report control.Report) (control.PathsResult, error) {
	f, err := h.findAll(ctx, r.Paths)
	out := control.PathsResult{Refused: f.refused}
	if err != nil {
		return out, err
	}
	h.awaitCloses(ctx)
	for i, id := range f.ids {
		did, err := h.offload.Offload(ctx, id, offload.OffloadOptions{IncludePinned: r.IncludePinned, DryRun: r.DryRun})
		out.Files += int64(did.Files)
		out.Bytes += did.Freed
		out.Paths++
		out.Refused = append(out.Refused, refusals(f.paths[i], did.Skips, "are kept")...)
		if err != nil {
			return out, coded(err)
		}
		report(control.Progress{Done: int64(i + 1), Total: int64(len(f.ids))})
	}
	return out, nil
}

// refusals names the files at or below a path that were left as they are; rest says what became of those that are not named.
func refusals(at control.Path, left offload.Skips, rest string) []control.Refusal {
	all := []control.Refusal{}
	for _, s := range left.Skipped {
		all = append(all, control.Refusal{Path: control.Path(s.Path), Code: control.Partly, Reason: s.Reason})
	}
	if left.Omitted > 0 {
		all = append(all, control.Refusal{Path: at, Code: control.Partly, Reason: fmt.Sprintf("%d more files below it %s", left.Omitted, rest)})
	}
	return all
}
