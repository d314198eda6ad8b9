package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openLong is a drive that sends a copy of a file that has been open for a second.
func openLong(t *testing.T, flags ...string) *fixture {
	t.Helper()
	f := configured(t, "[sync]\nopen_files = \"1s\"\n")
	f.do(append([]string{"mount", f.at, "--from", f.dir}, flags...)...)
	return f
}

// TestAFileThatIsNeverClosedIsSentAsItWasInOneMoment has a program append to a file that it keeps open. The storage gets what
// it was at one moment after another, nothing else, and after a kill the drive has all that the program was told is written.
func TestAFileThatIsNeverClosedIsSentAsItWasInOneMoment(t *testing.T) {
	t.Parallel()
	f := openLong(t, "--no-passthrough")
	write(t, f.path("diary"), "line 0\n")
	f.sync()
	h, err := os.OpenFile(f.path("diary"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	all := "line 0\n"
	appendLine := func() {
		t.Helper()
		line := fmt.Sprintf("line %d\n", strings.Count(all, "\n"))
		_, err := h.WriteString(line)
		must(t, err)
		all += line
	}
	there := func() int {
		t.Helper()
		got := read(t, f.behind("diary"))
		if !strings.HasPrefix(all, got) || !strings.HasSuffix(got, "\n") {
			t.Fatalf("the storage has %q, which the file never was", got)
		}
		return len(got)
	}
	for round := range 3 {
		least := len(all) + 1
		eventually(t, fmt.Sprintf("copy %d is sent while it is written to", round), func() bool {
			appendLine()
			return there() >= least
		})
	}
	if c := f.conflictFiles(f.at, "diary"); len(c) > 0 {
		t.Errorf("there are conflict files: %v", c)
	}
	f.signal(unix.SIGKILL)
	_ = h.Close() // its drive is gone
	must(t, f.WaitGone())
	f.do("mount", f.at)
	wants(t, f.path("diary"), all)
	f.sync()
	wants(t, f.behind("diary"), all)
	f.do("doctor")
}

// TestWhoKeepsAFileOpenIsNamed: a file of which no copy can be made waits, and it is said for whom.
func TestWhoKeepsAFileOpenIsNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	f.mount()
	h, err := os.Create(f.path("f"))
	must(t, err)
	_, err = h.WriteString("text")
	must(t, err)
	who := fmt.Sprintf("open by PID %d", os.Getpid())
	if q := f.do("queue"); !strings.Contains(q, who) {
		t.Errorf("the queue does not say %q:\n%s", who, q)
	}
	if r := f.run("sync", "--wait"); r.Code != 3 || !strings.Contains(r.Stderr, who) {
		t.Errorf("sync does not say %q: %s", who, r)
	}
	must(t, h.Close())
	f.sync()
	wants(t, f.behind("f"), "text")
}
