package syncer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/cache"
	"vdfs/internal/wait"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/bounded"
	"vdfs/syncer/remote/paced"
)

const (
	pageSize  = 256                    // rows read at a time
	batchSize = 64                     // objects changed in one transaction: file operations never queue behind it for long
	minRetry  = time.Second            // first wait after a failure of the endpoint or of an item
	maxRetry  = 15 * time.Minute       // longest
	offRetry  = 30 * time.Second       // longest wait before an endpoint that was gone is looked for again
	minPause  = time.Minute            // first wait of what is parked; the longest is maxRetry
	minStir   = 10 * time.Second       // between two times that what is parked is tried since the endpoint changed
	freedRoom = 64 << 20               // bytes: so much more room is worth a try, or a hundredth of the storage
	settle    = 50 * time.Millisecond  // between a hint of the endpoint and the look at it: writers write in bursts
	maxRest   = 200 * time.Millisecond // after a turn that took at least as long, before anything but the timer or a person begins another
)

var errCycle = errors.New("directories form a cycle")

// leg is one endpoint at work. Its exported state is the cache's row; what is
// here is derived and lost with the process.
type leg struct {
	e      *Engine
	id     cache.LegID
	place  cache.PlaceID
	role   cache.Role // which end of its conduit the endpoint is
	target string
	rates  *paced.Rates  // of its conduit
	pool   *bounded.Pool // runs whatever is asked of the endpoint

	bell     *bell          // rung by what may have work
	requests chan *syncCall // cycles of runs that somebody waits for
	awaited  atomic.Int32   // how many wait for what they asked for
	nextID   atomic.Int64   // last remote id given out
	lists    flights[cache.BindingID]
	met      atomic.Int64  // conflicts of first listings that no generation has counted yet
	unclear  spots         // where writes may have made something
	shut     shutDirs      // what cannot be looked into
	told     atomic.Int64  // grows, in its transaction, when itemised changes are recorded
	derived  bool          // what the drive had before the leg is marked; the cycle's own
	why      Trigger       // of the cycle under way; the loop's own, as the next three
	found    bool          // its look found something new
	lost     bool          // its look missed something that was there; the cycle's own
	listing  time.Duration // what the last listing of all took; 0: none was needed
	rhythm   time.Duration // between two looks by the timer; 0: there were none
	seeks    seeks         // what readers found to be changed
	fetches  refreshes     // new versions on their way
	tidied   tidied        // the trash of the endpoint
	news     news          // what others are told of its work
	treeDue  int64         // when all of the endpoint may be looked at again; the cycle's own
	treeRest time.Duration // how long a look that found something left to do keeps from the next; likewise

	open       atomic.Bool  // a generation may be under way
	unverified atomic.Bool  // one may wait to be verified
	claims     claims       // the cycle's own
	watching   watching     // likewise
	doubt      atomic.Value // string: why the last that was to be verified could not be looked at; "": it could
	looks      looks        // at the changes of the endpoint
	progress   progress     // of the run under way

	mu        sync.Mutex
	conduit   cache.Conduit
	cadence   cadence
	decides   plan.Rules      // by which the planner decides
	patterns  []rule          // strategies of names
	ep        remote.Endpoint // nil until it could be opened
	caps      *remote.Caps    // set once with ep, never changed
	offline   error           // why the last check failed; nil: reachable
	checked   time.Time       // when that was; zero: never
	room      remote.Status   // what the endpoint last had to offer, see roomier
	stirred   time.Time       // when what is parked was last tried because the endpoint changed
	held      string          // why deletes are held back; "": they are not
	free      bool            // deletions made at the endpoint may be applied: the guard has counted them
	allowed   bool            // because a person said so
	cancelled bool            // the last run was ended by a person, and nobody has asked for another one
	busy      bool            // a cycle is running
	working   bool            // it has found something to do
	due       bool            // the endpoint is to be looked at in the next cycle
	started   bool            // one cycle at least has come to its end
	lastErr   error           // of the last cycle; nil: it went well
	lastOK    int64           // when a cycle last went well, in nanoseconds since 1970
	failures  int             // cycles in a row that could not reach the endpoint
	next      time.Time       // when the timer starts the next cycle; zero: it does not
	nextBy    Trigger         // why it does
	counted   Triggered
	stop      context.CancelFunc // ends the cycle under way; nil before the first
	ended     chan struct{}      // closed when that cycle has ended
}

func newLeg(e *Engine, row cache.Leg, rates *paced.Rates) *leg {
	l := &leg{
		e: e, id: row.ID, place: row.Place, role: row.Role, target: row.Endpoint, rates: rates, pool: bounded.NewPool(),
		bell: newBell(), requests: make(chan *syncCall),
	}
	l.fetches.l, l.fetches.news = l, make(chan struct{}, 1)
	l.news.l = l
	l.open.Store(true) // who was here before may have been killed
	l.unverified.Store(true)
	return l
}

func (l *leg) setConduit(c cache.Conduit, rules []cache.Rule) {
	decides := rulesOf(c, l.role)
	patterns, err := parseRules(rules)
	if err != nil {
		decides.Policy = 0 // as for a strategy that is not known
	}
	l.mu.Lock()
	l.conduit, l.cadence, l.decides, l.patterns = c, cadenceOf(c.Cadence), decides, patterns
	l.mu.Unlock()
	l.wake()
}

func (l *leg) conduitRow() cache.Conduit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conduit
}

func (l *leg) wake() { l.bell.ring(ByEvent) }

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
	ep, err = l.pool.Open(ctx, func(ctx context.Context) (remote.Endpoint, error) {
		ep, err := l.e.Open(ctx, row.Endpoint, row)
		if err != nil {
			return nil, err
		}
		return paced.Wrap(ep, l.rates), nil
	})
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
	if l.roomier(st) {
		err = l.stir(true)
	}
	return ep, err
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
	back, gone := err == nil && l.offline != nil, err != nil && l.offline == nil
	l.checked = time.Now()
	switch {
	case back:
		l.e.log.Info("endpoint online", "conduit", l.conduit.Name, "endpoint", l.target)
	case gone:
		l.e.log.Warn("endpoint offline", "conduit", l.conduit.Name, "endpoint", l.target, "error", err)
	}
	l.offline = err
	l.mu.Unlock()
	if back || gone {
		l.tellOnline(err)
	}
	if back {
		l.e.wakeOthers(l)
	}
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
	var rested time.Time // when the last turn was as long ago as it took
	for {
		var call *syncCall
		why := ByTimer
		select {
		case <-ctx.Done():
			return nil
		case call = <-l.requests:
			why = call.why
		case <-l.bell.rung:
			var begins bool
			if why, begins = l.hear(ctx, timer, rested); !begins {
				continue
			}
		case <-timer.C:
			if l.rests() {
				continue
			}
			why = l.dueBy()
			l.setDue()
		}
		l.why = why
		begun := time.Now()
		rest := l.turn(ctx, call)
		rested = time.Now().Add(min(time.Since(begun), maxRest)) // what comes in bursts is taken together where that is work
		l.plan(timer, rest)
	}
}

// hear says why a cycle begins now that the bell rang, if one does.
func (l *leg) hear(ctx context.Context, timer *time.Timer, rested time.Time) (why Trigger, begins bool) {
	why, some := l.bell.heard()
	switch {
	case !some:
		return why, false
	case l.rests():
		l.seek(ctx)
		return why, false
	case why == ByChange:
		l.turnWithin(timer, max(l.e.Quiet, time.Until(rested))) // what was marked has to rest first
		return why, false
	case why == ByReader || why == ByPush || why == ByWatcher:
		l.setDue()
		return why, wait.For(ctx, max(settle, time.Until(rested)))
	}
	return why, true
}

// rests reports whether nothing begins a cycle but somebody who waits for it.
func (l *leg) rests() bool {
	held := l.e.spared() == SparePause
	l.mu.Lock()
	defer l.mu.Unlock()
	return held || l.cadence.inRuns()
}

// plan has the timer start the next cycle after a rest.
func (l *leg) plan(timer *time.Timer, rest time.Duration) {
	rests := l.rests()
	l.mu.Lock()
	defer l.mu.Unlock()
	if rests {
		l.next = time.Time{}
		return
	}
	l.next, l.nextBy = time.Now().Add(rest), ByTimer
	if rest < l.rhythm {
		l.nextBy = ByRest
	}
	timer.Reset(rest)
}

// turnWithin has the timer start the next cycle after d, for a change, unless it does so earlier.
func (l *leg) turnWithin(timer *time.Timer, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := time.Now().Add(d); at.Before(l.next) {
		l.next, l.nextBy = at, ByChange
		timer.Reset(d)
	}
}

// dueBy is why the timer starts a cycle.
func (l *leg) dueBy() Trigger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next.IsZero() {
		return ByTimer // the first one
	}
	return l.nextBy
}

// listen turns the endpoint's pushes into hints. Endpoints without push are looked at by the timer alone.
func (l *leg) listen(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		ep, off := l.ep, l.offline
		l.mu.Unlock()
		if ep == nil || off != nil || !ep.Caps().Push {
			if !wait.For(ctx, time.Second) {
				return
			}
			continue
		}
		row, err := l.row()
		if err == nil && row.Cursor != "" {
			err = ep.Wait(ctx, remote.Cursor(row.Cursor))
		}
		if err == nil && row.Cursor != "" {
			l.bell.ring(toldBy(ep.Caps()))
			if !l.rests() {
				l.awaitCursor(ctx, row.Cursor)
			} else if !wait.For(ctx, offRetry) { // it goes on telling until it is looked at
				return
			}
			continue
		}
		if !wait.For(ctx, time.Second) {
			return
		}
	}
}

// toldBy is what an endpoint's push is.
func toldBy(c *remote.Caps) Trigger {
	if c.Feed {
		return ByPush
	}
	return ByWatcher
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
	l.fetches.close()
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
