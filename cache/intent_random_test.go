package cache

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// wishTree is what names, wishes and what is hidden ought to be.
type wishTree struct {
	x    *indexTest
	rand *rand.Rand
	all  map[DentryID]*wishName
}

type wishName struct {
	Entry
	up DentryID
}

func (w *wishTree) pick(want func(*wishName) bool) *wishName {
	ids := slices.Sorted(maps.Keys(w.all))
	ids = slices.DeleteFunc(ids, func(id DentryID) bool { return !want(w.all[id]) })
	if len(ids) == 0 {
		return nil
	}
	return w.all[ids[w.rand.IntN(len(ids))]]
}

func (w *wishTree) dir() *wishName {
	return w.pick(func(n *wishName) bool { return n.Node.Kind == Dir })
}

func (w *wishTree) at(dir *wishName, name string) *wishName {
	return w.pick(func(n *wishName) bool { return n.up == dir.ID && n.Name == name })
}

func (w *wishTree) empty(dir *wishName) bool {
	return w.pick(func(n *wishName) bool { return n.up == dir.ID }) == nil
}

func (w *wishTree) below(n, dir *wishName) bool {
	for ; n != nil; n = w.all[n.up] {
		if n == dir {
			return true
		}
	}
	return false
}

func (w *wishTree) name() string { return string(rune('a' + w.rand.IntN(5))) }

// make adds a name, or is told that it is taken.
func (w *wishTree) make() error {
	dir, name := w.dir(), w.name()
	var e Entry
	var err error
	if w.rand.IntN(2) == 0 {
		e, err = w.x.Mkdir(dir.Ino, name, 0o755, Caller{})
	} else {
		e, err = w.x.Symlink(dir.Ino, name, "t", Caller{})
	}
	if w.at(dir, name) != nil {
		return wanted(err, ErrExists)
	}
	w.all[e.ID] = &wishName{Entry: e, up: dir.ID}
	return err
}

// wish sets an intent.
func (w *wishTree) wish() error {
	n := w.pick(func(n *wishName) bool { return n.up != 0 })
	if n == nil {
		return nil
	}
	n.Intent = Intent(w.rand.IntN(5))
	return w.x.Update(0, func(tx *Tx) error { return tx.SetIntent(n.ID, n.Intent) })
}

// remove takes a name away, or is told why not.
func (w *wishTree) remove() error {
	n := w.pick(func(n *wishName) bool { return n.up != 0 })
	if n == nil {
		return nil
	}
	remove := w.x.Unlink
	if n.Node.Kind == Dir {
		remove = w.x.Rmdir
	}
	err := remove(w.all[n.up].Ino, n.Name)
	switch {
	case n.Hidden():
		return wanted(err, ErrNotFound)
	case n.Node.Kind == Dir && !w.empty(n):
		return wanted(err, ErrNotEmpty)
	}
	delete(w.all, n.ID)
	return err
}

// move renames a name to another that may be taken.
func (w *wishTree) move() error {
	n, dir, name := w.pick(func(n *wishName) bool { return n.up != 0 }), w.dir(), w.name()
	if n == nil || w.below(dir, n) {
		return nil
	}
	old := w.at(dir, name)
	err := w.x.Rename(w.all[n.up].Ino, n.Name, dir.Ino, name, 0)
	switch {
	case n.Hidden():
		return wanted(err, ErrNotFound)
	case old == n:
		return err
	case old != nil && old.Hidden():
		return wanted(err, ErrExists)
	case old != nil && old.Node.Kind != Dir && n.Node.Kind == Dir:
		return wanted(err, ErrNotDir)
	case old != nil && old.Node.Kind == Dir && n.Node.Kind != Dir:
		return wanted(err, ErrIsDir)
	case old != nil && old.Node.Kind == Dir && !w.empty(old):
		return wanted(err, ErrNotEmpty)
	}
	if old != nil {
		if n.Intent == Inherited {
			n.Intent = old.Intent
		}
		delete(w.all, old.ID)
	}
	n.up, n.Name = dir.ID, name
	return err
}

func wanted(err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("got %w, want %w", err, want)
}

// check compares one directory's listing and one name's intent.
func (w *wishTree) check() {
	w.x.t.Helper()
	dir := w.dir()
	var want []string
	for _, id := range slices.Sorted(maps.Keys(w.all)) {
		if n := w.all[id]; n.up == dir.ID && !n.Hidden() {
			want = append(want, n.Name)
		}
	}
	if got := w.x.shownIn(dir.Ino, w.rand.IntN(2) == 0); !slices.Equal(got, want) {
		w.x.t.Fatalf("%s shows %v, want %v", dir.Name, got, want)
	}
	n := w.pick(func(*wishName) bool { return true })
	from := n
	for from != nil && from.Intent == Inherited {
		from = w.all[from.up]
	}
	if from == nil {
		from = &wishName{}
	}
	w.x.wantIntent(n.Name, n.ID, from.Intent, from.ID)
}

func TestWishesOfRandomTrees(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	x := newIndexTest(t)
	w := &wishTree{x: x, rand: rand.New(rand.NewPCG(seed, 0)), all: map[DentryID]*wishName{}}
	x.look(func(tx *Tx) error {
		root, err := tx.Entry(RootDentry)
		w.all[root.ID] = &wishName{Entry: root}
		return err
	})
	steps := []func() error{w.make, w.make, w.wish, w.move, w.move, w.remove}
	for i := range 2000 {
		if err := steps[w.rand.IntN(len(steps))](); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		w.check()
	}
	x.wantSound()
}
