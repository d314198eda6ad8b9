package cache

import "fmt"

// BindingsAt reads the bindings whose base has a name in a directory, on either side. The names of the base are not
// unique: while moves are under way several bindings may have one place.
func (tx *Tx) BindingsAt(parent BindingID, name string) ([]Binding, error) {
	return list(tx, scanBinding, "SELECT "+bindingCols+" FROM bindings b WHERE b.parent = ?1 AND b.remote_name = ?2 UNION ALL SELECT "+
		bindingCols+" FROM bindings b WHERE b.parent = ?1 AND b.l_name = ?2 AND b.l_name <> b.remote_name", parent, blob(name))
}

// LocalItem reads the open item that a leg has for a dentry, bound or not; false: there is none.
func (tx *Tx) LocalItem(leg LegID, id DentryID) (Item, bool, error) {
	it, ok, err := get(tx, scanItem, "SELECT "+itemCols+` FROM items WHERE leg = ?1 AND origin = 2 AND status < 6
		AND binding = (SELECT id FROM bindings WHERE dentry = ?2 AND leg = ?1)`, leg, id)
	if err != nil || ok {
		return it, ok, err
	}
	return get(tx, scanItem, "SELECT "+itemCols+" FROM items WHERE leg = ? AND origin = 2 AND status < 6 AND binding IS NULL AND dentry = ?", leg, id)
}

// EnsureItem puts a local item on a leg for a binding or, if that is 0, for a dentry, unless an open one is there: that
// one is left as it is, with its tries and its error.
func (tx *Tx) EnsureItem(leg LegID, binding BindingID, id DentryID) error {
	if binding == 0 {
		b, ok, err := tx.BindingOfDentry(leg, id)
		if err != nil {
			return err
		}
		if ok {
			binding = b.ID
		}
	}
	if binding == 0 {
		if _, ok, err := tx.LocalItem(leg, id); err != nil || ok {
			return err
		}
		return tx.MarkLocalOn(leg, id)
	}
	open, err := tx.queryRow("SELECT 1 FROM items WHERE leg = ? AND binding = ? AND origin = 2 AND status < 6", func(*row) {}, leg, binding)
	if err != nil || open {
		return err
	}
	b, ok, err := tx.Binding(binding)
	switch {
	case err != nil || !ok:
		return err
	case b.Dentry == 0:
		return tx.MarkDelete(binding)
	}
	return tx.MarkLocalOn(leg, b.Dentry)
}

// EnsureRemote puts a remote item for an object of a leg's endpoint, unless an open one is there.
func (tx *Tx) EnsureRemote(leg LegID, remoteID, name string, op Operation) error {
	open, err := tx.queryRow("SELECT 1 FROM items WHERE leg = ? AND remote_id = ? AND origin = 1 AND status < 6", func(*row) {}, leg, remoteID)
	if err != nil || open {
		return err
	}
	return tx.MarkRemote(leg, remoteID, name, op)
}

// NoteRemote leaves on the open remote item of an object why it waits.
func (tx *Tx) NoteRemote(leg LegID, remoteID, why string) error {
	return tx.exec(`UPDATE items SET status = ?1, error = ?2, updated = updated+1
		WHERE leg = ?3 AND remote_id = ?4 AND origin = 1 AND status < 6 AND (status <> ?1 OR error <> ?2)`, ItemValidated, why, leg, remoteID)
}

// RemoteItem reads the open item of an object of a leg's endpoint; false: there is none.
func (tx *Tx) RemoteItem(leg LegID, remoteID string) (Item, bool, error) {
	return get(tx, scanItem, "SELECT "+itemCols+" FROM items WHERE leg = ? AND remote_id = ? AND origin = 1 AND status < 6", leg, remoteID)
}

// FinishRemote closes the open remote item of an object, if there is one.
func (tx *Tx) FinishRemote(leg LegID, remoteID string) error {
	return tx.exec(`UPDATE items SET status = 6, error = '', parked = 0, updated = max(?, updated+1)
		WHERE leg = ? AND remote_id = ? AND origin = 1 AND status < 6`, tx.Now(), leg, remoteID)
}

// CountGone counts the bound objects that an endpoint has lost and the drive still shows.
func (tx *Tx) CountGone(leg LegID) (int64, error) {
	n, _, err := get(tx, (*row).int, `SELECT count(*) FROM observed o JOIN bindings b ON b.leg = o.leg AND b.remote_id = o.remote_id
		WHERE o.leg = ? AND o.gone = 1 AND b.dentry IS NOT NULL`, leg)
	return n, err
}

// CountBindings counts what a leg has agreed on.
func (tx *Tx) CountBindings(leg LegID) (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT count(*) FROM bindings WHERE leg = ?", leg)
	return n, err
}

// CountUnnamed counts the bound objects that were deleted in the drive and not yet at the endpoint.
func (tx *Tx) CountUnnamed(leg LegID) (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT count(*) FROM bindings WHERE leg = ? AND dentry IS NULL", leg)
	return n, err
}

// SetHash records the BLAKE3 of a version, if the node still has that version. It is knowledge, not a change.
func (tx *Tx) SetHash(ino Ino, version uint64, h Hash) error {
	if err := tx.exec("UPDATE nodes SET hash = ? WHERE ino = ? AND version = ?", h, ino, version); err != nil {
		return fmt.Errorf("set hash of node %d: %w", ino, err)
	}
	return nil
}

// SetIdentity records what a leg's endpoint was found to be.
func (tx *Tx) SetIdentity(leg LegID, identity string) error {
	return tx.exec("UPDATE legs SET identity = ? WHERE id = ?", identity, leg)
}

// CountAway counts the files of a place whose bytes are not all here, and the directories that nobody has looked into.
func (tx *Tx) CountAway(place PlaceID) (files, unlisted int64, err error) {
	files, _, err = get(tx, (*row).int, `SELECT count(*) FROM nodes n JOIN dentries d ON d.ino = n.ino JOIN nodes p ON p.ino = d.parent
		WHERE p.place = ? AND n.kind = 1 AND n.size > 0 AND n.residency <> 2`, place)
	if err != nil {
		return 0, 0, err
	}
	unlisted, _, err = get(tx, (*row).int, "SELECT count(*) FROM nodes WHERE place = ? AND listing <> 2", place)
	return files, unlisted, err
}

// Touched tells the kernel that it may hold pages of a node that are old: for a change that neither came through the
// mount nor was made by a transaction.
func (tx *Tx) Touched(ino Ino) { tx.publish(Change{Ino: ino, Data: true}) }

// DentriesPage reads up to limit names of the whole drive in the order of their ids, beginning after one.
func (tx *Tx) DentriesPage(after DentryID, limit int) ([]Dentry, error) {
	return list(tx, scanDentry, "SELECT "+dentryCols+" FROM dentries d WHERE d.id > ? ORDER BY d.id LIMIT ?", after, limit)
}

// NextWork is the earliest time at which an open local item of a leg may be worked on that cannot be yet, if a mark has to
// rest for quiet nanoseconds; false: none waits for a time.
func (tx *Tx) NextWork(leg LegID, quiet int64) (int64, bool, error) {
	at, _, err := get(tx, (*row).int, `SELECT coalesce(min(max(eligible, updated + ?1)), ?2) FROM items WHERE leg = ?3 AND origin = 2 AND status < 6
		AND parked = 0 AND eligible < ?2 AND max(eligible, updated + ?1) > ?4`, quiet, Never, leg, tx.Now())
	return at, err == nil && at < Never, err
}
