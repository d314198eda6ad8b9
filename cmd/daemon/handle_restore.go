package daemon

import (
	"context"
	"errors"
	"path"
	"time"

	"vdfs/cache"
	"vdfs/cmd/control"
	"vdfs/syncer"
)

// Versions finds what a path can have again.
func (h fileHandler) Versions(ctx context.Context, r control.VersionsRequest) (control.Versions, error) {
	out := control.Versions{Versions: []control.Version{}, Away: []control.Refusal{}}
	h.awaitCloses(ctx)
	found, err := h.engine.Versions(ctx, cleaned(r.Path))
	if err != nil {
		return out, coded(err)
	}
	out.Dir = found.Dir
	for i, c := range found.Choices {
		v := version(c.Version)
		v.Version, v.Files, v.Since = i+1, int64(c.Files), time.Unix(0, c.Since).UTC()
		out.Versions = append(out.Versions, v)
	}
	for _, a := range found.Away {
		e := control.AsError(coded(a.Err))
		out.Away = append(out.Away, control.Refusal{Path: control.Path(a.Endpoint), Conduit: a.Conduit, Code: e.Code, Reason: e.Message})
	}
	return out, nil
}

// cleaned is a path without what means nothing in it.
func cleaned(p control.Path) string { return path.Join("/", string(p)) }

func version(v syncer.Version) control.Version {
	return control.Version{
		Path: control.Path(v.Path), Kind: kindWord(v.Kind), Files: 1, Size: v.Size, Mtime: when(v.Mtime), When: time.Unix(0, v.When).UTC(),
		Since: time.Unix(0, v.When).UTC(), Why: v.Why, Conduit: v.Conduit, From: v.From, Hash: hashText(v.Hash),
	}
}

// Restore gives a path a version that it had.
func (h fileHandler) Restore(ctx context.Context, r control.RestoreRequest, report control.Report) (control.RestoreResult, error) {
	out := control.RestoreResult{Refused: []control.Refusal{}}
	q := syncer.RestoreRequest{Path: cleaned(r.Path), Version: r.Version}
	switch {
	case r.Version < 0, r.Version > 0 && r.At != nil:
		return out, refuse(control.Usage, "choose a version from 1 on, or a time")
	}
	if r.At != nil {
		q.At = r.At.UnixNano()
	}
	if r.To != "" {
		q.To = cleaned(r.To)
	}
	h.awaitCloses(ctx)
	did, err := h.engine.Restore(ctx, q, func(done, total int64) {
		report(control.Progress{Done: done, Total: total, Bytes: true})
	})
	if err != nil {
		return out, coded(err)
	}
	out.Version, out.Files, out.Bytes, out.Same = version(did.Version), did.Files, did.Bytes, did.Same
	for _, f := range did.Failed {
		one := refusal(control.Path(f.Path), f.Err)
		if errors.Is(f.Err, cache.ErrExists) {
			one.Reason = "something has its name again"
		}
		out.Refused = append(out.Refused, one)
	}
	return out, nil
}

// Releases reads the audit log, the oldest line first.
func (h syncHandler) Releases(ctx context.Context, r control.ReleasesRequest, item func(control.Release) error) (control.None, error) {
	found := r.Conduit == ""
	for after := int64(0); ; {
		var rows []cache.Release
		err := h.cache.View(func(tx *cache.Tx) (err error) {
			rows, err = tx.Releases(after, pageSize)
			return err
		})
		if err != nil {
			return control.None{}, err
		}
		for _, row := range rows {
			after = row.ID
			if r.Conduit != "" && row.Conduit != r.Conduit {
				continue
			}
			found = true
			err := item(control.Release{
				At: time.Unix(0, row.At).UTC(), Conduit: row.Conduit, Path: control.Path(row.Path), Kind: kindWord(row.Kind), Size: row.Size,
				Hash: hashText(row.Hash), Source: row.Source, Destination: row.Destination,
			})
			if err != nil {
				return control.None{}, err
			}
		}
		if len(rows) < pageSize {
			break
		}
	}
	if found {
		return control.None{}, nil
	}
	_, err := h.History(ctx, control.HistoryRequest{Conduit: r.Conduit, Limit: 1}) // a conduit that is there has released nothing
	return control.None{}, err
}
