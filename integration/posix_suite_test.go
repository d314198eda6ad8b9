package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// notHere are the tests of the suite that the drive cannot pass. Tmpfile would skip itself: a file without a name cannot
// be made here. FcntlFlockLocksFile expects two descriptors of one process to exclude each other, which POSIX locks do on
// no file system; the library leaves it out for plain directories too.
var notHere = map[string]bool{"Tmpfile": true, "FcntlFlockLocksFile": true}

// suiteDir names the directory that a process is to run the suite in.
const suiteDir = "VDFS_TEST_SUITE_DIR"

// TestPosixSuite runs the FUSE library's own suite, in a process of its own: the suite's files are inherited by whatever
// another test starts at that moment, and would keep the drive in use.
func TestPosixSuite(t *testing.T) {
	if dir := os.Getenv(suiteDir); dir != "" {
		runSuite(t, dir)
		return
	}
	t.Parallel()
	f := mounted(t, "")
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run", "^TestPosixSuite$", "-test.timeout", "10m")
	cmd.Env = append(os.Environ(), suiteDir+"="+f.path(), "VDFS_BINARY="+built)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	left, err := os.ReadDir(f.path())
	if must(t, err); len(left) < len(posixtest.All)-len(notHere) {
		t.Errorf("the suite left %d directories, want one for each of its tests", len(left))
	}
}

func runSuite(t *testing.T, in string) {
	for name, test := range posixtest.All {
		if notHere[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(in, name)
			must(t, os.Mkdir(dir, 0o755))
			test(t, dir)
		})
	}
}
