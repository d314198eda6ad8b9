package cache

import (
	"context"
	"fmt"
)

// movesMost is how many moves of a leg are kept, besides by age: see Options.TrashKept.
const movesMost = 100_000

// Move says that an object of an endpoint, with all below it, has another path since a time, or that a file came to be there.
type Move struct {
	Leg      LegID
	At       int64  // nanoseconds since 1970
	Old, New string // names from the root of the leg on, with slashes between; no Old: it was not there before
}

// AddMove writes a move down, which happens now.
func (tx *Tx) AddMove(leg LegID, from, to string) error {
	return tx.exec("INSERT INTO moves(leg, at, old, new) VALUES(?,?,?,?)", leg, tx.Now(), blob(from), blob(to))
}

// AddBirth writes down, once, when what a binding is of came to be there, and at which path.
func (tx *Tx) AddBirth(b Binding, born int64, at string) error {
	err := tx.exec("INSERT INTO moves(leg, at, old, new) VALUES(?,?,?,?)", b.Leg, born, blob(""), blob(at))
	if err == nil {
		err = tx.exec("UPDATE bindings SET born = 0 WHERE id = ?", b.ID)
	}
	return err
}

// MovesSince reads the moves of a leg that happened after a time, the oldest first.
func (tx *Tx) MovesSince(leg LegID, at int64) ([]Move, error) {
	return list(tx, func(r *row) Move { return Move{Leg: LegID(r.int()), At: r.int(), Old: r.str(), New: r.str()} },
		"SELECT leg, at, old, new FROM moves WHERE leg = ? AND at > ? ORDER BY at, id", leg, at)
}

// PurgeMoves deletes up to limit moves that are older than a time, or more than most of a leg's, and returns how many.
func (tx *Tx) PurgeMoves(before int64, most, limit int) (int, error) {
	gone, err := list(tx, (*row).int, `DELETE FROM moves WHERE id IN (SELECT id FROM moves m WHERE at < ?1
		OR id <= (SELECT id FROM moves WHERE leg = m.leg ORDER BY id DESC LIMIT 1 OFFSET ?2) LIMIT ?3) RETURNING id`, before, most, limit)
	return len(gone), err
}

// purgeMoves deletes moves that nothing in a trash is older than.
func (c *Cache) purgeMoves(ctx context.Context) error {
	before := c.opt.Clock().Add(-c.trashKept()).UnixNano()
	err := c.pages(ctx, func(tx *Tx) (bool, error) {
		n, err := tx.PurgeMoves(before, movesMost, recoverBatch)
		return n == recoverBatch, err
	})
	if err != nil {
		return fmt.Errorf("purge moves: %w", err)
	}
	return nil
}
