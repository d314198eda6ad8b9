package cache

import "fmt"

// JournalEntry is a write at an endpoint that may have happened without its outcome being recorded.
type JournalEntry struct {
	Item int64
	Op   []byte // what it was to do, in the syncer's own form
}

// Announce records a write of an item before it is made; the item is being processed from then on. Until Settled, whoever
// finds the entry has to look what became of the write before anything else is concluded from that endpoint.
func (tx *Tx) Announce(leg LegID, item int64, op []byte) error {
	err := tx.exec("INSERT OR REPLACE INTO journal(leg, item, op, created) VALUES(?, ?, ?, ?)", leg, item, op, tx.Now())
	if err == nil {
		err = tx.exec("UPDATE items SET status = ?, error = '', parked = 0 WHERE id = ? AND status < 6", ItemProcessing, item)
	}
	if err != nil {
		return fmt.Errorf("announce write: %w", err)
	}
	return nil
}

// Settled forgets a write whose outcome is known, and, if it happened, recorded in this transaction. An item that is not closed
// by then has more to do. Watchers are woken: somebody may wait for it.
func (tx *Tx) Settled(leg LegID, item int64) error {
	tx.marked = true
	err := tx.exec("DELETE FROM journal WHERE leg = ? AND item = ?", leg, item)
	if err == nil {
		err = tx.Requeue(item)
	}
	if err != nil {
		return fmt.Errorf("settle write: %w", err)
	}
	return nil
}

// Requeue has an item that was being processed wait for its turn again.
func (tx *Tx) Requeue(item int64) error {
	return tx.exec("UPDATE items SET status = ? WHERE id = ? AND status = ?", ItemNew, item, ItemProcessing)
}

// Journal reads up to limit announced writes of a leg, in the order of their items, beginning after one.
func (tx *Tx) Journal(leg LegID, after int64, limit int) ([]JournalEntry, error) {
	return list(tx, func(r *row) JournalEntry { return JournalEntry{Item: r.int(), Op: r.bytes()} },
		"SELECT item, op FROM journal WHERE leg = ? AND item > ? ORDER BY item LIMIT ?", leg, after, limit)
}
