package syncer

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
	"sync"

	"vdfs/cache"
	"vdfs/internal/fault"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// A write at an endpoint and its base cannot be one transaction: the daemon can
// die, or the reply be lost, between the two. The endpoint's new state would then
// look like somebody else's work: a file that was sent and renamed in the drive
// since would come back under its old name, one that was replaced since would
// become a conflict. So every write is announced in the leg's journal first, and
// what became of it is found out before anything else is read from the endpoint.

// write is an announced write.
type write struct {
	Op       plan.Op
	Hash     cache.Hash     // of the content sent; unknown: no content, or one that passes from another endpoint
	Conflict *plan.Conflict // that it decides; nil: none
	Drift    bool           // it undoes what was done at an endpoint that only follows
}

// firstWrite is the write that a decision begins with; it has none: the zero write.
func firstWrite(d plan.Decision) (w write) {
	if len(d.Ops) > 0 {
		w.Op, w.Conflict, w.Drift = d.Ops[0], d.Conflict, d.Drift
	}
	return w
}

// encode gives the journal's form: names are any bytes, which JSON would not keep.
func (w write) encode() ([]byte, error) { return encoder.encode(w) }

// encoder encodes all writes of the process. What package gob says of their types before the first is the same before each, and
// costs more to make than the write itself.
var encoder writeEncoder

type writeEncoder struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	enc   *gob.Encoder // nil before the first
	types []byte
}

func (e *writeEncoder) encode(w write) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.enc == nil {
		if err := e.begin(); err != nil {
			return nil, err
		}
	}
	if err := e.enc.Encode(w); err != nil {
		e.enc = nil
		return nil, err
	}
	out := slices.Concat(e.types, e.buf.Bytes())
	e.buf.Reset()
	return out, nil
}

// begin encodes a write twice: the second time only the write itself comes.
func (e *writeEncoder) begin() error {
	e.buf.Reset()
	enc, w := gob.NewEncoder(&e.buf), write{Conflict: &plan.Conflict{}}
	if err := enc.Encode(w); err != nil {
		return err
	}
	both := bytes.Clone(e.buf.Bytes())
	e.buf.Reset()
	if err := enc.Encode(w); err != nil {
		return err
	}
	e.enc, e.types = enc, both[:len(both)-e.buf.Len()]
	e.buf.Reset()
	return nil
}

func decodeWrite(op []byte) (w write, err error) {
	err = gob.NewDecoder(bytes.NewReader(op)).Decode(&w)
	return w, err
}

// announce records a write that is about to be made, durably: after a power cut, too, what was written is known for ours.
func (b *batch) announce(it cache.Item, w write) error {
	return b.announceAll([]*sending{{job: job{it, w}}})[0].err
}

// announceOne is the part of announce that is done in a transaction. A write that was overtaken it refuses, and leaves the
// transaction as it is: between the decision and its turn the dentry may have taken over another base, and would be sent twice.
func (b *batch) announceOne(tx *cache.Tx, it cache.Item, op plan.Op, data []byte) error {
	if isCopyOf(op) {
		if _, err := toSend(tx, op); err != nil {
			return err
		}
	}
	if op.Kind == plan.OpPut || op.Kind == plan.OpReplace {
		bound, _, err := tx.BindingOfDentry(b.l.id, cache.DentryID(op.Dentry))
		if err != nil {
			return err
		}
		if bound.ID != cache.BindingID(op.Binding) {
			return errOvertaken
		}
	}
	page, err := tx.Journal(b.l.id, it.ID-1, 1)
	if err != nil {
		return err
	}
	if len(page) > 0 && page[0].Item == it.ID {
		return errUnclear
	}
	return tx.Announce(b.l.id, it.ID, data)
}

// refused are the answers by which an endpoint says that it has written nothing.
var refused = []error{
	remote.ErrPrecondition, remote.ErrExists, remote.ErrNotFound, remote.ErrKind, remote.ErrNotEmpty, remote.ErrName,
	remote.ErrTooLarge, remote.ErrQuota, remote.ErrAuth, remote.ErrDenied, remote.ErrReadOnly, remote.ErrLocked, remote.ErrUnsupported,
}

// withdraw takes an announcement back where the endpoint has written nothing, and returns the error of the write.
func (b *batch) withdraw(it cache.Item, err error) error {
	if errors.Is(err, remote.ErrUnknown) || !isAny(err, refused) {
		return err
	}
	return errors.Join(err, b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error { return tx.Settled(b.l.id, it.ID) }))
}

// lookBack finds out what became of the writes whose outcome is not known, and writes the base of those that happened. One
// that cannot be looked at stays announced, and holds up nothing but its own item.
func (l *leg) lookBack(ctx context.Context, ep remote.Endpoint) error {
	b := &batch{l: l, ep: ep, counts: &counts{}}
	var strange []string // directories where something may be that was not recorded, as it could have been ours
	for after := int64(0); ; {
		var page []cache.JournalEntry
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.Journal(l.id, after, pageSize)
			return err
		})
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return l.relist(ctx, ep, strange)
		}
		for _, entry := range page {
			after = entry.Item
			dir, err := b.lookBackAgain(ctx, entry)
			if err != nil {
				return err
			}
			if dir != "" {
				strange = append(strange, dir)
			}
		}
	}
}

// lookBackAgain looks back at one of many writes, and returns the directory that is to be listed because of what came of it.
func (b *batch) lookBackAgain(ctx context.Context, entry cache.JournalEntry) (dir string, err error) {
	happened, err := b.lookBackAt(ctx, entry)
	if err != nil && !errors.Is(err, errUnclear) {
		return "", err
	}
	if err == nil && !happened {
		s, err := b.spotOf(entry)
		if err != nil {
			return "", err
		}
		dir = s.dir
	}
	return dir, b.clarify(entry.Item, err)
}

// clarify leaves on an item why it is not known what became of its write, or, once that is known, lets it go on.
func (b *batch) clarify(item int64, unclear error) error {
	return b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		it, ok, err := tx.Item(item)
		if err != nil || !ok || it.Status.Closed() {
			return err
		}
		was := it
		if unclear == nil {
			it.Status, it.Error, it.Parked, it.Tries, it.Eligible = cache.ItemNew, "", false, 0, 0
		} else if it.Status != cache.ItemError {
			b.l.park(&it, unclear)
			b.l.e.log.Warn("cannot look back at a write", "conduit", b.l.conduitRow().Name, "item", item, "error", unclear)
		}
		if it == was {
			return nil
		}
		_, err = tx.UpdateItem(&it)
		return err
	})
}

// lookBackNow finds out what became of the write of one item that failed a moment ago without a refusal. Of one that was
// refused, or never made, nothing is announced any more.
func (b *batch) lookBackNow(ctx context.Context, it cache.Item) (happened bool, err error) {
	var page []cache.JournalEntry
	err = b.l.e.Cache.View(func(tx *cache.Tx) (err error) {
		page, err = tx.Journal(b.l.id, it.ID-1, 1)
		return err
	})
	if err != nil || len(page) == 0 || page[0].Item != it.ID {
		return false, err
	}
	happened, err = b.lookBackAt(ctx, page[0])
	if errors.Is(err, errUnclear) {
		return false, err
	}
	if remote.Temporary(err) || errors.Is(err, remote.ErrRootGone) {
		b.l.setOffline(err)
		err = &unreachable{err}
	}
	return happened, err
}

func (b *batch) lookBackAt(ctx context.Context, entry cache.JournalEntry) (happened bool, err error) {
	w, err := decodeWrite(entry.Op)
	if err != nil { // what cannot be read now never can
		b.l.e.log.Error("announced write is unreadable", "conduit", b.l.conduitRow().Name, "item", entry.Item, "error", err)
		return false, b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error { return tx.Settled(b.l.id, entry.Item) })
	}
	e, proof, happened, err := b.happened(ctx, &w)
	if errors.Is(err, remote.ErrPrecondition) && !b.copying { // its directory is elsewhere: what is known of it is brought up to date
		if err = errors.Join(b.noteUnclear(entry, true), b.l.relook(ctx, b.ep, w.Op)); err == nil {
			e, proof, happened, err = b.happened(ctx, &w)
		}
	}
	if err != nil {
		if b.concernsOne(ctx, err) {
			err = errors.Join(fmt.Errorf("%w: %w", errUnclear, err), b.noteUnclear(entry, true))
		}
		return false, fmt.Errorf("look back at a write: %w", err)
	}
	if err := b.noteUnclear(entry, false); err != nil {
		return false, fmt.Errorf("look back at a write: %w", err)
	}
	if err := fault.Point(faultLookBack); err != nil {
		return false, fmt.Errorf("look back at a write: %w", err)
	}
	return happened, b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		if happened {
			if err := b.adopt(tx, entry.Item, w, e, proof); err != nil {
				return err
			}
		}
		return tx.Settled(b.l.id, entry.Item)
	})
}

// concernsOne reports whether an answer of the endpoint is about the one object that was asked for, and the rest of it is well.
func (b *batch) concernsOne(ctx context.Context, err error) bool {
	switch {
	case ctx.Err() != nil, errors.Is(err, remote.ErrRootGone), errors.As(err, new(*remote.Throttled)):
		return false
	case errors.As(err, new(*elsewhere)): // its bytes are another endpoint's, which this one does not wait for
		return true
	case errors.Is(err, remote.ErrUnavailable) && !errors.Is(err, remote.ErrDetached):
		_, cerr := b.ep.Check(ctx) // a bad sector is no lost disk
		return cerr == nil
	}
	return errors.Is(err, remote.ErrDetached) || errors.Is(err, remote.ErrLocked) || isAny(err, surprises) || remedy(err) != ""
}

// happened looks whether the endpoint is as a write was to leave it.
func (b *batch) happened(ctx context.Context, w *write) (e remote.Entry, proof remote.Proof, yes bool, err error) {
	at, err := b.where(w.Op)
	if errors.Is(err, errOvertaken) || errors.Is(err, remote.ErrNotFound) {
		return e, 0, false, nil // what it was about is known to be another by now
	}
	if err == nil {
		e, err = b.find(ctx, w.Op, at)
	}
	if errors.Is(err, remote.ErrNotFound) || errors.Is(err, remote.ErrKind) {
		return e, 0, false, nil
	}
	if errors.Is(err, remote.ErrPrecondition) {
		if gone, gerr := b.dirGone(w.Op.Parent, w.Op.Remote); gone || gerr != nil {
			return e, 0, false, gerr
		}
	}
	if err != nil {
		return e, 0, false, err
	}
	if k, _ := remoteKind(e.Kind); planKind(k) != w.Op.Object {
		return e, 0, false, nil
	}
	e.ID = b.l.within(at.parent, e)
	switch w.Op.Kind {
	case plan.OpMoveRemote, plan.OpParkRemote:
		yes, err = b.moved(ctx, e, w.Op, at)
		return e, remote.Proof(at.binding.Proof), yes, err
	case plan.OpSetRemoteMeta:
		o := b.l.seen("", "", e)
		got, want := b.l.keep(o.Mode, o.Mtime, ""), b.l.keep(b.l.attr(w.Op.Meta, w.Op.Object).Mode, w.Op.Meta.Mtime, "")
		same := (want.Mode == 0 || got.Mode == want.Mode) && (w.Op.Object != plan.File || got.Mtime == want.Mtime)
		return e, remote.Proof(at.binding.Proof), same, nil
	}
	switch w.Op.Object {
	case plan.Symlink:
		return e, 0, e.Target == w.Op.Meta.Target, nil
	case plan.File:
		if !w.Hash.Known() {
			if w.Hash, err = b.rehash(ctx, w.Op); err != nil || !w.Hash.Known() {
				return e, 0, false, err
			}
		}
		proof, err = b.proveSent(ctx, e, w.Hash)
		return e, proof, err == nil, notOurs(err)
	}
	return e, 0, true, nil
}

// rehash learns the hash of a content whose sending was broken off before it was known; it stays unknown where the drive has
// another version by now.
func (b *batch) rehash(ctx context.Context, op plan.Op) (h cache.Hash, err error) {
	var n cache.Node
	err = b.l.e.Cache.View(func(tx *cache.Tx) (err error) {
		n, err = toSend(tx, op)
		return err
	})
	if errors.Is(err, errOvertaken) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	body, err := b.l.openBody(ctx, n)
	switch {
	case errors.Is(err, cache.ErrNotFound), errors.Is(err, cache.ErrStale):
		return h, nil
	case errors.Is(err, cache.ErrBusy):
		return h, &elsewhere{cause: err} // this endpoint does not wait for that either
	case err != nil:
		return h, err
	}
	h, err = body.EnsureHash(ctx)
	return h, errors.Join(err, body.Close())
}

// dirGone reports whether the directory of an object is known to be gone, with whatever was in it.
func (b *batch) dirGone(parent plan.BindingID, of plan.RemoteID) (gone bool, err error) {
	err = b.l.e.Cache.View(func(tx *cache.Tx) error {
		dir := ""
		p, ok, err := tx.Binding(cache.BindingID(parent))
		if ok {
			dir = p.RemoteID
		} else if err == nil {
			var o *cache.Observed
			if o, err = b.l.object(tx, string(of)); o != nil {
				dir = o.Parent
			}
		}
		if err != nil {
			return err
		}
		o, err := b.l.object(tx, dir)
		gone = err == nil && (o == nil || o.Gone)
		return err
	})
	return gone, err
}

// find looks at the object that a write was to make or change.
func (b *batch) find(ctx context.Context, op plan.Op, at where) (remote.Entry, error) {
	switch op.Kind {
	case plan.OpReplace:
		if op.Object == plan.Symlink {
			return b.ep.Lookup(ctx, at.parent, op.After.RemoteName)
		}
		return b.ep.Stat(ctx, at.object)
	case plan.OpSetRemoteMeta:
		return b.ep.Stat(ctx, at.object)
	case plan.OpParkRemote:
		return b.ep.Lookup(ctx, at.parent, b.l.parkNameOf(op))
	}
	return b.ep.Lookup(ctx, at.parent, op.Name)
}

// moved reports whether e, which stands where an object was to be moved, is that object. Where nothing but its bytes can
// tell, they have to be the same, and the old place empty.
func (b *batch) moved(ctx context.Context, e remote.Entry, op plan.Op, at where) (bool, error) {
	id := at.binding.RemoteID
	if op.Binding == 0 {
		id = string(op.Remote)
	}
	switch {
	case b.l.caps.StableID:
		return string(e.ID) == id, nil
	case op.Binding == 0:
		return false, nil // it is about to be removed, wherever it is found
	case e.Ident != "" && at.binding.Ident != "":
		return e.Ident == at.binding.Ident, nil
	case e.Kind == remote.File && string(e.Content) != at.binding.Content:
		if !at.binding.Hash.Known() {
			return false, nil
		}
		if _, err := b.proveSent(ctx, e, at.binding.Hash); err != nil {
			return false, notOurs(err)
		}
	}
	_, err := b.ep.Stat(ctx, at.object)
	if errors.Is(err, remote.ErrPrecondition) {
		if gone, gerr := b.dirGone(0, op.Remote); gone || gerr != nil {
			return gone, gerr
		}
	}
	if errors.Is(err, remote.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// notOurs leaves out of the errors of a proof those that mean: it is another object.
func notOurs(err error) error {
	if errors.Is(err, remote.ErrCorrupt) || errors.Is(err, remote.ErrNotFound) || errors.Is(err, remote.ErrChanged) {
		return nil
	}
	return err
}

// proveSent has the endpoint prove that it stores a content, or reads it where the endpoint cannot: another file is
// never taken for the one that was sent.
func (b *batch) proveSent(ctx context.Context, e remote.Entry, h cache.Hash) (remote.Proof, error) {
	r := remote.Validate(ctx, b.ep, validation(e.ID, e, h))
	return r.Proof, r.Err
}

// validation asks whether an object that was looked at is a content.
func validation(addr remote.ItemID, now remote.Entry, h cache.Hash) remote.ValidationRequest {
	return remote.ValidationRequest{Destination: addr, Content: now.Content, Size: now.Size, Expected: blakeOf(h)[remote.BLAKE3]}
}

// adopt writes the base of a write that happened, as if its reply had come now.
func (b *batch) adopt(tx *cache.Tx, item int64, w write, e remote.Entry, proof remote.Proof) error {
	it, ok, err := tx.Item(item)
	if err != nil {
		return err
	}
	if !ok {
		it = cache.Item{Leg: b.l.id, Origin: cache.OriginLocal, Binding: cache.BindingID(w.Op.Binding), Dentry: cache.DentryID(w.Op.Dentry)}
	}
	taken, err := b.taken(tx, w.Op, e)
	if err != nil || taken {
		return err
	}
	b.l.e.log.Info("a write without a reply has happened", "conduit", b.l.conduitRow().Name, "operation", w.Op.Kind.String(), "name", e.Name)
	done := copiedOf(w.Op, e.Size)
	t, err := b.l.work(tx, &done, ownItem(item, done.Bytes))
	if err != nil {
		return err
	}
	if err := b.record(t, it, w, e, proof); err != nil {
		return err
	}
	return t.count(done)
}

// taken reports whether what a write made, or whom it was made for, has been bound otherwise meanwhile.
func (b *batch) taken(tx *cache.Tx, op plan.Op, e remote.Entry) (bool, error) {
	if op.Kind == plan.OpParkRemote && op.Binding == 0 {
		return false, nil
	}
	if op.Binding != 0 {
		_, ok, err := tx.Binding(cache.BindingID(op.Binding))
		return !ok, err
	}
	if _, ok, err := tx.BindingOfDentry(b.l.id, cache.DentryID(op.Dentry)); err != nil || ok {
		return ok, err
	}
	id, err := b.idAt(tx, op, e)
	if err != nil || id == "" {
		return false, err
	}
	_, ok, err := tx.BindingOfRemote(b.l.id, id)
	return ok, err
}

// idAt is the id under which an object that a write has made is known already; "": it is not.
func (b *batch) idAt(tx *cache.Tx, op plan.Op, e remote.Entry) (string, error) {
	if id := b.l.idOf(e); id != "" {
		return id, nil
	}
	p, ok, err := tx.Binding(cache.BindingID(op.Parent))
	if err != nil || !ok {
		return "", errors.Join(err, errOvertaken)
	}
	o, err := b.l.childAt(tx, p.RemoteID, e.Name)
	if err != nil || o == nil || o.Gone {
		return "", err
	}
	if k, _ := remoteKind(e.Kind); o.Kind != k {
		return "", nil
	}
	return o.RemoteID, nil
}
