package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"lukechampine.com/blake3"

	"vdfs/syncer/remote"
)

var errClosed = errors.New("endpoint is closed")

// Endpoint is a session on a Store.
type Endpoint struct {
	s      *Store
	caps   remote.Caps
	closed chan struct{}
	once   sync.Once
}

var (
	_ remote.Endpoint = (*Endpoint)(nil)
	_ remote.Gatherer = (*Endpoint)(nil)
)

// enter locks the store for one call; the caller unlocks it.
func (e *Endpoint) enter(ctx context.Context) (*Store, error) {
	select {
	case <-e.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	default:
	}
	e.s.mu.Lock()
	if err := e.s.usable(); err != nil {
		e.s.mu.Unlock()
		return nil, err
	}
	return e.s, nil
}

// Caps implements remote.Endpoint.
func (e *Endpoint) Caps() *remote.Caps { return &e.caps }

// Close implements remote.Endpoint.
func (e *Endpoint) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

// Check implements remote.Endpoint.
func (e *Endpoint) Check(ctx context.Context) (remote.Status, error) {
	s, err := e.enter(ctx)
	if err != nil {
		return remote.Status{}, fmt.Errorf("check root: %w", err)
	}
	defer s.mu.Unlock()
	if s.emptyRoot {
		return remote.Status{}, fmt.Errorf("check root: %w", remote.ErrRootGone)
	}
	st := remote.Status{Root: s.id(s.root), Epoch: s.epochName(), Total: -1, Free: -1}
	if s.opts.Quota > 0 {
		st.Total, st.Free = s.opts.Quota, max(0, s.opts.Quota-s.used)
	}
	return st, nil
}

// Stat implements remote.Endpoint.
func (e *Endpoint) Stat(ctx context.Context, id remote.ItemID) (remote.Entry, error) {
	s, err := e.enter(ctx)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("stat item: %w", err)
	}
	defer s.mu.Unlock()
	n, err := s.seen(id)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("stat item: %w", err)
	}
	return s.entry(n), nil
}

// seen finds an item as readers see it. s.mu is held.
func (s *Store) seen(id remote.ItemID) (*node, error) {
	n, err := s.look(id)
	if err == nil && s.emptyRoot && n != s.root {
		err = remote.ErrNotFound
	}
	return n, err
}

func (s *Store) seenDir(id remote.ItemID) (*node, error) {
	n, err := s.seen(id)
	if err == nil && n.kind != remote.Dir {
		err = remote.ErrKind
	}
	return n, err
}

// Lookup implements remote.Endpoint.
func (e *Endpoint) Lookup(ctx context.Context, parent remote.ItemID, name string) (remote.Entry, error) {
	s, err := e.enter(ctx)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("look up name: %w", err)
	}
	defer s.mu.Unlock()
	dir, err := s.seenDir(parent)
	if err != nil {
		return remote.Entry{}, fmt.Errorf("look up name: %w", err)
	}
	n := s.child(dir, name)
	if n == nil || s.emptyRoot {
		return remote.Entry{}, fmt.Errorf("look up name: %w", remote.ErrNotFound)
	}
	return s.entry(n), nil
}

// List implements remote.Endpoint. A page token is the last name of the page
// before, so changes between pages move nothing that did not change.
func (e *Endpoint) List(ctx context.Context, dir remote.ItemID, page string) ([]remote.Entry, string, error) {
	s, err := e.enter(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("list directory: %w", err)
	}
	defer s.mu.Unlock()
	d, err := s.seenDir(dir)
	if err != nil {
		return nil, "", fmt.Errorf("list directory: %w", err)
	}
	if s.emptyRoot {
		return nil, "", nil
	}
	kids := s.inOrder(d)
	from := 0
	if page != "" {
		from = sort.Search(len(kids), func(i int) bool { return "n:"+s.fold(kids[i].name) > page })
	}
	to := min(from+s.opts.PageSize, len(kids))
	entries := make([]remote.Entry, 0, to-from)
	for _, n := range kids[from:to] {
		entries = append(entries, s.entry(n))
	}
	next := ""
	if to < len(kids) {
		next = "n:" + s.fold(kids[to-1].name)
	}
	return entries, next, nil
}

// Read implements remote.Endpoint.
func (e *Endpoint) Read(ctx context.Context, id remote.ItemID, v remote.Content, off, n int64) (io.ReadCloser, error) {
	s, err := e.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer s.mu.Unlock()
	f, err := s.seen(id)
	if kept := s.trashed(id); kept != nil {
		f, err = &node{kind: kept.Kind, data: kept.Data}, nil
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read file: %w", err)
	case f.kind != remote.File:
		return nil, fmt.Errorf("read file: %w", remote.ErrKind)
	case v != "" && v != s.entry(f).Content:
		return nil, fmt.Errorf("read file: %w", remote.ErrChanged)
	case !s.caps.Ranges && off > 0:
		return nil, fmt.Errorf("read range: %w", remote.ErrUnsupported)
	}
	off = min(max(off, 0), int64(len(f.data)))
	data := f.data[off:]
	if n >= 0 && n < int64(len(data)) {
		data = data[:n]
	}
	return &stream{ctx: ctx, e: e, data: data}, nil
}

// stream gives out one version; the bytes it holds never change.
type stream struct {
	ctx  context.Context
	e    *Endpoint
	data []byte
}

func (r *stream) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	r.e.s.mu.Lock()
	err := r.e.s.usable()
	r.e.s.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("read file: %w", err)
	}
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *stream) Close() error {
	r.data = nil
	return nil
}

// Trash implements remote.Endpoint. A page token is the number of the last item before.
func (e *Endpoint) Trash(ctx context.Context, under, page string) ([]remote.Trashed, string, error) {
	s, err := e.enter(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("list trash: %w", err)
	}
	defer s.mu.Unlock()
	switch {
	case !s.caps.ListTrash:
		return nil, "", fmt.Errorf("list trash: %w", remote.ErrUnsupported)
	case s.emptyRoot:
		return nil, "", nil
	}
	last, _ := strconv.Atoi(page) // "" is 0
	var items []remote.Trashed
	for i := range s.kept {
		k := &s.kept[i]
		if k.number <= last || k.Kind == remote.Dir || under != "" && k.Path != under && !strings.HasPrefix(k.Path, under+"/") {
			continue
		}
		if len(items) == s.opts.PageSize {
			return items, strings.TrimPrefix(string(items[len(items)-1].ID), trashID), nil
		}
		name := k.Path[strings.LastIndexByte(k.Path, '/')+1:]
		items = append(items, remote.Trashed{
			Entry: remote.Entry{
				ID: remote.ItemID(trashID + strconv.Itoa(k.number)), Name: name, Kind: k.Kind, Size: int64(len(k.Data)),
				Attr: remote.Attr{Mtime: k.Mtime, Mode: k.Mode, Target: k.Target},
			},
			Path: k.Path, When: k.When, Deleted: k.Deleted,
		})
	}
	return items, "", nil
}

// trashID begins the ids of what is in the trash; no path and no other id does.
const trashID = "t:"

// trashed finds what is in the trash; nil: it is none of that. s.mu is held.
func (s *Store) trashed(id remote.ItemID) *Kept {
	number, ok := strings.CutPrefix(string(id), trashID)
	if !ok || s.emptyRoot {
		return nil
	}
	i := slices.IndexFunc(s.kept, func(k Kept) bool { return strconv.Itoa(k.number) == number })
	if i < 0 {
		return nil
	}
	return &s.kept[i]
}

// Purge implements remote.Endpoint.
func (e *Endpoint) Purge(ctx context.Context, ids []remote.ItemID) error {
	s, err := e.enter(ctx)
	if err != nil {
		return fmt.Errorf("purge trash: %w", err)
	}
	defer s.mu.Unlock()
	switch {
	case !s.caps.ListTrash:
		return fmt.Errorf("purge trash: %w", remote.ErrUnsupported)
	case s.emptyRoot:
		return fmt.Errorf("purge trash: %w", remote.ErrRootGone)
	}
	for _, id := range ids {
		if !strings.HasPrefix(string(id), trashID) {
			return fmt.Errorf("purge trash: %w", remote.ErrNotFound)
		}
		s.kept = slices.DeleteFunc(s.kept, func(k Kept) bool { return remote.ItemID(trashID+strconv.Itoa(k.number)) == id })
	}
	return nil
}

// Verify implements remote.Endpoint.
func (e *Endpoint) Verify(ctx context.Context, id remote.ItemID, want remote.Hashes, size int64, atLeast remote.Proof) (remote.Proof, error) {
	if atLeast > e.caps.Proof {
		return remote.ProofNone, fmt.Errorf("verify file: %w", remote.ErrUnsupported)
	}
	s, err := e.enter(ctx)
	if err != nil {
		return remote.ProofNone, fmt.Errorf("verify file: %w", err)
	}
	f, err := s.seen(id)
	var data []byte
	if err == nil {
		data = f.data
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return remote.ProofNone, fmt.Errorf("verify file: %w", err)
	case f.kind != remote.File:
		return remote.ProofNone, fmt.Errorf("verify file: %w", remote.ErrKind)
	case int64(len(data)) != size:
		return remote.ProofNone, fmt.Errorf("verify file: %w", remote.ErrCorrupt)
	case atLeast <= remote.ProofSize:
		return min(remote.ProofSize, e.caps.Proof), nil
	case want[remote.BLAKE3] == "":
		return remote.ProofNone, fmt.Errorf("verify file without its blake3: %w", remote.ErrUnsupported)
	case want[remote.BLAKE3] != sum(data):
		return remote.ProofNone, fmt.Errorf("verify file: %w", &remote.OtherBytes{Actual: sum(data)})
	}
	return e.caps.Proof, nil
}

func sum(data []byte) string {
	h := blake3.Sum256(data)
	return fmt.Sprintf("%x", h[:])
}
