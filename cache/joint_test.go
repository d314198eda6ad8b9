package cache

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// jointly has changes wait for the writer's lock together, and returns what came of each.
func jointly(c *Cache, legs []LegID, fn func(i int, tx *Tx) error) []error {
	errs := make([]error, len(legs))
	var all sync.WaitGroup
	c.writer.Lock()
	for i, leg := range legs {
		all.Go(func() {
			errs[i] = c.UpdateJoint(leg, func(tx *Tx) error { return fn(i, tx) })
		})
	}
	for {
		c.joint.mu.Lock()
		n := len(c.joint.due)
		c.joint.mu.Unlock()
		if n == len(legs) {
			break
		}
		runtime.Gosched()
	}
	c.writer.Unlock()
	all.Wait()
	return errs
}

// insert makes a file whose name is a number.
func insert(tx *Tx, i int) error {
	ino, err := tx.InsertNode(Node{Kind: File})
	if err == nil {
		_, err = tx.InsertDentry(RootIno, fmt.Sprint(i), ino)
	}
	return err
}

func TestChangesThatComeTogetherShareTransactions(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	legs := x.legs(RootIno, 2)
	before := x.Seq()
	const n = 3*jointMax + 1
	origins := make([]LegID, n)
	for i := range origins {
		origins[i] = legs[i%2]
	}
	errs := jointly(x.Cache, origins, func(i int, tx *Tx) error {
		return insert(tx, i)
	})
	x.no(errors.Join(errs...))
	if got := x.Seq() - before; got != 4 {
		t.Errorf("%d transactions for %d changes", got, n)
	}
	// Each has the origin that it was given: the other leg has to be told.
	for i, leg := range origins {
		e := x.lookup(RootIno, fmt.Sprint(i))
		for _, other := range legs {
			x.look(func(tx *Tx) error {
				_, marked, err := tx.LocalItem(other, e.ID)
				want(t, fmt.Sprintf("item of file %d, changed by leg %d, on leg %d", i, leg, other), marked, leg != other)
				return err
			})
		}
	}
}

func TestAChangeThatFailsFailsAlone(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	bad := errors.New("bad")
	errs := jointly(x.Cache, make([]LegID, 2*jointMax), func(i int, tx *Tx) error {
		err := insert(tx, i)
		if i == 3 {
			err = errors.Join(err, bad)
		}
		return err
	})
	for i, err := range errs {
		if i == 3 {
			wantErr(t, err, bad)
			x.gone(RootIno, "3")
			continue
		}
		x.no(err)
		x.lookup(RootIno, fmt.Sprint(i))
	}
}
