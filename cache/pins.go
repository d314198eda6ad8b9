package cache

import (
	"fmt"
	"strconv"
	"strings"
)

// walkPrefix begins the keys of meta that say which directories' pins are still to be walked.
const walkPrefix = "walk:"

// BeginWalk notes, with the change in the same transaction that made a directory pinned, that what is below is still to be
// queued.
func (tx *Tx) BeginWalk(id DentryID) error {
	tx.marked = true // whoever walks waits for that
	return tx.exec(`INSERT OR REPLACE INTO meta(key, value) VALUES(?, 1)`, walkPrefix+strconv.FormatInt(int64(id), 10))
}

// EndWalk takes the note of BeginWalk away.
func (tx *Tx) EndWalk(id DentryID) error {
	return tx.exec(`DELETE FROM meta WHERE key=?`, walkPrefix+strconv.FormatInt(int64(id), 10))
}

// Walks lists the dentries whose walk was begun and not ended: after a crash it is to be done again.
func (tx *Tx) Walks() ([]DentryID, error) {
	keys, err := list(tx, (*row).str, `SELECT key FROM meta WHERE key >= ?1 AND key < ?2 ORDER BY key`, walkPrefix, "walk;")
	if err != nil {
		return nil, fmt.Errorf("list walks: %w", err)
	}
	var out []DentryID
	for _, k := range keys {
		id, err := strconv.ParseInt(strings.TrimPrefix(k, walkPrefix), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("list walks: key %q: %w", k, ErrDamaged)
		}
		out = append(out, DentryID(id))
	}
	return out, nil
}

// LocalBytes counts the bytes of a node that are here, as the index knows.
func (tx *Tx) LocalBytes(ino Ino) (int64, error) {
	n, _, err := get(tx, (*row).int, `SELECT c.present FROM nodes n JOIN contents c ON c.id = n.content WHERE n.ino=?`, ino)
	return n, err
}

// PinnedBytes sums the bytes that are here of files whose names, or the nearest directory above that has an intent, are
// pinned. Its cost grows with what is pinned.
func (tx *Tx) PinnedBytes() (int64, error) {
	n, _, err := get(tx, (*row).int, `WITH RECURSIVE pinned(id, ino) AS (
			SELECT id, ino FROM dentries WHERE intent <> 0 AND intent = ?1
			UNION ALL SELECT d.id, d.ino FROM pinned p JOIN dentries d ON d.parent = p.ino WHERE d.intent = 0)
		SELECT coalesce(sum(c.present), 0) FROM contents c JOIN nodes n ON n.content = c.id
		WHERE n.ino IN (SELECT ino FROM pinned)`, Pinned)
	return n, err
}
