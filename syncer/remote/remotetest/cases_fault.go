package remotetest

import (
	"errors"
	"io"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
)

// These cases lose replies and cut connections by a wrapper, so they show what
// a caller can rely on afterwards.
var faultCases = []test{
	{"a create whose reply was lost is done once", nil, func(e *env) {
		u := creation(e.root, "f", "data")
		u.Key = "k1"
		put := func(ep remote.Endpoint) (remote.Entry, error) { return ep.Put(e.ctx, u) }
		got := e.retried(put, remote.ErrExists, func() (remote.Entry, error) { return e.ep.Lookup(e.ctx, e.root, "f") })
		same(e, "size", got.Size, u.Size)
		e.tree("f", "data")
	}},
	{"a replace whose reply was lost is done once", nil, func(e *env) {
		f := e.put("f", "old")
		u := replacement(f, "newer")
		u.Key = "k2"
		put := func(ep remote.Endpoint) (remote.Entry, error) { return ep.Put(e.ctx, u) }
		got := e.retried(put, remote.ErrPrecondition, func() (remote.Entry, error) { return e.ep.Stat(e.ctx, f.ID) })
		same(e, "size", got.Size, u.Size)
		e.tree("f", "newer")
	}},
	{"a mkdir whose reply was lost is done once", nil, func(e *env) {
		mk := func(ep remote.Endpoint) (remote.Entry, error) {
			return ep.Mkdir(e.ctx, e.root, "d", remote.Attr{}, "k3")
		}
		e.retried(mk, remote.ErrExists, func() (remote.Entry, error) { return e.ep.Lookup(e.ctx, e.root, "d") })
		e.tree("d/", "")
	}},
	{"a move whose reply was lost is done once", nil, func(e *env) {
		f := e.put("f", "data")
		move := func(ep remote.Endpoint) (remote.Entry, error) {
			return ep.Update(e.ctx, f.ID, remote.Patch{Name: ptr("g")}, remote.Pre{Tag: f.Tag}, "k4")
		}
		lost := remote.ErrPrecondition
		if !e.caps.StableID {
			lost = remote.ErrNotFound
		}
		got := e.retried(move, lost, func() (remote.Entry, error) { return e.ep.Lookup(e.ctx, e.root, "g") })
		same(e, "ident", got.Ident, f.Ident)
		e.tree("g", "data")
	}},
	{"a delete whose reply was lost is done once", nil, func(e *env) {
		f := e.put("f", "data")
		rm := func(ep remote.Endpoint) (remote.Entry, error) {
			return remote.Entry{}, ep.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, "k5")
		}
		e.retried(rm, remote.ErrNotFound, func() (remote.Entry, error) { return remote.Entry{}, nil })
		e.tree()
	}},
	{"a connection cut while reading is no short end", nil, func(e *env) {
		data := pattern(2<<20, 1)
		f := e.put("f", data)
		s := &faulty.Script{}
		s.Add(faulty.Rule{Method: faulty.Read, Cut: 1 << 20})
		got, err := e.read(faulty.Wrap(e.ep, s), f.ID, f.Content, 0, -1)
		e.is(err, remote.ErrUnavailable)
		if got != "" && got != data[:len(got)] {
			e.Fatal("other bytes")
		}
	}},
	{"a listing cut after some entries is an error", nil, func(e *env) {
		e.fill(e.root, 20)
		s := &faulty.Script{}
		s.Add(faulty.Rule{Method: faulty.List, Cut: 7})
		_, err := e.list(faulty.Wrap(e.ep, s), e.root)
		e.is(err, remote.ErrUnavailable)
	}},
	{"a body that ends early is told with its place", nil, func(e *env) {
		u := creation(e.root, "f", "12345")
		u.Size = 10
		_, err := e.ep.Put(e.ctx, u)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			e.Fatalf("got %v", err)
		}
		e.tree()
	}},
}

// retried loses the reply of a write and writes again with the same key: where
// keys are honoured that succeeds, else it gives lost and a look shows it done.
func (e *env) retried(write func(remote.Endpoint) (remote.Entry, error), lost error, look func() (remote.Entry, error)) remote.Entry {
	e.Helper()
	s := &faulty.Script{}
	s.Add(faulty.Rule{Nth: 1, After: remote.ErrUnknown})
	ep := faulty.Wrap(e.ep, s)
	_, err := write(ep)
	e.is(err, remote.ErrUnknown)
	got, err := write(ep)
	if !e.caps.Idempotent {
		e.is(err, lost)
		got, err = look()
	}
	e.ok(err)
	return got
}
