package offload

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"lukechampine.com/blake3"

	"vdfs/cache"
)

// What the local disk has no room for is read through memory, in pieces that all share who read the same version. They are
// gone soon after the last read, and never more than panesMax at a time. A small file is one piece, and verified before
// anybody sees a byte of it, as when it is kept; a piece of a larger one is shown as it comes, as always.

const (
	paneSize = smallFile
	panesMax = 16
	paneIdle = 5 * time.Second
	// fullFor is how long after there was no room nothing is fetched to be kept for a reader, unless some is made.
	fullFor = time.Second
)

// piece is a part of a version.
type piece struct {
	v      version
	off, n int64
	whole  bool
}

// pane is a piece in memory, or on its way there.
type pane struct {
	piece
	buf  *[]byte
	done chan struct{} // closed when data or err is set
	data []byte
	err  error

	// Guarded by panes.mu.
	refs  int
	used  time.Time
	ended bool // done is closed
}

// panes are the pieces in memory.
type panes struct {
	mu    sync.Mutex
	all   map[piece]*pane
	held  int           // how many have memory, those included that failed and are not done with it
	freed chan struct{} // closed and made anew when one has let go of it
	idle  *time.Timer   // lets go of those that nobody reads any more; nil: there were never any
}

// through reads what is not here of a version without keeping it, in pieces of at most that many bytes. Errors are those of
// Ensure, or io.EOF.
func (h *Hydrator) through(ctx context.Context, ino cache.Ino, number uint64, p []byte, off, most int64) (n int, err error) {
	node, err := h.cache.Attr(ino)
	if err == nil && node.Version != number {
		err = ErrOvertaken
	}
	v := version{ino, number}
	if err == nil {
		h.mu.Lock()
		err = h.fetchable(v)
		h.mu.Unlock()
	}
	for err == nil && n < len(p) {
		at := off + int64(n)
		if at >= node.Size {
			return n, io.EOF
		}
		start := at / most * most
		m := min(most, node.Size-start)
		var w *pane
		if w, err = h.paneAt(ctx, piece{v, start, m, m == node.Size}); err == nil {
			n += copy(p[n:], w.data[at-start:])
			h.panes.release(w)
		}
	}
	if err != nil && n == 0 {
		return 0, fmt.Errorf("read node %d past the disk: %w", ino, withErrnoOrContext(err))
	}
	return n, nil
}

// paneAt waits for a piece. The caller releases it.
func (h *Hydrator) paneAt(ctx context.Context, at piece) (*pane, error) {
	if err := h.ctx.Err(); err != nil {
		return nil, err
	}
	w, fresh, err := h.panes.take(ctx, at)
	if err != nil {
		return nil, err
	}
	if fresh {
		h.work.Go(func() { h.load(w) })
	}
	select {
	case <-w.done:
		if err = w.err; timedOut(err) {
			h.stalls(at.v)
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		h.panes.release(w)
		return nil, err
	}
	return w, nil
}

// take finds a piece, or makes one that is to be loaded, when there is memory for it.
func (s *panes) take(ctx context.Context, at piece) (w *pane, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if w = s.all[at]; w != nil {
			w.refs++
			return w, false, nil
		}
		if s.held < panesMax || s.drop(time.Now()) {
			break
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			return nil, false, err
		}
	}
	w = &pane{piece: at, buf: buffers.Get().(*[]byte), done: make(chan struct{}), refs: 2} // the second is that of load
	s.held++
	s.all[at] = w
	return w, true, nil
}

// drop lets go of the piece that nobody has read for the longest time, if that was before; false: there is none. mu is held.
func (s *panes) drop(before time.Time) bool {
	var oldest *pane
	for _, w := range s.all {
		if w.refs == 0 && !w.used.After(before) && (oldest == nil || w.used.Before(oldest.used)) {
			oldest = w
		}
	}
	if oldest == nil {
		return false
	}
	delete(s.all, oldest.piece)
	s.free(oldest)
	return true
}

// free gives the memory of a piece back. mu is held.
func (s *panes) free(w *pane) {
	buffers.Put(w.buf)
	s.held--
	close(s.freed)
	s.freed = make(chan struct{})
}

// release ends a use of a piece. One that failed is not found any more, and gone with its last use.
func (s *panes) release(w *pane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.refs--
	w.used = time.Now()
	if w.refs > 0 {
		return
	}
	if s.all[w.piece] != w {
		s.free(w)
		return
	}
	if s.idle == nil {
		s.idle = time.AfterFunc(paneIdle, s.tidy)
		return
	}
	s.idle.Reset(paneIdle)
}

// tidy lets go of what was not read lately.
func (s *panes) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.drop(time.Now().Add(-paneIdle / 2)) {
	}
	if len(s.all) > 0 {
		s.idle.Reset(paneIdle)
	}
}

// end tells those who wait for a piece what came of it; only the first time counts.
func (s *panes) end(w *pane, data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.ended {
		return
	}
	w.ended, w.data, w.err = true, data, err
	close(w.done)
	if err != nil {
		delete(s.all, w.piece)
	}
}

// load brings a piece.
func (h *Hydrator) load(w *pane) {
	defer h.panes.release(w)
	giveUp := func(err error) bool {
		h.panes.end(w, nil, err)
		return true
	}
	data := (*w.buf)[:w.n]
	what := fmt.Sprintf("read %d bytes at %d", w.n, w.off)
	err := h.watched(h.gate.enter(blocked), what, giveUp, func(ctx context.Context, dog *watchdog) error {
		return h.loadInto(ctx, w.piece, data, dog)
	})
	h.panes.end(w, data, err)
}

// loadInto brings a piece into data. A small file, which is one, is verified, and comes once more when it is wrong.
func (h *Hydrator) loadInto(ctx context.Context, at piece, data []byte, dog *watchdog) error {
	for {
		var from cache.BindingID
		err := h.fetch(ctx, at.v, at.off, at.n, func(r io.Reader, gives cache.BindingID) error {
			from = gives
			return dog.read(r, data)
		})
		if err != nil || !at.whole {
			return err
		}
		if h.mayBe(at.v, blake3.Sum256(data)) {
			h.verified(at.v)
			return nil
		}
		if err := h.failed(at.v, []cache.BindingID{from}); err != nil {
			return err
		}
	}
}
