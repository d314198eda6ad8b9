package syncer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// holder is a leg whose endpoint was last seen to have a version of a node.
type holder struct {
	l       *leg
	binding cache.Binding
}

// holders finds the endpoints that have a version, those that can be reached first.
func (e *Engine) holders(ino cache.Ino, version uint64) ([]holder, error) {
	var list []holder
	err := e.Cache.View(func(tx *cache.Tx) (err error) {
		list, err = e.holdersIn(tx, ino, version)
		return err
	})
	return list, err
}

func (e *Engine) holdersIn(tx *cache.Tx, ino cache.Ino, version uint64) ([]holder, error) {
	all, err := e.bound(tx, ino)
	var out, away []holder
	for _, h := range all {
		switch {
		case h.binding.LocalVersion != version:
		case h.l.opened() == nil:
			away = append(away, h)
		default:
			out = append(out, h)
		}
	}
	return append(out, away...), err
}

// bound finds the objects that the names of a node are bound to.
func (e *Engine) bound(tx *cache.Tx, ino cache.Ino) ([]holder, error) {
	names, err := tx.DentriesOf(ino)
	if err != nil {
		return nil, err
	}
	var out []holder
	for _, d := range names {
		all, err := tx.BindingsOf(d.ID)
		if err != nil {
			return nil, err
		}
		for _, b := range all {
			if l := e.leg(b.Leg); l != nil {
				out = append(out, holder{l, b})
			}
		}
	}
	return out, nil
}

// reach returns the endpoint and the object's address there now.
func (h holder) reach(ctx context.Context) (ep remote.Endpoint, addr remote.ItemID, err error) {
	if ep, err = h.l.online(ctx); err != nil {
		return nil, "", err
	}
	err = h.l.e.Cache.View(func(tx *cache.Tx) error {
		addr, err = h.l.address(tx, h.binding.RemoteID)
		return err
	})
	return ep, addr, err
}

// opened is the endpoint if it is open and was there at the last look, else nil.
func (l *leg) opened() remote.Endpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offline != nil {
		return nil
	}
	return l.ep
}

// errNoCopy says that no endpoint is known to have a version.
var errNoCopy = errors.New("no endpoint has this version")

// Fetch streams n bytes from off of a version of a node from an endpoint that
// has it. The bytes are of that version or the stream fails.
func (e *Engine) Fetch(ctx context.Context, ino cache.Ino, version uint64, off, n int64) (io.ReadCloser, error) {
	r, err := e.fetchKept(ctx, keptVersion{ino, version}, off, n)
	if r != nil || err != nil {
		return r, err
	}
	list, err := e.holders(ino, version)
	if err != nil {
		return nil, fmt.Errorf("fetch node %d: %w", ino, err)
	}
	err = errNoCopy
	for _, h := range list {
		r, rerr := h.read(ctx, off, n)
		if rerr == nil {
			return r, nil
		}
		err = rerr
	}
	return nil, fmt.Errorf("fetch node %d: %w", ino, err)
}

// read begins to read at the endpoint. An object that is not where it was, while a move of ours is on its way, is looked for
// again when the move is known to have happened or not.
func (h holder) read(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	for {
		ep, addr, err := h.reach(ctx)
		if err != nil {
			return nil, err
		}
		r, err := ep.Read(ctx, addr, remote.Content(h.binding.Content), off, n)
		if err == nil || !isAny(err, surprises) {
			return r, h.l.readFailed(err)
		}
		moved, werr := h.l.awaitMove(ctx, h.binding.RemoteID, addr)
		if werr != nil {
			return nil, werr
		}
		if !moved {
			return nil, h.l.readFailed(err)
		}
	}
}

// moveMax is how long somebody waits for the outcome of a move under way.
const moveMax = 30 * time.Second

// awaitMove waits while the object id is taken to be at addr and a move of this leg is announced. It reports whether the
// object is elsewhere now.
func (l *leg) awaitMove(ctx context.Context, id string, addr remote.ItemID) (moved bool, err error) {
	wake, stop := l.e.Cache.Watch()
	defer stop()
	limit := time.NewTimer(moveMax)
	defer limit.Stop()
	for {
		moving := false
		err := l.e.Cache.View(func(tx *cache.Tx) error {
			now, err := l.address(tx, id)
			if moved = err == nil && now != addr; err != nil || moved {
				return err
			}
			moving, err = l.moving(tx)
			return err
		})
		if err != nil || moved || !moving {
			return moved, err
		}
		select {
		case <-wake:
		case <-limit.C:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// moving reports whether a move is announced whose outcome is not known.
func (l *leg) moving(tx *cache.Tx) (bool, error) {
	for after := int64(0); ; {
		page, err := tx.Journal(l.id, after, pageSize)
		if err != nil || len(page) == 0 {
			return false, err
		}
		for _, entry := range page {
			after = entry.Item
			w, err := decodeWrite(entry.Op)
			if err != nil {
				return false, fmt.Errorf("look for moves: %w", err)
			}
			if w.Op.Kind == plan.OpMoveRemote || w.Op.Kind == plan.OpParkRemote {
				return true, nil
			}
		}
	}
}

// readFailed draws the conclusions of a failed read.
func (l *leg) readFailed(err error) error {
	switch {
	case errors.Is(err, remote.ErrRootGone), errors.Is(err, remote.ErrUnavailable):
		l.setDue()
		l.wake() // a cycle finds out whether it is gone
		return &unreachable{err}
	case isAny(err, surprises):
		l.setDue()
		poke(l.hint)
	}
	return err
}

// Reachable reports at once whether some endpoint has the node's present version and may answer: it did last time, or was
// not asked yet. cache.ErrStale: the node lost its name to another one.
func (e *Engine) Reachable(ino cache.Ino) error {
	var list []holder
	err := e.Cache.View(func(tx *cache.Tx) error { // one view: its version and its bindings change together
		n, err := tx.Node(ino)
		if err == nil && n.Nlink == 0 {
			err = fmt.Errorf("node %d has no name: %w", ino, cache.ErrStale)
		}
		if err != nil {
			return err
		}
		list, err = e.holdersIn(tx, ino, n.Version)
		return err
	})
	if err != nil {
		return err
	}
	err = &unreachable{errNoCopy}
	for _, h := range list {
		h.l.mu.Lock()
		offline := h.l.offline
		h.l.mu.Unlock()
		if offline == nil && h.l.pool.Doubtful() {
			offline = errHangs
		}
		if offline == nil {
			return nil
		}
		err = &unreachable{offline}
	}
	return err
}

// HashKnown is the BLAKE3 that a version must have, if an endpoint's copy was ever proved or the drive computed it.
func (e *Engine) HashKnown(ino cache.Ino, version uint64) (cache.Hash, bool) {
	var h cache.Hash
	err := e.Cache.View(func(tx *cache.Tx) error {
		n, err := tx.Node(ino)
		if err == nil && n.Version == version {
			h = n.Hash
		}
		return err
	})
	return h, err == nil && h.Known()
}

// Prove has the endpoints prove, now, that they store exactly this version, and
// counts those that do. A proof that was given for the very content that is
// still there is not asked for again.
func (e *Engine) Prove(ctx context.Context, ino cache.Ino, version uint64) (copies int, err error) {
	h, ok := e.HashKnown(ino, version)
	if !ok {
		return 0, fmt.Errorf("prove node %d: %w", ino, errors.New("its hash is not known"))
	}
	list, err := e.holders(ino, version)
	if err != nil {
		return 0, fmt.Errorf("prove node %d: %w", ino, err)
	}
	err = errNoCopy
	for _, hd := range list {
		perr := hd.prove(ctx, h)
		if perr != nil {
			err = perr
			continue
		}
		copies++
	}
	if copies > 0 {
		return copies, nil
	}
	return 0, fmt.Errorf("prove node %d: %w", ino, err)
}

func (h holder) prove(ctx context.Context, want cache.Hash) error {
	ep, addr, err := h.reach(ctx)
	if err != nil {
		return err
	}
	now, err := ep.Stat(ctx, addr)
	if err != nil {
		return h.l.readFailed(err)
	}
	if string(now.Content) != h.binding.Content {
		return h.l.readFailed(remote.ErrChanged)
	}
	if h.binding.Hash == want && remote.Proof(h.binding.Proof) >= remote.ProofStrong {
		return nil
	}
	n, err := ep.Verify(ctx, addr, remote.Hashes{remote.BLAKE3: hex.EncodeToString(want[:])}, now.Size, remote.ProofStrong)
	if err != nil {
		return err
	}
	return h.l.recordProof(h.binding, want, n)
}

// recordProof keeps a proof with the base it was given for.
func (l *leg) recordProof(b cache.Binding, h cache.Hash, p remote.Proof) error {
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		now, ok, err := tx.Binding(b.ID)
		if err != nil || !ok || now.Content != b.Content || now.LocalVersion != b.LocalVersion {
			return errors.Join(err, errOvertaken)
		}
		now.Hash, now.Proof, now.Verified = h, int(p), tx.Now()
		return tx.PutBinding(&now)
	})
}
