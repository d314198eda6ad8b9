package remotetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vdfs/syncer/remote"
)

var changeCases = []test{
	firstChanges(0), firstChanges(1), firstChanges(2500),
	{"what someone else does comes once", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		f, g, h := e.put("f", "1"), e.put("g", "2"), e.put("h", "3")
		m := newMirror(e, e.ep)
		m.pull()
		m.agrees()
		f, err := e.other.Put(e.ctx, replacement(f, "edited"))
		e.ok(err)
		_, err = e.other.Put(e.ctx, replacement(f, "edited again"))
		e.ok(err)
		_, err = e.other.Update(e.ctx, g.ID, remote.Patch{Parent: &d.ID, Name: ptr("moved")}, remote.Pre{Tag: g.Tag}, "")
		e.ok(err)
		e.ok(e.other.Delete(e.ctx, h.ID, remote.Pre{Tag: h.Tag}, ""))
		_, err = e.other.Put(e.ctx, creation(d.ID, "new", "4"))
		e.ok(err)
		m.pull()
		m.agrees()
		counts := map[remote.ItemID]int{}
		for _, c := range m.seen {
			counts[c.ID]++
		}
		for id, n := range counts {
			if n > 1 {
				e.Fatalf("%s comes %d times", id, n)
			}
		}
		m.pull()
		same(e, "changes when nothing changed", len(m.seen), 0)
	}},
	{"a write behind the endpoint is seen", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		m := newMirror(e, e.ep)
		m.pull()
		e.h.Direct.Write(e.T, "d/f", "behind")
		m.pull()
		m.agrees()
		f, err := e.ep.Lookup(e.ctx, d.ID, "f")
		e.ok(err)
		e.h.Direct.Write(e.T, "d/f", "behind again")
		m.pull()
		m.agrees()
		if got := m.items[f.ID]; got.Content == f.Content {
			e.Fatal("the edit was not seen")
		}
	}},
	{"a renamed directory keeps what is below it", nil, func(e *env) {
		a := e.mkdir(e.root, "a")
		b := e.mkdir(a.ID, "b")
		e.putIn(b.ID, "f", "x")
		m := newMirror(e, e.ep)
		m.pull()
		a = e.stat(a.ID)
		_, err := e.other.Update(e.ctx, a.ID, remote.Patch{Name: ptr("z")}, remote.Pre{Content: a.Content}, "")
		e.ok(err)
		m.pull()
		m.agrees()
		// What changes below it afterwards is seen under its new name.
		got, err := e.ep.Lookup(e.ctx, e.root, "z")
		e.ok(err)
		got, err = e.ep.Lookup(e.ctx, got.ID, "b")
		e.ok(err)
		_, err = e.other.Put(e.ctx, creation(got.ID, "g", "y"))
		e.ok(err)
		m.pull()
		m.agrees()
	}},
	{"directories that come, move, and go are followed", nil, func(e *env) {
		m := newMirror(e, e.ep)
		m.pull()
		var dirs []remote.Entry
		for i := range 6 {
			parent := e.root
			if i > 0 {
				parent = dirs[i-1].ID
			}
			d, err := e.other.Mkdir(e.ctx, parent, fmt.Sprintf("d%d", i), remote.Attr{}, "")
			e.ok(err)
			dirs = append(dirs, d)
			_, err = e.other.Put(e.ctx, creation(d.ID, "f", "x"))
			e.ok(err)
			m.pull()
			m.agrees()
		}
		d := dirs[3]
		moved, err := e.other.Update(e.ctx, d.ID, remote.Patch{Parent: &e.root}, remote.Pre{Content: d.Content}, "")
		e.ok(err)
		m.pull()
		m.agrees()
		f, err := e.other.Lookup(e.ctx, moved.ID, "f")
		e.ok(err)
		e.ok(e.other.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, ""))
		m.pull()
		m.agrees()
	}},
	{"the same cursor gives the same changes again", nil, func(e *env) {
		f := e.put("f", "1")
		m := newMirror(e, e.ep)
		m.pull()
		at := m.cursor
		_, err := e.other.Put(e.ctx, replacement(f, "2"))
		e.ok(err)
		m.pull()
		first := len(m.seen)
		m.cursor = at
		m.pull()
		same(e, "changes", len(m.seen), first)
		m.agrees()
	}},
	{"a cursor given to a new session works or is expired", nil, func(e *env) {
		f := e.put("f", "1")
		m := newMirror(e, e.ep)
		m.pull()
		_, err := e.other.Put(e.ctx, replacement(f, "2"))
		e.ok(err)
		m.ep = e.open(e.h.Open)
		_, err = m.ep.Changes(e.ctx, m.cursor)
		if err != nil {
			e.is(err, remote.ErrCursorExpired)
			same(e, "endpoint with a feed", e.caps.Feed, false)
		}
		m.pull()
		m.agrees()
	}},
	{"an unknown cursor is expired", nil, func(e *env) {
		for _, c := range []remote.Cursor{"garbage", "a/b", "x/1/2/3"} {
			_, err := e.ep.Changes(e.ctx, c)
			e.is(err, remote.ErrCursorExpired)
		}
	}},
	{"what is deleted during the first enumeration ends up absent", nil, func(e *env) {
		const n = 2500
		e.fill(e.root, n)
		m := newMirror(e, e.ep)
		more := m.page()
		for i := 0; i < n; i += 500 {
			f, err := e.other.Lookup(e.ctx, e.root, fmt.Sprintf("f%05d", i))
			e.ok(err)
			e.ok(e.other.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, ""))
		}
		for more {
			more = m.page()
		}
		m.pull()
		m.agrees()
		same(e, "items", len(m.items), n-5)
	}},
	{"a write comes to others, and back if at all, with the tag it was given", nil, func(e *env) {
		m, others := newMirror(e, e.ep), newMirror(e, e.other)
		m.pull()
		others.pull()
		f := e.put("f", "1")
		m.pull()
		others.pull()
		if _, back := m.items[f.ID]; back {
			same(e, "tag", m.items[f.ID].Tag, f.Tag)
			same(e, "content", m.items[f.ID].Content, f.Content)
		}
		same(e, "tag for others", others.items[f.ID].Tag, f.Tag)
		same(e, "content for others", others.items[f.ID].Content, f.Content)
	}},
	{"a wait ends on a change by someone else", nil, func(e *env) {
		f := e.put("f", "1")
		m := newMirror(e, e.ep)
		m.pull()
		ended := make(chan error, 1)
		go func() { ended <- e.ep.Wait(e.ctx, m.cursor) }()
		_, err := e.other.Put(e.ctx, replacement(f, "2"))
		e.ok(err)
		e.ok(<-ended)
		m.pull()
		m.agrees()
	}},
	{"a wait on nothing lasts until its context ends", need("Push", func(c *remote.Caps) bool { return c.Push }), func(e *env) {
		e.put("f", "1")
		m := newMirror(e, e.ep)
		m.pull()
		ctx, cancel := context.WithTimeout(e.ctx, 300*time.Millisecond)
		defer cancel()
		if err := e.ep.Wait(ctx, m.cursor); !errors.Is(err, context.DeadlineExceeded) {
			e.Fatalf("it ended with %v", err)
		}
	}},
}

func firstChanges(n int) test {
	return test{fmt.Sprintf("the first enumeration names all of %d items, the next nothing", n), nil, func(e *env) {
		e.fill(e.root, n)
		b, err := e.ep.Changes(e.ctx, "")
		e.ok(err)
		same(e, "full", b.Full, true)
		m := newMirror(e, e.ep)
		m.pull()
		same(e, "items", len(m.items), n)
		m.agrees()
		m.pull()
		same(e, "changes when nothing changed", len(m.seen), 0)
	}}
}
