package syncer

import "time"

// An endpoint is looked at by the timer when nothing else has had it looked at for a while. How long that is goes by what the
// looks find, between a sixth and the tenfold of the interval that is configured: 5 s and 5 min of its 30 s.
const (
	hurried = 6
	relaxed = 10
	// listingShare is how many times as long as a listing of all takes it rests at least before the next one.
	listingShare = 100
)

// beat is the time between two looks by the timer.
type beat struct {
	interval time.Duration // as it is configured
	adaptive bool          // false: it is that, but where listings take too long
}

// sight is what a look was about.
type sight struct {
	timer   bool          // nothing but the timer had it done
	news    bool          // it found something new
	waits   bool          // something is left that another look may help
	cheap   bool          // the endpoint tells what has changed when it is asked, and only then
	slow    bool          // this machine is to be spared
	listing time.Duration // what it takes to list all, where that is what a look does; 0: it is not
}

// next is the time to the next look, after was to the last one. was 0: there was none.
func (b beat) next(was time.Duration, s sight) time.Duration {
	every := b.interval
	switch {
	case s.slow:
		every = relaxed * b.interval
	case !b.adaptive || s.waits:
	case s.news && s.cheap:
		every = b.interval / hurried
	case s.news || !s.timer || was == 0:
	default:
		every = min(2*was, relaxed*b.interval)
	}
	return max(every, listingShare*s.listing)
}

// nextLook is the time to the next look by the timer, now that a cycle has ended. open: it left something to do.
func (l *leg) nextLook(open bool) time.Duration {
	l.mu.Lock()
	caps := l.caps
	l.mu.Unlock()
	s := sight{timer: l.why == ByTimer, news: l.found, waits: open || len(l.shut.ids()) > 0, slow: l.e.spared() != SpareNothing}
	if caps != nil && !caps.Push {
		s.cheap = caps.Feed
		if !caps.Feed {
			s.listing = l.listing
		}
	}
	l.rhythm = beat{l.e.Interval, l.e.Adaptive}.next(l.rhythm, s)
	return l.rhythm
}
