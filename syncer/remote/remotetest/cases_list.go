package remotetest

import (
	"errors"
	"fmt"

	"vdfs/syncer/remote"
)

var listCases = []test{
	{"stat and lookup agree on what is there", nil, func(e *env) {
		f := e.put("f", "data")
		d := e.mkdir(e.root, "d")
		for _, it := range []remote.Entry{f, d} {
			got, err := e.ep.Lookup(e.ctx, e.root, it.Name)
			e.ok(err)
			same(e, "id", got.ID, it.ID)
			same(e, "tag", e.stat(it.ID).Tag, got.Tag)
		}
		_, err := e.ep.Lookup(e.ctx, e.root, "absent")
		e.is(err, remote.ErrNotFound)
		_, err = e.ep.Lookup(e.ctx, f.ID, "x")
		e.is(err, remote.ErrKind, remote.ErrNotFound)
		_, err = e.ep.Stat(e.ctx, "p:no/such")
		e.is(err, remote.ErrNotFound)
		_, _, err = e.ep.List(e.ctx, f.ID, "")
		e.is(err, remote.ErrKind, remote.ErrNotFound)
	}},
	{"a renamed item is found under its new name only", nil, func(e *env) {
		f := e.put("f", "data")
		moved, err := e.ep.Update(e.ctx, f.ID, remote.Patch{Name: ptr("g")}, remote.Pre{Tag: f.Tag}, "")
		e.ok(err)
		_, err = e.ep.Lookup(e.ctx, e.root, "f")
		e.is(err, remote.ErrNotFound)
		got, err := e.ep.Lookup(e.ctx, e.root, "g")
		e.ok(err)
		same(e, "id", got.ID, moved.ID)
		if e.caps.StableID {
			same(e, "id over rename", moved.ID, f.ID)
		} else if f.Ident != "" {
			same(e, "ident over rename", got.Ident, f.Ident)
		}
	}},
	listOf(0), listOf(1), listOf(999), listOf(1001), listOf(2500),
	{"a listing shows what did not change while others come and go", nil, func(e *env) {
		const n = 1500
		e.fill(e.root, n)
		got := map[string]int{}
		page, turn := "", 0
		for {
			entries, next, err := e.ep.List(e.ctx, e.root, page)
			if errors.Is(err, remote.ErrChanged) {
				return
			}
			e.ok(err)
			for _, c := range entries {
				got[c.Name]++
			}
			if page = next; page == "" {
				break
			}
			turn++
			_, err = e.other.Put(e.ctx, creation(e.root, fmt.Sprintf("a%d", turn), "x"))
			e.ok(err)
			gone, err := e.other.Lookup(e.ctx, e.root, fmt.Sprintf("f%05d", turn*7))
			e.ok(err)
			e.ok(e.other.Delete(e.ctx, gone.ID, remote.Pre{Tag: gone.Tag}, ""))
		}
		for i := range n {
			if name := fmt.Sprintf("f%05d", i); got[name] != 1 && (i%7 != 0 || i/7 > turn) {
				e.Fatalf("%s is listed %d times", name, got[name])
			}
		}
	}},
}

// fill makes n small files through Direct, which is quick on every storage.
func (e *env) fill(dir remote.ItemID, n int) {
	e.Helper()
	prefix := ""
	if dir != e.root {
		prefix = e.stat(dir).Name + "/"
	}
	for i := range n {
		e.h.Direct.Write(e.T, fmt.Sprintf("%sf%05d", prefix, i), "x")
	}
}

func listOf(n int) test {
	return test{fmt.Sprintf("a directory of %d lists each once", n), nil, func(e *env) {
		e.fill(e.root, n)
		kids, err := e.list(e.ep, e.root)
		e.ok(err)
		same(e, "children", len(kids), n)
		for name, c := range kids {
			same(e, "size of "+name, c.Size, 1)
			same(e, "kind of "+name, c.Kind, remote.File)
			if c.ID == "" || c.Tag == "" {
				e.Fatalf("%s has id %q and tag %q", name, c.ID, c.Tag)
			}
		}
	}}
}

func ptr[T any](v T) *T { return &v }
