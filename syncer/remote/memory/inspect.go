package memory

import (
	"fmt"
	"strings"

	"vdfs/syncer/remote"
)

// Tree returns everything by path: a file with its bytes, a directory with a
// path that ends in "/", a symlink as "-> target".
func (s *Store) Tree() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for _, n := range s.byID {
		switch {
		case n == s.root:
		case n.kind == remote.Dir:
			out[path(n)+"/"] = ""
		case n.kind == remote.Symlink:
			out[path(n)] = "-> " + n.target
		default:
			out[path(n)] = string(n.data)
		}
	}
	return out
}

// WriteFile creates or overwrites a file behind the endpoints' backs, missing
// directories included. The replaced bytes are not kept. The Store owns data
// from now on.
func (s *Store) WriteFile(path string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := s.root
	parts := strings.Split(path, "/")
	for _, name := range parts[:len(parts)-1] {
		next := s.child(dir, name)
		if next == nil {
			next = s.plant(dir, name, remote.Dir)
		}
		if next.kind != remote.Dir {
			return fmt.Errorf("write %s: %w", path, remote.ErrKind)
		}
		dir = next
	}
	name := parts[len(parts)-1]
	n := s.child(dir, name)
	if n == nil {
		n = s.plant(dir, name, remote.File)
	}
	if n.kind != remote.File {
		return fmt.Errorf("write %s: %w", path, remote.ErrKind)
	}
	s.touch()
	s.used += int64(len(data)) - int64(len(n.data))
	n.data, n.tag, n.cont = data, s.seq, s.seq
	s.setAttr(n, remote.Attr{})
	s.note(n)
	return nil
}

// plant makes an item without asking. s.mu is held.
func (s *Store) plant(dir *node, name string, k remote.Kind) *node {
	s.touch()
	n := s.newNode(k)
	s.link(dir, n, name)
	s.setAttr(n, remote.Attr{})
	s.note(n)
	return n
}

// Damage gives a file other bytes of the same number behind the storage's own back, as a disk does whose bits flip: nothing tells
// that it changed. The Store owns data from now on.
func (s *Store) Damage(path string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.root
	for name := range strings.SplitSeq(path, "/") {
		if n = s.child(n, name); n == nil {
			return fmt.Errorf("damage %s: %w", path, remote.ErrNotFound)
		}
	}
	if n.kind != remote.File || len(n.data) != len(data) {
		return fmt.Errorf("damage %s: %w", path, remote.ErrKind)
	}
	n.data = data
	return nil
}
