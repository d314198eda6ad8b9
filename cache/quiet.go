package cache

import (
	"sync"
	"time"
)

// quietRemembered is how many files' quiet periods are kept; the oldest is forgotten for a new one.
const quietRemembered = 1024

// quietPeriods says how long a file rests after its last close before it is sent. A file that is settled again within
// quietMemory of the last time rests twice as long as then, up to the maximum: rewriting is not sent each time.
type quietPeriods struct {
	mu       sync.Mutex
	min, max int64
	recent   map[Ino]rest
	order    []Ino // ring of the keys of recent, oldest at at
	at       int
}

type rest struct{ at, quiet int64 }

// quietMemory is how long after a settle a rewrite counts as "again": longer than the longest rest.
const quietMemory = int64(10 * time.Second)

func (q *quietPeriods) init(shortest, longest time.Duration) {
	q.min, q.max = int64(shortest), max(int64(longest), int64(shortest))
	q.recent = make(map[Ino]rest)
	q.order = make([]Ino, quietRemembered)
}

// next answers the quiet period of a file settled now, in nanoseconds. now never goes backwards by much; if it does, the
// file rests for the minimum.
func (q *quietPeriods) next(ino Ino, now int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	last, known := q.recent[ino]
	quiet := q.min
	if known && now-last.at >= 0 && now-last.at < quietMemory {
		quiet = min(max(2*last.quiet, q.min), q.max)
	}
	if !known {
		delete(q.recent, q.order[q.at])
		q.order[q.at] = ino
		q.at = (q.at + 1) % len(q.order)
	}
	q.recent[ino] = rest{now, quiet}
	return quiet
}
