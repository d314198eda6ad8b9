package cache

import "fmt"

// EnsurePlace makes a directory the place that its children belong to, and returns its number; a place that is there
// already stays as it is. Directories below that belong to the same place as it did move into the new one, down to the
// borders of other places. ErrInvalid: below an existing place something is bound already, so it cannot change hands.
func (tx *Tx) EnsurePlace(dir Ino) (PlaceID, error) {
	if p, ok, err := get(tx, (*row).int, "SELECT id FROM places WHERE ino = ?", dir); err != nil || ok {
		return PlaceID(p), err
	}
	n, err := tx.Node(dir)
	switch {
	case err != nil:
		return 0, fmt.Errorf("ensure place: %w", err)
	case n.Kind != Dir:
		return 0, fmt.Errorf("ensure place: node %d: %w", dir, ErrNotDir)
	}
	// Inside the surrounding place the directory itself must be unknown to its legs: it is not synced from now on.
	bound, err := tx.queryRow("SELECT 1 FROM bindings b JOIN dentries d ON d.id = b.dentry WHERE d.ino = ? LIMIT 1", func(*row) {}, dir)
	if err != nil {
		return 0, err
	}
	if bound {
		return 0, fmt.Errorf("ensure place: directory %d is synced by the place around it: %w", dir, ErrInvalid)
	}
	id, err := tx.insert("INSERT INTO places(ino) VALUES(?)", dir)
	if err != nil {
		return 0, fmt.Errorf("ensure place: %w", err)
	}
	place := PlaceID(id)
	if err := tx.dropItemsBelow(dir, n); err != nil {
		return 0, err
	}
	err = tx.exec(`WITH RECURSIVE below(ino) AS (SELECT ?1 UNION ALL
			SELECT n.ino FROM below JOIN dentries d ON d.parent = below.ino JOIN nodes n ON n.ino = d.ino
			WHERE n.kind = 2 AND n.place = ?2)
		UPDATE nodes SET place = ?3 WHERE ino IN (SELECT ino FROM below)`, dir, n.Place, place)
	if err != nil {
		return 0, fmt.Errorf("ensure place: %w", err)
	}
	tx.marked = true
	return place, nil
}

// dropItemsBelow deletes the open items of names that change over to a new place: the legs around it know them no more.
func (tx *Tx) dropItemsBelow(dir Ino, n Node) error {
	if n.Place == 0 {
		return nil
	}
	return tx.exec(`WITH RECURSIVE below(ino) AS (SELECT ?1 UNION ALL
			SELECT n.ino FROM below JOIN dentries d ON d.parent = below.ino JOIN nodes n ON n.ino = d.ino WHERE n.kind = 2 AND n.place = ?2)
		DELETE FROM items WHERE origin = 2 AND binding IS NULL AND status < 6 AND leg IN (SELECT id FROM legs WHERE place = ?2)
			AND dentry IN (SELECT id FROM dentries WHERE ino = ?1 OR parent IN (SELECT ino FROM below))`, dir, n.Place)
}

// PlaceDir is the directory of a place.
func (tx *Tx) PlaceDir(id PlaceID) (Ino, error) {
	ino, ok, err := get(tx, (*row).int, "SELECT ino FROM places WHERE id = ?", id)
	if err == nil && !ok {
		err = fmt.Errorf("place %d: %w", id, ErrNotFound)
	}
	return Ino(ino), err
}

// Places reads all places, as directory by number.
func (tx *Tx) Places() (map[PlaceID]Ino, error) {
	out := make(map[PlaceID]Ino)
	err := tx.query("SELECT id, ino FROM places", func(r *row) {
		id := PlaceID(r.int())
		out[id] = Ino(r.int())
	})
	return out, err
}
