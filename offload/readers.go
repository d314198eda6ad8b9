package offload

import (
	"context"
	"fmt"
	"math"

	"vdfs/cache"
	"vdfs/cache/event"
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
			return f.first(ctx)
		}
		return f.ensure(ctx, off, n)
	})
}

// Through reads what is not here of a version of a file, and cannot be kept as the disk is full.
func (r *Readers) Through(ctx context.Context, pid uint32, ino cache.Ino, version uint64, p []byte, off int64) (int, error) {
	most := int64(paneSize)
	if r.callers.Of(pid).Limited() {
		n, err := r.m.cache.Attr(ino)
		if err == nil && min(off+int64(len(p)), n.Size) > headSize {
			err = ErrHeadOnly
		}
		if err != nil {
			return 0, fmt.Errorf("read node %d past the disk: %w", ino, err)
		}
		most = headSize
	}
	return r.m.through(ctx, ino, version, p, off, most)
}

// Head is Hydrator.Head for a process.
func (r *Readers) Head(ctx context.Context, pid uint32, ino cache.Ino, n int64) error {
	return r.bring(ctx, r.callers.Of(pid), ino, cache.Range{Len: n}, func(f *file) error { return f.head(ctx, n) })
}

// Complete is Hydrator.Complete for a process.
func (r *Readers) Complete(ctx context.Context, pid uint32, ino cache.Ino) error {
	whole := cache.Range{Len: math.MaxInt64}
	return r.bring(ctx, r.callers.Of(pid), ino, whole, func(f *file) error { return f.complete(ctx, blocked) })
}

// Begin has the whole fetched for a process that will need it, and waits for nothing.
func (r *Readers) Begin(pid uint32, ino cache.Ino) {
	h := r.m.Hydrator
	if h.ctx.Err() != nil {
		return
	}
	h.work.Go(func() {
		who := r.callers.Of(pid)
		if who.Limited() {
			return // it gets what it may when it asks
		}
		whole := cache.Range{Len: math.MaxInt64}
		err := r.bring(h.ctx, who, ino, whole, func(f *file) error { return f.complete(h.ctx, ahead) })
		if err != nil && h.ctx.Err() == nil { // whoever reads or writes asks again and gets the error
			h.log.Debug("background completion failed", "ino", uint64(ino), "error", err)
		}
	})
}

// Ahead tells of a read of bytes that are here, of a version of which others may be missing: while reads are in order, what
// follows comes before anybody waits for it, but not for a process that is limited. It waits for nothing.
func (r *Readers) Ahead(pid uint32, ino cache.Ino, ver uint64, off, n int64) {
	v := version{ino, ver}
	window := r.m.passes(v, off, n)
	if window == 0 {
		return
	}
	who := r.callers.Of(pid)
	if who.Limited() {
		return
	}
	if begun := r.m.follow(v, off+n, window); begun > 0 && who.Background() {
		r.note(who, ino, begun)
	}
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
		before := f.coming()
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

// first waits for the head only, and lets nothing follow it. A file that has nothing else becomes whole.
func (f *file) first(ctx context.Context) error {
	if f.fill.Size() <= headSize {
		return f.complete(ctx, blocked)
	}
	return f.awaitHead(ctx, headSize, false)
}

// Opened is what comes of it that a person opened a file: an online one is dropped no longer before others. It is part of
// the transaction that notes the open. The bus is told.
func Opened(bus *event.Bus) func(tx *cache.Tx, ino cache.Ino) error {
	return func(tx *cache.Tx, ino cache.Ino) error { return opened(bus, tx, ino) }
}

func opened(bus *event.Bus, tx *cache.Tx, ino cache.Ino) error {
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
			err = setIntent(bus, tx, d.ID, cache.Auto)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
