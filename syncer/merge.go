package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// three are the contents that a merge takes.
type three struct{ base, ours, theirs []byte }

// merge puts one content in the place of two that both sides have made of a third. Where that cannot be done the conflict is
// decided otherwise from then on, for these two versions.
func (l *leg) merge(ctx context.Context, op plan.Op) error {
	in, err := l.toMerge(ctx, op)
	if err != nil {
		return err
	}
	if in != nil && l.e.Merge != nil {
		if merged, ok := l.e.Merge(in.base, in.ours, in.theirs); ok {
			return l.keepMerged(ctx, op, merged)
		}
	}
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		return tx.PutDecision(cache.Decision{
			Leg: l.id, Dentry: cache.DentryID(op.Dentry), Version: op.Expect.LocalVersion, Content: op.Expect.RemoteContent, Strategy: plan.ConflictFile.String(),
		})
	})
}

// toMerge reads what is to be merged; nil: some of it cannot be had any more, or is too large.
func (l *leg) toMerge(ctx context.Context, op plan.Op) (*three, error) {
	ep, err := l.online(ctx)
	if err != nil {
		return nil, err
	}
	var e cache.Entry
	var b cache.Binding
	var o *cache.Observed
	var addr remote.ItemID
	err = l.e.Cache.View(func(tx *cache.Tx) (err error) {
		if e, err = tx.Entry(cache.DentryID(op.Dentry)); err != nil {
			return err
		}
		if b, _, err = tx.Binding(cache.BindingID(op.Binding)); err != nil {
			return err
		}
		if o, err = l.object(tx, string(op.Remote)); err != nil {
			return err
		}
		addr, err = l.address(tx, string(op.Remote))
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case e.Node.Version != op.Expect.LocalVersion || o == nil || o.Gone || o.Content != op.Expect.RemoteContent:
		return nil, cache.ErrStale
	case e.Node.Size > mergeMax || o.Size > mergeMax || !b.Hash.Known():
		return nil, nil
	}
	var in three
	in.base, err = l.e.Cache.Trashed(b.Hash, mergeMax)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if in.ours, err = l.readVersion(ctx, e.Node); err != nil {
		return nil, err
	}
	r, err := ep.Read(ctx, addr, remote.Content(o.Content), 0, -1)
	if err != nil {
		return nil, l.readFailed(err)
	}
	in.theirs, err = io.ReadAll(io.LimitReader(r, mergeMax+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, l.readFailed(err)
	}
	return &in, nil
}

// readVersion reads the version that n has, which is here.
func (l *leg) readVersion(ctx context.Context, n cache.Node) ([]byte, error) {
	body, err := l.openBody(ctx, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(body, 0, n.Size))
	return data, errors.Join(err, body.Close())
}

// keepMerged gives the dentry a merged content, to be sent as a change of what the endpoint has.
func (l *leg) keepMerged(ctx context.Context, op plan.Op, merged []byte) (err error) {
	stage, err := l.e.Cache.Stage(int64(len(merged)), cache.Reader{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	if _, err := stage.WriteAt(merged, 0); err != nil {
		return err
	}
	if _, err := stage.Seal(ctx); err != nil {
		return err
	}
	var done counts
	err = l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		done = counts{}
		t, err := l.step(tx, &done)
		if err != nil {
			return err
		}
		return t.installMerged(op, stage)
	})
	if err == nil {
		l.met.Add(done.Conflicts)
	}
	return err
}

func (t *step) installMerged(op plan.Op, stage *cache.Stage) error {
	e, err := t.entry(op.Dentry)
	if err != nil {
		return err
	}
	b, ok, err := t.tx.Binding(cache.BindingID(op.Binding))
	if err != nil {
		return err
	}
	o, err := t.observed(op.Remote)
	if err != nil {
		return err
	}
	if !ok || e.Node.Version != op.Expect.LocalVersion || o.Content != op.Expect.RemoteContent || t.tx.Exclude(e.Ino).Writers > 0 {
		return cache.ErrStale
	}
	t.met = parties{winner: e.ID, ours: ofNode(t.l.e.Device, e.Node), theirs: ofObserved(t.l.target, o)}
	if err := errors.Join(t.keepLoser(e, "merged with another version"), t.tx.KeepBase(b.Hash)); err != nil {
		return err
	}
	n := e.Node
	n.Mtime, n.Ctime, n.Version = t.tx.Now(), t.tx.Now(), n.Version+1
	n.Size, n.Hash, n.Content, n.Residency = stage.Size(), cache.Hash{}, 0, cache.None
	ino, err := t.tx.InsertNode(n)
	if err == nil {
		err = t.tx.FillWith(ino, stage)
	}
	if err != nil {
		return err
	}
	if err := t.tx.SetDentryNode(e.ID, ino); err != nil {
		return fmt.Errorf("merge %s: %w", e.Name, err)
	}
	if _, err := t.save(b.ID, op.After); err != nil {
		return err
	}
	if err := t.record(plan.Decision{Ops: []plan.Op{op}, Conflict: &plan.Conflict{Class: plan.ModifyOnModify, Strategy: plan.Merge, Winner: op.Remote, Loser: op.Dentry}}); err != nil {
		return err
	}
	return t.tx.EnsureItem(t.l.id, b.ID, e.ID)
}

// dropBases ends what was kept in case of a merge of files that are synced by now.
func (l *leg) dropBases() error {
	l.mu.Lock()
	some := decidesBy(plan.Merge, l.decides, l.patterns)
	l.mu.Unlock()
	if !some {
		return nil
	}
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error { return tx.DropBases() })
}
