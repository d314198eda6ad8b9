package syncer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// A directory of the endpoint that cannot be listed, as nobody is let into it or another disk is mounted there, holds up nothing
// but what is below it. Every look tries it again; until one is let in, whoever waits is told, and waits for it no longer.

// lostTries is how often in a row a directory may be missing where its parent's listing has it, before that is more than a move.
const lostTries = 3

// shutDirs are a leg's directories that could not be listed at the last try, by remote id.
type shutDirs struct {
	mu  sync.Mutex
	all map[string]shutDir
}

type shutDir struct {
	err   error
	tries int
}

// note says what came of listing a directory.
func (s *shutDirs) note(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		delete(s.all, id)
	case errors.Is(err, remote.ErrDenied), errors.Is(err, remote.ErrDetached), isAny(err, misplaced):
		if s.all == nil {
			s.all = map[string]shutDir{}
		}
		s.all[id] = shutDir{err, s.all[id].tries + 1}
	}
}

// why is the error of a directory that nobody can do anything about here; nil: it was listed, or may be the next time.
func (s *shutDirs) why(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.all[id]
	if isAny(d.err, misplaced) && d.tries < lostTries {
		return nil
	}
	return d.err
}

// ids are those of all directories that could not be listed, in order.
func (s *shutDirs) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.all))
}

// forget drops directories.
func (s *shutDirs) forget(gone map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(id string, _ shutDir) bool { return gone[id] })
}

// shutOut are the directories that cannot be listed, with their paths and why. One that is gone is none of them.
func (l *leg) shutOut(tx *cache.Tx) (out []Blocked, err error) {
	gone := map[string]bool{}
	for _, id := range l.shut.ids() {
		o, err := l.object(tx, id)
		if err != nil {
			return nil, err
		}
		if o == nil || o.Gone {
			gone[id] = true
			continue
		}
		why := l.shut.why(id)
		if why == nil {
			continue
		}
		p, err := l.itemPath(tx, cache.Item{Leg: l.id, RemoteID: id})
		if err != nil {
			return nil, err
		}
		reason := fmt.Sprintf("what is in it is not known: %v", why)
		if what := remedy(why); what != "" {
			reason = fmt.Sprintf("%s (%s; it is tried again by itself)", reason, what)
		}
		out = append(out, Blocked{Path: p, Conduit: l.conduitRow().Name, Reason: reason})
	}
	l.shut.forget(gone)
	return out, nil
}

// toList reports whether a directory is left that was never listed, and that may be.
func (l *leg) toList(tx *cache.Tx) (bool, error) {
	for after := cache.BindingID(0); ; {
		page, err := tx.UnlistedBindings(l.id, after, batchSize)
		if err != nil || len(page) == 0 {
			return after == 0, err // all are, and the next cycle notes that
		}
		for _, b := range page {
			if after = b.ID; l.shut.why(b.RemoteID) == nil {
				return true, nil
			}
		}
	}
}
