package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// free drops the bytes of a file that an endpoint has.
func (r *rig) free(p string) {
	r.t.Helper()
	n := r.find(p).Node
	_, err := r.c.Drop(n.Ino, n.Version)
	r.must(err)
}

func (r *rig) link(p, name string) {
	r.t.Helper()
	_, err := r.c.Link(r.find(p).Ino, r.parent(name), path.Base(name))
	r.must(err)
}

func (r *rig) exchange(a, b string) {
	r.t.Helper()
	r.must(r.c.Rename(r.parent(a), path.Base(a), r.parent(b), path.Base(b), cache.RenameExchange))
}

// TestTheBytesOfAFreedFileOutliveTheNameTheEndpointKnows is invariant I13: whatever becomes of the name under which an
// endpoint has the last copy, the file's other names can still be read.
func TestTheBytesOfAFreedFileOutliveTheNameTheEndpointKnows(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *rig)
		want map[string]string // what both sides have
		kept string            // a name that is never sent and has the bytes; "": none
	}{
		{"linked and removed", func(r *rig) { r.link("a", "b"); r.remove("a") }, map[string]string{"d/": "", "b": "old"}, ""},
		{"linked into a directory and removed", func(r *rig) { r.link("a", "d/b"); r.remove("a") }, map[string]string{"d/": "", "d/b": "old"}, ""},
		{"linked twice and removed twice", func(r *rig) { r.link("a", "b"); r.link("a", "c"); r.remove("a"); r.remove("b") }, map[string]string{"d/": "", "c": "old"}, ""},
		{"linked and removed, two names left", func(r *rig) { r.link("a", "b"); r.link("a", "c"); r.remove("a") }, map[string]string{"d/": "", "b": "old", "c": "old"}, ""},
		{"linked and replaced", func(r *rig) { r.link("a", "b"); r.write("n", "new"); r.move("n", "a") }, map[string]string{"d/": "", "a": "new", "b": "old"}, ""},
		{"linked, removed and made again", func(r *rig) { r.link("a", "b"); r.remove("a"); r.write("a", "new") }, map[string]string{"d/": "", "a": "new", "b": "old"}, ""},
		{"linked, removed and the link renamed", func(r *rig) { r.link("a", "b"); r.remove("a"); r.move("b", "a") }, map[string]string{"d/": "", "a": "old"}, ""},
		{"linked to a name that stays here and removed", func(r *rig) { r.link("a", "b~"); r.remove("a") }, map[string]string{"d/": ""}, "b~"},
		{"linked to a name that stays here and replaced", func(r *rig) { r.link("a", "b~"); r.write("n", "new"); r.move("n", "a") }, map[string]string{"d/": "", "a": "new"}, "b~"},
		{"renamed to a name that stays here", func(r *rig) { r.move("a", "a~") }, map[string]string{"d/": ""}, "a~"},
		{"renamed to a name that stays here and made again", func(r *rig) { r.move("a", "a~"); r.write("a", "new") }, map[string]string{"d/": "", "a": "new"}, "a~"},
	} {
		for _, fl := range flavours() {
			t.Run(c.name+" "+fl.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, memory.New(fl.opts()))
				r.settle()
				r.mkdir("d")
				r.write("a", "old")
				r.settle()
				r.free("a")
				c.do(r)
				r.settle()
				wantTree(t, r.agree(), c.want)
				if c.kept != "" {
					if got := r.read(c.kept); got != "old" {
						t.Fatalf("%s has %q", c.kept, got)
					}
				}
			})
		}
	}
}

// TestANameSentBeforeInheritsTheNewestVersion has a second name of which the endpoint knows an older version: when the
// one with the present version goes, its object is the only one that can still give the bytes.
func TestANameSentBeforeInheritsTheNewestVersion(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			r.settle()
			r.write("a", "old")
			r.link("a", "b")
			r.settle()
			r.write("a", "newer")
			var second cache.BindingID
			named := r.find("b").ID
			r.must(r.c.View(func(tx *cache.Tx) error {
				b, _, err := tx.BindingOfDentry(r.legs()[0].id, named)
				second = b.ID
				return err
			}))
			r.holdBack(second)
			for _, l := range r.legs() {
				r.must(r.cycle(l))
			}
			r.free("a")
			r.remove("a")
			r.unpark()
			r.settle()
			wantTree(t, r.agree(), map[string]string{"b": "newer"})
		})
	}
}

// holdBack parks the item of a binding until unpark.
func (r *rig) holdBack(id cache.BindingID) {
	r.t.Helper()
	r.must(r.c.Update(0, func(tx *cache.Tx) error {
		items, err := tx.ListItems(cache.ItemFilter{})
		for _, it := range items {
			if err == nil && it.Binding == id {
				it.Status, it.Parked = cache.ItemError, true
				_, err = tx.UpdateItem(&it)
			}
		}
		return err
	}))
}

// TestAPlaceholderIsReadWhileItsMoveIsOnItsWay reads a freed file after the endpoint has moved or changed it, or moved a
// directory above it, and before that is known here.
func TestAPlaceholderIsReadWhileItsMoveIsOnItsWay(t *testing.T) {
	touched := func(r *rig) {
		mtime := int64(1e18)
		_, err := r.c.SetAttr(r.find("d/a").Ino, cache.Attrs{Mtime: &mtime})
		r.must(err)
	}
	for _, c := range []struct {
		name   string
		change func(r *rig)
		file   string
	}{
		{"a file", func(r *rig) { r.move("d/a", "d/b") }, "d/b"},
		{"a file to another directory", func(r *rig) { r.move("d/a", "a") }, "a"},
		{"a directory", func(r *rig) { r.move("d", "e") }, "e/a"},
		{"a file's time", touched, "d/a"},
		{"a file with another time", func(r *rig) { touched(r); r.move("d/a", "d/b") }, "d/b"},
	} {
		for _, fl := range flavours() {
			t.Run(c.name+" "+fl.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, memory.New(fl.opts()))
				r.settle()
				r.mkdir("d")
				r.write("d/a", "bytes")
				r.settle()
				r.free("d/a")
				c.change(r)
				n := r.find(c.file).Node

				tried, got := make(chan struct{}), make(chan error, 1)
				var once sync.Once
				r.script.Add(faulty.Rule{Method: faulty.Read, Then: func() { once.Do(func() { close(tried) }) }})
				r.script.Add(faulty.Rule{Method: faulty.Update, Nth: 1, Then: func() {
					go func() { got <- r.fetched(n, "bytes") }()
					<-tried // before the reply to the move
				}})
				r.settle()
				r.must(<-got)
				wantTree(t, r.agree(), r.tree())
			})
		}
	}
}

// fetched reads a version from its endpoints and says what is wrong with it.
func (r *rig) fetched(n cache.Node, want string) error {
	body, _, err := r.e.Fetch(context.Background(), n.Ino, n.Version, 0, -1, nil)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(body)
	if err == nil && string(got) != want {
		err = fmt.Errorf("fetched %q, want %q", got, want)
	}
	return errors.Join(err, body.Close())
}
