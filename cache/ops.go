package cache

import (
	"errors"
	"fmt"
	"math"
)

const (
	setuid = 0o4000
	setgid = 0o2000
)

// Lookup finds a name in a directory. ErrNotListed: it is not there, and the directory's children are not all known.
func (c *Cache) Lookup(parent Ino, name string) (Entry, error) {
	return c.lookup(parent, name, (*Tx).mustEntry)
}

func (c *Cache) lookup(parent Ino, name string, find func(*Tx, Ino, string) (Entry, error)) (Entry, error) {
	var e Entry
	err := c.read(func(tx *Tx) (err error) {
		e, err = find(tx, parent, name)
		return err
	})
	if err == nil {
		err = c.live(&e.Node)
	}
	if err != nil {
		return e, fmt.Errorf("lookup %q: %w", name, err)
	}
	return e, nil
}

// Mkdir makes a directory.
func (c *Cache) Mkdir(parent Ino, name string, mode uint32, by Caller) (Entry, error) {
	return c.make(parent, name, Node{Kind: Dir, Mode: mode, Listing: Listed}, by)
}

// Mknod makes a special file, or an empty regular one without an open handle. Special files stay on this machine.
func (c *Cache) Mknod(parent Ino, name string, kind Kind, mode, rdev uint32, by Caller) (Entry, error) {
	if kind == Dir || kind == Symlink || kind < File || kind > BlockDevice {
		return Entry{}, fmt.Errorf("mknod %q of kind %d: %w", name, kind, ErrInvalid)
	}
	if kind == File {
		_, o, err := c.Create(parent, name, mode, by)
		if err != nil {
			return Entry{}, err
		}
		if err := o.Close(); err != nil {
			return Entry{}, err
		}
		return c.Lookup(parent, name)
	}
	return c.make(parent, name, Node{Kind: kind, Mode: mode, Rdev: rdev, Listing: Listed}, by)
}

// Symlink makes a symbolic link to target, which is kept byte for byte and never followed.
func (c *Cache) Symlink(parent Ino, name, target string, by Caller) (Entry, error) {
	if target == "" || len(target) > 4095 {
		return Entry{}, fmt.Errorf("symlink %q: target of %d bytes: %w", name, len(target), ErrInvalid)
	}
	return c.make(parent, name, Node{Kind: Symlink, Mode: 0o777, Target: target, Listing: Listed}, by)
}

func (c *Cache) make(parent Ino, name string, n Node, by Caller) (e Entry, err error) {
	err = c.updateBetween(faultMake, faultMakeDone, func(tx *Tx) (err error) {
		if err := tx.mayChangeIn(parent); err != nil {
			return err
		}
		e, err = tx.create(parent, name, n, by)
		return err
	})
	return e, err
}

// create makes a node with its first name: four statements and one for each leg. n has kind, mode and what is particular
// to its kind; owner, times, links and place are decided here. Node and name are undone together by the transaction.
func (tx *Tx) create(parent Ino, name string, n Node, by Caller) (Entry, error) {
	fail := func(err error) (Entry, error) { return Entry{}, fmt.Errorf("create %q: %w", name, err) }
	if err := checkName(name); err != nil {
		return fail(err)
	}
	subdirs := 0
	n.Nlink = 1
	if n.Kind == Dir {
		subdirs, n.Nlink = 1, 2
	}
	dir, err := tx.touchDir(parent, subdirs)
	if err == nil {
		err = tx.nameMayBeNew(dir, name)
	}
	if err != nil {
		return fail(err)
	}
	n.own(dir, by)
	n.Atime, n.Mtime, n.Ctime, n.Btime = tx.Now(), tx.Now(), tx.Now(), tx.Now()
	if n.Ino, err = tx.insertNode(n); err != nil {
		return fail(err)
	}
	d, err := tx.addDentry(parent, name, n.Ino, n.Kind)
	if err != nil {
		return fail(err)
	}
	return Entry{Dentry: d, Node: n}, tx.markNew(d, n, dir.Place)
}

// nameMayBeNew refuses a directory that is not listed: the name may be taken at the endpoint by what is not known here yet.
func (tx *Tx) nameMayBeNew(dir Node, name string) error {
	if dir.Listing == Listed {
		return nil // a name that is taken shows when it is written
	}
	_, taken, err := tx.DentryAt(dir.Ino, name)
	switch {
	case err != nil:
		return err
	case taken:
		return ErrExists
	}
	return ErrNotListed
}

// own fills in what a new node has from its directory and its maker.
func (n *Node) own(dir Node, by Caller) {
	n.UID, n.GID = by.UID, by.GID
	if dir.Mode&setgid != 0 {
		n.GID = dir.GID
		if n.Kind == Dir {
			n.Mode |= setgid
		}
	}
	if n.Kind == Dir {
		n.Place = dir.Place
	}
	if n.Kind == Symlink {
		n.Size = int64(len(n.Target))
	}
	n.Mode &= 0o7777
	n.Version = 1
}

// Link gives a file a further name. Both must be in the same place; directories have one name only.
func (c *Cache) Link(ino Ino, parent Ino, name string) (e Entry, err error) {
	if err := checkName(name); err != nil {
		return e, fmt.Errorf("link: %w", err)
	}
	err = c.updateBetween(faultLink, faultLinkDone, func(tx *Tx) (err error) {
		if err := tx.mayChangeIn(parent); err != nil {
			return err
		}
		e, err = tx.linkFile(ino, parent, name)
		return err
	})
	if err == nil {
		err = c.live(&e.Node)
	}
	if err != nil {
		return e, fmt.Errorf("link %q: %w", name, err)
	}
	return e, nil
}

func (tx *Tx) linkFile(ino, parent Ino, name string) (e Entry, err error) {
	n, err := tx.Node(ino)
	switch {
	case err != nil:
		return e, err
	case n.Kind == Dir:
		return e, ErrIsDir
	case n.Nlink == 0:
		return e, ErrNotFound
	}
	first, err := tx.DentryOf(ino)
	if err != nil {
		return e, err
	}
	if err := tx.sameBorder(first.Parent, parent); err != nil {
		return e, err
	}
	if err := tx.requireListed(parent); err != nil {
		return e, err
	}
	if e.Dentry, err = tx.link(parent, name, n); err != nil {
		return e, err
	}
	if e.Node, err = tx.Node(ino); err != nil {
		return e, err
	}
	return e, tx.wantPinned(e.ID, n)
}

// Unlink takes a name from a file; ErrIsDir for a directory.
func (c *Cache) Unlink(parent Ino, name string) error {
	return c.remove("unlink", parent, name, func(n Node) error {
		if n.Kind == Dir {
			return ErrIsDir
		}
		return nil
	})
}

// Rmdir removes an empty directory; ErrBusy for that of a place.
func (c *Cache) Rmdir(parent Ino, name string) error {
	return c.remove("rmdir", parent, name, func(n Node) error {
		if n.Kind != Dir {
			return ErrNotDir
		}
		return nil
	})
}

func (c *Cache) remove(verb string, parent Ino, name string, check func(Node) error) error {
	err := c.updateBetween(faultRemove, faultRmDone, func(tx *Tx) error {
		if err := tx.mayChangeIn(parent); err != nil {
			return err
		}
		e, err := tx.mustEntry(parent, name)
		if err != nil {
			return err
		}
		if err := check(e.Node); err != nil {
			return err
		}
		if err := tx.keepAgreed(e); err != nil {
			return err
		}
		return tx.unlink(e)
	})
	if err != nil {
		return fmt.Errorf("%s %q: %w", verb, name, err)
	}
	return nil
}

// ParentOf is the directory that a directory is in; the root is in itself.
func (c *Cache) ParentOf(ino Ino) (Ino, error) {
	if ino == RootIno {
		return RootIno, nil
	}
	var d Dentry
	err := c.read(func(tx *Tx) (err error) {
		d, err = tx.DentryOf(ino)
		return err
	})
	return d.Parent, err
}

// SetAttr changes attributes. A size is a truncation, and needs the bytes that OpenFile.Truncate needs (ErrNotLocal).
func (c *Cache) SetAttr(ino Ino, a Attrs) (Node, error) {
	if a.Size != nil {
		if err := c.truncate(ino, *a.Size); err != nil {
			return Node{}, fmt.Errorf("set attributes: %w", err)
		}
	}
	var n Node
	err := c.updateBetween(faultSetAttr, faultAttrsDone, func(tx *Tx) (err error) {
		if err := tx.mayChange(ino); err != nil {
			return err
		}
		n, err = tx.setAttr(ino, a)
		return err
	})
	if errors.Is(err, ErrNoSpace) && a.onlyCuts() {
		// The file is cut: whoever was told otherwise would go on showing what it held. Its times are those of the cut.
		c.log.Warn("no room for the attributes of a file that was cut", "ino", uint64(ino), "error", err)
		return c.Attr(ino)
	}
	if err == nil {
		err = c.live(&n)
	}
	if err != nil {
		return n, fmt.Errorf("set attributes of node %d: %w", ino, err)
	}
	return n, nil
}

func (c *Cache) truncate(ino Ino, size int64) error {
	n, err := c.Attr(ino)
	switch {
	case err != nil:
		return err
	case n.Kind == Dir:
		return ErrIsDir
	case n.Kind != File || size < 0 || size == math.MaxInt64:
		return ErrInvalid
	}
	o, err := c.OpenFile(ino, true)
	if err != nil {
		return err
	}
	if err := o.Truncate(size); err != nil {
		return joinClose(err, o)
	}
	err = o.Close()
	if errors.Is(err, ErrNoSpace) {
		// The file is cut, and stays marked until there is room to settle it.
		c.log.Warn("no room to settle a file that was cut", "ino", uint64(ino), "error", err)
		return nil
	}
	return err
}

// onlyCuts reports whether a change is a truncation with the times that belong to it.
func (a *Attrs) onlyCuts() bool {
	return a.Size != nil && a.Mode == nil && a.UID == nil && a.GID == nil
}

// at puts a time in the place of "now".
func (a Attrs) at(now int64) Attrs {
	if a.AtimeNow {
		a.Atime = &now
	}
	if a.MtimeNow {
		a.Mtime = &now
	}
	return a
}

// WithoutSetid is a mode without the bits that a change of owner or content by another must not leave on a program.
// Without group execution the group bit means mandatory locking and stays.
func WithoutSetid(mode uint32) uint32 {
	mode &^= setuid
	if mode&0o010 != 0 {
		mode &^= setgid
	}
	return mode
}

func (tx *Tx) setAttr(ino Ino, a Attrs) (Node, error) {
	n, err := tx.Node(ino)
	if err != nil {
		return n, err
	}
	a = a.at(tx.Now())
	was := n.Mode
	if a.Mode != nil {
		n.Mode = *a.Mode & 0o7777
	}
	if a.NoSetid && n.Kind != Dir {
		n.Mode = WithoutSetid(n.Mode)
	}
	sent := n.Mode != was // whether an endpoint could keep the change
	if a.UID != nil {
		n.UID = *a.UID
	}
	if a.GID != nil {
		n.GID = *a.GID
	}
	if a.Atime != nil {
		n.Atime = *a.Atime
		tx.c.forgetAtime(ino)
	}
	if a.Mtime != nil {
		sent = sent || n.Kind != Dir && (n.Writing || n.Mtime != *a.Mtime)
		n.Mtime = *a.Mtime
		// While the node is open for writing its backing file is the truth. It is changed under the writer's lock, where
		// the settle reads it: so a settle comes before this change, or sees it.
		if err := tx.c.setLiveMtime(n, n.Mtime); err != nil {
			return n, err
		}
	}
	n.Ctime = max(n.Ctime, tx.Now())
	err = tx.exec("UPDATE nodes SET mode=?, uid=?, gid=?, atime=?, mtime=?, ctime=? WHERE ino=?", n.Mode, n.UID, n.GID, n.Atime, n.Mtime, n.Ctime, ino)
	if err == nil && sent {
		err = tx.markNode(ino, 0)
	}
	return n, err
}

// setLiveMtime gives the backing file of a node that is open for writing an mtime.
func (c *Cache) setLiveMtime(n Node, mtime int64) error {
	if !n.Writing || n.Content == 0 {
		return nil
	}
	if st := c.files.find(n.Ino); st != nil {
		if b := st.cur.Load(); b != nil && b.id == n.Content {
			st.changes.Add(1)
			return b.setMtime(mtime)
		}
	}
	b, err := c.store.open(n.Content)
	if err != nil {
		return err
	}
	return joinClose(b.setMtime(mtime), b.file)
}
