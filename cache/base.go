package cache

import (
	"errors"
	"fmt"
	"io"

	"lukechampine.com/blake3"
)

// A merge takes three contents: those of both sides, and what they had agreed on before. The last is overwritten by the first
// change here. Where files are merged it goes to the trash then, and stays until nothing of that change is left to be done.

// baseReason marks in the trash what is there only in case of a merge.
const baseReason = "kept in case of a merge"

// SetPlaceMerges has what files of a place had in common with an endpoint kept while they are changed, if it is no larger than
// limit bytes; 0: no file.
func (tx *Tx) SetPlaceMerges(id PlaceID, limit int64) error {
	if err := tx.setPlace(id, merges, limit, &tx.c.merging); err != nil {
		return fmt.Errorf("set merging in place %d: %w", id, err)
	}
	return nil
}

// agreed finds the name by which a file that is here is what an endpoint has, too, where files are merged; 0: none, or the trash has
// the content already.
func (tx *Tx) agreed(n Node) (DentryID, error) {
	if n.Kind != File || n.Residency != Full || n.Content == 0 || n.Size == 0 || n.Writing || !n.Hash.Known() {
		return 0, nil
	}
	id, _, err := get(tx, (*row).int, `SELECT d.id FROM dentries d JOIN bindings b ON b.dentry = d.id JOIN nodes p ON p.ino = d.parent
		JOIN places l ON l.id = p.place WHERE d.ino = ?1 AND b.l_version = ?2 AND b.r_hash = ?3 AND l.merges >= ?4
		AND NOT EXISTS (SELECT 1 FROM trash t WHERE t.hash = ?3 AND t.content IS NOT NULL) LIMIT 1`, n.Ino, n.Version, n.Hash, n.Size)
	return DentryID(id), err
}

// keepAgreed puts a file into the trash that a program is about to remove or replace, if it may be needed for a merge. The
// bytes change hands, so nothing is copied.
func (tx *Tx) keepAgreed(e Entry) error {
	if tx.c.merging.Load() == 0 || e.Node.Nlink != 1 || tx.c.OpenWriters(e.Ino) {
		return nil
	}
	d, err := tx.agreed(e.Node)
	if err != nil || d == 0 {
		return err
	}
	p, err := tx.Path(e.ID)
	if err != nil {
		return err
	}
	_, err = tx.TrashNode(e.Ino, 0, p, baseReason)
	return err
}

// copied is a copy of a content that is about to be overwritten.
type copied struct {
	b    *backing
	node Node
	of   DentryID
}

// copyAgreed copies what a file has before its first change, by reflink where the disk can, if it may be needed for a merge.
// Without a copy, as on a full disk, the file cannot be merged: that is no reason not to write to it. op is held for writing.
func (c *Cache) copyAgreed(st *fileState) *copied {
	old := st.cur.Load()
	if c.merging.Load() == 0 || old == nil || !old.full {
		return nil
	}
	var k copied
	err := c.read(func(tx *Tx) (err error) {
		if k.node, err = tx.Node(st.ino); err == nil {
			k.of, err = tx.agreed(k.node)
		}
		return err
	})
	if err == nil && k.of != 0 {
		if k.b, err = c.newContent(); err == nil {
			err = k.fill(old)
		}
	}
	if err != nil {
		c.log.Warn("what a file had in common with its storage is not kept", "ino", uint64(st.ino), "error", errors.Join(err, c.forgetCopy(&k)))
		return nil
	}
	if k.b == nil {
		return nil
	}
	return &k
}

func (k *copied) fill(old *backing) error {
	if !clones(k.b.file, old.file) {
		if _, err := io.Copy(k.b.file, io.NewSectionReader(old.file, 0, k.node.Size)); err != nil {
			return err
		}
	}
	info, err := k.b.stat()
	if err == nil && info.size != k.node.Size {
		err = ErrStale
	}
	return err
}

// trashCopy puts a copy into the trash.
func (tx *Tx) trashCopy(k *copied) error {
	if k == nil {
		return nil
	}
	p, err := tx.Path(k.of)
	if err != nil {
		return err
	}
	if err := tx.insertContent(k.b.id, 0, k.node.Size); err != nil {
		return err
	}
	n := k.node
	return tx.exec(`INSERT INTO trash(leg, path, kind, mode, size, mtime, hash, content, reason, created) VALUES(0,?,?,?,?,?,?,?,?,?)`,
		blob(p), n.Kind, n.Mode, n.Size, n.Mtime, n.Hash, k.b.id, baseReason, tx.Now())
}

// forgetCopy removes a copy that came to nothing.
func (c *Cache) forgetCopy(k *copied) error {
	if k == nil || k.b == nil {
		return nil
	}
	return errors.Join(k.b.file.Close(), c.store.remove(k.b.id))
}

// Trashed reads a content of up to limit bytes that the trash has. ErrNotFound: it does not have it, or not whole.
func (c *Cache) Trashed(h Hash, limit int64) ([]byte, error) {
	var id, size int64
	err := c.read(func(tx *Tx) error {
		ok, err := tx.queryRow("SELECT content, size FROM trash WHERE hash = ? AND content IS NOT NULL LIMIT 1", func(r *row) { id, size = r.int(), r.int() }, h)
		if err == nil && (!ok || size > limit) {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read from the trash: %w", err)
	}
	b, err := c.store.open(ContentID(id))
	if err != nil {
		return nil, fmt.Errorf("read from the trash: %w", errors.Join(ErrNotFound, err))
	}
	data, err := io.ReadAll(io.NewSectionReader(b.file, 0, size))
	if err == nil && blake3.Sum256(data) != h {
		err = ErrNotFound // a power cut has taken some of it
	}
	if err = joinClose(err, b.file); err != nil {
		return nil, fmt.Errorf("read from the trash: %w", err)
	}
	return data, nil
}

// DropBases ends what is kept in case of a merge of files of which nothing is left to be sent.
func (tx *Tx) DropBases() error {
	rows, err := list(tx, (*row).int, `SELECT id FROM trash WHERE reason = ? AND hash NOT IN (SELECT b.r_hash FROM items i JOIN bindings b ON b.id = i.binding
		WHERE i.origin = 2 AND i.status < 6 AND b.r_hash IS NOT NULL)`, baseReason)
	for _, id := range rows {
		if err == nil {
			err = tx.DeleteTrash(id)
		}
	}
	return err
}

// KeepBase has the trash keep for good what a file was merged from.
func (tx *Tx) KeepBase(h Hash) error {
	return tx.exec("UPDATE trash SET reason = ? WHERE hash = ? AND reason = ?", "the base of a merge", h, baseReason)
}
