package syncer

import "context"

// transfers bounds how many contents are on their way over all conduits, besides those that somebody waits for.
type transfers chan struct{}

// enter waits for a place. The caller gives it back with leave.
func (t transfers) enter(ctx context.Context) (leave func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
