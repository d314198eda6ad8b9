package cache

import (
	"fmt"

	"vdfs/internal/fault"
)

// Swap is the lease of one node for its exclusive holder: nobody has the node open, and those who want it wait. Hold it
// for the length of a transaction, never over a wait.
type Swap struct {
	c  *Cache
	st *fileState
}

// TrySwap takes the lease for changing what the node is. It never waits: a *BusyError (ErrBusy) counts the holders.
func (c *Cache) TrySwap(ino Ino) (*Swap, error) { return c.tryExclusive("swap", ino) }

// TryDrop takes the lease for dropping the node's bytes; the rules are those of TrySwap.
func (c *Cache) TryDrop(ino Ino) (*Swap, error) { return c.tryExclusive("drop", ino) }

func (c *Cache) tryExclusive(verb string, ino Ino) (*Swap, error) {
	st, err := c.files.exclusive(ino)
	if err != nil {
		return nil, fmt.Errorf("%s node %d: %w", verb, ino, err)
	}
	return &Swap{c, st}, nil
}

// Release lets in those who waited. A second call does nothing.
func (s *Swap) Release() {
	if s.st != nil {
		s.c.files.endExclusive(s.st)
		s.st = nil
	}
}

// Drop removes the local bytes of the given version and returns how many they were. The caller has proof, obtained for
// this version, that an endpoint stores them: under the lease the version cannot change any more, so the proof still
// holds. ErrStale: the node has another version. ErrBusy: it was not settled.
func (s *Swap) Drop(version uint64) (freed int64, err error) {
	if s.st == nil {
		return 0, fmt.Errorf("drop bytes after release: %w", ErrInvalid)
	}
	ino := s.st.ino
	if err := fault.Point(faultDropped); err != nil {
		return 0, err
	}
	err = s.c.update(0, false, func(tx *Tx) error {
		n, err := tx.Node(ino)
		switch {
		case err != nil:
			return err
		case n.Writing:
			return ErrBusy
		case n.Version != version || n.Kind != File:
			return ErrStale
		case n.Content == 0:
			return nil
		}
		if _, err := tx.queryRow(`SELECT present FROM contents WHERE id=?`, func(r *row) { freed = r.int() }, n.Content); err != nil {
			return err
		}
		return tx.dropContent(n)
	})
	if err != nil {
		return 0, fmt.Errorf("drop bytes of node %d: %w", ino, err)
	}
	return freed, nil
}

// dropContent makes a placeholder of a file: the row says so first, the backing file goes after the commit.
func (tx *Tx) dropContent(n Node) error {
	err := tx.exec(`UPDATE nodes SET residency=0, content=NULL WHERE ino=?`, n.Ino)
	if err != nil {
		return err
	}
	return tx.removeContent(n.Content)
}

// Drop is TryDrop, Swap.Drop and Release in one.
func (c *Cache) Drop(ino Ino, version uint64) (freed int64, err error) {
	lease, err := c.TryDrop(ino)
	if err != nil {
		return 0, err
	}
	defer lease.Release()
	return lease.Drop(version)
}
