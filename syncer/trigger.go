package syncer

import (
	"sync"
	"time"
)

// Trigger is why a leg looks whether there is work.
type Trigger uint8

// The triggers. Where several come together, the first of them counts.
const (
	ByRequest  Trigger = iota // a person asks for a run
	BySchedule                // a run of the conduit's cadence is due
	ByReader                  // a reader found that the endpoint has something else
	ByPush                    // the endpoint tells that it has changed
	ByWatcher                 // likewise, and nothing more exact than where: its directories are watched
	ByEvent                   // something happened in vdfs: a pause ended, an endpoint is back, bytes have come
	ByChange                  // programs changed the drive
	ByRest                    // what had to rest, or to wait after a failure, is due
	ByTimer                   // it was not looked at for a while
	triggerCount
)

var triggerNames = [triggerCount]string{"request", "schedule", "reader", "push", "watcher", "event", "change", "rest", "timer"}

// String is its name for people and programs.
func (t Trigger) String() string {
	if t < triggerCount {
		return triggerNames[t]
	}
	return "unknown"
}

// bell is rung by whatever may have work for a leg, and heard by its loop. Ringing never blocks, and ringing twice before it is
// heard is ringing once.
type bell struct {
	rung chan struct{} // cap 1

	mu  sync.Mutex
	why [triggerCount]bool
}

func newBell() *bell { return &bell{rung: make(chan struct{}, 1)} }

func (b *bell) ring(t Trigger) {
	b.mu.Lock()
	b.why[t] = true
	b.mu.Unlock()
	poke(b.rung)
}

// heard is the first of what rang since it was last asked; false: nothing did.
func (b *bell) heard() (Trigger, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	why := b.why
	b.why = [triggerCount]bool{}
	for t, yes := range why {
		if yes {
			return Trigger(t), true
		}
	}
	return 0, false
}

// presses reports whether it was rung for what does not rest first.
func (b *bell) presses() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	why := b.why
	why[ByChange] = false
	return why != [triggerCount]bool{}
}

// Triggered says what had a conduit work since the daemon started.
type Triggered struct {
	times  [triggerCount]int64 // by trigger: cycles that it began
	last   Trigger
	lastAt time.Time // zero: there was none
}

// count notes that a trigger begins a cycle.
func (t *Triggered) count(why Trigger, at time.Time) {
	t.times[why]++
	t.last, t.lastAt = why, at
}

// add counts another leg's, too.
func (t *Triggered) add(o Triggered) {
	for i, n := range o.times {
		t.times[i] += n
	}
	if o.lastAt.After(t.lastAt) {
		t.last, t.lastAt = o.last, o.lastAt
	}
}

// Times are how many cycles each trigger has begun, by its name; those that began none are left out.
func (t Triggered) Times() map[string]int64 {
	out := map[string]int64{}
	for i, n := range t.times {
		if n > 0 {
			out[Trigger(i).String()] = n
		}
	}
	return out
}

// Last is the trigger of the last cycle; "": there was none.
func (t Triggered) Last() string {
	if t.lastAt.IsZero() {
		return ""
	}
	return t.last.String()
}
