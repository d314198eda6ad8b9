package dir

import (
	"context"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

var _ remote.Holder = (*Endpoint)(nil)

// held are the files that somebody wants to be able to read whatever becomes of their names: an open descriptor keeps one.
type held struct {
	mu    sync.Mutex
	files map[remote.Content]*heldFile
}

type heldFile struct {
	f     *os.File
	holds int
}

// Hold implements remote.Holder.
func (d *Endpoint) Hold(ctx context.Context, id remote.ItemID, v remote.Content) (remote.Entry, func(), error) {
	r, err := d.enter(ctx)
	if err != nil {
		return remote.Entry{}, nil, fmt.Errorf("hold file: %w", err)
	}
	defer r.close()
	s, err := d.openStream(ctx, r, id)
	if err != nil {
		return remote.Entry{}, nil, lookupFail("hold file", err)
	}
	now := s.began.content()
	if v != "" && v != now {
		return remote.Entry{}, nil, closing(s, fmt.Errorf("hold file: %w", remote.ErrChanged))
	}
	path, err := parseID(id)
	if err != nil {
		return remote.Entry{}, nil, closing(s, fail("hold file", err))
	}
	parent, leaf := split(path)
	d.held.add(now, s.f)
	return s.began.entry(parent, leaf), sync.OnceFunc(func() { d.held.drop(now) }), nil
}

// add holds a file, or gives f up where the same one is held already.
func (h *held) add(v remote.Content, f *os.File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if have := h.files[v]; have != nil {
		have.holds++
		_ = f.Close() // nothing was written to it
		return
	}
	if h.files == nil {
		h.files = map[remote.Content]*heldFile{}
	}
	h.files[v] = &heldFile{f, 1}
}

func (h *held) drop(v remote.Content) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if have := h.files[v]; have != nil {
		if have.holds--; have.holds == 0 {
			delete(h.files, v)
			_ = have.f.Close() // nothing was written to it
		}
	}
}

// openHeld opens a version that is held; nil: it is not.
func (d *Endpoint) openHeld(ctx context.Context, v remote.Content) (*stream, error) {
	d.held.mu.Lock()
	defer d.held.mu.Unlock()
	have := d.held.files[v]
	if have == nil {
		return nil, nil
	}
	fd, err := unix.Open(procPath(int(have.f.Fd())), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f, err := d.factsAt(fd, "")
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &stream{ctx: ctx, d: d, f: os.NewFile(uintptr(fd), "held"), began: f}, nil
}
