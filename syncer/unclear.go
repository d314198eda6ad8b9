package syncer

import (
	"errors"
	"sync"

	"vdfs/cache"
	"vdfs/syncer/plan"
)

// A write whose outcome cannot be found out yet, as the endpoint does not let anybody look at what is there, may have made
// something. That is not taken for somebody else's before it is known whose it is.

// errUnclear says that nobody can tell yet what became of an earlier write: its item rests until that is found out.
var errUnclear = errors.New("it is not known whether an earlier write has happened")

// spot is a name in a directory of the endpoint.
type spot struct{ dir, name string }

// spots is a set of them.
type spots struct {
	mu  sync.Mutex
	set map[spot]bool
}

func (s *spots) put(at spot, in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !in:
		delete(s.set, at)
	case s.set == nil:
		s.set = map[spot]bool{at: true}
	default:
		s.set[at] = true
	}
}

func (s *spots) has(at spot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set[at]
}

// spotOf is where a write was to make something; the zero value: nowhere.
func (b *batch) spotOf(entry cache.JournalEntry) (s spot, err error) {
	w, derr := decodeWrite(entry.Op)
	if derr != nil || w.Op.Parent == 0 || w.Op.Kind == plan.OpMoveRemote {
		return s, err
	}
	err = b.l.e.Cache.View(func(tx *cache.Tx) error {
		p, ok, err := tx.Binding(cache.BindingID(w.Op.Parent))
		if ok {
			s = spot{p.RemoteID, w.Op.Name}
		}
		return err
	})
	return s, err
}

// noteUnclear notes whether it is unclear if something of ours is where a write was to make it.
func (b *batch) noteUnclear(entry cache.JournalEntry, unclear bool) error {
	s, err := b.spotOf(entry)
	if err == nil && s != (spot{}) {
		b.l.unclear.put(s, unclear)
	}
	return err
}
