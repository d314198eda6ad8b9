package cache

import "fmt"

// ReadDir reads up to limit entries of a directory in the order of their dentry ids, beginning after one of them: an
// entry that stays is seen exactly once, whatever else comes and goes. What is hidden is left out. Without withNodes only
// Ino and Kind of the nodes are filled in. ErrNotListed: not all children are known, so none are shown.
func (c *Cache) ReadDir(ino Ino, after DentryID, limit int, withNodes bool) ([]Entry, error) {
	if !withNodes {
		return c.readDir(ino, after, limit, (*Tx).names)
	}
	out, err := c.readDir(ino, after, limit, (*Tx).shown)
	return c.allLive(ino, out, err)
}

// ReadDirAll is ReadDir, with nodes, of what is hidden, too.
func (c *Cache) ReadDirAll(ino Ino, after DentryID, limit int) ([]Entry, error) {
	out, err := c.readDir(ino, after, limit, (*Tx).Children)
	return c.allLive(ino, out, err)
}

func (c *Cache) readDir(ino Ino, after DentryID, limit int, page func(*Tx, Ino, DentryID, int) ([]Entry, error)) (out []Entry, err error) {
	err = c.view(func(tx *Tx) error {
		if after == 0 {
			n, err := tx.Node(ino)
			switch {
			case err != nil:
				return err
			case n.Kind != Dir:
				return ErrNotDir
			case n.Listing != Listed:
				return ErrNotListed
			}
		}
		var err error
		out, err = page(tx, ino, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read directory %d: %w", ino, err)
	}
	return out, nil
}

// allLive fills in the sizes and times of those entries of a directory that are open for writing.
func (c *Cache) allLive(ino Ino, out []Entry, err error) ([]Entry, error) {
	for i := range out {
		if lerr := c.live(&out[i].Node); lerr != nil {
			return nil, fmt.Errorf("read directory %d: %w", ino, lerr)
		}
	}
	return out, err
}

func (tx *Tx) names(parent Ino, after DentryID, limit int) ([]Entry, error) {
	return list(tx, func(r *row) Entry {
		e := Entry{Dentry: scanDentry(r)}
		e.Node = Node{Ino: e.Ino, Kind: Kind(r.int())}
		return e
	}, "SELECT "+dentryCols+", n.kind"+fromEntry+"WHERE d.parent = ? AND d.id > ? AND d.intent <> ? ORDER BY d.id LIMIT ?", parent, after, Excluded, limit)
}

// shown is Children without what is hidden.
func (tx *Tx) shown(parent Ino, after DentryID, limit int) ([]Entry, error) {
	return list(tx, scanEntry, "SELECT "+dentryCols+", "+nodeCols+fromEntry+"WHERE d.parent = ? AND d.id > ? AND d.intent <> ? ORDER BY d.id LIMIT ?", parent, after, Excluded, limit)
}
