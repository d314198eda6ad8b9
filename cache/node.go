package cache

import "fmt"

const nodeCols = `n.ino, n.kind, n.mode, n.uid, n.gid, n.rdev, n.size, n.atime, n.mtime, n.ctime, n.btime, n.nlink,
	n.target, n.version, n.hash, n.content, n.residency, n.writing, n.listing, n.place, n.xattrs`

func scanNode(r *row) Node {
	return Node{
		Ino: Ino(r.int()), Kind: Kind(r.int()), Mode: uint32(r.int()), UID: uint32(r.int()), GID: uint32(r.int()),
		Rdev: uint32(r.int()), Size: r.int(), Atime: r.int(), Mtime: r.int(), Ctime: r.int(), Btime: r.int(),
		Nlink: uint32(r.int()), Target: r.str(), Version: uint64(r.int()), Hash: r.hash(), Content: ContentID(r.int()),
		Residency: Residency(r.int()), Writing: r.flag(), Listing: Listing(r.int()), Place: PlaceID(r.int()), Xattrs: int(r.int()),
	}
}

// Node reads a node as the index has it: while it is open for writing, size and mtime are those of the last settle.
func (tx *Tx) Node(ino Ino) (Node, error) {
	n, ok, err := get(tx, scanNode, "SELECT "+nodeCols+" FROM nodes n WHERE n.ino = ?", ino)
	if err == nil && !ok {
		err = fmt.Errorf("node %d: %w", ino, ErrNotFound)
	}
	return n, err
}

// Attr reads a node; for one that is open for writing size and mtime come from the backing file.
func (c *Cache) Attr(ino Ino) (Node, error) {
	var n Node
	err := c.read(func(tx *Tx) (err error) {
		n, err = tx.Node(ino)
		return err
	})
	if err != nil {
		return n, err
	}
	return n, c.live(&n)
}

// InsertNode adds a node without a name and returns its number. Ino, Nlink and Xattrs of n are ignored; a version of
// 0 becomes 1. A directory starts with two links, its own and its ".".
func (tx *Tx) InsertNode(n Node) (Ino, error) {
	n.Nlink = 0
	if n.Kind == Dir {
		n.Nlink = 1 // its "."; the name adds the other
	}
	ino, err := tx.insertNode(n)
	if err != nil {
		return 0, fmt.Errorf("insert node: %w", err)
	}
	return ino, nil
}

func (tx *Tx) insertNode(n Node) (Ino, error) {
	n.Version = max(n.Version, 1)
	var target []byte
	if n.Kind == Symlink {
		target = blob(n.Target)
		n.Size = int64(len(target))
	}
	id, err := tx.insert(`INSERT INTO nodes(kind, mode, uid, gid, rdev, size, atime, mtime, ctime, btime, nlink, target, version, hash, content, residency, writing, listing, place)
		VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		n.Kind, n.Mode&0o7777, n.UID, n.GID, n.Rdev, n.Size, n.Atime, n.Mtime, n.Ctime, n.Btime, n.Nlink, target, n.Version, n.Hash,
		orNull(n.Content), n.Residency, n.Writing, n.Listing, n.Place)
	tx.nodes++
	return Ino(id), err
}

// UpdateNode writes mode, owner, device, times, symlink target, version, hash, residency and listing of n. Size is
// written too unless the node is open for writing. Links, content and place have methods of their own. It publishes
// the attributes and marks every name of the node on the other legs.
func (tx *Tx) UpdateNode(n Node) error {
	var target []byte
	if n.Kind == Symlink {
		target = blob(n.Target)
		n.Size = int64(len(target))
	}
	ok, err := tx.changed(`UPDATE nodes SET mode=?, uid=?, gid=?, rdev=?, size=CASE WHEN writing THEN size ELSE ? END, atime=?, mtime=?, ctime=max(ctime, ?),
		target=?, version=?, hash=?, residency=?, listing=? WHERE ino=?`,
		n.Mode&0o7777, n.UID, n.GID, n.Rdev, n.Size, n.Atime, n.Mtime, n.Ctime, target, n.Version, n.Hash, n.Residency, n.Listing, n.Ino)
	if err != nil {
		return fmt.Errorf("update node: %w", err)
	}
	if !ok {
		return fmt.Errorf("update node %d: %w", n.Ino, ErrNotFound)
	}
	tx.publish(Change{Ino: n.Ino, Data: n.Kind == Symlink})
	return tx.markNode(n.Ino, 0)
}

// SetListing records whether a directory's children are known, and lets the kernel forget what it saw of it.
func (tx *Tx) SetListing(ino Ino, l Listing) error {
	ok, err := tx.changed("UPDATE nodes SET listing = ? WHERE ino = ? AND kind = ?", l, ino, Dir)
	if err != nil {
		return fmt.Errorf("set listing: %w", err)
	}
	if !ok {
		return fmt.Errorf("set listing of node %d: %w", ino, ErrNotFound)
	}
	tx.publish(Change{Ino: ino, Data: true})
	return nil
}

// touchDir is the part that a change of a directory's entries has in the directory: its times, its links. It
// answers what the callers need of the directory, so that a create needs no further look. The ctime grows with every
// change, however fast they come and whatever the system's clock does: by it the kernel's listing is known to be current.
func (tx *Tx) touchDir(dir Ino, links int) (parent Node, err error) {
	err = tx.exec("UPDATE nodes SET mtime=max(ctime+1, ?1), ctime=max(ctime+1, ?1), nlink=nlink+?2 WHERE ino=?3 AND kind=2 AND nlink>0", tx.Now(), links, dir)
	if err != nil {
		return parent, err
	}
	ok, err := tx.queryRow("SELECT listing, place, mode, gid FROM nodes WHERE ino=? AND changes() > 0", func(r *row) {
		parent = Node{Ino: dir, Kind: Dir, Listing: Listing(r.int()), Place: PlaceID(r.int()), Mode: uint32(r.int()), GID: uint32(r.int())}
	}, dir)
	if err != nil || ok {
		return parent, err
	}
	n, err := tx.Node(dir)
	switch {
	case err != nil:
		return n, err
	case n.Kind != Dir:
		return n, fmt.Errorf("node %d: %w", dir, ErrNotDir)
	}
	return n, fmt.Errorf("directory %d was removed: %w", dir, ErrNotFound)
}

// addLink counts one more or one fewer name of a node, which moves its ctime, and returns how many there are.
func (tx *Tx) addLink(ino Ino, by int) (int64, error) {
	if err := tx.exec("UPDATE nodes SET nlink=nlink+?, ctime=max(ctime, ?) WHERE ino=?", by, tx.Now(), ino); err != nil {
		return 0, err
	}
	n, ok, err := get(tx, (*row).int, "SELECT nlink FROM nodes WHERE ino=?", ino)
	if err == nil && !ok {
		err = fmt.Errorf("link node %d: %w", ino, ErrNotFound)
	}
	return n, err
}

// loseLink takes one name from a node. With the last one the node goes, or, while it is in use, waits as an orphan
// with nlink 0 for its last handle to close.
func (tx *Tx) loseLink(ino Ino, kind Kind) (gone bool, err error) {
	links, err := tx.addLink(ino, -1)
	if err != nil {
		return false, err
	}
	if kind == Dir {
		links-- // its "." goes with it
	}
	if links > 0 {
		tx.publish(Change{Ino: ino})
		return false, nil
	}
	if kind == Dir {
		return true, tx.removeNode(ino)
	}
	if release, free := tx.c.claim(ino); free {
		tx.onEnd(release)
		return true, tx.removeNode(ino)
	}
	return true, tx.cancelTransfers(ino)
}

// cancelTransfers takes away what is queued of a node.
func (tx *Tx) cancelTransfers(ino Ino) error {
	tx.marked = true // who is at one of them is to stop
	return tx.exec("DELETE FROM transfers WHERE ino = ?", ino)
}

// removeOrphan removes a node that no name and no handle is left of; any other it leaves alone. Whoever closes the
// last handle calls it, holding the node's lease.
func (tx *Tx) removeOrphan(ino Ino) error {
	_, ok, err := get(tx, (*row).int, "SELECT ino FROM nodes WHERE ino = ? AND nlink = 0", ino)
	if err != nil || !ok {
		return err
	}
	return tx.removeNode(ino)
}

// removeNode removes a node and what hangs on it. The caller knows that no name and no handle is left.
func (tx *Tx) removeNode(ino Ino) error {
	var xattrs, content int64
	var kind Kind
	ok, err := tx.queryRow("DELETE FROM nodes WHERE ino = ? RETURNING kind, xattrs, content", func(r *row) {
		kind, xattrs, content = Kind(r.int()), r.int(), r.int()
	}, ino)
	if err != nil || !ok {
		return err
	}
	tx.nodes--
	if xattrs > 0 {
		if err := tx.exec("DELETE FROM xattrs WHERE ino = ?", ino); err != nil {
			return err
		}
	}
	if kind != File {
		return nil
	}
	if err := tx.exec("DELETE FROM transfers WHERE ino = ?", ino); err != nil {
		return err
	}
	if content == 0 {
		return nil
	}
	return tx.removeContent(ContentID(content))
}
