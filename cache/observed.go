package cache

import "fmt"

const observedCols = "leg, remote_id, ident, parent, name, kind, tag, content, hash, size, mtime, mode, target, gone, listed, ignored"

func scanObserved(r *row) Observed {
	return Observed{
		Leg: LegID(r.int()), RemoteID: r.str(), Ident: r.str(), Parent: r.str(), Name: r.str(), Kind: Kind(r.int()), Tag: r.str(), Content: r.str(),
		Hash: r.hash(), Size: r.int(), Mtime: r.int(), Mode: uint32(r.int()), Target: r.str(), Gone: r.flag(), Listed: r.flag(), Ignored: r.flag(),
	}
}

func (tx *Tx) observed(where string, args ...any) (Observed, bool, error) {
	if tx.unsaved == nil {
		return get(tx, scanObserved, "SELECT "+observedCols+" FROM observed "+where, args...)
	}
	var o Observed // what is kept was looked for before
	ok, err := tx.conn.one("SELECT "+observedCols+" FROM observed "+where, func(r *row) { o = scanObserved(r) }, args...)
	return o, ok, err
}

// Observed reads what an endpoint showed of an object where that is not what the base says; false: nothing such.
func (tx *Tx) Observed(leg LegID, remoteID string) (Observed, bool, error) {
	k := observedKey{leg, remoteID}
	if o, ok := tx.unsaved.row(k); ok {
		return o, true, nil
	}
	if tx.unsaved.knowsAbsent(k) {
		return Observed{}, false, nil
	}
	o, ok, err := tx.observed("WHERE leg = ? AND remote_id = ?", leg, remoteID)
	if err == nil && !ok {
		tx.unsaved.lacks(k)
	}
	return o, ok, err
}

// The two below name their index: SQLite prefers the rows of a leg one by one, as they lie in the table, and those are many
// while a large directory comes in.

// ObservedAt finds a present object by directory and name.
func (tx *Tx) ObservedAt(leg LegID, parent, name string) (Observed, bool, error) {
	if o, ok := tx.unsaved.at(observedName{leg, parent, name}); ok {
		return o, true, nil
	}
	return tx.observed("INDEXED BY observed_parent WHERE leg = ? AND parent = ? AND name = ? AND gone = 0 LIMIT 1", leg, parent, blob(name))
}

// ObservedByIdent finds a present object by the endpoint's fingerprint.
func (tx *Tx) ObservedByIdent(leg LegID, ident string) (Observed, bool, error) {
	if ident == "" {
		return Observed{}, false, nil
	}
	if o, ok := tx.unsaved.byIdent(observedIdent{leg, ident}); ok {
		return o, true, nil
	}
	return tx.observed("INDEXED BY observed_ident WHERE leg = ? AND ident = ? AND ident <> '' AND gone = 0 LIMIT 1", leg, ident)
}

// ObservedChildren reads up to limit present objects of a directory in the order of their names, beginning after one.
func (tx *Tx) ObservedChildren(leg LegID, parent, after string, limit int) ([]Observed, error) {
	return list(tx, scanObserved, "SELECT "+observedCols+" FROM observed WHERE leg = ? AND parent = ? AND name > ? AND gone = 0 ORDER BY name LIMIT ?", leg, parent, blob(after), limit)
}

// ObservedPage reads up to limit rows of a leg, gone ones too but none that is passed over, in the order of their remote ids,
// beginning after one.
func (tx *Tx) ObservedPage(leg LegID, after string, limit int) ([]Observed, error) {
	return list(tx, scanObserved, "SELECT "+observedCols+" FROM observed WHERE leg = ? AND remote_id > ? AND ignored <= gone ORDER BY remote_id LIMIT ?", leg, after, limit)
}

// PutFirstObserved is PutObserved for an object of which there never was a row.
func (tx *Tx) PutFirstObserved(o Observed) error {
	tx.unsaved.lacks(keyOf(o))
	return tx.PutObserved(o)
}

// PutObserved writes a row, replacing the one of the same object.
func (tx *Tx) PutObserved(o Observed) error {
	if tx.unsaved.clashes(o) {
		if err := tx.saveObserved(); err != nil {
			return err
		}
	}
	if tx.unsaved.keep(o) {
		return nil
	}
	var target any
	if o.Kind == Symlink {
		target = blob(o.Target)
	}
	err := tx.exec("INSERT OR REPLACE INTO observed("+observedCols+") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		o.Leg, o.RemoteID, o.Ident, o.Parent, blob(o.Name), o.Kind, o.Tag, o.Content, o.Hash, o.Size, o.Mtime, o.Mode, target, o.Gone, o.Listed, o.Ignored)
	if err != nil {
		return fmt.Errorf("put observed: %w", err)
	}
	return nil
}

// DeleteObserved forgets a row: the base says the same by now.
func (tx *Tx) DeleteObserved(leg LegID, remoteID string) error {
	if k := (observedKey{leg, remoteID}); tx.unsaved.drop(k) || tx.unsaved.knowsAbsent(k) {
		return nil
	}
	return tx.exec("DELETE FROM observed WHERE leg = ? AND remote_id = ?", leg, remoteID)
}
