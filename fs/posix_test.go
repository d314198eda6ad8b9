package fs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// TestPosix runs the library's suite. Tmpfile skips itself: a file without a name cannot be made here. FcntlFlockLocksFile
// expects two descriptors of one process to exclude each other, which POSIX locks do on no file system; the library
// leaves it out for plain directories too.
func TestPosix(t *testing.T) {
	for name, test := range posixtest.All {
		if name == "FcntlFlockLocksFile" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			e := mounted(t)
			test(t, e.mnt)
		})
	}
}
