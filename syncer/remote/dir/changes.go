package dir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// Changes implements remote.Endpoint by hints: a directory keeps no list of its
// changes. A cursor is good within the session that gave it, and until a later
// one has been used; any other is expired.
func (d *Endpoint) Changes(ctx context.Context, since remote.Cursor) (remote.Batch, error) {
	r, err := d.enter(ctx)
	if err != nil {
		return remote.Batch{}, fmt.Errorf("list changes: %w", err)
	}
	defer r.close()
	if since == "" {
		root, err := d.statID(r, makeID("", ""))
		if err != nil {
			return remote.Batch{}, fail("list changes", err)
		}
		b := remote.Batch{Full: true, Next: d.watch.restart()}
		b.Changes = []remote.Change{{Entry: root, Relist: remote.RelistDeep}}
		return b, nil
	}
	d.watch.collect()
	d.watch.letIn(func(path string) bool {
		p, err := d.openDir(r, path, unix.O_RDONLY)
		p.close()
		return errors.Is(err, unix.EACCES)
	})
	paths, next, err := d.watch.since(since)
	if err != nil {
		return remote.Batch{}, fmt.Errorf("list changes: %w", err)
	}
	b := remote.Batch{Next: next}
	for _, h := range paths {
		e, err := d.statID(r, makeID(h.path, ""))
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || err == nil && e.Kind != remote.Dir {
			continue // its parent's hint tells
		}
		if errors.Is(err, unix.EACCES) { // no reason to hold up everything else
			d.watch.keepOut(h.path)
			continue
		}
		if err != nil {
			return remote.Batch{}, fail("list changes", err)
		}
		if d.echo(r, h) {
			continue
		}
		c := remote.Change{Entry: e, Relist: remote.RelistShallow}
		if h.deep {
			c.Relist = remote.RelistDeep
		}
		b.Changes = append(b.Changes, c)
	}
	return b, nil
}

// echo reports whether nothing is new in a directory but what this endpoint has written, and that is still as it was
// answered.
func (d *Endpoint) echo(r dirFD, h hinted) bool {
	if h.deep || h.own == nil {
		return false
	}
	at, err := walk(r, cmp.Or(h.path, "."), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer at.close()
	for name, want := range h.own {
		got, err := d.factsAt(at.fd, name)
		if errors.Is(err, unix.ENOENT) {
			err = nil // got is what own has for it
		}
		if err != nil || got != want {
			return false
		}
	}
	return true
}

// Wait implements remote.Endpoint.
func (d *Endpoint) Wait(ctx context.Context, since remote.Cursor) error {
	select {
	case d.watch.waiting <- struct{}{}:
		defer func() { <-d.watch.waiting }()
	case <-d.closed:
		return fmt.Errorf("wait for changes: %w", errClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
	d.watch.collect()
	waited := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		ready, until := d.watch.ready(since)
		if ready {
			return d.woken(ctx, waited)
		}
		woken, err := d.sleep(ctx, until, true)
		if err != nil {
			return err
		}
		waited = waited || woken
	}
}

// woken ends a wait: after an event it collects those that follow at once, and
// while the root is missing it is slow, for there is nothing that could be done.
func (d *Endpoint) woken(ctx context.Context, waited bool) error {
	r, err := d.enter(ctx)
	if err != nil {
		return d.idle(ctx, d.watch.now().Add(rootPoll))
	}
	r.close()
	if waited {
		_, err = d.sleep(ctx, d.watch.now().Add(settle), false)
	}
	return err
}

// sleep takes in events until the time is over (zero: without end), or with
// wake until there is one. It reports whether there was.
func (d *Endpoint) sleep(ctx context.Context, until time.Time, wake bool) (bool, error) {
	w := d.watch
	w.mu.Lock()
	f, raw := w.f, w.raw
	w.mu.Unlock()
	if f == nil {
		return false, d.idle(ctx, until)
	}
	if err := f.SetReadDeadline(until); err != nil {
		return false, fmt.Errorf("wait for changes: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err := raw.Read(func(fd uintptr) bool { return w.drain(int(fd)) && wake })
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, nil
	case errors.Is(err, os.ErrClosed):
		return false, fmt.Errorf("wait for changes: %w", errClosed)
	case err != nil:
		return false, fmt.Errorf("wait for changes: %w", err)
	}
	return true, nil
}

// idle waits without inotify.
func (d *Endpoint) idle(ctx context.Context, until time.Time) error {
	t := time.NewTimer(until.Sub(d.watch.now()))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-d.closed:
		return fmt.Errorf("wait for changes: %w", errClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// restart begins a full enumeration: everything so far will be listed, from
// here on there are hints.
func (w *watcher) restart() remote.Cursor {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start()
	if w.lost {
		w.reset()
	}
	clear(w.pending)
	w.lazy = time.Time{}
	w.seq++
	w.floor = w.seq
	w.rescan = w.now().Add(w.every)
	return w.cursor()
}

func (w *watcher) cursor() remote.Cursor {
	return remote.Cursor(fmt.Sprintf("%s/%d", w.session, w.seq))
}

// parse gives the sequence of a cursor. w.mu is held.
func (w *watcher) parse(c remote.Cursor) (uint64, error) {
	var seq uint64
	session, rest, _ := strings.Cut(string(c), "/")
	n, err := fmt.Sscanf(rest, "%d", &seq)
	if session != w.session || err != nil || n != 1 || seq < w.floor || seq > w.seq || w.lost {
		return 0, remote.ErrCursorExpired
	}
	return seq, nil
}

// hinted is a directory to list.
type hinted struct {
	path string
	deep bool
	own  map[string]facts // what is known to have been written there, if nothing else happened; else nil
}

// since returns the hints after a cursor, parents first. Those up to it have
// been stored by the caller and are forgotten.
func (w *watcher) since(c remote.Cursor) ([]hinted, remote.Cursor, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq, err := w.parse(c)
	if err != nil {
		return nil, "", err
	}
	w.floor = seq
	w.dropLimbo()
	if w.polling && !w.now().Before(w.rescan) {
		w.rescan = w.now().Add(w.every)
		w.hint("", true)
	}
	var out []hinted
	for path, h := range w.pending {
		if h.seq <= seq {
			w.forget(path, h)
		} else {
			out = append(out, hinted{path, h.deep, w.ownIn(path, h)})
		}
	}
	w.lazy = time.Time{}
	slices.SortFunc(out, func(a, b hinted) int { return strings.Compare(a.path, b.path) })
	return covered(out), w.cursor(), nil
}

// forget ends a hint that was followed, with what it was about. w.mu is held.
func (w *watcher) forget(path string, h hint) {
	delete(w.pending, path)
	for name := range h.names {
		delete(w.own, spotName{path, name})
	}
}

// ownIn is what this endpoint wrote under the names of a hint; nil: there are others among them. w.mu is held.
func (w *watcher) ownIn(path string, h hint) map[string]facts {
	if h.names == nil {
		return nil
	}
	out := make(map[string]facts, len(h.names))
	for name := range h.names {
		o := w.own[spotName{path, name}]
		if !o.done {
			return nil
		}
		out[name] = o.facts
	}
	return out
}

// covered leaves out what a deep hint above covers. The hints are sorted.
func covered(hints []hinted) []hinted {
	deep := map[string]bool{}
	return slices.DeleteFunc(hints, func(h hinted) bool {
		for up := h.path; up != ""; {
			if up, _ = split(up); deep[up] {
				return true
			}
		}
		if h.deep {
			deep[h.path] = true
		}
		return false
	})
}

// ready reports whether a wait since c is over, and else until when it lasts at
// most; zero is without end.
func (w *watcher) ready(c remote.Cursor) (bool, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq, err := w.parse(c)
	now := w.now()
	switch {
	case err != nil, w.urgent > seq, w.polling && !now.Before(w.rescan), !w.lazy.IsZero() && !now.Before(w.lazy):
		return true, now
	case !w.lazy.IsZero():
		return false, w.lazy
	case w.polling:
		return false, w.rescan
	}
	return false, time.Time{}
}
