package daemon

import (
	"context"
	"errors"
	"log/slog"

	"vdfs/offload"
	"vdfs/syncer"
)

// offloadClasses are the classes of what package offload says in its own words. What it only passes on is the syncer's to tell.
var offloadClasses = []struct {
	err   error
	class syncer.Class
}{
	{offload.ErrUnreachable, syncer.Class{Cause: "unreachable", Category: syncer.Network, Condition: syncer.NetworkError, Retryable: true}},
	{offload.ErrStalled, syncer.Class{Cause: "stalled", Category: syncer.Network, Condition: syncer.NetworkError, Retryable: true}},
	{offload.ErrMismatch, syncer.Class{Cause: "mismatch", Category: syncer.Data, Condition: syncer.DataMismatch}},
	{offload.ErrOvertaken, syncer.Class{Cause: "overtaken", Category: syncer.Data, Retryable: true}},
	{offload.ErrHeadOnly, syncer.Class{Cause: "head-only", Category: syncer.FileSystem, Condition: syncer.PermissionDenied}},
}

// classOf is the class of an error of any part.
func classOf(err error) syncer.Class {
	for _, c := range offloadClasses {
		if errors.Is(err, c.err) {
			return c.class
		}
	}
	var full *offload.SpaceError
	if errors.As(err, &full) {
		return syncer.Class{Cause: "no-space", Category: syncer.FileSystem, Condition: syncer.DiskFull}
	}
	return syncer.ClassOf(err)
}

// classified is a log that adds to every error what class it is of.
type classified struct{ slog.Handler }

// Handle implements slog.Handler.
func (h classified) Handle(ctx context.Context, r slog.Record) error {
	var err error
	r.Attrs(func(a slog.Attr) bool {
		e, ok := a.Value.Any().(error)
		if ok {
			err = e
		}
		return !ok
	})
	if err != nil {
		c := classOf(err)
		r = r.Clone()
		r.AddAttrs(slog.String("category", string(c.Category)), slog.Bool("retryable", c.Retryable))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h classified) WithAttrs(attrs []slog.Attr) slog.Handler {
	return classified{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h classified) WithGroup(name string) slog.Handler { return classified{h.Handler.WithGroup(name)} }
