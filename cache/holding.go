package cache

import "fmt"

// Holding is a name with what this machine and the endpoints are known to hold of its node's present version.
type Holding struct {
	Entry
	Present int64 // bytes that are here, as the index knows
	// Unsent: bytes are here that may not go, since there is no endpoint that has them, with no open work there on a name of the
	// node.
	Unsent bool
	Copies int // how many legs have proved, by the proof that was asked for or a better one, that they store it
}

// Names of the node and not the one name count: hard links share their bytes.
const holdingCols = dentryCols + ", " + nodeCols + `, coalesce(c.present, 0),
	n.content IS NOT NULL AND NOT EXISTS (SELECT 1 FROM dentries x JOIN bindings b ON b.dentry = x.id WHERE x.ino = n.ino
		AND NOT EXISTS (SELECT 1 FROM dentries y JOIN bindings o ON o.dentry = y.id AND o.leg = b.leg JOIN items i ON i.leg = o.leg AND i.binding = o.id
			WHERE y.ino = n.ino AND i.origin = 2 AND i.binding IS NOT NULL AND i.status < 6)
		AND NOT EXISTS (SELECT 1 FROM dentries y JOIN items i ON i.leg = b.leg AND i.dentry = y.id
			WHERE y.ino = n.ino AND i.origin = 2 AND i.binding IS NULL AND i.status < 6)),
	(SELECT count(DISTINCT b.leg) FROM dentries x JOIN bindings b ON b.dentry = x.id
		WHERE x.ino = n.ino AND b.l_version = n.version AND b.proof >= ?1)`

const fromHolding = fromEntry + "LEFT JOIN contents c ON c.id = n.content "

func scanHolding(r *row) Holding {
	return Holding{Entry: scanEntry(r), Present: r.int(), Unsent: r.flag(), Copies: int(r.int())}
}

// Holdings reads up to limit entries of a directory like Children; proof is the least that counts as a copy.
func (tx *Tx) Holdings(parent Ino, after DentryID, limit, proof int) ([]Holding, error) {
	return list(tx, scanHolding, "SELECT "+holdingCols+fromHolding+"WHERE d.parent = ?2 AND d.id > ?3 ORDER BY d.id LIMIT ?4", proof, parent, after, limit)
}

// Holding is Holdings of one name.
func (tx *Tx) Holding(id DentryID, proof int) (Holding, error) {
	h, ok, err := get(tx, scanHolding, "SELECT "+holdingCols+fromHolding+"WHERE d.id = ?2", proof, id)
	if err == nil && !ok {
		err = fmt.Errorf("dentry %d: %w", id, ErrNotFound)
	}
	return h, err
}

// ProvedAt are the endpoints, as their legs name them, that have proved by this proof or a better one that they store the present
// version of a node.
func (tx *Tx) ProvedAt(ino Ino, proof int) ([]string, error) {
	return list(tx, (*row).str, `SELECT DISTINCT l.endpoint FROM nodes n JOIN dentries x ON x.ino = n.ino JOIN bindings b ON b.dentry = x.id
		JOIN legs l ON l.id = b.leg WHERE n.ino = ? AND b.l_version = n.version AND b.proof >= ? ORDER BY l.id`, ino, proof)
}

// Intents reads up to limit dentries that have an intent of their own, in the order of their ids, beginning after one.
func (tx *Tx) Intents(after DentryID, limit int) ([]Dentry, error) {
	return list(tx, scanDentry, "SELECT "+dentryCols+` FROM dentries d INDEXED BY dentries_intent WHERE d.intent <> 0 AND d.id > ?
		ORDER BY d.id LIMIT ?`, after, limit)
}

// TrashBytes sums the bytes that the drive's trash keeps here. Its cost grows with the trash.
func (tx *Tx) TrashBytes() (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT coalesce(sum(c.present), 0) FROM trash t JOIN contents c ON c.id = t.content WHERE t.content IS NOT NULL")
	return n, err
}
