package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vdfs/integration/drive"
)

func TestQuickBenchMeasuresEverything(t *testing.T) {
	t.Parallel()
	if err := drive.CheckFUSE(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the benchmark needs FUSE: %v", err)
		}
		t.Skipf("*** SKIPPED: %v ***", err)
	}
	dir := t.TempDir()
	var out, talk bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-json", "-dir", dir}, &out, &talk); err != nil {
		t.Fatalf("%v\n%s", err, talk.String())
	}
	var rs results
	if err := json.Unmarshal(out.Bytes(), &rs); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if len(rs) != 14 {
		t.Errorf("%d measurements, want 14: %s", len(rs), out.String())
	}
	for _, r := range rs {
		compared := strings.Contains(r.Name, "MiB") || strings.Contains(r.Name, "over") ||
			strings.Contains(r.Name, "create") || strings.Contains(r.Name, "untar")
		if compared && (r.Native <= 0 || r.Loopback <= 0) || r.Vdfs <= 0 && r.Unit != "CPU s" {
			t.Errorf("measured nothing: %+v", r)
		}
	}
	var table bytes.Buffer
	if err := rs.writeTable(&table, settings{Rounds: 1}); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", table.String())
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind in the working directory: %v, %v", left, err)
	}
}

func TestLoopbackServesItsDirectory(t *testing.T) {
	t.Parallel()
	if err := drive.CheckFUSE(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the loopback needs FUSE: %v", err)
		}
		t.Skipf("*** SKIPPED: %v ***", err)
	}
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

func TestUnknownFlagsAreRefused(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"-frobnicate"}, io.Discard, io.Discard); err == nil {
		t.Error("an unknown flag was accepted")
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}
