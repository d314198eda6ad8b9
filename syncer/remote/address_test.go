package remote_test

import (
	"testing"

	"vdfs/syncer/remote"
)

func TestAnAddressIsWhatItsIDSays(t *testing.T) {
	t.Parallel()
	for id, want := range map[remote.ItemID]remote.Address{
		"p:":                  {},
		"p:a":                 {Path: "a"},
		"p:a/b/c":             {Path: "a/b/c"},
		"p:a\x00i":            {Path: "a", Dir: "a", Ident: "i"},
		"p:a/b\x00i/j":        {Path: "a/b", Dir: "a/b", Ident: "i/j"},
		"p:a/b\x00i\x00c":     {Path: "a/b/c", Dir: "a/b", Ident: "i"},
		"p:a\x00i\x00b/c\xff": {Path: "a/b/c\xff", Dir: "a", Ident: "i"},
	} {
		got, ok := remote.ParseAddress(id)
		if !ok || got != want {
			t.Errorf("%q is %+v, %v; want %+v", id, got, ok, want)
		}
		if back := got.ID(); back != id {
			t.Errorf("%q comes back as %q", id, back)
		}
	}
	for _, id := range []remote.ItemID{"", "a", "i7", "p:\x00i", "p:a\x00", "p:a\x00\x00b", "p:a\x00i\x00", "p:a\x00i\x00b\x00c"} {
		if a, ok := remote.ParseAddress(id); ok {
			t.Errorf("%q is taken for %+v", id, a)
		}
	}
}

func TestTheDirectoryAroundAnItemKeepsTheAnchor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of, parent remote.ItemID
		name       string
	}{
		{"p:", "p:", ""},
		{"p:a", "p:", "a"},
		{"p:a/b", "p:a", "b"},
		{"p:a\x00i\x00b", "p:a\x00i", "b"},
		{"p:a\x00i\x00b/c", "p:a\x00i\x00b", "c"},
		{"p:a/b\x00i", "p:a", "b"},
	} {
		a, ok := remote.ParseAddress(c.of)
		if !ok {
			t.Fatalf("%q is no address", c.of)
		}
		parent, name := a.Split()
		if parent.ID() != c.parent || name != c.name {
			t.Errorf("%q is %q in %q, want %q in %q", c.of, name, parent.ID(), c.name, c.parent)
		}
		if back := parent.Child(name); name != "" && !a.Itself() && back != a {
			t.Errorf("%q in %q is %+v, want %+v", name, parent.ID(), back, a)
		}
	}
}
