package memory

import (
	"context"
	"fmt"
	"io"
	"strings"

	"vdfs/syncer/remote"
)

// begin locks the store for a write; the caller unlocks it. When the key was
// done before, its entry is returned and found is true.
func (e *Endpoint) begin(ctx context.Context, key remote.OpKey) (s *Store, before remote.Entry, found bool, err error) {
	if s, err = e.enter(ctx); err != nil {
		return nil, before, false, err
	}
	if err = s.writable(); err != nil {
		s.mu.Unlock()
		return nil, before, false, err
	}
	if key != "" && s.caps.Idempotent {
		before, found = s.done[key]
	}
	return s, before, found, nil
}

// finish remembers the outcome of a key. s.mu is held.
func (s *Store) finish(key remote.OpKey, e remote.Entry) remote.Entry {
	if key != "" && s.caps.Idempotent {
		s.done[key] = e
	}
	return e
}

// free checks that an item may be called name in parent; self is the item
// that moves there, nil for a new one. s.mu is held.
func (s *Store) free(parent remote.ItemID, name string, self *node) (*node, error) {
	dir, err := s.look(parent)
	switch {
	case err != nil:
		return nil, err
	case dir.kind != remote.Dir:
		return nil, remote.ErrKind
	}
	if err := s.allowed(name); err != nil {
		return nil, err
	}
	if n := s.child(dir, name); n != nil && n != self {
		return nil, remote.ErrExists
	}
	return dir, nil
}

func (s *Store) allowed(name string) error {
	r := s.caps.Names
	bad := name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"+r.Forbidden) ||
		r.MaxBytes > 0 && len(name) > r.MaxBytes ||
		r.NoLead != "" && strings.ContainsRune(r.NoLead, rune(name[0])) ||
		r.NoTrail != "" && strings.ContainsRune(r.NoTrail, rune(name[len(name)-1]))
	for _, w := range r.Reserved {
		bad = bad || s.fold(w) == s.fold(name)
	}
	if bad {
		return remote.ErrName
	}
	return nil
}

// target finds an existing item that a write with pre may change. s.mu is held.
func (s *Store) target(id remote.ItemID, pre remote.Pre) (*node, error) {
	n, err := s.look(id)
	switch {
	case err != nil:
		return nil, err
	case !pre.Holds(s.entry(n)):
		return nil, remote.ErrPrecondition
	}
	return n, nil
}

// Put implements remote.Endpoint. The body is read without the lock, and
// everything is checked again when it is there.
func (e *Endpoint) Put(ctx context.Context, u *remote.Upload) (remote.Entry, error) {
	s, before, found, err := e.begin(ctx, u.Key)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("put file: %w", err)
	}
	if !found {
		_, _, err = s.putTarget(u)
	}
	s.mu.Unlock()
	if found {
		return before, nil
	}
	if err != nil {
		return remote.Entry{}, fmt.Errorf("put file: %w", err)
	}
	data, err := readBody(ctx, u)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("put file: %w", err)
	}
	s, before, found, err = e.begin(ctx, u.Key)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("put file: %w", err)
	}
	defer s.mu.Unlock()
	if found {
		return before, nil
	}
	n, dir, err := s.putTarget(u)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("put file: %w", err)
	}
	return s.finish(u.Key, s.publish(n, dir, u, data)), nil
}

// putTarget is the file to replace, or else the directory for a new one.
func (s *Store) putTarget(u *remote.Upload) (old, dir *node, err error) {
	grow := u.Size
	if u.ID != "" {
		if old, err = s.target(u.ID, u.Pre); err != nil {
			return nil, nil, err
		}
		if old.kind != remote.File {
			return nil, nil, remote.ErrKind
		}
		grow -= int64(len(old.data))
	} else if dir, err = s.free(u.Parent, u.Name, nil); err != nil {
		return nil, nil, err
	}
	if s.caps.MaxSize > 0 && u.Size > s.caps.MaxSize {
		return nil, nil, remote.ErrTooLarge
	}
	if s.opts.Quota > 0 && s.used+grow > s.opts.Quota {
		return nil, nil, remote.ErrQuota
	}
	return old, dir, nil
}

func (s *Store) publish(n, dir *node, u *remote.Upload, data []byte) remote.Entry {
	at := s.touch()
	if n == nil {
		n = s.newNode(remote.File)
		s.link(dir, n, u.Name)
	} else {
		if s.caps.Versions {
			s.keep(n, false)
		}
		s.used -= int64(len(n.data))
	}
	n.data, n.tag, n.cont = data, at, at
	s.used += int64(len(data))
	s.setAttr(n, u.Attr)
	s.note(n)
	e := s.entry(n)
	e.Hashes = remote.Hashes{remote.BLAKE3: sum(data)}
	return e
}

// readBody takes the whole body in steps, so that a cancel ends it.
func readBody(ctx context.Context, u *remote.Upload) ([]byte, error) {
	data := make([]byte, u.Size)
	const step = 1 << 20
	for off := int64(0); off < u.Size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := u.Body.ReadAt(data[off:min(off+step, u.Size)], off)
		off += int64(n)
		if err != nil && off < u.Size {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read body at %d: %w", off, err)
		}
		if u.Sent != nil {
			u.Sent(off)
		}
	}
	if n, _ := u.Body.ReadAt(make([]byte, 1), u.Size); n != 0 {
		return nil, fmt.Errorf("body is longer than %d bytes", u.Size)
	}
	if w := u.Hashes[remote.BLAKE3]; w != "" && w != sum(data) {
		return nil, remote.ErrCorrupt
	}
	return data, nil
}

// PutAll implements remote.Gatherer.
func (e *Endpoint) PutAll(ctx context.Context, all []*remote.Upload) []remote.Stored {
	return remote.StoreEach(ctx, e, all)
}

// Mkdir implements remote.Endpoint.
func (e *Endpoint) Mkdir(ctx context.Context, parent remote.ItemID, name string, a remote.Attr, key remote.OpKey) (remote.Entry, error) {
	if a.Target != "" && !e.caps.Symlinks {
		return remote.Entry{}, fmt.Errorf("make symlink: %w", remote.ErrUnsupported)
	}
	s, before, found, err := e.begin(ctx, key)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("make directory: %w", err)
	}
	defer s.mu.Unlock()
	if found {
		return before, nil
	}
	dir, err := s.free(parent, name, nil)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("make directory: %w", err)
	}
	kind := remote.Dir
	if a.Target != "" {
		kind = remote.Symlink
	}
	s.touch()
	n := s.newNode(kind)
	n.target = a.Target
	s.link(dir, n, name)
	s.setAttr(n, a)
	s.note(n)
	return s.finish(key, s.entry(n)), nil
}

// Update implements remote.Endpoint.
func (e *Endpoint) Update(ctx context.Context, id remote.ItemID, p remote.Patch, pre remote.Pre, key remote.OpKey) (remote.Entry, error) {
	s, before, found, err := e.begin(ctx, key)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("update item: %w", err)
	}
	defer s.mu.Unlock()
	if found {
		return before, nil
	}
	n, err := s.target(id, pre)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("update item: %w", err)
	}
	if n == s.root {
		return remote.Entry{}, fmt.Errorf("update root: %w", remote.ErrUnsupported)
	}
	dir, name, err := s.destination(n, p)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("update item: %w", err)
	}
	if p.Mode != nil && n.kind == remote.Symlink {
		return remote.Entry{}, fmt.Errorf("set mode of symlink: %w", remote.ErrKind)
	}
	s.touch()
	n.tag = s.seq
	if dir != n.parent || name != n.name {
		s.noteTree(n)
		s.unlink(n)
		s.link(dir, n, name)
		s.noteTree(n)
	} else {
		s.note(n)
	}
	if p.Mode != nil {
		n.mode = s.caps.Perm.Keep(*p.Mode)
	}
	if p.Mtime != nil && s.caps.MtimeGrain > 0 {
		n.mtime = p.Mtime.UTC().Truncate(s.caps.MtimeGrain)
	}
	return s.finish(key, s.entry(n)), nil
}

// destination is where a patch puts n. s.mu is held.
func (s *Store) destination(n *node, p remote.Patch) (*node, string, error) {
	dir, name := n.parent, n.name
	if p.Name != nil {
		name = *p.Name
	}
	to := s.id(dir)
	if p.Parent != nil {
		to = *p.Parent
	}
	dir, err := s.free(to, name, n)
	if err == nil && inside(dir, n) {
		err = fmt.Errorf("move into itself: %w", remote.ErrKind)
	}
	return dir, name, err
}

// Delete implements remote.Endpoint.
func (e *Endpoint) Delete(ctx context.Context, id remote.ItemID, pre remote.Pre, key remote.OpKey) error {
	s, _, found, err := e.begin(ctx, key)
	if err != nil {
		return fmt.Errorf("delete item: %w", err)
	}
	defer s.mu.Unlock()
	if found {
		return nil
	}
	n, err := s.target(id, pre)
	switch {
	case err != nil:
		return fmt.Errorf("delete item: %w", err)
	case n == s.root:
		return fmt.Errorf("delete root: %w", remote.ErrUnsupported)
	case len(n.kids) > 0:
		return fmt.Errorf("delete item: %w", remote.ErrNotEmpty)
	}
	if s.caps.Trash {
		s.keep(n, true)
	}
	s.touch()
	s.note(n)
	s.unlink(n)
	s.drop(n)
	s.finish(key, remote.Entry{})
	return nil
}
