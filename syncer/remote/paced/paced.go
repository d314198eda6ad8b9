// Package paced is an endpoint whose contents come and go at the rates of its conduit.
//
// All bytes of files pass here, whoever asked for them: what is read from the endpoint counts against one rate, what is put
// there against another. A second reading of a body, as for a repetition, counts again. Names and other metadata do not.
// It belongs below package bounded, which then sees each piece as progress.
package paced

import (
	"context"
	"fmt"
	"io"

	"vdfs/internal/throttle"
	"vdfs/syncer/remote"
)

// Rates are those of a conduit, which its endpoints share.
type Rates struct{ Up, Down throttle.Limiter }

// Set changes both, in bytes a second; 0: no limit.
func (r *Rates) Set(bytes int64) {
	r.Up.Set(bytes)
	r.Down.Set(bytes)
}

// Endpoint passes calls on, contents at the rates.
type Endpoint struct {
	remote.Endpoint
	rates *Rates
}

var _ remote.Gatherer = (*Endpoint)(nil)

// Wrap returns next at the rates. Closing it closes next.
func Wrap(next remote.Endpoint, r *Rates) *Endpoint { return &Endpoint{next, r} }

// Notice passes on what the endpoint has to tell a person; "": nothing.
func (e *Endpoint) Notice() string {
	if n, ok := e.Endpoint.(interface{ Notice() string }); ok {
		return n.Notice()
	}
	return ""
}

// Read implements remote.Endpoint.
func (e *Endpoint) Read(ctx context.Context, id remote.ItemID, v remote.Content, off, n int64) (io.ReadCloser, error) {
	body, err := e.Endpoint.Read(ctx, id, v, off, n)
	if err != nil {
		return nil, err
	}
	return &stream{body, ctx, &e.rates.Down}, nil
}

// Put implements remote.Endpoint.
func (e *Endpoint) Put(ctx context.Context, u *remote.Upload) (remote.Entry, error) {
	return e.Endpoint.Put(ctx, e.upload(ctx, u))
}

// PutAll implements remote.Gatherer, if Caps says so.
func (e *Endpoint) PutAll(ctx context.Context, all []*remote.Upload) []remote.Stored {
	g, ok := e.Endpoint.(remote.Gatherer)
	if !ok {
		return remote.StoreEach(ctx, e, all)
	}
	own := make([]*remote.Upload, len(all))
	for i, u := range all {
		own[i] = e.upload(ctx, u)
	}
	return g.PutAll(ctx, own)
}

func (e *Endpoint) upload(ctx context.Context, u *remote.Upload) *remote.Upload {
	own := *u
	own.Body = &body{u.Body, ctx, &e.rates.Up}
	return &own
}

// stream gives what it has read when that is paid for.
type stream struct {
	io.ReadCloser
	ctx  context.Context // of the call that opened it
	rate *throttle.Limiter
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if piece := s.rate.Piece(); piece > 0 {
		p = p[:min(len(p), piece)]
	}
	n, err := s.ReadCloser.Read(p)
	if perr := s.rate.Pay(s.ctx, n); perr != nil {
		return 0, fmt.Errorf("read file: %w", perr)
	}
	return n, err
}

// body is what an endpoint reads of an upload.
type body struct {
	io.ReaderAt
	ctx  context.Context // of the upload
	rate *throttle.Limiter
}

// ReadAt implements io.ReaderAt.
func (b *body) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		part := p[n:]
		if piece := b.rate.Piece(); piece > 0 {
			part = part[:min(len(part), piece)]
		}
		var k int
		k, err = b.ReaderAt.ReadAt(part, off+int64(n))
		n += k
		if perr := b.rate.Pay(b.ctx, k); perr != nil {
			return 0, fmt.Errorf("read body: %w", perr)
		}
	}
	return n, err
}
