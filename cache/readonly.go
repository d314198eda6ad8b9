package cache

import (
	"fmt"
	"sync/atomic"
)

// A place that is fed one way from outside takes no changes of programs: what they did there would be lost, or stay in the
// way. What comes from outside does not pass these checks: the primitives of Tx have none.

// SetPlaceReadOnly lets programs change what is in a place, or refuses them to.
func (tx *Tx) SetPlaceReadOnly(id PlaceID, on bool) error {
	if err := tx.setPlace(id, readOnly, on, &tx.c.frozen); err != nil {
		return fmt.Errorf("set place %d read-only: %w", id, err)
	}
	return nil
}

// The columns of places that what programs do has to be compared with.
const (
	readOnly = "read_only"
	merges   = "merges"
)

// setPlace sets such a column of a place, and counts anew the places that have it.
func (tx *Tx) setPlace(id PlaceID, column string, value any, count *atomic.Int64) error {
	ok, err := tx.changed("UPDATE places SET "+column+" = ? WHERE id = ?", value, id)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return err
	}
	n, err := tx.placesWith(column)
	if err != nil {
		return err
	}
	was := count.Swap(n)
	tx.onUndo(func() { count.Store(was) })
	return nil
}

func (tx *Tx) placesWith(column string) (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT count(*) FROM places WHERE "+column+" > 0")
	return n, err
}

// PlaceReadOnly reports whether programs may not change what is in a place.
func (tx *Tx) PlaceReadOnly(id PlaceID) (bool, error) {
	return tx.queryRow("SELECT 1 FROM places WHERE id = ? AND read_only = 1", func(*row) {}, id)
}

// countPlaces counts the places that what programs do has to be compared with.
func (c *Cache) countPlaces() error {
	tx := &Tx{c: c, conn: c.writer.conn}
	n, err := tx.placesWith(readOnly)
	if err != nil {
		return err
	}
	c.frozen.Store(n)
	n, err = tx.placesWith(merges)
	c.merging.Store(n)
	return err
}

// mayChangeIn is ErrReadOnly for a directory in which programs change nothing.
func (tx *Tx) mayChangeIn(dir Ino) error {
	if tx.c.frozen.Load() == 0 {
		return nil
	}
	return tx.readOnlyIf("SELECT 1 FROM nodes n JOIN places p ON p.id = n.place WHERE n.ino = ? AND n.kind = 2 AND p.read_only = 1", dir)
}

// mayChange is mayChangeIn for a node that has a name in such a directory.
func (tx *Tx) mayChange(ino Ino) error {
	if tx.c.frozen.Load() == 0 {
		return nil
	}
	return tx.readOnlyIf(`SELECT 1 FROM dentries d JOIN nodes n ON n.ino = d.parent JOIN places p ON p.id = n.place
		WHERE d.ino = ? AND p.read_only = 1 LIMIT 1`, ino)
}

func (tx *Tx) readOnlyIf(sql string, ino Ino) error {
	found, err := tx.queryRow(sql, func(*row) {}, ino)
	if err == nil && found {
		err = ErrReadOnly
	}
	return err
}

// mayWrite is mayChange for who is about to open a file for writing.
func (c *Cache) mayWrite(ino Ino) error {
	if c.frozen.Load() == 0 {
		return nil
	}
	return c.read(func(tx *Tx) error { return tx.mayChange(ino) })
}
