package plan_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"vdfs/syncer/plan"
)

// item is a name with its object, in a drive or at an endpoint. Objects have
// one name here; hard links are the cache's matter.
type item struct {
	id, parent int64
	name       string
	kind       plan.Kind
	// version counts the contents the item has had, from 1; it is the node
	// version of a drive and the content token of an endpoint.
	version int64
	bytes   string // a file's content or a symlink's target
	mode    uint32
	mtime   int64
	// known says that the hash of the bytes is known.
	known       bool
	placeholder bool
	unlisted    bool
	busy        bool
	parkedBy    *leg
}

// tree is one replica. Items are kept in the order of their ids.
type tree struct {
	name  string
	items []*item
	last  int64
	clock int64
}

const rootID = 1

func newTree(name string) *tree {
	t := &tree{name: name, last: rootID}
	t.items = []*item{{id: rootID, kind: plan.Dir, mode: 0o755}}
	return t
}

func (t *tree) get(id int64) *item {
	i, ok := slices.BinarySearchFunc(t.items, id, func(x *item, id int64) int { return cmp.Compare(x.id, id) })
	if !ok {
		return nil
	}
	return t.items[i]
}

func (t *tree) at(parent int64, name string) *item {
	for _, x := range t.items {
		if x.parent == parent && x.name == name {
			return x
		}
	}
	return nil
}

func (t *tree) children(id int64) []*item {
	var out []*item
	for _, x := range t.items {
		if x.parent == id {
			out = append(out, x)
		}
	}
	return out
}

func (t *tree) stamp() int64 {
	t.clock++
	return t.clock
}

// add puts a copy of proto under a new id; the name must be free.
func (t *tree) add(parent int64, name string, proto item) (*item, error) {
	if err := t.free(parent, name); err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	t.last++
	proto.id, proto.parent, proto.name, proto.parkedBy = t.last, parent, name, nil
	proto.version = 1
	t.items = append(t.items, &proto)
	return &proto, nil
}

func (t *tree) free(parent int64, name string) error {
	p := t.get(parent)
	switch {
	case p == nil:
		return fmt.Errorf("%s: no directory %d for %q", t.name, parent, name)
	case p.kind != plan.Dir:
		return fmt.Errorf("%s: %d is no directory", t.name, parent)
	case t.at(parent, name) != nil:
		return fmt.Errorf("%s: %q exists in %d", t.name, name, parent)
	}
	return nil
}

// move renames; like the rename of a file system it refuses to make a circle.
func (t *tree) move(id, parent int64, name string) error {
	x := t.get(id)
	if x == nil {
		return fmt.Errorf("%s: move: no item %d", t.name, id)
	}
	if x.parent == parent && x.name == name {
		return nil
	}
	if err := t.free(parent, name); err != nil {
		return fmt.Errorf("move: %w", err)
	}
	if t.within(parent, id) {
		return fmt.Errorf("%s: move of %d into itself", t.name, id)
	}
	x.parent, x.name, x.parkedBy = parent, name, nil
	return nil
}

// within reports whether id is dir or below it.
func (t *tree) within(id, dir int64) bool {
	for x := t.get(id); x != nil; x = t.get(x.parent) {
		if x.id == dir {
			return true
		}
	}
	return false
}

func (t *tree) remove(id int64) error {
	if t.get(id) == nil {
		return fmt.Errorf("%s: remove: no item %d", t.name, id)
	}
	if len(t.children(id)) > 0 {
		return fmt.Errorf("%s: remove: %d is not empty", t.name, id)
	}
	t.items = slices.DeleteFunc(t.items, func(x *item) bool { return x.id == id })
	return nil
}

// localOnly is what a drive never sends, by name, and all below it.
func (t *tree) localOnly(x *item) bool {
	for ; x != nil && x.id != rootID; x = t.get(x.parent) {
		if strings.HasSuffix(x.name, "~") {
			return true
		}
	}
	return false
}

func (t *tree) path(x *item) string {
	if x.id == rootID {
		return "."
	}
	p := t.get(x.parent)
	if p == nil {
		return "?/" + x.name
	}
	return t.path(p) + "/" + x.name
}

func (t *tree) depth(x *item) int { return strings.Count(t.path(x), "/") }

// listing maps every path that is synced to what must be equal on all
// replicas.
func (t *tree) listing() map[string]string {
	out := map[string]string{}
	for _, x := range t.items {
		if x.id == rootID || t.localOnly(x) {
			continue
		}
		switch x.kind {
		case plan.Dir:
			out[t.path(x)] = fmt.Sprintf("dir %o", x.mode)
		case plan.Symlink:
			out[t.path(x)] = "-> " + x.bytes
		default:
			out[t.path(x)] = fmt.Sprintf("%s %o %d", x.bytes, x.mode, x.mtime)
		}
	}
	return out
}

// tokens are the contents in the tree.
func (t *tree) tokens(withLocalOnly bool) map[string]bool {
	out := map[string]bool{}
	for _, x := range t.items {
		if x.kind != plan.Dir && (withLocalOnly || !t.localOnly(x)) {
			out[x.bytes] = true
		}
	}
	return out
}

// wellFormed checks that every item hangs below the root and that names are
// unique.
func (t *tree) wellFormed() error {
	names := map[string]bool{}
	for _, x := range t.items {
		at, steps := x, 0
		for at != nil && at.id != rootID && steps <= len(t.items) {
			at, steps = t.get(at.parent), steps+1
		}
		if at == nil || at.id != rootID {
			return fmt.Errorf("%s: %q does not hang below the root", t.name, x.name)
		}
		key := fmt.Sprint(x.parent, "/", x.name)
		if names[key] {
			return fmt.Errorf("%s: %q twice in %d", t.name, x.name, x.parent)
		}
		names[key] = true
	}
	return nil
}

func (t *tree) parked() []string {
	var out []string
	for _, x := range t.items {
		if x.parkedBy != nil {
			out = append(out, t.path(x))
		}
	}
	return out
}
