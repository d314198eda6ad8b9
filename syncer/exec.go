package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vdfs/cache"
	"vdfs/internal/fault"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// errOvertaken says that the drive or the endpoint moved on since the decision: it is made again.
var errOvertaken = errors.New("changed since it was decided")

// where is what an operation's parties are called at the endpoint now.
type where struct {
	parent, object remote.ItemID // parent: the directory it goes to, else the one it is in
	binding        cache.Binding // of the object; ID 0: unbound
}

func (b *batch) where(op plan.Op) (w where, err error) {
	err = b.l.e.Cache.View(func(tx *cache.Tx) (err error) {
		w, err = b.l.where(tx, op)
		return err
	})
	return w, err
}

func (l *leg) where(tx *cache.Tx, op plan.Op) (w where, err error) {
	if op.Parent != 0 {
		p, ok, err := tx.Binding(cache.BindingID(op.Parent))
		if err != nil || !ok {
			return w, errors.Join(err, errOvertaken)
		}
		if w.parent, err = l.dirAddress(tx, p.RemoteID); err != nil {
			return w, err
		}
	}
	if op.Binding != 0 {
		var ok bool
		if w.binding, ok, err = tx.Binding(cache.BindingID(op.Binding)); err != nil || !ok {
			return w, errors.Join(err, errOvertaken)
		}
	}
	if op.Remote == "" || op.Kind == plan.OpRestoreRemote {
		return w, nil
	}
	if w.object, err = l.address(tx, string(op.Remote)); err != nil || op.Parent != 0 {
		return w, err
	}
	o, err := l.object(tx, string(op.Remote))
	if err != nil || o == nil || o.Parent == "" {
		return w, err
	}
	w.parent, err = l.dirAddress(tx, o.Parent)
	return w, err
}

// carryOut does at the endpoint what moves no file's bytes, and writes the new base.
func (b *batch) carryOut(ctx context.Context, it cache.Item, wr write) error {
	op := wr.Op
	w, err := b.where(op)
	if err == nil {
		err = b.l.keepsLoser(op)
	}
	if err != nil {
		return err
	}
	key := opKey(it, op)
	if !removes(op) { // one that is gone is seen to be gone
		if err := b.announce(it, wr); err != nil {
			return err
		}
	}
	if err := fault.Point(faultBefore[op.Kind]); err != nil {
		return err
	}
	switch op.Kind {
	case plan.OpMkdir, plan.OpSymlink, plan.OpRestoreRemote:
		e, err := b.ep.Mkdir(ctx, w.parent, op.Name, b.l.attr(op.Meta, op.Object), key)
		if err != nil {
			return b.withdraw(it, err)
		}
		return b.commit(it, wr, e, remote.ProofNone)
	case plan.OpReplace: // a symlink: no endpoint replaces one, the old one goes to its trash
		if err := b.remove(ctx, op, w, key); err != nil {
			return b.withdraw(it, err)
		}
		e, err := b.ep.Mkdir(ctx, w.parent, op.After.RemoteName, b.l.attr(op.Meta, op.Object), key+"-new")
		if err != nil {
			return b.withdraw(it, err)
		}
		return b.commit(it, wr, e, remote.ProofNone)
	case plan.OpMoveRemote, plan.OpSetRemoteMeta, plan.OpParkRemote:
		return b.update(ctx, it, wr, w, key)
	case plan.OpDeleteRemote, plan.OpRelease:
		if err := b.remove(ctx, op, w, key); err != nil && !errors.Is(err, remote.ErrNotFound) {
			return err
		}
		if err := fault.Point(faultAfter[op.Kind]); err != nil {
			return err
		}
		return b.removed(it, wr, w.binding)
	}
	return fmt.Errorf("%v is not for the endpoint", op.Kind)
}

// removes reports whether an operation removes an object of the endpoint.
func removes(op plan.Op) bool { return op.Kind == plan.OpDeleteRemote || op.Kind == plan.OpRelease }

// errKeepsNothing says that a version would be lost for good.
var errKeepsNothing = errors.New("the storage keeps nothing of what is replaced or deleted, and the other version was never here")

// keepsLoser refuses to overwrite or remove a version that the drive has not seen where the endpoint has no trash for it.
func (l *leg) keepsLoser(op plan.Op) error {
	kept := l.caps.Trash
	if isCopyOf(op) {
		kept = l.caps.Versions
	}
	if op.Trash && !kept && op.Object != plan.Dir {
		return errKeepsNothing
	}
	return nil
}

// opKey names one intended write. An item may need several, for itself and for what stands in its way.
func opKey(it cache.Item, op plan.Op) remote.OpKey {
	return remote.OpKey(fmt.Sprintf("%d-%d-%v-%d-%d-%s-%d-%d-%s", it.ID, it.Created, op.Kind, op.Binding, op.Dentry, op.Remote, op.Parent, op.Expect.LocalVersion, op.Name))
}

// dirMode is the mode that a directory gets at the endpoint: one that its owner can look into, as else nothing in it could be
// sent, nor be seen there.
func dirMode(mode uint32) uint32 {
	if mode == 0 {
		return 0
	}
	return mode&0o777 | 0o500
}

func (l *leg) attr(m plan.Meta, k plan.Kind) remote.Attr {
	a := remote.Attr{Mode: m.Mode, Target: m.Target}
	if k == plan.Dir {
		a.Mode = dirMode(m.Mode)
	}
	if k == plan.File && l.caps.MtimeGrain > 0 {
		a.Mtime = time.Unix(0, m.Mtime)
	}
	return a
}

// expect looks at the object right before it is changed and gives the precondition for the change.
func (b *batch) expect(ctx context.Context, op plan.Op, w where) (remote.Pre, error) {
	e, err := b.ep.Stat(ctx, w.object)
	if err != nil {
		return remote.Pre{}, err
	}
	if k, _ := remoteKind(e.Kind); planKind(k) != op.Object || string(e.Content) != op.Expect.RemoteContent {
		return remote.Pre{}, fmt.Errorf("look at %s: %w", e.Name, remote.ErrPrecondition)
	}
	if b.l.caps.StableID && (string(e.Parent) != string(op.Expect.RemoteParent) || e.Name != op.Expect.RemoteName) {
		return remote.Pre{}, fmt.Errorf("look at %s: %w", e.Name, remote.ErrPrecondition)
	}
	return remote.Pre{Tag: e.Tag, Empty: op.Object == plan.Dir && removes(op)}, nil
}

func (b *batch) remove(ctx context.Context, op plan.Op, w where, key remote.OpKey) error {
	pre, err := b.expect(ctx, op, w)
	if err != nil {
		return err
	}
	return b.ep.Delete(ctx, w.object, pre, key)
}

func (b *batch) update(ctx context.Context, it cache.Item, wr write, w where, key remote.OpKey) error {
	op := wr.Op
	pre, err := b.expect(ctx, op, w)
	if err != nil {
		return b.withdraw(it, err)
	}
	var p remote.Patch
	switch op.Kind {
	case plan.OpMoveRemote:
		if p.Name = &op.Name; op.Parent != 0 {
			p.Parent = &w.parent
		}
	case plan.OpParkRemote:
		name := b.l.parkNameOf(op)
		p.Name = &name
	default:
		a := b.l.attr(op.Meta, op.Object)
		if a.Mode != 0 {
			p.Mode = &a.Mode
		}
		if !a.Mtime.IsZero() {
			p.Mtime = &a.Mtime
		}
	}
	e, err := b.ep.Update(ctx, w.object, p, pre, key)
	if err != nil {
		return b.withdraw(it, err)
	}
	wr.Hash = w.binding.Hash
	return b.commit(it, wr, e, remote.Proof(w.binding.Proof))
}

// commit writes the base that an operation at the endpoint has made true, with
// the tokens the endpoint gave for it.
func (b *batch) commit(it cache.Item, w write, e remote.Entry, proof remote.Proof) error {
	return b.commitAll([]*sending{{job: job{it, w}, entry: e, proof: proof}})[0].err
}

// tally counts what a write came to.
func (b *batch) tally(done counts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.Copied += done.Copied
	b.counts.Bytes += done.Bytes
	b.counts.Conflicts += done.Conflicts
	b.counts.Deleted += done.Deleted
	b.counts.Drift += done.Drift
	b.l.progress.did(done)
}

// record writes the base of a write, and the conflict that it has decided.
func (b *batch) record(t *step, it cache.Item, w write, e remote.Entry, proof remote.Proof) error {
	l, tx, op, h := b.l, t.tx, w.Op, w.Hash
	if op.Kind == plan.OpParkRemote && op.Binding == 0 {
		return t.parkedExtra(op, e)
	}
	lost, err := t.before(w)
	if err != nil {
		return err
	}
	a := op.After
	switch {
	case op.Binding == 0, op.Kind == plan.OpRestoreRemote:
		id, err := b.idAt(tx, op, e)
		if err != nil {
			return err
		}
		if id == "" {
			id = l.newID()
		} else if err := errors.Join(tx.DeleteObserved(l.id, id), tx.FinishRemote(l.id, id)); err != nil {
			return err // what was seen there before the write is out of date
		}
		a.Remote = plan.RemoteID(id)
	case l.caps.StableID: // a symlink that was replaced is another object
		a.Remote = plan.RemoteID(e.ID)
	}
	if op.Kind == plan.OpReplace {
		err = l.supersede(tx, op)
	} else if op.Binding != 0 && follows(t.rules) {
		err = l.overtake(tx, op, e)
	}
	if err != nil {
		return err
	}
	a.RemoteName, a.RemoteContent, a.RemoteSize = e.Name, string(e.Content), e.Size
	if h.Known() {
		a.RemoteHash = hashToken(h)
	}
	a.RemoteMeta = sentMeta(l.seen("", "", e), a.RemoteMeta, l)
	if err := t.saveSent(it, op, a, e, proof); err != nil {
		return err
	}
	if err := t.recordSent(w, lost); err != nil {
		return err
	}
	return t.tellSentChange(it, op)
}

// supersede forgets an observation of the content that a write has replaced.
func (l *leg) supersede(tx *cache.Tx, op plan.Op) error {
	o, ok, err := tx.Observed(l.id, string(op.Remote))
	if err != nil || !ok || o.Content != op.Expect.RemoteContent {
		return err // what was seen after the write stays to be decided
	}
	return errors.Join(tx.DeleteObserved(l.id, o.RemoteID), tx.CancelRemote(l.id, o.RemoteID))
}

// overtake brings an observation up to date that a write has undone, as it does at an endpoint that only follows.
func (l *leg) overtake(tx *cache.Tx, op plan.Op, e remote.Entry) error {
	o, ok, err := tx.Observed(l.id, string(op.Remote))
	if err != nil || !ok || o.Gone || o.Content != op.Expect.RemoteContent {
		return err
	}
	now := l.seen(o.RemoteID, o.Parent, e)
	if now.Hash = o.Hash; now.Content != o.Content {
		now.Hash = cache.Hash{}
	}
	if op.Kind == plan.OpMoveRemote && op.Parent != 0 {
		p, ok, err := tx.Binding(cache.BindingID(op.Parent))
		if err != nil || !ok {
			return err
		}
		now.Parent = p.RemoteID
	}
	return tx.PutObserved(now)
}

// sentMeta is what the endpoint says it holds, else what it was given.
func sentMeta(o cache.Observed, given plan.Meta, l *leg) plan.Meta {
	m := l.keep(o.Mode, o.Mtime, o.Target)
	if m.Mode == 0 {
		m.Mode = given.Mode
	}
	if o.Mtime == 0 {
		m.Mtime = given.Mtime
	}
	if m.Target == "" {
		m.Target = given.Target
	}
	return m
}

// saveSent saves the base after an operation at the endpoint and closes the item if nothing is left to do for it.
func (t *step) saveSent(it cache.Item, op plan.Op, a plan.Binding, e remote.Entry, proof remote.Proof) error {
	here, err := t.tx.Entry(cache.DentryID(a.Dentry))
	if errors.Is(err, cache.ErrNotFound) {
		a.Dentry = 0 // deleted while it was being sent
	} else if err != nil {
		return err
	}
	row, err := t.saveAs(cache.BindingID(op.Binding), a, func(row *cache.Binding) {
		row.Tag, row.Ident = string(e.Tag), e.Ident
		row.Proof, row.Verified = int(proof), 0
		if proof > remote.ProofNone {
			row.Verified = t.tx.Now()
		}
		if op.Kind == plan.OpMkdir || op.Kind == plan.OpRestoreRemote {
			row.Listed = true // made empty a moment ago
		}
	})
	if err != nil {
		return err
	}
	if row.Dentry == 0 {
		if err := t.tx.MarkDelete(row.ID); err != nil {
			return err
		}
	}
	if rests, err := t.restsAsSent(it, op, a, here, row); err != nil {
		return err
	} else if rests {
		_, err := t.tx.FinishItem(it.ID, it.Updated, cache.ItemCompleted)
		return err
	}
	return t.closeIfDone(it)
}

// restsAsSent reports whether a new object that was just sent is what the drive has still, so that there is nothing to decide
// about it. What is changed from here on marks its item again.
func (t *step) restsAsSent(it cache.Item, op plan.Op, a plan.Binding, here cache.Entry, row cache.Binding) (bool, error) {
	n := here.Node
	if op.Kind != plan.OpPut && op.Kind != plan.OpMkdir || op.Binding != 0 || it.Dentry != here.ID || releases(t.rules) {
		return false, nil
	}
	if n.Writing || n.Version != a.LocalVersion || here.LocalOnly || here.Name != a.LocalName || row.RemoteName != a.LocalName {
		return false, nil
	}
	if !t.l.sameMeta(n.Kind, t.l.keep(remote.KnownMode(n.Mode), n.Mtime, n.Target), a.LocalMeta) {
		return false, nil
	}
	dir, err := t.tx.DentryOf(here.Parent)
	return err == nil && dir.ID == row.LocalParent, err
}

// closeIfDone closes an item whose subject is at rest. The operation just done
// may have been for another one that stood in its way.
func (t *step) closeIfDone(it cache.Item) error {
	d, err := plan.Decide(t, subjectOf(it), t.l.rules())
	if err != nil || len(d.Ops) > 0 || d.Wait != nil {
		return err
	}
	_, err = t.tx.FinishItem(it.ID, it.Updated, cache.ItemCompleted)
	return err
}

// removed drops the base of what was removed at the endpoint.
func (b *batch) removed(it cache.Item, w write, row cache.Binding) error {
	var done counts
	err := b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
		done = counts{Deleted: 1}
		t, err := b.l.work(tx, &done, 0)
		if err != nil {
			return err
		}
		if err := t.touchGone(row.ID, string(w.Op.Remote)); err != nil {
			return err
		}
		lost, err := t.before(w)
		if err != nil {
			return err
		}
		switch {
		case w.Op.Kind == plan.OpRelease:
			err = t.auditRelease(row)
		case row.ID != 0 && it.Resolution != cache.DeleteAllowed:
			err = tx.CountDeletion(b.l.id, cache.OriginLocal, row.ID)
		}
		if err != nil {
			return err
		}
		if err := t.tellSentChange(it, w.Op); err != nil {
			return err
		}
		if err := t.noteBirth(row); err != nil {
			return err
		}
		if err := t.forget(string(w.Op.Remote), row); err != nil {
			return err
		}
		if err := errors.Join(t.recordSent(w, lost), t.closeIfDone(it)); err != nil {
			return err
		}
		if w.Drift {
			done.Drift++
		}
		return t.count(done)
	})
	if err == nil {
		b.tally(done)
	}
	return err
}

// forget drops the base of an object, if it has one, and what was seen of it.
func (t *step) forget(id string, row cache.Binding) error {
	if row.ID != 0 {
		if err := t.tx.DeleteBinding(row.ID); err != nil {
			return err
		}
	}
	return errors.Join(t.tx.DeleteObserved(t.l.id, id), t.tx.FinishRemote(t.l.id, id))
}
