package cache

import (
	"errors"
	"fmt"

	"vdfs/internal/fault"
)

// Create makes an empty regular file and opens it for writing. It is marked as being written in the transaction that makes
// it, so that the first write needs none. A name that is taken is ErrExists.
func (c *Cache) Create(parent Ino, name string, mode uint32, by Caller) (Entry, *OpenFile, error) {
	c.noteChange()
	b, err := c.newContent()
	if err != nil {
		return Entry{}, nil, fmt.Errorf("create %q: %w", name, err)
	}
	if err := fault.Point(faultCreateFile); err != nil {
		return Entry{}, nil, errors.Join(fmt.Errorf("create %q: %w", name, err), b.file.Close(), c.store.remove(b.id))
	}
	st := &fileState{writers: 1, loaded: true, version: 1, marked: true}
	b.full, b.registered = true, true
	st.cur.Store(b)
	var e Entry
	err = c.update(0, true, func(tx *Tx) (err error) {
		if err := tx.mayChangeIn(parent); err != nil {
			return err
		}
		n := Node{Kind: File, Mode: mode, Content: b.id, Residency: Full, Writing: true, Listing: Listed}
		if e, err = tx.create(parent, name, n, by); err != nil {
			return err
		}
		if err := tx.insertContent(b.id, e.Ino, 0); err != nil {
			return err
		}
		// In the transaction: whoever finds the name finds it open.
		st.ino = e.Ino
		c.files.insert(st)
		return nil
	})
	if err != nil {
		if st.ino != 0 {
			c.files.forget(st)
		}
		return Entry{}, nil, errors.Join(err, b.file.Close(), c.store.remove(b.id))
	}
	st.since.Store(e.Node.Mtime)
	st.writer.Store(by.PID)
	o := &OpenFile{c: c, st: st, as: writes}
	if err := errors.Join(fault.Point(faultCreateRows), b.setOrigin(e.Ino, parent, name), b.setMtime(e.Node.Mtime)); err != nil {
		return Entry{}, nil, errors.Join(fmt.Errorf("create %q: %w", name, err), o.Close())
	}
	return e, o, nil
}
