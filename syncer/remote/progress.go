package remote

import "context"

type progressKey struct{}

// WithProgress returns a context for a call whose caller wants to hear that it goes on.
func WithProgress(ctx context.Context, step func()) context.Context {
	return context.WithValue(ctx, progressKey{}, step)
}

// Progress tells the caller of a long call, if it wants to hear, that the call goes on: an endpoint says so with every
// piece of a file that it proves and every page of names that it reads. What moves through the caller's own readers needs
// no telling.
func Progress(ctx context.Context) {
	if step, ok := ctx.Value(progressKey{}).(func()); ok {
		step()
	}
}
