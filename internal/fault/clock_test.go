package fault

import (
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"
)

func TestAClockJumpsAndTimeGoesOn(t *testing.T) {
	if unsafe.Sizeof(reading{}) != unsafe.Sizeof(time.Time{}) {
		t.Fatal("time.Time is made of something else by now")
	}
	path := filepath.Join(t.TempDir(), "clock")
	set := func(off string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(off), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("0s\n")
	t.Setenv(ClockFile, path)
	if err := Check(); err != nil {
		t.Fatal(err)
	}
	clock := Clock(time.Now)
	for _, off := range []time.Duration{0, -3 * time.Hour, 40 * 24 * time.Hour} {
		before, begun := clock(), time.Now()
		set(off.String())
		after := clock()
		if took := after.Sub(before); took < 0 || took > time.Since(begun)+time.Second {
			t.Errorf("%v off: a moment took %v", off, took)
		}
		if d := after.Round(0).Sub(time.Now().Round(0)) - off; d < -time.Second || d > time.Second {
			t.Errorf("%v off: the time of day is %v", off, after)
		}
		if got := after.UnixNano() - time.Now().UnixNano() - int64(off); got < -int64(time.Second) || got > int64(time.Second) {
			t.Errorf("%v off: %d ns", off, got)
		}
		if later := after.Add(time.Minute); later.Sub(after) != time.Minute || !clock().Before(later) {
			t.Errorf("%v off: %v is not before %v", off, after, later)
		}
	}
	wall := Clock(func() time.Time { return time.Unix(1_000_000, 5) })
	if got := wall(); !got.Equal(time.Unix(1_000_000, 5).Add(40 * 24 * time.Hour)) {
		t.Errorf("a time without a monotonic clock became %v", got)
	}
	for _, bad := range []string{"", "3", "soon"} {
		set(bad)
		if Check() == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAClockIsLeftAlone(t *testing.T) {
	t.Setenv(ClockFile, "")
	at := time.Now()
	if got := Clock(func() time.Time { return at })(); got != at {
		t.Errorf("got %v, want %v", got, at)
	}
}
