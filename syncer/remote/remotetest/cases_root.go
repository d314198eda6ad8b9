package remotetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vdfs/syncer/remote"
)

var rootCases = []test{
	{"capabilities that are off give ErrUnsupported", nil, func(e *env) {
		f := e.put("f", "data")
		if !e.caps.Symlinks {
			_, err := e.ep.Mkdir(e.ctx, e.root, "l", remote.Attr{Target: "f"}, "")
			e.is(err, remote.ErrUnsupported)
		}
		if !e.caps.Ranges {
			_, err := e.read(e.ep, f.ID, f.Content, 1, 1)
			e.is(err, remote.ErrUnsupported)
		}
		_, err := e.ep.Verify(e.ctx, f.ID, remote.Hashes{remote.BLAKE3: blake("data")}, 4, e.caps.Proof+1)
		e.is(err, remote.ErrUnsupported)
		if !e.caps.ListTrash {
			_, _, err := e.ep.Trash(e.ctx, "", "")
			e.is(err, remote.ErrUnsupported)
			e.is(e.ep.Purge(e.ctx, []remote.ItemID{f.ID}), remote.ErrUnsupported)
		}
		b, err := e.ep.Changes(e.ctx, "")
		e.ok(err)
		if !e.caps.Feed && (len(b.Changes) != 1 || b.Changes[0].Relist != remote.RelistDeep || b.Changes[0].ID != e.root) {
			e.Fatalf("first batch without a feed: %v", b.Changes)
		}
	}},
	{"check knows the root again", nil, func(e *env) {
		st, err := e.ep.Check(e.ctx)
		e.ok(err)
		again, err := e.open(e.h.Open).Check(e.ctx)
		e.ok(err)
		same(e, "epoch", again.Epoch, st.Epoch)
		if st.Epoch == "" {
			e.Fatal("root has no identity")
		}
		root := e.stat(e.root)
		same(e, "kind of root", root.Kind, remote.Dir)
		same(e, "parent of root", root.Parent, "")
	}},
	{"a missing root is an error everywhere and never an empty listing", nil, func(e *env) {
		f := e.put("f", "data")
		e.h.Direct.LoseRoot(e.T)
		_, err := e.ep.Check(e.ctx)
		e.is(err, remote.ErrRootGone, remote.ErrUnavailable)
		_, _, err = e.ep.List(e.ctx, e.root, "")
		e.is(err, remote.ErrRootGone, remote.ErrUnavailable)
		_, err = e.ep.Stat(e.ctx, f.ID)
		e.is(err, remote.ErrRootGone, remote.ErrUnavailable)
		_, err = e.ep.Put(e.ctx, creation(e.root, "g", "x"))
		e.is(err, remote.ErrRootGone, remote.ErrUnavailable)
		e.h.Direct.RestoreRoot(e.T)
		_, err = e.ep.Check(e.ctx)
		e.ok(err)
		e.holds(f.ID, "data")
	}},
	{"an empty directory in place of the root is another root", nil, func(e *env) {
		e.put("f", "data")
		e.h.Direct.SwapRoot(e.T)
		_, err := e.ep.Check(e.ctx)
		e.is(err, remote.ErrRootGone)
		_, err = e.ep.Put(e.ctx, creation(e.root, "g", "x"))
		e.is(err, remote.ErrRootGone)
		e.h.Direct.RestoreRoot(e.T)
		e.tree("f", "data")
	}},
	{"an ended context ends every call", nil, func(e *env) {
		f := e.put("f", "data")
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		var errs []error
		add := func(err error) { errs = append(errs, err) }
		_, err := e.ep.Check(ctx)
		add(err)
		_, err = e.ep.Stat(ctx, f.ID)
		add(err)
		_, _, err = e.ep.List(ctx, e.root, "")
		add(err)
		_, err = e.ep.Put(ctx, creation(e.root, "g", "x"))
		add(err)
		add(e.ep.Delete(ctx, f.ID, remote.Pre{Tag: f.Tag}, ""))
		add(e.ep.Wait(ctx, ""))
		for i, err := range errs {
			if !errors.Is(err, context.Canceled) && (i != len(errs)-1 || err != nil) {
				e.Fatalf("call %d: %v", i, err)
			}
		}
		e.tree("f", "data")
	}},
	{"a put ends when its context does and leaves nothing", nil, func(e *env) {
		ctx, cancel := context.WithCancel(e.ctx)
		u := creation(e.root, "f", "")
		b := &body{data: pattern(8<<20, 1), half: func() error { cancel(); return nil }}
		u.Body, u.Size, u.Hashes = b, int64(len(b.data)), nil
		began := time.Now()
		_, err := e.ep.Put(ctx, u)
		e.is(err, context.Canceled)
		if d := time.Since(began); d > 5*time.Second {
			e.Fatalf("it took %s", d)
		}
		e.tree()
	}},
	{"close ends a wait", nil, func(e *env) {
		ep := e.h.Open(e.T)
		m := newMirror(e, ep)
		m.pull()
		ended := make(chan error, 1)
		go func() { ended <- ep.Wait(e.ctx, m.cursor) }()
		e.ok(ep.Close())
		select {
		case <-ended:
		case <-e.ctx.Done():
			e.Fatal("the wait did not end")
		}
	}},
	{"two sessions work at once", nil, func(e *env) {
		done := make(chan error, 4)
		for i, ep := range []remote.Endpoint{e.ep, e.other, e.ep, e.other} {
			go func() { done <- e.busy(ep, fmt.Sprintf("d%d", i)) }()
		}
		for range 4 {
			e.ok(<-done)
		}
		same(e, "items", len(e.walk(e.ep)), 4+4*15)
	}},
}

func (e *env) busy(ep remote.Endpoint, name string) error {
	dir, err := ep.Mkdir(e.ctx, e.root, name, remote.Attr{}, "")
	for i := 0; i < 20 && err == nil; i++ {
		var f remote.Entry
		if f, err = ep.Put(e.ctx, creation(dir.ID, fmt.Sprintf("f%d", i), name)); err != nil {
			break
		}
		if i%4 == 0 {
			err = ep.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, "")
		}
		if err == nil {
			_, _, err = ep.List(e.ctx, dir.ID, "")
		}
	}
	return err
}
