package daemon

import (
	"context"
	"time"

	"vdfs/cache"
	"vdfs/cmd/control"
	"vdfs/offload"
	"vdfs/syncer/remote"
)

// listPage is how many entries one answer of List holds.
const listPage = 1000

// fileHandler is a control.FileHandler.
type fileHandler struct {
	*parts
	walker
	d *daemon
}

// Info tells everything about files. Those that cannot be found are refusals.
func (h fileHandler) Info(ctx context.Context, r control.Paths) (control.Infos, error) {
	out := control.Infos{Files: []control.Info{}, Refused: []control.Refusal{}}
	for _, p := range r.Paths {
		e, err := h.find(ctx, p)
		if err == nil {
			var info control.Info
			if info, err = h.info(e); err == nil {
				out.Files = append(out.Files, info)
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

// info gathers the axes of one file.
func (h fileHandler) info(e cache.Entry) (control.Info, error) {
	n := e.Node
	st, err := h.offload.Describe(e.ID)
	if err != nil {
		return control.Info{}, err
	}
	i := control.Info{
		Kind: kindWord(n.Kind), Ino: uint64(n.Ino), Size: n.Size, Mtime: time.Unix(0, n.Mtime).UTC(),
		State: st.Word(), Residency: residencyWord(st.Residency), LocalBytes: st.LocalBytes, Sync: syncWord(st.Axes),
		Hash: hashText(n.Hash), Version: n.Version, Conduits: []string{}, Copies: []control.Copy{},
		OpenHandles: st.Use.Readers + st.Use.Writers, Error: st.Error,
	}
	err = h.parts.cache.View(func(tx *cache.Tx) error {
		if st.Sync == offload.LocalOnly {
			by, yes, err := h.parts.engine.Ignored(tx, e.ID)
			if err != nil {
				return err
			}
			if yes {
				i.Ignored = &control.Ignored{Source: by.Source, Line: by.Line, Pattern: by.Pattern}
			}
		}
		return describeEntry(tx, e, &i)
	})
	return i, err
}

// describeEntry fills in what the tables say about a name: its path, intent, conduits and copies.
func describeEntry(tx *cache.Tx, e cache.Entry, i *control.Info) error {
	p, err := tx.Path(e.ID)
	if err != nil {
		return err
	}
	i.Path = control.Path(p)
	intent, from, err := tx.EffectiveIntent(e.ID)
	if err != nil {
		return err
	}
	i.Pin, i.PinFrom = intentWord(intent), "default"
	if from != 0 {
		if p, err = tx.Path(from); err != nil {
			return err
		}
		i.PinFrom, i.PinPath = "inherited", control.Path(p)
	}
	if from == e.ID {
		i.PinFrom = "self"
	}
	return describeCopies(tx, e, i)
}

// describeCopies names the conduits of a file's place and the endpoints that proved to store its present version.
func describeCopies(tx *cache.Tx, e cache.Entry, i *control.Info) error {
	place, err := tx.PlaceOf(e.ID)
	if err != nil || place == 0 {
		return err
	}
	names, err := conduitNames(tx)
	if err != nil {
		return err
	}
	legs, err := tx.LegsOf(place)
	if err != nil {
		return err
	}
	for _, l := range legs {
		i.Conduits = append(i.Conduits, names[l.ID])
		b, ok, err := tx.BindingOfDentry(l.ID, e.ID)
		if err != nil {
			return err
		}
		if ok && b.LocalVersion == e.Node.Version && remote.Proof(b.Proof) >= remote.ProofStrong {
			i.Copies = append(i.Copies, control.Copy{Endpoint: l.Endpoint, Verified: when(b.Verified)})
		}
	}
	return nil
}

// residencyWord is how much of a node is here.
func residencyWord(r cache.Residency) string {
	switch r {
	case cache.None:
		return "none"
	case cache.Partial:
		return "partial"
	}
	return "full"
}

// syncWord is how far a file agrees with its endpoints.
func syncWord(a offload.Axes) string {
	switch {
	case a.Sync == offload.Conflicted:
		return "conflict"
	case a.Sync == offload.Failed:
		return "error"
	case a.Activity == offload.Uploading:
		return "uploading"
	case a.Sync == offload.Pending:
		return "pending"
	case a.Sync == offload.LocalOnly:
		return "local-only"
	}
	return "synced"
}

// List reads one page of a directory; of anything else, the thing itself.
func (h fileHandler) List(ctx context.Context, r control.ListRequest) (control.Listing, error) {
	e, err := h.find(ctx, r.Path)
	if err != nil {
		return control.Listing{}, located(r.Path, err)
	}
	out := control.Listing{Dir: e.Node.Kind == cache.Dir, Entries: []control.ListEntry{}}
	entries := []cache.Entry{e}
	if out.Dir {
		if entries, err = h.page(ctx, e.Ino, cache.DentryID(r.After), listPage); err != nil {
			return control.Listing{}, located(r.Path, err)
		}
		if len(entries) == listPage {
			out.Next = int64(entries[listPage-1].ID)
		}
	}
	for _, e := range entries {
		st, err := h.offload.Describe(e.ID)
		if notFound(err) {
			continue // it went meanwhile
		}
		if err != nil {
			return control.Listing{}, err
		}
		out.Entries = append(out.Entries, listEntry(e, st.Word()))
	}
	return out, nil
}

// located says which path an error is about.
func located(p control.Path, err error) error {
	r := refusal(p, err)
	return &control.Error{Code: r.Code, Message: string(p) + ": " + r.Reason}
}

func listEntry(e cache.Entry, state string) control.ListEntry {
	n := e.Node
	return control.ListEntry{
		Name: control.Path(e.Name), Kind: exactKind(n.Kind), Mode: n.Mode, Nlink: n.Nlink, UID: n.UID, GID: n.GID,
		Size: n.Size, Mtime: time.Unix(0, n.Mtime).UTC(), Target: control.Path(n.Target), State: state,
	}
}

// exactKind tells the special files apart.
func exactKind(k cache.Kind) string {
	switch k {
	case cache.Fifo:
		return "fifo"
	case cache.Socket:
		return "socket"
	case cache.CharDevice:
		return "char"
	case cache.BlockDevice:
		return "block"
	}
	return kindWord(k)
}
