package faulty

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"vdfs/syncer/remote"
)

// cutPage is the page token after a listing that breaks off.
const cutPage = "faulty: cut"

// Endpoint passes calls on under a Script.
type Endpoint struct {
	next remote.Endpoint
	s    *Script
}

var (
	_ remote.Endpoint = (*Endpoint)(nil)
	_ remote.Gatherer = (*Endpoint)(nil)
)

// Wrap returns next under the rules of s. Closing it closes next.
func Wrap(next remote.Endpoint, s *Script) *Endpoint { return &Endpoint{next: next, s: s} }

// through makes one scripted call. What the call returned is dropped with its
// reply when the rule says so.
func through[T any](ctx context.Context, e *Endpoint, c Call, call func(r Rule) (T, error)) (T, error) {
	var none T
	r, err := e.s.meet(ctx, c)
	if err != nil {
		return none, err
	}
	out, err := call(r)
	if r.Then != nil {
		r.Then()
	}
	if err == nil && r.After != nil {
		return none, r.After
	}
	return out, err
}

// Caps implements remote.Endpoint.
func (e *Endpoint) Caps() *remote.Caps { return e.next.Caps() }

// Check implements remote.Endpoint.
func (e *Endpoint) Check(ctx context.Context) (remote.Status, error) {
	return through(ctx, e, Call{Method: Check}, func(Rule) (remote.Status, error) { return e.next.Check(ctx) })
}

// Stat implements remote.Endpoint.
func (e *Endpoint) Stat(ctx context.Context, id remote.ItemID) (remote.Entry, error) {
	return through(ctx, e, Call{Method: Stat, ID: id}, func(Rule) (remote.Entry, error) { return e.next.Stat(ctx, id) })
}

// Lookup implements remote.Endpoint.
func (e *Endpoint) Lookup(ctx context.Context, parent remote.ItemID, name string) (remote.Entry, error) {
	return through(ctx, e, Call{Method: Lookup, ID: parent, Name: name}, func(Rule) (remote.Entry, error) {
		return e.next.Lookup(ctx, parent, name)
	})
}

// List implements remote.Endpoint.
func (e *Endpoint) List(ctx context.Context, dir remote.ItemID, page string) ([]remote.Entry, string, error) {
	type pageOf struct {
		entries []remote.Entry
		next    string
	}
	p, err := through(ctx, e, Call{Method: List, ID: dir}, func(r Rule) (pageOf, error) {
		if page == cutPage {
			return pageOf{}, fmt.Errorf("list directory: %w", remote.ErrUnavailable)
		}
		entries, next, err := e.next.List(ctx, dir, page)
		if err == nil && r.Cut > 0 && int64(len(entries)) > r.Cut {
			entries, next = entries[:r.Cut], cutPage
		}
		return pageOf{entries, next}, err
	})
	return p.entries, p.next, err
}

// Changes implements remote.Endpoint.
func (e *Endpoint) Changes(ctx context.Context, since remote.Cursor) (remote.Batch, error) {
	return through(ctx, e, Call{Method: Changes}, func(Rule) (remote.Batch, error) { return e.next.Changes(ctx, since) })
}

// Wait implements remote.Endpoint; it is not scripted.
func (e *Endpoint) Wait(ctx context.Context, since remote.Cursor) error {
	return e.next.Wait(ctx, since)
}

// Read implements remote.Endpoint.
func (e *Endpoint) Read(ctx context.Context, id remote.ItemID, v remote.Content, off, n int64) (io.ReadCloser, error) {
	return through(ctx, e, Call{Method: Read, ID: id}, func(r Rule) (io.ReadCloser, error) {
		body, err := e.next.Read(ctx, id, v, off, n)
		if err == nil && r.Cut > 0 {
			return &cut{ReadCloser: body, left: r.Cut, err: cmp.Or(r.CutErr, error(remote.ErrUnavailable))}, nil
		}
		return body, err
	})
}

// cut is a stream whose connection breaks.
type cut struct {
	io.ReadCloser
	left int64
	err  error
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, fmt.Errorf("read file: %w", c.err)
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// Put implements remote.Endpoint.
func (e *Endpoint) Put(ctx context.Context, u *remote.Upload) (remote.Entry, error) {
	c := Call{Method: Put, ID: u.ID, Key: u.Key}
	if u.ID == "" {
		c.ID, c.Name = u.Parent, u.Name
	}
	return through(ctx, e, c, func(Rule) (remote.Entry, error) { return e.next.Put(ctx, u) })
}

// PutAll implements remote.Gatherer: each file is a Put and a Verify, with the rules for those.
func (e *Endpoint) PutAll(ctx context.Context, all []*remote.Upload) []remote.Stored {
	return remote.StoreEach(ctx, e, all)
}

// Mkdir implements remote.Endpoint.
func (e *Endpoint) Mkdir(ctx context.Context, parent remote.ItemID, name string, a remote.Attr, key remote.OpKey) (remote.Entry, error) {
	return through(ctx, e, Call{Method: Mkdir, ID: parent, Name: name, Key: key}, func(Rule) (remote.Entry, error) {
		return e.next.Mkdir(ctx, parent, name, a, key)
	})
}

// Update implements remote.Endpoint.
func (e *Endpoint) Update(ctx context.Context, id remote.ItemID, p remote.Patch, pre remote.Pre, key remote.OpKey) (remote.Entry, error) {
	c := Call{Method: Update, ID: id, Key: key}
	if p.Name != nil {
		c.Name = *p.Name
	}
	return through(ctx, e, c, func(Rule) (remote.Entry, error) { return e.next.Update(ctx, id, p, pre, key) })
}

// Delete implements remote.Endpoint.
func (e *Endpoint) Delete(ctx context.Context, id remote.ItemID, pre remote.Pre, key remote.OpKey) error {
	_, err := through(ctx, e, Call{Method: Delete, ID: id, Key: key}, func(Rule) (struct{}, error) {
		return struct{}{}, e.next.Delete(ctx, id, pre, key)
	})
	return err
}

// Verify implements remote.Endpoint.
func (e *Endpoint) Verify(ctx context.Context, id remote.ItemID, want remote.Hashes, size int64, atLeast remote.Proof) (remote.Proof, error) {
	return through(ctx, e, Call{Method: Verify, ID: id}, func(Rule) (remote.Proof, error) {
		return e.next.Verify(ctx, id, want, size, atLeast)
	})
}

// Trash implements remote.Endpoint.
func (e *Endpoint) Trash(ctx context.Context, under, page string) ([]remote.Trashed, string, error) {
	type pageOf struct {
		items []remote.Trashed
		next  string
	}
	p, err := through(ctx, e, Call{Method: Trash, Name: under}, func(Rule) (p pageOf, err error) {
		p.items, p.next, err = e.next.Trash(ctx, under, page)
		return p, err
	})
	return p.items, p.next, err
}

// Purge implements remote.Endpoint.
func (e *Endpoint) Purge(ctx context.Context, ids []remote.ItemID) error {
	_, err := through(ctx, e, Call{Method: Purge}, func(Rule) (struct{}, error) { return struct{}{}, e.next.Purge(ctx, ids) })
	return err
}

// Close implements remote.Endpoint.
func (e *Endpoint) Close() error { return e.next.Close() }
