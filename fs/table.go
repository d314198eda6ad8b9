package fs

import "sync"

// table gives out small numbers for open handles. Number 0 is never given out.
type table[T any] struct {
	mu    sync.RWMutex
	slots []*T
	free  []uint64
}

// put stores v and returns its number.
func (t *table[T]) put(v *T) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		fh := t.free[n-1]
		t.free = t.free[:n-1]
		t.slots[fh-1] = v
		return fh
	}
	t.slots = append(t.slots, v)
	return uint64(len(t.slots))
}

// get returns what put stored; nil if there is nothing.
func (t *table[T]) get(fh uint64) *T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if fh == 0 || fh > uint64(len(t.slots)) {
		return nil
	}
	return t.slots[fh-1]
}

// take returns what put stored and frees the number.
func (t *table[T]) take(fh uint64) *T {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fh == 0 || fh > uint64(len(t.slots)) || t.slots[fh-1] == nil {
		return nil
	}
	v := t.slots[fh-1]
	t.slots[fh-1] = nil
	t.free = append(t.free, fh)
	return v
}

// all returns what is in the table.
func (t *table[T]) all() []*T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.present()
}

func (t *table[T]) present() []*T {
	var out []*T
	for _, v := range t.slots {
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// drain empties the table and returns what was in it.
func (t *table[T]) drain() []*T {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.present()
	t.slots, t.free = nil, nil
	return out
}
