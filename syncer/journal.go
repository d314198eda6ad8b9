package syncer

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"

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
	Op   plan.Op
	Hash cache.Hash // of the content sent; unknown: no content
}

// encode gives the journal's form: names are any bytes, which JSON would not keep.
func (w write) encode() ([]byte, error) {
	var buf bytes.Buffer
	err := gob.NewEncoder(&buf).Encode(w)
	return buf.Bytes(), err
}

func decodeWrite(op []byte) (w write, err error) {
	err = gob.NewDecoder(bytes.NewReader(op)).Decode(&w)
	return w, err
}

// announce records a write that is about to be made, durably: after a power cut, too, what was written is known for ours.
// A write that was overtaken it refuses: between the decision and its turn the dentry may have taken over another base, and
// would be sent twice.
func (b *batch) announce(it cache.Item, op plan.Op, h cache.Hash) error {
	data, err := write{op, h}.encode()
	if err != nil {
		return fmt.Errorf("announce %v: %w", op.Kind, err)
	}
	err = b.l.e.Cache.UpdateJoint(b.l.id, func(tx *cache.Tx) error {
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
		return tx.Announce(b.l.id, it.ID, data)
	})
	if err != nil {
		return err
	}
	return b.l.e.Cache.SyncIndex()
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

// lookBack finds out what became of the writes whose outcome is not known, and writes the base of those that happened.
func (l *leg) lookBack(ctx context.Context, ep remote.Endpoint) error {
	b := &batch{l: l, ep: ep, counts: &counts{}}
	for {
		var page []cache.JournalEntry
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.Journal(l.id, 0, pageSize) // those before are settled
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, entry := range page {
			if _, err := b.lookBackAt(ctx, entry); err != nil {
				return err
			}
		}
	}
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
	if remote.Temporary(err) || errors.Is(err, remote.ErrRootGone) {
		b.l.setOffline(err)
		err = &unreachable{err}
	}
	return happened, err
}

func (b *batch) lookBackAt(ctx context.Context, entry cache.JournalEntry) (happened bool, err error) {
	w, err := decodeWrite(entry.Op)
	if err != nil {
		return false, fmt.Errorf("look back at a write: %w", err)
	}
	e, proof, happened, err := b.happened(ctx, w)
	if err != nil {
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

// happened looks whether the endpoint is as a write was to leave it.
func (b *batch) happened(ctx context.Context, w write) (e remote.Entry, proof remote.Proof, yes bool, err error) {
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
	if err != nil {
		return e, 0, false, err
	}
	if k, _ := remoteKind(e.Kind); planKind(k) != w.Op.Object {
		return e, 0, false, nil
	}
	switch w.Op.Kind {
	case plan.OpMoveRemote, plan.OpParkRemote:
		yes, err = b.moved(ctx, e, at)
		return e, remote.Proof(at.binding.Proof), yes, err
	case plan.OpSetRemoteMeta:
		o := b.l.seen("", "", e)
		got, want := b.l.keep(o.Mode, o.Mtime, ""), b.l.keep(w.Op.Meta.Mode, w.Op.Meta.Mtime, "")
		same := (want.Mode == 0 || got.Mode == want.Mode) && (want.Mtime == 0 || w.Op.Object != plan.File || got.Mtime == want.Mtime)
		return e, remote.Proof(at.binding.Proof), same, nil
	}
	switch w.Op.Object {
	case plan.Symlink:
		return e, 0, e.Target == w.Op.Meta.Target, nil
	case plan.File:
		proof, err = b.proveSent(ctx, e, w.Hash)
		return e, proof, err == nil, notOurs(err)
	}
	return e, 0, true, nil
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
		return b.ep.Lookup(ctx, at.parent, b.l.parkName(fmt.Sprint(op.Binding)))
	}
	return b.ep.Lookup(ctx, at.parent, op.Name)
}

// moved reports whether e, which stands where an object was to be moved, is that object. Where nothing but its bytes can
// tell, they have to be the same, and the old place empty.
func (b *batch) moved(ctx context.Context, e remote.Entry, at where) (bool, error) {
	switch {
	case b.l.caps.StableID:
		return string(e.ID) == at.binding.RemoteID, nil
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
	hashes := remote.Hashes{remote.BLAKE3: hex.EncodeToString(h[:])}
	proof, err := b.ep.Verify(ctx, e.ID, hashes, e.Size, remote.ProofStrong)
	if !errors.Is(err, remote.ErrUnsupported) {
		return proof, err
	}
	r, err := b.ep.Read(ctx, e.ID, e.Content, 0, -1)
	if err != nil {
		return 0, err
	}
	got, err := hashStream(r)
	if err == nil && got != h {
		err = remote.ErrCorrupt
	}
	return remote.ProofRead, err
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
	return b.record(tx, it, w.Op, e, w.Hash, proof)
}

// taken reports whether what a write made, or whom it was made for, has been bound otherwise meanwhile.
func (b *batch) taken(tx *cache.Tx, op plan.Op, e remote.Entry) (bool, error) {
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
