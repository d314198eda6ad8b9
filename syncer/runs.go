package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/internal/schedule"
)

// A conduit that does not work instantly works in runs. A run begins by its interval or because somebody asks, and ends when
// nothing is left that can be done: as many cycles as that takes, of all its legs. When the last one began is kept, and that it has
// not come to its end: what a stop or a crash cut short goes on at the next start, and a run whose time passed meanwhile is made up
// for, once.

// dueCheck is how long the machine may have slept before a run that is due is noticed: timers stand still meanwhile.
const dueCheck = time.Minute

// runs are those of all conduits. Under its lock only Engine.mu is taken.
type runs struct {
	e    *Engine
	news chan struct{} // cap 1: it is to be looked anew what is due

	mu  sync.Mutex
	all map[cache.ConduitID]*run
}

// run is what is known of the runs of a conduit. Times are of Options.Elapsed.
type run struct {
	task    *schedule.Task
	cadence cadence
	enabled bool

	last      time.Duration // when the last one began, or would have, had it not been skipped
	ran       bool          // there was one
	open      bool          // it has not come to its end
	cancelled bool          // a person cancelled the one under way
	stop      func()        // ends the one that began by itself; nil: none did
	asked     bool          // one is to begin now
	counts    bool          // the task counts the one under way
	under     int           // how many are under way: those who ask join each other's
	retry     time.Duration // an open one goes on no earlier
	failed    int           // times in a row that an endpoint was away
}

// runState is what is kept of a conduit's last run.
type runState struct {
	Begun int64 `json:"begun"`          // nanoseconds since 1970
	Open  bool  `json:"open,omitempty"` // it has not come to its end
}

func runKey(id cache.ConduitID) string { return fmt.Sprintf("sync.run.%d", id) }

// endRuns forgets the runs of a conduit that is deleted.
func endRuns(tx *cache.Tx, id cache.ConduitID) error { return tx.SetSetting(runKey(id), nil) }

func newRuns(e *Engine) *runs {
	return &runs{e: e, news: make(chan struct{}, 1), all: map[cache.ConduitID]*run{}}
}

func (r *runs) wake() { poke(r.news) }

// load brings the runs in line with the conduits, whose states are read where they are new.
func (r *runs) load(tx *cache.Tx, conduits []cache.Conduit) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[cache.ConduitID]bool{}
	for _, cd := range conduits {
		c := cadenceOf(cd.Cadence)
		if !c.inRuns() {
			continue
		}
		seen[cd.ID] = true
		u := r.all[cd.ID]
		if u == nil {
			u = &run{}
			if err := u.read(tx, cd.ID, r.e); err != nil {
				return err
			}
			r.all[cd.ID] = u
		}
		u.cadence, u.enabled, u.task = c, cd.Enabled, r.e.Tasks.Task(taskOf(cd))
	}
	for id := range r.all {
		if !seen[id] {
			delete(r.all, id)
		}
	}
	r.wake()
	return nil
}

// read reads what is kept of the last run. One that began in the future is of a clock that was set back since: nobody knows how
// long ago it was.
func (u *run) read(tx *cache.Tx, id cache.ConduitID, e *Engine) error {
	text, err := tx.Setting(runKey(id))
	if err != nil || text == nil {
		return err
	}
	var s runState
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("setting %s: %w", runKey(id), err)
	}
	ago := time.Duration(e.now() - s.Begun)
	u.ran, u.open, u.last = ago >= 0, s.Open, e.Elapsed()-ago
	return nil
}

// keep writes down how the last run stands.
func (r *runs) keep(id cache.ConduitID, s runState) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return r.e.Cache.Update(0, func(tx *cache.Tx) error {
		if _, ok, err := tx.Conduit(id); err != nil || !ok {
			return err
		}
		return tx.SetSetting(runKey(id), text)
	})
}

// rest is the time until a run is to begin by itself; false: none is.
func (u *run) rest(now time.Duration) (time.Duration, bool) {
	switch {
	case !u.enabled || u.under > 0:
		return 0, false
	case u.asked:
		return 0, true
	case u.open:
		return max(u.retry-now, 0), true
	case u.cadence.manual:
		return 0, false
	case !u.ran:
		return 0, true
	}
	return max(u.last+u.cadence.every-now, 0), true
}

// next is when a conduit's next run begins by itself; false: it has none, or no one knows when.
func (r *runs) next(id cache.ConduitID) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.all[id]
	if u == nil || r.e.sparesBecause() != "" {
		return time.Time{}, false
	}
	rest, ok := u.rest(r.e.Elapsed())
	if !ok {
		return time.Time{}, false
	}
	return r.e.Clock().Add(rest), true
}

// active reports whether a run of a conduit is under way. What works instantly always is.
func (r *runs) active(id cache.ConduitID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.all[id]
	return u == nil || u.under > 0
}

// ask has a run of a conduit begin, where one does not work instantly.
func (r *runs) ask(id cache.ConduitID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.all[id]; u != nil {
		u.asked = true
		r.wake()
	}
}

// cancel has the runs of conduits end that go on for nobody who waits.
func (r *runs) cancel(legs []*leg) {
	for _, l := range legs {
		id := l.conduitRow().ID
		r.mu.Lock()
		if u := r.all[id]; u != nil {
			u.asked, u.cancelled = false, true
			if u.stop != nil {
				u.stop()
			}
		}
		r.mu.Unlock()
	}
}

// begin notes that a run of a conduit begins, or that somebody joins it.
func (r *runs) begin(id cache.ConduitID) error {
	r.mu.Lock()
	u := r.all[id]
	if u == nil {
		r.mu.Unlock()
		return nil
	}
	u.under++
	first := u.under == 1
	if first {
		u.last, u.ran, u.open, u.asked = r.e.Elapsed(), true, true, false
		u.cancelled = false
		u.counts = u.task.Begin()
	}
	r.mu.Unlock()
	if !first {
		return nil
	}
	return r.keep(id, runState{Begun: r.e.now(), Open: true})
}

// end notes how a run of a conduit ended for somebody. It goes on when it can if it was cut short, by a pause, the end of vdfs or of
// the patience of who asked, and after a while if it failed and runs begin by themselves, as when the endpoint was away.
func (r *runs) end(id cache.ConduitID, cut bool, failure error) error {
	r.mu.Lock()
	u := r.all[id]
	if u == nil {
		r.mu.Unlock()
		return nil
	}
	if u.under--; u.under > 0 {
		r.mu.Unlock()
		return nil
	}
	now := r.e.Elapsed()
	cut = cut && !u.cancelled
	u.open, u.retry = cut || failure != nil && !u.cadence.manual && !u.cancelled, now
	switch {
	case cut || u.cancelled:
		failure = context.Canceled
	case failure != nil:
		u.failed++
		u.retry = now + min(backoff(u.failed), offRetry)
	default:
		u.failed = 0
	}
	if u.counts {
		u.task.End(failure)
	}
	if every := u.cadence.every; every > 0 && !u.open {
		missed := (now - u.last) / every
		u.task.Skip(int64(missed))
		u.last += missed * every
	}
	s := runState{Begun: r.e.now() - int64(now-u.last), Open: u.open}
	r.wake()
	r.mu.Unlock()
	return r.keep(id, s)
}

// join notes that somebody has conduits do what can be done, which for those that work in runs is one; left is to be told how it
// ended. Who does not wait for all of it has runs begin that go on.
func (r *runs) join(ctx context.Context, legs []*leg, wait bool) (left func(SyncResult, error) error, err error) {
	var joined []cache.ConduitID
	left = func(res SyncResult, err error) error {
		var errs []error
		if err == nil && res.State == SyncUnreachable {
			err = ErrUnreachable
		}
		for _, id := range joined {
			cut := res.State == SyncCancelled || err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrDisabled))
			errs = append(errs, r.end(id, cut, err))
		}
		return errors.Join(errs...)
	}
	for _, l := range legs {
		id := l.conduitRow().ID
		switch {
		case slices.Contains(joined, id):
		case !wait:
			r.ask(id)
		default:
			joined = append(joined, id)
			err = errors.Join(err, r.begin(id))
		}
	}
	if err != nil {
		err = errors.Join(err, left(SyncResult{}, err))
	}
	return left, err
}

// duty is a run that is to begin.
type duty struct {
	conduit cache.ConduitID
	why     Trigger
}

// due are the runs that are to begin now, and the time until the next one is; false: no other one is known to be.
func (r *runs) due() (now []duty, wait time.Duration, some bool) {
	hold := r.e.sparesBecause() != ""
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.e.Elapsed()
	for id, u := range r.all {
		rest, ok := u.rest(at)
		switch {
		case !ok || hold && !u.asked:
		case rest > 0:
			if !some || rest < wait {
				wait, some = rest, true
			}
		case u.asked:
			now = append(now, duty{id, ByRequest})
		default:
			now = append(now, duty{id, BySchedule})
		}
	}
	return now, wait, some
}

// run begins runs when they are due, until ctx ends, and waits for their ends.
func (r *runs) run(ctx context.Context) error {
	var under sync.WaitGroup
	defer under.Wait()
	for {
		var tick <-chan time.Time
		if !r.e.Paused() {
			todo, wait, some := r.due()
			for _, d := range todo {
				r.start(ctx, d, &under)
			}
			if some {
				tick = time.After(min(wait, dueCheck))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.news:
		case <-tick:
		}
	}
}

// start begins a run that goes on beside others.
func (r *runs) start(ctx context.Context, d duty, under *sync.WaitGroup) {
	legs := r.e.legsOf(d.conduit)
	if len(legs) == 0 { // it is being made or deleted; whoever does that wakes the loop
		return
	}
	left, err := r.join(ctx, legs, true)
	if err != nil {
		r.e.log.Error("begin sync run", "error", err)
		return
	}
	rctx, stop := context.WithCancel(ctx)
	r.mu.Lock()
	if u := r.all[d.conduit]; u != nil {
		u.stop = stop
	}
	r.mu.Unlock()
	under.Go(func() {
		defer stop()
		res, err := r.e.syncThrough(rctx, legs, SyncRequest{Wait: true, why: d.why})
		if lerr := left(res, err); lerr != nil {
			r.e.log.Error("end sync run", "error", lerr)
		}
	})
}

// tellRuns adds what a conduit's cadence means for its status: when its next run is, and what waits for it.
func (e *Engine) tellRuns(s *ConduitStatus) {
	c := cadenceOf(s.Cadence)
	if !c.inRuns() {
		return
	}
	s.NextSync = time.Time{}
	if s.State != StatePaused {
		s.NextSync, _ = e.runs.next(s.ID)
	}
	for i := range s.Legs {
		s.Legs[i].NextSync = s.NextSync
	}
	if n := s.PendingLocal + s.PendingRemote; n > 0 && s.State == StateIdle {
		changes, waits, what := "changes", "wait", "the next run"
		if n == 1 {
			changes, waits = "change", "waits"
		}
		if c.manual {
			what = "`vdfs sync`"
		}
		s.Message = fmt.Sprintf("%d %s %s for %s", n, changes, waits, what)
	}
}
