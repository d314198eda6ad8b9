// Package wait rests for a while, as long as it is wanted.
package wait

import (
	"context"
	"time"
)

// For waits for d and is true, or false as soon as ctx ends.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
