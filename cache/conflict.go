package cache

import "fmt"

const conflictCols = "id, leg, type, strategy, dentry, conflict, path, conflict_path, local, remote, state, created, resolved"

func scanConflict(r *row) ConflictRow {
	return ConflictRow{
		ID: r.int(), Leg: LegID(r.int()), Type: r.str(), Strategy: r.str(), Dentry: DentryID(r.int()), Conflict: DentryID(r.int()), Path: r.str(),
		ConflictPath: r.str(), LocalInfo: r.str(), RemoteInfo: r.str(), State: r.str(), Created: r.int(), Resolved: r.int(),
	}
}

// PutConflict writes a conflict; with ID 0 it is new, gets one, and is open unless it says otherwise.
func (tx *Tx) PutConflict(x *ConflictRow) error {
	tx.marked = true
	if x.State == "" {
		x.State = ConflictOpen
	}
	if x.Created == 0 {
		x.Created = tx.Now()
	}
	var id any
	if x.ID != 0 {
		id = x.ID
	}
	n, err := tx.insert("INSERT OR REPLACE INTO conflicts("+conflictCols+") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
		id, x.Leg, x.Type, x.Strategy, orNull(x.Dentry), orNull(x.Conflict), blob(x.Path), blob(x.ConflictPath), x.LocalInfo, x.RemoteInfo, x.State, x.Created, x.Resolved)
	if err != nil {
		return fmt.Errorf("put conflict: %w", err)
	}
	x.ID = n
	return nil
}

// Conflict reads a conflict; false: there is none.
func (tx *Tx) Conflict(id int64) (ConflictRow, bool, error) {
	return get(tx, scanConflict, "SELECT "+conflictCols+" FROM conflicts WHERE id = ?", id)
}

// Conflicts reads up to limit conflicts of a state ("": all) in the order of their ids, beginning after one.
func (tx *Tx) Conflicts(state string, after int64, limit int) ([]ConflictRow, error) {
	return list(tx, scanConflict, "SELECT "+conflictCols+" FROM conflicts WHERE id > ?1 AND (?2 = '' OR state = ?2) ORDER BY id LIMIT ?3", after, state, limit)
}

// ConflictsOf reads the open conflicts that a dentry is the winner or the conflict file of.
func (tx *Tx) ConflictsOf(id DentryID) ([]ConflictRow, error) {
	return list(tx, scanConflict, "SELECT "+conflictCols+" FROM conflicts WHERE (dentry = ?1 OR conflict = ?1) AND state = 'open' ORDER BY id", id)
}
