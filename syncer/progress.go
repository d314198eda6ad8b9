package syncer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vdfs/cache"
)

// The phases of a run. Copies come before deletions; what was done is verified behind both.
const (
	PhaseCopying   = "copying"
	PhaseDeleting  = "deleting"
	PhaseVerifying = "verifying"
)

// Progress is how far the run of a conduit is. Totals grow while work is found.
type Progress struct {
	Phase             string
	Files, FilesTotal int64 // of this phase
	Bytes, BytesTotal int64 // of copies
	Rate              int64 // bytes a second, of late; 0: none, or not known yet
	Left              time.Duration
	Known             bool // Left is
}

const (
	runGap   = 2 * time.Second // what comes later is another run
	rateStep = time.Second     // between two marks
	rateSpan = 10              // marks that the rate is taken over
	rateSoon = 300 * time.Millisecond
)

// progress counts what the run of a leg has done. What is left to do is the queue's to tell, when somebody asks.
type progress struct {
	files, deletes atomic.Int64
	bytes          atomic.Int64 // of files that have arrived
	flying         atomic.Int64 // of those on their way
	marked         atomic.Int64 // when the last mark was made, in nanoseconds since 1970

	mu    sync.Mutex
	phase string    // "": nothing is under way
	last  time.Time // when something last was
	marks []progressMark
}

// progressMark is how far a run was at a time.
type progressMark struct {
	at           time.Time
	files, bytes int64
}

// enter begins a phase, and a run if the last one is over.
func (p *progress) enter(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == "" && time.Since(p.last) > runGap {
		p.files.Store(0)
		p.deletes.Store(0)
		p.bytes.Store(0)
		p.marks = nil
	}
	if p.phase = phase; len(p.marks) == 0 {
		p.mark(time.Now())
	}
}

// leave ends what was entered.
func (p *progress) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != "" {
		p.phase, p.last = "", time.Now()
	}
}

// did counts what has come to its end.
func (p *progress) did(c counts) {
	p.files.Add(c.Copied)
	p.deletes.Add(c.Deleted)
	p.moved()
}

// moved makes a mark if it is time for one.
func (p *progress) moved() {
	now := time.Now()
	if now.UnixNano()-p.marked.Load() < int64(rateStep) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark(now)
}

// mark notes how far the run is. mu is held.
func (p *progress) mark(now time.Time) {
	p.marked.Store(now.UnixNano())
	if len(p.marks) == rateSpan {
		p.marks = append(p.marks[:0], p.marks[1:]...)
	}
	p.marks = append(p.marks, progressMark{now, p.files.Load() + p.deletes.Load(), p.bytes.Load() + p.flying.Load()})
}

// rates are files and bytes a second since the oldest mark.
func (p *progress) rates(now time.Time) (files, bytes float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.marks) == 0 || now.Sub(p.marks[0].at) < rateSoon {
		return 0, 0
	}
	m := p.marks[0]
	seconds := now.Sub(m.at).Seconds()
	return float64(p.files.Load()+p.deletes.Load()-m.files) / seconds, float64(p.bytes.Load()+p.flying.Load()-m.bytes) / seconds
}

// part is what a file on its way counts for.
type part struct {
	of   *progress // nil: for nothing
	size int64
	got  atomic.Int64
}

// read counts bytes that were read to be sent. What is read again counts once.
func (s *part) read(n int64) {
	if s == nil || s.of == nil || n <= 0 {
		return
	}
	now := s.got.Add(n)
	if more := min(now, s.size) - min(now-n, s.size); more > 0 {
		s.of.flying.Add(more)
		s.of.moved()
	}
}

// end counts the file for arrived, or for not sent.
func (s *part) end(arrived bool) {
	if s.of == nil {
		return
	}
	s.of.flying.Add(-min(s.got.Load(), s.size))
	if arrived {
		s.of.bytes.Add(s.size)
	}
}

// progressNow is how far a leg is; false: nothing is under way.
func (l *leg) progressNow(tx *cache.Tx) (out Progress, some bool, err error) {
	p := &l.progress
	p.mu.Lock()
	out.Phase = p.phase
	p.mu.Unlock()
	if out.Phase == "" {
		return out, false, nil
	}
	files, bytes := p.rates(time.Now())
	if out.Phase == PhaseVerifying {
		out.Files, out.FilesTotal = l.watching.seen.Load(), l.watching.all.Load()
		return out, true, nil
	}
	left, err := tx.LeftToSend(l.id)
	if err != nil {
		return out, false, err
	}
	if out.Phase == PhaseDeleting {
		out.Files = p.deletes.Load()
		out.FilesTotal = out.Files + left.Deletes
	} else {
		out.Files, out.Bytes = p.files.Load(), p.bytes.Load()
		out.FilesTotal, out.BytesTotal = out.Files+left.Copies, out.Bytes+left.Bytes
		out.Bytes = min(out.Bytes+p.flying.Load(), out.BytesTotal)
	}
	out.Rate = int64(bytes)
	out.Left, out.Known = timeLeft(out, files, bytes)
	return out, true, nil
}

// progressOf is progressNow of a leg by its id.
func (e *Engine) progressOf(tx *cache.Tx, id cache.LegID) (Progress, bool, error) {
	l := e.leg(id)
	if l == nil {
		return Progress{}, false, nil
	}
	return l.progressNow(tx)
}

// Progress is how far the runs under way are, of the named conduits or of all, taken together; nil: there is none.
func (e *Engine) Progress(conduits []string) (*Progress, error) {
	var under []Progress
	err := e.Cache.Survey(func(tx *cache.Tx) error {
		for _, l := range e.current() {
			if len(conduits) > 0 && !slices.Contains(conduits, l.conduitRow().Name) {
				continue
			}
			p, some, err := l.progressNow(tx)
			if err != nil {
				return err
			}
			if some {
				under = append(under, p)
			}
		}
		return nil
	})
	return joinProgress(under), err
}

// timeLeft is the longer of what is left of files and of bytes.
func timeLeft(p Progress, files, bytes float64) (left time.Duration, known bool) {
	for _, c := range []struct {
		rest int64
		rate float64
	}{{p.FilesTotal - p.Files, files}, {p.BytesTotal - p.Bytes, bytes}} {
		if c.rest <= 0 || c.rate <= 0 {
			continue
		}
		known = true
		left = max(left, time.Duration(float64(c.rest)/c.rate*float64(time.Second)))
	}
	return left, known
}

// phases are in the order in which one speaks for a conduit with several legs.
var phases = []string{PhaseCopying, PhaseDeleting, PhaseVerifying}

// joinProgress puts the progress of the legs of a conduit together; nil: there is none.
func joinProgress(legs []Progress) *Progress {
	for _, phase := range phases {
		var sum *Progress
		for _, p := range legs {
			if p.Phase != phase {
				continue
			}
			if sum == nil {
				sum = &Progress{Phase: phase}
			}
			sum.Files, sum.FilesTotal = sum.Files+p.Files, sum.FilesTotal+p.FilesTotal
			sum.Bytes, sum.BytesTotal = sum.Bytes+p.Bytes, sum.BytesTotal+p.BytesTotal
			sum.Rate, sum.Left, sum.Known = sum.Rate+p.Rate, max(sum.Left, p.Left), sum.Known || p.Known
		}
		if sum != nil {
			return sum
		}
	}
	return nil
}
