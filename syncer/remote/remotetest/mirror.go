package remotetest

import (
	"errors"
	"maps"

	"vdfs/syncer/remote"
)

// mirror follows an endpoint through Changes alone, as the syncer does: it
// expands relist hints by List and trusts absence only where it may.
type mirror struct {
	e      *env
	ep     remote.Endpoint
	cursor remote.Cursor
	items  map[remote.ItemID]remote.Entry
	seen   []remote.Change // by the last pull
}

func newMirror(e *env, ep remote.Endpoint) *mirror {
	return &mirror{e: e, ep: ep, items: map[remote.ItemID]remote.Entry{}}
}

// pull takes in everything up to now. A cursor that is not known any more
// starts a full enumeration.
func (m *mirror) pull() {
	m.e.Helper()
	m.seen = nil
	for more := true; more; {
		more = m.page()
	}
}

// page takes in one batch and reports whether another waits.
func (m *mirror) page() bool {
	m.e.Helper()
	b, err := m.ep.Changes(m.e.ctx, m.cursor)
	if errors.Is(err, remote.ErrCursorExpired) {
		m.cursor = ""
		return true
	}
	m.e.ok(err)
	if m.cursor == "" {
		m.items = map[remote.ItemID]remote.Entry{}
	}
	m.apply(b)
	m.cursor = b.Next
	return b.More
}

func (m *mirror) apply(b remote.Batch) {
	m.seen = append(m.seen, b.Changes...)
	for _, c := range b.Changes {
		switch {
		case c.Relist != remote.RelistNo:
			m.relist(c.ID, c.Relist == remote.RelistDeep)
		case c.Deleted:
			delete(m.items, c.ID)
		default:
			m.items[c.ID] = c.Entry
		}
	}
}

func (m *mirror) relist(dir remote.ItemID, deep bool) {
	now, err := m.e.list(m.ep, dir)
	if errors.Is(err, remote.ErrNotFound) || errors.Is(err, remote.ErrKind) {
		return // its parent's hint tells
	}
	m.e.ok(err)
	for id, was := range m.items {
		if is, there := now[was.Name]; was.Parent == dir && (!there || is.ID != id || is.Kind != was.Kind) {
			m.forget(id)
		}
	}
	for _, c := range now {
		_, known := m.items[c.ID]
		m.items[c.ID] = c
		if c.Kind == remote.Dir && (deep || !known) {
			m.relist(c.ID, true)
		}
	}
}

func (m *mirror) forget(id remote.ItemID) {
	delete(m.items, id)
	for kid, k := range m.items {
		if k.Parent == id {
			m.forget(kid)
		}
	}
}

// paths is what the mirror holds: path to kind and content token.
func (m *mirror) paths() map[string]string {
	out := map[string]string{}
	for id, it := range m.items {
		p, ok := it.Name, true
		for up := it.Parent; ok && up != m.e.root; {
			var dir remote.Entry
			dir, ok = m.items[up]
			p, up = dir.Name+"/"+p, dir.Parent
		}
		if !ok {
			m.e.Fatalf("%s has no parent in the feed", id)
		}
		out[p] = it.Kind.String() + string(it.Content)
	}
	return out
}

// agrees checks the mirror against a walk of the tree.
func (m *mirror) agrees() {
	m.e.Helper()
	truth := newMirror(m.e, m.ep)
	truth.relist(m.e.root, true)
	if got, want := m.paths(), truth.paths(); !maps.Equal(got, want) {
		m.e.Fatalf("the feed says %.500v, the tree holds %.500v", got, want)
	}
}
