package fs

import (
	"context"
	"errors"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"vdfs/cache"
)

// A program opens a name, but the kernel opens a node, and between the two the name may get another one: an endpoint has
// replaced the file. To ESTALE the kernel answers by walking the path once more, past its caches, and opening what it finds
// there; a second ESTALE it would pass on. So the lookup of that second walk opens what it finds, and keeps it for the open
// that follows from the same thread: a node that is open keeps its version, whatever becomes of its name.

const (
	// walkMax is how long an open may come after the lookup that prepared it. It follows at once, unless a signal came between.
	walkMax = 5 * time.Second
	// walkTries is how often a lookup begins again because the file was replaced under it.
	walkTries = 16
)

// walks are the threads whose open was answered with ESTALE. Its zero value is ready.
type walks struct {
	mu sync.Mutex
	m  map[uint32]*walk // by thread
}

// walk is one of them.
type walk struct {
	found   *opened // what the lookup opened; nil: it did not come yet
	expires *time.Timer
}

// opened is a file that was opened for reading by a lookup, with what is kept for it.
type opened struct {
	file    *cache.OpenFile
	release func() // nil: nothing is kept
}

func (o *opened) close() error {
	if o == nil {
		return nil
	}
	if o.release != nil {
		o.release()
	}
	return o.file.Close()
}

// begin notes that a thread is told to walk again. It reports false if it has just done so, or cannot be told from others:
// then it has to be given an answer.
func (w *walks) begin(thread uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if thread == 0 || w.m[thread] != nil {
		return false
	}
	if w.m == nil {
		w.m = make(map[uint32]*walk)
	}
	walk := &walk{}
	walk.expires = time.AfterFunc(walkMax, func() { w.expire(thread, walk) })
	w.m[thread] = walk
	return true
}

// expire forgets a walk that was not finished.
func (w *walks) expire(thread uint32, old *walk) {
	w.mu.Lock()
	if w.m[thread] != old {
		w.mu.Unlock()
		return
	}
	delete(w.m, thread)
	w.mu.Unlock()
	_ = old.found.close() // nothing was written to it
}

// under reports whether a thread is walking again.
func (w *walks) under(thread uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return thread != 0 && w.m[thread] != nil
}

// arrive hands over what a walk has found, in place of what it found before.
func (w *walks) arrive(thread uint32, o *opened) error {
	w.mu.Lock()
	old := o
	if walk := w.m[thread]; walk != nil {
		old, walk.found = walk.found, o
	}
	w.mu.Unlock()
	return old.close()
}

// finish ends a walk with the open it was for. found is nil if that is of another node than the walk has led to.
func (w *walks) finish(thread uint32, ino cache.Ino) (found *opened, walked bool, err error) {
	w.mu.Lock()
	walk := w.m[thread]
	if thread == 0 || walk == nil {
		w.mu.Unlock()
		return nil, false, nil
	}
	delete(w.m, thread)
	w.mu.Unlock()
	walk.expires.Stop()
	if found = walk.found; found != nil && found.file.Ino() != ino {
		return nil, true, found.close()
	}
	return found, true, nil
}

// end closes what nobody will fetch any more.
func (w *walks) end() {
	w.mu.Lock()
	all := w.m
	w.m = nil
	w.mu.Unlock()
	for _, walk := range all {
		walk.expires.Stop()
		_ = walk.found.close() // nothing was written to it
	}
}

// keep has the version of an open file kept while bytes of it are missing. release is nil if there is nothing to keep.
func (d *drive) keep(ctx context.Context, of *cache.OpenFile) (release func(), err error) {
	if d.keeper == nil || !of.Missing(0, math.MaxInt64) {
		return nil, nil
	}
	return d.keeper.Keep(ctx, of.Ino(), of.Version())
}

// renew has the file of a node taken in anew.
func (d *drive) renew(ctx context.Context, ino cache.Ino) {
	if d.keeper == nil {
		return
	}
	if err := d.keeper.Renew(ctx, ino); err != nil {
		d.log.Debug("file not taken in anew", "ino", uint64(ino), "error", err)
	}
}

// openFound opens the file that a second walk has come to, and returns its entry as it is while it is open. Where that does
// not succeed the open that follows has to do without.
func (d *drive) openFound(ctx context.Context, thread uint32, parent cache.Ino, name string, e cache.Entry) (cache.Entry, error) {
	for range walkTries {
		if e.Node.Kind != cache.File {
			return e, nil
		}
		o, err := d.hold(ctx, e)
		if err == nil {
			return e, d.walks.arrive(thread, o)
		}
		if !isReplaced(err) {
			return e, nil //nolint:nilerr // the open meets it, too
		}
		if e, err = d.cache.Lookup(parent, name); err != nil {
			return e, err
		}
	}
	return e, nil
}

// hold opens the node of an entry if it is still as the entry says, with its version kept.
func (d *drive) hold(ctx context.Context, e cache.Entry) (*opened, error) {
	of, err := d.cache.OpenFile(e.Ino, false)
	if err != nil {
		return nil, err
	}
	n, err := of.Node()
	if err == nil && (n.Version != e.Node.Version || n.Nlink == 0) {
		err = cache.ErrStale
	}
	if err != nil {
		return nil, errors.Join(err, of.Close())
	}
	release, err := d.keep(ctx, of)
	if err != nil {
		err = errors.Join(err, of.Close())
		d.renew(ctx, e.Ino) // not while it is open here: it would get another node
		return nil, err
	}
	return &opened{of, release}, nil
}

// isReplaced reports whether an error means: the name has another node or another version by now.
func isReplaced(err error) bool {
	return errors.Is(err, cache.ErrNotFound) || errors.Is(err, cache.ErrStale)
}

// failOpen answers an open that failed: that of what was replaced by sending the thread on a second walk, once.
func (d *drive) failOpen(h *fuse.InHeader, walked bool, err error) fuse.Status {
	if !walked && isReplaced(err) && d.walks.begin(h.Pid) {
		return fuse.Status(syscall.ESTALE)
	}
	return d.fail("open", h.NodeId, err)
}
