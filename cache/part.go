package cache

import (
	"golang.org/x/sys/unix"

	"vdfs/internal/fault"
)

// A file of which bytes are missing can be cut without them: only those that stay have to be here. What recovery does when
// the process ends after each step:
//
//  1. the rows say of the old version that nothing behind the cut is here   it is a part, as it was
//  2. the backing file is cut                                               as 1
//  3. mark, see settle.go                                                   settled from the backing file
//
// In another order there would be rows that promise bytes that are gone, or a new version as long as the old one, with zeros
// where bytes were missing.

// cutPart makes a new version of the first size bytes of a file that is here in part. ErrNotLocal: some of those are missing.
// To what is here in full, or would not become shorter, it does nothing.
func (c *Cache) cutPart(st *fileState, size int64) error {
	st.op.Lock()
	defer st.op.Unlock()
	b := st.cur.Load()
	switch {
	case st.marked || b != nil && b.full || size >= st.size:
		return nil
	case b == nil || !b.present.Contains(0, size):
		return ErrNotLocal
	}
	// Another one of the same file: whoever was filling it is overtaken from here on, also if it stays a part.
	head := &backing{id: b.id, file: b.file, registered: b.registered, recorded: b.recorded, named: b.named, readOnly: b.readOnly}
	head.present.Add(0, size)
	encoded, err := head.present.MarshalBinary()
	if err != nil {
		return err
	}
	err = c.update(0, true, func(tx *Tx) error {
		if err := tx.putContent(st, head, st.version, filled{Partial, size, encoded, Hash{}}, nil); err != nil {
			return err
		}
		return tx.exec(`UPDATE contents SET synced=0 WHERE id=?`, head.id) // of a part it says nothing
	})
	if err != nil {
		return err
	}
	st.cur.Store(head)
	if !c.store.notes.has(head.id) {
		if err := c.syncIndex(); err != nil {
			return err
		}
		c.store.notes.add(head.id)
	}
	if err := fault.Point(faultCutPart); err != nil {
		return err
	}
	if err := ignoringEINTR(func() error { return unix.Ftruncate(int(head.file.Fd()), size) }); err != nil {
		return diskError(err)
	}
	if err := fault.Point(faultCutFile); err != nil {
		return err
	}
	head.full = true
	err = c.mark(st, false)
	head.full = st.marked
	return err
}
