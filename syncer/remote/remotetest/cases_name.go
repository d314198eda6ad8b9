package remotetest

import (
	"errors"
	"strings"

	"vdfs/syncer/remote"
)

var names = []string{
	strings.Repeat("n", 255), strings.Repeat("€", 85), " lead", "trail ", ".lead", "trail.", "CON", `a:b*?"<>|\`, "new\nline",
	"%41", "cafe\u0301", "caf\u00e9", "\u00c9", ".lock", "~$x", "telecom2024.pdf", "\U0001f600", "-rf", "a..b", "...", "\xff\xfe\x80", "\x01\x7f",
}

var nameCases = []test{
	{"a name comes back as it was given or is refused", nil, func(e *env) {
		want := map[string]bool{}
		for _, name := range names {
			f, err := e.ep.Put(e.ctx, creation(e.root, name, name))
			if e.caps.Names.Fold != remote.FoldNone && errors.Is(err, remote.ErrExists) || errors.Is(err, remote.ErrName) {
				continue
			}
			e.ok(err)
			same(e, "name", f.Name, name)
			got, err := e.ep.Lookup(e.ctx, e.root, name)
			e.ok(err)
			same(e, "name", got.Name, name)
			e.holds(got.ID, name)
			want[name] = true
		}
		kids, err := e.list(e.ep, e.root)
		e.ok(err)
		same(e, "names", len(kids), len(want))
		for name := range want {
			if _, ok := kids[name]; !ok {
				e.Fatalf("%q is not listed", name)
			}
		}
	}},
	{"names that no storage can hold are refused", nil, func(e *env) {
		f := e.put("f", "x")
		bad := []string{"", ".", "..", "a/b", "/", "../x", "a\x00b", strings.Repeat("n", 256)}
		for _, name := range bad {
			if name == bad[len(bad)-1] && e.caps.Names.MaxBytes == 0 {
				continue
			}
			_, err := e.ep.Put(e.ctx, creation(e.root, name, "x"))
			e.is(err, remote.ErrName)
			_, err = e.ep.Mkdir(e.ctx, e.root, name, remote.Attr{}, "")
			e.is(err, remote.ErrName)
			_, err = e.ep.Update(e.ctx, f.ID, remote.Patch{Name: &name}, remote.Pre{Tag: f.Tag}, "")
			e.is(err, remote.ErrName)
			_, err = e.ep.Lookup(e.ctx, e.root, name)
			e.is(err, remote.ErrNotFound)
		}
		e.tree("f", "x")
	}},
	{"a parking name is given, seen and taken back, in the root and below", nil, func(e *env) {
		for _, dir := range []remote.ItemID{e.root, e.mkdir(e.root, "d").ID} {
			f, err := e.ep.Put(e.ctx, creation(dir, "f", "x"))
			e.ok(err)
			parked := remote.ParkPrefix + "0123456789-1"
			f, err = e.ep.Update(e.ctx, f.ID, remote.Patch{Name: &parked}, remote.Pre{Tag: f.Tag}, "")
			e.ok(err)
			kids, err := e.list(e.ep, dir)
			e.ok(err)
			if _, ok := kids[parked]; !ok {
				e.Fatalf("%q is not listed", parked)
			}
			got, err := e.ep.Lookup(e.ctx, dir, parked)
			e.ok(err)
			e.holds(got.ID, "x")
			_, err = e.ep.Update(e.ctx, f.ID, remote.Patch{Name: ptr("g")}, remote.Pre{Tag: f.Tag}, "")
			e.ok(err)
		}
		e.tree("g", "x", "d/", "", "d/g", "x")
	}},
	{"ids that lead out of the root are not found", need("StableID (off)", func(c *remote.Caps) bool { return !c.StableID }), func(e *env) {
		e.mkdir(e.root, "d")
		for _, id := range []remote.ItemID{"p:..", "p:../x", "p:d/..", "p:/etc", "p:d//x", "p:./d", "p:d/", "d", ""} {
			_, err := e.ep.Stat(e.ctx, id)
			e.is(err, remote.ErrNotFound)
			_, err = e.ep.Put(e.ctx, creation(id, "f", "x"))
			e.is(err, remote.ErrNotFound)
		}
		e.tree("d/", "")
	}},
	{"two names that fold to one are one", need("Names.Fold", func(c *remote.Caps) bool { return c.Names.Fold != remote.FoldNone }), func(e *env) {
		f := e.put("Readme", "1")
		_, err := e.ep.Put(e.ctx, creation(e.root, "README", "2"))
		e.is(err, remote.ErrExists)
		got, err := e.ep.Lookup(e.ctx, e.root, "readme")
		e.ok(err)
		same(e, "id", got.ID, f.ID)
		same(e, "name", got.Name, "Readme")
		_, err = e.ep.Update(e.ctx, f.ID, remote.Patch{Name: ptr("README")}, remote.Pre{Tag: f.Tag}, "")
		e.ok(err)
		e.tree("README", "1")
	}},
}
