package offload

import (
	"context"
	"io"
	"log/slog"
	"time"

	"vdfs/cache"
)

// Source gives the bytes that are not here. The syncer is one. Its errors may carry an errno.
type Source interface {
	// Fetch streams n bytes from off of a version of a node. All bytes are of that version, or the stream fails.
	Fetch(ctx context.Context, ino cache.Ino, version uint64, off, n int64) (io.ReadCloser, error)
	// Reachable says at once whether the node's present version could be fetched now; it asks nobody.
	Reachable(ino cache.Ino) error
	// Prove has endpoints prove, now, that they store exactly this version, and counts those that do; none is an error. Of a
	// version of which only a part ever was here it is enough that they still have what that is a part of.
	Prove(ctx context.Context, ino cache.Ino, version uint64) (copies int, err error)
	// Holds has an endpoint prove, now, whether a version is the content that has this BLAKE3. An error says that none could tell.
	Holds(ctx context.Context, ino cache.Ino, version uint64, h cache.Hash) (bool, error)
	// HashKnown is the BLAKE3 that the version must have, if anybody knows it.
	HashKnown(ino cache.Ino, version uint64) (cache.Hash, bool)
}

// Options are what a Manager is made with.
type Options struct {
	Cache  *cache.Cache
	Source Source
	Clock  cache.Clock  // nil: time.Now
	Logger *slog.Logger // nil: discarded
	// Timeout is how long a fetch may go without a byte; 0: 30 s.
	Timeout time.Duration
	// Parallel bounds the fetches that programs wait for, Background those that nobody does; 0: 16 and 4.
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
	background int
	walks      walks
	adoptions  adoptions
	minCopies  int
	evict      *evictor
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
	if o.Parallel == 0 {
		o.Parallel = 16
	}
	if o.Background == 0 {
		o.Background = 4
	}
	m := &Manager{
		Hydrator: newHydrator(o), cache: o.Cache, source: o.Source, now: o.Clock, log: o.Logger, background: o.Background,
		minCopies: max(o.MinCopies, 1),
	}
	m.adoptions.ended = make(chan struct{}, 1)
	m.evict = newEvictor(m, o.Eviction)
	return m
}
