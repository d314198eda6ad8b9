package integration

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// notHere are the tests of the suite that the drive cannot pass. Tmpfile would skip itself: a file without a name cannot
// be made here. FcntlFlockLocksFile expects two descriptors of one process to exclude each other, which POSIX locks do on
// no file system; the library leaves it out for plain directories too.
var notHere = map[string]bool{"Tmpfile": true, "FcntlFlockLocksFile": true}

// TestPosixSuite runs the FUSE library's own suite.
func TestPosixSuite(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	for name, test := range posixtest.All {
		if notHere[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := f.path(name)
			must(t, os.Mkdir(dir, 0o755))
			test(t, dir)
		})
	}
}
