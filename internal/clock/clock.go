// Package clock tells the time as the kernel's file systems do.
//
// They stamp files with a clock of their own: coarse, and made finer only where somebody looked at the last stamp (Linux
// 6.13 and newer). Neither time.Now nor CLOCK_REALTIME_COARSE goes with it: a stamp taken from the first can be newer than
// one that a file system gives later, one from the second older than one it gave before. Programs such as make compare
// stamps, so a drive that gives its own beside those of the disk below has to ask the same clock.
package clock

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Files is the clock that file systems stamp files with. It is safe for concurrent use, and goes with the last reference
// to it.
type Files struct {
	// file is in memory only. The kernel is asked for the time by changing it and looking at its stamp.
	file *os.File
}

// New makes a clock.
func New() (*Files, error) {
	fd, err := unix.MemfdCreate("clock", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make clock: %w", err)
	}
	return &Files{file: os.NewFile(uintptr(fd), "clock")}, nil
}

// Now is the time that a file changed at this moment is stamped with. It never goes back while nobody sets the system's
// clock, and no file is stamped with an earlier time afterwards.
func (c *Files) Now() time.Time {
	defer runtime.KeepAlive(c)
	fd := int(c.file.Fd())
	var st unix.Stat_t
	if _, err := unix.Pwrite(fd, []byte{0}, 0); err == nil && unix.Fstat(fd, &st) == nil {
		return time.Unix(st.Mtim.Unix())
	}
	return time.Now() // out of memory: a time that is a few milliseconds off beats none
}
