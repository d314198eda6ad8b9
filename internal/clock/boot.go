package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// SinceBoot is how long ago the machine was started, the time included that it slept. Nobody sets that clock.
func SinceBoot() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // every kernel with FUSE as it is used here has it
	return time.Duration(ts.Nano())
}
