package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vdfs/integration/drive"
)

// TestABandwidthLimitsWhatIsSentAndWhatComes moves the same bytes with and without a limit. Under it they cannot be faster, however
// slow this machine is.
func TestABandwidthLimitsWhatIsSentAndWhatComes(t *testing.T) {
	t.Parallel()
	const rate, size = 256 << 10, 1 << 20
	const least = time.Duration(size-rate/4) * time.Second / rate
	f := mounted(t, "")
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	took := func(do func()) time.Duration {
		began := time.Now()
		do()
		return time.Since(began)
	}
	send := func(name string) func() {
		return func() {
			must(t, os.WriteFile(f.path(name), data, 0o644))
			f.sync()
		}
	}
	fetch := func(name string) func() {
		return func() { wantsBytes(t, f.path(name), data) }
	}
	f.do("conduit", "edit", "home", "--bandwidth", "256KiB/s")
	if out := f.do("conduit", "show", "home"); !strings.Contains(out, "256 KiB/s") || !strings.Contains(out, "3 files at once") {
		t.Errorf("shown is\n%s", out)
	}
	slow := took(send("slow"))
	if slow < least {
		t.Errorf("%d bytes were sent in %v at %d bytes a second", size, slow, rate)
	}
	must(t, f.Kill())
	f.do("mount", f.at)
	must(t, os.WriteFile(f.behind("theirs"), data, 0o644)) // nothing of it is in any cache of the kernel's
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	if d := took(fetch("theirs")); d < least {
		t.Errorf("%d bytes came in %v at %d bytes a second", size, d, rate)
	}
	f.do("conduit", "edit", "home", "--bandwidth", "0")
	if d := took(send("quick")); d > slow {
		t.Errorf("without the limit it took %v, with it %v", d, slow)
	}
	for _, wrong := range []string{"1", "-1", "fast", "1potato/s"} {
		if r := f.run("conduit", "edit", "home", "--bandwidth", wrong); r.Code != 2 && r.Code != 1 || strings.Count(r.Stderr, "\n") < 1 {
			t.Errorf("--bandwidth %s: %s", wrong, r)
		}
	}
}

func TestTheHistoryIsChosenAndAddedUp(t *testing.T) {
	t.Parallel()
	f, far := joined(t, "--source", "drive:/Docs", "--target", "FAR", "--policy", "synchronize")
	for i := range 3 {
		write(t, f.path("Docs", fmt.Sprint(i)), "12345")
		f.sync()
	}
	middle := time.Now()
	must(t, os.Remove(f.path("Docs", "0")))
	f.sync()
	absent(t, filepath.Join(far, "0"))
	history := func(args ...string) (list []drive.Generation) {
		t.Helper()
		must(t, f.JSON(&list, append([]string{"history", "--json"}, args...)...))
		return list
	}
	all := history("other")
	if len(all) != 4 || all[0].Deleted != 1 || all[3].Copied != 1 {
		t.Fatalf("the history is %+v", all)
	}
	at := middle.Format(time.RFC3339Nano)
	for _, tc := range []struct {
		args []string
		n    int
	}{
		{[]string{"other", "--since", at}, 1},
		{[]string{"--until", at}, 3},
		{[]string{"--limit", "2"}, 2},
		{[]string{"--limit", "0"}, 4},
		{[]string{"--failed"}, 0},
		{[]string{"--since", "1h"}, 4},
		{[]string{"--until", "1h"}, 0},
	} {
		if got := history(tc.args...); len(got) != tc.n {
			t.Errorf("history %q has %d lines, want %d", tc.args, len(got), tc.n)
		}
	}
	type totals struct {
		Conduit, Period                                                   string
		Generations, Completed, Copied, Deleted, Bytes, Errors, Conflicts int64
		AverageSeconds                                                    float64 `json:"average_seconds"`
		LastCompleted                                                     int64   `json:"last_completed"`
	}
	var sums []totals
	must(t, f.JSON(&sums, "history", "other", "--totals", "--json"))
	if len(sums) != 2 || sums[0].Period != "day" || sums[1].Period != "kept" {
		t.Fatalf("totals are %+v", sums)
	}
	for _, s := range sums {
		if s.Conduit != "other" || s.Generations != 4 || s.Completed != 4 || s.Copied != 3 || s.Deleted != 1 || s.Bytes != 15 || s.Errors != 0 ||
			s.LastCompleted != 4 || s.AverageSeconds <= 0 || s.AverageSeconds > 60 {
			t.Errorf("totals are %+v", s)
		}
	}
	must(t, f.JSON(&sums, "history", "other", "--totals", "--since", at, "--json"))
	if len(sums) != 1 || sums[0].Period != "chosen" || sums[0].Generations != 1 || sums[0].Deleted != 1 || sums[0].Copied != 0 {
		t.Errorf("chosen totals are %+v", sums)
	}
	if out := f.do("history", "--totals"); !strings.Contains(out, "24 hours") || !strings.Contains(out, "AVERAGE") {
		t.Errorf("shown is\n%s", out)
	}
	for _, wrong := range [][]string{{"--since", "soon"}, {"--totals", "--limit", "3"}, {"--releases", "--failed"}, {"--limit", "-1"}} {
		if r := f.run(append([]string{"history"}, wrong...)...); r.Code != 2 {
			t.Errorf("history %q: %s", wrong, r)
		}
	}
	if r := f.run("history", "nonsense", "--totals"); r.Code != 1 {
		t.Errorf("of a conduit that never was: %s", r)
	}
}

// TestTheTrashOfADirectoryIsCountedAndEnds has versions of different age in the trash of a directory.
func TestTheTrashOfADirectoryIsCountedAndEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, filepath.Join(f.Home, "config.toml"), "[offload]\nfree_low = 0\n[trash]\nretention = \"48h\"\nmax_size = 5\n")
	f.mount()
	must(t, os.Mkdir(f.path("d"), 0o755))
	names := []string{"old", "large", "small", "fresh"}
	for _, name := range names {
		write(t, f.path("d", name), name)
	}
	f.sync()
	must(t, os.RemoveAll(f.path("d")))
	f.sync()
	absent(t, f.behind("d"))
	var use []struct {
		There int64 `json:"storage_trash_bytes"`
	}
	must(t, f.JSON(&use, "du", "--json"))
	if len(use) != 1 || use[0].There != int64(len(strings.Join(names, ""))) {
		t.Errorf("du tells %+v", use)
	}
	if out := f.do("du"); !strings.Contains(out, "in the trash of "+f.dir+" (home): 18 B, 4 versions") {
		t.Errorf("du says\n%s", out)
	}
	must(t, f.Kill())
	aged(t, f, map[string]time.Duration{"old": 49 * time.Hour, "large": 27 * time.Hour, "small": 25 * time.Hour})
	f.do("mount", f.at)
	eventually(t, "what is old and what is too much has gone", func() bool { return len(trashOf(t, f)) == 1 })
	if v := f.versions(f.path("d", "fresh")); len(v) != 1 {
		t.Errorf("of what went today there is %+v", v)
	}
	f.do("restore", f.path("d"))
	wants(t, f.path("d", "fresh"), "fresh")
	f.sync() // what is deleted before it was sent goes to no trash there
	must(t, os.RemoveAll(f.path("d")))
	f.sync()
	if got := trashOf(t, f); len(got) != 2 {
		t.Errorf("the trash has %q", got)
	}
}

// trashOf names the versions in the trash of the directory behind the drive.
func trashOf(t *testing.T, f *fixture) (paths []string) {
	t.Helper()
	for _, glob := range []string{filepath.Join(f.Home, "*", "endpoints", "*", "trash", "d", "*"), filepath.Join(f.Home, "endpoints", "*", "trash", "d", "*"), f.behind(".vdfs", "trash", "d", "*")} {
		found, err := filepath.Glob(glob)
		must(t, err)
		paths = append(paths, found...)
	}
	return paths
}

// aged makes versions in the trash look as if they had gone earlier.
func aged(t *testing.T, f *fixture, by map[string]time.Duration) {
	t.Helper()
	for _, path := range trashOf(t, f) {
		dir, slot := filepath.Split(path)
		stamp, name, _ := strings.Cut(slot, "-")
		when, err := strconv.ParseInt(stamp, 10, 64)
		must(t, err)
		must(t, os.Rename(path, filepath.Join(dir, fmt.Sprintf("%d-%s", when-int64(by[name]), name))))
	}
}
