package offload

import (
	"slices"
	"sync"
)

// class is who wants the bytes of a fetch. What is less is more urgent.
type class int

const (
	blocked    class = iota // somebody waits for them
	fetching                // a person asked for them
	pinning                 // a pin wants them
	refreshing              // they are the new version of what was here
	ahead                   // nobody asked for them yet
)

// queued tells the classes of what is written down as a transfer.
func (c class) queued() bool { return c > blocked && c < ahead }

// gate bounds the fetches under way. The most urgent goes first, of one class the oldest. A quarter of the room is for those
// that somebody waits for alone, and transfers never have more than their share.
type gate struct {
	room, share int

	mu        sync.Mutex // a leaf
	inside    int
	transfers int     // of those inside
	waiting   []*turn // in the order in which they came
}

// turn is the place of one fetch.
type turn struct {
	open   chan struct{} // closed when it may go
	inside class         // as what it is counted from then on; never changes after

	// Guarded by gate.mu.
	class class
	state turnState
}

type turnState uint8

const (
	turnWaits turnState = iota
	turnInside
	turnOver
)

func newGate(room, share int) *gate { return &gate{room: room, share: share} }

// enter asks for a turn. Every turn is ended by leave, whether it came or not.
func (g *gate) enter(c class) *turn {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := &turn{class: c, open: make(chan struct{})}
	g.waiting = append(g.waiting, t)
	g.admit()
	return t
}

// raise makes a turn at least as urgent as a class.
func (g *gate) raise(t *turn, c class) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c < t.class {
		t.class = c
		g.admit()
	}
}

// blocks reports whether somebody waits for what a turn is for.
func (g *gate) blocks(t *turn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return t.class == blocked
}

// leave ends a turn; the second call does nothing.
func (g *gate) leave(t *turn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch t.state {
	case turnWaits:
		g.waiting = slices.DeleteFunc(g.waiting, func(other *turn) bool { return other == t })
	case turnInside:
		g.inside--
		if t.inside.queued() {
			g.transfers--
		}
	}
	t.state = turnOver
	g.admit()
}

// admit lets in all for whom there is room. mu is held.
func (g *gate) admit() {
	for {
		best := -1
		for i, t := range g.waiting {
			if g.fits(t.class) && (best < 0 || t.class < g.waiting[best].class) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		t := g.waiting[best]
		g.waiting = slices.Delete(g.waiting, best, best+1)
		g.inside++
		if t.inside = t.class; t.inside.queued() {
			g.transfers++
		}
		t.state = turnInside
		close(t.open)
	}
}

func (g *gate) fits(c class) bool {
	switch {
	case c == blocked:
		return g.inside < g.room
	case g.inside >= g.room-g.room/4:
		return false
	}
	return !c.queued() || g.transfers < g.share
}
