package syncer

import (
	"context"
	"encoding/hex"
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
		if w.parent, err = l.address(tx, p.RemoteID); err != nil {
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
	w.parent, err = l.address(tx, o.Parent)
	return w, err
}

// carryOut does at the endpoint what moves no file's bytes, and writes the new base.
func (b *batch) carryOut(ctx context.Context, it cache.Item, op plan.Op) error {
	w, err := b.where(op)
	if err != nil {
		return err
	}
	key := opKey(it, op)
	if op.Kind != plan.OpDeleteRemote { // one that is gone is seen to be gone
		if err := b.announce(it, op, cache.Hash{}); err != nil {
			return err
		}
	}
	if err := fault.Point(faultBefore[op.Kind]); err != nil {
		return err
	}
	switch op.Kind {
	case plan.OpMkdir, plan.OpSymlink, plan.OpRestoreRemote:
		e, err := b.ep.Mkdir(ctx, w.parent, op.Name, attr(op.Meta, op.Object), key)
		if err != nil {
			return b.withdraw(it, err)
		}
		return b.commit(it, op, e, cache.Hash{}, remote.ProofNone)
	case plan.OpReplace: // a symlink: no endpoint replaces one, the old one goes to its trash
		if err := b.remove(ctx, op, w, key); err != nil {
			return b.withdraw(it, err)
		}
		e, err := b.ep.Mkdir(ctx, w.parent, op.After.RemoteName, attr(op.Meta, op.Object), key+"-new")
		if err != nil {
			return b.withdraw(it, err)
		}
		return b.commit(it, op, e, cache.Hash{}, remote.ProofNone)
	case plan.OpMoveRemote, plan.OpSetRemoteMeta, plan.OpParkRemote:
		return b.update(ctx, it, op, w, key)
	case plan.OpDeleteRemote:
		if err := b.remove(ctx, op, w, key); err != nil && !errors.Is(err, remote.ErrNotFound) {
			return err
		}
		if err := fault.Point(faultAfter[op.Kind]); err != nil {
			return err
		}
		b.counts.Deleted++
		return b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error { return b.forget(tx, it, w.binding) })
	}
	return fmt.Errorf("%v is not for the endpoint", op.Kind)
}

// opKey names one intended write. An item may need several, for itself and for what stands in its way.
func opKey(it cache.Item, op plan.Op) remote.OpKey {
	return remote.OpKey(fmt.Sprintf("%d-%d-%v-%d-%d-%s-%d-%d-%s", it.ID, it.Created, op.Kind, op.Binding, op.Dentry, op.Remote, op.Parent, op.Expect.LocalVersion, op.Name))
}

func attr(m plan.Meta, k plan.Kind) remote.Attr {
	a := remote.Attr{Mode: m.Mode, Target: m.Target}
	if k == plan.File && m.Mtime != 0 {
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
	return remote.Pre{Tag: e.Tag, Empty: op.Object == plan.Dir && op.Kind == plan.OpDeleteRemote}, nil
}

func (b *batch) remove(ctx context.Context, op plan.Op, w where, key remote.OpKey) error {
	pre, err := b.expect(ctx, op, w)
	if err != nil {
		return err
	}
	return b.ep.Delete(ctx, w.object, pre, key)
}

func (b *batch) update(ctx context.Context, it cache.Item, op plan.Op, w where, key remote.OpKey) error {
	pre, err := b.expect(ctx, op, w)
	if err != nil {
		return b.withdraw(it, err)
	}
	var p remote.Patch
	switch op.Kind {
	case plan.OpMoveRemote:
		p.Parent, p.Name = &w.parent, &op.Name
	case plan.OpParkRemote:
		name := b.l.parkName(fmt.Sprint(op.Binding))
		p.Name = &name
	default:
		if op.Meta.Mode != 0 {
			p.Mode = &op.Meta.Mode
		}
		if t := time.Unix(0, op.Meta.Mtime); op.Object == plan.File && op.Meta.Mtime != 0 {
			p.Mtime = &t
		}
	}
	e, err := b.ep.Update(ctx, w.object, p, pre, key)
	if err != nil {
		return b.withdraw(it, err)
	}
	return b.commit(it, op, e, w.binding.Hash, remote.Proof(w.binding.Proof))
}

// commit writes the base that an operation at the endpoint has made true, with
// the tokens the endpoint gave for it.
func (b *batch) commit(it cache.Item, op plan.Op, e remote.Entry, h cache.Hash, proof remote.Proof) error {
	if err := fault.Point(faultAfter[op.Kind]); err != nil {
		return err
	}
	err := b.l.e.Cache.UpdateJoint(b.l.id, func(tx *cache.Tx) error {
		if err := b.record(tx, it, op, e, h, proof); err != nil {
			return err
		}
		return tx.Settled(b.l.id, it.ID)
	})
	if err == nil {
		fault.Cut(faultBased)
	}
	return err
}

func (b *batch) record(tx *cache.Tx, it cache.Item, op plan.Op, e remote.Entry, h cache.Hash, proof remote.Proof) error {
	l := b.l
	t, err := l.step(tx, &counts{})
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
	a.RemoteName, a.RemoteContent, a.RemoteSize = e.Name, string(e.Content), e.Size
	if h.Known() {
		a.RemoteHash = hashToken(h)
	}
	a.RemoteMeta = sentMeta(l.seen("", "", e), a.RemoteMeta, l)
	return t.saveSent(it, op, a, e, proof)
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
	if _, err := t.tx.Dentry(cache.DentryID(a.Dentry)); errors.Is(err, cache.ErrNotFound) {
		a.Dentry = 0 // deleted while it was being sent
	} else if err != nil {
		return err
	}
	row, err := t.save(cache.BindingID(op.Binding), a)
	if err != nil {
		return err
	}
	row.Tag, row.Ident = string(e.Tag), e.Ident
	row.Proof, row.Verified = int(proof), 0
	if proof > remote.ProofNone {
		row.Verified = t.tx.Now()
	}
	if op.Kind == plan.OpMkdir || op.Kind == plan.OpRestoreRemote {
		row.Listed = true // made empty a moment ago
	}
	if err := t.tx.PutBinding(&row); err != nil {
		return err
	}
	if row.Dentry == 0 {
		if err := t.tx.MarkDelete(row.ID); err != nil {
			return err
		}
	}
	return t.closeIfDone(it)
}

// closeIfDone closes an item whose subject is at rest. The operation just done
// may have been for another one that stood in its way.
func (t *step) closeIfDone(it cache.Item) error {
	d, err := plan.Decide(t, subjectOf(it), policyOf(t.l.conduitRow().Policy))
	if err != nil || len(d.Ops) > 0 || d.Wait != nil {
		return err
	}
	_, err = t.tx.FinishItem(it.ID, it.Updated, cache.ItemCompleted)
	return err
}

// forget drops the base of what was deleted on both sides.
func (b *batch) forget(tx *cache.Tx, it cache.Item, row cache.Binding) error {
	if err := tx.DeleteBinding(row.ID); err != nil {
		return err
	}
	if err := tx.DeleteObserved(b.l.id, row.RemoteID); err != nil {
		return err
	}
	if err := tx.FinishRemote(b.l.id, row.RemoteID); err != nil {
		return err
	}
	t, err := b.l.step(tx, b.counts)
	if err != nil {
		return err
	}
	return t.closeIfDone(it)
}

// transfer is a copy with what has to be known for it.
type transfer struct {
	job
	to   where
	node cache.Node
	err  error // why it cannot be made
}

// transfers looks up what copies need, of many in one snapshot.
func (b *batch) transfers(jobs []job) ([]transfer, error) {
	look := b.l.e.Cache.View
	if len(jobs) >= lookTogether {
		look = b.l.e.Cache.Survey
	}
	var out []transfer
	err := look(func(tx *cache.Tx) error {
		for _, j := range jobs {
			t := transfer{job: j}
			if t.to, t.err = b.l.where(tx, j.op); t.err == nil {
				t.node, t.err = toSend(tx, j.op)
			}
			out = append(out, t)
		}
		return nil
	})
	return out, err
}

// toSend is the node that a copy was decided for. errOvertaken: it has another version by now, or the name is gone.
func toSend(tx *cache.Tx, op plan.Op) (cache.Node, error) {
	e, err := tx.Entry(cache.DentryID(op.Dentry))
	if errors.Is(err, cache.ErrNotFound) || err == nil && e.Node.Version != op.Expect.LocalVersion {
		return cache.Node{}, errOvertaken
	}
	return e.Node, err
}

// put sends one file and has the endpoint prove that it stores it. It returns the bytes sent.
func (b *batch) put(ctx context.Context, t transfer) (int64, error) {
	if t.err != nil {
		return 0, t.err
	}
	l, j, w, node := b.l, t.job, t.to, t.node
	body, err := l.e.openBody(ctx, node)
	if errors.Is(err, cache.ErrNotFound) || errors.Is(err, cache.ErrStale) {
		return 0, errOvertaken
	}
	if err != nil {
		return 0, err
	}
	defer body.Close()
	h, err := body.EnsureHash(ctx)
	if err != nil {
		return 0, err
	}
	if w.binding.ID != 0 && w.binding.Hash == h {
		return 0, errOvertaken // now that the hash is known there are no bytes to send
	}
	// Else a power cut could leave the whole of it there and less of it here, and what is here would replace it.
	if err := l.e.Cache.SyncContent(node.Ino); err != nil {
		return 0, err
	}
	if err := b.announce(j.item, j.op, h); err != nil {
		return 0, err
	}
	if err := fault.Point(faultBefore[j.op.Kind]); err != nil {
		return 0, err
	}
	e, proof, err := b.upload(ctx, j, w, node, body, h)
	if err != nil {
		return 0, b.withdraw(j.item, err)
	}
	if err := b.commit(j.item, j.op, e, h, proof); err != nil {
		return 0, err
	}
	fault.Cut(faultSent)
	return node.Size, l.e.Cache.MarkSent(node.Ino, node.Version)
}

func (b *batch) upload(ctx context.Context, j job, w where, n cache.Node, body body, h cache.Hash) (remote.Entry, remote.Proof, error) {
	hashes := remote.Hashes{remote.BLAKE3: hex.EncodeToString(h[:])}
	up := &remote.Upload{
		Parent: w.parent, Name: j.op.Name, Attr: attr(j.op.Meta, plan.File), Size: n.Size, Body: body, Hashes: hashes, Key: opKey(j.item, j.op),
	}
	if up.Attr.Mode == 0 {
		up.Attr.Mode = n.Mode & 0o777 // never more readable than the original
	}
	if j.op.Kind == plan.OpReplace {
		up.ID, up.Pre = w.object, remote.Pre{Content: remote.Content(j.op.Expect.RemoteContent)}
	}
	e, err := b.ep.Put(ctx, up)
	if err != nil {
		return e, 0, err
	}
	least := min(remote.ProofStrong, b.l.caps.Proof)
	proof, err := b.ep.Verify(ctx, e.ID, hashes, n.Size, least)
	if errors.Is(err, remote.ErrUnsupported) {
		proof, err = remote.ProofNone, nil
	}
	if err != nil { // whatever it says of the proof, the write was not refused
		err = fmt.Errorf("prove what was sent: %w: %w", remote.ErrUnknown, err)
	}
	return e, proof, err
}
