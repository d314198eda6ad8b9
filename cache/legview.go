package cache

import "fmt"

// BindingsAt reads the bindings whose base has a name in a directory, on either side. The names of the base are not
// unique: while moves are under way several bindings may have one place.
func (tx *Tx) BindingsAt(parent BindingID, name string) ([]Binding, error) {
	return rememberedList(tx, scanBinding, "SELECT "+bindingCols+" FROM bindings b WHERE b.parent = ?1 AND b.remote_name = ?2 UNION ALL SELECT "+
		bindingCols+" FROM bindings b WHERE b.parent = ?1 AND b.l_name = ?2 AND b.l_name <> b.remote_name", parent, blob(name))
}

// Waymark is a name on the way from an endpoint's root to an object.
type Waymark struct {
	Name  string
	Ident string // of a directory; "" where it has none that the base knows
}

// BasePath reads the names by which the base says that an object of a leg's endpoint is reached from its root. plain is false
// where something else was observed of the object or of a directory above it, or it is not below the root.
func (tx *Tx) BasePath(leg LegID, remoteID string) (names []Waymark, plain bool, err error) {
	plain = true
	rooted := false
	err = tx.query(`WITH RECURSIVE up(remote_id, parent, name, ident, depth) AS (
			SELECT remote_id, parent, remote_name, iif(kind = ?4, ident, ''), 0 FROM bindings WHERE leg = ?1 AND remote_id = ?2
			UNION ALL SELECT b.remote_id, b.parent, b.remote_name, b.ident, depth + 1 FROM up JOIN bindings b ON b.id = up.parent WHERE depth < ?3)
		SELECT name, ident, parent = 0, EXISTS(SELECT 1 FROM observed o WHERE o.leg = ?1 AND o.remote_id = up.remote_id) FROM up ORDER BY depth DESC`,
		func(r *row) {
			w := Waymark{Name: r.str(), Ident: r.str()}
			root, seen := r.flag(), r.flag()
			plain = plain && !seen
			if rooted = rooted || root; !root {
				names = append(names, w)
			}
		}, leg, remoteID, maxPath, Dir)
	if err != nil {
		return nil, false, fmt.Errorf("path of %q in the base: %w", remoteID, err)
	}
	return names, plain && rooted, nil
}

// maxPath bounds a walk to the root: no path has as many names.
const maxPath = 4096

// KnowsChildren reports whether anything that a leg's endpoint has in a directory is known, by its base or as observed.
func (tx *Tx) KnowsChildren(leg LegID, dir string, id BindingID) (bool, error) {
	some := false
	_, err := tx.queryRow(`SELECT EXISTS(SELECT 1 FROM bindings WHERE parent = ?1) OR EXISTS(SELECT 1 FROM observed INDEXED BY observed_parent
		WHERE leg = ?2 AND parent = ?3)`, func(r *row) { some = r.flag() }, id, leg, dir)
	return some, err
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
	return tx.noteRemote(leg, remoteID, ItemValidated, why)
}

func (tx *Tx) noteRemote(leg LegID, remoteID string, status ItemStatus, why string) error {
	return tx.exec(`UPDATE items SET status = ?1, error = ?2, cause = '', updated = updated+1
		WHERE leg = ?3 AND remote_id = ?4 AND origin = 1 AND status < 6 AND (status <> ?1 OR error <> ?2)`, status, why, leg, remoteID)
}

// NoteConflict leaves on the open remote item of an object that a person has to decide.
func (tx *Tx) NoteConflict(leg LegID, remoteID, why string) error {
	return tx.noteRemote(leg, remoteID, ItemConflicted, why)
}

// RemoteItem reads the open item of an object of a leg's endpoint; false: there is none.
func (tx *Tx) RemoteItem(leg LegID, remoteID string) (Item, bool, error) {
	return get(tx, scanItem, "SELECT "+itemCols+" FROM items WHERE leg = ? AND remote_id = ? AND origin = 1 AND status < 6", leg, remoteID)
}

// WakeRemote lets the remote item of an object that failed be worked on at once: there is something new about it.
func (tx *Tx) WakeRemote(leg LegID, remoteID string) error {
	return tx.exec(`UPDATE items SET status = ?1, error = '', tries = 0, eligible = 0, updated = updated+1
		WHERE leg = ?2 AND remote_id = ?3 AND origin = 1 AND status < 6 AND status = ?4`, ItemNew, leg, remoteID, ItemError)
}

// FinishRemote closes the open remote item of an object, if there is one.
func (tx *Tx) FinishRemote(leg LegID, remoteID string) error {
	return tx.closeRemote(leg, remoteID, ItemCompleted)
}

// CancelRemote is FinishRemote where what the endpoint had was given up.
func (tx *Tx) CancelRemote(leg LegID, remoteID string) error {
	return tx.closeRemote(leg, remoteID, ItemCancelled)
}

func (tx *Tx) closeRemote(leg LegID, remoteID string, status ItemStatus) error {
	return tx.exec(`UPDATE items SET status = ?, error = '', parked = 0, updated = max(?, updated+1)
		WHERE leg = ? AND remote_id = ? AND origin = 1 AND status < 6`, status, tx.Now(), leg, remoteID)
}

// CountGone counts the bound objects that an endpoint has lost and the drive still shows, but for directories that it keeps for
// what is ignored in them.
func (tx *Tx) CountGone(leg LegID) (int64, error) {
	n, _, err := get(tx, (*row).int, `SELECT count(*) FROM observed o JOIN bindings b ON b.leg = o.leg AND b.remote_id = o.remote_id
		WHERE o.leg = ? AND o.gone = 1 AND o.ignored = 0 AND b.dentry IS NOT NULL`, leg)
	return n, err
}

// Leaving is a row of the base whose name is gone from the drive: the endpoint has the object until that is agreed.
type Leaving struct {
	Binding
	Since int64 // when it was to be deleted
}

// LeavingPage reads up to limit such rows of a leg, beginning after one.
func (tx *Tx) LeavingPage(leg LegID, after BindingID, limit int) ([]Leaving, error) {
	return list(tx, func(r *row) Leaving { return Leaving{Binding: scanBinding(r), Since: r.int()} }, "SELECT "+bindingCols+`,
		coalesce((SELECT max(i.created) FROM items i WHERE i.leg = b.leg AND i.binding = b.id AND i.origin = 2 AND i.status < 6), 0)
		FROM bindings b INDEXED BY bindings_gone WHERE b.leg = ? AND b.dentry IS NULL AND b.id > ? ORDER BY b.id LIMIT ?`, leg, after, limit)
}

// unbound chooses the present objects of a leg's endpoint that are bound to nothing, but for those that are passed over.
const unbound = ` FROM observed o WHERE o.leg = ?1 AND o.gone = 0 AND o.ignored = 0 AND NOT EXISTS (SELECT 1 FROM bindings b WHERE b.leg = ?1 AND b.remote_id = o.remote_id)`

// CountUnbound counts the objects of an endpoint that the drive does not have.
func (tx *Tx) CountUnbound(leg LegID) (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT count(*)"+unbound, leg)
	return n, err
}

// UnlistedUnbound reads the ids of up to limit directories of an endpoint that are bound to nothing and that nobody has looked
// into, in their order, beginning after one.
func (tx *Tx) UnlistedUnbound(leg LegID, after string, limit int) ([]string, error) {
	return list(tx, (*row).str, "SELECT o.remote_id"+unbound+" AND o.kind = 2 AND o.listed = 0 AND o.remote_id > ?2 ORDER BY o.remote_id LIMIT ?3", leg, after, limit)
}

// ObservedListed notes that what is in an observed directory has been seen.
func (tx *Tx) ObservedListed(leg LegID, remoteID string) error {
	return tx.exec("UPDATE observed SET listed = 1 WHERE leg = ? AND remote_id = ?", leg, remoteID)
}

// Awaits reports whether something that a leg's endpoint has in a directory is still to come into the drive.
func (tx *Tx) Awaits(leg LegID, dir DentryID) (bool, error) {
	return tx.queryRow(`SELECT 1 FROM bindings p WHERE p.leg = ?1 AND p.dentry = ?2 AND (p.listed = 0 OR EXISTS (SELECT 1 FROM observed o
		WHERE o.leg = ?1 AND o.parent = p.remote_id AND o.gone = 0 AND o.ignored = 0 AND NOT EXISTS (SELECT 1 FROM bindings b WHERE b.leg = ?1 AND b.remote_id = o.remote_id)))`,
		func(*row) {}, leg, dir)
}

// CountBindings counts what a leg has agreed on.
func (tx *Tx) CountBindings(leg LegID) (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT count(*) FROM bindings WHERE leg = ?", leg)
	return n, err
}

// LastBinding is the newest of a leg's bindings: their ids grow, and none is used again.
func (tx *Tx) LastBinding(leg LegID) (BindingID, error) {
	n, _, err := get(tx, (*row).int, "SELECT coalesce(max(id), 0) FROM bindings WHERE leg = ?", leg)
	return BindingID(n), err
}

// DeleteAllowed is the resolution of a delete item that no guard is to hold.
const DeleteAllowed = "delete allowed"

// AllowDelete lets the open delete item of a binding pass the guards, until the object is marked again.
func (tx *Tx) AllowDelete(id BindingID) error {
	return tx.exec("UPDATE items SET resolution = ?1 WHERE leg = (SELECT leg FROM bindings WHERE id = ?2) AND binding = ?2 AND origin = 2 AND status < 6", DeleteAllowed, id)
}

// CountUnnamed counts the bound objects that were deleted in the drive and not yet at the endpoint, but for those whose
// deletion was allowed.
func (tx *Tx) CountUnnamed(leg LegID) (int64, error) {
	n, _, err := get(tx, (*row).int, `SELECT count(*) FROM bindings b WHERE leg = ?1 AND dentry IS NULL AND NOT EXISTS (SELECT 1 FROM items i
		WHERE i.leg = ?1 AND i.binding = b.id AND i.origin = 2 AND i.status < 6 AND i.resolution = ?2)`, leg, DeleteAllowed)
	return n, err
}

// SetHash records the BLAKE3 of a version, if the node still has that version. It is knowledge, not a change.
func (tx *Tx) SetHash(ino Ino, version uint64, h Hash) error {
	if err := tx.exec("UPDATE nodes SET hash = ? WHERE ino = ? AND version = ?", h, ino, version); err != nil {
		return fmt.Errorf("set hash of node %d: %w", ino, err)
	}
	return tx.basesHave(ino, version, h)
}

// basesHave records the BLAKE3 of a version in the bases that agree on it: they need it when the node has another.
func (tx *Tx) basesHave(ino Ino, version uint64, h Hash) error {
	err := tx.exec(`UPDATE bindings SET r_hash = ?3 WHERE dentry IN (SELECT id FROM dentries WHERE ino = ?1) AND l_version = ?2 AND r_hash IS NULL`,
		ino, version, h)
	if err != nil {
		return fmt.Errorf("set hash of the bases of node %d: %w", ino, err)
	}
	return nil
}

// SetIdentity records what a leg's endpoint was found to be.
func (tx *Tx) SetIdentity(leg LegID, identity string) error {
	return tx.exec("UPDATE legs SET identity = ? WHERE id = ?", identity, leg)
}

// CountAway counts the files at a conduit's place whose bytes are not all here and that only its endpoints have, and the
// directories that nobody has looked into there yet.
func (tx *Tx) CountAway(cd Conduit) (files, unlisted int64, err error) {
	files, _, err = get(tx, (*row).int, `SELECT count(*) FROM nodes n JOIN dentries d ON d.ino = n.ino JOIN nodes p ON p.ino = d.parent
		WHERE p.place = ?1 AND n.kind = 1 AND n.size > 0 AND n.residency <> 2 AND NOT EXISTS (SELECT 1 FROM dentries x
			JOIN bindings b ON b.dentry = x.id JOIN legs l ON l.id = b.leg
			WHERE x.ino = n.ino AND b.l_version = n.version AND l.conduit <> ?2)`, cd.Place, cd.ID)
	if err != nil {
		return 0, 0, err
	}
	unlisted, _, err = get(tx, (*row).int, `SELECT count(*) FROM nodes n WHERE n.place = ?1 AND n.listing <> 2 AND EXISTS (SELECT 1 FROM dentries d
		JOIN bindings b ON b.dentry = d.id JOIN legs l ON l.id = b.leg WHERE d.ino = n.ino AND b.listed = 0 AND l.conduit = ?2)`, cd.Place, cd.ID)
	return files, unlisted, err
}

// Touched tells the kernel that it may hold pages of a node that are old: for a change that neither came through the
// mount nor was made by a transaction.
func (tx *Tx) Touched(ino Ino) { tx.publish(Change{Ino: ino, Data: true}) }

// DentriesPage reads up to limit names of the whole drive in the order of their ids, beginning after one.
func (tx *Tx) DentriesPage(after DentryID, limit int) ([]Dentry, error) {
	return list(tx, scanDentry, "SELECT "+dentryCols+" FROM dentries d WHERE d.id > ? ORDER BY d.id LIMIT ?", after, limit)
}

// HasCopies reports whether a leg has open local items that may be worked on before a time, and are no deletes.
func (tx *Tx) HasCopies(leg LegID, before int64) (bool, error) {
	return tx.queryRow(`SELECT 1 FROM items WHERE leg = ?1 AND origin = 2 AND status < 6 AND status <> 4 AND parked = 0 AND operation <> 3
		AND `+due("?2")+` LIMIT 1`, func(*row) {}, leg, before)
}

// HasItems reports whether a leg has open items, whatever they wait for.
func (tx *Tx) HasItems(leg LegID) (bool, error) {
	return tx.queryRow(`SELECT 1 FROM items WHERE leg = ? AND status < 6 LIMIT 1`, func(*row) {}, leg)
}

// NextWork is the earliest time at which an open local item of a leg may be worked on that cannot be yet, if a mark has to
// rest for quiet nanoseconds; false: none waits for a time.
func (tx *Tx) NextWork(leg LegID, quiet int64) (int64, bool, error) {
	at, _, err := get(tx, (*row).int, `SELECT coalesce(min(max(eligible, updated + ?1)), ?2) FROM items WHERE leg = ?3 AND origin = 2 AND status < 6
		AND eligible < ?2 AND max(eligible, updated + ?1) > ?4`, quiet, Never, leg, tx.Now())
	return at, err == nil && at < Never, err
}

// Left is what a leg's queue holds of the drive's changes that may go on by themselves.
type Left struct {
	Copies, Bytes int64 // all but deletes; Bytes are those of files that the endpoint does not have yet
	Deletes       int64
}

// LeftToSend sums up the queue of a leg. It goes through all of it, and says that it is open for the sake of the index.
func (tx *Tx) LeftToSend(leg LegID) (l Left, err error) {
	_, err = tx.queryRow(`SELECT coalesce(sum(i.operation <> 3), 0), coalesce(sum(i.operation = 3), 0),
		coalesce(sum(CASE WHEN n.kind = 1 AND i.operation <> 3 AND (b.id IS NULL OR b.l_version <> n.version) THEN n.size ELSE 0 END), 0)
		FROM items i LEFT JOIN dentries d ON d.id = i.dentry LEFT JOIN nodes n ON n.ino = d.ino LEFT JOIN bindings b ON b.id = i.binding
		WHERE i.leg = ? AND i.origin = 2 AND i.status < 6 AND i.status < 4`, func(r *row) { l.Copies, l.Deletes, l.Bytes = r.int(), r.int(), r.int() }, leg)
	return l, err
}
