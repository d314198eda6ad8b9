package offload

import (
	"context"
	"io"
	"log/slog"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
)

// Source gives the bytes that are not here. The syncer is one. Its errors may carry an errno.
type Source interface {
	// Fetch streams n bytes from off of a version of a node, and names the copy that they are from. All bytes are of that
	// version, or the stream fails. Copies that are shunned are asked only if no other can be had.
	Fetch(ctx context.Context, ino cache.Ino, version uint64, off, n int64, shunned []cache.BindingID) (io.ReadCloser, cache.BindingID, error)
	// Reachable says at once whether the node's present version could be fetched now; it asks nobody.
	Reachable(ino cache.Ino) error
	// Prove has endpoints prove, now, that they store exactly this version, and counts those that do; none is an error. Of a
	// version of which only a part ever was here it is enough that they still have what that is a part of.
	Prove(ctx context.Context, ino cache.Ino, version uint64) (copies int, err error)
	// Holds has an endpoint prove, now, whether a version is the content that has this BLAKE3. An error says that none could tell.
	Holds(ctx context.Context, ino cache.Ino, version uint64, h cache.Hash) (bool, error)
	// HashKnown is the BLAKE3 that the version must have, if anybody knows it.
	HashKnown(ino cache.Ino, version uint64) (cache.Hash, bool)
	// Sent is a number that grows with every byte of the drive's own changes that an endpoint takes. It costs nothing.
	Sent() int64
	// Sending reports whether any of them is on its way, or could be within seconds.
	Sending() bool
}

// Options are what a Manager is made with.
type Options struct {
	Cache  *cache.Cache
	Source Source
	Clock  cache.Clock  // nil: time.Now
	Logger *slog.Logger // nil: discarded
	Events *event.Bus   // is told what happens; nil: nobody is
	// Timeout is how long a fetch may go without a byte; 0: 30 s.
	Timeout time.Duration
	// Parallel bounds the fetches under way, Background those among them that are for transfers; 0: twice that, at least 16, and 8.
	Parallel, Background int
	// MinCopies is how many endpoints have to prove that they store a version before it is dropped here; 0: 1.
	MinCopies int
	// Eviction drops bytes by itself, while Run runs.
	Eviction Eviction
}

// Manager does residency for one drive. It is safe for concurrent use. It hydrates from the start; Run works off the
// durable transfers.
type Manager struct {
	*Hydrator
	cache      *cache.Cache
	source     Source
	now        cache.Clock
	log        *slog.Logger
	events     *event.Bus
	background int
	walks      walks
	adoptions  adoptions
	minCopies  int
	evict      *evictor
	pace       pace
}

// New makes a Manager. It starts nothing.
func New(o Options) *Manager {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Background == 0 {
		o.Background = 8
	}
	if o.Parallel == 0 {
		o.Parallel = max(16, 2*o.Background)
	}
	m := &Manager{
		Hydrator: newHydrator(o), cache: o.Cache, source: o.Source, now: o.Clock, log: o.Logger, events: o.Events, background: o.Background,
		minCopies: max(o.MinCopies, 1),
	}
	m.adoptions.ended = make(chan struct{}, 1)
	m.evict = newEvictor(m, o.Eviction)
	m.pace.stalled = -1
	m.wantRoom = m.evict.poke
	return m
}
