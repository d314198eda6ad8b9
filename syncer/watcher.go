package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/internal/fault"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// What a generation has done is proved copy by copy. That it holds is another question: somebody else may have been at work at the
// same time. So when it is complete each object that it touched is looked at again, at the endpoint and in the drive
// (cache.WaitingWatcher), the changes that the legs of the conduit know of are taken in once (cache.WaitingSync), and what was
// touched is decided again: where nothing comes of it the generation is verified. Else it has failed, and what is left to do is
// work for a later one. An endpoint that tells of changes only by being listed as a whole is not asked for that: the look at each
// object is all that can be had of it before its turn comes.
//
// All of that goes on behind the work, in parts, and makes way as sending does. What was touched is read from the index page by page,
// so that memory does not grow with a generation.

// librarySyncMax is how long a generation waits for the look at the other endpoint of its conduit, while that is away.
const librarySyncMax = time.Hour

// watchSlice is how long a part of a verification takes, or little longer: so long an edit waits for it at the most.
const watchSlice = 10 * time.Millisecond

// looks counts how often the changes of an endpoint were taken in.
type looks struct{ begun, ended atomic.Int64 }

// watching is how far a leg has come with the generations that wait to be verified. It is lost with the process, which begins
// anew with the step that it was at.
type watching struct {
	begun      time.Time // of this part
	generation int64     // that is looked at; 0: none
	at         cache.Touched
	seen       atomic.Int64 // objects
	all        atomic.Int64
	restless   int64  // objects that are not at rest
	first      string // the path of the first of them
	unseen     error  // why one could not be looked at; nil: all could
	synced     int64  // the changes of all legs are taken in for generations up to this
	needs      map[*leg]int64
}

// look takes in the changes of the endpoint, and wakes those who wait for that.
func (l *leg) look(ctx context.Context, ep remote.Endpoint, full bool) error {
	n := l.looks.begun.Add(1)
	if err := l.pull(ctx, ep, full); err != nil {
		return err
	}
	l.looks.ended.Store(n)
	for _, o := range l.siblings() {
		if o.unverified.Load() {
			o.wake()
		}
	}
	return nil
}

// siblings are the other legs of the conduit.
func (l *leg) siblings() (out []*leg) {
	cd := l.conduitRow().ID
	for _, o := range l.e.current() {
		if o != l && o.conduitRow().ID == cd {
			out = append(out, o)
		}
	}
	return out
}

// tells reports whether the endpoint tells of its changes at little cost, or is not known to do otherwise.
func (l *leg) tells() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.caps == nil || l.caps.Push || l.caps.Feed
}

// verifying reports whether a generation is to be verified and nothing that is away is waited for.
func (l *leg) verifying() bool {
	return l.unverified.Load() && !slices.ContainsFunc(l.siblings(), (*leg).away)
}

// pressed reports whether something else is to be looked at now.
func (l *leg) pressed() bool {
	return l.bell.presses() || time.Since(l.watching.begun) > watchSlice
}

// watch goes on with the verification of generations that are complete, for a while. It reports whether more of it can be done.
func (l *leg) watch(ctx context.Context, ep remote.Endpoint) (more bool, err error) {
	if !l.unverified.Load() {
		return false, nil
	}
	l.watching.begun = time.Now()
	done, err := l.verify(ctx, ep)
	if err != nil {
		l.watching.generation = 0 // its step begins anew
	}
	if errors.Is(err, ErrUnreachable) {
		l.setOffline(err)
	}
	return err == nil && !done, err
}

// verify is watch; done: until the look at another endpoint is waited for.
func (l *leg) verify(ctx context.Context, ep remote.Endpoint) (done bool, err error) {
	var all []cache.Generation
	err = l.e.Cache.View(func(tx *cache.Tx) (err error) {
		all, err = tx.OpenGenerations(l.id)
		return err
	})
	all = slices.DeleteFunc(all, func(g cache.Generation) bool { return g.Completed == 0 })
	if err != nil || len(all) == 0 {
		l.unverified.Store(err != nil)
		return true, err
	}
	// What is synced goes first: were it to wait for what is new, it would wait for ever.
	if done, err := l.judge(ctx, all); err != nil || !done {
		return false, err
	}
	for i := range all {
		if done, err := l.reobserve(ctx, ep, &all[i]); err != nil || !done {
			return false, err
		}
	}
	if err := l.librarySync(ctx, ep, all); err != nil {
		return false, err
	}
	done, err = l.judge(ctx, all)
	l.unverified.Store(err != nil || slices.ContainsFunc(all, waitsToBeVerified))
	return done, err
}

// waitsToBeVerified reports whether a generation has no verdict yet.
func waitsToBeVerified(g cache.Generation) bool {
	return g.Verification == cache.WaitingWatcher || g.Verification == cache.WaitingSync
}

// reobserve has all that a generation has touched looked at again, if that is still to be done.
func (l *leg) reobserve(ctx context.Context, ep remote.Endpoint, g *cache.Generation) (done bool, err error) {
	if g.Verification != cache.WaitingWatcher {
		return true, nil
	}
	done, err = l.throughTouched(ctx, *g, func(page []cache.Touched) error { return l.lookAgain(ctx, ep, page) })
	if err != nil || !done {
		return false, err
	}
	state := cache.WaitingSync
	if w := l.watching.unseen; w != nil {
		state = cache.FailedPrefix + reasonOf(w)
		l.doubt.Store(reasonOf(w))
	}
	if err := l.conclude(g, state); err != nil {
		return false, err
	}
	fault.Cut(faultReobserved)
	return true, nil
}

// judge decides again what those generations have touched for which all changes have been taken in; done: until it waits for those.
func (l *leg) judge(ctx context.Context, all []cache.Generation) (done bool, err error) {
	for i := range all {
		g := &all[i]
		if g.Verification != cache.WaitingSync || g.Number > l.watching.synced {
			continue
		}
		if waits, err := l.awaitsLook(g); err != nil || waits {
			return true, err
		}
		if g.Verification != cache.WaitingSync { // it waits no more
			continue
		}
		done, err := l.throughTouched(ctx, *g, l.decideAgain)
		if err != nil || !done {
			return false, err
		}
		if err := l.conclude(g, l.verdict()); err != nil {
			return false, err
		}
		fault.Cut(faultVerified)
	}
	return true, nil
}

// throughTouched calls do for what a generation has touched, from where it stopped, a page at a time: at least for one, and then until
// there is other work. It reports whether that was all.
func (l *leg) throughTouched(ctx context.Context, g cache.Generation, do func([]cache.Touched) error) (done bool, err error) {
	w := &l.watching
	if w.generation != g.Number {
		w.generation, w.at, w.restless, w.first, w.unseen = g.Number, cache.Touched{}, 0, "", nil
		w.seen.Store(0)
		err := l.e.Cache.View(func(tx *cache.Tx) error {
			n, err := tx.CountTouched(l.id, g.Number)
			w.all.Store(n)
			return err
		})
		if err != nil {
			return false, err
		}
	}
	l.progress.enter(PhaseVerifying)
	defer l.progress.leave()
	for {
		begun := time.Now()
		var page []cache.Touched
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.TouchedPage(l.id, g.Number, w.at, batchSize)
			return err
		})
		if err == nil && len(page) > 0 {
			err = do(page)
		}
		if err != nil {
			return false, err
		}
		if len(page) < batchSize {
			w.generation = 0
			return true, nil
		}
		w.at = page[len(page)-1]
		w.seen.Add(int64(len(page)))
		if l.makeWay(ctx, time.Since(begun)); ctx.Err() != nil || l.pressed() {
			return false, ctx.Err()
		}
	}
}

// glimpse is an object of the endpoint that is looked at again.
type glimpse struct {
	at     remote.ItemID // of it or, of one that was removed, of the directory that it was in
	name   string        // of one that was removed there
	known  *cache.Observed
	parent string // remote id of its directory
}

// lookAgain looks at a page of objects at the endpoint. Where one is not what it is known to be its directory is listed, which tells
// what has become of it.
func (l *leg) lookAgain(ctx context.Context, ep remote.Endpoint, page []cache.Touched) error {
	var all []glimpse
	err := l.e.Cache.View(func(tx *cache.Tx) error {
		for _, t := range page {
			g, ok, err := l.glimpse(tx, t)
			if err != nil {
				return err
			}
			if ok {
				all = append(all, g)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	changed, unseen := make([]bool, len(all)), make([]error, len(all))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(l.parallel())
	for i := range all {
		g.Go(func() (err error) {
			changed[i], unseen[i], err = l.hasChanged(gctx, ep, all[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("look again at what was done: %w", asUnreachable(err))
	}
	var dirs []string
	for i, yes := range changed {
		if yes && all[i].parent != "" {
			dirs = append(dirs, all[i].parent)
		}
		if l.watching.unseen == nil {
			l.watching.unseen = unseen[i]
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	return l.relist(ctx, ep, dirs)
}

// glimpse finds out where an object is to be; false: it is known to be elsewhere, or gone, by now.
func (l *leg) glimpse(tx *cache.Tx, t cache.Touched) (g glimpse, ok bool, err error) {
	id := t.RemoteID
	if id == "" {
		b, ok, err := tx.Binding(t.Binding)
		if err != nil || !ok {
			return g, false, err
		}
		id = b.RemoteID
	}
	if g.known, err = l.object(tx, id); err != nil {
		return g, false, err
	}
	switch {
	case t.RemoteID == "":
		if g.known == nil || g.known.Gone {
			return g, false, nil
		}
		g.parent = g.known.Parent
		g.at, err = l.address(tx, id)
	case l.caps.StableID:
		g.parent = t.Parent
		g.at, err = l.address(tx, id)
	default:
		g.parent, g.name = t.Parent, t.Name
		if g.known, err = l.childAt(tx, t.Parent, t.Name); err != nil {
			return g, false, err
		}
		if dir, err := l.object(tx, t.Parent); err != nil || dir == nil || dir.Gone {
			return g, false, err
		}
		g.at, err = l.dirAddress(tx, t.Parent)
	}
	if errors.Is(err, remote.ErrNotFound) {
		return g, false, nil
	}
	return g, err == nil, err
}

// hasChanged reports whether an object is another than it is known to be, or why it cannot be looked at. err is not about it.
func (l *leg) hasChanged(ctx context.Context, ep remote.Endpoint, g glimpse) (yes bool, unseen, err error) {
	var e remote.Entry
	if g.name != "" {
		e, err = ep.Lookup(ctx, g.at, g.name)
	} else {
		e, err = ep.Stat(ctx, g.at)
	}
	known := g.known != nil && !g.known.Gone
	switch {
	case errors.Is(err, remote.ErrNotFound):
		return known, nil, nil
	case isAny(err, misplaced):
		return true, nil, nil
	case ctx.Err() != nil, remote.Temporary(err), errors.Is(err, remote.ErrRootGone):
		return false, nil, err
	case err != nil:
		return false, fmt.Errorf("what was done cannot be looked at: %w", err), nil
	case !known:
		return true, nil, nil
	}
	parent := g.known.Parent
	if l.caps.StableID {
		parent = string(e.Parent)
	}
	now := l.seen(g.known.RemoteID, parent, e)
	return !l.same(*g.known, now) || now.Ident != g.known.Ident || now.Kind == cache.File && now.Content != g.known.Content, nil, nil
}

// librarySync takes in the changes that the endpoints of the conduit tell of, once for all generations that wait for it.
func (l *leg) librarySync(ctx context.Context, ep remote.Endpoint, all []cache.Generation) error {
	w, last := &l.watching, all[len(all)-1].Number
	if w.synced >= last {
		return nil
	}
	if l.tells() {
		if err := l.look(ctx, ep, false); err != nil {
			return asUnreachable(err)
		}
	}
	w.synced, w.needs = last, map[*leg]int64{}
	for _, o := range l.siblings() {
		if o.tells() {
			w.needs[o] = o.looks.begun.Load() + 1
			o.wake()
		}
	}
	return nil
}

// awaitsLook reports whether another endpoint of the conduit has not been looked at yet since a generation was. One that is away for
// long is waited for no more.
func (l *leg) awaitsLook(g *cache.Generation) (bool, error) {
	w := &l.watching
	for o, n := range w.needs {
		switch {
		case o.looks.ended.Load() >= n, l.e.leg(o.id) != o, !o.tells():
			delete(w.needs, o)
		case o.away() && l.e.now()-g.Completed > int64(librarySyncMax):
			return false, l.conclude(g, cache.FailedPrefix+o.target+" was not reachable to be looked at")
		}
	}
	return len(w.needs) > 0, nil
}

// decideAgain counts which of a page of objects are not at rest, and sees to it that they are work for a later generation.
func (l *leg) decideAgain(page []cache.Touched) error {
	w := &l.watching
	var again []cache.BindingID
	restless, first := int64(0), ""
	err := l.e.Cache.View(func(tx *cache.Tx) error {
		v, err := l.views(tx)
		if err != nil {
			return err
		}
		for _, t := range page {
			some, work, err := v.restless(t)
			if err != nil {
				return err
			}
			if !some {
				continue
			}
			if restless++; w.restless == 0 && first == "" {
				if first, err = l.itemPath(tx, cache.Item{Leg: l.id, Binding: t.Binding, RemoteID: t.RemoteID, Name: t.Name}); err != nil {
					return err
				}
			}
			if work {
				again = append(again, t.Binding)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("decide again what was done: %w", err)
	}
	if len(again) > 0 {
		err = l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
			for _, b := range again {
				if err := tx.EnsureItem(l.id, b, 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if w.first == "" {
		w.first = first
	}
	w.restless += restless
	return err
}

// restless reports whether something is to be done about an object that a generation has touched, and whether that is the leg's own
// work. What an archive takes in is to be released later on: that is no part of it.
func (v *views) restless(t cache.Touched) (some, work bool, err error) {
	if t.RemoteID != "" {
		o, err := v.l.object(v.tx, t.RemoteID)
		return o != nil && !o.Gone, false, err
	}
	if _, ok, err := v.tx.Binding(t.Binding); err != nil || !ok {
		return false, false, err
	}
	d, err := plan.Decide(v, plan.Subject{Binding: plan.BindingID(t.Binding)}, v.l.rules())
	if err != nil {
		return true, false, nil //nolint:nilerr // it fails by itself, when its turn comes
	}
	if releases(v.rules) && (d.Wait != nil && d.Wait.Reason == plan.WaitProof || len(d.Ops) > 0 && (d.Ops[0].Kind == plan.OpRelease || d.Ops[0].Kind == plan.OpMarkRelease)) {
		return false, false, nil
	}
	return d.Wait != nil || len(d.Ops) > 0, len(d.Ops) > 0, nil
}

// verdict is what a generation comes to of which all was decided again.
func (l *leg) verdict() string {
	w := &l.watching
	switch w.restless {
	case 0:
		return cache.Verified
	case 1:
		return fmt.Sprintf("%s%s has changed since", cache.FailedPrefix, w.first)
	}
	return fmt.Sprintf("%s%d objects have changed since, such as %s", cache.FailedPrefix, w.restless, w.first)
}

// conclude writes down how far the verification of a generation has come.
func (l *leg) conclude(g *cache.Generation, state string) error {
	g.Verification = state
	err := l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		if state == cache.Verified {
			g.Verified = tx.Now()
		}
		if state != cache.WaitingSync {
			if err := tx.DropTouched(l.id, g.Number); err != nil {
				return err
			}
		}
		return tx.PutGeneration(*g)
	})
	if err != nil {
		return fmt.Errorf("verify generation: %w", err)
	}
	if state != cache.WaitingSync {
		l.e.log.Debug("generation ended", "conduit", l.conduitRow().Name, "generation", g.Number, "verification", state)
		l.news.outcome(*g)
	}
	return nil
}
