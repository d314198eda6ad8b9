package syncer

import (
	"testing"
	"time"
)

func TestTheTimeBetweenLooksFollowsWhatTheyFind(t *testing.T) {
	t.Parallel()
	const base = 30 * time.Second
	quiet := sight{timer: true}
	for name, tc := range map[string]struct {
		fixed bool
		was   time.Duration
		sight sight
		want  time.Duration
	}{
		"the first look":                                     {false, 0, quiet, base},
		"nothing was found":                                  {false, base, quiet, time.Minute},
		"nothing was found for long":                         {false, 4 * time.Minute, quiet, 5 * time.Minute},
		"nothing was found after a burst":                    {false, 5 * time.Second, quiet, 10 * time.Second},
		"something was found where asking is cheap":          {false, 5 * time.Minute, sight{timer: true, news: true, cheap: true}, 5 * time.Second},
		"something was found where it is not":                {false, 5 * time.Minute, sight{timer: true, news: true}, base},
		"something else than the timer had it done":          {false, 5 * time.Minute, sight{}, base},
		"something waits for a look":                         {false, 5 * time.Minute, sight{timer: true, waits: true}, base},
		"the machine is to be spared":                        {false, base, sight{slow: true, news: true, cheap: true}, 5 * time.Minute},
		"a listing takes long":                               {false, base, sight{timer: true, listing: 10 * time.Second}, 1000 * time.Second},
		"a listing takes long and something was found":       {false, base, sight{news: true, listing: time.Second}, 100 * time.Second},
		"a listing takes little":                             {false, 0, sight{listing: 10 * time.Millisecond}, base},
		"nothing was found and it is not to adapt":           {true, base, quiet, base},
		"something was found and it is not to adapt":         {true, base, sight{news: true, cheap: true}, base},
		"a listing takes long and it is not to adapt":        {true, base, sight{listing: time.Second}, 100 * time.Second},
		"the machine is to be spared and it is not to adapt": {true, base, sight{slow: true}, 5 * time.Minute},
	} {
		if got := (beat{base, !tc.fixed}).next(tc.was, tc.sight); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
