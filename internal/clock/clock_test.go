package clock

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestStampsOfFilesAndOfTheClockKeepTheirOrder(t *testing.T) {
	t.Parallel()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "file")
	last := time.Now().Add(-time.Minute)
	after := func(what string, now time.Time) {
		t.Helper()
		if now.Before(last) {
			t.Fatalf("%s at %v, after %v", what, now, last)
		}
		last = now
	}
	for range 2000 {
		after("the clock is", c.Now())
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		after("the file is", info.ModTime())
	}
	if d := time.Since(last); d > time.Minute {
		t.Errorf("the clock is %v late", d)
	}
}

func BenchmarkNow(b *testing.B) {
	c, err := New()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c.Now()
	}
}
