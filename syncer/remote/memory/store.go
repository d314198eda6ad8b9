// Package memory is an endpoint held in memory: deterministic, fast, and as
// strict about its promises as the best real one. Planner and engine tests run
// on it, and it passes the conformance suite with every capability that can be
// switched off.
//
// A Store is the storage; its Endpoints are sessions on it, so a test can be
// "someone else" by opening a second one. There is no clock: times that nobody
// gave come from a counter, unless Options.Now is set. One lock per Store
// guards everything; no call into foreign code is made while it is held.
package memory

import (
	"fmt"
	"sync"
	"time"

	"vdfs/syncer/remote"
)

// Options shape a Store.
type Options struct {
	// Caps is what the storage can do; nil means AllCaps. A field that is off
	// is really off: the storage then behaves like one without it.
	Caps *remote.Caps
	// PageSize is the number of entries in a page of List and Changes; 0: 1000.
	PageSize int
	// Now gives the time of changes that carry none. nil: a counter, one
	// second further at each change, from the year 2000 on.
	Now func() time.Time
	// Quota is the number of content bytes that fit; 0: no limit.
	Quota int64
	// NoIdent leaves Entry.Ident empty even where ItemIDs are paths.
	NoIdent bool
}

// AllCaps is every capability the fake knows, on.
func AllCaps() remote.Caps {
	return remote.Caps{
		StableID: true, UniqueNames: true, Feed: true, FeedMoves: true, Push: true,
		Create: remote.Atomic, Replace: remote.Atomic, Rename: remote.Atomic, Remove: remote.Atomic,
		AtomicPut: true, DirMove: remote.Atomic, EmptyDirs: true, Symlinks: true, Perm: remote.PermFull,
		MtimeGrain: time.Nanosecond, Ranges: true, PinnedRead: remote.Atomic, Proof: remote.ProofRead,
		Trash: true, Versions: true, ListTrash: true, Idempotent: true,
		Names: remote.Names{MaxBytes: 255, Forbidden: "/\x00"}, Parallel: 16, Together: 16,
	}
}

// Store is the storage behind Endpoints.
type Store struct {
	opts Options
	caps remote.Caps

	mu        sync.Mutex
	root      *node
	byID      map[string]*node // by node.id, live nodes only
	all       []*node          // in order of creation; dead ones stay until compacted
	dead      int              // dead nodes in all
	made      uint64           // nodes made so far
	seq       uint64           // changes so far
	used      int64            // content bytes of live files
	log       []logged
	floor     uint64        // cursors before it are expired
	changed   chan struct{} // closed and replaced at each change
	done      map[remote.OpKey]remote.Entry
	kept      []Kept // in order of their numbers
	keptEver  int    // the last number
	epoch     int
	offline   bool
	rootGone  bool
	emptyRoot bool
}

// Kept is a version that was deleted or replaced.
type Kept struct {
	Path    string // where it was, slash separated
	Kind    remote.Kind
	Data    []byte // of a file; not to be changed
	Target  string // of a symlink
	Deleted bool   // deleted, else replaced by a Put
	Mode    uint32
	Mtime   time.Time
	When    time.Time // it went
	number  int       // counts all that went, from 1
}

// New returns an empty Store.
func New(o Options) *Store {
	s := &Store{
		opts:    o,
		caps:    AllCaps(),
		byID:    map[string]*node{},
		changed: make(chan struct{}),
		done:    map[remote.OpKey]remote.Entry{},
		epoch:   1,
	}
	if o.Caps != nil {
		s.caps = *o.Caps
	}
	s.caps.Idents = !s.caps.StableID && !o.NoIdent
	if s.opts.PageSize <= 0 {
		s.opts.PageSize = 1000
	}
	s.root = s.newNode(remote.Dir)
	return s
}

// Open returns a new session on the storage.
func (s *Store) Open() *Endpoint {
	return &Endpoint{s: s, caps: s.caps, closed: make(chan struct{})}
}

// SetOffline makes every call fail with ErrUnavailable, or ends that.
func (s *Store) SetOffline(off bool) { s.set(&s.offline, off) }

// SetRootGone makes every call fail with ErrRootGone, or ends that: the storage
// notices that its root is not there.
func (s *Store) SetRootGone(gone bool) { s.set(&s.rootGone, gone) }

// SetEmptyRoot puts an empty tree of another Epoch in place of the real one, or
// ends that. Check then gives ErrRootGone, but List and Changes answer with
// nothing and no error, as a server does whose disk is not mounted; writes give
// ErrRootGone.
func (s *Store) SetEmptyRoot(empty bool) { s.set(&s.emptyRoot, empty) }

// SetQuota changes the number of content bytes that fit; 0: no limit.
func (s *Store) SetQuota(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Quota = n
}

// ExpireCursors makes every cursor given out so far unknown.
func (s *Store) ExpireCursors() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	s.floor = s.seq
	s.log = nil
}

// NewEpoch makes the storage look restored: another Epoch in Status, and all
// cursors unknown.
func (s *Store) NewEpoch() {
	s.ExpireCursors()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
}

// Kept returns what was deleted or replaced, oldest first, where Caps.Trash or
// Caps.Versions keep it.
func (s *Store) Kept() []Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Kept(nil), s.kept...)
}

// Forget empties the trash and the history.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = nil
}

// Age makes all in the trash and the history look as if it had gone earlier by d.
func (s *Store) Age(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.kept {
		s.kept[i].When = s.kept[i].When.Add(-d)
	}
}

// keep puts the version that n has into the trash. s.mu is held.
func (s *Store) keep(n *node, deleted bool) {
	s.keptEver++
	s.kept = append(s.kept, Kept{
		number: s.keptEver,
		Path:   path(n), Kind: n.kind, Data: n.data, Target: n.target, Deleted: deleted, Mode: n.mode, Mtime: n.mtime, When: s.now(),
	})
}

func (s *Store) set(flag *bool, to bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*flag = to
	s.wake()
}

// wake ends the waits. s.mu is held.
func (s *Store) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// now is the time for a change that carries none. s.mu is held.
func (s *Store) now() time.Time {
	if s.opts.Now != nil {
		return s.opts.Now()
	}
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s.seq) * time.Second)
}

// epochName is this very store's, as two storages are never taken for each other.
func (s *Store) epochName() string { return fmt.Sprintf("memory-%p-%d", s, s.epoch) }

// usable says whether calls can be answered at all. s.mu is held.
func (s *Store) usable() error {
	switch {
	case s.offline:
		return remote.ErrUnavailable
	case s.rootGone:
		return remote.ErrRootGone
	}
	return nil
}

// writable says whether writes can be taken. s.mu is held.
func (s *Store) writable() error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.emptyRoot {
		return remote.ErrRootGone
	}
	return nil
}
