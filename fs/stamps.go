package fs

import (
	"sync"

	"vdfs/cache"
)

// stampsMax is how many files, and how many directories, are remembered at least; at most twice as many.
const stampsMax = 64 << 10

// stamps remembers of which version the pages are that the kernel holds of a node. What it forgets is only read
// again. It keeps two generations: when the young one is full it becomes the old one, and the old one goes.
type stamps struct {
	mu         sync.Mutex
	limit      int
	young, old map[cache.Ino]uint64
}

func newStamps(limit int) *stamps {
	return &stamps{limit: limit, young: make(map[cache.Ino]uint64)}
}

// get returns the stamp of a node; 0: not known.
func (s *stamps) get(ino cache.Ino) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.young[ino]; ok {
		return v
	}
	v, ok := s.old[ino]
	if ok {
		s.put(ino, v)
	}
	return v
}

func (s *stamps) set(ino cache.Ino, stamp uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(ino, stamp)
}

func (s *stamps) put(ino cache.Ino, stamp uint64) {
	if _, ok := s.young[ino]; !ok && len(s.young) >= s.limit {
		s.old, s.young = s.young, make(map[cache.Ino]uint64)
	}
	s.young[ino] = stamp
	delete(s.old, ino)
}

func (s *stamps) drop(ino cache.Ino) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, ino)
	delete(s.old, ino)
}

// follow moves the stamp along with a change that the kernel made in its own pages too: from the version before to
// this one. Any other stamp is of pages that are not of this version.
func (s *stamps) follow(ino cache.Ino, version uint64) {
	switch stamp := s.get(ino); {
	case stamp == 0 || stamp == version:
	case stamp == version-1:
		s.set(ino, version)
	default:
		s.drop(ino)
	}
}
