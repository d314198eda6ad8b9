package cache

import (
	"cmp"
	"fmt"
)

// RefreshKey is the key of the transfer of a new version of a file that was here and in use. Such transfers come last.
const RefreshKey = "refresh"

// refreshPriority is below that of pins.
const refreshPriority = -1

// Reader is for whom a transfer fetches.
func (t *Transfer) Reader() Reader {
	return Reader{Program: "vdfs " + cmp.Or(t.Key, "pin"), Kind: "vdfs"}
}

const transferCols = "id, ino, leg, upload, priority, key, resume, tries, next, error, created"

func scanTransfer(r *row) Transfer {
	return Transfer{
		ID: r.int(), Ino: Ino(r.int()), Leg: LegID(r.int()), Upload: r.flag(), Priority: int(r.int()), Key: r.str(), Resume: r.bytes(),
		Tries: int(r.int()), Next: r.int(), Error: r.str(), Created: r.int(),
	}
}

// PutTransfer writes a transfer. There is one for each node, leg and direction: one that is there is replaced, but keeps
// its id, its age, and the higher of the two priorities.
func (tx *Tx) PutTransfer(t *Transfer) error {
	tx.marked = true
	err := tx.exec(`INSERT INTO transfers(ino, leg, upload, priority, key, resume, tries, next, error, created) VALUES(?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT(ino, leg, upload) DO UPDATE SET priority=max(priority, excluded.priority), key=excluded.key, resume=excluded.resume,
		tries=excluded.tries, next=excluded.next, error=excluded.error`,
		t.Ino, t.Leg, t.Upload, t.Priority, t.Key, t.Resume, t.Tries, t.Next, t.Error, tx.Now())
	if err == nil {
		_, err = tx.queryRow("SELECT id, priority, created FROM transfers WHERE ino = ? AND leg = ? AND upload = ?",
			func(r *row) { t.ID, t.Priority, t.Created = r.int(), int(r.int()), r.int() }, t.Ino, t.Leg, t.Upload)
	}
	if err != nil {
		return fmt.Errorf("put transfer: %w", err)
	}
	return nil
}

// NextTransfers reads up to limit transfers of a direction that are due, in the order in which they are to be done. Due is, too,
// what rests for longer than anything does: the clock has been set back since.
func (tx *Tx) NextTransfers(upload bool, now int64, limit int) ([]Transfer, error) {
	return list(tx, scanTransfer, "SELECT "+transferCols+" FROM transfers WHERE upload = ? AND (next <= ? OR next > ? AND next < ?) ORDER BY priority DESC, next, id LIMIT ?",
		upload, now, now+int64(LongestRest), Never, limit)
}

// NextTransferTime is when the earliest transfer of a direction is due; false: there are none.
func (tx *Tx) NextTransferTime(upload bool) (int64, bool, error) {
	// The index has the priorities before the times: each of the few there are is asked for its first, not every transfer.
	at, _, err := get(tx, (*row).int, `WITH RECURSIVE p(priority) AS (
			SELECT max(priority) FROM transfers WHERE upload = ?1
			UNION ALL
			SELECT (SELECT max(priority) FROM transfers WHERE upload = ?1 AND priority < p.priority) FROM p WHERE p.priority IS NOT NULL)
		SELECT coalesce(min((SELECT min(next) FROM transfers WHERE upload = ?1 AND priority = p.priority)), ?2) FROM p`, upload, Never)
	return at, err == nil && at < Never, err
}

// TransferOf reads the transfer of a node, leg and direction; false: there is none.
func (tx *Tx) TransferOf(ino Ino, leg LegID, upload bool) (Transfer, bool, error) {
	return get(tx, scanTransfer, "SELECT "+transferCols+" FROM transfers WHERE ino = ? AND leg = ? AND upload = ?", ino, leg, upload)
}

// TransferCount counts the transfers of a direction.
func (tx *Tx) TransferCount(upload bool) (int64, error) {
	n, _, err := get(tx, (*row).int, "SELECT count(*) FROM transfers WHERE upload = ?", upload)
	return n, err
}

// DeleteTransfer ends a transfer; that it is gone already is no error.
func (tx *Tx) DeleteTransfer(id int64) error {
	tx.marked = true
	return tx.exec("DELETE FROM transfers WHERE id = ?", id)
}
