package wait

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestForWaitsThatLongOrUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ d, limit, took time.Duration }{
		"it waits that long":           {d: time.Minute, limit: time.Hour, took: time.Minute},
		"not at all, of no time":       {d: 0, limit: time.Hour, took: 0},
		"its context ends before that": {d: time.Hour, limit: time.Minute, took: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.limit)
				defer cancel()
				began := time.Now()
				if got, want := For(ctx, test.d), test.d < test.limit; got != want {
					t.Errorf("waited the whole time: %v, want %v", got, want)
				}
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
			})
		})
	}
}
