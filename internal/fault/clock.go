package fault

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

// ClockFile is the environment variable with the file that says by how much the process's clocks are off, as
// time.ParseDuration reads it. The file is read whenever somebody asks for the time, so that a test that writes another one has
// the clocks jump; it is replaced as a whole, by renaming.
const ClockFile = "VDFS_FAULT_CLOCK"

// Clock is now, but for a process whose clocks are to jump. As where a person or a time server sets the clock, the time of day
// jumps alone: how long something took is measured as before.
func Clock(now func() time.Time) func() time.Time {
	path := os.Getenv(ClockFile)
	if path == "" {
		return now
	}
	var last atomic.Int64
	return func() time.Time {
		if off, err := offset(path); err == nil {
			last.Store(int64(off))
		} // else it stays as it is: at the start Check has found it to be well
		return Jumped(now(), time.Duration(last.Load()))
	}
}

// offset reads by how much the clocks are off.
func offset(path string) (time.Duration, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", ClockFile, err)
	}
	off, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("parse the file of %s: %w", ClockFile, err)
	}
	return off, nil
}

// reading is what a time.Time is made of; a test holds it against the real one.
type reading struct {
	wall uint64 // the uppermost bit: ext is the monotonic clock, else it belongs to the time of day
	ext  int64
	_    *time.Location
}

// Jumped is t with another time of day. Add would move its monotonic clock, too, and no jump does that.
func Jumped(t time.Time, by time.Duration) time.Time {
	moved := t.Add(by)
	was, is := (*reading)(unsafe.Pointer(&t)), (*reading)(unsafe.Pointer(&moved))
	if was.wall&is.wall>>63 == 1 {
		is.ext = was.ext
	}
	return moved
}
