package cache

import (
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/internal/clock"
	"vdfs/internal/schedule"
)

// Options are what a Cache is opened with.
type Options struct {
	// Dir holds index.db, content/, lost+found/ and backups/. It is made with mode 0700.
	Dir string
	// Device names this machine in conflict files and origins.
	Device string
	// Clock tells the time; nil: that of the kernel's file systems, so that the drive's own stamps go with those of the
	// backing files.
	Clock Clock
	// Logger receives what no caller can be told; nil: discarded.
	Logger *slog.Logger
	// LocalOnly decides by name which files are never sent (editor locks, temps); nil: none.
	LocalOnly func(name string) bool
	// Counts tells whether a file is used by an open of this process; nil: by every open. It is asked soon after the open
	// and once more some seconds later, when the process may be gone, with no lock held.
	Counts func(pid uint32) bool
	// Used is called in the transaction that notes that a file was used; nil: nothing else comes of it.
	Used func(tx *Tx, ino Ino) error
	// QuietMin and QuietMax bound how long a file rests after its last close before it is sent, but for the first close of a
	// short one, after which that is 0.05 s at most. 0: 0.2 s and 5 s.
	QuietMin, QuietMax time.Duration
	// OpenFor is how long a file that stays open for writing is waited for, before a copy of it is sent, and then how long to the
	// next copy. 0: 10 minutes.
	OpenFor time.Duration
	// TrashKept and TrashMost are how long the trash keeps a version, and how many bytes. 0: 30 days, and a tenth of what is free
	// but at most 20 GiB.
	TrashKept time.Duration
	TrashMost int64
	// UID and GID own the root directory when it is made.
	UID, GID uint32
	// Tasks counts the background work; nil: nobody asks for it.
	Tasks *schedule.Tasks
}

// Cache is the durable truth of one drive on this machine. It is safe for concurrent use.
//
// Lock order: a node's lease, then the writer (held for the length of a transaction), then the feed. Readers have a
// connection of their own for as long as they look, or hold the writer while a group of transactions is open: see group.
// Callbacks given to View and Update must do no I/O and call no method of Cache, because they may hold the writer.
type Cache struct {
	opt    Options
	stamps Clock // what backing files are stamped with
	steady clock.Steady
	log    *slog.Logger
	lock   *os.File // holds the flock that keeps a second process out

	writer struct {
		sync.Mutex
		conn  *conn               // nil after Close
		legs  map[PlaceID][]LegID // nil: not read since the last change
		group group
	}
	grouped atomic.Bool // only the writer's connection can see everything; set under its lock
	readers chan *conn
	opened  int           // how many readers there are
	done    chan struct{} // closed by Close
	seq     atomic.Uint64
	nodes   atomic.Int64 // how many nodes there are, as Stats.Nodes; moved, as store.bytes is, with the writer's lock held
	counted sync.Mutex   // held while nodes and store.bytes are counted
	known   atomic.Bool  // they were: until then they say only what was added since Open
	frozen  atomic.Int64 // how many places take no changes of programs
	merging atomic.Int64 // in how many places files are merged
	changed atomic.Int64 // when a program last changed something, by steady: see SinceChange
	feed    Feed
	watch   watchers
	joint   jointQueue

	contentState
}

// SinceChange is how long ago a program made, renamed or removed a file or began to write to one.
func (c *Cache) SinceChange() time.Duration { return c.steady.Now() - time.Duration(c.changed.Load()) }

func (c *Cache) noteChange() { c.changed.Store(int64(c.steady.Now())) }

// Close lets go of the index. It must be called last, when nothing else runs on the Cache; what is durable stays so
// without it.
func (c *Cache) Close() error {
	c.feed.shut()
	c.settleNow()
	return c.closeAll()
}
