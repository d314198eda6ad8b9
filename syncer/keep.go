package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

const (
	// keptMax bounds the versions that are kept: each may cost the endpoint a descriptor.
	keptMax = 512
	// keepMax is how long an open waits for the endpoint. One that takes longer opens the file all the same.
	keepMax = 2 * time.Second
	// takeTries is how often an object is looked at that changes between two looks.
	takeTries = 100
)

// keeps are the versions that endpoints were asked to keep, because somebody has them open and their bytes are not all here.
type keeps struct {
	mu sync.Mutex
	m  map[keptVersion]*kept
}

type keptVersion struct {
	ino     cache.Ino
	version uint64
}

type kept struct {
	leg     *leg
	addr    remote.ItemID
	content remote.Content
	release func()
	users   int
}

// use takes one more reference; nil: the version is not kept.
func (k *keeps) use(v keptVersion) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.m[v]
	if have != nil {
		have.users++
	}
	return have
}

// add keeps a version for one user, unless too many are kept already or somebody was faster.
func (k *keeps) add(v keptVersion, fresh *kept) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m[v] != nil || len(k.m) >= keptMax {
		return false
	}
	if k.m == nil {
		k.m = map[keptVersion]*kept{}
	}
	fresh.users = 1
	k.m[v] = fresh
	return true
}

// drop gives a reference back; the last one lets the endpoint go.
func (k *keeps) drop(v keptVersion) {
	k.mu.Lock()
	have := k.m[v]
	last := false
	if have != nil {
		have.users--
		if last = have.users == 0; last {
			delete(k.m, v)
		}
	}
	k.mu.Unlock()
	if last {
		have.release()
	}
}

// Keep has an endpoint keep a version of a node readable until release is called, though the file be replaced there
// meanwhile. cache.ErrStale: it was replaced before, see Renew. cache.ErrNotFound: it was deleted there. Where an endpoint
// cannot keep anything, or does not answer soon, nothing is kept and that is no error.
func (e *Engine) Keep(ctx context.Context, ino cache.Ino, version uint64) (release func(), err error) {
	v := keptVersion{ino, version}
	drop := sync.OnceFunc(func() { e.kept.drop(v) })
	if e.kept.use(v) != nil {
		return drop, nil
	}
	list, err := e.holders(ino, version)
	if err != nil {
		return nil, fmt.Errorf("keep node %d: %w", ino, err)
	}
	for _, h := range list {
		k, err := h.keep(ctx)
		switch {
		case err == nil && e.kept.add(v, k):
			return drop, nil
		case err == nil:
			k.release()
		case errors.Is(err, remote.ErrNotFound):
			h.l.setDue()
			poke(h.l.hint) // the drive is about to know
			return nil, fmt.Errorf("keep node %d: %w: %w", ino, cache.ErrNotFound, err)
		case isAny(err, surprises):
			return nil, fmt.Errorf("keep node %d: %w: %w", ino, cache.ErrStale, err)
		default:
			h.l.e.log.Debug("version is not kept", "ino", uint64(ino), "error", err)
		}
	}
	return func() {}, nil
}

// Renew takes in what the endpoints have now under the names of a node, without waiting for a cycle.
func (e *Engine) Renew(ctx context.Context, ino cache.Ino) error {
	var list []holder
	err := e.Cache.View(func(tx *cache.Tx) (err error) {
		list, err = e.bound(tx, ino)
		return err
	})
	if err != nil {
		return fmt.Errorf("renew node %d: %w", ino, err)
	}
	var errs []error
	for _, h := range list {
		if err := h.take(ctx); err != nil {
			errs = append(errs, fmt.Errorf("renew node %d: %w", ino, err))
		}
	}
	return errors.Join(errs...)
}

// keep has the endpoint hold what the base says it has.
func (h holder) keep(ctx context.Context) (*kept, error) {
	ctx, cancel := context.WithTimeout(ctx, keepMax)
	defer cancel()
	ep, addr, err := h.reach(ctx)
	if err != nil {
		return nil, err
	}
	holds, ok := ep.(remote.Holder)
	if !ok {
		return nil, remote.ErrUnsupported
	}
	v := remote.Content(h.binding.Content)
	_, release, err := holds.Hold(ctx, addr, v)
	if err != nil {
		return nil, err
	}
	return &kept{leg: h.l, addr: addr, content: v, release: release}, nil
}

// fetchKept reads a version that is kept; nil: it is not.
func (e *Engine) fetchKept(ctx context.Context, v keptVersion, off, n int64) (io.ReadCloser, error) {
	k := e.kept.use(v)
	if k == nil {
		return nil, nil
	}
	defer e.kept.drop(v) // the stream needs no name any more
	ep, err := k.leg.online(ctx)
	if err != nil {
		return nil, err
	}
	return ep.Read(ctx, k.addr, k.content, off, n)
}

// take brings what the endpoint has now, in the place of an object, into the drive, without waiting for the leg's turn.
// It looks once more after that: a cycle under way may have seen something newer before, and is not to be undone.
func (h holder) take(ctx context.Context) error {
	l := h.l
	if l.e.Paused() || !l.conduitRow().Enabled || l.caps.Feed {
		poke(l.hint)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keepMax)
	defer cancel()
	ep, addr, err := h.reach(ctx)
	if err != nil {
		return err
	}
	now, err := ep.Stat(ctx, addr)
	for range takeTries {
		if err != nil {
			break
		}
		if err = h.observe(now); err != nil {
			break
		}
		before := now
		if now, err = ep.Stat(ctx, addr); err == nil && now.Content == before.Content {
			return nil
		}
	}
	l.setDue() // whatever it was, a cycle sorts it out
	poke(l.hint)
	return err
}

// observe records an object as it is now and settles it.
func (h holder) observe(now remote.Entry) error {
	return h.l.e.Cache.Update(h.l.id, func(tx *cache.Tx) error {
		old, err := h.l.object(tx, h.binding.RemoteID)
		if err != nil || old == nil || old.Gone || old.Name != now.Name {
			return err // it was moved: the look was at something else
		}
		kids, err := h.l.knownAmong(tx, old.Parent, []remote.Entry{now})
		if err != nil {
			return err
		}
		r := &recorder{l: h.l, tx: tx}
		if err := r.listing(old.Parent, kids, []remote.Entry{now}, false); err != nil {
			return err
		}
		t, err := h.l.step(tx, &counts{})
		if err != nil {
			return err
		}
		for _, id := range r.fresh {
			if err := t.turn(id); err != nil {
				return err
			}
		}
		return nil
	})
}
