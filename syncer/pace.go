package syncer

import (
	"context"
	"time"

	"vdfs/internal/wait"
)

// Programs wait for every file that they make, and nobody for its sending, unless somebody asked for it. So while programs
// change files, sending takes a third of the time.
const (
	// atWork is how long ago a change by a program says that more are to come.
	atWork = 100 * time.Millisecond
	// restFactor is how much longer sending rests than it took, up to longestRest.
	restFactor  = 2
	longestRest = time.Second
	restStep    = 20 * time.Millisecond
)

// makeWay rests after some sending, as long as programs are at work and nobody waits for the leg.
func (l *leg) makeWay(ctx context.Context, took time.Duration) {
	for rest := min(restFactor*took, longestRest); rest > 0; rest -= restStep {
		if l.awaited.Load() > 0 || l.e.Cache.SinceChange() > atWork || !wait.For(ctx, min(rest, restStep)) {
			return
		}
	}
}
