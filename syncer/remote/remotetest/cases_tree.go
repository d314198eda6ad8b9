package remotetest

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"vdfs/syncer/remote"
)

var directoryCases = []test{
	{"a directory needs a free name in a directory", nil, func(e *env) {
		e.mkdir(e.root, "d")
		f := e.put("f", "x")
		for _, name := range []string{"d", "f"} {
			_, err := e.ep.Mkdir(e.ctx, e.root, name, remote.Attr{}, "")
			e.is(err, remote.ErrExists)
		}
		_, err := e.ep.Mkdir(e.ctx, f.ID, "d", remote.Attr{}, "")
		e.is(err, remote.ErrKind)
		_, err = e.ep.Mkdir(e.ctx, "p:none", "d", remote.Attr{}, "")
		e.is(err, remote.ErrNotFound)
		e.tree("d/", "", "f", "x")
	}},
	{"of eight mkdirs of one name one wins", nil, func(e *env) {
		won, tree := e.race(func(ep remote.Endpoint, _ string) error {
			_, err := ep.Mkdir(e.ctx, e.root, "d", remote.Attr{}, "")
			return err
		}, remote.ErrExists)
		same(e, "winners", won, 1)
		same(e, "directories", len(tree), 1)
	}},
	{"an empty directory survives listing and opening again", need("EmptyDirs", func(c *remote.Caps) bool { return c.EmptyDirs }), func(e *env) {
		d := e.mkdir(e.root, "d")
		got, err := e.open(e.h.Open).Stat(e.ctx, d.ID)
		e.ok(err)
		same(e, "tag", got.Tag, d.Tag)
		same(e, "children", len(e.walk(e.ep)), 1)
	}},
	{"a symlink keeps its target and is not followed", need("Symlinks", func(c *remote.Caps) bool { return c.Symlinks }), func(e *env) {
		d := e.mkdir(e.root, "d")
		e.putIn(d.ID, "f", "x")
		for i, target := range []string{"d", "/etc/passwd", "../..", "dangling\xff"} {
			l, err := e.ep.Mkdir(e.ctx, e.root, fmt.Sprintf("l%d", i), remote.Attr{Target: target}, "")
			e.ok(err)
			same(e, "kind", l.Kind, remote.Symlink)
			same(e, "target", e.stat(l.ID).Target, target)
			_, err = e.read(e.ep, l.ID, "", 0, -1)
			e.is(err, remote.ErrKind)
			_, _, err = e.ep.List(e.ctx, l.ID, "")
			e.is(err, remote.ErrKind, remote.ErrNotFound)
			_, err = e.ep.Put(e.ctx, creation(l.ID, "g", "escaped"))
			e.is(err, remote.ErrKind, remote.ErrNotFound)
			_, err = e.ep.Lookup(e.ctx, l.ID, "f")
			e.is(err, remote.ErrKind, remote.ErrNotFound)
			if !e.caps.StableID {
				_, err = e.ep.Stat(e.ctx, l.ID+"/f")
				e.is(err, remote.ErrNotFound)
			}
		}
		_, err := e.ep.Mkdir(e.ctx, e.root, "l0", remote.Attr{Target: "x"}, "")
		e.is(err, remote.ErrExists)
		e.tree("d/", "", "d/f", "x", "l0", "-> d", "l1", "-> /etc/passwd", "l2", "-> ../..", "l3", "-> dangling\xff")
	}},
}

var updateCases = []test{
	{"a file is renamed, moved, both at once, and left where it is", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		f := e.put("f", "data")
		for _, c := range []struct {
			p    remote.Patch
			path string
		}{
			{remote.Patch{Name: ptr("g")}, "g"},
			{remote.Patch{Parent: ptr(d.ID)}, "d/g"},
			{remote.Patch{Parent: ptr(e.root), Name: ptr("h")}, "h"},
			{remote.Patch{}, "h"},
			{remote.Patch{Name: ptr("h")}, "h"},
			{remote.Patch{Name: ptr("H")}, "H"},
		} {
			was := f
			var err error
			f, err = e.ep.Update(e.ctx, f.ID, c.p, remote.Pre{Tag: f.Tag}, "")
			e.ok(err)
			same(e, "content", f.Content, was.Content)
			if e.caps.StableID {
				same(e, "id", f.ID, was.ID)
			}
			same(e, "tag of stat", e.stat(f.ID).Tag, f.Tag)
			e.tree("d/", "", c.path, "data")
		}
	}},
	{"an update onto a taken name leaves both", nil, func(e *env) {
		f := e.put("f", "1")
		e.put("g", "2")
		d := e.mkdir(e.root, "d")
		e.mkdir(e.root, "empty")
		for _, it := range []remote.Entry{f, d} {
			for _, name := range []string{"g", "empty"} {
				_, err := e.ep.Update(e.ctx, it.ID, remote.Patch{Name: ptr(name)}, remote.Pre{Tag: it.Tag}, "")
				e.is(err, remote.ErrExists)
			}
		}
		e.tree("f", "1", "g", "2", "d/", "", "empty/", "")
	}},
	{"a directory moves with all that is in it", need("DirMove", func(c *remote.Caps) bool { return c.DirMove == remote.Atomic }), func(e *env) {
		a, b := e.mkdir(e.root, "a"), e.mkdir(e.root, "b")
		e.fill(a.ID, 1000)
		before, err := e.list(e.ep, a.ID)
		e.ok(err)
		a = e.stat(a.ID)
		moved, err := e.ep.Update(e.ctx, a.ID, remote.Patch{Parent: ptr(b.ID), Name: ptr("c")}, remote.Pre{Content: a.Content}, "")
		e.ok(err)
		after, err := e.list(e.ep, moved.ID)
		e.ok(err)
		same(e, "children", len(after), 1000)
		for name, was := range before {
			same(e, "content of "+name, after[name].Content, was.Content)
			if e.caps.StableID {
				same(e, "id of "+name, after[name].ID, was.ID)
			}
			same(e, "ident of "+name, after[name].Ident, was.Ident)
		}
		_, err = e.ep.Lookup(e.ctx, e.root, "a")
		e.is(err, remote.ErrNotFound)
	}},
	{"a directory does not move into itself", nil, func(e *env) {
		a := e.mkdir(e.root, "a")
		b := e.mkdir(a.ID, "b")
		for _, to := range []remote.ItemID{a.ID, b.ID} {
			if _, err := e.ep.Update(e.ctx, a.ID, remote.Patch{Parent: ptr(to), Name: ptr("c")}, remote.Pre{Content: a.Content}, ""); err == nil {
				e.Fatal("it did")
			}
		}
		e.tree("a/", "", "a/b/", "")
	}},
	{"an update that expects another state does nothing", nil, func(e *env) {
		f := e.put("f", "old")
		_, err := e.other.Put(e.ctx, replacement(f, "new"))
		e.ok(err)
		for _, pre := range []remote.Pre{{Tag: f.Tag}, {Content: f.Content}} {
			_, err = e.ep.Update(e.ctx, f.ID, remote.Patch{Name: ptr("g")}, pre, "")
			e.is(err, remote.ErrPrecondition)
		}
		e.tree("f", "new")
	}},
	{"an update of an item moved by someone else does nothing", nil, func(e *env) {
		f := e.put("f", "data")
		_, err := e.other.Update(e.ctx, f.ID, remote.Patch{Name: ptr("theirs")}, remote.Pre{Tag: f.Tag}, "")
		e.ok(err)
		_, err = e.ep.Update(e.ctx, f.ID, remote.Patch{Name: ptr("ours")}, remote.Pre{Tag: f.Tag}, "")
		e.is(err, remote.ErrPrecondition, remote.ErrNotFound)
		e.tree("theirs", "data")
	}},
	{"two files swap their names through a third", nil, func(e *env) {
		a, b := e.put("a", "1"), e.put("b", "2")
		step := func(it remote.Entry, name string) remote.Entry {
			got, err := e.ep.Update(e.ctx, it.ID, remote.Patch{Name: &name}, remote.Pre{Tag: it.Tag}, "")
			e.ok(err)
			return got
		}
		a = step(a, "t")
		step(b, "a")
		step(a, "b")
		e.tree("a", "2", "b", "1")
	}},
	{"of eight moves to one name one wins", nil, func(e *env) {
		var files []remote.Entry
		for i := range 8 {
			files = append(files, e.put(fmt.Sprintf("from%d", i), "x"))
		}
		next := make(chan remote.Entry, 8)
		for _, f := range files {
			next <- f
		}
		won, tree := e.race(func(ep remote.Endpoint, _ string) error {
			f := <-next
			_, err := ep.Update(e.ctx, f.ID, remote.Patch{Name: ptr("to")}, remote.Pre{Tag: f.Tag}, "")
			return err
		}, remote.ErrExists)
		same(e, "winners", won, 1)
		same(e, "files", len(tree), 8)
	}},
	{"an mtime is set alone", need("MtimeGrain", func(c *remote.Caps) bool { return c.MtimeGrain > 0 }), func(e *env) {
		f := e.put("f", "data")
		at := time.Date(2010, 1, 2, 3, 4, 5, 987654321, time.UTC)
		g, err := e.ep.Update(e.ctx, f.ID, remote.Patch{Mtime: &at}, remote.Pre{Tag: f.Tag}, "")
		e.ok(err)
		if g.Tag == f.Tag {
			e.Fatal("the tag stayed")
		}
		same(e, "mtime", g.Mtime.Truncate(e.caps.MtimeGrain).UTC(), at.Truncate(e.caps.MtimeGrain))
		e.holds(f.ID, "data")
	}},
	{"permissions are set alone", need("Perm", func(c *remote.Caps) bool { return c.Perm != remote.PermNone }), func(e *env) {
		f, d := e.put("f", "data"), e.mkdir(e.root, "d")
		for _, it := range []remote.Entry{f, d} {
			g, err := e.ep.Update(e.ctx, it.ID, remote.Patch{Mode: ptr(uint32(0o700))}, remote.Pre{Tag: it.Tag}, "")
			e.ok(err)
			same(e, "mode", g.Mode, e.caps.Perm.Keep(0o700))
			same(e, "mode of stat", e.stat(it.ID).Mode, g.Mode)
		}
	}},
}

var deleteCases = []test{
	{"a delete needs the right expectation", nil, func(e *env) {
		f := e.put("f", "old")
		now, err := e.other.Put(e.ctx, replacement(f, "new"))
		e.ok(err)
		for _, pre := range []remote.Pre{{Tag: f.Tag}, {Content: f.Content}} {
			e.is(e.ep.Delete(e.ctx, f.ID, pre, ""), remote.ErrPrecondition)
		}
		e.tree("f", "new")
		e.ok(e.ep.Delete(e.ctx, now.ID, remote.Pre{Tag: now.Tag}, ""))
		e.is(e.ep.Delete(e.ctx, now.ID, remote.Pre{Tag: now.Tag}, ""), remote.ErrNotFound)
		e.tree()
		e.kept(e.caps.Trash, "new")
	}},
	{"a directory that is not empty is not deleted", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		e.putIn(d.ID, "f", "x")
		for _, pre := range []remote.Pre{{Empty: true}, {Tag: e.stat(d.ID).Tag}, {Force: true}} {
			e.is(e.ep.Delete(e.ctx, d.ID, pre, ""), remote.ErrNotEmpty)
		}
		e.tree("d/", "", "d/f", "x")
	}},
	{"a child made between listing and delete survives", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		kids, err := e.list(e.ep, d.ID)
		e.ok(err)
		same(e, "children", len(kids), 0)
		_, err = e.other.Put(e.ctx, creation(d.ID, "f", "theirs"))
		e.ok(err)
		e.is(e.ep.Delete(e.ctx, d.ID, remote.Pre{Empty: true}, ""), remote.ErrNotEmpty)
		e.tree("d/", "", "d/f", "theirs")
	}},
	{"an empty directory and a symlink are deleted", nil, func(e *env) {
		d := e.mkdir(e.root, "d")
		e.ok(e.ep.Delete(e.ctx, d.ID, remote.Pre{Content: d.Content, Empty: true}, ""))
		if e.caps.Symlinks {
			l, err := e.ep.Mkdir(e.ctx, e.root, "l", remote.Attr{Target: "t"}, "")
			e.ok(err)
			e.ok(e.ep.Delete(e.ctx, l.ID, remote.Pre{Content: l.Content}, ""))
		}
		e.tree()
	}},
	{"a name used again is another item", nil, func(e *env) {
		f := e.put("f", "old")
		e.ok(e.ep.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, ""))
		g := e.put("f", "old")
		if e.caps.StableID {
			_, err := e.ep.Stat(e.ctx, f.ID)
			e.is(err, remote.ErrNotFound)
		}
		if g.Tag == f.Tag || g.Content == f.Content {
			e.Fatalf("the new file has the old one's tokens: %v", g)
		}
		e.is(e.ep.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, ""), remote.ErrNotFound, remote.ErrPrecondition)
		e.tree("f", "old")
	}},
	{"of eight deletes one wins", nil, func(e *env) {
		f := e.put("f", "old")
		won, tree := e.race(func(ep remote.Endpoint, _ string) error {
			err := ep.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, "")
			return err
		}, remote.ErrNotFound, remote.ErrPrecondition)
		same(e, "files", len(tree), 0)
		if won == 0 {
			e.Fatal("nobody deleted it")
		}
	}},
	{"the root is neither deleted nor moved", nil, func(e *env) {
		if err := e.ep.Delete(e.ctx, e.root, remote.Pre{Force: true}, ""); err == nil {
			e.Fatal("deleted")
		}
		if _, err := e.ep.Update(e.ctx, e.root, remote.Patch{Name: ptr("x")}, remote.Pre{Force: true}, ""); err == nil {
			e.Fatal("renamed")
		}
		e.tree()
	}},
}

var trashCases = []test{
	{"what was deleted and replaced is listed by its path, and read", need("ListTrash", func(c *remote.Caps) bool { return c.ListTrash }), func(e *env) {
		d := e.mkdir(e.root, "d")
		f := e.putIn(d.ID, "f", "first")
		began := f.Mtime.Add(-time.Second) // of the clock that the storage has
		f, err := e.ep.Put(e.ctx, replacement(f, "second"))
		e.ok(err)
		e.ok(e.ep.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, ""))
		e.ok(e.ep.Delete(e.ctx, e.putIn(d.ID, "g", "beside it").ID, remote.Pre{Force: true}, ""))
		e.ok(e.ep.Delete(e.ctx, d.ID, remote.Pre{Force: true}, ""))
		e.ok(e.ep.Delete(e.ctx, e.put("d", "has the name of its directory").ID, remote.Pre{Force: true}, ""))
		e.put("top", "stays")
		want := map[string]string{}
		if e.caps.Versions {
			want["d/f replaced"] = "first"
		}
		if e.caps.Trash {
			want["d/f deleted"] = "second"
		}
		e.trash("d/f", began, want)
		if e.caps.Trash {
			want["d/g deleted"] = "beside it"
			want["d deleted"] = "has the name of its directory"
		}
		e.trash("d", began, want)
		e.trash("", began, want)
		e.trash("top", began, nil)
		e.trash("d/f/x", began, nil)
		e.trash("nothing", began, nil)
		e.tree("top", "stays")
	}},
	{"a symlink in the trash has its target", need("ListTrash and Symlinks", func(c *remote.Caps) bool { return c.ListTrash && c.Trash && c.Symlinks }), func(e *env) {
		l, err := e.ep.Mkdir(e.ctx, e.root, "l", remote.Attr{Target: "a/b"}, "")
		e.ok(err)
		e.ok(e.ep.Delete(e.ctx, l.ID, remote.Pre{Tag: l.Tag}, ""))
		items, _, err := e.ep.Trash(e.ctx, "l", "")
		e.ok(err)
		if len(items) != 1 || items[0].Kind != remote.Symlink || items[0].Target != "a/b" || items[0].Path != "l" || !items[0].Deleted {
			e.Fatalf("the trash has %+v", items)
		}
	}},
	{"what is purged is gone from the trash, and nothing else is", need("ListTrash", func(c *remote.Caps) bool { return c.ListTrash && c.Trash }), func(e *env) {
		d := e.mkdir(e.root, "d")
		f := e.putIn(d.ID, "f", "first")
		began := f.Mtime.Add(-time.Second)
		drop := func(name, data string) {
			f := e.putIn(d.ID, name, data)
			e.ok(e.ep.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, ""))
		}
		drop("g", "deleted")
		drop("h", "stays in the trash")
		ids := func(under string) (out []remote.ItemID) {
			items, _, err := e.ep.Trash(e.ctx, under, "")
			e.ok(err)
			for _, it := range items {
				out = append(out, it.ID)
			}
			return out
		}
		gone := ids("d/g")
		same(e, "versions of d/g", len(gone), 1)
		e.ok(e.ep.Purge(e.ctx, gone))
		e.trash("", began, map[string]string{"d/h deleted": "stays in the trash"})
		e.ok(e.ep.Purge(e.ctx, gone))
		e.ok(e.ep.Purge(e.ctx, nil))
		e.is(e.ep.Purge(e.ctx, []remote.ItemID{f.ID}), remote.ErrNotFound)
		for _, id := range []remote.ItemID{"t:../d/f", "t:d", ""} {
			if err := e.ep.Purge(e.ctx, []remote.ItemID{id}); err != nil {
				e.is(err, remote.ErrNotFound)
			}
		}
		e.tree("d/", "", "d/f", "first")
		same(e, "versions kept", len(e.h.Direct.Kept(e.T)), 1)
		e.ok(e.ep.Purge(e.ctx, ids("")))
		e.trash("", began, nil)
		drop("g", "deleted again")
		e.trash("d", began, map[string]string{"d/g deleted": "deleted again"})
		e.tree("d/", "", "d/f", "first")
	}},
	{"the trash takes what is deleted while it is purged", need("ListTrash", func(c *remote.Caps) bool { return c.ListTrash && c.Trash }), func(e *env) {
		d := e.mkdir(e.root, "d")
		const files = 40
		went := make(chan error, files)
		go func() {
			for i := range files {
				f, err := e.other.Put(e.ctx, creation(d.ID, "f", fmt.Sprint(i)))
				if err == nil {
					err = e.other.Delete(e.ctx, f.ID, remote.Pre{Tag: f.Tag}, "")
				}
				went <- err
			}
		}()
		purged := 0
		for range files {
			e.ok(<-went)
			items, _, err := e.ep.Trash(e.ctx, "", "")
			e.ok(err)
			for _, it := range items {
				e.ok(e.ep.Purge(e.ctx, []remote.ItemID{it.ID}))
				purged++
			}
		}
		same(e, "purged", purged, files)
		e.tree("d/", "")
	}},
	{"what is in the trash is not in the tree", need("ListTrash", func(c *remote.Caps) bool { return c.ListTrash && c.Trash }), func(e *env) {
		e.ok(e.ep.Delete(e.ctx, e.put("f", "old").ID, remote.Pre{Force: true}, ""))
		items, _, err := e.ep.Trash(e.ctx, "f", "")
		e.ok(err)
		same(e, "versions", len(items), 1)
		_, err = e.ep.Put(e.ctx, &remote.Upload{ID: items[0].ID, Pre: remote.Pre{Force: true}, Body: strings.NewReader("")})
		e.is(err, remote.ErrNotFound, remote.ErrPrecondition)
		e.is(e.ep.Delete(e.ctx, items[0].ID, remote.Pre{Force: true}, ""), remote.ErrNotFound)
		_, err = e.read(e.ep, "t:/../../f", "", 0, -1)
		e.is(err, remote.ErrNotFound)
		e.tree()
	}},
}

// trash checks what is listed at or below a path, by path and what became of it, with the bytes.
func (e *env) trash(under string, began time.Time, want map[string]string) {
	e.Helper()
	got := map[string]string{}
	for page := ""; ; {
		items, next, err := e.ep.Trash(e.ctx, under, page)
		e.ok(err)
		for _, it := range items {
			what := it.Path + " replaced"
			if it.Deleted {
				what = it.Path + " deleted"
			}
			data, err := e.read(e.ep, it.ID, "", 0, -1)
			e.ok(err)
			if it.Kind != remote.File || it.Size != int64(len(data)) || !strings.HasSuffix("/"+it.Path, "/"+it.Name) || it.When.Before(began) {
				e.Fatalf("%s, listed as %+v, has %q", what, it, data)
			}
			got[what] = data
		}
		if page = next; page == "" {
			break
		}
	}
	if !maps.Equal(got, want) {
		e.Fatalf("at or below %q the trash has %q, want %q", under, got, want)
	}
}
