package offload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/internal/clock"
)

const (
	// smallFile is the largest file that is fetched in one request and verified before anybody sees a byte of it.
	smallFile = 1 << 20
	// minFetch is what a read of a large file brings at least.
	minFetch = 64 << 10
	// Read-ahead is so many times what was read in order, up to windowMax: what an endpoint a tenth of a second away that gives
	// 100 MB/s has on its way while it is asked in pieces.
	eager     = 4
	windowMax = 48 << 20
	// stray is how far a read may be from where the last one ended and be one in order: the kernel's read-ahead mixes them up.
	stray = 1 << 20
	// mistrust is how long a version that failed verification is not fetched again.
	mistrust = time.Minute
)

// Hydrator brings bytes here for those who wait for them. What is fetched is shared: a context that ends ends one wait.
type Hydrator struct {
	cache   *cache.Cache
	source  Source
	now     cache.Clock
	steady  clock.Steady
	log     *slog.Logger
	events  *event.Bus
	timeout time.Duration

	// Fetches outlive those who wait, so they run under the hydrator's own context, which ends with Run.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	gate     *gate
	progress atomic.Int64 // when any byte last arrived
	full     atomic.Int64 // by steady, as progress: until when nothing is fetched for readers that is to be kept, as the disk is full
	wantRoom func()       // asks for room without waiting for it

	panes panes
	notes notes

	mu     sync.Mutex
	files  map[version]*file
	habits habits
}

// version names what is fetched.
type version struct {
	ino cache.Ino
	n   uint64
}

func newHydrator(o Options) *Hydrator {
	h := &Hydrator{
		cache: o.Cache, source: o.Source, now: o.Clock, steady: clock.Begin(), log: o.Logger, events: o.Events, timeout: o.Timeout,
		gate: newGate(o.Parallel, o.Background), files: make(map[version]*file), wantRoom: func() {},
		panes: panes{all: make(map[piece]*pane), freed: make(chan struct{})},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close ends all fetches and waits for them.
func (h *Hydrator) Close() {
	h.cancel()
	h.work.Wait()
}

// Prepare says at once whether what is missing of a file could be fetched now; of a file that is all here it is nil. It
// fetches nothing and waits for nothing.
func (h *Hydrator) Prepare(ino cache.Ino) error {
	n, err := h.cache.Attr(ino)
	if err != nil {
		return err
	}
	if n.Kind != cache.File || n.Residency == cache.Full || n.Size == 0 {
		return nil
	}
	if err := h.source.Reachable(ino); err != nil {
		return fmt.Errorf("open node %d: %w: %w", ino, ErrUnreachable, err)
	}
	return nil
}

// Ensure returns when the n bytes from off are here, as far as the file goes. Behind them more is fetched while reads are
// sequential. It waits for no room on the disk: cache.ErrNoSpace. Other errors are ErrUnreachable, ErrStalled, ErrMismatch,
// what the source says, or ctx's own.
func (h *Hydrator) Ensure(ctx context.Context, ino cache.Ino, off, n int64) error {
	return h.hydrate(ctx, ino, func(f *file) error { return f.ensure(ctx, off, n) })
}

// Head returns when the first n bytes of a file are here, and fetches nothing else for that. Of a small file they were
// verified with the whole, which is not kept.
func (h *Hydrator) Head(ctx context.Context, ino cache.Ino, n int64) error {
	return h.hydrate(ctx, ino, func(f *file) error { return f.head(ctx, n) })
}

// Complete returns when the whole file is here and verified.
func (h *Hydrator) Complete(ctx context.Context, ino cache.Ino) error {
	return h.hydrate(ctx, ino, func(f *file) error { return f.complete(ctx, blocked) })
}

// overtaken is how often a wait starts again because the file got another version under it.
const overtakenTries = 3

func (h *Hydrator) hydrate(ctx context.Context, ino cache.Ino, wait func(*file) error) error {
	var err error
	for range overtakenTries {
		var f *file
		if f, err = h.acquire(ino); err == nil && f != nil {
			err = errors.Join(wait(f), h.release(f))
		}
		if !errors.Is(err, ErrOvertaken) && !errors.Is(err, cache.ErrStale) || ctx.Err() != nil {
			break
		}
	}
	if errors.Is(err, cache.ErrNoSpace) {
		h.noteFull()
	}
	if err != nil {
		return fmt.Errorf("hydrate node %d: %w", ino, withErrnoOrContext(err))
	}
	return nil
}

// noteFull remembers that there was no room, and asks for some.
func (h *Hydrator) noteFull() {
	now := h.steady.Now()
	if until := h.full.Load(); int64(now) >= until && h.full.CompareAndSwap(until, int64(now+fullFor)) {
		h.wantRoom()
	}
}

// room is cache.ErrNoSpace if there was none a moment ago.
func (h *Hydrator) room() error {
	if int64(h.steady.Now()) < h.full.Load() {
		return cache.ErrNoSpace
	}
	return nil
}

func withErrnoOrContext(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return withErrno(err)
}

// fetch has take read n bytes from off of a version. from is the copy that gives them.
func (h *Hydrator) fetch(ctx context.Context, v version, off, n int64, take func(r io.Reader, from cache.BindingID) error) error {
	r, from, err := h.source.Fetch(ctx, v.ino, v.n, off, n, h.shunned(v))
	if err != nil {
		return err
	}
	err = take(r, from)
	if cerr := r.Close(); err == nil && cerr != nil {
		h.log.Debug("close of a fetch failed", "ino", uint64(v.ino), "error", cerr) // all bytes were read and are checked
	}
	return err
}

// mayBe reports whether a whole with this hash can be the version: as far as anybody knows.
func (h *Hydrator) mayBe(v version, sum cache.Hash) bool {
	want, known := h.source.HashKnown(v.ino, v.n)
	return !known || want == sum
}

// acquire finds or makes the shared state of a file's present version; nil: all of it is here.
func (h *Hydrator) acquire(ino cache.Ino) (*file, error) {
	n, err := h.cache.Attr(ino)
	if err != nil {
		return nil, err
	}
	if n.Kind != cache.File {
		return nil, fmt.Errorf("hydrate: %w", cache.ErrInvalid)
	}
	if n.Residency == cache.Full {
		return nil, nil
	}
	v := version{ino, n.Version}
	h.mu.Lock()
	if err = h.fetchable(v); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	f := h.files[v]
	if f == nil {
		f = &file{h: h, v: v, changed: make(chan struct{}), chunk: chunkMin, begun: h.events.Steady()}
		h.files[v] = f
	}
	f.refs++
	h.mu.Unlock()
	f.open.Do(func() {
		f.fill, f.openErr = h.cache.Fill(ino, v.n)
		f.progress = h.progressOf(ino, n.Size)
	})
	if f.openErr != nil {
		return nil, errors.Join(f.openErr, h.release(f))
	}
	return f, nil
}

// release gives a reference back; the last one closes the fill.
func (h *Hydrator) release(f *file) error {
	h.mu.Lock()
	f.refs--
	last := f.refs == 0
	if last {
		delete(h.files, f.v)
	}
	h.mu.Unlock()
	if last && f.fill != nil {
		return f.fill.Close()
	}
	return nil
}

// again takes one more reference to a file that the caller holds already.
func (h *Hydrator) again(f *file) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.refs++
}

// Hydrating reports whether bytes of the node are being fetched.
func (h *Hydrator) Hydrating(ino cache.Ino) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.files {
		if v.ino == ino {
			return true
		}
	}
	return false
}
