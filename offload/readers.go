package offload

import (
	"context"
	"fmt"
	"math"

	"vdfs/cache"
	"vdfs/offload/caller"
)

// headSize is how much of a file that is not here a program may cause to come that no person wants it for: what it takes
// to tell what is in it. A file that is no larger is simply fetched.
const headSize = 64 << 10

// Readers brings bytes here for programs, as far as each of them may cause it. It is what the mount asks, and only when
// bytes are missing. Programs are told apart by their process id; nobody knows the one with 0, who may do everything.
type Readers struct {
	m       *Manager
	callers *caller.Table
	spree   sprees
}

// NewReaders makes the Readers of a drive.
func NewReaders(m *Manager, callers *caller.Table) *Readers {
	return &Readers{m: m, callers: callers}
}

// Prepare is Hydrator.Prepare: whoever opens a file has not read it yet.
func (r *Readers) Prepare(ino cache.Ino) error { return r.m.Prepare(ino) }

// Ensure is Hydrator.Ensure for a process. To one that is limited everything that is not in the head is ErrHeadOnly.
func (r *Readers) Ensure(ctx context.Context, pid uint32, ino cache.Ino, off, n int64) error {
	who := r.callers.Of(pid)
	return r.bring(ctx, who, ino, cache.Range{Off: off, Len: n}, func(f *file) error {
		if who.Limited() {
			return f.head(ctx)
		}
		return f.ensure(ctx, off, n)
	})
}

// Complete is Hydrator.Complete for a process.
func (r *Readers) Complete(ctx context.Context, pid uint32, ino cache.Ino) error {
	whole := cache.Range{Len: math.MaxInt64}
	return r.bring(ctx, r.callers.Of(pid), ino, whole, func(f *file) error { return f.complete(ctx, true) })
}

// bring waits for a range on behalf of somebody who may have it, and notes who it was with the bytes.
func (r *Readers) bring(ctx context.Context, who caller.Caller, ino cache.Ino, at cache.Range, wait func(*file) error) error {
	if who.Limited() {
		if err := r.refuse(ino, at); err != nil {
			return err
		}
	}
	return r.m.hydrate(ctx, ino, func(f *file) error {
		if who.Limited() && f.lacksBehindHead(at) {
			return ErrHeadOnly
		}
		f.fill.For(cache.Reader{Program: who.Program, Kind: who.Class.String(), Unused: !who.Uses()})
		if !who.Background() {
			return wait(f)
		}
		before := f.fill.Bytes()
		err := wait(f)
		r.count(who, ino, before, f)
		return err
	})
}

// refuse is ErrHeadOnly for a range of a file of which nothing is here, before anything is made for a fetch: who is refused
// asks for many files.
func (r *Readers) refuse(ino cache.Ino, at cache.Range) error {
	n, err := r.m.cache.Attr(ino)
	if err != nil {
		return err
	}
	if n.Residency == cache.None && min(at.End(), n.Size) > headSize {
		return fmt.Errorf("hydrate node %d: %w", ino, ErrHeadOnly)
	}
	return nil
}

// lacksBehindHead reports whether bytes of a range are missing that nobody fetches for a limited program.
func (f *file) lacksBehindHead(at cache.Range) bool {
	off, end := max(at.Off, headSize), min(at.End(), f.fill.Size())
	return off < end && len(f.fill.Missing(off, end-off)) > 0
}

// head waits for the first bytes only, and lets nothing follow them. A file that has no others becomes whole.
func (f *file) head(ctx context.Context) error {
	if f.fill.Size() <= headSize {
		return f.complete(ctx, true)
	}
	return f.await(ctx, func() (*flight, error) {
		missing := f.fill.Missing(0, headSize)
		if len(missing) == 0 {
			return nil, nil
		}
		return f.launch(missing[0].Off, missing[0].End(), true), nil
	})
}

// Opened is what comes of it that a person opened a file: an online one is dropped no longer before others. It is part of
// the transaction that notes the open.
func Opened(tx *cache.Tx, ino cache.Ino) error {
	any, err := tx.AnyIntent(cache.Online)
	if err != nil || !any {
		return err
	}
	names, err := tx.DentriesOf(ino)
	if err != nil {
		return err
	}
	for _, d := range names {
		intent, _, err := tx.EffectiveIntent(d.ID)
		if err == nil && intent == cache.Online {
			err = tx.SetIntent(d.ID, cache.Auto)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
