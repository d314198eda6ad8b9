package fs

import (
	"sync"
	"sync/atomic"

	"vdfs/cache"
)

const (
	pageBits = 15 // inode numbers a page: 4 KiB of bits
	pageSize = 1 << pageBits
)

// inoSet is a set of inode numbers that only grows, one bit a number.
type inoSet struct {
	mu    sync.RWMutex
	pages map[cache.Ino]*[pageSize / 64]atomic.Uint64
}

func (s *inoSet) page(ino cache.Ino) *[pageSize / 64]atomic.Uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pages[ino>>pageBits]
}

func bit(ino cache.Ino) (word int, mask uint64) {
	low := ino & (pageSize - 1)
	return int(low / 64), 1 << (low % 64)
}

func (s *inoSet) has(ino cache.Ino) bool {
	p := s.page(ino)
	word, mask := bit(ino)
	return p != nil && p[word].Load()&mask != 0
}

func (s *inoSet) add(ino cache.Ino) {
	p := s.page(ino)
	if p == nil {
		p = s.grow(ino)
	}
	if word, mask := bit(ino); p[word].Load()&mask == 0 {
		p[word].Or(mask)
	}
}

func (s *inoSet) grow(ino cache.Ino) *[pageSize / 64]atomic.Uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pages == nil {
		s.pages = make(map[cache.Ino]*[pageSize / 64]atomic.Uint64)
	}
	p := s.pages[ino>>pageBits]
	if p == nil {
		p = new([pageSize / 64]atomic.Uint64)
		s.pages[ino>>pageBits] = p
	}
	return p
}

// known is what the kernel may hold of the drive since it was mounted.
type known struct {
	nodes    inoSet        // nodes that were in a reply
	children inoSet        // directories of which a name, or the absence of one, was in a reply
	taken    atomic.Uint64 // changes taken from the feed, counted before they are acted on
}

// settle enters what a reply shows of a directory and its nodes. It reports false if a change was taken from the
// feed since the count was since: what the caller read may be older than a notification that was not sent. It must
// then read again.
func (k *known) settle(since uint64, parent cache.Ino, nodes ...cache.Ino) bool {
	if parent != 0 {
		k.children.add(parent)
	}
	for _, ino := range nodes {
		k.nodes.add(ino)
	}
	return k.taken.Load() == since
}
