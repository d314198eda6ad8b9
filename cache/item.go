package cache

import (
	"fmt"
	"time"
)

const itemCols = `id, leg, origin, binding, dentry, remote_id, operation, status, base_version, base_hash, priority, eligible,
	tries, error, cause, parked, resolution, generation, name, created, updated`

func scanItem(r *row) Item {
	return Item{
		ID: r.int(), Leg: LegID(r.int()), Origin: Origin(r.int()), Binding: BindingID(r.int()), Dentry: DentryID(r.int()), RemoteID: r.str(),
		Operation: Operation(r.int()), Status: ItemStatus(r.int()), BaseVersion: uint64(r.int()), BaseHash: r.hash(), Priority: int(r.int()),
		Eligible: r.int(), Tries: int(r.int()), Error: r.str(), Cause: r.str(), Parked: r.flag(), Resolution: r.str(), Generation: r.int(), Name: r.str(),
		Created: r.int(), Updated: r.int(),
	}
}

// Item reads an item; false: there is none.
func (tx *Tx) Item(id int64) (Item, bool, error) {
	return get(tx, scanItem, "SELECT "+itemCols+" FROM items WHERE id = ?", id)
}

// MarkRemote puts an item for an object of a leg's endpoint, or wakes the open one it has.
func (tx *Tx) MarkRemote(leg LegID, remoteID, name string, op Operation) error {
	tx.marked = true
	return tx.exec(`INSERT INTO items(leg, origin, remote_id, operation, status, name, created, updated) VALUES(?, 1, ?, ?, 1, ?, ?, ?)
		ON CONFLICT(leg, remote_id) WHERE origin = 1 AND status < 6`+onMark, leg, remoteID, op, blob(name), tx.Now(), tx.Now())
}

// UpdateItem writes the state of the work on an item: status, priority, eligible, tries, error, cause, parked, resolution
// and generation. It reports false, and changes nothing, when the item was marked again since it was read (its Updated
// moved), was closed, or is gone: then there is other work, or none. On success it.Updated is brought up to date; it stays
// near the time of the last mark, from which the object rests before it is sent.
func (tx *Tx) UpdateItem(it *Item) (bool, error) {
	ok, err := tx.queryRow(`UPDATE items SET status=?, priority=?, eligible=?, tries=?, error=?, cause=?, parked=?, resolution=?,
		generation=?,
		updated=updated+1 WHERE id=? AND updated=? AND status < 6 RETURNING updated`, func(r *row) { it.Updated = r.int() },
		it.Status, it.Priority, it.Eligible, it.Tries, it.Error, it.Cause, it.Parked, it.Resolution, it.Generation, it.ID, it.Updated)
	if err != nil {
		return false, fmt.Errorf("update item: %w", err)
	}
	tx.marked = tx.marked || ok
	return ok, nil
}

// FinishItem gives an item its final state, unless it was marked again since it was read at seenUpdated: then it
// stays open, and the answer is false.
func (tx *Tx) FinishItem(id, seenUpdated int64, status ItemStatus) (bool, error) {
	ok, err := tx.changed("UPDATE items SET status=?, error='', parked=0, updated=max(?, updated+1) WHERE id=? AND updated=? AND status < 6", status, tx.Now(), id, seenUpdated)
	if err != nil {
		return false, fmt.Errorf("finish item: %w", err)
	}
	tx.marked = tx.marked || ok
	return ok, nil
}

// clockSlack is how far ahead the last mark of an item may be though the clock was not set back: each moves it on, also two in
// one moment.
const clockSlack = time.Millisecond

// Due reports whether an item may be worked on at a time. One that waits for a time of a clock that has been set back since is
// due: nobody knows when that time comes.
func (it *Item) Due(now int64) bool {
	switch {
	case it.Eligible <= now, it.Eligible < Never && it.Eligible-now > int64(LongestRest):
		return true
	case it.Eligible >= Never, it.Status == ItemError: // whose time was not written down with the last mark
		return false
	}
	return it.Updated > now+int64(clockSlack)
}

// due is Due in SQL, at the time that a parameter holds.
func due(now string) string {
	return fmt.Sprintf("(eligible <= %[1]s OR eligible < %[2]d AND (eligible - %[1]s > %[3]d OR status <> %[4]d AND updated > %[1]s + %[5]d))",
		now, Never, int64(LongestRest), ItemError, int64(clockSlack))
}

// Rest is how long an item has to wait still, by its own time and for quiet after its last mark.
func (it *Item) Rest(now int64, quiet time.Duration) time.Duration {
	until := now
	if !it.Due(now) {
		until = it.Eligible
	}
	if it.Updated <= now+int64(clockSlack) { // else the clock has been set back
		until = max(until, it.Updated+int64(quiet))
	}
	return time.Duration(until - now)
}

// ItemsPage reads up to limit open items of a leg and origin in the order of their ids, beginning after one. With a
// now above 0 only those that may be worked on then.
func (tx *Tx) ItemsPage(leg LegID, origin Origin, after int64, limit int, now int64) ([]Item, error) {
	const where = "SELECT " + itemCols + " FROM items INDEXED BY items_order WHERE leg = ?1 AND origin = ?2 AND status < 6 AND id > ?3 "
	if now <= 0 {
		return list(tx, scanItem, where+"ORDER BY id LIMIT ?4", leg, origin, after, limit)
	}
	return list(tx, scanItem, where+"AND "+due("?5")+" ORDER BY id LIMIT ?4", leg, origin, after, limit, now)
}

// WakeParked lets the parked local items of a leg be tried now, and counts those that would have waited. It says that they are
// open for the sake of the index.
func (tx *Tx) WakeParked(leg LegID) (int, error) {
	ids, err := list(tx, (*row).int, `UPDATE items SET eligible = ?1 WHERE leg = ?2 AND origin = 2 AND status = ?3 AND status < 6 AND parked = 1
		AND eligible > ?1 AND eligible < ?4 RETURNING id`, tx.Now(), leg, ItemError, Never)
	if err != nil {
		return 0, fmt.Errorf("wake parked items: %w", err)
	}
	return len(ids), nil
}

// OpenItemsOf reads the open local items of a dentry, on all legs.
func (tx *Tx) OpenItemsOf(id DentryID) ([]Item, error) {
	place, err := tx.PlaceOf(id)
	if err != nil {
		return nil, err
	}
	return list(tx, scanItem, `SELECT `+itemCols+` FROM items WHERE origin = 2 AND binding IN (SELECT id FROM bindings WHERE dentry = ?) AND status < 6
			AND leg IN (SELECT id FROM legs WHERE place = ?)
		UNION ALL SELECT `+itemCols+` FROM items WHERE origin = 2 AND binding IS NULL AND dentry = ? AND status < 6
			AND leg IN (SELECT id FROM legs WHERE place = ?)`, id, place, id, place)
}

// DeleteAllItems forgets all open items of a leg. Planning again brings the same work back: see Rederive.
func (tx *Tx) DeleteAllItems(leg LegID) error {
	tx.marked = true
	return tx.exec("DELETE FROM items WHERE leg = ? AND status < 6", leg)
}

// ItemCount is how many items of a leg share origin, status and the parked flag.
type ItemCount struct {
	Leg    LegID
	Origin Origin
	Status ItemStatus
	Parked bool
	Count  int64
}

// CountItems counts the open items.
func (tx *Tx) CountItems() ([]ItemCount, error) {
	return list(tx, func(r *row) ItemCount {
		return ItemCount{LegID(r.int()), Origin(r.int()), ItemStatus(r.int()), r.flag(), r.int()}
	}, "SELECT leg, origin, status, parked, count(*) FROM items WHERE status < 6 GROUP BY leg, origin, status, parked")
}

// ItemFilter chooses items for ListItems. Zero fields choose everything.
type ItemFilter struct {
	Leg    LegID
	Origin Origin
	Status ItemStatus
	Closed bool // closed items too
	Errors bool // only those that failed, not what waits its turn
	After  int64
	Limit  int // 0: 1000
}

// ListItems reads items for people, in the order of their ids.
func (tx *Tx) ListItems(f ItemFilter) ([]Item, error) {
	if f.Limit <= 0 {
		f.Limit = 1000
	}
	sql, args := "SELECT "+itemCols+" FROM items WHERE id > ?", []any{f.After}
	and := func(cond string, a ...any) {
		sql += " AND " + cond
		args = append(args, a...)
	}
	if f.Leg != 0 {
		and("leg = ?", f.Leg)
	}
	if f.Origin != 0 {
		and("origin = ?", f.Origin)
	}
	if f.Status != 0 {
		and("status = ?", f.Status)
	} else if !f.Closed {
		and("status < 6")
	}
	if f.Errors {
		and("status = ?", ItemError)
	}
	return list(tx, scanItem, sql+" ORDER BY id LIMIT ?", append(args, f.Limit)...)
}

// PurgeClosed deletes up to limit closed items that were last touched before a time, and returns how many.
func (tx *Tx) PurgeClosed(before int64, limit int) (int, error) {
	ids, err := list(tx, (*row).int, `DELETE FROM items WHERE id IN (SELECT id FROM items WHERE status >= 6 AND updated < ? LIMIT ?) RETURNING id`, before, limit)
	return len(ids), err
}
