// Package dir is a directory of this machine as an endpoint.
//
// Other programs work in the directory at any time and know nothing of vdfs, so
// nothing here relies on what was true a moment ago. Every call opens the root
// anew and proves that it is the known one: a missing, unmounted or exchanged
// root is ErrRootGone and never an empty tree. Paths are resolved beneath the
// root by openat2: no symbolic link is followed, no other file system entered.
// What is overwritten or deleted goes to the trash after a look at what it was.
//
// Tokens. A file's Content is its handle, size and mtime; its Tag adds mode and
// ctime. So a chmod keeps the Content, a touch changes it (the caller then
// compares hashes), and an edit that keeps the size within one tick of the file
// system's clock, or through a shared mapping, is not seen until the file is
// read or verified: the usual limit of every tool that trusts stat. A
// directory's Content is its handle, its Tag adds the mode; what is in it
// changes neither. A symlink's Content is made of its target.
//
// Lock order: Endpoint.publish, then flock on the root directory (taken by all
// sessions that replace, move or delete, for microseconds), then Endpoint.modes;
// watcher.mu is taken alone. No lock is held while file contents are read,
// written or synced.
package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// Options shape an Endpoint.
type Options struct {
	// Staging is a directory of ours for temporary files and the trash. It is
	// used when files can be renamed from it into the root, else a directory
	// .vdfs in the root is, which no listing shows. Each endpoint needs its own.
	Staging string
	// KnownRoot is the Status.Epoch that an earlier session recorded; "" takes
	// the root as it is.
	KnownRoot string
	// Poll is how often everything is listed again where the system does not
	// tell of changes; 0: 30 s.
	Poll time.Duration
	// Now is the clock for names in the trash and for Poll; nil: time.Now.
	Now func() time.Time
	// Logger gets what a person may want to know; nil: nothing is logged.
	Logger *slog.Logger
}

// Endpoint is a session on a directory.
type Endpoint struct {
	path string
	opts Options
	log  *slog.Logger
	caps remote.Caps
	can  abilities

	known atomic.Pointer[rootFacts]
	local bool // the staging directory is .vdfs in the root
	umask uint32

	publish sync.Mutex // replaces, moves and deletes of this session, one at a time
	modes   sync.Mutex // held while modes are lifted, and to see that none is
	data    committer
	names   committer

	watch    *watcher
	listings listings

	closed chan struct{}
	once   sync.Once
}

var (
	_ remote.Endpoint = (*Endpoint)(nil)
	_ remote.Gatherer = (*Endpoint)(nil)
)

var errClosed = errors.New("endpoint is closed")

// Open opens the directory root. Where it is missing, or is not the one that
// o.KnownRoot names, the error wraps remote.ErrRootGone and the caller tries
// again later: what the file system can do is not known before.
func Open(root string, o Options) (*Endpoint, error) {
	return open(root, o, abilities{exchange: true, noreplace: true, tmpfile: true, hardlink: true})
}

// open is Open with an upper bound on what the file system is trusted to do.
func open(root string, o Options, most abilities) (*Endpoint, error) {
	path, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", root, err)
	}
	if o.Poll <= 0 {
		o.Poll = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Endpoint{path: path, opts: o, log: o.Logger, closed: make(chan struct{})}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	r, err := d.openRoot()
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", root, err)
	}
	defer r.close()
	if d.umask, err = currentUmask(); err != nil {
		return nil, fmt.Errorf("open directory %s: %w", root, err)
	}
	if err := d.prepare(r, most); err != nil {
		return nil, fmt.Errorf("open directory %s: %w", root, err)
	}
	d.watch = newWatcher(rand.Text(), o.Now, o.Poll, d.caps.Push)
	return d, nil
}

// Caps implements remote.Endpoint.
func (d *Endpoint) Caps() *remote.Caps { return &d.caps }

// Notice says in one line what a person should know about this directory, ""
// when there is nothing.
func (d *Endpoint) Notice() string { return d.watch.message() }

// Close implements remote.Endpoint.
func (d *Endpoint) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.watch.close()
}

// Check implements remote.Endpoint. Status.Epoch is the root's identity, to be
// kept and given as Options.KnownRoot; compare two of them with SameRoot.
func (d *Endpoint) Check(ctx context.Context) (remote.Status, error) {
	r, err := d.enter(ctx)
	if err != nil {
		return remote.Status{}, fmt.Errorf("check root: %w", err)
	}
	defer r.close()
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(r.fd, &fs) }); err != nil {
		return remote.Status{}, fail("check root", err)
	}
	return remote.Status{
		Root:     makeID("", ""),
		Epoch:    d.known.Load().identity,
		Total:    int64(fs.Blocks) * fs.Bsize,
		Free:     int64(fs.Bavail) * fs.Bsize,
		ReadOnly: fs.Flags&unix.ST_RDONLY != 0 || !d.can.write,
	}, nil
}

// enter begins one call: it opens the root and proves it.
func (d *Endpoint) enter(ctx context.Context) (dirFD, error) {
	if err := ctx.Err(); err != nil {
		return dirFD{}, err
	}
	select {
	case <-d.closed:
		return dirFD{}, errClosed
	default:
	}
	return d.openRoot()
}

// Stat implements remote.Endpoint.
func (d *Endpoint) Stat(ctx context.Context, id remote.ItemID) (remote.Entry, error) {
	r, err := d.enter(ctx)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("stat item: %w", err)
	}
	defer r.close()
	e, err := d.statID(r, id)
	if err != nil {
		return remote.Entry{}, lookupFail("stat item", err)
	}
	return e, nil
}

// statID is the entry of an id as it is now.
func (d *Endpoint) statID(r dirFD, id remote.ItemID) (remote.Entry, error) {
	a, err := parseID(id)
	if err != nil {
		return remote.Entry{}, err
	}
	if a.Path == "" {
		f, err := d.factsAt(r.fd, "")
		return f.entry("", ""), err
	}
	parent, leaf := a.Split()
	p, err := d.openAt(r, parent, unix.O_PATH)
	if err != nil {
		return remote.Entry{}, err
	}
	defer p.close()
	f, err := d.item(p, a)
	return f.entry(parent.Path, leaf), err
}

// Lookup implements remote.Endpoint.
func (d *Endpoint) Lookup(ctx context.Context, parent remote.ItemID, name string) (remote.Entry, error) {
	r, err := d.enter(ctx)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("look up name: %w", err)
	}
	defer r.close()
	dir, err := parseID(parent)
	if err == nil && checkName(dir.Path, name) != nil {
		err = remote.ErrNotFound
	}
	if err != nil {
		return remote.Entry{}, lookupFail("look up name", err)
	}
	p, err := d.openAt(r, dir, unix.O_PATH)
	if err != nil {
		return remote.Entry{}, fail("look up name", err)
	}
	defer p.close()
	if d.caps.Names.Fold != remote.FoldNone {
		if name, err = storedName(p, name); err != nil {
			return remote.Entry{}, lookupFail("look up name", err)
		}
	}
	f, err := d.factsAt(p.fd, name)
	if err != nil {
		return remote.Entry{}, lookupFail("look up name", err)
	}
	return f.entry(dir.Path, name), nil
}

// Verify implements remote.Endpoint: a size is proved by stat, anything more by
// reading the file again, past the page cache where the system allows.
func (d *Endpoint) Verify(ctx context.Context, id remote.ItemID, want remote.Hashes, size int64, atLeast remote.Proof) (remote.Proof, error) {
	if atLeast > remote.ProofRead {
		return remote.ProofNone, fmt.Errorf("verify file: %w", remote.ErrUnsupported)
	}
	body, err := d.Read(ctx, id, "", 0, -1)
	if err != nil {
		return remote.ProofNone, fmt.Errorf("verify file: %w", err)
	}
	defer body.Close()
	s := body.(*stream)
	switch {
	case s.began.size != size:
		return remote.ProofNone, fmt.Errorf("verify file of %d bytes, want %d: %w", s.began.size, size, remote.ErrCorrupt)
	case atLeast <= remote.ProofSize:
		return remote.ProofSize, nil
	case want[remote.BLAKE3] == "":
		return remote.ProofNone, fmt.Errorf("verify file without its blake3: %w", remote.ErrUnsupported)
	}
	if err := unix.Fadvise(int(s.f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		d.log.Debug("page cache not dropped", "error", err)
	}
	h := newHash()
	if _, err := io.Copy(h, s); err != nil {
		return remote.ProofNone, fmt.Errorf("verify file: %w", err)
	}
	if got := hexSum(h); got != want[remote.BLAKE3] {
		return remote.ProofNone, fmt.Errorf("verify file: %w", &remote.OtherBytes{Actual: got})
	}
	return remote.ProofRead, nil
}
