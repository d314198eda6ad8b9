package offload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/cache"
)

const (
	// smallFile is the largest file that is fetched in one request and verified before anybody sees a byte of it.
	smallFile = 1 << 20
	// Read-ahead begins with the first and doubles up to the second while reads are sequential.
	minWindow = 128 << 10
	maxWindow = 8 << 20
	// mistrust is how long a version that failed verification is not fetched again.
	mistrust = time.Minute
)

// Hydrator brings bytes here for those who wait for them. What is fetched is shared: a context that ends ends one wait.
type Hydrator struct {
	cache   *cache.Cache
	source  Source
	now     cache.Clock
	log     *slog.Logger
	timeout time.Duration

	// Fetches outlive those who wait, so they run under the hydrator's own context, which ends with Run.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	front, back chan struct{} // a token for each fetch under way, of those with and without somebody waiting
	progress    atomic.Int64  // when any byte last arrived

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
		cache: o.Cache, source: o.Source, now: o.Clock, log: o.Logger, timeout: o.Timeout,
		front: make(chan struct{}, o.Parallel), back: make(chan struct{}, o.Background),
		files: make(map[version]*file),
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
// sequential. Errors are ErrUnreachable, ErrStalled, ErrMismatch, what the source says, or ctx's own.
func (h *Hydrator) Ensure(ctx context.Context, ino cache.Ino, off, n int64) error {
	return h.hydrate(ctx, ino, func(f *file) error { return f.ensure(ctx, off, n) })
}

// Complete returns when the whole file is here and verified.
func (h *Hydrator) Complete(ctx context.Context, ino cache.Ino) error {
	return h.hydrate(ctx, ino, func(f *file) error { return f.complete(ctx, true) })
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
	if err != nil {
		return fmt.Errorf("hydrate node %d: %w", ino, withErrnoOrContext(err))
	}
	return nil
}

func withErrnoOrContext(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return withErrno(err)
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
	if err := h.habits.trusted(v, h.now().UnixNano()); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	f := h.files[v]
	if f == nil {
		f = &file{h: h, v: v, changed: make(chan struct{})}
		h.files[v] = f
	}
	f.refs++
	h.mu.Unlock()
	f.open.Do(func() { f.fill, f.openErr = h.cache.Fill(ino, v.n) })
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

// habits remembers how files were read lately, and which failed verification: as much as habitsMax files.
type habits struct {
	of    map[version]*habit
	order []version // ring, oldest at at
	at    int
}

const habitsMax = 512

// habit is how one version of a file is read.
type habit struct {
	next, window int64 // where a sequential reader goes on, and how far ahead of it is fetched
	failed       int64 // when it last failed verification
}

// get finds or makes a habit. Hydrator.mu is held.
func (s *habits) get(v version) *habit {
	if hb := s.of[v]; hb != nil {
		return hb
	}
	if s.of == nil {
		s.of = make(map[version]*habit)
		s.order = make([]version, habitsMax)
	}
	delete(s.of, s.order[s.at])
	s.order[s.at] = v
	s.at = (s.at + 1) % len(s.order)
	hb := &habit{}
	s.of[v] = hb
	return hb
}

func (s *habits) trusted(v version, now int64) error {
	if hb := s.of[v]; hb != nil && hb.failed != 0 && now-hb.failed < int64(mistrust) {
		return ErrMismatch
	}
	return nil
}

// read notes a read and answers how many bytes from off to fetch: what was asked for, and more while reads go on about
// where the last one ended. Several requests of one program's read-ahead may come out of order.
func (hb *habit) read(off, n int64) int64 {
	near := hb.window > 0 && off >= hb.next-maxWindow && off <= hb.next+hb.window || off == 0
	switch {
	case !near || hb.window == 0:
		hb.window = minWindow
	case off+n > hb.next:
		hb.window = min(2*hb.window, maxWindow)
	}
	if !near || off+n > hb.next {
		hb.next = off + n
	}
	return max(n, hb.window)
}
