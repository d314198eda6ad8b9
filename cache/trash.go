package cache

import "fmt"

const trashCols = "id, leg, path, kind, mode, size, mtime, hash, content, reason, created"

func scanTrash(r *row) TrashRow {
	return TrashRow{
		ID: r.int(), Leg: LegID(r.int()), Path: r.str(), Kind: Kind(r.int()), Mode: uint32(r.int()), Size: r.int(), Mtime: r.int(), Hash: r.hash(),
		Content: ContentID(r.int()), Reason: r.str(), Created: r.int(),
	}
}

// TrashNode keeps the present version of a node in the drive's trash, before a remote change takes it away. The bytes
// change hands: the node is left without any, so nothing is copied. The caller holds the node's swap lease.
func (tx *Tx) TrashNode(ino Ino, leg LegID, path, reason string) (TrashRow, error) {
	n, err := tx.Node(ino)
	if err == nil && n.Writing {
		err = ErrBusy
	}
	if err != nil {
		return TrashRow{}, fmt.Errorf("trash: %w", err)
	}
	t := TrashRow{
		Leg: leg, Path: path, Kind: n.Kind, Mode: n.Mode, Size: n.Size, Mtime: n.Mtime, Hash: n.Hash, Reason: reason, Created: tx.Now(),
	}
	if n.Residency == Full {
		t.Content = n.Content
	}
	t.ID, err = tx.insert(`INSERT INTO trash(leg, path, kind, mode, size, mtime, hash, content, reason, created) VALUES(?,?,?,?,?,?,?,?,?,?) RETURNING id`,
		t.Leg, blob(t.Path), t.Kind, t.Mode, t.Size, t.Mtime, t.Hash, orNull(t.Content), t.Reason, t.Created)
	if err != nil || t.Content == 0 {
		return t, err
	}
	if err := tx.exec("UPDATE contents SET ino = 0 WHERE id = ?", t.Content); err != nil {
		return t, err
	}
	return t, tx.exec("UPDATE nodes SET content = NULL, residency = 0 WHERE ino = ?", ino)
}

// Trash reads up to limit rows, the oldest first, beginning after an id.
func (tx *Tx) Trash(after int64, limit int) ([]TrashRow, error) {
	return list(tx, scanTrash, "SELECT "+trashCols+" FROM trash WHERE id > ? ORDER BY id LIMIT ?", after, limit)
}

// DeleteTrash ends what the trash keeps of a version: its bytes go after the commit.
func (tx *Tx) DeleteTrash(id int64) error {
	content, ok, err := get(tx, (*row).int, "DELETE FROM trash WHERE id = ? RETURNING content", id)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err == nil {
		err = tx.removeContent(ContentID(content))
	}
	if err != nil {
		return fmt.Errorf("delete trash %d: %w", id, err)
	}
	return nil
}
