package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const trashCols = "id, leg, path, kind, mode, size, mtime, hash, content, reason, created, target, born"

func scanTrash(r *row) TrashRow {
	return TrashRow{
		ID: r.int(), Leg: LegID(r.int()), Path: r.str(), Kind: Kind(r.int()), Mode: uint32(r.int()), Size: r.int(), Mtime: r.int(), Hash: r.hash(),
		Content: ContentID(r.int()), Reason: r.str(), Created: r.int(), Target: r.str(), Born: r.int(),
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
		Leg: leg, Path: path, Kind: n.Kind, Mode: n.Mode, Size: n.Size, Mtime: n.Mtime, Hash: n.Hash, Reason: reason, Created: tx.Now(), Target: n.Target, Born: n.Btime,
	}
	if n.Residency == Full {
		t.Content = n.Content
	}
	t.ID, err = tx.insert(`INSERT INTO trash(leg, path, kind, mode, size, mtime, hash, content, reason, created, target, born) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)`,
		t.Leg, blob(t.Path), t.Kind, t.Mode, t.Size, t.Mtime, t.Hash, orNull(t.Content), t.Reason, t.Created, blob(t.Target), t.Born)
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

// TrashOf reads up to limit rows of what was at a path or below it and can be had again, the oldest first, beginning after an
// id.
func (tx *Tx) TrashOf(path string, after int64, limit int) ([]TrashRow, error) {
	at := strings.TrimSuffix(path, "/")
	return list(tx, scanTrash, "SELECT "+trashCols+` FROM trash WHERE (path = ?1 OR path > ?2 AND path < ?3) AND id > ?4
		AND (content IS NOT NULL OR kind = ?5) ORDER BY id LIMIT ?6`, blob(at), blob(at+"/"), blob(at+"0"), after, Symlink, limit)
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

// What the trash keeps, unless Options say otherwise.
const (
	trashKept  = 30 * 24 * time.Hour
	trashFresh = 24 * time.Hour // for so long it is kept however much it is
	trashMost  = 20 << 30       // bytes, but no more than a tenth of what is free
	trashShare = 10
)

// purgeTrash ends what the trash has had for longer than it is to keep it, and then the oldest of what is too much. What is
// kept in case of a merge stays: that ends by itself.
func (c *Cache) purgeTrash(ctx context.Context) error {
	now := c.opt.Clock()
	err := c.endTrash(ctx, "SELECT id FROM trash WHERE reason <> ? AND created < ?", baseReason, now.Add(-c.trashKept()).UnixNano())
	if err == nil {
		err = c.purgeMoves(ctx)
	}
	if err != nil {
		return err
	}
	st, err := c.StatFS()
	if err != nil {
		return err
	}
	var have int64
	err = c.read(func(tx *Tx) (err error) {
		have, err = tx.TrashBytes()
		return err
	})
	most := c.opt.TrashMost
	if most == 0 {
		most = min(trashMost, (st.DiskFree+have)/trashShare)
	}
	if err != nil || have <= most {
		return err
	}
	return c.endTrash(ctx, `SELECT id FROM (SELECT t.id, t.created, sum(c.present) OVER (ORDER BY t.id) - c.present AS before FROM trash t
		JOIN contents c ON c.id = t.content WHERE t.reason <> ?) WHERE before < ? AND created < ?`, baseReason, have-most, now.Add(-trashFresh).UnixNano())
}

// trashKept is how long the trash keeps a version.
func (c *Cache) trashKept() time.Duration {
	if c.opt.TrashKept == 0 {
		return trashKept
	}
	return c.opt.TrashKept
}

// OpenTrash opens the bytes that the trash keeps of a version, which stay there. ErrNotFound: it has none.
func (c *Cache) OpenTrash(id int64) (io.ReadCloser, error) {
	var content, size int64
	err := c.read(func(tx *Tx) error {
		ok, err := tx.queryRow("SELECT content, size FROM trash WHERE id = ? AND content IS NOT NULL", func(r *row) { content, size = r.int(), r.int() }, id)
		if err == nil && !ok {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read from the trash: %w", err)
	}
	b, err := c.store.open(ContentID(content))
	if err != nil {
		return nil, fmt.Errorf("read from the trash: %w", errors.Join(ErrNotFound, err))
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(b.file, 0, size), b.file}, nil
}

// endTrash deletes the rows that a query names, some at a time.
func (c *Cache) endTrash(ctx context.Context, query string, args ...any) error {
	var rows []int64
	err := c.read(func(tx *Tx) (err error) {
		rows, err = list(tx, (*row).int, query, args...)
		return err
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	return c.pages(ctx, func(tx *Tx) (bool, error) {
		n := min(recoverBatch, len(rows))
		for _, id := range rows[:n] {
			if err := tx.DeleteTrash(id); err != nil && !errors.Is(err, ErrNotFound) { // it was restored meanwhile
				return false, err
			}
		}
		rows = rows[n:]
		return len(rows) > 0, nil
	})
}
