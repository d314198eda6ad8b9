package memory

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"vdfs/syncer/remote"
)

// node is an item. Its data is never changed in place, so streams may hold it.
type node struct {
	ord    uint64 // order of creation
	id     string
	kind   remote.Kind
	parent *node
	name   string
	data   []byte
	target string
	mode   uint32
	mtime  time.Time
	tag    uint64 // sequence of its last change
	cont   uint64 // sequence of the last change of its bytes
	gone   bool

	kids   map[string]*node // by folded name
	sorted []*node          // kids in order of their folded names; nil: to be made
}

func (s *Store) newNode(k remote.Kind) *node {
	s.made++
	n := &node{ord: s.made, id: fmt.Sprintf("i%d", s.made), kind: k, tag: s.seq, cont: s.seq}
	if k == remote.Dir {
		n.kids = map[string]*node{}
	}
	s.byID[n.id] = n
	s.all = append(s.all, n)
	return n
}

// fold is the form under which names are equal here.
func (s *Store) fold(name string) string {
	switch s.caps.Names.Fold {
	case remote.FoldASCII:
		return strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, name)
	case remote.FoldUnicode:
		return strings.ToLower(strings.ToUpper(name))
	}
	return name
}

func (s *Store) child(dir *node, name string) *node { return dir.kids[s.fold(name)] }

func (s *Store) link(dir, n *node, name string) {
	n.parent, n.name = dir, name
	dir.kids[s.fold(name)] = n
	dir.sorted = nil
}

func (s *Store) unlink(n *node) {
	delete(n.parent.kids, s.fold(n.name))
	n.parent.sorted = nil
}

// drop forgets a node that has been unlinked.
func (s *Store) drop(n *node) {
	n.gone = true
	delete(s.byID, n.id)
	s.used -= int64(len(n.data))
	if s.dead++; s.dead > 64 && s.dead > len(s.all)/2 {
		live := s.all[:0]
		for _, m := range s.all {
			if !m.gone {
				live = append(live, m)
			}
		}
		clear(s.all[len(live):])
		s.all, s.dead = live, 0
	}
}

// inOrder returns the children sorted by folded name.
func (s *Store) inOrder(dir *node) []*node {
	if dir.sorted == nil {
		dir.sorted = make([]*node, 0, len(dir.kids))
		for _, n := range dir.kids {
			dir.sorted = append(dir.sorted, n)
		}
		sort.Slice(dir.sorted, func(i, j int) bool {
			return s.fold(dir.sorted[i].name) < s.fold(dir.sorted[j].name)
		})
	}
	return dir.sorted
}

func path(n *node) string {
	if n.parent == nil {
		return ""
	}
	if n.parent.parent == nil {
		return n.name
	}
	return path(n.parent) + "/" + n.name
}

// inside reports whether n is dir or below it.
func inside(n, dir *node) bool {
	for ; n != nil; n = n.parent {
		if n == dir {
			return true
		}
	}
	return false
}

// id is the node's ItemID under the store's capabilities.
func (s *Store) id(n *node) remote.ItemID {
	if s.caps.StableID {
		return remote.ItemID(n.id)
	}
	return remote.Address{Path: path(n)}.ID()
}

// find resolves an ItemID; nil when there is none. s.mu is held.
func (s *Store) find(id remote.ItemID) *node {
	n, err := s.look(id)
	if err != nil {
		return nil
	}
	return n
}

// look resolves an ItemID, or says why it leads nowhere. s.mu is held.
func (s *Store) look(id remote.ItemID) (*node, error) {
	if s.caps.StableID {
		if n := s.byID[string(id)]; n != nil {
			return n, nil
		}
		return nil, remote.ErrNotFound
	}
	a, ok := remote.ParseAddress(id)
	if !ok {
		return nil, remote.ErrNotFound
	}
	if a.Ident != "" && s.caps.Idents {
		if dir := s.at(a.Dir); dir == nil || dir.id != a.Ident {
			return nil, remote.ErrPrecondition
		}
	}
	if n := s.at(a.Path); n != nil {
		return n, nil
	}
	return nil, remote.ErrNotFound
}

// at is the node at a path; nil: there is none. s.mu is held.
func (s *Store) at(p string) *node {
	if strings.HasSuffix(p, "/") {
		return nil
	}
	n := s.root
	for p != "" && n != nil {
		var leaf string
		leaf, p, _ = strings.Cut(p, "/")
		if n = n.kids[s.fold(leaf)]; n != nil && n.name != leaf {
			return nil
		}
	}
	return n
}

// entry shows a node. s.mu is held.
func (s *Store) entry(n *node) remote.Entry {
	e := remote.Entry{
		ID: s.id(n), Name: n.name, Kind: n.kind, Size: int64(len(n.data)),
		Tag:     remote.Tag(fmt.Sprintf("t%d", n.tag)),
		Content: remote.Content(fmt.Sprintf("c%d", n.cont)),
		Attr:    remote.Attr{Mtime: n.mtime, Mode: n.mode, Target: n.target},
	}
	if n.parent != nil {
		e.Parent = s.id(n.parent)
	}
	if s.caps.Idents {
		e.Ident = n.id
	}
	return e
}

// setAttr keeps of a what the storage can keep.
func (s *Store) setAttr(n *node, a remote.Attr) {
	if n.kind != remote.Symlink {
		if kept := s.caps.Perm.Keep(a.Mode); kept != 0 {
			n.mode = kept
		} else if n.mode == 0 && s.caps.Perm != remote.PermNone {
			n.mode = 0o644
			if n.kind == remote.Dir {
				n.mode = 0o755
			}
		}
	}
	n.mtime = s.now()
	if s.caps.MtimeGrain > 0 && !a.Mtime.IsZero() {
		n.mtime = a.Mtime.UTC().Truncate(s.caps.MtimeGrain)
	}
}
