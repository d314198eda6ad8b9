package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"vdfs/cache"
	"vdfs/cmd/control"
)

// History reads generations, the newest first.
func (h syncHandler) History(_ context.Context, r control.HistoryRequest) ([]control.Generation, error) {
	out := []control.Generation{}
	err := h.eachHistory(r, func(tx *cache.Tx, name string, f cache.GenerationFilter) error {
		list, err := tx.Generations(f)
		for _, g := range list {
			out = append(out, generation(name, g))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b control.Generation) int { return b.Started.Compare(a.Started) })
	if r.Limit > 0 {
		out = out[:min(len(out), r.Limit)]
	}
	return out, nil
}

// HistoryTotals adds generations up by conduit: the chosen ones, or, where no time is chosen, all and those of the last day.
func (h syncHandler) HistoryTotals(_ context.Context, r control.HistoryRequest) ([]control.HistoryTotals, error) {
	out := []control.HistoryTotals{}
	err := h.eachHistory(r, func(tx *cache.Tx, name string, f cache.GenerationFilter) error {
		periods := map[string]cache.GenerationFilter{"chosen": f}
		if r.Since == nil && r.Until == nil {
			day := f
			day.Since = h.clock().Add(-24 * time.Hour).UnixNano()
			periods = map[string]cache.GenerationFilter{"kept": f, "day": day}
		}
		for _, period := range []string{"chosen", "day", "kept"} {
			f, asked := periods[period]
			if !asked {
				continue
			}
			t, err := tx.SumGenerations(f)
			if err != nil {
				return err
			}
			out = append(out, historyTotals(name, period, t))
		}
		return nil
	})
	return out, err
}

// eachHistory calls do for the conduit of a request, or for each, with what it asks of it.
func (h syncHandler) eachHistory(r control.HistoryRequest, do func(tx *cache.Tx, name string, f cache.GenerationFilter) error) error {
	found := r.Conduit == ""
	f := cache.GenerationFilter{Failed: r.Failed, Limit: r.Limit}
	if r.Since != nil {
		f.Since = r.Since.UnixNano()
	}
	if r.Until != nil {
		f.Until = r.Until.UnixNano()
	}
	err := h.cache.Survey(func(tx *cache.Tx) error {
		conduits, err := tx.Conduits()
		if err != nil {
			return err
		}
		for _, c := range conduits {
			if r.Conduit != "" && c.Name != r.Conduit {
				continue
			}
			found = true
			f.Conduit = c.ID
			if err := do(tx, c.Name, f); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("read history: %w", err)
	case !found:
		return refuse(control.NotFound, "no conduit is called %q", r.Conduit)
	}
	return nil
}

func generation(conduit string, g cache.Generation) control.Generation {
	return control.Generation{
		Conduit: conduit, Generation: g.Number, Started: time.Unix(0, g.Started).UTC(), Completed: when(g.Completed),
		Copied: g.Copied, Deleted: g.Deleted, Conflicts: g.Conflicts, Bytes: g.Bytes, Errors: g.Errors, Verification: g.Verification,
	}
}

func historyTotals(conduit, period string, t cache.GenerationTotals) control.HistoryTotals {
	out := control.HistoryTotals{
		Conduit: conduit, Period: period, Since: when(t.First), Generations: t.Generations, Completed: t.Completed, Verified: t.Verified, Failed: t.Failed,
		Copied: t.Copied, Deleted: t.Deleted, Conflicts: t.Conflicts, Bytes: t.Bytes, Errors: t.Errors,
		LastCompleted: t.LastCompleted, LastVerified: t.LastVerified,
	}
	if t.Completed > 0 {
		out.AverageSeconds = time.Duration(t.Took / t.Completed).Seconds()
	}
	return out
}
