package syncer

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The cadences as they are stored. An interval has its length behind it, as in interval:1h.
const (
	CadenceInstant = "instant"
	CadenceManual  = "manual"

	cadenceInterval = "interval:"
	day             = 24 * time.Hour

	// An interval is no shorter, and no longer.
	shortestInterval = time.Second
	longestInterval  = 366 * day
)

// cadence says when a conduit works: the zero value as soon as there is something to do, another one in runs.
type cadence struct {
	every  time.Duration // between the beginnings of two runs; 0: no run comes by itself
	manual bool          // only when somebody asks
}

// inRuns: nothing is sent or taken in outside a run, but for what a reader waits for.
func (c cadence) inRuns() bool { return c.manual || c.every > 0 }

// String is what is stored.
func (c cadence) String() string {
	switch {
	case c.manual:
		return CadenceManual
	case c.every > 0:
		return cadenceInterval + lengthText(c.every)
	}
	return CadenceInstant
}

// lengthText is a length in its largest whole unit: 1d, 36h, 5m, 1m30s.
func lengthText(d time.Duration) string {
	switch {
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// cadences are the names for common ones, in lower case.
var cadences = map[string]cadence{
	"": {}, CadenceInstant: {}, "instantly": {},
	CadenceManual:      {manual: true},
	"everyfiveminutes": {every: 5 * time.Minute}, "hourly": {every: time.Hour}, "daily": {every: day},
}

// parseCadence reads what a person wrote, or what is stored.
func parseCadence(text string) (cadence, error) {
	if c, ok := cadences[strings.ToLower(text)]; ok {
		return c, nil
	}
	length, ok := strings.CutPrefix(strings.ToLower(text), cadenceInterval)
	if !ok {
		return cadence{}, invalid("cadence %q: choose instant, interval:1h (or any other time, such as 5m or 1d) or manual", text)
	}
	d, err := parseLength(length)
	if err != nil || d < shortestInterval || d > longestInterval {
		return cadence{}, invalid("cadence %q: the interval must be between 1s and 366d, such as interval:5m, interval:1h or interval:1d", text)
	}
	return cadence{every: d}, nil
}

// parseLength is time.ParseDuration, and knows days, too.
func parseLength(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 16)
		return time.Duration(n) * day, err
	}
	return time.ParseDuration(text)
}

// cadenceOf is the cadence of a conduit. What this version does not know waits for a person: that does too little, never too much.
func cadenceOf(stored string) cadence {
	c, err := parseCadence(stored)
	if err != nil {
		return cadence{manual: true}
	}
	return c
}
