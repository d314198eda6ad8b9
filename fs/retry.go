package fs

import (
	"errors"
	"sync"
	"time"

	"vdfs/cache"
)

// When an open ends in ESTALE the kernel begins it once more: it looks every name of the path up, past its caches, and opens
// what it finds. A second ESTALE is the program's. So what the lookup of a thread on its second try finds is kept for its
// open: as under one who writes, no change from elsewhere takes its place until then.
const (
	// retryMax is how long a thread may take from an ESTALE to the lookup of its second try.
	retryMax = time.Minute
	// keepMax is how long a file is kept for an open that does not come, as of a program that was killed.
	keepMax = time.Second
)

// retries are the threads on the second try of an open. Who cannot be told from others, thread 0, is never among them.
type retries struct {
	letGo func(*cache.OpenFile) // called with no lock held; nil is nothing to let go of

	mu      sync.Mutex
	threads map[uint32]*retry
}

// retry is the second try of one thread.
type retry struct {
	kept *cache.OpenFile // what its last lookup found; nil: it has found nothing yet, or took too long
	late *time.Timer
}

func newRetries(letGo func(*cache.OpenFile)) *retries {
	return &retries{letGo: letGo, threads: make(map[uint32]*retry)}
}

// begin notes that a thread is sent back.
func (r *retries) begin(thread uint32) {
	r.end(thread)
	if thread == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &retry{}
	t.late = time.AfterFunc(retryMax, func() { r.expire(thread, t) })
	r.threads[thread] = t
}

// on reports whether a thread is on its second try.
func (r *retries) on(thread uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.threads[thread] != nil
}

// keep keeps a file for the open of a thread, in place of what its lookup before found.
func (r *retries) keep(thread uint32, of *cache.OpenFile) {
	r.mu.Lock()
	if t := r.threads[thread]; t != nil {
		t.kept, of = of, t.kept
		t.late.Reset(keepMax)
	}
	r.mu.Unlock()
	r.letGo(of)
}

// end notes that the second try of a thread is over, if it was on one.
func (r *retries) end(thread uint32) {
	r.mu.Lock()
	var of *cache.OpenFile
	if t := r.threads[thread]; t != nil {
		t.late.Stop()
		of, t.kept = t.kept, nil
		delete(r.threads, thread)
	}
	r.mu.Unlock()
	r.letGo(of)
}

// expire lets go of what was kept too long; that it is a second try counts for longer.
func (r *retries) expire(thread uint32, t *retry) {
	r.mu.Lock()
	of := t.kept
	t.kept = nil
	switch {
	case of != nil:
		t.late.Reset(retryMax)
	case r.threads[thread] == t:
		delete(r.threads, thread)
	}
	r.mu.Unlock()
	r.letGo(of)
}

// drain ends all.
func (r *retries) drain() {
	r.mu.Lock()
	var all []uint32
	for thread := range r.threads {
		all = append(all, thread)
	}
	r.mu.Unlock()
	for _, thread := range all {
		r.end(thread)
	}
}

// find looks a name up, for a thread that is to open now what it finds: that is kept. Where it cannot be, the open tells why.
func (d *drive) find(parent cache.Ino, name string, thread uint32) (e cache.Entry, err error) {
	var kept cache.Ino
	for range rereads {
		e, err = d.cache.Lookup(parent, name)
		if err != nil || e.Node.Kind != cache.File || e.Ino == kept || !d.retries.on(thread) {
			break
		}
		of, kerr := d.cache.HoldBriefly(e.Ino)
		if errors.Is(kerr, cache.ErrNotFound) {
			continue // another one has its name by now
		}
		if kerr != nil {
			break
		}
		kept = e.Ino
		d.retries.keep(thread, of)
	}
	return e, err
}

// unkeep lets go of what was kept for an open.
func (d *drive) unkeep(of *cache.OpenFile) {
	if of == nil {
		return
	}
	if err := of.Close(); err != nil {
		d.log.Warn("close file that was kept for an open", "ino", uint64(of.Ino()), "error", err)
	}
}
