package plan_test

import (
	"fmt"

	"pgregory.net/rapid"

	"vdfs/syncer/plan"
)

// hand acts on replicas as people and programs do, and keeps the account that
// the oracle needs.
type hand struct {
	rt *rapid.T
	n  int
	// written are all contents ever written, removed those that somebody
	// overwrote or deleted, pool those that are written more than once.
	written, removed, pool map[string]bool
	// touched are contents that got another time.
	touched map[string]bool
}

func newHand(rt *rapid.T) *hand {
	return &hand{rt: rt, written: map[string]bool{}, removed: map[string]bool{}, pool: map[string]bool{}, touched: map[string]bool{}}
}

// token is a new content, now and then one from a small pool that several
// replicas come to write independently.
func (h *hand) token(who string) string {
	t := fmt.Sprintf("%s-%d", who, h.n)
	h.n++
	if rapid.IntRange(0, 7).Draw(h.rt, "pool") == 0 {
		t = fmt.Sprintf("same-%d", rapid.IntRange(0, 1).Draw(h.rt, "same"))
		h.pool[t] = true
	}
	h.written[t] = true
	return t
}

func (h *hand) pick(t *tree, label string, ok func(*item) bool) *item {
	var from []*item
	for _, x := range t.items {
		if x.id != rootID && x.parkedBy == nil && ok(x) {
			from = append(from, x)
		}
	}
	if len(from) == 0 {
		return nil
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(h.rt, label)]
}

const maxDepth = 4

func (h *hand) dir(t *tree) *item {
	var from []*item
	for _, x := range t.items {
		if x.kind == plan.Dir && t.depth(x) < maxDepth-1 && x.parkedBy == nil {
			from = append(from, x)
		}
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(h.rt, "dir")]
}

func (h *hand) name(t *tree) string {
	names := []string{"a", "b", "c", "d", "e", "f"}
	if !atEndpoint(t) && rapid.IntRange(0, 11).Draw(h.rt, "temp") == 0 {
		return "t~"
	}
	return rapid.SampledFrom(names).Draw(h.rt, "name")
}

func atEndpoint(t *tree) bool { return t.name == "H" || t.name[0] == 'E' }

func anyItem(*item) bool { return true }

func isFile(x *item) bool { return x.kind == plan.File }

// act does one random thing to t.
func (h *hand) act(t *tree) {
	switch rapid.IntRange(0, 12).Draw(h.rt, "act on "+t.name) {
	case 0, 1:
		h.create(t, h.dir(t).id, h.name(t))
	case 2:
		if x := h.pick(t, "write", isFile); x != nil {
			h.write(t, x, h.token(t.name))
		}
	case 3, 4:
		h.rename(t, h.pick(t, "rename", anyItem), h.dir(t), h.name(t))
	case 5:
		if x := h.pick(t, "remove", anyItem); x != nil {
			h.remove(t, x)
		}
	case 6:
		h.swap(t, h.pick(t, "swap", anyItem), h.pick(t, "with", anyItem))
	case 7:
		if x := h.pick(t, "save", isFile); x != nil {
			h.save(t, x)
		}
	case 8:
		if x := h.pick(t, "chmod", func(x *item) bool { return x.kind != plan.Symlink }); x != nil {
			x.mode = rapid.SampledFrom([]uint32{0o600, 0o644, 0o755}).Draw(h.rt, "mode")
		}
	case 9:
		if x := h.pick(t, "touch", isFile); x != nil {
			x.mtime = h.time()
			x.known = x.known && !atEndpoint(t) // its hash was known by the token
			h.touched[x.bytes] = true
		}
	case 10:
		if x := h.pick(t, "retype", anyItem); x != nil {
			parent, name := x.parent, x.name
			h.remove(t, x)
			h.create(t, parent, name)
		}
	case 11:
		h.nest(t, h.pick(t, "nest", func(x *item) bool { return x.kind == plan.Dir }))
	case 12:
		if x := h.pick(t, "same", isFile); x != nil {
			h.write(t, x, x.bytes)
		}
	}
}

func (h *hand) time() int64 { return int64(rapid.IntRange(1, 1000).Draw(h.rt, "time")) }

// create makes something new; a name that is taken is left alone.
func (h *hand) create(t *tree, parent int64, name string) {
	if t.at(parent, name) != nil {
		return
	}
	x := item{kind: plan.File, mode: 0o644, mtime: h.time(), known: rapid.Bool().Draw(h.rt, "known")}
	switch rapid.IntRange(0, 5).Draw(h.rt, "kind") {
	case 0, 1:
		x = item{kind: plan.Dir, mode: 0o755}
	case 2:
		x = item{kind: plan.Symlink}
	}
	if x.kind != plan.Dir {
		x.bytes = h.token(t.name)
	}
	if _, err := t.add(parent, name, x); err != nil {
		h.rt.Fatal(err)
	}
}

func (h *hand) write(t *tree, x *item, bytes string) {
	if x.bytes != bytes {
		h.removed[x.bytes] = true
	} else {
		// Where the base's hash is unknown this counts as new content.
		h.pool[bytes] = true
	}
	x.bytes, x.version, x.mtime, x.placeholder = bytes, x.version+1, h.time(), false
	x.known = rapid.Bool().Draw(h.rt, "known")
}

// save replaces a file as editors do: a new one takes its name.
func (h *hand) save(t *tree, x *item) {
	parent, name, mode := x.parent, x.name, x.mode
	h.remove(t, x)
	n, err := t.add(parent, name, item{kind: plan.File, bytes: h.token(t.name), mode: mode, mtime: h.time()})
	if err != nil {
		h.rt.Fatal(err)
	}
	n.known = rapid.Bool().Draw(h.rt, "known")
}

// remove removes x and all below it.
func (h *hand) remove(t *tree, x *item) {
	for _, c := range t.children(x.id) {
		h.remove(t, c)
	}
	if x.kind != plan.Dir {
		h.removed[x.bytes] = true
	}
	if err := t.remove(x.id); err != nil {
		h.rt.Fatal(err)
	}
}

// rename moves x over whatever a file system allows.
func (h *hand) rename(t *tree, x, dir *item, name string) {
	if x == nil || t.within(dir.id, x.id) {
		return
	}
	if y := t.at(dir.id, name); y != nil {
		if y == x || y.parkedBy != nil || (y.kind == plan.Dir) != (x.kind == plan.Dir) || len(t.children(y.id)) > 0 {
			return
		}
		h.remove(t, y)
	}
	if err := t.move(x.id, dir.id, name); err != nil {
		h.rt.Fatal(err)
	}
}

// swap exchanges two names.
func (h *hand) swap(t *tree, x, y *item) {
	if x == nil || y == nil || t.within(x.id, y.id) || t.within(y.id, x.id) {
		return
	}
	x.parent, y.parent = y.parent, x.parent
	x.name, y.name = y.name, x.name
}

// nest puts a directory, or one inside it, into a new or other directory that
// takes its name: "mkdir t; mv d t; mv t d", "mv d/x t; mv d t; mv t d".
func (h *hand) nest(t *tree, x *item) {
	if x == nil || t.depth(x) >= maxDepth-2 {
		return
	}
	parent, name := x.parent, x.name
	inner := t.children(x.id)
	if len(inner) > 0 && inner[0].kind == plan.Dir && inner[0].parkedBy == nil {
		y := inner[0]
		y.parent, y.name = parent, name
		x.parent, x.name = y.id, fmt.Sprintf("n%d", h.n)
		h.n++
		return
	}
	x.name = "moving"
	n, err := t.add(parent, name, item{kind: plan.Dir, mode: 0o755})
	if err != nil {
		h.rt.Fatal(err)
	}
	x.parent, x.name = n.id, name
}
