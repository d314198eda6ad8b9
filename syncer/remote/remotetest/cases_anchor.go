package remotetest

import (
	"maps"

	"vdfs/syncer/remote"
)

// meant is the id of a directory for what is done in it: an endpoint whose ids are paths refuses when another one is there.
func (e *env) meant(d remote.Entry) remote.ItemID {
	a, ok := remote.ParseAddress(d.ID)
	if e.caps.StableID || !ok {
		return d.ID
	}
	a.Dir, a.Ident = a.Path, d.Ident
	return a.ID()
}

// inside is the id of a name in a directory with such an id, of an endpoint whose ids are paths.
func (e *env) inside(dir remote.ItemID, name string) remote.ItemID {
	e.Helper()
	a, ok := remote.ParseAddress(dir)
	if !ok {
		e.Fatalf("%q is no path", dir)
	}
	return a.Child(name).ID()
}

var anchors = func(c *remote.Caps) (string, bool) { return "Idents", c.Idents }

// taken moves directory a to b and makes another one of its name, with the same in it, as somebody else.
func (e *env) taken(a remote.Entry) {
	e.Helper()
	_, err := e.other.Update(e.ctx, a.ID, remote.Patch{Name: ptr("b")}, remote.Pre{Content: a.Content}, "")
	e.ok(err)
	now, err := e.other.Mkdir(e.ctx, e.root, "a", remote.Attr{}, "")
	e.ok(err)
	e.filled(e.other, now.ID)
}

// filled puts a file, a directory and, where there are some, a symlink into a directory.
func (e *env) filled(ep remote.Endpoint, dir remote.ItemID) {
	e.Helper()
	_, err := ep.Put(e.ctx, creation(dir, "f", "x"))
	e.ok(err)
	_, err = ep.Mkdir(e.ctx, dir, "d", remote.Attr{}, "")
	e.ok(err)
	if e.caps.Symlinks {
		_, err = ep.Mkdir(e.ctx, dir, "l", remote.Attr{Target: "to"}, "")
		e.ok(err)
	}
}

var anchorCases = []test{
	{"what is meant for a directory is done there or nowhere", func(c *remote.Caps) (string, bool) { return "Idents", c.Idents || c.StableID }, func(e *env) {
		a := e.mkdir(e.root, "a")
		e.filled(e.ep, a.ID)
		to := e.meant(a)
		e.putIn(to, "before", "ours")
		e.taken(a)
		if !e.caps.StableID {
			was := e.h.Direct.Tree(e.T)
			_, err := e.ep.Put(e.ctx, creation(to, "after", "ours"))
			e.is(err, remote.ErrPrecondition)
			if now := e.h.Direct.Tree(e.T); !maps.Equal(now, was) {
				e.Fatalf("storage holds %.300q, and held %.300q", now, was)
			}
			moved, err := e.ep.Lookup(e.ctx, e.root, "b")
			e.ok(err)
			to = e.meant(moved)
		}
		e.putIn(to, "after", "ours")
		kids, err := e.list(e.ep, e.lookup("b").ID)
		e.ok(err)
		if kids["before"].Kind != remote.File || kids["after"].Kind != remote.File {
			e.Fatalf("the directory holds %v", kids)
		}
	}},
	{"nothing is done in, or told of, a directory that took the place of another", anchors, func(e *env) {
		a := e.mkdir(e.root, "a")
		e.filled(e.ep, a.ID)
		g := e.put("g", "y")
		dir := e.meant(a)
		missing := e.meant(remote.Entry{ID: "p:none", Ident: a.Ident})
		e.taken(a)
		was := e.h.Direct.Tree(e.T)
		force := remote.Pre{Force: true}
		for _, dir := range []remote.ItemID{dir, missing} {
			for what, call := range map[string]func() error{
				"put":             func() error { _, err := e.ep.Put(e.ctx, creation(dir, "new", "ours")); return err },
				"mkdir":           func() error { _, err := e.ep.Mkdir(e.ctx, dir, "new", remote.Attr{}, ""); return err },
				"move in":         func() error { _, err := e.ep.Update(e.ctx, g.ID, remote.Patch{Parent: &dir}, force, ""); return err },
				"list":            func() error { _, _, err := e.ep.List(e.ctx, dir, ""); return err },
				"lookup":          func() error { _, err := e.ep.Lookup(e.ctx, dir, "f"); return err },
				"look up nothing": func() error { _, err := e.ep.Lookup(e.ctx, dir, "nothing"); return err },
				"stat":            func() error { _, err := e.ep.Stat(e.ctx, dir); return err },
				"rename":          func() error { _, err := e.ep.Update(e.ctx, dir, remote.Patch{Name: ptr("c")}, force, ""); return err },
				"remove":          func() error { return e.ep.Delete(e.ctx, dir, force, "") },
				"look at nothing": func() error { _, err := e.ep.Stat(e.ctx, e.inside(dir, "nothing")); return err },
				"look deeper":     func() error { _, err := e.ep.Stat(e.ctx, e.inside(e.inside(dir, "d"), "x")); return err },
				"replace": func() error {
					u := upload("ours")
					u.ID, u.Pre = e.inside(dir, "f"), force
					_, err := e.ep.Put(e.ctx, u)
					return err
				},
				"read": func() error { _, err := e.read(e.ep, e.inside(dir, "f"), "", 0, -1); return err },
				"verify": func() error {
					_, err := e.ep.Verify(e.ctx, e.inside(dir, "f"), remote.Hashes{remote.BLAKE3: blake("x")}, 1, remote.ProofSize)
					return err
				},
			} {
				if err := call(); err == nil {
					e.Errorf("%s of %q was done", what, dir)
				} else {
					e.is(err, remote.ErrPrecondition)
				}
			}
			for _, name := range []string{"f", "d", "l"} { // of which there may be just such ones
				id := e.inside(dir, name)
				for _, err := range []error{
					func() error { _, err := e.ep.Stat(e.ctx, id); return err }(),
					func() error { _, err := e.ep.Update(e.ctx, id, remote.Patch{Name: ptr("c")}, force, ""); return err }(),
					e.ep.Delete(e.ctx, id, force, ""),
				} {
					e.is(err, remote.ErrPrecondition)
				}
			}
		}
		if now := e.h.Direct.Tree(e.T); !maps.Equal(now, was) {
			e.Fatalf("storage holds %.300q, and held %.300q", now, was)
		}
	}},
	{"everything is done in a directory that is the one that was meant", anchors, func(e *env) {
		a, b := e.mkdir(e.root, "a"), e.mkdir(e.root, "b")
		in, to := e.meant(a), e.meant(b)
		f, err := e.ep.Put(e.ctx, creation(in, "f", "old"))
		e.ok(err)
		same(e, "id", f.ID, e.inside(a.ID, "f"))
		u := upload("new")
		u.ID, u.Pre = e.inside(in, "f"), remote.Pre{Content: f.Content}
		f, err = e.ep.Put(e.ctx, u)
		e.ok(err)
		_, err = e.ep.Mkdir(e.ctx, in, "d", remote.Attr{}, "")
		e.ok(err)
		e.holds(e.inside(in, "f"), "new")
		got, err := e.ep.Lookup(e.ctx, in, "f")
		e.ok(err)
		same(e, "tag", got.Tag, f.Tag)
		same(e, "tag of stat", e.stat(e.inside(in, "f")).Tag, f.Tag)
		same(e, "ident of stat", e.stat(in).Ident, a.Ident)
		entries, _, err := e.ep.List(e.ctx, in, "")
		e.ok(err)
		same(e, "children", len(entries), 2)
		_, err = e.ep.Stat(e.ctx, e.inside(in, "nothing"))
		e.is(err, remote.ErrNotFound)
		_, err = e.ep.Update(e.ctx, e.inside(in, "f"), remote.Patch{Parent: &to, Name: ptr("g")}, remote.Pre{Tag: f.Tag}, "")
		e.ok(err)
		e.ok(e.ep.Delete(e.ctx, e.inside(in, "d"), remote.Pre{Empty: true}, ""))
		e.tree("a/", "", "b/", "", "b/g", "new")
		_, err = e.ep.Update(e.ctx, to, remote.Patch{Parent: &in}, remote.Pre{Content: b.Content}, "")
		e.ok(err)
		e.tree("a/", "", "a/b/", "", "a/b/g", "new")
	}},
	{"a file whose directory is replaced while its body is read does not end up in the other one", anchors, func(e *env) {
		a := e.mkdir(e.root, "a")
		u := creation(e.meant(a), "new", pattern(3<<20, 1))
		u.Body = &body{data: pattern(3<<20, 1), half: func() error { e.taken(a); return nil }}
		_, err := e.ep.Put(e.ctx, u)
		tree := e.h.Direct.Tree(e.T)
		if _, wrong := tree["a/new"]; wrong {
			e.Fatal("it did")
		}
		if _, there := tree["b/new"]; err != nil || !there {
			e.is(err, remote.ErrPrecondition)
		}
	}},
}

func (e *env) lookup(name string) remote.Entry {
	e.Helper()
	got, err := e.ep.Lookup(e.ctx, e.root, name)
	e.ok(err)
	return got
}
