package memory

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"vdfs/syncer/remote"
)

// logged is one line of the change log: what changed, and which directory a
// storage without a feed would have listed again.
type logged struct {
	seq  uint64
	id   remote.ItemID
	dir  remote.ItemID
	deep bool // id is a directory that is new at its place
}

// touch begins a change: every call is one step of the feed. s.mu is held.
func (s *Store) touch() uint64 {
	s.seq++
	return s.seq
}

// note logs that n changed where it is. s.mu is held, touch was called.
func (s *Store) note(n *node) {
	var dir remote.ItemID
	if n.parent != nil {
		dir = s.id(n.parent)
	}
	s.log = append(s.log, logged{seq: s.seq, id: s.id(n), dir: dir, deep: n.kind == remote.Dir})
	s.wake()
}

// noteTree logs n and, where ids are paths, everything below it: each is
// another item once it has moved.
func (s *Store) noteTree(n *node) {
	s.note(n)
	if s.caps.StableID {
		return
	}
	for _, k := range s.inOrder(n) {
		s.noteTree(k)
	}
}

// emptyCursor is the only cursor of the tree that SetEmptyRoot shows.
const emptyCursor remote.Cursor = "empty"

// Changes implements remote.Endpoint.
func (e *Endpoint) Changes(ctx context.Context, since remote.Cursor) (remote.Batch, error) {
	s, err := e.enter(ctx)
	if err != nil {
		return remote.Batch{}, fmt.Errorf("list changes: %w", err)
	}
	defer s.mu.Unlock()
	if s.emptyRoot {
		if since != "" && since != emptyCursor {
			return remote.Batch{}, fmt.Errorf("list changes: %w", remote.ErrCursorExpired)
		}
		return remote.Batch{Full: since == "", Next: emptyCursor}, nil
	}
	if since == "" {
		if !s.caps.Feed {
			root := remote.Change{Entry: s.entry(s.root), Relist: remote.RelistDeep}
			return remote.Batch{Full: true, Changes: []remote.Change{root}, Next: s.cursor(s.seq)}, nil
		}
		return s.enumerate(s.seq, 0), nil
	}
	c, err := s.parse(since)
	if err != nil {
		return remote.Batch{}, fmt.Errorf("list changes: %w", err)
	}
	if c.full {
		return s.enumerate(c.seq, c.after), nil
	}
	if !s.caps.Feed {
		return s.hints(c.seq), nil
	}
	return s.itemise(c.seq), nil
}

// Wait implements remote.Endpoint.
func (e *Endpoint) Wait(ctx context.Context, since remote.Cursor) error {
	for {
		e.s.mu.Lock()
		c, err := e.s.parse(since)
		ready := err != nil || c.full || c.seq < e.s.seq
		changed := e.s.changed
		if e.s.offline || e.s.emptyRoot && since == emptyCursor {
			ready = false
		}
		e.s.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-e.closed:
			return fmt.Errorf("wait for changes: %w", errClosed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// place is a decoded Cursor.
type place struct {
	full  bool
	seq   uint64 // changes up to it are known
	after uint64 // of a full enumeration: the last node named
}

func (s *Store) cursor(seq uint64) remote.Cursor {
	return remote.Cursor(fmt.Sprintf("%s/%d", s.epochName(), seq))
}

func (s *Store) parse(c remote.Cursor) (place, error) {
	epoch, rest, _ := strings.Cut(string(c), "/")
	if epoch != s.epochName() {
		return place{}, remote.ErrCursorExpired
	}
	var p place
	if n, err := fmt.Sscanf(rest, "full/%d/%d", &p.seq, &p.after); err == nil && n == 2 {
		p.full = true
	} else if n, err := fmt.Sscanf(rest, "%d", &p.seq); err != nil || n != 1 {
		return place{}, remote.ErrCursorExpired
	}
	if p.seq < s.floor || p.seq > s.seq {
		return place{}, remote.ErrCursorExpired
	}
	return p, nil
}

// enumerate names every node in order of creation. What changes meanwhile
// comes after it, because the last cursor is that of its beginning.
func (s *Store) enumerate(start, after uint64) remote.Batch {
	b := remote.Batch{Full: true}
	i := sort.Search(len(s.all), func(i int) bool { return s.all[i].ord > after })
	for ; i < len(s.all) && len(b.Changes) < s.opts.PageSize; i++ {
		n := s.all[i]
		after = n.ord
		if !n.gone && n != s.root {
			b.Changes = append(b.Changes, remote.Change{Entry: s.entry(n)})
		}
	}
	b.Next = s.cursor(start)
	if i < len(s.all) {
		b.More = true
		b.Next = remote.Cursor(fmt.Sprintf("%s/full/%d/%d", s.epochName(), start, after))
	}
	return b
}

// itemise gives the latest state of what changed after seq, in log order.
func (s *Store) itemise(seq uint64) remote.Batch {
	var b remote.Batch
	from := sort.Search(len(s.log), func(i int) bool { return s.log[i].seq > seq })
	last := map[remote.ItemID]uint64{}
	for _, l := range s.log[from:] {
		last[l.id] = l.seq
	}
	for _, l := range s.log[from:] {
		if last[l.id] != l.seq {
			continue
		}
		delete(last, l.id)
		// A page ends only between steps: half a step has no cursor.
		if len(b.Changes) >= s.opts.PageSize && l.seq != seq {
			b.More, b.Next = true, s.cursor(seq)
			return b
		}
		seq = l.seq
		c := remote.Change{Entry: remote.Entry{ID: l.id}, Deleted: true}
		if n := s.find(l.id); n != nil {
			c = remote.Change{Entry: s.entry(n)}
		}
		b.Changes = append(b.Changes, c)
	}
	b.Next = s.cursor(s.seq)
	return b
}

// hints names the directories to list again, parents first.
func (s *Store) hints(seq uint64) remote.Batch {
	from := sort.Search(len(s.log), func(i int) bool { return s.log[i].seq > seq })
	want := map[*node]remote.Relist{}
	for _, l := range s.log[from:] {
		if n := s.find(l.dir); n != nil && want[n] == remote.RelistNo {
			want[n] = remote.RelistShallow
		}
		if n := s.find(l.id); l.deep && n != nil && n.kind == remote.Dir {
			want[n] = remote.RelistDeep
		}
	}
	b := remote.Batch{Next: s.cursor(s.seq)}
	for n, r := range want {
		b.Changes = append(b.Changes, remote.Change{Entry: s.entry(n), Relist: r})
	}
	sort.Slice(b.Changes, func(i, j int) bool {
		return path(s.find(b.Changes[i].ID)) < path(s.find(b.Changes[j].ID))
	})
	return b
}
