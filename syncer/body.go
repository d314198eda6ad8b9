package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"lukechampine.com/blake3"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// body is one version of a file, for sending.
type body interface {
	io.ReaderAt
	EnsureHash(ctx context.Context) (cache.Hash, error)
	Close() error
}

// openBody opens the version that n has: from here, or for a placeholder from another endpoint.
func (e *Engine) openBody(ctx context.Context, n cache.Node) (body, error) {
	s, err := e.Cache.Snapshot(n.Ino, n.Version)
	if errors.Is(err, cache.ErrNotLocal) {
		return &remoteBody{ctx: ctx, e: e, node: n}, nil
	}
	return s, err
}

// remoteBody streams a placeholder's bytes from an endpoint that has them,
// without keeping them. Reads that follow each other share one stream.
type remoteBody struct {
	ctx  context.Context // of the transfer that the body is made for
	e    *Engine
	node cache.Node

	mu  sync.Mutex
	r   io.ReadCloser
	off int64
}

// ReadAt reads like io.ReaderAt.
func (b *remoteBody) ReadAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off >= b.node.Size {
		return 0, io.EOF
	}
	if b.r == nil || off != b.off {
		if err := b.close(); err != nil {
			return 0, err
		}
		r, err := b.e.Fetch(b.ctx, b.node.Ino, b.node.Version, off, -1)
		if err != nil {
			return 0, err
		}
		b.r, b.off = r, off
	}
	n, err := io.ReadFull(b.r, p[:min(int64(len(p)), b.node.Size-off)])
	b.off += int64(n)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// EnsureHash gives the version's BLAKE3, read through once if it is not known.
func (b *remoteBody) EnsureHash(ctx context.Context) (cache.Hash, error) {
	if b.node.Hash.Known() {
		return b.node.Hash, nil
	}
	r, err := b.e.Fetch(ctx, b.node.Ino, b.node.Version, 0, -1)
	if err != nil {
		return cache.Hash{}, err
	}
	h, err := hashStream(r)
	if err != nil {
		return h, err
	}
	b.node.Hash = h
	return h, b.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.SetHash(b.node.Ino, b.node.Version, h) })
}

// Close ends the stream.
func (b *remoteBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.close()
}

func (b *remoteBody) close() error {
	if b.r == nil {
		return nil
	}
	r := b.r
	b.r = nil
	return r.Close()
}

// hashStream reads r to its end and closes it.
func hashStream(r io.ReadCloser) (h cache.Hash, err error) {
	d := blake3.New(len(h), nil)
	_, err = io.CopyBuffer(d, r, make([]byte, 256<<10))
	d.Sum(h[:0])
	return h, errors.Join(err, r.Close())
}

// lack is knowledge that the decision about an observed object lacked.
type lack struct {
	remoteID string
	op       plan.Op
}

// learn obtains what decisions lacked. It reports whether anything is known
// now that was not. Only what ends the cycle is an error.
func (l *leg) learn(ctx context.Context, lacks []lack, c *counts) (some bool, err error) {
	for _, k := range lacks {
		err := l.learnOne(ctx, k.op)
		switch {
		case err == nil:
			some = true
		case ctx.Err() != nil:
			return some, ctx.Err()
		case errors.Is(err, ErrUnreachable), errors.Is(err, remote.ErrRootGone):
			return some, err
		case errors.Is(err, cache.ErrBusy), errors.Is(err, cache.ErrStale), isAny(err, surprises):
			l.setDue() // it changed meanwhile: the next look decides anew
		default:
			c.Errors++
			l.e.log.Warn("cannot compare", "conduit", l.conduitRow().Name, "operation", k.op.Kind.String(), "error", err)
			if err := l.putOff(k.remoteID, err); err != nil {
				return some, err
			}
		}
	}
	return some, nil
}

// putOff lets an observed object rest after a failure, longer each time.
func (l *leg) putOff(remoteID string, cause error) error {
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		it, ok, err := tx.RemoteItem(l.id, remoteID)
		if err != nil || !ok {
			return err
		}
		it.Tries++
		it.Status, it.Error, it.Eligible = cache.ItemError, cause.Error(), l.e.now()+int64(backoff(it.Tries))
		_, err = tx.UpdateItem(&it)
		return err
	})
}

// rests reports whether an observed object was put off and its time has not come.
func (t *step) rests(remoteID string) (bool, error) {
	it, ok, err := t.tx.RemoteItem(t.l.id, remoteID)
	return ok && it.Status == cache.ItemError && it.Eligible > t.now, err
}

func (l *leg) learnOne(ctx context.Context, op plan.Op) error {
	switch op.Kind {
	case plan.OpNeedRemoteHash:
		return l.learnRemote(ctx, string(op.Remote))
	case plan.OpNeedLocalHash, plan.OpNeedBytes:
		var e cache.Entry
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			e, err = tx.Entry(cache.DentryID(op.Dentry))
			return err
		})
		if err != nil {
			return err
		}
		if op.Kind == plan.OpNeedBytes {
			return l.e.hydrate(ctx, e.Node)
		}
		b, err := l.e.openBody(ctx, e.Node)
		if err != nil {
			return err
		}
		_, err = b.EnsureHash(ctx)
		return errors.Join(err, b.Close())
	}
	return fmt.Errorf("%v is no knowledge", op.Kind)
}

// learnRemote reads an object of the endpoint to know its hash.
func (l *leg) learnRemote(ctx context.Context, id string) error {
	ep, err := l.online(ctx)
	if err != nil {
		return err
	}
	var addr remote.ItemID
	var o *cache.Observed
	err = l.e.Cache.View(func(tx *cache.Tx) (err error) {
		if o, err = l.object(tx, id); err != nil || o == nil {
			return errors.Join(err, remote.ErrNotFound)
		}
		addr, err = l.address(tx, id)
		return err
	})
	if err != nil {
		return err
	}
	r, err := ep.Read(ctx, addr, remote.Content(o.Content), 0, -1)
	if err != nil {
		return l.readFailed(err)
	}
	h, err := hashStream(r)
	if err != nil {
		return l.readFailed(err)
	}
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		now, err := l.object(tx, id)
		if err != nil || now == nil || now.Content != o.Content {
			return errors.Join(err, remote.ErrChanged)
		}
		if row, ok, err := tx.Observed(l.id, id); err != nil || ok {
			row.Hash = h
			return errors.Join(err, tx.PutObserved(row))
		}
		b, ok, err := tx.BindingOfRemote(l.id, id)
		if err != nil || !ok {
			return err
		}
		b.Hash = h
		return tx.PutBinding(&b)
	})
}

// hydrate brings a whole version here.
func (e *Engine) hydrate(ctx context.Context, n cache.Node) (err error) {
	f, err := e.Cache.Fill(n.Ino, n.Version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, 1<<20)
	for _, m := range f.Missing(0, n.Size) {
		r, err := e.Fetch(ctx, n.Ino, n.Version, m.Off, m.Len)
		if err != nil {
			return err
		}
		if err := fillFrom(f, r, m.Off, buf); err != nil {
			return errors.Join(err, r.Close())
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	h, err := f.Hash()
	if err != nil {
		return err
	}
	if want, ok := e.HashKnown(n.Ino, n.Version); ok && want != h {
		return errors.Join(remote.ErrCorrupt, f.Reset())
	}
	return f.Complete(h)
}

func fillFrom(f *cache.Fill, r io.Reader, off int64, buf []byte) error {
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if _, werr := f.WriteAt(buf[:n], off); werr != nil {
				return werr
			}
			if cerr := f.Commit(cache.Range{Off: off, Len: int64(n)}); cerr != nil {
				return cerr
			}
			off += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
