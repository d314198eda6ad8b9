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

// contactSlice is how long first contact goes on before the cycle looks at other work.
const contactSlice = 2 * time.Second

// List makes a directory's children known: it fills the mount's port. It asks
// every leg that has not listed the directory, shares work under way, and
// fails rather than leave a directory half known.
func (e *Engine) List(ctx context.Context, ino cache.Ino) error {
	var todo []cache.Binding
	err := e.Cache.View(func(tx *cache.Tx) error {
		d, err := tx.DentryOf(ino)
		if err != nil {
			return err
		}
		all, err := tx.BindingsOf(d.ID)
		for _, b := range all {
			if !b.Listed {
				todo = append(todo, b)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("list directory %d: %w", ino, err)
	}
	for _, b := range todo {
		l := e.leg(b.Leg)
		if l == nil {
			continue
		}
		err := l.lists.do(ctx, b.ID, func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			return l.listDir(ctx, b.ID)
		})
		if err != nil {
			return fmt.Errorf("list directory %d: %w", ino, err)
		}
	}
	if len(todo) == 0 { // no leg has anything to add, so what is here is all
		return e.Cache.Update(0, func(tx *cache.Tx) error { return tx.SetListing(ino, cache.Listed) })
	}
	return nil
}

// contact lists directories that nobody has looked into yet, for a while. It
// reports whether some are left.
func (l *leg) contact(ctx context.Context) (more bool, err error) {
	end := time.Now().Add(contactSlice)
	complete := true
	for after := cache.BindingID(0); ; {
		var todo []cache.Binding
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			todo, err = tx.UnlistedBindings(l.id, after, batchSize)
			return err
		})
		if err != nil {
			return false, err
		}
		if len(todo) == 0 {
			if complete {
				err = l.contacted()
			}
			return false, err
		}
		for _, b := range todo {
			after = b.ID // what is found in it has a higher one
			err := l.lists.do(ctx, b.ID, func() error { return l.listDir(ctx, b.ID) })
			switch {
			case errors.Is(err, remote.ErrDenied), errors.Is(err, remote.ErrDetached), isAny(err, misplaced):
				complete = false // stays unlisted, tried again with the next look
			case err != nil:
				return false, err
			}
			if time.Now().After(end) {
				return true, nil
			}
		}
	}
}

// contacted records that the whole endpoint is known.
func (l *leg) contacted() error {
	row, err := l.row()
	if err != nil || row.Contact {
		return err
	}
	row.Contact = true
	return l.e.Cache.Update(0, func(tx *cache.Tx) error {
		now, ok, err := tx.Leg(l.id)
		if err != nil || !ok {
			return err
		}
		now.Contact = true
		return tx.UpdateLeg(now)
	})
}

// first reports whether the first contact is still under way.
func (l *leg) first() bool {
	row, err := l.row()
	return err == nil && !row.Contact
}

// listDir lists one bound directory for the first time and brings its children
// into the drive. No deletion is concluded from it.
func (l *leg) listDir(ctx context.Context, id cache.BindingID) error {
	ep, err := l.online(ctx)
	if err != nil {
		return err
	}
	var addr remote.ItemID
	var dir cache.Binding
	var mtime int64
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		b, ok, err := tx.Binding(id)
		if err != nil || !ok || b.Listed {
			return err
		}
		dir = b
		if e, err := tx.Entry(b.Dentry); err == nil {
			mtime = e.Node.Mtime // as the endpoint has it, before its children come in
		}
		addr, err = l.dirAddress(tx, b.RemoteID)
		return err
	})
	if err != nil || dir.ID == 0 {
		return err
	}
	told := l.told.Load()
	entries, err := listAll(ctx, ep, addr)
	l.shut.note(dir.RemoteID, err)
	if isAny(err, misplaced) {
		l.setDue()
		l.bell.ring(ByWatcher) // gone meanwhile: its parent's listing tells
		return fmt.Errorf("list %s: %w", dir.RemoteName, err)
	}
	if err != nil {
		if remote.Temporary(err) || errors.Is(err, remote.ErrRootGone) {
			err = &unreachable{err}
		}
		return fmt.Errorf("list %s: %w", dir.RemoteName, err)
	}
	if err := fault.Point(faultListed); err != nil {
		return fmt.Errorf("list %s: %w", dir.RemoteName, err)
	}
	rules := l.rulesAhead(entries)
	for first := true; first || len(entries) > 0; first = false {
		n := min(len(entries), batchSize)
		if first && rules {
			n = 1
		}
		g := guests{dir.ID, entries[:n], n == len(entries), mtime, told}
		err := l.welcome(g)
		if ofOne(err) != nil {
			err = l.welcomeEach(g)
		}
		if errors.Is(err, errOvertaken) {
			return l.listDir(ctx, id) // the feed has newer news than the listing
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", dir.RemoteName, err)
		}
		fault.Cut(faultWelcomed)
		entries = entries[n:]
		if first && rules {
			if err := l.e.readRules(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// guests are a part of the first listing of a directory.
type guests struct {
	dir     cache.BindingID
	entries []remote.Entry
	last    bool
	mtime   int64 // of the directory before any of them came
	told    int64 // what of the feed was known before it was listed
}

// welcome brings a part of a first listing into the drive; the last part makes
// the directory listed and gives it its time back.
func (l *leg) welcome(g guests) error {
	var done counts
	err := l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		done = counts{}
		fresh, t, err := l.receive(tx, g, &done)
		if err != nil || t == nil {
			return err
		}
		t.dirs = newDirs()
		for _, rid := range fresh {
			if _, err := t.turn(rid); err != nil {
				return &objectError{rid, err}
			}
		}
		return t.received(g)
	})
	if err == nil {
		l.met.Add(done.Conflicts)
	}
	return err
}

// welcomeEach is welcome for each by itself. One that cannot be brought in is only observed.
func (l *leg) welcomeEach(g guests) error {
	for i := range g.entries {
		each := g
		each.entries, each.last = g.entries[i:i+1], g.last && i+1 == len(g.entries)
		err := l.welcome(each)
		if one := ofOne(err); one != nil {
			err = l.turnAway(each, one.cause)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// turnAway records a part of a first listing that cannot be brought in, and why.
func (l *leg) turnAway(g guests, cause error) error {
	var fresh []string
	err := l.e.Cache.Update(l.id, func(tx *cache.Tx) (err error) {
		var t *step
		if fresh, t, err = l.receive(tx, g, &counts{}); err != nil || t == nil {
			return err
		}
		return t.received(g)
	})
	for _, rid := range fresh {
		if err == nil {
			err = l.leave(&objectError{rid, cause}, &counts{})
		}
	}
	return err
}

// receive records a part of a first listing and returns the objects that are to come into the drive. No step: the directory
// was listed meanwhile, or is gone.
func (l *leg) receive(tx *cache.Tx, g guests, c *counts) (fresh []string, t *step, err error) {
	if l.told.Load() != g.told {
		return nil, nil, errOvertaken
	}
	b, ok, err := tx.Binding(g.dir)
	if err != nil || !ok || b.Listed {
		return nil, nil, err
	}
	kids := known{}
	if some, err := tx.KnowsChildren(l.id, b.RemoteID, b.ID); err != nil {
		return nil, nil, err
	} else if some {
		if kids, err = l.knownAmong(tx, b.RemoteID, g.entries); err != nil {
			return nil, nil, err
		}
	}
	r := l.recorder(tx, g.entries)
	if err := r.listing(b.RemoteID, kids, g.entries); err != nil {
		return nil, nil, err
	}
	t, err = l.step(tx, c)
	return r.fresh, t, err
}

// received notes with the last part of a first listing that the directory is listed.
func (t *step) received(g guests) error {
	if !g.last {
		return nil
	}
	b, ok, err := t.tx.Binding(g.dir)
	if err != nil || !ok {
		return err
	}
	b.Listed = true
	if err := t.tx.PutBinding(&b); err != nil || b.Dentry == 0 {
		return err
	}
	return t.allListed(b, g.mtime)
}

// knownAmong are the known children of a directory that bear names of a listing.
func (l *leg) knownAmong(tx *cache.Tx, dir string, entries []remote.Entry) (known, error) {
	kids := known{}
	for _, e := range entries {
		o, err := l.childAt(tx, dir, e.Name)
		if err != nil {
			return nil, err
		}
		if o != nil {
			kids[e.Name] = *o
		}
	}
	return kids, nil
}

// allListed makes the drive's directory listed when every leg that has it has listed it.
func (t *step) allListed(b cache.Binding, mtime int64) error {
	d, err := t.tx.Dentry(b.Dentry)
	if errors.Is(err, cache.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := t.tx.BindingsOf(d.ID)
	if err != nil {
		return err
	}
	for _, o := range all {
		if !o.Listed {
			return nil
		}
	}
	if err := t.tx.SetListing(d.Ino, cache.Listed); err != nil || mtime == 0 {
		return err
	}
	n, err := t.tx.Node(d.Ino)
	if err != nil {
		return err
	}
	n.Mtime = mtime
	return t.tx.UpdateNode(n)
}

// turn settles the subject behind a remote id and leaves an item where that does not finish it.
func (t *step) turn(rid string) (plan.Decision, error) {
	about, err := t.questionAbout(rid)
	if err != nil {
		return plan.Decision{}, err
	}
	d, err := t.settle(plan.Subject{Remote: plan.RemoteID(rid)})
	if err != nil {
		return d, err
	}
	if d.Wait == nil || d.Wait.Reason != plan.WaitDecision {
		if err := t.takeBack(about); err != nil {
			return d, err
		}
	}
	return d, t.remember(rid, d)
}

// remember keeps an item for an observation that could not be dealt with now, and closes it when it was.
func (t *step) remember(rid string, d plan.Decision) error {
	o, ok, err := t.tx.Observed(t.l.id, rid)
	if err != nil {
		return err
	}
	if !ok || d.Wait == nil && len(d.Ops) == 0 { // what is kept without being bound is seen again and again
		if ok && o.Gone && !o.Ignored { // its directory stays here for what is ignored in it
			o.Ignored = true
			if err := t.tx.PutObserved(o); err != nil {
				return err
			}
		}
		return t.tx.FinishRemote(t.l.id, rid)
	}
	if err := t.tx.EnsureRemote(t.l.id, rid, o.Name, remoteOperation(o, d)); err != nil {
		return err
	}
	switch {
	case d.Wait != nil && d.Wait.Reason == plan.WaitDecision:
		return t.tx.NoteConflict(t.l.id, rid, d.Wait.Reason.String())
	case d.Wait != nil:
		why := d.Wait.Reason.String()
		if d.Wait.Reason == plan.WaitBytes {
			why = t.l.fetches.says(rid)
		}
		return t.tx.NoteRemote(t.l.id, rid, why)
	case len(d.Ops) > 0 && removesExtra(d.Ops[0]):
		return nil // it may be held
	case len(lacks(rid, d)) == 0:
		return t.tx.NoteRemote(t.l.id, rid, "") // what it waits for is in the item of the drive's side
	}
	return nil
}

func remoteOperation(o cache.Observed, d plan.Decision) cache.Operation {
	switch {
	case o.Gone, len(d.Ops) > 0 && removesExtra(d.Ops[0]):
		return cache.OpDelete
	case len(d.Ops) > 0 && d.Ops[0].Kind == plan.OpMoveLocal:
		return cache.OpMove
	}
	return cache.OpUpdate
}
