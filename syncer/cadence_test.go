package syncer

import (
	"errors"
	"testing"
	"time"
)

func TestCadencesAreReadAndStored(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		c      cadence
		stored string
	}{
		"": {cadence{}, "instant"}, "instant": {cadence{}, "instant"}, "Instantly": {cadence{}, "instant"},
		"manual": {cadence{manual: true}, "manual"}, "Manual": {cadence{manual: true}, "manual"},
		"interval:5m": {cadence{every: 5 * time.Minute}, "interval:5m"}, "EveryFiveMinutes": {cadence{every: 5 * time.Minute}, "interval:5m"},
		"interval:1h": {cadence{every: time.Hour}, "interval:1h"}, "Hourly": {cadence{every: time.Hour}, "interval:1h"},
		"interval:60m": {cadence{every: time.Hour}, "interval:1h"}, "interval:36h": {cadence{every: 36 * time.Hour}, "interval:36h"},
		"interval:1d": {cadence{every: day}, "interval:1d"}, "Daily": {cadence{every: day}, "interval:1d"}, "interval:24h": {cadence{every: day}, "interval:1d"},
		"interval:90s": {cadence{every: 90 * time.Second}, "interval:1m30s"}, "interval:1s": {cadence{every: time.Second}, "interval:1s"},
	} {
		got, err := parseCadence(text)
		if err != nil || got != want.c || got.String() != want.stored {
			t.Errorf("%q is %+v, stored as %s: %v", text, got, got, err)
		}
		if again := cadenceOf(want.stored); again != want.c {
			t.Errorf("%s is read as %+v", want.stored, again)
		}
	}
	for _, text := range []string{"sometimes", "interval", "interval:", "interval:0s", "interval:500ms", "interval:-1h", "interval:400d", "interval:1w", "5m", "interval:d", "interval:99999999d"} {
		var refused *InvalidError
		if c, err := parseCadence(text); !errors.As(err, &refused) {
			t.Errorf("%q is taken for %v: %v", text, c, err)
		}
		if c := cadenceOf(text); c != (cadence{manual: true}) {
			t.Errorf("stored %q works as %v", text, c)
		}
	}
}
