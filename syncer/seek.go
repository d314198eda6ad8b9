package syncer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"vdfs/cache"
)

// A conduit that works in runs takes nothing in between two of them, but for what a reader waits for: a file that the endpoint has
// another version of, so that the one which the drive knows can be read nowhere any more, is looked at by itself.

// seeksMax is how many of them a leg has at a time. The others are found by their readers again.
const seeksMax = 1024

// seeks are objects that readers found to be changed, by remote id.
type seeks struct {
	mu  sync.Mutex
	all map[string]struct{}
}

func (s *seeks) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]struct{}{}
	}
	if id != "" && len(s.all) < seeksMax {
		s.all[id] = struct{}{}
	}
}

// take are those that came since it was last called.
func (s *seeks) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Sorted(maps.Keys(s.all))
	clear(s.all)
	return out
}

// seek brings up to date in the drive what readers have found to be changed. What fails is found again by the next reader.
func (l *leg) seek(ctx context.Context) {
	ids := l.seeks.take()
	if len(ids) == 0 || l.e.Paused() || !l.conduitRow().Enabled {
		return
	}
	var c counts
	err := l.seekAll(ctx, ids, &c)
	l.met.Add(c.Conflicts)
	if err != nil && ctx.Err() == nil {
		l.e.log.Warn("changed file not taken in for its reader", "conduit", l.conduitRow().Name, "error", err)
	}
}

func (l *leg) seekAll(ctx context.Context, ids []string, c *counts) error {
	ep, err := l.check(ctx)
	if err == nil {
		err = l.lookBack(ctx, ep)
	}
	if err != nil {
		return err
	}
	for _, id := range ids {
		var was *cache.Observed
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			was, err = l.object(tx, id)
			return err
		})
		if err != nil {
			return err
		}
		if was == nil || was.Gone {
			continue
		}
		// The others in its directory are observed, too, and wait for the run.
		if err := l.relist(ctx, ep, []string{was.Parent}); err != nil {
			return err
		}
		rows, err := l.observedOf(id, was.Parent, was.Name)
		if err != nil {
			return fmt.Errorf("look for %s: %w", was.Name, err)
		}
		needs, err := l.applyPage(rows, c)
		if err == nil {
			_, err = l.learn(ctx, needs, c)
		}
		if err != nil {
			return fmt.Errorf("take in %s: %w", was.Name, err)
		}
	}
	return nil
}

// observedOf is what was observed of an object, and of what has its place now.
func (l *leg) observedOf(id, parent, name string) (rows []cache.Observed, err error) {
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		o, ok, err := tx.Observed(l.id, id)
		if err != nil {
			return err
		}
		if ok {
			rows = append(rows, o)
		}
		if o, ok, err = tx.ObservedAt(l.id, parent, name); err == nil && ok && o.RemoteID != id {
			rows = append(rows, o)
		}
		return err
	})
	return rows, err
}
