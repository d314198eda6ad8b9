package event

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/internal/clock"
)

// Tap sees every event and every byte, without waiting for its turn: it must be quick, never block, and not keep the event.
// Of those that no subscriber wants it sees only what costs nothing to know; Seq and At are not set.
type Tap interface {
	Take(e *Event)
	Moved(w Way, n int64)
}

// Options are what a Bus is made with.
type Options struct {
	Tap    Tap                  // nil: none
	Now    func() time.Time     // stamps events; nil: time.Now
	Steady func() time.Duration // a time that nobody sets, for throttling; nil: the system's
}

// Bus carries events from those who publish to those who subscribed. A nil Bus carries nothing, and costs nothing.
type Bus struct {
	o      Options
	wanted atomic.Uint64 // the Set of all subscribers
	lost   atomic.Int64

	mu   sync.Mutex
	seq  uint64
	subs []*Subscription
}

// New makes a bus. It starts nothing and needs no end.
func New(o Options) *Bus {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Steady == nil {
		steady := clock.Begin()
		o.Steady = steady.Now
	}
	// No drive has a million events a second for as long as it runs, so those after a restart have higher numbers.
	return &Bus{o: o, seq: uint64(max(o.Now().UnixMicro(), 0))}
}

// Wants reports whether some subscriber wants events of a type.
func (b *Bus) Wants(t Type) bool { return b != nil && Set(b.wanted.Load()).Has(t) }

// Publish tells all who want it, and waits for none of them. It is called after the commit of what the event is about, and
// not inside a transaction.
func (b *Bus) Publish(e Event) {
	if b == nil {
		return
	}
	if b.o.Tap != nil {
		b.o.Tap.Take(&e)
	}
	if !b.Wants(e.Type) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	e.Seq, e.At = b.seq, b.o.Now().UTC()
	for _, s := range b.subs {
		if s.types.Has(e.Type) {
			s.push(e)
		}
	}
}

// Moved tells that bytes of files have gone to an endpoint or come from one.
func (b *Bus) Moved(w Way, n int64) {
	if b != nil && b.o.Tap != nil && n > 0 {
		b.o.Tap.Moved(w, n)
	}
}

// Steady is the time by which things are throttled.
func (b *Bus) Steady() time.Duration {
	if b == nil {
		return 0
	}
	return b.o.Steady()
}

// Lost is how many events subscribers have lost in all.
func (b *Bus) Lost() int64 { return b.lost.Load() }

// Subscribers counts them.
func (b *Bus) Subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

// Subscribe begins to keep events of some types for somebody who takes them when it can: at most room of them, then the
// oldest go. It must be closed.
func (b *Bus) Subscribe(types Set, room int) *Subscription {
	s := &Subscription{bus: b, types: types, room: max(room, 1), ready: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = append(b.subs, s)
	b.sum()
	return s
}

// sum finds out what is wanted. mu is held.
func (b *Bus) sum() {
	var all Set
	for _, s := range b.subs {
		all |= s.types
	}
	b.wanted.Store(uint64(all))
}

// Subscription is a queue of events for one subscriber.
type Subscription struct {
	bus   *Bus
	types Set
	room  int
	ready chan struct{} // cap 1

	mu    sync.Mutex
	ring  []Event // as long as was needed so far, at most room
	first int
	n     int
	lost  uint64 // since the last event that was taken
}

// push adds an event; where there is no room the oldest goes.
func (s *Subscription) push(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.n < len(s.ring):
	case len(s.ring) < s.room:
		wider := make([]Event, min(max(2*len(s.ring), 16), s.room))
		copy(wider[copy(wider, s.ring[s.first:]):], s.ring[:s.first])
		s.ring, s.first = wider, 0
	default:
		s.first = (s.first + 1) % len(s.ring)
		s.n--
		s.lost++
		s.bus.lost.Add(1)
	}
	s.ring[(s.first+s.n)%len(s.ring)] = e
	s.n++
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Take returns the oldest event, with how many were lost before it; false: there is none now.
func (s *Subscription) Take() (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		return Event{}, false
	}
	e := s.ring[s.first]
	s.ring[s.first] = Event{}
	s.first = (s.first + 1) % len(s.ring)
	if s.n--; s.n == 0 {
		s.ring, s.first = nil, 0
	}
	e.Dropped, s.lost = s.lost, 0
	return e, true
}

// Next waits for the next event, or for the end of ctx.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok := s.Take(); ok {
			return e, nil
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Close ends it. What was not taken is gone.
func (s *Subscription) Close() {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = slices.DeleteFunc(b.subs, func(other *Subscription) bool { return other == s })
	b.sum()
}
