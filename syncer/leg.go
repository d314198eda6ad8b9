package syncer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/bounded"
)

const (
	pageSize  = 256                    // rows read at a time
	batchSize = 64                     // objects changed in one transaction: file operations never queue behind it for long
	minRetry  = time.Second            // first wait after a failure of the endpoint or of an item
	maxRetry  = 15 * time.Minute       // longest
	offRetry  = 30 * time.Second       // longest wait before an endpoint that was gone is looked for again
	settle    = 100 * time.Millisecond // between a hint of the endpoint and the look at it: writers write in bursts
)

var errCycle = errors.New("directories form a cycle")

// leg is one endpoint at work. Its exported state is the cache's row; what is
// here is derived and lost with the process.
type leg struct {
	e      *Engine
	id     cache.LegID
	place  cache.PlaceID
	target string
	pool   *bounded.Pool // runs whatever is asked of the endpoint

	kick     chan struct{}  // cap 1: something else than marks is new
	marked   chan struct{}  // cap 1: items were marked
	hint     chan struct{}  // cap 1: the endpoint says that something changed
	requests chan *syncCall // runs asked for by a person
	awaited  atomic.Int32   // how many wait for what they asked for
	nextID   atomic.Int64   // last remote id given out
	lists    flights[cache.BindingID]
	told     atomic.Int64 // grows, in its transaction, when itemised changes are recorded

	mu       sync.Mutex
	conduit  cache.Conduit
	ep       remote.Endpoint    // nil until it could be opened
	caps     *remote.Caps       // set once with ep, never changed
	offline  error              // why the last check failed; nil: reachable
	held     string             // why deletes are held back; "": they are not
	busy     bool               // a cycle is running
	working  bool               // it has found something to do
	due      bool               // the endpoint is to be looked at in the next cycle
	started  bool               // one cycle at least has come to its end
	lastErr  error              // of the last cycle; nil: it went well
	lastOK   int64              // when a cycle last went well, in nanoseconds since 1970
	failures int                // cycles in a row that could not reach the endpoint
	next     time.Time          // when the timer starts the next cycle
	stop     context.CancelFunc // ends the cycle under way; nil before the first
	ended    chan struct{}      // closed when that cycle has ended
}

func newLeg(e *Engine, row cache.Leg) *leg {
	return &leg{
		e: e, id: row.ID, place: row.Place, target: row.Endpoint, pool: bounded.NewPool(),
		kick: make(chan struct{}, 1), marked: make(chan struct{}, 1), hint: make(chan struct{}, 1), requests: make(chan *syncCall),
	}
}

func (l *leg) setConduit(c cache.Conduit) {
	l.mu.Lock()
	l.conduit = c
	l.mu.Unlock()
	l.wake()
}

func (l *leg) conduitRow() cache.Conduit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conduit
}

func (l *leg) wake() { poke(l.kick) }

// setDue asks the next cycle to look at the endpoint.
func (l *leg) setDue() {
	l.mu.Lock()
	l.due = true
	l.mu.Unlock()
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// endpoint opens the endpoint if need be and returns it.
func (l *leg) endpoint(ctx context.Context) (remote.Endpoint, error) {
	l.mu.Lock()
	ep := l.ep
	l.mu.Unlock()
	if ep != nil {
		return ep, nil
	}
	var row cache.Leg
	err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
		var ok bool
		if row, ok, err = tx.Leg(l.id); err == nil && !ok {
			err = ErrUnknownConduit
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	ep, err = l.pool.Open(ctx, func(ctx context.Context) (remote.Endpoint, error) { return l.e.Open(ctx, row.Endpoint, row) })
	if err != nil {
		return nil, err
	}
	if err := l.startIDs(); err != nil {
		return nil, errors.Join(err, ep.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ep != nil { // somebody else was faster
		return l.ep, ep.Close()
	}
	l.ep, l.caps = ep, ep.Caps()
	return ep, nil
}

// startIDs begins a new range of remote ids, on disk before the first is given out.
func (l *leg) startIDs() error {
	return l.e.Cache.Update(0, func(tx *cache.Tx) error {
		row, ok, err := tx.Leg(l.id)
		if err != nil || !ok {
			return errors.Join(err, ErrUnknownConduit)
		}
		row.LastSeq++
		l.nextID.Store(row.LastSeq << 32)
		return tx.UpdateLeg(row)
	})
}

// check proves that the endpoint is there and the one recorded. What it finds is what status shows.
func (l *leg) check(ctx context.Context) (remote.Endpoint, error) {
	ep, err := l.endpoint(ctx)
	var st remote.Status
	if err == nil {
		st, err = ep.Check(ctx)
	}
	if err == nil {
		err = l.identify(st)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	l.setOffline(err)
	if err != nil {
		return nil, &unreachable{err}
	}
	return ep, nil
}

// identify keeps what the endpoint calls itself. Whether it is the recorded one
// the endpoint judged itself: it was opened with that name, which may change
// without meaning anything, as device numbers do.
func (l *leg) identify(st remote.Status) error {
	row, err := l.row()
	if err != nil || row.Identity == st.Epoch {
		return err
	}
	return l.e.Cache.Update(0, func(tx *cache.Tx) error { return tx.SetIdentity(l.id, st.Epoch) })
}

func (l *leg) row() (row cache.Leg, err error) {
	err = l.e.Cache.View(func(tx *cache.Tx) error {
		var ok bool
		if row, ok, err = tx.Leg(l.id); err == nil && !ok {
			err = ErrUnknownConduit
		}
		return err
	})
	return row, err
}

func (l *leg) setOffline(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if (err == nil) != (l.offline == nil) {
		if err != nil {
			l.e.log.Warn("endpoint offline", "conduit", l.conduit.Name, "error", err)
		} else {
			l.e.log.Info("endpoint online", "conduit", l.conduit.Name)
		}
	}
	l.offline = err
}

// errHangs says that the last call was in vain and the next one would be, too.
var errHangs = errors.New("it did not answer lately")

// online returns the endpoint without asking it anything, or why it cannot be used.
func (l *leg) online(ctx context.Context) (remote.Endpoint, error) {
	l.mu.Lock()
	ep, off := l.ep, l.offline
	l.mu.Unlock()
	switch {
	case off != nil:
		return nil, &unreachable{off}
	case l.pool.Doubtful():
		return nil, &unreachable{errHangs}
	case ep != nil:
		return ep, nil
	}
	return l.check(ctx)
}

// run repeats cycles until ctx ends, then closes the endpoint.
func (l *leg) run(ctx context.Context) error {
	var watchers sync.WaitGroup
	defer func() {
		watchers.Wait()
		l.close()
	}()
	watchers.Go(func() { l.listen(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var call *syncCall
		select {
		case <-ctx.Done():
			return nil
		case call = <-l.requests:
		case <-l.kick:
		case <-l.marked:
			l.turnWithin(timer, l.e.Quiet) // what was marked has to rest first
			continue
		case <-l.hint:
			if !sleep(ctx, settle) {
				return nil
			}
			l.setDue()
		case <-timer.C:
			l.setDue()
		}
		wait := l.turn(ctx, call)
		l.mu.Lock()
		l.next = time.Now().Add(wait)
		l.mu.Unlock()
		timer.Reset(wait)
	}
}

// turnWithin has the timer start the next cycle after d, unless it does so earlier.
func (l *leg) turnWithin(timer *time.Timer, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := time.Now().Add(d); at.Before(l.next) {
		l.next = at
		timer.Reset(d)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// listen turns the endpoint's pushes into hints. Endpoints without push are looked at by the timer alone.
func (l *leg) listen(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		ep, off := l.ep, l.offline
		l.mu.Unlock()
		if ep == nil || off != nil || !ep.Caps().Push {
			if !sleep(ctx, time.Second) {
				return
			}
			continue
		}
		row, err := l.row()
		if err == nil && row.Cursor != "" {
			err = ep.Wait(ctx, remote.Cursor(row.Cursor))
		}
		if err == nil && row.Cursor != "" {
			poke(l.hint)
			l.awaitCursor(ctx, row.Cursor)
			continue
		}
		if !sleep(ctx, time.Second) {
			return
		}
	}
}

// awaitCursor waits until a pull has moved past the cursor whose hint was given, so that one change gives one hint.
func (l *leg) awaitCursor(ctx context.Context, seen string) {
	wake, stop := l.e.Cache.Watch()
	defer stop()
	for {
		row, err := l.row()
		if err != nil || row.Cursor != seen {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-time.After(offRetry):
			return
		}
	}
}

func (l *leg) close() {
	l.mu.Lock()
	ep := l.ep
	l.ep = nil
	l.mu.Unlock()
	if ep == nil {
		return
	}
	if err := ep.Close(); err != nil {
		l.e.log.Warn("close endpoint", "error", err)
	}
}
