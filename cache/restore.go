package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"vdfs/internal/fault"
)

// restoredReason is why a version is in the trash in whose place a restored one was put.
const restoredReason = "replaced by a restored version"

// Restored is a version that a path of the drive is to have again. Its bytes are in the drive's trash, which gives them away,
// or in a sealed Stage.
type Restored struct {
	Path  string
	Trash int64  // of a TrashRow; 0: what follows says what it is
	Stage *Stage // nil: it is empty, or a symlink

	Kind     Kind   // File or Symlink
	Mode     uint32 // 0: not known; a bit above the permissions tells none of them from that
	Mtime    int64
	Target   string
	UID, GID uint32 // of what the drive does not have; what it has keeps its owner
	// Replace puts what the path has into the drive's trash. Without it a taken name is ErrExists.
	Replace bool
}

// What a version is restored with where nobody knows better.
const (
	restoredMode = 0o644
	madeDirs     = 0o755
	modeKnown    = 1 << 16
)

// Restore gives a path a version, in one transaction with what becomes of the version that it has. Directories on the way that
// are missing are made. It reports whether the path has that content already: then nothing was done.
//
// ErrBusy: the file is open for writing. ErrNotLocal: what it has is not here whole, so the trash cannot keep it. ErrExists,
// ErrIsDir, ErrNotDir: the path is another thing now. ErrNotListed: see Lookup. ErrReadOnly: programs change nothing there.
// ErrNotFound: the trash does not have the row.
func (c *Cache) Restore(v Restored) (same bool, err error) {
	c.noteChange()
	var made Node
	err = c.update(0, false, func(tx *Tx) (err error) {
		if made, err = tx.restore(v); err == nil && made.Ino != 0 {
			err = fault.Point(faultRestore)
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("restore %s: %w", v.Path, err)
	}
	if made.Ino == 0 {
		return true, nil
	}
	fault.Cut(faultRestored)
	if err := c.tellOrigin(made); err != nil {
		c.log.Warn("a restored file does not say whose it is", "ino", uint64(made.Ino), "error", err)
	}
	return false, nil
}

// tellOrigin has the backing file of a node say whose it is, as no endpoint has it yet.
func (c *Cache) tellOrigin(n Node) error {
	if n.Content == 0 {
		return nil
	}
	var d Dentry
	err := c.read(func(tx *Tx) (err error) {
		d, err = tx.DentryOf(n.Ino)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := c.store.open(n.Content)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return joinClose(b.setOrigin(n.Ino, d.Parent, d.Name), b.file)
}

// restore answers the new node; none: the path has the version already.
func (tx *Tx) restore(v Restored) (made Node, err error) {
	n := Node{Kind: v.Kind, Mode: v.Mode, UID: v.UID, GID: v.GID, Mtime: v.Mtime, Target: v.Target}
	if v.Stage != nil {
		n.Size, n.Hash = v.Stage.Size(), v.Stage.Hash()
	}
	if v.Trash != 0 {
		row, ok, err := get(tx, scanTrash, "SELECT "+trashCols+" FROM trash WHERE id = ?", v.Trash)
		if err == nil && (!ok || row.Content == 0 && row.Kind == File) {
			err = ErrNotFound
		}
		if err != nil {
			return made, fmt.Errorf("trash row %d: %w", v.Trash, err)
		}
		n.Kind, n.Mode, n.Mtime, n.Target, n.Size, n.Hash, n.Content = row.Kind, row.Mode|modeKnown, row.Mtime, row.Target, row.Size, row.Hash, row.Content
	}
	if n.Kind != File && n.Kind != Symlink {
		return made, ErrInvalid
	}
	dir, name := path.Split(v.Path)
	parent, err := tx.makeWay(dir, v)
	if err != nil {
		return made, err
	}
	if err := tx.mayChangeIn(parent.Ino); err != nil {
		return made, err
	}
	old, taken, err := tx.EntryAt(parent.Ino, name)
	switch {
	case err != nil:
		return made, err
	case !taken && parent.Node.Listing != Listed:
		return made, ErrNotListed
	case taken && n.sameContent(old.Node):
		return made, nil
	case taken && (!v.Replace || old.Hidden() || old.Node.Kind.Special()):
		return made, ErrExists
	case taken && old.Node.Kind == Dir:
		return made, ErrIsDir
	case taken:
		if err := tx.putAside(old, v.Path); err != nil {
			return made, err
		}
	}
	return tx.putRestored(v, n, parent.Ino, name, old)
}

// sameContent reports whether two versions are known to be of the same bytes.
func (n Node) sameContent(m Node) bool {
	if n.Kind != m.Kind || n.Size != m.Size || m.Writing {
		return n.Kind == Symlink && m.Kind == Symlink && n.Target == m.Target
	}
	return n.Kind == Symlink && n.Target == m.Target || n.Kind == File && (n.Size == 0 || n.Hash.Known() && n.Hash == m.Hash)
}

// makeWay finds a directory, and makes those on the way that are missing.
func (tx *Tx) makeWay(dir string, v Restored) (Entry, error) {
	e, err := tx.Entry(RootDentry)
	for name := range strings.SplitSeq(dir, "/") {
		if err != nil || name == "" {
			continue
		}
		next, ok, nerr := tx.EntryAt(e.Ino, name)
		switch {
		case nerr != nil:
			err = nerr
		case !ok && e.Node.Listing != Listed:
			err = ErrNotListed
		case !ok:
			if err = tx.mayChangeIn(e.Ino); err == nil {
				next, err = tx.MakeDir(e.Ino, name, v.UID, v.GID)
			}
		case next.Hidden():
			err = ErrExists
		case next.Node.Kind != Dir:
			err = ErrNotDir
		}
		e = next
	}
	return e, err
}

// MakeDir makes an empty directory for an owner, where no program does.
func (tx *Tx) MakeDir(parent Ino, name string, uid, gid uint32) (e Entry, err error) {
	now := tx.Now()
	ino, err := tx.InsertNode(Node{
		Kind: Dir, Mode: madeDirs, UID: uid, GID: gid, Atime: now, Mtime: now, Ctime: now, Btime: now, Listing: Listed,
	})
	if err != nil {
		return e, err
	}
	id, err := tx.InsertDentry(parent, name, ino)
	if err != nil {
		return e, err
	}
	return tx.Entry(id)
}

// putAside puts what a name has into the trash, if nothing else keeps it.
func (tx *Tx) putAside(e Entry, path string) error {
	n := e.Node
	if n.Kind == File && (tx.Exclude(n.Ino).Writers > 0 || n.Writing) {
		return ErrBusy
	}
	switch {
	case n.Nlink > 1, n.Kind == File && n.Size == 0: // another name has it; nothing is in it
		return nil
	case n.Kind == File && n.Residency != Full:
		return ErrNotLocal
	}
	_, err := tx.TrashNode(n.Ino, 0, path, restoredReason)
	return err
}

// putRestored makes the node of a restored version, and gives it the name; old has it as yet, if anything does.
func (tx *Tx) putRestored(v Restored, n Node, parent Ino, name string, old Entry) (Node, error) {
	now := tx.Now()
	n.Atime, n.Ctime, n.Btime, n.Listing = now, now, now, Listed
	if n.Size == 0 || n.Kind == Symlink || n.Content != 0 {
		n.Residency = Full
	}
	replaces := old.ID != 0 && old.Node.Kind == n.Kind
	if replaces {
		n.UID, n.GID, n.Version = old.Node.UID, old.Node.GID, old.Node.Version+1
	}
	switch {
	case n.Kind == Symlink:
		n.Mode = 0o777
	case n.Mode == 0 && replaces:
		n.Mode = old.Node.Mode
	case n.Mode == 0:
		n.Mode = restoredMode
	}
	var err error
	if n.Ino, err = tx.InsertNode(n); err == nil {
		err = tx.takeBytes(v, n)
	}
	switch {
	case err != nil:
	case replaces:
		if err = tx.copyXattrs(old.Node, n.Ino); err == nil {
			err = tx.SetDentryNode(old.ID, n.Ino)
		}
	default:
		if old.ID != 0 {
			err = tx.unlink(old)
		}
		if err == nil {
			_, err = tx.InsertDentry(parent, name, n.Ino)
		}
	}
	if err != nil {
		return Node{}, err
	}
	return tx.Node(n.Ino)
}

// takeBytes gives a node the bytes of the version that it was made for.
func (tx *Tx) takeBytes(v Restored, n Node) error {
	if v.Trash == 0 {
		if v.Stage == nil {
			return nil
		}
		return tx.FillWith(n.Ino, v.Stage)
	}
	if n.Content != 0 {
		if err := tx.exec("UPDATE contents SET ino = ? WHERE id = ?", n.Ino, n.Content); err != nil {
			return err
		}
	}
	return tx.exec("DELETE FROM trash WHERE id = ?", v.Trash)
}

// copyXattrs gives a node the extended attributes of another.
func (tx *Tx) copyXattrs(from Node, to Ino) error {
	if from.Xattrs == 0 {
		return nil
	}
	err := tx.exec("INSERT INTO xattrs(ino, name, value) SELECT ?, name, value FROM xattrs WHERE ino = ?", to, from.Ino)
	if err == nil {
		err = tx.exec("UPDATE nodes SET xattrs = ? WHERE ino = ?", from.Xattrs, to)
	}
	return err
}
