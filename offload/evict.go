package offload

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
)

// evictor drops bytes by itself when there is no room for more, or nobody wants them. It chooses; Manager.drop decides. It
// belongs to the goroutine of its run.
type evictor struct {
	m     *Manager
	rules Eviction
	free  func() (int64, error) // of the disk, to us

	asks   chan roomAsk
	ended  chan struct{} // closed when run has ended
	wanted int64         // bytes that somebody waits for
	came   looked        // to that, at the last look

	online, all sweep

	found    level     // when it last looked
	pinned   int64     // bytes, as last summed up
	pinnedOK time.Time // until when that is good enough
	resting  map[cache.Ino]time.Time
}

const (
	// lookEvery is how often the disk and the idle are looked at, pressedEvery while writers wait for what is sent. What is
	// added above the budget is told at once.
	lookEvery    = 2 * time.Second
	pressedEvery = 500 * time.Millisecond
	// evictPage is how many contents are read in one transaction.
	evictPage = 100
	// evictRound is how many files are dropped before the room is looked at again.
	evictRound = 1000
	// What could not be proved rests for unprovedRest. As long as unprovedMax rest, nobody else is asked about.
	unprovedRest = 10 * time.Minute
	unprovedMax  = 4096
)

func newEvictor(m *Manager, rules Eviction) *evictor {
	e := &evictor{
		m: m, rules: rules, resting: make(map[cache.Ino]time.Time),
		asks: make(chan roomAsk), ended: make(chan struct{}),
	}
	e.online.online = true
	e.free = func() (int64, error) {
		s, err := m.cache.StatFS()
		return s.DiskAvailable, err
	}
	return e
}

// Budget is how many bytes may be here besides the pinned ones; 0: as many as there is room for.
func (m *Manager) Budget() int64 { return m.evict.rules.Budget }

// run looks again and again until ctx ends. What fails is tried again.
func (e *evictor) run(ctx context.Context) error {
	defer func() {
		close(e.ended)
		e.m.pace.set(false, 0)
	}()
	if e.rules.off() {
		return nil
	}
	var asked []roomAsk
	for ctx.Err() == nil {
		e.wanted = 0
		for _, a := range asked {
			e.wanted = max(e.wanted, a.bytes)
		}
		wake, err := e.look(ctx)
		if err != nil && ctx.Err() == nil {
			e.m.log.Error("eviction failed", "error", err)
		}
		for _, a := range asked {
			a.came <- e.came
		}
		asked = e.wait(ctx, wake)
	}
	return nil
}

// wait returns when it is time to look again, and for whom.
func (e *evictor) wait(ctx context.Context, wake <-chan struct{}) (asked []roomAsk) {
	every := lookEvery
	if e.m.Paced() {
		every = pressedEvery
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case a := <-e.asks:
		asked = append(asked, a)
	case <-ctx.Done():
	}
	for {
		select {
		case a := <-e.asks:
			asked = append(asked, a)
		default:
			return asked
		}
	}
}

// roomAsk is somebody who needs so many bytes of the disk.
type roomAsk struct {
	bytes int64
	came  chan looked // cap 1
}

// looked is what came of a look.
type looked struct {
	freed int64 // bytes
	all   bool  // nothing was passed over because it was looked at a moment ago
	over  bool  // nobody looks any more
}

// ask has bytes dropped whatever room the disk has, in one look. Nothing came of one that takes too long.
func (e *evictor) ask(ctx context.Context, bytes int64) (looked, error) {
	a := roomAsk{bytes, make(chan looked, 1)}
	limit := time.NewTimer(e.m.timeout)
	defer limit.Stop()
	for asks := e.asks; ; {
		select {
		case asks <- a:
			asks = nil
		case came := <-a.came:
			return came, nil
		case <-limit.C:
			return looked{}, nil
		case <-e.ended:
			return looked{over: true}, nil
		case <-ctx.Done():
			return looked{}, ctx.Err()
		}
	}
}

// poke is ask of somebody who does not wait. If a look is under way, it was asked for already.
func (e *evictor) poke() {
	select {
	case e.asks <- roomAsk{leastRoom, make(chan looked, 1)}:
	default:
	}
}

// look drops what has to go now, and returns what tells that more came than may be here.
func (e *evictor) look(ctx context.Context) (wake <-chan struct{}, err error) {
	rest := minSweepRest
	if e.wanted > 0 || e.m.Paced() {
		rest = 0
		// What was sent a moment ago may go when it is synced here.
		if err := e.m.cache.SyncContents(ctx); err != nil {
			e.m.log.Warn("contents not synced to make room", "error", err)
		}
	}
	online, all := e.online.begin(e.m.now(), rest), e.all.begin(e.m.now(), rest)
	e.came = looked{all: online && all}
	var files, bytes, wanted int64
	var found level
	for more := true; more && err == nil; {
		var excess, n, freed int64
		if excess, err = e.excess(files > 0); err != nil {
			break
		}
		if excess = max(excess, e.wanted-bytes); excess <= 0 && e.rules.Idle == 0 {
			break
		}
		if files == 0 {
			wanted, found = excess, e.found
		}
		if excess > 0 {
			if err = e.m.cache.WriteUsage(); err != nil { // else what is opened all the time would never have its turn
				break
			}
		}
		n, freed, more, err = e.round(ctx, excess)
		if n > 0 {
			err = errors.Join(err, e.m.cache.FreeDropped()) // so that the disk tells how far it is
		}
		files, bytes = files+n, bytes+freed
	}
	e.came.freed, e.came.all = bytes, e.came.all && err == nil
	if files > 0 {
		e.m.full.Store(0)
		e.m.log.Info("dropped local bytes to make room", "files", files, "bytes", bytes, "wanted", wanted,
			"here", found.here, "pinned", found.pinned, "free", found.free)
	}
	over, xerr := e.excess(false)
	xerr = errors.Join(xerr, e.press(over))
	limit := e.rules.Budget + e.pinned
	if over > 0 || xerr != nil || e.rules.Budget == 0 {
		limit = cache.Unlimited // what comes now changes nothing: time may
	}
	return e.m.cache.BytesAbove(limit), errors.Join(err, xerr)
}

// press has writers wait if more is here than may be only as long as it is not sent, and it is being sent.
func (e *evictor) press(over int64) error {
	var unsent int64
	if over > 0 && e.m.source.Sending() {
		err := e.m.cache.Survey(func(tx *cache.Tx) (err error) {
			unsent, err = tx.DirtyBytes()
			return err
		})
		if err != nil {
			return err
		}
	}
	e.m.pace.set(over > 0 && over <= unsent, e.m.source.Sent())
	return nil
}

// excess is how many bytes have to go.
func (e *evictor) excess(going bool) (int64, error) {
	s, err := e.m.cache.Stats()
	if err != nil {
		return 0, err
	}
	l := level{here: s.ContentBytes}
	if l.free, err = e.free(); err != nil {
		return 0, err
	}
	if e.rules.Budget > 0 && l.here > e.rules.Budget {
		if err := e.sumPinned(); err != nil {
			return 0, err
		}
	}
	l.pinned = min(e.pinned, l.here)
	e.found = l
	return e.rules.excess(l, going), nil
}

// pinnedShare is how many times as long as summing up what is pinned takes it is not done again.
const pinnedShare = 20

// sumPinned finds out how much is pinned, unless it did lately.
func (e *evictor) sumPinned() error {
	began := e.m.now()
	if began.Before(e.pinnedOK) {
		return nil
	}
	err := e.m.cache.Survey(func(tx *cache.Tx) (err error) {
		e.pinned, err = tx.PinnedBytes()
		return err
	})
	now := e.m.now()
	e.pinnedOK = now.Add(pinnedShare * now.Sub(began))
	return err
}

// round drops up to evictRound files: as many as have the bytes, and those that are idle. more: it did not come to the end.
func (e *evictor) round(ctx context.Context, excess int64) (files, freed int64, more bool, err error) {
	for _, s := range []*sweep{&e.online, &e.all} {
		for files < evictRound && err == nil {
			var batch []candidate
			if batch, err = e.next(s, excess-freed); err != nil || len(batch) == 0 {
				break
			}
			var n, got int64
			began := e.m.now()
			if n, got, err = e.dropAll(ctx, batch); n == 0 {
				s.cost += e.m.now().Sub(began)
			}
			files, freed = files+n, freed+got
		}
	}
	return files, freed, files >= evictRound, err
}

// dropAll drops those of a batch that may go.
func (e *evictor) dropAll(ctx context.Context, batch []candidate) (files, freed int64, err error) {
	var n, bytes atomic.Int64
	refused := make([]bool, len(batch))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(provers)
	for i, c := range batch {
		g.Go(func() error {
			got, err := e.drop(ctx, c)
			var why skipped
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil:
				n.Add(1)
				bytes.Add(got)
			case errors.As(err, &why), errors.Is(err, errNothing), errors.Is(err, cache.ErrNotFound):
				refused[i] = errors.Is(err, errUnproved)
			default:
				e.m.log.Warn("file not offloaded", "ino", uint64(c.Ino), "error", err)
				refused[i] = true
			}
			return nil
		})
	}
	err = g.Wait()
	for i, c := range batch {
		if refused[i] {
			e.resting[c.Ino] = e.m.now().Add(unprovedRest)
		}
	}
	return n.Load(), bytes.Load(), err
}

// drop drops one file, unless it was opened since it was chosen.
func (e *evictor) drop(ctx context.Context, c candidate) (freed int64, err error) {
	if err := e.m.source.Reachable(c.Ino); err != nil {
		return 0, skipped("no endpoint that has it is reachable")
	}
	return e.m.drop(ctx, c.Ino, OffloadOptions{unusedSince: c.Used})
}

// rests tells whether a file is left alone after a refusal, or all are.
func (e *evictor) rests(ino cache.Ino) bool {
	until, ok := e.resting[ino]
	return ok && e.m.now().Before(until)
}

// rested forgets who has rested, and tells whether there is room for more that rest.
func (e *evictor) rested() bool {
	if len(e.resting) < unprovedMax {
		return true
	}
	for ino, until := range e.resting {
		if !e.m.now().Before(until) {
			delete(e.resting, ino)
		}
	}
	return len(e.resting) < unprovedMax
}
