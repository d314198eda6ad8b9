// Package schedule counts what is done again and again, and sees to it that none of it is done twice at the same time.
//
// A Task is one such thing. Whoever does it tells the task when an execution begins and ends, or has Every do that. Tasks have no
// goroutines of their own: they belong to whoever runs them.
package schedule

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Metrics is how a task went since the process began.
type Metrics struct {
	Name       string
	Executions int64 // begun
	Successes  int64
	Errors     int64         // what was called off is neither
	Skipped    int64         // times that it was due while it still ran
	Average    time.Duration // of the executions that have ended; 0: none has
	Last       time.Time     // when the last one began; zero: none did
	LastError  string        // of the last one that ended; "": it went well
	Running    bool
}

// Tasks are those of a program. The zero value has none. It is safe for concurrent use.
type Tasks struct {
	// Now is the clock; nil: the one on the wall. It is set before the first task is made. How long something took is measured
	// by the monotonic reading, so that nobody who sets the clock is in the way.
	Now func() time.Time

	mu  sync.Mutex
	all map[string]*Task
}

// Task is the task of that name; it is made where there was none.
func (t *Tasks) Task(name string) *Task {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.all[name]
	if k == nil {
		if t.all == nil {
			t.all = map[string]*Task{}
		}
		k = &Task{now: t.Now, m: Metrics{Name: name}}
		if k.now == nil {
			k.now = time.Now
		}
		t.all[name] = k
	}
	return k
}

// Forget takes a task away that is not done any more. Whoever still has it counts on, for nobody.
func (t *Tasks) Forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, name)
}

// Metrics are those of all tasks, by name.
func (t *Tasks) Metrics() []Metrics {
	t.mu.Lock()
	all := make([]*Task, 0, len(t.all))
	for _, k := range t.all {
		all = append(all, k)
	}
	t.mu.Unlock()
	out := make([]Metrics, 0, len(all))
	for _, k := range all {
		out = append(out, k.Metrics())
	}
	slices.SortFunc(out, func(a, b Metrics) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Task is one of them. It is safe for concurrent use.
type Task struct {
	now func() time.Time

	mu    sync.Mutex
	m     Metrics
	ended int64 // executions
	took  time.Duration
}

// Metrics is how it went so far.
func (k *Task) Metrics() Metrics {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.m
	if k.ended > 0 {
		m.Average = k.took / time.Duration(k.ended)
	}
	return m
}

// Begin begins an execution. False: the last one still runs, and this one is skipped.
func (k *Task) Begin() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m.Running {
		k.m.Skipped++
		return false
	}
	k.m.Running, k.m.Last = true, k.now()
	k.m.Executions++
	return true
}

// End ends the execution that Begin began. One that ends with the end of a context has neither succeeded nor failed.
func (k *Task) End(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m.Running = false
	k.ended++
	k.took += k.now().Sub(k.m.Last)
	k.m.LastError = ""
	switch {
	case err == nil:
		k.m.Successes++
	case !errors.Is(err, context.Canceled):
		k.m.Errors++
		k.m.LastError = err.Error()
	}
}

// Skip counts n times that it was due while it ran.
func (k *Task) Skip(n int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m.Skipped += n
}

// Do is one execution, unless the last one still runs.
func (k *Task) Do(do func() error) error {
	if !k.Begin() {
		return nil
	}
	err := do()
	k.End(err)
	return err
}

// Every does it at once, and again after it has rested for every, until ctx ends. What an execution returns is told to failed,
// unless it is nil or ctx has ended. A tick that passes while it runs is skipped.
func (k *Task) Every(ctx context.Context, every time.Duration, do func(context.Context) error, failed func(error)) {
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		begun := time.Now()
		if err := k.Do(func() error { return do(ctx) }); err != nil && ctx.Err() == nil {
			failed(err)
		}
		k.Skip(int64(time.Since(begun) / every))
		timer.Reset(every)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}
