package syncer

import (
	"context"
	"errors"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/internal/wait"
)

// What the engine does again and again is counted: the cycles of each leg that works instantly, the runs of the other conduits, and
// the looks whether endpoints are there.

// healthTask is the look whether endpoints are there that nothing else has looked at.
const healthTask = "health check"

// taskOf is the name of the task of a conduit that works in runs.
func taskOf(cd cache.Conduit) string { return "sync " + cd.Name }

// taskName is the name of the task of a leg, or of the runs that it is part of. l.mu is held.
func (l *leg) taskName() string {
	name := taskOf(l.conduit)
	if l.cadence.inRuns() || l.role == cache.RoleTarget {
		return name
	}
	return name + " from " + l.target
}

// nameTasks forgets the tasks of conduits that are gone, or are called otherwise now. e.mu is held.
func (e *Engine) nameTasks() {
	now := map[string]bool{}
	for _, l := range e.legs {
		l.mu.Lock()
		now[l.taskName()] = true
		l.mu.Unlock()
	}
	for name := range e.tasks {
		if !now[name] {
			e.Tasks.Forget(name)
		}
	}
	e.tasks = now
}

// beginTask counts a cycle of a leg that works instantly; done is told how it ended.
func (l *leg) beginTask() (done func(error)) {
	l.mu.Lock()
	name, counts := l.taskName(), !l.cadence.inRuns()
	l.mu.Unlock()
	task := l.e.Tasks.Task(name)
	if !counts || !task.Begin() {
		return func(error) {}
	}
	begun := time.Now()
	return func(err error) {
		task.End(err)
		task.Skip(int64(time.Since(begun) / l.e.Interval)) // times that the timer would have begun another one
	}
}

// checkHealth looks again and again whether the endpoints are there. Those of conduits at work are looked at by their cycles.
func (e *Engine) checkHealth(ctx context.Context) error {
	if !wait.For(ctx, e.Interval) { // the first cycles look, too
		return nil
	}
	e.Tasks.Task(healthTask).Every(ctx, e.Interval, e.checkAll, func(err error) { e.log.Debug("endpoint not healthy", "error", err) })
	return nil
}

func (e *Engine) checkAll(ctx context.Context) error {
	every := e.Interval
	if e.spared() != SpareNothing {
		every *= relaxed
	}
	if e.Paused() {
		return nil
	}
	legs := e.current()
	errs := make([]error, len(legs))
	var under sync.WaitGroup
	for i, l := range legs { // beside each other: one that does not answer holds up no other
		if l.checkedWithin(every) || !l.conduitRow().Enabled {
			continue
		}
		under.Go(func() { errs[i] = l.checkUp(ctx) })
	}
	under.Wait()
	return errors.Join(errs...)
}

// checkedWithin reports whether a leg's endpoint was looked at so lately, or will be at once. A little less is as good: two timers
// that go at the same pace never meet.
func (l *leg) checkedWithin(every time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy || !l.checked.IsZero() && time.Since(l.checked) < every*9/10
}

// checkUp looks whether the endpoint is there. One that is back has work.
func (l *leg) checkUp(ctx context.Context) error {
	was := l.away()
	_, err := l.check(ctx)
	if was && err == nil {
		l.setDue()
		l.wake()
		l.e.runs.wake()
	}
	return err
}

// legsOf are the legs of a conduit.
func (e *Engine) legsOf(id cache.ConduitID) (out []*leg) {
	for _, l := range e.current() {
		if l.conduitRow().ID == id {
			out = append(out, l)
		}
	}
	return out
}
