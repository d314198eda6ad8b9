package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"vdfs/cmd/control"
	"vdfs/syncer"
)

// Verify reads the copies of the files at or below the paths again, with no path of all.
func (h fileHandler) Verify(ctx context.Context, r control.VerifyRequest, report control.Report, item func(control.Finding) error) (control.Verification, error) {
	whole := len(r.Paths) == 0
	if whole {
		r.Paths = []control.Path{"/"}
	}
	h.awaitCloses(ctx)
	f, err := h.findAll(ctx, r.Paths)
	out := control.Verification{Trees: []control.TreeCheck{}, Refused: f.refused}
	if err != nil {
		return out, coded(err)
	}
	q := syncer.VerifyRequest{Repair: r.Repair}
	for _, p := range f.paths {
		q.Paths = append(q.Paths, cleaned(p))
	}
	var pace ticks
	did, err := h.engine.Verify(ctx, q, func(done, total int64) {
		if pace.due() || done == total {
			report(control.Progress{Done: done, Total: total, Bytes: true})
		}
	}, func(f syncer.Finding) error {
		return item(control.Finding{
			Path: control.Path(f.Path), Endpoint: f.Endpoint, Conduit: f.Conduit, State: f.State, Size: f.Size, Reason: f.Why, Remedy: f.Remedy,
		})
	})
	if did != nil {
		out.Files, out.Copies, out.Bytes = did.Files, did.Copies, did.Bytes
		out.Damaged, out.Repaired, out.Changed, out.Unreachable = did.Damaged, did.Repaired, did.Changed, did.Away
	}
	if err != nil || !whole && !slices.Contains(q.Paths, "/") {
		return out, coded(err)
	}
	trees, err := h.engine.VerifyTrees(ctx)
	for _, t := range trees {
		out.Trees = append(out.Trees, treeCheck(t))
	}
	return out, coded(err)
}

func treeCheck(t syncer.TreeCheck) control.TreeCheck {
	return control.TreeCheck{
		Endpoint: t.Endpoint, Conduit: t.Conduit, Checked: time.Unix(0, t.Checked).UTC(), Verified: when(t.Verified), Result: t.Result,
	}
}

// ticks lets pass what comes more often than progressTick.
type ticks struct {
	mu   sync.Mutex
	last time.Time
}

func (t *ticks) due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.last) < progressTick {
		return false
	}
	t.last = time.Now()
	return true
}

// damageMax is how many damaged copies one answer names.
const damageMax = 10_000

// Damage names the damaged copies that were found and are not repaired.
func (h fileHandler) Damage(context.Context) ([]control.Damage, error) {
	out := []control.Damage{}
	err := h.engine.Damages(func(d syncer.DamagedCopy) error {
		if len(out) < damageMax {
			out = append(out, control.Damage{
				Path: control.Path(d.Path), Endpoint: d.Endpoint, Conduit: d.Conduit, Reason: d.What, Found: time.Unix(0, d.Found).UTC(),
			})
		}
		return nil
	})
	return out, coded(err)
}
