package daemon

import (
	"context"
	"time"

	"vdfs/cache"
	"vdfs/cmd/control"
)

// Why tells for whom files were fetched and what they wait for. Those that cannot be found are refusals.
func (h fileHandler) Why(ctx context.Context, r control.Paths) (control.Whys, error) {
	out := control.Whys{Files: []control.Why{}, Refused: []control.Refusal{}}
	for _, p := range r.Paths {
		e, err := h.find(ctx, p)
		if err == nil {
			var why control.Why
			if why, err = h.why(e); err == nil {
				out.Files = append(out.Files, why)
				continue
			}
		}
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		out.Refused = append(out.Refused, refusal(p, err))
	}
	return out, nil
}

func (h fileHandler) why(e cache.Entry) (control.Why, error) {
	i, err := h.info(e)
	if err != nil {
		return control.Why{}, err
	}
	w, err := h.offload.Why(e.ID)
	if err != nil {
		return control.Why{}, err
	}
	out := control.Why{
		Path: i.Path, Kind: i.Kind, State: i.State, Residency: i.Residency, LocalBytes: i.LocalBytes, PinnedBy: control.Path(w.PinnedBy), Used: when(w.Used),
		Kept: []string{}, Copies: i.Copies, Waits: []control.QueueItem{}, Error: i.Error, Ignored: i.Ignored,
	}
	out.Kept = append(out.Kept, w.Kept...)
	if f := w.Fetched; f.At != 0 {
		out.Fetched = &control.Fetched{Program: f.Program, Kind: f.Kind, At: time.Unix(0, f.At).UTC()}
	}
	err = h.parts.cache.View(func(tx *cache.Tx) error {
		names, err := conduitNames(tx)
		if err != nil {
			return err
		}
		for _, it := range w.Items {
			q, err := h.queueItem(tx, it, names[it.Leg], string(i.Path))
			if err != nil {
				return err
			}
			out.Waits = append(out.Waits, q)
		}
		return nil
	})
	return out, err
}
