package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"vdfs/integration/drive"
)

// built is the binary under test; TestMain sets it before any test runs.
var built string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run is TestMain with defers that happen.
func run(m *testing.M) int {
	if err := drive.CheckFUSE(); err != nil {
		if inCI() {
			fmt.Fprintf(os.Stderr, "FAIL: the integration tests need FUSE: %v\n", err)
			return 1
		}
		fmt.Fprintf(os.Stderr, "\n*** SKIPPED: ALL INTEGRATION TESTS. %v ***\n\n", err)
		return 0
	}
	dir, err := os.MkdirTemp("", "vdfs-integration-")
	if err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if built, err = drive.Build(dir, os.Getenv("VDFS_TEST_RACE") == "1"); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
		return 1
	}
	return m.Run()
}

// inCI reports whether nothing may be skipped.
func inCI() bool {
	return os.Getenv("CI") == "true"
}

// soak is the factor by which long tests are longer than usual.
func soak(t *testing.T) int {
	t.Helper()
	text := os.Getenv("VDFS_SOAK")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("VDFS_SOAK is %q, want a positive number", text)
	}
	return n
}

// long skips a test that only `make soak` has the time for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("VDFS_SOAK") == "" {
		t.Skip("runs in `make soak`")
	}
}

// need skips the test, or in CI fails it, when a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if inCI() {
			t.Fatalf("the program %s is missing", p)
		}
		t.Skipf("*** SKIPPED: the program %s is missing ***", p)
	}
}
