package syncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// holder is a leg whose endpoint was last seen to have a version of a node.
type holder struct {
	l       *leg
	binding cache.Binding
	at      remote.ItemID // where it was last looked for
}

// holders finds the endpoints that have a version, those that can be reached first.
func (e *Engine) holders(ino cache.Ino, version uint64) ([]holder, error) {
	var out []holder
	err := e.Cache.View(func(tx *cache.Tx) (err error) {
		out, err = e.holdersIn(tx, ino, version)
		return err
	})
	return out, err
}

func (e *Engine) holdersIn(tx *cache.Tx, ino cache.Ino, version uint64) ([]holder, error) {
	var out, away []holder
	names, err := tx.DentriesOf(ino)
	if err != nil {
		return nil, err
	}
	for _, d := range names {
		all, err := tx.BindingsOf(d.ID)
		if err != nil {
			return nil, err
		}
		for _, b := range all {
			l := e.leg(b.Leg)
			if b.LocalVersion != version || l == nil {
				continue
			}
			if l.opened() == nil {
				away = append(away, holder{l: l, binding: b})
				continue
			}
			out = append(out, holder{l: l, binding: b})
		}
	}
	return append(out, away...), nil
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
// has it, and names the copy by its binding. The bytes are of that version or
// the stream fails. Copies that are shunned are asked last.
func (e *Engine) Fetch(
	ctx context.Context, ino cache.Ino, version uint64, off, n int64, shunned []cache.BindingID,
) (io.ReadCloser, cache.BindingID, error) {
	list, err := e.holders(ino, version)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch node %d: %w", ino, err)
	}
	slices.SortStableFunc(list, func(a, b holder) int {
		return cmp.Or(cmp.Compare(a.among(shunned), b.among(shunned)), cmp.Compare(a.doubtful(), b.doubtful()))
	})
	err = errNoCopy
	for _, h := range list {
		r, rerr := h.read(ctx, off, n)
		if rerr == nil {
			return &fetchStream{ctx: ctx, h: h, body: r, off: off, left: n}, h.binding.ID, nil
		}
		err = &readError{h.l, rerr}
	}
	return nil, 0, fmt.Errorf("fetch node %d: %w", ino, err)
}

// copyStream is a stream whose failures have the consequences of any failed read.
type copyStream struct {
	io.ReadCloser
	l  *leg
	id string // of the object; "": of something that is not in the drive
}

// Read implements io.Reader.
func (b *copyStream) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.l.e.Events.Moved(event.Down, int64(n))
	if err != nil && err != io.EOF {
		err = &readError{b.l, b.l.readFailedOf(b.id, err)}
	}
	return n, err
}

// fetchStream reads a version from one endpoint. A write of ours that moves the object, or changes its time or mode, does not
// end it: it goes on behind what it gave, as the version is the same.
type fetchStream struct {
	ctx       context.Context
	h         holder
	body      io.ReadCloser
	off, left int64 // of what is to come; left below 0: up to the end
}

// Read implements io.Reader.
func (s *fetchStream) Read(p []byte) (int, error) {
	for {
		n, err := s.body.Read(p)
		s.h.l.e.Events.Moved(event.Down, int64(n))
		s.off += int64(n)
		if s.left >= 0 {
			s.left -= int64(n)
		}
		switch {
		case err == nil || err == io.EOF:
			return n, err
		case n > 0:
			return n, nil // what failed behind some bytes fails again
		}
		if err := s.h.again(s.ctx, err); err != nil {
			return 0, &readError{s.h.l, err}
		}
		body, err := s.h.read(s.ctx, s.off, s.left)
		if err != nil {
			return 0, &readError{s.h.l, err}
		}
		if err := s.body.Close(); err != nil {
			s.h.l.e.log.Debug("close of a stream that was overtaken", "error", err)
		}
		s.body = body
	}
}

// Close implements io.Closer.
func (s *fetchStream) Close() error { return s.body.Close() }

// among counts how often a holder is in a list.
func (h holder) among(list []cache.BindingID) (n int) {
	for _, id := range list {
		if id == h.binding.ID {
			n++
		}
	}
	return n
}

// read begins to read at the endpoint. An object that is not where it was, or not as it was, while a write of ours is on its
// way, is looked for again when that is known to have happened or not.
func (h *holder) read(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	for {
		ep, addr, err := h.reach(ctx)
		if err != nil {
			return nil, err
		}
		h.at = addr
		r, err := ep.Read(ctx, addr, remote.Content(h.binding.Content), off, n)
		if err == nil {
			return r, nil
		}
		if err := h.again(ctx, err); err != nil {
			return nil, err
		}
	}
}

// again is asked when a read of the object failed. nil: it is worth looking again, as a write of ours moved or changed it.
func (h *holder) again(ctx context.Context, cause error) error {
	if isAny(cause, surprises) {
		if again, err := h.await(ctx); err != nil || again {
			return err
		}
	}
	return h.l.readFailedOf(h.binding.RemoteID, cause)
}

// writeMax is how long a reader waits for the outcome of a write under way.
const writeMax = 30 * time.Second

// await waits while a write is announced that may have moved or changed the object, where it was looked for, and nothing of it
// is known. It reports whether it is worth looking again, and brings the holder up to date.
func (h *holder) await(ctx context.Context) (again bool, err error) {
	wake, stop := h.l.e.Cache.Watch()
	defer stop()
	limit := time.NewTimer(writeMax)
	defer limit.Stop()
	for {
		pending := false
		err := h.l.e.Cache.View(func(tx *cache.Tx) (err error) {
			if again, err = h.renew(tx); err != nil || again {
				return err
			}
			pending, err = h.l.moving(tx, h.binding.ID)
			return err
		})
		if err != nil || again || !pending {
			return again, err
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

// renew takes over the base as it is now, if it still is of the same version, and reports whether that is another place or
// another token.
func (h *holder) renew(tx *cache.Tx) (bool, error) {
	b, ok, err := tx.Binding(h.binding.ID)
	if err != nil || !ok || b.LocalVersion != h.binding.LocalVersion {
		return false, err
	}
	now, err := h.l.address(tx, b.RemoteID)
	if err != nil {
		return false, err
	}
	other := now != h.at || b.Content != h.binding.Content
	h.binding = b
	return other, nil
}

// moving reports whether a write is announced that may move or change an object, by its base if it has one, and its outcome is
// not known.
func (l *leg) moving(tx *cache.Tx, of cache.BindingID) (bool, error) {
	for after := int64(0); ; {
		page, err := tx.Journal(l.id, after, pageSize)
		if err != nil || len(page) == 0 {
			return false, err
		}
		for _, entry := range page {
			after = entry.Item
			w, err := decodeWrite(entry.Op)
			if err != nil {
				return false, fmt.Errorf("look for writes: %w", err)
			}
			moves := w.Op.Kind == plan.OpMoveRemote || w.Op.Kind == plan.OpParkRemote
			if moves || of != 0 && cache.BindingID(w.Op.Binding) == of {
				return true, nil
			}
		}
	}
}

// readFailedOf is readFailed for an object that a reader waits for.
func (l *leg) readFailedOf(id string, err error) error {
	if isAny(err, surprises) {
		l.seeks.add(id)
	}
	return l.readFailed(err)
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
		l.bell.ring(ByReader)
	}
	return err
}

// Reachable reports at once whether some endpoint has the node's present version and may answer: it did last time, or was
// not asked yet.
func (e *Engine) Reachable(ino cache.Ino) error {
	var list []holder
	err := e.Cache.View(func(tx *cache.Tx) error {
		// In one snapshot: a remote change that is applied meanwhile moves node and bases together.
		n, err := tx.Node(ino)
		if err == nil {
			list, err = e.holdersIn(tx, ino, n.Version)
		}
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
		err = &readError{h.l, &unreachable{offline}}
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
// still there is not asked for again. Of a version that nobody ever had whole
// here, so that its hash is not known, it is proof that the content is still
// there: what is here is a part of that.
func (e *Engine) Prove(ctx context.Context, ino cache.Ino, version uint64) (copies int, err error) {
	h, ok := e.HashKnown(ino, version)
	if !ok {
		if err := e.inPart(ino, version); err != nil {
			return 0, fmt.Errorf("prove node %d: %w", ino, err)
		}
	}
	list, err := e.holders(ino, version)
	if err != nil {
		return 0, fmt.Errorf("prove node %d: %w", ino, err)
	}
	err = errNoCopy
	proved := map[*leg]bool{} // two names of a file at one endpoint are no two copies
	for _, hd := range list {
		perr := hd.prove(ctx, h)
		if perr != nil {
			err = perr
			continue
		}
		proved[hd.l] = true
	}
	if len(proved) > 0 {
		return len(proved), nil
	}
	return 0, fmt.Errorf("prove node %d: %w", ino, err)
}

// Holds has an endpoint prove, now, whether a version of a node is the content that has this BLAKE3. An error says that no
// endpoint could tell.
func (e *Engine) Holds(ctx context.Context, ino cache.Ino, version uint64, h cache.Hash) (bool, error) {
	list, err := e.holders(ino, version)
	if err == nil && len(list) == 0 {
		err = errNoCopy
	}
	for _, hd := range list {
		if hd.proved() && hd.binding.Hash != h {
			return false, nil // that was proved, and needs no reading
		}
		err = hd.prove(ctx, h)
		if err == nil || errors.Is(err, remote.ErrCorrupt) {
			return err == nil, nil
		}
	}
	return false, fmt.Errorf("prove node %d: %w", ino, err)
}

// doubtful is 1 for a copy whose proof was withdrawn, or was never given though its hash is known; else 0.
func (h holder) doubtful() int {
	if h.binding.Hash.Known() && h.binding.Proof == 0 {
		return 1
	}
	return 0
}

// proved: the endpoint has proved the hash of what the base says.
func (h holder) proved() bool {
	return h.binding.Hash.Known() && remote.Proof(h.binding.Proof) >= remote.ProofStrong
}

// inPart is nil if not all of a version is here.
func (e *Engine) inPart(ino cache.Ino, version uint64) error {
	return e.Cache.View(func(tx *cache.Tx) error {
		n, err := tx.Node(ino)
		if err == nil && (n.Version != version || n.Residency == cache.Full) {
			err = errors.New("its hash is not known")
		}
		return err
	})
}

func (h holder) prove(ctx context.Context, want cache.Hash) error {
	ep, addr, err := h.reach(ctx)
	if err != nil {
		return err
	}
	now, err := ep.Stat(ctx, addr)
	if err != nil {
		return h.l.readFailedOf(h.binding.RemoteID, err)
	}
	if string(now.Content) != h.binding.Content {
		return h.l.readFailedOf(h.binding.RemoteID, remote.ErrChanged)
	}
	if !want.Known() || h.binding.Hash == want && h.proved() {
		return nil
	}
	r := remote.Validate(ctx, ep, validation(addr, now, want))
	if r.Err != nil {
		return r.Err
	}
	return h.l.recordProof(h.binding, want, r.Proof)
}

// recordProof keeps a proof with the base it was given for.
func (l *leg) recordProof(b cache.Binding, h cache.Hash, p remote.Proof) error {
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		ok, err := keepProof(tx, b, h, p)
		if err == nil && !ok {
			err = errOvertaken
		}
		return err
	})
}

// keepProof is recordProof in a transaction; false: the base is another by now.
func keepProof(tx *cache.Tx, b cache.Binding, h cache.Hash, p remote.Proof) (bool, error) {
	now, ok, err := tx.Binding(b.ID)
	if err != nil || !ok || now.Content != b.Content || now.LocalVersion != b.LocalVersion {
		return false, err
	}
	now.Hash, now.Proof, now.Verified = h, int(p), tx.Now()
	return true, errors.Join(tx.PutBinding(&now), tx.ClearDamage(b.ID, 0))
}
