package cache

import (
	"sync"
	"time"
)

// quietRemembered is how many files' quiet periods are kept; the oldest is forgotten for a new one.
const quietRemembered = 1024

// quickMax is how many bytes a file has at most that is sent soon after its first close: should it be written again right
// then, sending it in vain has cost little. Of a longer one the sending takes longer than the rest.
const quickMax = 1 << 20

// quietPeriods says how long a file rests after its last close before it is sent. Most files are closed once, and somebody
// may wait for them elsewhere: the first time that is only first, unless the file is long. A file that is settled again within
// quietMemory of the last time rests twice as long as then, at least twice the minimum and up to the maximum: rewriting is
// not sent each time, and what is written in bursts is sent once more at most than if it had rested from the beginning.
type quietPeriods struct {
	mu              sync.Mutex
	first, min, max int64
	recent          map[Ino]rest
	order           []Ino // ring of the keys of recent, oldest at at
	at              int
}

type rest struct{ at, quiet int64 }

// quietFirst is how long a short file rests after its first close: for the rename that follows it where programs write beside
// the file, and for what they set then.
const quietFirst = 50 * time.Millisecond

// quietMemory is how long after a settle a rewrite counts as "again": longer than the longest rest.
const quietMemory = int64(10 * time.Second)

func (q *quietPeriods) init(first, shortest, longest time.Duration) {
	q.first, q.min, q.max = int64(min(first, shortest)), int64(shortest), max(int64(longest), int64(shortest))
	q.recent = make(map[Ino]rest)
	q.order = make([]Ino, quietRemembered)
}

// next answers the quiet period of a file of so many bytes that is settled now, in nanoseconds. now never goes backwards by
// much; if it does, the file rests as for the first time.
func (q *quietPeriods) next(ino Ino, size, now int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	last, known := q.recent[ino]
	quiet := q.first
	switch {
	case known && now-last.at >= 0 && now-last.at < quietMemory:
		quiet = min(2*max(last.quiet, q.min), q.max)
	case size > quickMax:
		quiet = q.min
	}
	if !known {
		delete(q.recent, q.order[q.at])
		q.order[q.at] = ino
		q.at = (q.at + 1) % len(q.order)
	}
	q.recent[ino] = rest{now, quiet}
	return quiet
}
