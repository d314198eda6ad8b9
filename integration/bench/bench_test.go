package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"vdfs/integration/drive"
)

func TestQuickBenchMeasuresEverythingInEveryMode(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	dir := t.TempDir()
	// The user that root measures as has to get in.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	var r report
	quick(t, dir, &r)
	lines := map[mode]int{}
	for _, line := range r.Results {
		lines[line.Mode]++
		ofDaemon := strings.Contains(line.Name, "no-change") || strings.Contains(line.Name, "contact") ||
			strings.Contains(line.Name, "memory")
		if line.Vdfs == nil || line.Vdfs.Median <= 0 && line.Unit != "CPU s" ||
			!ofDaemon && (line.Loopback == nil || line.Loopback.Median <= 0) {
			t.Errorf("measured nothing: %+v", line)
		}
		if line.Loopback != nil && line.Unit != "×" && line.OfLoopback == nil {
			t.Errorf("not compared: %+v", line)
		}
		if !ofDaemon && !strings.HasPrefix(line.Name, "first") && line.Native == nil {
			t.Errorf("not measured on the disk itself: %+v", line)
		}
	}
	modes := possible(io.Discard)
	for _, m := range modes {
		want := 23
		if m == walker(modes) {
			want += 10
		}
		if m == modes[len(modes)-1] {
			want++
		}
		if lines[m] != want {
			t.Errorf("%d figures as %s, want %d", lines[m], m, want)
		}
	}
	if r.Machine.LoopbackProcs < 1 || r.Machine.Kernel == "" || r.Seconds <= 0 {
		t.Errorf("the machine is not described: %+v", r)
	}
	var table bytes.Buffer
	if err := r.writeTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", table.String())
}

// quick runs the benchmark with small sizes in a directory, of which nothing may be left, and reads what it reports.
func quick(t *testing.T, dir string, into any, args ...string) {
	t.Helper()
	var out, talk bytes.Buffer
	if err := run(t.Context(), append([]string{"-quick", "-json", "-dir", dir}, args...), &out, &talk); err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	t.Logf("%s\n%s", talk.String(), out.String())
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind in the working directory: %v, %v", left, err)
	}
}

func TestQuickBenchMeasuresWhatIsFarAway(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	dir := t.TempDir()
	var r farReport
	quick(t, dir, &r, "-far", "1ms,2ms")
	if len(r.Figures) != 2*14 {
		t.Errorf("%d figures: %+v", len(r.Figures), r.Figures)
	}
	for _, l := range r.Figures {
		if nothing := l.Value == 0; nothing != (l.Goal == "0") {
			t.Errorf("%s of an endpoint %s away: %v", l.Name, l.Latency, l.Value)
		}
	}
}

func TestQuickBenchMeasuresSyncing(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	dir := t.TempDir()
	var r syncReport
	quick(t, dir, &r, "-sync")
	if len(r.Figures) != 2*5+15 {
		t.Errorf("%d figures: %+v", len(r.Figures), r.Figures)
	}
	for _, l := range r.Figures {
		_, missing := exec.LookPath(l.Of)
		mayLack := l.Of == rsyncName || l.Of == unisonName || strings.Contains(l.Of, "between")
		switch {
		case l.LeftOut != "":
			if !mayLack || l.Value != nil || !strings.Contains(l.Of, "between") && missing == nil {
				t.Errorf("left out: %+v", l)
			}
		case l.Value == nil || l.Value.Median < 0 && !strings.Contains(l.Name, "beyond") ||
			l.Value.Median == 0 && l.Unit != "CPU s" && l.Unit != "CPU ms" && !strings.Contains(l.Name, "bytes sent"):
			t.Errorf("measured nothing: %+v", l)
		case strings.Contains(l.Name, "operations") && *l.Value != figure{1, 1, 1}:
			t.Errorf("the rename of a directory is one operation: %+v", l)
		case strings.Contains(l.Name, "bytes sent") && l.Value.Max != 0:
			t.Errorf("the rename of a directory sends no bytes: %+v", l)
		case strings.HasPrefix(l.Of, "vdfs,") && len(l.Goals) == 0 && r.measured(rsyncName):
			t.Errorf("not held to its goals: %+v", l)
		}
	}
	var table bytes.Buffer
	if err := r.writeTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", table.String())
}

// measured reports whether there are figures of a program.
func (r syncReport) measured(of string) bool {
	return slices.ContainsFunc(r.Figures, func(l syncLine) bool { return l.Of == of && l.Value != nil })
}

func TestFilesThatDidNotArriveAsTheyWereAreFound(t *testing.T) {
	t.Parallel()
	files := fileSet{count: 250, size: 64}
	for name, damage := range map[string]func(path string) error{
		"one is missing": os.Remove,
		"one is short":   func(path string) error { return os.Truncate(path, 63) },
		"one is another file": func(path string) error {
			return os.Rename(files.path(filepath.Dir(filepath.Dir(filepath.Dir(path))), 7), path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if err := files.make(root); err != nil {
				t.Fatal(err)
			}
			if err := files.check(root, 1); err != nil {
				t.Errorf("all are there: %v", err)
			}
			if err := damage(files.path(root, 123)); err != nil {
				t.Fatal(err)
			}
			if err := files.check(root, 1); err == nil {
				t.Error("not found")
			}
		})
	}
}

func TestOperationsAreCountedByWhatAWatcherSees(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(root string) error
		want int
	}{
		{"the rename of a directory", func(root string) error {
			return os.Rename(filepath.Join(root, topDir(0)), filepath.Join(root, "other"))
		}, 1},
		{"file by file", func(root string) error {
			if err := os.Mkdir(filepath.Join(root, "other"), 0o755); err != nil {
				return err
			}
			for i := range 3 {
				if err := os.Rename(fileSet{}.path(root, i), smallFile(filepath.Join(root, "other"), i)); err != nil {
					return err
				}
			}
			return nil
		}, 1 + 3},
		{"what vdfs has for itself", func(root string) error { return os.Mkdir(filepath.Join(root, ownDir), 0o755) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if err := (fileSet{count: 3, size: 1}).make(root); err != nil {
				t.Fatal(err)
			}
			w, err := watchDirs([]string{root}, filepath.Join(root, topDir(0)))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.do(root); err != nil {
				t.Error(err)
			}
			all, err := w.wait(0)
			if got := countOperations(all); got != c.want || err != nil {
				t.Errorf("%d operations, want %d: %+v, %v", got, c.want, all, err)
			}
			if err := w.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAFirstSyncThatTakesTooLongIsLeftOut(t *testing.T) {
	t.Parallel()
	job := copying{limit: time.Millisecond}
	wait := func(ctx context.Context) (time.Duration, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if _, err := job.timed(t.Context(), wait); !errors.Is(err, errLeftOut) {
		t.Errorf("given up after its limit: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := job.timed(ended, wait); err == nil || errors.Is(err, errLeftOut) {
		t.Errorf("ended by whoever runs the benchmark: %v", err)
	}
}

func TestSyncingIsJudgedByTheMedianRatio(t *testing.T) {
	t.Parallel()
	l := line{goals: []goal{{Of: rsyncName, Limit: 1.5}, {Of: unisonName, Limit: 1}, within(4)}}
	got := newSyncLine(l, ofVdfs, []float64{4, 2, 9}, []float64{2, 2, 3}, nil)
	want := []goal{{Of: rsyncName, Limit: 1.5}, {Limit: 4, Reached: true}} // ratios 2, 1, 3; unison was not measured
	if !slices.Equal(got.Goals, want) {
		t.Errorf("goals %+v, want %+v", got.Goals, want)
	}
	if *got.OfRsync != (figure{2, 1, 3}) || got.OfUnison != nil {
		t.Errorf("ratios %+v and %+v", got.OfRsync, got.OfUnison)
	}
}

// needFUSE skips the test where nothing can be mounted, but not where that must not be.
func needFUSE(t *testing.T) {
	t.Helper()
	if err := drive.CheckFUSE(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this needs FUSE: %v", err)
		}
		t.Skipf("*** SKIPPED: %v ***", err)
	}
}

func TestLoopbackServesItsDirectory(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	base := t.TempDir()
	l := &loopback{
		bin: filepath.Join(base, "loopback"), dir: filepath.Join(base, "dir"), at: filepath.Join(base, "mount"),
	}
	for _, d := range []string{l.dir, l.at} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-o", l.bin, "vdfs/integration/bench/loopback").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := l.start(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"before", "after"} {
		if err := os.WriteFile(filepath.Join(l.at, name), []byte(name), 0o644); err != nil {
			t.Error(err)
		}
		if err := l.remount(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(l.dir, name)); err != nil || string(got) != name {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-frobnicate"}, {"-modes", "superuser"}, {"-modes", "user,"}, {"-measure", "("}, {"-far", "here"}, {"-far", "1ms", "-sync"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestOnlyWhatIsAskedForIsMeasured(t *testing.T) {
	t.Parallel()
	unlinks := measure{lines: []line{{name: "unlink files"}}}
	for only, want := range map[string]bool{"": true, "link": true, "^unlink": true, "create": false} {
		if got := unlinks.matches(regexp.MustCompile(only)); got != want {
			t.Errorf("-measure %q takes %q: %v", only, unlinks.name(), got)
		}
	}
}

func TestAFigureIsTheMedianWithItsSpread(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   figure
	}{
		{[]float64{3}, figure{3, 3, 3}},
		{[]float64{3, 1, 2}, figure{2, 1, 3}},
		{[]float64{4, 1, 3, 2}, figure{2, 1, 4}},
	} {
		if got := figureOf(c.values); *got != c.want {
			t.Errorf("of %v: %v, want %v", c.values, *got, c.want)
		}
	}
	if got := figureOf(nil); got != nil {
		t.Errorf("of nothing: %v", *got)
	}
}

func TestPercentilesAreValuesThatWereMeasured(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, c := range []struct {
		sorted  []int
		p, want int
	}{{[]int{7}, 50, 7}, {[]int{7}, 99, 7}, {hundred, 50, 50}, {hundred, 99, 99}, {[]int{1, 2}, 99, 2}} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("p%d of %d values is %d, want %d", c.p, len(c.sorted), got, c.want)
		}
	}
}

func TestGoalsAreJudgedByTheMedianRatio(t *testing.T) {
	t.Parallel()
	measured := samples{nativeName: {1, 2, 4}, vdfsName: {2, 6, 4}} // ratios 2, 3, 1
	for _, c := range []struct {
		name string
		line line
		want []bool
	}{
		{"a time within its limits", line{goals: []goal{ofNative(2), within(4)}}, []bool{true, true}},
		{"a time beyond its limits", line{goals: []goal{ofNative(1.9), within(3)}}, []bool{false, false}},
		{"a rate", line{higherIsBetter: true, goals: []goal{ofNative(2), ofNative(2.1)}}, []bool{true, false}},
		{"against what was not measured", line{goals: []goal{ofLoopback(9), ofNative(2)}}, []bool{true}},
	} {
		var got []bool
		for _, g := range newResult(modeUser, c.line, measured).Goals {
			got = append(got, g.Reached)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: reached %v, want %v", c.name, got, c.want)
		}
	}
}
