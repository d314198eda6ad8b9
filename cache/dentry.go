package cache

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxName is the longest name in bytes.
const MaxName = 255

// maxLinks is what ext4 allows; programs are used to a limit of this order.
const maxLinks = 65000

const (
	dentryCols = "d.id, d.parent, d.name, d.ino, d.intent, d.local_only"
	fromEntry  = " FROM dentries d JOIN nodes n ON n.ino = d.ino "
)

func scanDentry(r *row) Dentry {
	return Dentry{ID: DentryID(r.int()), Parent: Ino(r.int()), Name: r.str(), Ino: Ino(r.int()), Intent: Intent(r.int()), LocalOnly: r.flag()}
}

func scanEntry(r *row) Entry { return Entry{Dentry: scanDentry(r), Node: scanNode(r)} }

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > MaxName || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("name %q: %w", name, ErrName)
	}
	return nil
}

// Dentry reads a dentry.
func (tx *Tx) Dentry(id DentryID) (Dentry, error) {
	d, ok, err := get(tx, scanDentry, "SELECT "+dentryCols+" FROM dentries d WHERE d.id = ?", id)
	if err == nil && !ok {
		err = fmt.Errorf("dentry %d: %w", id, ErrNotFound)
	}
	return d, err
}

// DentryAt reads the dentry of a name in a directory; false: there is none.
func (tx *Tx) DentryAt(parent Ino, name string) (Dentry, bool, error) {
	return get(tx, scanDentry, "SELECT "+dentryCols+" FROM dentries d WHERE d.parent = ? AND d.name = ?", parent, blob(name))
}

// EntryAt is DentryAt with the node.
func (tx *Tx) EntryAt(parent Ino, name string) (Entry, bool, error) {
	return get(tx, scanEntry, "SELECT "+dentryCols+", "+nodeCols+fromEntry+"WHERE d.parent = ? AND d.name = ?", parent, blob(name))
}

// Entry is Dentry with the node.
func (tx *Tx) Entry(id DentryID) (Entry, error) {
	e, ok, err := get(tx, scanEntry, "SELECT "+dentryCols+", "+nodeCols+fromEntry+"WHERE d.id = ?", id)
	if err == nil && !ok {
		err = fmt.Errorf("dentry %d: %w", id, ErrNotFound)
	}
	return e, err
}

// DentryOf reads the oldest name of a node; of a directory there is only one.
func (tx *Tx) DentryOf(ino Ino) (Dentry, error) {
	d, ok, err := get(tx, scanDentry, "SELECT "+dentryCols+" FROM dentries d WHERE d.ino = ? ORDER BY d.id LIMIT 1", ino)
	if err == nil && !ok {
		err = fmt.Errorf("name of node %d: %w", ino, ErrNotFound)
	}
	return d, err
}

// DentriesOf reads all names of a node.
func (tx *Tx) DentriesOf(ino Ino) ([]Dentry, error) {
	return list(tx, scanDentry, "SELECT "+dentryCols+" FROM dentries d WHERE d.ino = ? ORDER BY d.id", ino)
}

// Children reads up to limit entries of a directory in the order of their ids, beginning after one of them.
func (tx *Tx) Children(parent Ino, after DentryID, limit int) ([]Entry, error) {
	return list(tx, scanEntry, "SELECT "+dentryCols+", "+nodeCols+fromEntry+"WHERE d.parent = ? AND d.id > ? ORDER BY d.id LIMIT ?", parent, after, limit)
}

// ChildCount counts the entries of a directory.
func (tx *Tx) ChildCount(parent Ino) (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT count(*) FROM dentries WHERE parent = ?", parent)
	return n, err
}

// Path is where a dentry is in the drive: "/a/b", "/" for the root.
func (tx *Tx) Path(id DentryID) (string, error) {
	var parts []string
	d, err := tx.Dentry(id)
	for err == nil && d.Parent != 0 {
		parts = append(parts, d.Name)
		d, err = tx.DentryOf(d.Parent)
	}
	if err != nil {
		return "", fmt.Errorf("path of dentry %d: %w", id, err)
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/"), nil
}

// Resolve finds what a path of the drive names. It follows no symlinks. Empty and "." parts are skipped. A name that
// is missing in a directory that is not listed is ErrNotListed.
func (tx *Tx) Resolve(path string) (Entry, error) {
	e, err := tx.Entry(RootDentry)
	for part := range strings.SplitSeq(path, "/") {
		if err != nil {
			return e, fmt.Errorf("resolve %q: %w", path, err)
		}
		if part != "" && part != "." {
			e, err = tx.step(e, part)
		}
	}
	if err != nil {
		return e, fmt.Errorf("resolve %q: %w", path, err)
	}
	return e, nil
}

func (tx *Tx) step(e Entry, name string) (Entry, error) {
	if e.Node.Kind != Dir {
		return e, ErrNotDir
	}
	next, ok, err := tx.EntryAt(e.Ino, name)
	switch {
	case err != nil || ok:
		return next, err
	case e.Node.Listing != Listed:
		return e, ErrNotListed
	}
	return e, ErrNotFound
}

// Under reports whether dir is ancestor itself or lies below it.
func (tx *Tx) Under(dir, ancestor Ino) (bool, error) {
	for dir != ancestor {
		if dir == RootIno || dir == 0 {
			return false, nil
		}
		d, err := tx.DentryOf(dir)
		if err != nil {
			return false, err
		}
		dir = d.Parent
	}
	return true, nil
}

// PlaceOf is the place that a dentry belongs to: that of its directory. The root's own dentry belongs to none.
func (tx *Tx) PlaceOf(id DentryID) (PlaceID, error) {
	p, _, err := get(tx, (*row).int, "SELECT n.place FROM dentries d JOIN nodes n ON n.ino = d.parent WHERE d.id = ?", id)
	return PlaceID(p), err
}

// isPlaceRoot reports whether a node is the directory of a place.
func (tx *Tx) isPlaceRoot(ino Ino) (bool, error) {
	return tx.queryRow("SELECT 1 FROM places WHERE ino = ?", func(*row) {}, ino)
}

// addDentry writes the row of a new name.
func (tx *Tx) addDentry(parent Ino, name string, ino Ino, kind Kind) (Dentry, error) {
	d := Dentry{Parent: parent, Name: name, Ino: ino, LocalOnly: tx.localOnly(name, kind)}
	id, err := tx.insert("INSERT INTO dentries(parent, name, ino, local_only) VALUES(?,?,?,?)", parent, blob(name), ino, d.LocalOnly)
	if isUnique(err) {
		err = fmt.Errorf("name %q: %w", name, ErrExists)
	}
	d.ID = DentryID(id)
	return d, err
}

// localOnly decides what is never sent. Special files cannot be; directories always are, what is in them decides
// for itself.
func (tx *Tx) localOnly(name string, kind Kind) bool {
	return kind.Special() || kind != Dir && tx.c.opt.LocalOnly(name)
}

// InsertDentry gives a node a name. A directory can have only one. A file without bytes that becomes pinned by its
// new ancestors is queued for download.
func (tx *Tx) InsertDentry(parent Ino, name string, ino Ino) (DentryID, error) {
	fail := func(err error) (DentryID, error) { return 0, fmt.Errorf("insert dentry: %w", err) }
	if err := checkName(name); err != nil {
		return fail(err)
	}
	n, err := tx.Node(ino)
	if err != nil {
		return fail(err)
	}
	d, err := tx.link(parent, name, n)
	if err != nil {
		return fail(err)
	}
	return d.ID, tx.wantPinned(d.ID, n)
}

// link adds a name to an existing node, with everything that follows from it.
func (tx *Tx) link(parent Ino, name string, n Node) (Dentry, error) {
	subdirs := 0
	if n.Kind == Dir {
		subdirs = 1
	}
	dir, err := tx.touchDir(parent, subdirs)
	if err != nil {
		return Dentry{}, err
	}
	d, err := tx.addDentry(parent, name, n.Ino, n.Kind)
	if err != nil {
		return d, err
	}
	links, err := tx.addLink(n.Ino, 1)
	switch {
	case err != nil:
		return d, err
	case n.Kind == Dir && links > 2 && n.Nlink > 1:
		return d, fmt.Errorf("second name for directory %d: %w", n.Ino, ErrInvalid)
	case n.Kind != Dir && links > maxLinks:
		return d, ErrTooManyLinks
	}
	if n.Kind == Dir && n.Place == 0 && dir.Place != 0 {
		if err := tx.exec("UPDATE nodes SET place = ? WHERE ino = ?", dir.Place, n.Ino); err != nil {
			return d, err
		}
	}
	tx.publish(Change{Ino: parent, Parent: parent, Name: name})
	if links > 1 && n.Kind != Dir {
		tx.publish(Change{Ino: n.Ino})
	}
	return d, tx.markNew(d, n, dir.Place)
}

// RemoveDentry takes a name away. A bound dentry leaves its bindings behind with a delete item on every other leg; an
// unbound one takes its items with it. A node that loses its last name goes, or stays as an orphan until its last
// handle closes. The directory's own entries must be gone (ErrNotEmpty), and it must not be a place (ErrBusy).
func (tx *Tx) RemoveDentry(id DentryID) error {
	e, err := tx.Entry(id)
	if err == nil {
		err = tx.unlink(e)
	}
	if err != nil {
		return fmt.Errorf("remove dentry: %w", err)
	}
	return nil
}

func (tx *Tx) unlink(e Entry) error {
	subdirs := 0
	if e.Node.Kind == Dir {
		subdirs = -1
		if err := tx.removable(e.Node); err != nil {
			return err
		}
	}
	if _, err := tx.touchDir(e.Parent, subdirs); err != nil {
		return err
	}
	if err := tx.bequeath(e); err != nil {
		return err
	}
	if err := tx.exec("DELETE FROM dentries WHERE id = ?", e.ID); err != nil {
		return err
	}
	if err := tx.markGone(e.Dentry); err != nil {
		return err
	}
	gone, err := tx.loseLink(e.Ino, e.Node.Kind)
	ch := Change{Ino: e.Parent, Parent: e.Parent, Name: e.Name}
	if gone {
		ch.Gone = e.Ino
	}
	tx.publish(ch)
	return err
}

// removable checks that a directory may go.
func (tx *Tx) removable(n Node) error {
	if root, err := tx.isPlaceRoot(n.Ino); err != nil {
		return err
	} else if root || n.Ino == RootIno {
		return fmt.Errorf("directory %d is a place: %w", n.Ino, ErrBusy)
	}
	if n.Listing != Listed {
		return fmt.Errorf("directory %d: %w", n.Ino, ErrNotListed)
	}
	some, err := tx.queryRow("SELECT 1 FROM dentries WHERE parent = ? LIMIT 1", func(*row) {}, n.Ino)
	if err == nil && some {
		err = ErrNotEmpty
	}
	return err
}

// SetDentryNode gives a dentry another node of the same kind. The old node loses a link; one whose last that was is
// an orphan until its readers close. A node that is open for writing is never replaced (ErrBusy): the caller waits.
func (tx *Tx) SetDentryNode(id DentryID, ino Ino) error {
	e, err := tx.Entry(id)
	if err != nil {
		return fmt.Errorf("set node of dentry: %w", err)
	}
	n, err := tx.Node(ino)
	switch {
	case err != nil:
		return fmt.Errorf("set node of dentry: %w", err)
	case n.Kind != e.Node.Kind || n.Kind == Dir:
		return fmt.Errorf("set node of dentry %d to another kind: %w", id, ErrInvalid)
	case e.Node.Writing || tx.c.OpenWriters(e.Ino):
		return fmt.Errorf("node %d is open for writing: %w", e.Ino, ErrBusy)
	case e.Ino == ino:
		return nil
	}
	inUse, err := tx.inUse(e.Node)
	if err != nil {
		return err
	}
	if err := tx.exec("UPDATE dentries SET ino = ? WHERE id = ?", ino, id); err != nil {
		return err
	}
	if _, err := tx.addLink(ino, 1); err != nil {
		return err
	}
	if _, err := tx.loseLink(e.Ino, e.Node.Kind); err != nil {
		return err
	}
	tx.publish(Change{Ino: e.Ino, Parent: e.Parent, Name: e.Name})
	e.Ino = ino
	err = tx.wantPinned(id, n)
	if err == nil && inUse && n.Residency != Full {
		err = tx.wantAgain(ino)
	}
	return errors.Join(err, tx.mark(e.Dentry, n, 0))
}

// MoveDentry renames a dentry within its place. Unlike Rename it replaces nothing: a taken name is ErrExists. Items go
// to the other legs only.
func (tx *Tx) MoveDentry(id DentryID, parent Ino, name string) error {
	err := checkName(name)
	if err != nil {
		return err
	}
	e, err := tx.Entry(id)
	if err == nil {
		err = tx.checkMove(e, parent)
	}
	if err == nil {
		err = tx.move(e, parent, name)
	}
	if err != nil {
		return fmt.Errorf("move dentry: %w", err)
	}
	return nil
}
