package cache

import (
	"errors"
	"fmt"
)

// Rename gives what oldParent/oldName names another name, replacing what has it (unless RenameNoReplace), or swaps
// the two (RenameExchange). One dentry row moves, one item is marked.
//
// Errors: ErrBorder between places, ErrBusy for a place's directory, ErrLoop, ErrNotEmpty, ErrIsDir, ErrNotDir, ErrExists.
func (c *Cache) Rename(oldParent Ino, oldName string, newParent Ino, newName string, flags RenameFlags) error {
	if flags&^(RenameNoReplace|RenameExchange) != 0 || flags == RenameNoReplace|RenameExchange {
		return fmt.Errorf("rename with flags %#x: %w", uint32(flags), ErrInvalid)
	}
	if err := checkName(newName); err != nil {
		return err
	}
	if flags == 0 {
		if err := c.syncReplacement(oldParent, oldName, newParent, newName); err != nil {
			return fmt.Errorf("rename %q to %q: %w", oldName, newName, err)
		}
	}
	err := c.updateBetween(faultRename, faultMoveDone, func(tx *Tx) error {
		for _, dir := range []Ino{oldParent, newParent} {
			if err := tx.mayChangeIn(dir); err != nil {
				return err
			}
		}
		src, err := tx.mustEntry(oldParent, oldName)
		if err != nil {
			return err
		}
		if flags&RenameExchange != 0 {
			dst, err := tx.mustEntry(newParent, newName)
			if err != nil {
				return err
			}
			return tx.exchange(src, dst)
		}
		return tx.rename(src, newParent, newName, flags)
	})
	if err != nil {
		return fmt.Errorf("rename %q to %q: %w", oldName, newName, err)
	}
	return nil
}

// syncReplacement makes the bytes of a file durable that is about to replace another: a power cut must not leave neither.
func (c *Cache) syncReplacement(oldParent Ino, oldName string, newParent Ino, newName string) error {
	var src, dst Entry
	var both bool
	err := c.read(func(tx *Tx) (err error) {
		if dst, both, err = tx.EntryAt(newParent, newName); err == nil && both {
			src, both, err = tx.EntryAt(oldParent, oldName)
		}
		return err
	})
	if err != nil || !both || src.Ino == dst.Ino || src.Node.Content == 0 || dst.Node.Kind != File {
		return err
	}
	err = c.SyncContent(src.Ino)
	if errors.Is(err, ErrNotFound) {
		return nil // gone meanwhile: the rename finds out
	}
	return err
}

// mustEntry is anyEntry of what is shown.
func (tx *Tx) mustEntry(parent Ino, name string) (Entry, error) {
	e, err := tx.anyEntry(parent, name)
	if err == nil && e.Hidden() {
		err = ErrNotFound
	}
	return e, err
}

// anyEntry is EntryAt where a missing name is an error: the one that tells why.
func (tx *Tx) anyEntry(parent Ino, name string) (e Entry, err error) {
	var kind Kind
	var listing Listing
	// One statement: why a name is missing is of the same moment as that it is.
	found, err := tx.queryRow("SELECT p.kind, p.listing, "+dentryCols+", "+nodeCols+` FROM nodes p LEFT JOIN dentries d ON d.parent = p.ino AND d.name = ?2
		LEFT JOIN nodes n ON n.ino = d.ino WHERE p.ino = ?1`,
		func(r *row) { kind, listing, e = Kind(r.int()), Listing(r.int()), scanEntry(r) }, parent, blob(name))
	switch {
	case err != nil:
		return e, err
	case !found:
		return e, fmt.Errorf("node %d: %w", parent, ErrNotFound)
	case e.ID != 0:
		return e, nil
	case kind != Dir:
		return e, ErrNotDir
	case listing != Listed:
		return e, ErrNotListed
	}
	return e, ErrNotFound
}

func (tx *Tx) rename(src Entry, parent Ino, name string, flags RenameFlags) error {
	dst, taken, err := tx.EntryAt(parent, name)
	switch {
	case err != nil:
		return err
	case taken && (flags&RenameNoReplace != 0 || dst.Hidden()):
		return ErrExists // also what is hidden is not replaced by who cannot see it
	case taken && dst.ID == src.ID:
		return nil
	case taken && dst.Ino == src.Ino:
		return nil // two names of one node: rename(2) does nothing
	}
	if err := tx.checkMove(src, parent); err != nil {
		return err
	}
	if !taken {
		if err := tx.requireListed(parent); err != nil {
			return err
		}
		return tx.move(src, parent, name)
	}
	switch {
	case src.Node.Kind == Dir && dst.Node.Kind != Dir:
		return ErrNotDir
	case src.Node.Kind != Dir && dst.Node.Kind == Dir:
		return ErrIsDir
	}
	if err := tx.keepAgreed(dst); err != nil {
		return err
	}
	if err := tx.unlink(dst); err != nil {
		return err
	}
	// A wish belongs to the name: saving by rename must not unpin a file.
	if src.Intent == Inherited && dst.Intent != Inherited {
		if err := tx.exec("UPDATE dentries SET intent = ? WHERE id = ?", dst.Intent, src.ID); err != nil {
			return err
		}
	}
	return tx.move(src, parent, name)
}

func (tx *Tx) requireListed(dir Ino) error {
	n, err := tx.Node(dir)
	if err == nil && n.Listing != Listed {
		err = ErrNotListed
	}
	return err
}

// checkMove refuses moves across borders, of places, and into a directory's own descendants.
func (tx *Tx) checkMove(src Entry, parent Ino) error {
	if src.Parent == 0 {
		return fmt.Errorf("the root directory: %w", ErrBusy)
	}
	if src.Node.Kind == Dir {
		if root, err := tx.isPlaceRoot(src.Ino); err != nil {
			return err
		} else if root {
			return fmt.Errorf("directory %q is a place: %w", src.Name, ErrBusy)
		}
	}
	if parent == src.Parent {
		return nil
	}
	if err := tx.sameBorder(src.Parent, parent); err != nil {
		return err
	}
	if src.Node.Kind != Dir {
		return nil
	}
	// A place below src would change its surroundings, but not its own place: that is allowed.
	below, err := tx.Under(parent, src.Ino)
	if err == nil && below {
		err = ErrLoop
	}
	return err
}

// sameBorder checks that two directories' children belong to the same place.
func (tx *Tx) sameBorder(a, b Ino) error {
	x, err := tx.Node(a)
	if err != nil {
		return err
	}
	y, err := tx.Node(b)
	switch {
	case err != nil:
		return err
	case y.Kind != Dir || x.Kind != Dir:
		return ErrNotDir
	case x.Place != y.Place:
		return ErrBorder
	}
	return nil
}

// move moves the row of a dentry to a free name. Checks are the caller's.
func (tx *Tx) move(src Entry, parent Ino, name string) error {
	if err := tx.moveRow(&src, parent, name); err != nil {
		return err
	}
	return tx.wantBelow(src.ID, src.Node)
}

func (tx *Tx) moveRow(src *Entry, parent Ino, name string) error {
	from, links := src.Parent, 0
	if src.Node.Kind == Dir && parent != from {
		links = 1
	}
	if _, err := tx.touchDir(from, -links); err != nil {
		return err
	}
	if parent != from {
		if _, err := tx.touchDir(parent, links); err != nil {
			return err
		}
	}
	if _, err := tx.addLink(src.Ino, 0); err != nil { // ctime
		return err
	}
	local := tx.localOnly(name, src.Node.Kind)
	err := tx.exec("UPDATE dentries SET parent = ?, name = ?, local_only = ? WHERE id = ?", parent, blob(name), local, src.ID)
	if isUnique(err) {
		err = fmt.Errorf("name %q: %w", name, ErrExists)
	}
	if err != nil {
		return err
	}
	tx.publish(Change{Ino: from, Parent: from, Name: src.Name})
	tx.publish(Change{Ino: parent, Parent: parent, Name: name})
	src.Parent, src.Name, src.LocalOnly = parent, name, local
	if src.Node.Kind == Dir && src.Node.Place != 0 {
		if err := tx.Recheck(src.ID); err != nil { // other patterns may fit what is in it
			return err
		}
	}
	return tx.mark(src.Dentry, src.Node, 0)
}

// exchange swaps two names.
func (tx *Tx) exchange(a, b Entry) error {
	if a.ID == b.ID {
		return nil
	}
	if err := tx.checkMove(a, b.Parent); err != nil {
		return err
	}
	if err := tx.checkMove(b, a.Parent); err != nil {
		return err
	}
	aParent, aName := a.Parent, a.Name
	// The name is unique in its directory at every step, so one of the two waits under a name no file can have.
	if err := tx.exec("UPDATE dentries SET name = ? WHERE id = ?", []byte("/"), a.ID); err != nil {
		return err
	}
	bParent, bName := b.Parent, b.Name
	if err := tx.moveRow(&b, aParent, aName); err != nil {
		return err
	}
	if err := tx.moveRow(&a, bParent, bName); err != nil {
		return err
	}
	if err := tx.wantBelow(a.ID, a.Node); err != nil {
		return err
	}
	return tx.wantBelow(b.ID, b.Node)
}

// Exchange swaps the names of two dentries of one place: what the syncer needs where two objects traded places.
func (tx *Tx) Exchange(x, y DentryID) error {
	a, err := tx.Entry(x)
	if err != nil {
		return fmt.Errorf("exchange: %w", err)
	}
	b, err := tx.Entry(y)
	if err == nil {
		err = tx.exchange(a, b)
	}
	if err != nil {
		return fmt.Errorf("exchange: %w", err)
	}
	return nil
}
