package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

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
	var out, talk bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-json", "-dir", dir}, &out, &talk); err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	t.Log(talk.String())
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
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
	for _, m := range possible(io.Discard) {
		want := 24
		if m.walks() {
			want = 34
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
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind in the working directory: %v, %v", left, err)
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
	for _, args := range [][]string{{"-frobnicate"}, {"-modes", "superuser"}, {"-modes", "user,"}, {"-measure", "("}} {
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
