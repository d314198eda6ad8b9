package integration

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

func TestDirMovedAwayEmptiedAndBack(t *testing.T) {
	t.Parallel()
	f := mounted(t, goSource(t, "net", "strings"))
	diffR(t, f.behind("strings"), f.path("strings"))
	before := find(t, f.at)
	watch := watchOver(t, []string{f.at}, "net/dial.go", "strings/iter.go")
	away := f.dir + ".away"

	// Gone.
	must(t, os.Rename(f.dir, away))
	f.goesOffline()
	if now := find(t, f.at); now != before {
		t.Fatalf("the directory is away and the drive changed:\n%s", diffLines(t, before, now))
	}
	diffR(t, away+"/strings", f.path("strings"))
	f.worksOffline("away")
	start := time.Now()
	h, err := os.Open(f.path("net/dial.go"))
	if err == nil {
		must(t, h.Close())
	}
	if took := time.Since(start); !errors.Is(err, unix.ENETUNREACH) || took > 5*time.Second {
		t.Errorf("to open what is away took %v and ended with %v, want %v at once", took, err, unix.ENETUNREACH)
	}

	// An impostor in its place.
	must(t, os.Mkdir(f.dir, 0o755))
	f.goesOffline()
	f.worksOffline("empty")
	if r := f.run("sync", "--wait", "--timeout", "20s"); r.Code != 5 {
		t.Errorf("sync with an empty directory in place: want exit 5, got %s", r)
	}
	if entries, err := os.ReadDir(f.dir); err != nil || len(entries) > 0 {
		t.Fatalf("something was written to the impostor: %v, %v", entries, err)
	}
	want := strings.Split(before, "\x00")
	now := "\x00" + find(t, f.at) + "\x00"
	for _, line := range want {
		// Directories that got new files have new times but the same line.
		if !strings.Contains(now, "\x00"+line+"\x00") && !touchedOffline(line) {
			t.Fatalf("%q disappeared from the drive", line)
		}
	}

	watch.unharmed(t)

	// Back.
	must(t, os.Remove(f.dir))
	must(t, os.Rename(away, f.dir))
	f.settled()
	for _, round := range []string{"away", "empty"} {
		wants(t, f.behind("made "+round, "file"), "made "+round)
		wants(t, f.behind("strings/"+offlineFiles[round].edited), "edited "+round)
		absent(t, f.behind("strings/"+offlineFiles[round].removed))
		absent(t, f.behind("strings/"+offlineFiles[round].moved))
	}
	diffR(t, f.dir, f.at)
	// The two files removed by hand are the only deletes there ever were.
	var history []drive.Generation
	must(t, f.JSON(&history, "history", "--json"))
	var deleted int64
	for _, g := range history {
		deleted += g.Deleted
	}
	if deleted != 2 {
		t.Errorf("%d deletes were issued, want the 2 made by hand: %+v", deleted, history)
	}
	if state := f.status().Conduits[0].State; state != "idle" {
		t.Errorf("afterwards the conduit is %q, want idle", state)
	}
	watch.unharmed(t)
}

// offlineFiles are the cached files that each round of working offline uses up.
var offlineFiles = map[string]struct{ edited, removed, moved string }{
	"away":  {"builder.go", "compare.go", "reader.go"},
	"empty": {"replace.go", "search.go", "strings.go"},
}

// touchedOffline reports whether a line of find is of a file that was used up.
func touchedOffline(line string) bool {
	for _, u := range offlineFiles {
		for _, name := range []string{u.edited, u.removed, u.moved} {
			if strings.HasSuffix(line, " strings/"+name) {
				return true
			}
		}
	}
	return false
}

// worksOffline does what has to work without the endpoint: reading and writing
// cached files, new files and directories, renaming, removing.
func (f *fixture) worksOffline(round string) {
	f.t.Helper()
	use := offlineFiles[round]
	must(f.t, os.Mkdir(f.path("made "+round), 0o755))
	write(f.t, f.path("made "+round, "file"), "made "+round)
	wants(f.t, f.path("made "+round, "file"), "made "+round)
	write(f.t, f.path("strings", use.edited), "edited "+round)
	wants(f.t, f.path("strings", use.edited), "edited "+round)
	must(f.t, os.Rename(f.path("strings", use.moved), f.path("made "+round, use.moved)))
	must(f.t, os.Remove(f.path("strings", use.removed)))
	absent(f.t, f.path("strings", use.removed))
}

// goesOffline waits until the drive says that its directory is not there.
func (f *fixture) goesOffline() {
	f.t.Helper()
	if r := f.run("sync", "--wait", "--timeout", "20s"); r.Code != 5 {
		f.t.Errorf("sync without the directory: want exit 5, got %s", r)
	}
	eventually(f.t, "status says offline", func() bool {
		s := f.status()
		return s.State == "offline" && s.Conduits[0].State == "offline"
	})
}
