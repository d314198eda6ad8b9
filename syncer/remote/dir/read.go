package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// Read implements remote.Endpoint. The open descriptor pins the file: one that
// is replaced or deleted meanwhile streams on. One that is written to in place
// gives ErrChanged in the place of the first bytes that may be new: readers are
// shown what has come before the rest has.
func (d *Endpoint) Read(ctx context.Context, id remote.ItemID, v remote.Content, off, n int64) (io.ReadCloser, error) {
	r, err := d.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer r.close()
	s, err := d.openStream(ctx, r, id)
	if err != nil {
		return nil, lookupFail("read file", err)
	}
	if v != "" && v != s.began.content() {
		return nil, closing(s, fmt.Errorf("read file: %w", remote.ErrChanged))
	}
	off = max(off, 0)
	s.left = max(s.began.size-off, 0)
	if n >= 0 {
		s.left = min(s.left, n)
	}
	if _, err := s.f.Seek(off, io.SeekStart); err != nil {
		return nil, closing(s, fail("read file", err))
	}
	return s, nil
}

func closing(c io.Closer, err error) error {
	_ = c.Close() // err is why; a file that was only read has nothing to add
	return err
}

func (d *Endpoint) openStream(ctx context.Context, r dirFD, id remote.ItemID) (*stream, error) {
	top, a, err := d.locate(r, id)
	if err != nil {
		return nil, err
	}
	defer top.close()
	parent, leaf := a.Split()
	p, err := d.openAt(top, parent, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer p.close()
	before, err := d.item(p, a)
	if err != nil {
		return nil, err
	}
	if before.kind() != remote.File || leaf == "" {
		return nil, remote.ErrKind
	}
	// Not blocking, in case a pipe takes the name between the look and the open.
	fd := -1
	open := func() (err error) {
		fd, err = unix.Openat(p.fd, leaf, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	}
	if err = open(); errors.Is(err, unix.EACCES) {
		if top.fd != r.fd { // of the trash: nobody sees its mode there
			err = openOurs(p, leaf, before, open)
		} else {
			err = d.openShut(r, p, a.Path, leaf, open)
		}
	}
	if err != nil {
		return nil, err
	}
	f, err := d.factsAt(fd, "")
	if err == nil && f.kind() != remote.File {
		err = remote.ErrKind
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &stream{ctx: ctx, d: d, f: os.NewFile(uintptr(fd), leaf), began: f}, nil
}

// openShut opens a file that its owner may not read: what was sent has to be proved, and fetched again, whatever its mode.
func (d *Endpoint) openShut(r, p dirFD, path, leaf string, open func() error) error {
	fd, err := unix.Openat(p.fd, leaf, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return d.lifted(r, mayRead, open, held{fd: fd, path: path})
}

// openOurs is openShut for what is in the trash. Another name of the file may be in the tree, so the mode is put back; where it
// is not, by a kill, one that nobody may read is one that its owner may.
func openOurs(p dirFD, leaf string, was facts, open func() error) error {
	if err := unix.Fchmodat(p.fd, leaf, was.mode&0o7777|mayRead, 0); err != nil {
		return err
	}
	err := open()
	return errors.Join(err, unix.Fchmodat(p.fd, leaf, was.mode&0o7777, 0))
}

// stream reads one version of a file.
type stream struct {
	ctx   context.Context
	d     *Endpoint
	f     *os.File
	began facts
	left  int64
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.f.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	remote.Progress(s.ctx)
	if err == io.EOF { // shorter than it was
		return 0, fmt.Errorf("read file: %w", remote.ErrChanged)
	}
	if err != nil {
		return n, fail("read file", err)
	}
	if err := s.unchanged(); err != nil {
		return 0, err
	}
	return n, nil
}

// unchanged looks at the file again before what was read is given out: a write
// moves the mtime before it changes a byte.
func (s *stream) unchanged() error {
	now, err := s.d.factsAt(int(s.f.Fd()), "")
	if err != nil {
		return fail("stat file", err)
	}
	if !s.began.sameBytes(now) {
		return fmt.Errorf("read file: %w", remote.ErrChanged)
	}
	return nil
}

// WriteTo implements io.WriterTo with a large buffer.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	buffers := buffersFor(s.left)
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	var total int64
	for {
		n, err := s.Read(*p)
		if n > 0 {
			m, werr := w.Write((*p)[:n])
			total += int64(m)
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Close implements io.Closer.
func (s *stream) Close() error { return s.f.Close() }
