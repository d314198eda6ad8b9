package event

import (
	"sync/atomic"
	"time"
)

// tellEvery is the shortest time between two events about the progress of one thing.
const tellEvery = 200 * time.Millisecond

// Throttle lets something be told of at most five times a second. The zero Throttle begins to count with the first call, so
// that what is over within that time is not told of at all.
type Throttle struct{ next atomic.Int64 }

// Reset makes it the zero Throttle again.
func (t *Throttle) Reset() { t.next.Store(0) }

// May reports whether it is time to tell, and if so counts it as told. now is of Bus.Steady.
func (t *Throttle) May(now time.Duration) bool {
	next := t.next.Load()
	if next == 0 {
		t.next.CompareAndSwap(0, int64(now+tellEvery))
		return false
	}
	return int64(now) >= next && t.next.CompareAndSwap(next, int64(now+tellEvery))
}

// Progress tells how far a file on its way is. A nil Progress tells nothing.
type Progress struct {
	bus      *Bus
	e        Event
	path     func() string
	throttle Throttle
	most     atomic.Int64
}

// Progress is for a file of which e tells what does not change. path is asked for only when something is told, outside any
// transaction.
func (b *Bus) Progress(e Event, path func() string) *Progress {
	if b == nil {
		return nil
	}
	e.Type = FileChunkReceived
	return &Progress{bus: b, e: e, path: path}
}

// Reached notes how many bytes have come. What goes back, as when something is sent again, is not told of.
func (p *Progress) Reached(bytes int64) {
	if p == nil || !p.bus.Wants(FileChunkReceived) {
		return
	}
	for {
		was := p.most.Load()
		if bytes <= was {
			return
		}
		if p.most.CompareAndSwap(was, bytes) {
			break
		}
	}
	if !p.throttle.May(p.bus.Steady()) {
		return
	}
	e := p.e
	e.Bytes, e.Path = bytes, p.path()
	p.bus.Publish(e)
}
