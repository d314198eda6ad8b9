package syncer

import (
	"context"
	"errors"
	"path"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// The source of an archive has an item for each object from the moment it is bound until it is released. Most of that time it
// waits for the target to store the object: a copy is proved when it is sent, what the target had before when it is asked for.

// archive is the other leg of an archive's source; nil: it has none.
func (l *leg) archive() *leg {
	cd := l.conduitRow().ID
	for _, other := range l.e.current() {
		if other.role == cache.RoleTarget && other.conduitRow().ID == cd {
			return other
		}
	}
	return nil
}

// proved reports whether the target of this leg's archive stores exactly this version of e, and nothing is left to be sent
// there; of a directory or a symlink, that it has it.
func (v *views) proved(e cache.Entry) (bool, error) {
	to := v.l.archive()
	if to == nil {
		return false, nil
	}
	b, ok, err := v.tx.BindingOfDentry(to.id, e.ID)
	if err != nil || !ok {
		return false, err
	}
	to.mu.Lock()
	caps := to.caps
	to.mu.Unlock()
	if caps == nil || !stored(caps, b, e.Node) {
		return false, nil
	}
	o, err := to.object(v.tx, b.RemoteID)
	return err == nil && o != nil && !o.Gone && contentOf(*o) == contentOf(baseHalf(b, "")), err
}

// stored reports whether a base says that its endpoint has proved to store a node as it is.
func stored(caps *remote.Caps, b cache.Binding, n cache.Node) bool {
	switch n.Kind {
	case cache.Symlink:
		return b.Target == n.Target
	case cache.File:
		return b.LocalVersion == n.Version && b.Hash.Known() && b.Hash == n.Hash && b.Size == n.Size && remote.Proof(b.Proof) >= remote.ProofStrong &&
			b.LocalMode == caps.Perm.Keep(remote.KnownMode(n.Mode)) && b.LocalMtime == cut(n.Mtime, caps.MtimeGrain)
	}
	return true
}

// seekProof has the target of an archive prove that it stores what an item of the source is about, where it had that already.
// It reports whether something was proved; why not is the target's to tell.
func (l *leg) seekProof(ctx context.Context, it cache.Item) bool {
	to := l.archive()
	if to == nil {
		return false
	}
	var b cache.Binding
	var n cache.Node
	err := l.e.Cache.View(func(tx *cache.Tx) error {
		d, err := itemDentry(tx, it)
		if err != nil || d == 0 {
			return err
		}
		e, err := tx.Entry(d)
		if err != nil {
			return err
		}
		n = e.Node
		b, _, err = tx.BindingOfDentry(to.id, d)
		return err
	})
	if err != nil || n.Kind != cache.File || !n.Hash.Known() || b.LocalVersion != n.Version || remote.Proof(b.Proof) >= remote.ProofStrong {
		return false
	}
	if err := (holder{l: to, binding: b}).prove(ctx, n.Hash); err != nil {
		l.e.log.Debug("the archive does not prove what it stores", "conduit", l.conduitRow().Name, "item", it.ID, "error", err)
		return false
	}
	return true
}

// proofIn is how long a person who waits for an item of an archive's source may wait still for its proof; 0: nothing
// goes on there that would give it.
func (l *leg) proofIn(tx *cache.Tx, it cache.Item) (time.Duration, error) {
	to := l.archive()
	d, err := itemDentry(tx, it)
	if err != nil || to == nil || d == 0 {
		return 0, err
	}
	e, err := tx.Entry(d)
	if err != nil {
		return 0, err
	}
	v, err := l.views(tx)
	if err != nil {
		return 0, err
	}
	some, err := v.proved(e)
	if err == nil && !some {
		some, err = tx.HasCopies(to.id, l.e.now()+int64(10*time.Second))
	}
	if !some {
		return 0, err
	}
	return 20 * time.Millisecond, err
}

// auditRelease writes into the audit log that the source of an archive has given up an object.
func (t *step) auditRelease(row cache.Binding) error {
	cd := t.l.conduitRow()
	r := cache.Release{Conduit: cd.Name, Source: cd.Source, Destination: cd.Target, Kind: row.Kind, Size: row.Size, Hash: row.Hash}
	var err error
	if r.Path, err = t.l.itemPath(t.tx, cache.Item{Leg: t.l.id, Binding: row.ID}); err != nil {
		return err
	}
	below, err := t.below(row.Dentry)
	if errors.Is(err, cache.ErrNotFound) { // deleted in the drive since
		below, err = row.RemoteName, nil
	}
	if err != nil {
		return err
	}
	r.Destination = path.Join(cd.Target, below)
	return t.tx.AddRelease(&r)
}
