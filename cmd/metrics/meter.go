package metrics

import (
	"sync"
	"time"

	"vdfs/cache/event"
)

const (
	bucket  = 5 * time.Minute
	buckets = int64(24 * time.Hour / bucket)
	recent  = 10 // seconds over which the present speed is taken
)

// Sums are what was done in some time.
type Sums struct {
	Syncs                                               int64 // runs that did something
	SyncTime                                            time.Duration
	Up, Down                                            int64 // bytes
	UpSeconds, DownSeconds                              int64 // in which there were any
	Sent, Fetched, Offloaded                            int64 // files
	Freed                                               int64 // bytes that were offloaded
	Conflicts, Resolved, Errors, Corrupted, Disconnects int64
}

func (s *Sums) add(o Sums) {
	s.Syncs += o.Syncs
	s.SyncTime += o.SyncTime
	s.Up += o.Up
	s.Down += o.Down
	s.UpSeconds += o.UpSeconds
	s.DownSeconds += o.DownSeconds
	s.Sent += o.Sent
	s.Fetched += o.Fetched
	s.Offloaded += o.Offloaded
	s.Freed += o.Freed
	s.Conflicts += o.Conflicts
	s.Resolved += o.Resolved
	s.Errors += o.Errors
	s.Corrupted += o.Corrupted
	s.Disconnects += o.Disconnects
}

// slot is a bucket of a ring that is used again and again: number says for which time.
type slot[T any] struct {
	number int64
	what   T
}

// at is the slot for a time, emptied if it was of an earlier one.
func at[T any](ring []slot[T], number int64) *T {
	s := &ring[number%int64(len(ring))]
	if s.number != number {
		*s = slot[T]{number: number}
	}
	return &s.what
}

// speed is how many bytes went in a second.
type speed struct{ up, down int64 }

// Meter is an event.Tap that counts. It is safe for concurrent use.
type Meter struct {
	steady func() time.Duration

	mu     sync.Mutex // a leaf
	total  Sums
	day    [buckets]slot[Sums]
	second [recent + 1]slot[speed] // the present one is not over yet
	lastUp int64                   // second in which bytes went last
	lastDn int64
}

// New makes one that counts by a time that nobody sets.
func New(steady func() time.Duration) *Meter { return &Meter{steady: steady, lastUp: -1, lastDn: -1} }

// Take counts an event.
func (m *Meter) Take(e *event.Event) {
	var s Sums
	switch e.Type {
	case event.FileUploadCompleted:
		s.Sent = 1
	case event.FileDownloadCompleted:
		s.Fetched = 1
	case event.FileOffloaded:
		s.Offloaded, s.Freed = 1, e.Bytes
	case event.FileConflictDetected:
		s.Conflicts = 1
	case event.FileConflictResolved:
		s.Resolved = 1
	case event.FileUploadFailed, event.FileDownloadFailed:
		s.Errors = 1
	case event.FileCorrupted:
		s.Errors, s.Corrupted = 1, 1
	case event.SyncFailed:
		if e.Error == event.Interrupted {
			return
		}
		s.Errors = 1
	case event.SyncCompleted:
		if e.Generation == 0 {
			return
		}
		s.Syncs, s.SyncTime = 1, e.Took
	case event.ConnectivityChanged:
		if e.Online {
			return
		}
		s.Disconnects = 1
	default:
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count(m.steady(), s)
}

// Moved counts bytes.
func (m *Meter) Moved(w event.Way, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.steady()
	sec := int64(now / time.Second)
	s, v := Sums{}, at(m.second[:], sec)
	if w == event.Up {
		s.Up = n
		v.up += n
		if m.lastUp != sec {
			m.lastUp, s.UpSeconds = sec, 1
		}
	} else {
		s.Down = n
		v.down += n
		if m.lastDn != sec {
			m.lastDn, s.DownSeconds = sec, 1
		}
	}
	m.count(now, s)
}

// count adds to the present bucket and to all. mu is held.
func (m *Meter) count(now time.Duration, s Sums) {
	m.total.add(s)
	at(m.day[:], int64(now/bucket)).add(s)
}

// Reading is what a Meter shows at one time.
type Reading struct {
	Total, Day       Sums
	UpNow, DownNow   int64 // bytes a second, over the last ten
	UpMean, DownMean int64 // bytes a second, over those of the last 24 hours in which there were any
}

// Read reads it.
func (m *Meter) Read() Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.steady()
	r := Reading{Total: m.total}
	first := int64(now/bucket) - buckets
	for _, s := range m.day {
		if s.number > first {
			r.Day.add(s.what)
		}
	}
	sec := int64(now / time.Second)
	for _, s := range m.second {
		if s.number < sec && s.number >= sec-recent {
			r.UpNow += s.what.up / recent
			r.DownNow += s.what.down / recent
		}
	}
	r.UpMean, r.DownMean = mean(r.Day.Up, r.Day.UpSeconds), mean(r.Day.Down, r.Day.DownSeconds)
	return r
}

func mean(bytes, seconds int64) int64 {
	if seconds == 0 {
		return 0
	}
	return bytes / seconds
}

// AverageSync is how long a run took.
func (s Sums) AverageSync() time.Duration {
	if s.Syncs == 0 {
		return 0
	}
	return s.SyncTime / time.Duration(s.Syncs)
}
