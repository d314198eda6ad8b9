package fs

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// releaseGrace is how long the kernel may take to let go of a backing file after it said that a handle is closed.
const releaseGrace = 100 * time.Millisecond

// passRoom is the free room below which files are not passed for writing: a full disk gets room again from what was
// removed a moment ago, but not for writes that nobody here sees.
const passRoom = 32 << 20

// wayKind is how the kernel reaches the bytes of an open node. It allows one at a time, so the first open decides, and the
// others follow until the last RELEASE.
type wayKind int

const (
	undecided wayKind = iota
	cached            // by requests, with pages of its own
	passed            // in the backing file itself: no READ and no WRITE arrives
	direct            // by requests, each time: others change the backing file
)

// way is the one way of an open node.
type way struct {
	handles int // guarded by ways.mu

	mu   sync.Mutex // held while it is decided, and by those who follow meanwhile
	kind atomic.Int32
	// While it is passed:
	id      int32    // the backing file's in the kernel
	backing *os.File // ours of the same file
}

// ways knows the ways of the nodes that the kernel has open. A handle holds the lease of its node for longer than it is
// counted here, and a backing file is only replaced by a sole holder: so all handles of a way have the same one. The order
// of locks is way.mu, then whatever the cache takes; ways.mu is a leaf.
type ways struct {
	kernel passer
	off    atomic.Bool // nothing more is passed

	mu    sync.Mutex
	nodes map[cache.Ino]*way
}

// passer is the part of fuse.Server that passing needs.
type passer interface {
	RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno)
	UnregisterBackingFd(id int32) syscall.Errno
	InodeNotify(node uint64, off, length int64) fuse.Status
}

func (w *ways) init(kernel passer, on bool) {
	w.kernel = kernel
	w.off.Store(!on)
}

// enter counts a handle that is about to be given to the kernel.
func (w *ways) enter(ino cache.Ino) *way {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes == nil {
		w.nodes = make(map[cache.Ino]*way)
	}
	at := w.nodes[ino]
	if at == nil {
		at = &way{}
		w.nodes[ino] = at
	}
	at.handles++
	return at
}

// leave ends what enter began: after RELEASE, or when the kernel did not get the handle. The kernel has forgotten the
// node's backing file when it says that its last handle is closed.
func (w *ways) leave(ino cache.Ino, at *way) error {
	w.mu.Lock()
	at.handles--
	last := at.handles == 0
	if last {
		delete(w.nodes, ino)
	}
	w.mu.Unlock()
	if last && wayKind(at.kind.Load()) == passed {
		return unregister(w.kernel, at.id)
	}
	return nil
}

// kindOf is the way of a node; undecided: it is not open.
func (w *ways) kindOf(ino cache.Ino) wayKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.nodes[ino]; at != nil {
		return wayKind(at.kind.Load())
	}
	return undecided
}

// leave comes before the handle gives its lease back.
func (d *drive) leave(f *file) error { return d.ways.leave(f.Ino(), f.way) }

// opening is what decides the way of a handle.
type opening struct {
	flags   uint32
	created bool // just now
	emptied bool // created or truncated
	held    bool // others may have been writing to the backing file before this open
}

// decide finds the way of a handle that was entered, and does what is needed before it goes. An error is of a handle that
// can only be passed and cannot be.
func (d *drive) decide(f *file, o opening) (wayKind, error) {
	w := f.way
	w.mu.Lock()
	defer w.mu.Unlock()
	switch kind := wayKind(w.kind.Load()); {
	case kind == passed:
		return passed, d.follow(f, o)
	case kind != undecided:
		return kind, nil
	}
	kind := cached
	switch ok, err := d.first(f, o); {
	case err != nil:
		// Whoever writes meets it again.
		d.log.Debug("file not passed", "ino", uint64(f.Ino()), "error", err)
	case ok:
		kind = passed
	}
	if kind != passed && o.held {
		kind = direct
	}
	w.kind.Store(int32(kind))
	return kind, nil
}

// first passes the first handle of a node, if that is right and worth it.
func (d *drive) first(f *file, o opening) (bool, error) {
	switch mode := o.flags & unix.O_ACCMODE; {
	case d.ways.off.Load():
		return false, nil
	case o.flags&(unix.O_SYNC|unix.O_DSYNC) != 0 && f.write:
		return false, nil // each write makes the index durable too
	case f.write && d.room.Paced():
		return false, nil // nobody could slow down the writes
	case mode == unix.O_WRONLY && !o.emptied && !o.held:
		return false, nil // so opens what appends a line, or only sets the times: it would be marked for nothing
	case f.Missing(0, math.MaxInt64):
		return false, nil
	}
	n, err := f.Node()
	if err != nil || n.Mode&setid != 0 {
		return false, err // the bits go with the first write
	}
	if f.write {
		s, err := d.cache.StatFS()
		if err != nil || s.DiskAvailable < passRoom {
			return false, err
		}
		if err := f.MarkPassed(); err != nil {
			return false, err
		}
	}
	ok, err := d.register(f)
	if ok {
		d.atPassed(f, o)
	}
	return ok, err
}

// follow passes another handle of a node that is passed.
func (d *drive) follow(f *file, o opening) error {
	if f.Fd() != f.way.backing {
		return fmt.Errorf("pass node %d: its backing file was replaced: %w", f.Ino(), syscall.ESTALE)
	}
	if f.write {
		if err := f.MarkPassed(); err != nil {
			return err
		}
		if o.flags&(unix.O_SYNC|unix.O_DSYNC) != 0 {
			// From here on the writes need to make durable only what they write.
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	d.atPassed(f, o)
	return nil
}

// register gives the kernel the backing file. The first refusal is the last try: it would refuse the others too.
func (d *drive) register(f *file) (bool, error) {
	backing, err := f.Passable()
	if err != nil || backing == nil {
		return false, err
	}
	id, errno := d.ways.kernel.RegisterBackingFd(&fuse.BackingMap{Fd: int32(backing.Fd())})
	if err := backing.Close(); err != nil && errno == 0 {
		return false, errors.Join(err, unregister(d.ways.kernel, id))
	}
	if errno != 0 {
		if !d.ways.off.Swap(true) {
			d.log.Info("the kernel passes no files through, so all reads and writes come by requests", "error", errno)
		}
		return false, nil
	}
	f.way.id, f.way.backing = id, f.Fd()
	return true, nil
}

func unregister(k passer, id int32) error {
	if errno := k.UnregisterBackingFd(id); errno != 0 {
		return errno
	}
	return nil
}

// atPassed does what the requests that will not come would have done. Of stores through a mapping the kernel says nothing
// at all, so it must not answer for the times of the file from what it was told before.
func (d *drive) atPassed(f *file, o opening) {
	if o.flags&unix.O_ACCMODE != unix.O_WRONLY && !o.created {
		f.WatchReads()
	}
	if f.write && !o.emptied {
		d.ways.kernel.InodeNotify(uint64(f.Ino()), -1, 0)
	}
}

// handPassed gives a passed handle to the kernel, which drops its pages of the node.
func (d *drive) handPassed(f *file, out *fuse.OpenOut) {
	f.partial = true // there are no pages to note
	f.told.Store(true)
	out.OpenFlags = fuse.FOPEN_PASSTHROUGH
	out.BackingID = f.way.id
	out.Fh = d.files.put(f)
}

// attrValidity is how long the kernel may use the attributes of a node that it may use for so long otherwise. While
// somebody reads and writes without requests they change unseen.
func (d *drive) attrValidity(n *cache.Node, keep time.Duration) time.Duration {
	if n.Kind != cache.File {
		return keep
	}
	switch kind := d.ways.kindOf(n.Ino); {
	case kind == passed, n.Writing && kind != cached:
		return 0
	}
	return keep
}
