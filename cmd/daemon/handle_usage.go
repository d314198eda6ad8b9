package daemon

import (
	"context"

	"vdfs/cache"
	"vdfs/cmd/control"
	"vdfs/offload"
	"vdfs/syncer/remote"
)

// DiskUse counts what is here at or below the paths; with no path, of the whole drive.
func (h fileHandler) DiskUse(ctx context.Context, r control.Paths) (control.DiskUses, error) {
	out := control.DiskUses{Usage: []control.DiskUse{}, Refused: []control.Refusal{}}
	h.awaitCloses(ctx)
	if len(r.Paths) == 0 {
		all, err := h.wholeUse(ctx)
		if err == nil {
			out.Kept, err = h.storageTrash(ctx)
		}
		for _, k := range out.Kept {
			all.There += k.Bytes
		}
		out.Usage = append(out.Usage, all)
		return out, coded(err)
	}
	f, err := h.findAll(ctx, r.Paths)
	out.Refused = f.refused
	for i, id := range f.ids {
		if err != nil {
			break
		}
		var u offload.Usage
		if u, err = h.offload.Usage(ctx, id); err == nil {
			out.Usage = append(out.Usage, diskUse(f.paths[i], u))
		}
	}
	return out, coded(err)
}

func diskUse(p control.Path, u offload.Usage) control.DiskUse {
	return control.DiskUse{Path: p, Files: u.Files, Pinned: u.Pinned, Cached: u.Cached, Partial: u.Partial, Dirty: u.Dirty, Total: u.Bytes()}
}

// wholeUse adds what is below no path.
func (h fileHandler) wholeUse(ctx context.Context) (control.DiskUse, error) {
	u, err := h.offload.Usage(ctx, cache.RootDentry)
	if err != nil {
		return control.DiskUse{}, err
	}
	all := diskUse("/", u)
	err = h.parts.cache.Survey(func(tx *cache.Tx) (err error) {
		all.Trash, err = tx.TrashBytes()
		return err
	})
	if err != nil {
		return all, err
	}
	stats, err := h.parts.cache.Stats()
	all.Other = max(0, stats.ContentBytes-all.Total-all.Trash)
	all.Total += all.Trash + all.Other
	return all, err
}

// storageTrash is what the storages have in their trash.
func (h fileHandler) storageTrash(ctx context.Context) (out []control.StorageTrash, err error) {
	all, err := h.parts.engine.TrashUses(ctx)
	for _, u := range all {
		kept := control.StorageTrash{Conduit: u.Conduit, Endpoint: u.Endpoint, Files: u.Files, Bytes: u.Bytes}
		if u.Err != nil {
			kept.Unknown = u.Err.Error()
		}
		out = append(out, kept)
	}
	return out, err
}

// Pins tells the intents that somebody set.
func (h fileHandler) Pins(ctx context.Context, _ control.None, item func(control.PinInfo) error) (control.None, error) {
	return control.None{}, coded(h.offload.Wishes(ctx, func(w offload.Wish) error {
		return item(control.PinInfo{
			Path: control.Path(w.Path), Kind: kindWord(w.Kind), Pin: intentWord(w.Intent), Files: w.Files, Here: w.Here, Missing: w.Missing,
		})
	}))
}

// Redundancy counts the copies of the files at or below the paths, with no path of all; it tells those at risk, or every one.
func (h fileHandler) Redundancy(ctx context.Context, r control.RedundancyRequest, item func(control.FileCopies) error) (control.Redundancy, error) {
	if len(r.Paths) == 0 {
		r.Paths = []control.Path{"/"}
	}
	h.awaitCloses(ctx)
	f, err := h.findAll(ctx, r.Paths)
	sum := control.Redundancy{Refused: f.refused, By: []int64{}}
	if r.Min < 0 {
		return sum, refuse(control.Usage, "--min counts copies, and cannot be negative")
	}
	if r.Min == 0 {
		r.Min = 2
	}
	most := r.Min - 1
	if r.All {
		most = -1
	}
	for _, id := range f.ids {
		if err != nil {
			break
		}
		var checked []int64
		checked, err = h.offload.Copies(ctx, id, int(remote.ProofStrong), most, func(c offload.Copies) error {
			if c.Count() < r.Min {
				sum.AtRisk++
				sum.Bytes += c.Size
			}
			out := control.FileCopies{Path: control.Path(c.Path), Size: c.Size, Copies: c.Count(), Proved: c.Proved, Here: c.Here, Endpoints: []string{}}
			if c.Proved > 0 {
				err := h.parts.cache.View(func(tx *cache.Tx) (err error) {
					out.Endpoints, err = tx.ProvedAt(c.Ino, int(remote.ProofStrong))
					return err
				})
				if err != nil {
					return err
				}
			}
			return item(out)
		})
		for copies, files := range checked {
			for len(sum.By) <= copies {
				sum.By = append(sum.By, 0)
			}
			sum.By[copies] += files
			sum.Files += files
		}
	}
	return sum, coded(err)
}
