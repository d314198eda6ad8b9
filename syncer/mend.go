package syncer

import (
	"context"
	"errors"
	"fmt"

	"vdfs/cache"
	"vdfs/internal/fault"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// A damaged copy of an endpoint is mended in a cycle of its leg, so that nothing else looks at the object meanwhile, in this order:
//
//  1. the good bytes take its place, on condition that it still is the damaged version, which goes to the endpoint's trash
//  2. the endpoint proves that it stores them
//  3. one transaction writes the base of the object as it is now, and forgets the damage
//
// After a cut before 3 the object is seen to be another than the base says. It has the bytes that the base says, which the next
// cycle finds out, as of any file that somebody wrote anew.

// mending is a damaged copy of an endpoint, and what becomes of it.
type mending struct {
	Finding
	h      holder
	node   cache.Node
	unsure bool

	tried bool
	err   error
}

// here verifies the bytes that are here, mends them if that is asked for, and reports whether they are good.
func (a *audit) here(ctx context.Context, s suspect, good []holder) (bool, error) {
	if !s.here() {
		return false, nil
	}
	defer a.read(s.node.Size)
	want := s.node.Hash
	for _, h := range good {
		if !want.Known() && h.binding.LocalVersion == s.node.Version {
			want = h.binding.Hash
		}
	}
	if !want.Known() {
		return false, nil // it was never sent: nobody knows what it has to be
	}
	got, err := a.rehash(ctx, s.node)
	f := Finding{Path: s.path, State: FoundDamaged, Size: s.node.Size, Why: "its bytes are others than were written"}
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case isAny(err, []error{cache.ErrBusy, cache.ErrStale, cache.ErrNotLocal, cache.ErrNotFound}):
		return false, nil // it is being changed
	case err != nil:
		f.Why = fmt.Sprintf("it cannot be read: %v", err)
	case got == want:
		a.mu.Lock()
		a.out.Copies++
		a.out.Bytes += s.node.Size
		a.mu.Unlock()
		return true, a.clear(s.node)
	}
	d := cache.Damage{Ino: s.node.Ino, Version: s.node.Version, Content: cache.HereContent(s.node), What: f.Why}
	if err := a.e.damaged(d, f); err != nil {
		return false, err
	}
	return a.mendHere(ctx, s, f, got, good)
}

func (a *audit) rehash(ctx context.Context, n cache.Node) (h cache.Hash, err error) {
	snap, err := a.e.Cache.Snapshot(n.Ino, n.Version)
	if err != nil {
		return h, err
	}
	h, err = snap.Reread(ctx)
	return h, errors.Join(err, snap.Close())
}

// clear forgets that what is here was found to be damaged. Mostly it was not, and nothing is written.
func (a *audit) clear(n cache.Node) error {
	some := false
	err := a.e.Cache.View(func(tx *cache.Tx) (err error) {
		some, err = tx.IsDamagedHere(n.Ino)
		return err
	})
	if err != nil || !some {
		return err
	}
	return a.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.ClearDamage(0, n.Ino) })
}

// mendHere puts the bytes of a good copy in the place of damaged ones that are here.
func (a *audit) mendHere(ctx context.Context, s suspect, f Finding, actual cache.Hash, good []holder) (bool, error) {
	var from *holder
	for i, h := range good {
		if h.binding.LocalVersion == s.node.Version && h.binding.Hash == s.node.Hash {
			from = &good[i]
		}
	}
	switch {
	case from == nil:
		f.Remedy = noGoodCopy
		return false, a.report(f)
	case !a.repair:
		f.Remedy = "a good copy is at " + from.l.target + "; " + useRepair
		return false, a.report(f)
	}
	err := a.replaceHere(ctx, s, actual, *from)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, cache.ErrBusy):
		f.Remedy = "a program has it open; close it and try again"
	case err != nil:
		f.Remedy = fmt.Sprintf("it could not be repaired: %v", err)
	default:
		f.State, f.Remedy = FoundRepaired, "from the copy at "+from.l.target
		err := a.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.AddActivity(ActivityRepair, f.copyOf()+" is repaired "+f.Remedy) })
		if err != nil {
			return true, err
		}
	}
	return err == nil, a.report(f)
}

func (a *audit) replaceHere(ctx context.Context, s suspect, actual cache.Hash, from holder) (err error) {
	v := Version{Size: s.node.Size, Hash: s.node.Hash, l: from.l, remoteID: from.binding.RemoteID, content: from.binding.Content}
	stage, err := a.e.stage(ctx, v, &came{who: "vdfs verify"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	return a.e.Cache.Mend(s.node, actual, stage)
}

const (
	noGoodCopy = "no good copy is known; `vdfs restore PATH --list` shows what is kept of older versions"
	useRepair  = "`vdfs verify --repair` puts it in its place"
)

// conclude says what can be done about a damaged copy of an endpoint or, if that is asked for, has it done with others.
func (a *audit) conclude(ctx context.Context, s suspect, m *mending, good []holder, hereGood bool) error {
	want, source := m.h.binding.Hash, ""
	if m.h.binding.LocalVersion == s.node.Version {
		if hereGood && s.node.Hash == want {
			source = "this machine"
		}
		for _, h := range good {
			if source == "" && h.binding.LocalVersion == s.node.Version && h.binding.Hash == want {
				source = h.l.target
			}
		}
	}
	switch {
	case m.h.binding.LocalVersion != s.node.Version:
		m.Remedy = "the drive has a newer version, which the next sync puts in its place"
	case source == "":
		m.Remedy = noGoodCopy
	case m.unsure:
		m.Remedy = "look for a program that writes to it, and at the disk, and verify it again"
	case !a.repair:
		m.Remedy = fmt.Sprintf("a good copy is at %s; %s", source, useRepair)
	default:
		m.Remedy = "from the copy at " + source
		a.mu.Lock()
		a.broken = append(a.broken, m)
		full := len(a.broken) >= verifyBatch
		a.mu.Unlock()
		if full {
			return a.mendAll(ctx)
		}
		return nil
	}
	return a.report(m.Finding)
}

// mendAll mends the copies of endpoints that wait for it, each leg's in a cycle of it.
func (a *audit) mendAll(ctx context.Context) error {
	a.mu.Lock()
	all := a.broken
	a.broken = nil
	a.mu.Unlock()
	byLeg := map[*leg][]*mending{}
	for _, m := range all {
		byLeg[m.h.l] = append(byLeg[m.h.l], m)
	}
	for l, list := range byLeg {
		err := l.during(ctx, func(cycle context.Context, ep remote.Endpoint) error {
			return l.mendEach(ctx, cycle, ep, list)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, m := range list {
			if !m.tried {
				m.err = errors.Join(err, m.err)
			}
			m.State = FoundRepaired
			if !m.tried || m.err != nil {
				m.State, m.Remedy = FoundDamaged, fmt.Sprintf("it could not be repaired: %v", m.err)
			}
			if err := a.report(m.Finding); err != nil {
				return err
			}
		}
	}
	return nil
}

// during has a leg do something in a cycle, in which nothing else is done at the endpoint meanwhile.
func (l *leg) during(ctx context.Context, do func(ctx context.Context, ep remote.Endpoint) error) error {
	call := &syncCall{done: make(chan error, 1), also: do}
	select {
	case l.requests <- call:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-call.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mendEach mends copies until whoever asked for it, or the cycle, ends.
func (l *leg) mendEach(asked, cycle context.Context, ep remote.Endpoint, list []*mending) error {
	ctx, cancel := context.WithCancel(cycle)
	defer cancel()
	defer context.AfterFunc(asked, cancel)()
	for _, m := range list {
		if asked.Err() != nil {
			return nil // nobody looks at the list any more
		}
		if cycle.Err() != nil {
			return cycle.Err()
		}
		m.err, m.tried = l.mend(ctx, ep, m), true
	}
	return nil
}

// mend puts good bytes in the place of a damaged copy.
func (l *leg) mend(ctx context.Context, ep remote.Endpoint, m *mending) error {
	b := m.h.binding
	var at where
	err := l.e.Cache.View(func(tx *cache.Tx) error {
		if err := l.unmoved(tx, b, m.node); err != nil {
			return err
		}
		var err error
		at, err = l.where(tx, plan.Op{Kind: plan.OpReplace, Binding: plan.BindingID(b.ID), Remote: plan.RemoteID(b.RemoteID)})
		return err
	})
	if err != nil {
		return err
	}
	n := m.node
	n.Hash = b.Hash
	body, err := l.openBody(ctx, n)
	if err != nil {
		return err
	}
	u := &remote.Upload{
		ID: at.object, Parent: at.parent, Pre: remote.Pre{Content: remote.Content(b.Content)}, Size: b.Size, Body: metered{body: body, l: l}, Hashes: blakeOf(b.Hash),
		Attr: l.attr(plan.Meta{Mode: b.Mode, Mtime: b.Mtime}, plan.File), Key: remote.OpKey(fmt.Sprintf("mend-%d-%d", b.ID, l.e.now())),
	}
	out := remote.Stored{}
	if out.Entry, out.Err = ep.Put(ctx, u); out.Err == nil {
		out = remote.Prove(ctx, ep, u, out.Entry)
	}
	if err := errors.Join(out.Err, body.Close()); err != nil {
		return err
	}
	if err := fault.Point(faultMended); err != nil {
		return err
	}
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		if err := l.unmoved(tx, b, m.node); err != nil {
			return err
		}
		now, _, err := tx.Binding(b.ID)
		if err != nil {
			return err
		}
		o := l.seen(now.RemoteID, "", out.Entry)
		now.Tag, now.Ident, now.Content, now.Mode = o.Tag, o.Ident, o.Content, o.Mode
		if o.Mtime != 0 {
			now.Mtime = o.Mtime
		}
		now.Hash, now.Proof, now.Verified = b.Hash, int(out.Proof), tx.Now()
		return errors.Join(tx.PutBinding(&now), tx.ClearDamage(b.ID, 0), tx.AddActivity(ActivityRepair, m.copyOf()+" is repaired "+m.Remedy))
	})
}

// unmoved is errOvertaken if a base, or the version of the drive that it agrees with, is another by now.
func (l *leg) unmoved(tx *cache.Tx, b cache.Binding, n cache.Node) error {
	now, ok, err := tx.Binding(b.ID)
	if err != nil {
		return err
	}
	_, seen, err := tx.Observed(l.id, b.RemoteID)
	if err == nil && (!ok || seen || now.Content != b.Content || now.LocalVersion != b.LocalVersion || now.Dentry != b.Dentry || n.Version != b.LocalVersion) {
		err = errOvertaken
	}
	return err
}

// DamagedCopy is a damaged copy of a file that was found and is not repaired yet.
type DamagedCopy struct {
	Path     string
	Endpoint string // "": it is here
	Conduit  string // "": it is here
	What     string
	Found    int64 // nanoseconds since 1970
}

// Damages calls f for the damaged copies that are known, a page of them at a time.
func (e *Engine) Damages(f func(DamagedCopy) error) error {
	for after := (cache.Damage{}); ; {
		var page []DamagedCopy
		err := e.Cache.View(func(tx *cache.Tx) error {
			page = nil
			rows, err := tx.Damages(after, pageSize)
			for _, d := range rows {
				after = d
				c := DamagedCopy{What: d.What, Found: d.Found}
				if l := e.leg(d.Leg); l != nil {
					c.Endpoint, c.Conduit = l.target, l.conduitRow().Name
				}
				var perr error
				if c.Path, perr = tx.Path(d.Dentry); perr != nil {
					return perr
				}
				page = append(page, c)
			}
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, c := range page {
			if err := f(c); err != nil {
				return err
			}
		}
	}
}
