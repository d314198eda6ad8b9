package clock

import "time"

// Steady tells how long something takes, by a clock that nobody sets: the time of day may jump meanwhile.
type Steady struct {
	began time.Time // the reading of the monotonic clock in it is what counts
}

// Begin begins one.
func Begin() Steady { return Steady{time.Now()} }

// Now is how long ago it began, and a day, so that 0 is long ago.
func (s Steady) Now() time.Duration { return 24*time.Hour + time.Since(s.began) }
