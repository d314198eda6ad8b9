package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/internal/clock"
	"vdfs/internal/ignore"
	"vdfs/internal/schedule"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/paced"
)

// Options are what an Engine works with.
type Options struct {
	Cache *cache.Cache
	// Open opens the endpoint of a leg. It is called again after it failed.
	Open   func(ctx context.Context, endpoint string, leg cache.Leg) (remote.Endpoint, error)
	Device string // names this machine in conflict files
	Logger *slog.Logger
	Events *event.Bus // is told what happens; nil: nobody is
	Clock  func() time.Time
	// Interval is the longest time between two looks at an endpoint. 0: 30 s.
	Interval time.Duration
	// Adaptive has the time between two looks follow what they find: between a sixth and the tenfold of Interval.
	Adaptive bool
	// Quiet is how long a change of names rests before it is sent, so that an editor's way of saving is seen as a whole.
	// 0: 0.05 s. Contents have a quiet period of their own, in the cache.
	Quiet time.Duration
	// More than GuardCount disappearances that are also more than GuardPercent of a leg hold its deletes. 0: 50 and 25.
	GuardCount, GuardPercent int
	// Likewise for what is deleted in the drive: that is a person's own. 0: 1000 and 50.
	LocalGuardCount, LocalGuardPercent int
	// Strategy, Rules and Parallel are those of conduits that are made without. "": conflict-file; 0: 3.
	Strategy string
	Rules    []cache.Rule
	Parallel int
	// Transfers bounds the contents on their way over all conduits, besides those that readers wait for. 0: 8.
	Transfers int
	// TrashKept is how long an endpoint's trash keeps a version, TrashMost how many bytes it keeps beyond the last day.
	// 0: 30 days; a tenth of what is free there, at most 20 GiB.
	TrashKept time.Duration
	TrashMost int64
	// Ignore are the lists of patterns that hold in every place, the strongest last. Ignore files are stronger.
	Ignore []*ignore.List
	// Late is set while a name alone does not tell that something is never sent, so that the cache must not judge by it: a
	// conduit takes all there is, or a pattern brings names back. nil: nobody asks.
	Late *atomic.Bool
	// Merge merges two changes of a text that both sides had; false: they cannot be. nil: nothing is merged.
	Merge func(base, ours, theirs []byte) ([]byte, bool)
	// UID and GID own what arrives from endpoints.
	UID, GID uint32
	// Contains reports whether an endpoint, as its leg names it, lies in another one. nil: by their names.
	Contains func(outer, inner string) bool
	// Elapsed is how long ago something was, however long it is ago; the sleep of the machine counts, and nobody sets it. nil:
	// since it was started.
	Elapsed func() time.Duration
	// Tasks counts what is done again and again. nil: nobody asks for it.
	Tasks *schedule.Tasks
}

func (o *Options) defaults() {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Interval == 0 {
		o.Interval = 30 * time.Second
	}
	if o.Quiet == 0 {
		o.Quiet = 50 * time.Millisecond
	}
	if o.GuardCount == 0 {
		o.GuardCount = 50
	}
	if o.GuardPercent == 0 {
		o.GuardPercent = 25
	}
	if o.LocalGuardCount == 0 {
		o.LocalGuardCount = 1000
	}
	if o.LocalGuardPercent == 0 {
		o.LocalGuardPercent = 50
	}
	if o.TrashKept == 0 {
		o.TrashKept = trashKept
	}
	if o.Transfers == 0 {
		o.Transfers = 8
	}
	if o.Late == nil {
		o.Late = new(atomic.Bool)
	}
	if o.Elapsed == nil {
		o.Elapsed = clock.SinceBoot
	}
	if o.Tasks == nil {
		o.Tasks = &schedule.Tasks{}
	}
	if o.Contains == nil {
		o.Contains = below
	}
	if o.Device == "" {
		if o.Device, _ = os.Hostname(); o.Device == "" {
			o.Device = "this machine"
		}
	}
}

// Engine runs the legs of one drive.
type Engine struct {
	Options
	log  *slog.Logger
	sent atomic.Int64 // see Sent
	puts atomic.Int64 // files that are being sent
	runs *runs        // of the conduits that do not work instantly

	transfers transfers
	states    states // that were told of
	ignores   ignores

	making sync.Mutex // held while a conduit is made: its endpoints are looked at before its rows are written

	mu      sync.Mutex
	legs    map[cache.LegID]*leg
	rates   map[cache.ConduitID]*paced.Rates // of the contents that the endpoints of a conduit give and take
	changed chan struct{}                    // conduits were made, deleted, paused
	paused  bool
	resume  *time.Timer // ends a pause with a duration
	spare   Spare
	// spareWhy is told to people.
	spareWhy string
	tasks    map[string]bool // those of the conduits
}

// New returns an engine that does nothing until Run.
func New(o Options) (*Engine, error) {
	o.defaults()
	e := &Engine{Options: o, log: o.Logger, legs: map[cache.LegID]*leg{}, transfers: make(transfers, o.Transfers), changed: make(chan struct{}, 1)}
	e.runs = newRuns(e)
	if err := e.loadPause(); err != nil {
		return nil, err
	}
	if err := e.loadIgnores(); err != nil {
		return nil, err
	}
	return e, e.reload()
}

// Run keeps every leg in agreement until ctx ends. It returns after the last leg has stopped and closes the endpoints.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	running := map[cache.LegID]context.CancelFunc{}
	g.Go(func() error { return e.forwardItems(ctx) })
	g.Go(func() error { return e.tidyTrashes(ctx) })
	g.Go(func() error { return e.runs.run(ctx) })
	g.Go(func() error { return e.checkHealth(ctx) })
	for {
		for _, l := range e.current() {
			if running[l.id] != nil {
				continue
			}
			lctx, cancel := context.WithCancel(ctx)
			running[l.id] = cancel
			g.Go(func() error { return l.run(lctx) })
		}
		for id, cancel := range running {
			if e.leg(id) == nil {
				cancel()
				delete(running, id)
			}
		}
		select {
		case <-ctx.Done():
			err := g.Wait()
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		case <-e.changed:
		}
	}
}

// forwardItems wakes the legs when the cache has new work for them.
func (e *Engine) forwardItems(ctx context.Context) error {
	wake, stop := e.Cache.Watch()
	defer stop()
	queue := queueNews{e: e}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
			for _, l := range e.current() {
				l.bell.ring(ByChange)
			}
			queue.stir()
		case <-queue.due():
			queue.tell()
		}
	}
}

// reload brings the set of legs in line with the index.
func (e *Engine) reload() error {
	var conduits []cache.Conduit
	var rows []cache.Leg
	rules := map[cache.ConduitID][]cache.Rule{}
	err := e.Cache.View(func(tx *cache.Tx) (err error) {
		if conduits, err = tx.Conduits(); err != nil {
			return err
		}
		for _, c := range conduits {
			if rules[c.ID], err = tx.Rules(c.ID); err != nil {
				return err
			}
		}
		if rows, err = tx.Legs(); err != nil {
			return err
		}
		return e.runs.load(tx, conduits)
	})
	if err != nil {
		return fmt.Errorf("load conduits: %w", err)
	}
	byID := map[cache.ConduitID]cache.Conduit{}
	for _, c := range conduits {
		byID[c.ID] = c
	}
	e.Late.Store(e.rulebook().negates() || slices.ContainsFunc(conduits, func(c cache.Conduit) bool { return !c.UseIndexRules }))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setRates(conduits)
	seen := map[cache.LegID]bool{}
	for _, row := range rows {
		seen[row.ID] = true
		l := e.legs[row.ID]
		if l == nil {
			l = newLeg(e, row, e.rates[row.Conduit])
			e.legs[row.ID] = l
		}
		l.setConduit(byID[row.Conduit], rules[row.Conduit])
	}
	for id := range e.legs {
		if !seen[id] {
			delete(e.legs, id)
		}
	}
	e.nameTasks()
	e.runs.wake()
	select {
	case e.changed <- struct{}{}:
	default:
	}
	return nil
}

// setRates brings the rates in line with what conduits ask for. mu is held.
func (e *Engine) setRates(conduits []cache.Conduit) {
	all := make(map[cache.ConduitID]*paced.Rates, len(conduits))
	for _, c := range conduits {
		r := e.rates[c.ID]
		if r == nil {
			r = &paced.Rates{}
		}
		r.Set(c.Bandwidth)
		all[c.ID] = r
	}
	e.rates = all
}

func (e *Engine) current() []*leg {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*leg, 0, len(e.legs))
	for _, l := range e.legs {
		out = append(out, l)
	}
	return out
}

func (e *Engine) leg(id cache.LegID) *leg {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.legs[id]
}

func (e *Engine) now() int64 { return e.Clock().UnixNano() }
