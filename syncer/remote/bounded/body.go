package bounded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"vdfs/syncer/remote"
)

var errNotClosed = errors.New("the endpoint hangs and was left open")

// piece is how much a reader takes from the endpoint at a time: as much as one request to a network disk carries, each of
// which may take a round trip.
const piece = 1 << 20

// pieces are buffers that belong to a worker while it reads: one that was given up may still write into its own.
var pieces = sync.Pool{New: func() any { return new([piece]byte) }}

// reader is a stream of which each read runs in a worker. Like any stream it is one goroutine's at a time.
type reader struct {
	ctx  context.Context // of the call that opened it
	pool *Pool
	body io.ReadCloser
	lost error // why a read was given up: the worker closes the body
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.lost != nil {
		return 0, r.lost
	}
	type got struct {
		buf *[piece]byte
		n   int
		err error
	}
	want := min(len(p), piece)
	g, err := do(r.ctx, r.pool, job[got]{
		kind: stream, says: "read file",
		run: func(context.Context, *call) (got, error) {
			buf := pieces.Get().(*[piece]byte)
			n, err := r.body.Read(buf[:want])
			return got{buf, n, err}, nil
		},
		undo: func(g got) {
			pieces.Put(g.buf)
			_ = r.body.Close() // what was read is lost in any case
		},
	})
	if errors.As(err, new(givenUp)) {
		r.lost = err
	}
	if err != nil {
		return 0, err
	}
	copy(p, g.buf[:g.n])
	pieces.Put(g.buf)
	return g.n, g.err
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.lost != nil {
		return nil
	}
	_, err := do(context.WithoutCancel(r.ctx), r.pool, job[struct{}]{
		says: "close file",
		run:  func(context.Context, *call) (struct{}, error) { return struct{}{}, r.body.Close() },
	})
	return err
}

// watch puts the call between an upload and what it uses of its caller: each use is progress, and none is left to a call
// that was given up, whose caller has closed the body.
func (c *call) watch(u *remote.Upload) {
	u.Body = &source{c, u.Body}
	if save := u.Save; save != nil {
		u.Save = func(state []byte) error {
			if c.over.Load() {
				return errGivenUp
			}
			c.progress()
			return save(state)
		}
	}
	if sent := u.Sent; sent != nil {
		u.Sent = func(n int64) {
			if c.over.Load() {
				return
			}
			c.progress()
			sent(n)
		}
	}
}

// source is an upload's body.
type source struct {
	call *call
	next io.ReaderAt
}

// ReadAt implements io.ReaderAt. Bytes that came when the call had been given up may be of any version.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if s.call.over.Load() {
		return 0, fmt.Errorf("read body: %w", errGivenUp)
	}
	s.call.progress()
	n, err := s.next.ReadAt(p, off)
	if s.call.over.Load() {
		return 0, fmt.Errorf("read body: %w", errGivenUp)
	}
	s.call.progress()
	return n, err
}
