package cache

import "fmt"

// Deletions are what was deleted on one side of a leg, one soon after the other. Few of them may be left at any time, as the
// other side follows while they go on: those that it has followed count, too.
type Deletions struct {
	Leg     LegID
	Side    Origin
	Begun   int64     // 0: there are none
	Objects int64     // there were when they began
	Last    BindingID // the newest of those: what was made since, and is removed again, is not missed by anybody
	Done    int64     // of them were deleted on the other side
	Held    bool      // they last until nothing of them is held
}

// Deletions reads those of one side of a leg.
func (tx *Tx) Deletions(leg LegID, side Origin) (Deletions, error) {
	d := Deletions{Leg: leg, Side: side}
	_, err := tx.queryRow("SELECT begun, objects, last, done, held FROM deletions WHERE leg = ? AND side = ?", func(r *row) {
		d.Begun, d.Objects, d.Last, d.Done, d.Held = r.int(), r.int(), BindingID(r.int()), r.int(), r.flag()
	}, leg, side)
	return d, err
}

// PutDeletions writes when deletions began and whether they are held. Done is not written: none is when they begin, and then
// CountDeletion counts.
func (tx *Tx) PutDeletions(d Deletions) error {
	err := tx.exec(`INSERT INTO deletions(leg, side, begun, objects, last, done, held) VALUES(?, ?, ?, ?, ?, 0, ?)
		ON CONFLICT(leg, side) DO UPDATE SET done = CASE WHEN begun = excluded.begun THEN done ELSE 0 END,
			begun = excluded.begun, objects = excluded.objects, last = excluded.last, held = excluded.held`,
		d.Leg, d.Side, d.Begun, d.Objects, d.Last, d.Held)
	if err != nil {
		return fmt.Errorf("put deletions: %w", err)
	}
	return nil
}

// CountDeletion counts, in the transaction that writes it down, that the other side has followed the deletion of an object.
func (tx *Tx) CountDeletion(leg LegID, side Origin, id BindingID) error {
	return tx.exec("UPDATE deletions SET done = done+1 WHERE leg = ? AND side = ? AND last >= ?", leg, side, id)
}

// EndDeletions forgets those of one side of a leg: what was allowed counts for no other.
func (tx *Tx) EndDeletions(leg LegID, side Origin) error {
	return tx.exec("DELETE FROM deletions WHERE leg = ? AND side = ?", leg, side)
}
