package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"lukechampine.com/blake3"

	"vdfs/cache"
	"vdfs/internal/digest"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// body is one version of a file, for sending.
type body interface {
	io.ReaderAt
	// Sum is the BLAKE3 of the version. It reads the version through if that is not known, unless it was read already.
	Sum(ctx context.Context) (cache.Hash, error)
	// EnsureHash is Sum, and records it if it was not known.
	EnsureHash(ctx context.Context) (cache.Hash, error)
	Close() error
}

// openBody opens the version that n has: from here, or for a placeholder from another endpoint.
func (l *leg) openBody(ctx context.Context, n cache.Node) (body, error) {
	s, err := l.e.Cache.Snapshot(n.Ino, n.Version)
	if !errors.Is(err, cache.ErrNotLocal) {
		return s, err
	}
	if err := l.e.Reachable(n.Ino); err != nil {
		return nil, l.others(err) // before anything is announced
	}
	return &remoteBody{ctx: ctx, l: l, node: n, hasher: blake3.New(len(n.Hash), nil)}, nil
}

// remoteBody streams a placeholder's bytes from an endpoint that has them,
// without keeping them. Reads that follow each other share one stream, and
// what is read from the beginning to the end in their order is hashed.
type remoteBody struct {
	ctx  context.Context // of the transfer that the body is made for
	l    *leg            // whose transfer it is
	node cache.Node

	sum   cache.Hash // of the bytes, once computed
	whole []byte     // all of them, of a small file

	mu     sync.Mutex
	r      io.ReadCloser
	off    int64
	hasher *blake3.Hasher
	upTo   int64 // of the version has gone into hasher
}

// ReadAt reads like io.ReaderAt.
func (b *remoteBody) ReadAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off >= b.node.Size {
		return 0, io.EOF
	}
	if b.whole != nil {
		n := copy(p, b.whole[off:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	if b.r == nil || off != b.off {
		if err := b.close(); err != nil {
			return 0, err
		}
		r, _, err := b.l.e.Fetch(b.ctx, b.node.Ino, b.node.Version, off, -1, nil)
		if err != nil {
			return 0, b.l.others(err)
		}
		b.r, b.off = r, off
	}
	n, err := io.ReadFull(b.r, p[:min(int64(len(p)), b.node.Size-off)])
	b.off += int64(n)
	if off == 0 {
		b.hasher.Reset()
		b.upTo = 0
	}
	if off == b.upTo && !b.node.Hash.Known() {
		_, _ = b.hasher.Write(p[:n]) // a hash never fails
		b.upTo += int64(n)
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, b.l.others(err)
}

// Sum gives the version's BLAKE3. A file that travels with others is fetched for that and kept until it has been sent; a larger
// one is read through if its hash is not known and it was not sent yet.
func (b *remoteBody) Sum(ctx context.Context) (h cache.Hash, err error) {
	small := b.node.Size <= groupFile
	switch {
	case b.sum.Known():
		return b.sum, nil
	case !small && b.node.Hash.Known():
		return b.node.Hash, nil
	case small:
		h, err = b.keep(ctx)
	default:
		h, err = b.hash(ctx)
	}
	if err != nil {
		return h, b.l.others(err)
	}
	b.sum = h
	return h, nil
}

// keep fetches all of a small file.
func (b *remoteBody) keep(ctx context.Context) (h cache.Hash, err error) {
	r, _, err := b.l.e.Fetch(ctx, b.node.Ino, b.node.Version, 0, -1, nil)
	if err != nil {
		return h, err
	}
	b.whole, err = readWhole(r, b.node.Size)
	if h = digest.Sum(b.whole); err == nil && b.node.Hash.Known() && h != b.node.Hash {
		err = remote.ErrCorrupt
	}
	return h, err
}

// readWhole reads so many bytes and closes r.
func readWhole(r io.ReadCloser, size int64) ([]byte, error) {
	p := make([]byte, size)
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return p, errors.Join(err, r.Close())
}

// EnsureHash gives the version's BLAKE3; one that was not known is computed and recorded.
func (b *remoteBody) EnsureHash(ctx context.Context) (cache.Hash, error) {
	if b.node.Hash.Known() {
		return b.node.Hash, nil
	}
	h, err := b.Sum(ctx)
	if err != nil {
		return h, err
	}
	b.node.Hash = h
	return h, b.l.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.SetHash(b.node.Ino, b.node.Version, h) })
}

func (b *remoteBody) hash(ctx context.Context) (h cache.Hash, err error) {
	b.mu.Lock()
	whole := b.upTo == b.node.Size && b.upTo > 0
	b.hasher.Sum(h[:0])
	b.mu.Unlock()
	if whole {
		return h, nil
	}
	r, _, err := b.l.e.Fetch(ctx, b.node.Ino, b.node.Version, 0, -1, nil)
	if err != nil {
		return cache.Hash{}, err
	}
	return hashStream(r)
}

// streams reports whether the hash of a version is best learned while its bytes pass: they are at another endpoint, too many to
// keep, and what they are to replace has others for sure.
func (l *leg) streams(n cache.Node, body body, old cache.Binding) bool {
	_, away := body.(*remoteBody)
	return away && n.Size > groupFile && !n.Hash.Known() && len(l.caps.WantHashes) == 0 && (old.ID == 0 || old.Size != n.Size)
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
		case isAway(err):
			if err := l.waits(k.remoteID, err.Error()); err != nil {
				return some, err
			}
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
		o, ok, err := tx.Observed(l.id, remoteID)
		if err != nil || !ok {
			return err // nothing of it is left to do
		}
		if err := tx.EnsureRemote(l.id, remoteID, o.Name, remoteOperation(o, plan.Decision{})); err != nil {
			return err
		}
		it, ok, err := tx.RemoteItem(l.id, remoteID)
		if err != nil || !ok {
			return err
		}
		it.Tries++
		l.park(&it, cause)
		_, err = tx.UpdateItem(&it)
		return err
	})
}

func (l *leg) learnOne(ctx context.Context, op plan.Op) error {
	switch op.Kind {
	case plan.OpNeedRemoteHash:
		return l.learnRemote(ctx, string(op.Remote))
	case plan.OpMerge:
		return l.merge(ctx, op)
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
			return l.others(l.e.hydrate(ctx, e.Node))
		}
		b, err := l.openBody(ctx, e.Node)
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
		r, _, err := e.Fetch(ctx, n.Ino, n.Version, m.Off, m.Len, nil)
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
