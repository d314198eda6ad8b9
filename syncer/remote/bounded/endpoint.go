package bounded

import (
	"context"
	"io"
	"time"

	"vdfs/syncer/remote"
)

// closing is how long the end of a session is waited for.
const closing = 5 * time.Second

// Endpoint passes calls on in the workers of a Pool.
type Endpoint struct {
	next remote.Endpoint
	pool *Pool
	caps remote.Caps
}

var (
	_ remote.Endpoint = (*Endpoint)(nil)
	_ remote.Gatherer = (*Endpoint)(nil)
)

// Open opens an endpoint in a worker. What open still opens after it was given up is closed.
func (p *Pool) Open(ctx context.Context, open func(ctx context.Context) (remote.Endpoint, error)) (*Endpoint, error) {
	return do(ctx, p, job[*Endpoint]{
		says: "open endpoint",
		run: func(ctx context.Context, _ *call) (*Endpoint, error) {
			next, err := open(ctx)
			if err != nil {
				return nil, err
			}
			e := &Endpoint{next: next, pool: p, caps: *next.Caps()}
			e.caps.Parallel = min(e.caps.Parallel, writers)
			if _, ok := next.(remote.Gatherer); !ok {
				e.caps.Together = 0
			}
			return e, nil
		},
		undo: func(e *Endpoint) { _ = e.next.Close() }, // nobody has used it
	})
}

// Caps implements remote.Endpoint. Not more calls are borne in parallel than there are workers for.
func (e *Endpoint) Caps() *remote.Caps { return &e.caps }

// Notice passes on what the endpoint has to tell a person; "": nothing.
func (e *Endpoint) Notice() string {
	if n, ok := e.next.(interface{ Notice() string }); ok {
		return n.Notice()
	}
	return ""
}

// Check implements remote.Endpoint.
func (e *Endpoint) Check(ctx context.Context) (remote.Status, error) { return e.check(ctx, check) }

func (e *Endpoint) check(ctx context.Context, k kind) (remote.Status, error) {
	return do(ctx, e.pool, job[remote.Status]{
		kind: k, says: "check endpoint",
		run: func(ctx context.Context, _ *call) (remote.Status, error) { return e.next.Check(ctx) },
	})
}

// alive reports whether the endpoint answers, whatever it says.
func (e *Endpoint) alive(ctx context.Context) bool {
	_, err := e.check(ctx, look)
	return err == nil
}

// Stat implements remote.Endpoint.
func (e *Endpoint) Stat(ctx context.Context, id remote.ItemID) (remote.Entry, error) {
	return do(ctx, e.pool, job[remote.Entry]{
		says: "stat item",
		run:  func(ctx context.Context, _ *call) (remote.Entry, error) { return e.next.Stat(ctx, id) },
	})
}

// Lookup implements remote.Endpoint.
func (e *Endpoint) Lookup(ctx context.Context, parent remote.ItemID, name string) (remote.Entry, error) {
	return do(ctx, e.pool, job[remote.Entry]{
		says: "look up name",
		run:  func(ctx context.Context, _ *call) (remote.Entry, error) { return e.next.Lookup(ctx, parent, name) },
	})
}

// List implements remote.Endpoint.
func (e *Endpoint) List(ctx context.Context, dir remote.ItemID, page string) ([]remote.Entry, string, error) {
	return pageOf(ctx, e.pool, "list directory", func(ctx context.Context) ([]remote.Entry, string, error) { return e.next.List(ctx, dir, page) })
}

// pageOf has a worker read a page of something.
func pageOf[T any](ctx context.Context, p *Pool, says string, read func(ctx context.Context) ([]T, string, error)) ([]T, string, error) {
	type page struct {
		all  []T
		next string
	}
	l, err := do(ctx, p, job[page]{
		says: says,
		run: func(ctx context.Context, _ *call) (l page, err error) {
			l.all, l.next, err = read(ctx)
			return l, err
		},
	})
	return l.all, l.next, err
}

// Changes implements remote.Endpoint.
func (e *Endpoint) Changes(ctx context.Context, since remote.Cursor) (remote.Batch, error) {
	return do(ctx, e.pool, job[remote.Batch]{
		says: "ask for changes",
		run:  func(ctx context.Context, _ *call) (remote.Batch, error) { return e.next.Changes(ctx, since) },
	})
}

// Wait implements remote.Endpoint. It takes no worker, as it is to last.
func (e *Endpoint) Wait(ctx context.Context, since remote.Cursor) error {
	done := make(chan error, 1)
	go func() { done <- e.next.Wait(ctx, since) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return ctx.Err()
	}
}

// Put implements remote.Endpoint. Each piece that is read of the body is progress.
func (e *Endpoint) Put(ctx context.Context, u *remote.Upload) (remote.Entry, error) {
	own := *u
	return do(ctx, e.pool, job[remote.Entry]{
		kind: change, says: "put file", alive: e.alive,
		run: func(ctx context.Context, c *call) (remote.Entry, error) {
			c.watch(&own)
			return e.next.Put(ctx, &own)
		},
	})
}

// PutAll implements remote.Gatherer, if Caps says so. Each piece that is read of a body is progress.
func (e *Endpoint) PutAll(ctx context.Context, all []*remote.Upload) []remote.Stored {
	out, err := do(ctx, e.pool, job[[]remote.Stored]{
		kind: change, says: "put files", alive: e.alive,
		run: func(ctx context.Context, c *call) ([]remote.Stored, error) {
			own := make([]*remote.Upload, len(all))
			for i, u := range all {
				mine := *u
				c.watch(&mine)
				own[i] = &mine
			}
			return e.next.(remote.Gatherer).PutAll(ctx, own), nil
		},
	})
	if err != nil { // each has the same
		out = make([]remote.Stored, len(all))
		for i := range out {
			out[i].Err = err
		}
	}
	return out
}

// Mkdir implements remote.Endpoint.
func (e *Endpoint) Mkdir(ctx context.Context, parent remote.ItemID, name string, a remote.Attr, key remote.OpKey) (remote.Entry, error) {
	return do(ctx, e.pool, job[remote.Entry]{
		kind: change, says: "make directory", alive: e.alive,
		run: func(ctx context.Context, _ *call) (remote.Entry, error) {
			return e.next.Mkdir(ctx, parent, name, a, key)
		},
	})
}

// Update implements remote.Endpoint.
func (e *Endpoint) Update(ctx context.Context, id remote.ItemID, p remote.Patch, pre remote.Pre, key remote.OpKey) (remote.Entry, error) {
	return do(ctx, e.pool, job[remote.Entry]{
		kind: change, says: "update item", alive: e.alive,
		run: func(ctx context.Context, _ *call) (remote.Entry, error) { return e.next.Update(ctx, id, p, pre, key) },
	})
}

// Delete implements remote.Endpoint.
func (e *Endpoint) Delete(ctx context.Context, id remote.ItemID, pre remote.Pre, key remote.OpKey) error {
	_, err := do(ctx, e.pool, job[struct{}]{
		kind: change, says: "delete item", alive: e.alive,
		run: func(ctx context.Context, _ *call) (struct{}, error) {
			return struct{}{}, e.next.Delete(ctx, id, pre, key)
		},
	})
	return err
}

// Verify implements remote.Endpoint.
func (e *Endpoint) Verify(ctx context.Context, id remote.ItemID, want remote.Hashes, size int64, atLeast remote.Proof) (remote.Proof, error) {
	return do(ctx, e.pool, job[remote.Proof]{
		says: "verify file",
		run: func(ctx context.Context, _ *call) (remote.Proof, error) {
			return e.next.Verify(ctx, id, want, size, atLeast)
		},
	})
}

// Trash implements remote.Endpoint.
func (e *Endpoint) Trash(ctx context.Context, under, page string) ([]remote.Trashed, string, error) {
	return pageOf(ctx, e.pool, "list trash", func(ctx context.Context) ([]remote.Trashed, string, error) { return e.next.Trash(ctx, under, page) })
}

// Purge implements remote.Endpoint. What is given up may still take effect, and changes nothing that a later call relies on.
func (e *Endpoint) Purge(ctx context.Context, ids []remote.ItemID) error {
	_, err := do(ctx, e.pool, job[struct{}]{
		says: "purge trash",
		run:  func(ctx context.Context, _ *call) (struct{}, error) { return struct{}{}, e.next.Purge(ctx, ids) },
	})
	return err
}

// Read implements remote.Endpoint.
func (e *Endpoint) Read(ctx context.Context, id remote.ItemID, v remote.Content, off, n int64) (io.ReadCloser, error) {
	body, err := do(ctx, e.pool, job[io.ReadCloser]{
		says: "read file",
		run:  func(ctx context.Context, _ *call) (io.ReadCloser, error) { return e.next.Read(ctx, id, v, off, n) },
		undo: func(r io.ReadCloser) { _ = r.Close() }, // nobody has read from it
	})
	if err != nil {
		return nil, err
	}
	return &reader{ctx: ctx, pool: e.pool, body: body}, nil
}

// Close implements remote.Endpoint. What does not end soon ends with the process.
func (e *Endpoint) Close() error {
	done := make(chan error, 1)
	go func() { done <- e.next.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(closing):
		return errNotClosed
	}
}
