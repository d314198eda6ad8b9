package dir

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"lukechampine.com/blake3"

	"vdfs/syncer/remote"
)

// chunk is how many bytes are read, hashed and written at a time.
const chunk = 1 << 20

// smallFile is what most files are not longer than: many of them travel at once, and need no large buffer each.
const smallFile = 32 << 10

var (
	chunks = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}
	smalls = sync.Pool{New: func() any { b := make([]byte, smallFile); return &b }}
)

// buffersFor is where to get buffers for n bytes in all.
func buffersFor(n int64) *sync.Pool {
	if n <= smallFile {
		return &smalls
	}
	return &chunks
}

func newHash() hash.Hash { return blake3.New(32, nil) }

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// Put implements remote.Endpoint. In this order:
//
//  1. the body goes to a file without a name (or one in the staging directory),
//     is hashed, and gets its owner, mode and mtime;
//  2. it is made durable, together with those of other Puts;
//  3. it gets its name: a new one by link or rename without replace, a taken
//     one by exchange with the old file, which thereby lands in the trash;
//  4. what came out is looked at, and exchanged back if it is not what Pre
//     named;
//  5. the directories are made durable.
//
// A cut before 3 leaves at most a temporary file, which the next Open removes;
// after 3 the new file is whole, and the old one is in the trash.
func (d *Endpoint) Put(ctx context.Context, u *remote.Upload) (remote.Entry, error) {
	r, err := d.begin(ctx)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("put file: %w", err)
	}
	defer r.close()
	g := newPuts(d, r, []*remote.Upload{u})
	defer g.close()
	g.run(ctx)
	return g.all[0].entry, g.all[0].err
}

// begin is enter for calls that write.
func (d *Endpoint) begin(ctx context.Context) (dirFD, error) {
	r, err := d.enter(ctx)
	if err == nil && !d.can.write {
		r.close()
		err = remote.ErrReadOnly
	}
	return r, err
}

// spot is where a Put goes.
type spot struct {
	dir    dirFD
	trash  dirFD  // of a replace that has begun
	parent string // path of dir
	leaf   string
	old    facts // of the file to replace
}

func (t spot) held() held { return held{fd: t.dir.fd, path: t.parent} }

// target opens the directory of a Put and, for a replace, checks what is there.
func (d *Endpoint) target(r dirFD, u *remote.Upload) (spot, error) {
	var t spot
	var err error
	if u.ID == "" {
		t.leaf = u.Name
		if t.dir, t.parent, err = d.place(r, u.Parent, u.Name); err != nil {
			return t, err
		}
		err = d.vacant(t)
	} else {
		if t.dir, t.parent, t.leaf, err = d.writable(r, u.ID); err != nil {
			return t, err
		}
		t.old, err = d.expect(t.dir.fd, t.parent, t.leaf, u.Pre)
		if err == nil && t.old.kind() != remote.File {
			err = remote.ErrKind
		}
	}
	if err != nil {
		t.dir.close()
	}
	return t, err
}

// vacant is remote.ErrExists if the name of a new file is taken: that is cheaper to know before its body is read.
func (d *Endpoint) vacant(t spot) error {
	_, err := d.factsAt(t.dir.fd, t.leaf)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err == nil:
		return remote.ErrExists
	}
	return err
}

// expect looks at an item that a write with pre may change.
func (d *Endpoint) expect(fd int, parent, leaf string, pre remote.Pre) (facts, error) {
	f, err := d.factsAt(fd, leaf)
	if err != nil {
		return f, err
	}
	e := f.entry(parent, leaf)
	switch {
	case e.Kind == remote.Opaque:
		return f, remote.ErrKind
	case e.Kind == remote.Dir && f.dev != d.known.Load().dev:
		return f, errDetached
	case !pre.Holds(e):
		return f, remote.ErrPrecondition
	}
	return f, nil
}

// temp is a file that has no place in the tree yet.
type temp struct {
	fd    int
	at    dirFD  // the directory it has a name in
	name  string // "" while it has none
	facts facts  // as it was when it was complete
	hash  string
}

// discard closes the file and removes the name it still has outside the tree.
func (t *temp) discard() {
	if t.name != "" {
		_ = unix.Unlinkat(t.at.fd, t.name, 0) // else the next Open removes it
	}
	t.at.close()
	_ = unix.Close(t.fd) // fsync has said what there was to say
}

// spool writes the body into a temporary file. One that is to be read back anyway is not hashed if its hash is given.
func (d *Endpoint) spool(ctx context.Context, r dirFD, t spot, u *remote.Upload, proven bool) (*temp, error) {
	tmp, err := d.newTemp(r, t)
	if err != nil {
		return nil, err
	}
	given := u.Hashes[remote.BLAKE3]
	if proven && given != "" {
		tmp.hash, err = given, fill(ctx, tmp.fd, u, nil)
	} else {
		tmp.hash, err = fillAndHash(ctx, tmp.fd, u)
	}
	if err == nil && given != "" && given != tmp.hash {
		err = remote.ErrCorrupt
	}
	if err == nil {
		err = d.dress(tmp.fd, t, u)
	}
	if err == nil {
		tmp.facts, err = d.factsAt(tmp.fd, "")
	}
	if err != nil {
		tmp.discard()
		return nil, err
	}
	return tmp, nil
}

// newTemp makes an empty file that only its owner can read. It is made in the
// directory it will be in where that needs no name, so that a set-group-id bit
// and default ACLs of the directory hold for it.
func (d *Endpoint) newTemp(r dirFD, t spot) (*temp, error) {
	if d.can.tmpfile {
		tmp := &temp{}
		err := d.lifted(r, mayChange, func() (err error) {
			tmp.fd, err = unix.Openat(t.dir.fd, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
			return err
		}, t.held())
		if err == nil {
			d.nameless(t.parent, tmp.fd)
		}
		return tmp, err
	}
	at, err := d.openStaging(r, tempDir)
	if err != nil {
		return nil, err
	}
	// The directory's lock keeps a sweep away until the file has its own.
	_ = retry(func() error { return unix.Flock(at.fd, unix.LOCK_SH) })
	defer func() { _ = unix.Flock(at.fd, unix.LOCK_UN) }()
	for try := range maxSlots {
		name := d.slot("put", deleted, try)
		fd, err := unix.Openat(at.fd, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			at.close()
			return nil, err
		}
		_ = unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) // without locks, a sweep may cut a Put short: it fails whole
		return &temp{fd: fd, at: at, name: name}, nil
	}
	at.close()
	return nil, unix.EEXIST
}

// nameless tells the watcher under what name it hears of a file that has none.
func (d *Endpoint) nameless(parent string, fd int) {
	var st unix.Stat_t
	if retry(func() error { return unix.Fstat(fd, &st) }) == nil { // else the directory is listed
		d.watch.end(parent, "#"+strconv.FormatUint(st.Ino, 10), facts{})
	}
}

// fillAndHash is fill, and returns the BLAKE3 of the body.
func fillAndHash(ctx context.Context, fd int, u *remote.Upload) (string, error) {
	h := newHash()
	if err := fill(ctx, fd, u, h); err != nil {
		return "", err
	}
	return hexSum(h), nil
}

// fill copies the body to fd, and to h if that is given.
func fill(ctx context.Context, fd int, u *remote.Upload, h hash.Hash) error {
	buffers := buffersFor(u.Size)
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	for off := int64(0); off < u.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := (*p)[:min(int64(len(*p)), u.Size-off)]
		n, err := u.Body.ReadAt(b, off)
		if n < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read body at %d: %w", off+int64(n), err)
		}
		if h != nil {
			h.Write(b) // a hash takes everything
		}
		if err := writeAll(fd, b, off); err != nil {
			return err
		}
		if off += int64(n); u.Sent != nil {
			u.Sent(off)
		}
	}
	if n, _ := u.Body.ReadAt((*p)[:1], u.Size); n != 0 {
		return fmt.Errorf("body is longer than %d bytes", u.Size)
	}
	return nil
}

func writeAll(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b, off = b[max(n, 0):], off+int64(max(n, 0))
	}
	return nil
}

// dress gives a temporary file its owner, then its mode, then its mtime: it is
// at no time more readable than what it is a copy of.
func (d *Endpoint) dress(fd int, t spot, u *remote.Upload) error {
	mode := u.Attr.Mode
	if u.ID != "" {
		if mode == 0 {
			mode = remote.KnownMode(t.old.mode)
		}
		// Only the administrator can give a file away; for others it stays theirs.
		if err := unix.Fchown(fd, int(t.old.uid), int(t.old.gid)); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	if mode == 0 {
		mode = 0o644 &^ d.umask
	}
	if d.caps.Perm != remote.PermNone {
		if err := unix.Fchmod(fd, mode&0o777); err != nil {
			return err
		}
	}
	if u.Attr.Mtime.IsZero() || d.caps.MtimeGrain == 0 {
		return nil
	}
	return setTimes(fd, u.Attr.Mtime)
}

// setTimes sets the mtime of an open file, and of one opened with O_PATH.
func setTimes(fd int, mtime time.Time) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd), timesOf(mtime), 0)
}

func timesOf(mtime time.Time) []unix.Timespec {
	return []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: mtime.Unix(), Nsec: int64(mtime.Nanosecond())}}
}

// written describes a file that was just published, through the descriptor that
// wrote it. Size and mtime are those it was given: had someone changed it since,
// the entry must not claim their bytes for ours.
func (d *Endpoint) written(tmp *temp, t spot) (remote.Entry, error) {
	f, err := d.factsAt(tmp.fd, "")
	if err != nil {
		return remote.Entry{}, fail("stat file", fmt.Errorf("%w: %w", remote.ErrUnknown, err))
	}
	f.size, f.mtime = tmp.facts.size, tmp.facts.mtime
	d.watch.end(t.parent, t.leaf, f)
	e := f.entry(t.parent, t.leaf)
	e.Hashes = remote.Hashes{remote.BLAKE3: tmp.hash}
	return e, nil
}
