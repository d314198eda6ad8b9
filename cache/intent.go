package cache

import (
	"fmt"
	"time"

	"vdfs/internal/fault"
)

// EffectiveIntent is a dentry's own intent or, where it has none, that of the nearest dentry above, and which one that
// is; Inherited and 0 when nobody said anything.
func (tx *Tx) EffectiveIntent(id DentryID) (Intent, DentryID, error) {
	var intent Intent
	var from DentryID
	_, err := tx.queryRow(`WITH RECURSIVE up(id, parent, intent, depth) AS (
			SELECT id, parent, intent, 0 FROM dentries WHERE id = ?
			UNION ALL SELECT d.id, d.parent, d.intent, depth + 1 FROM up JOIN dentries d ON d.ino = up.parent WHERE up.intent = 0)
		SELECT id, intent FROM up WHERE intent <> 0 LIMIT 1`, func(r *row) {
		from, intent = DentryID(r.int()), Intent(r.int())
	}, id)
	return intent, from, err
}

// AnyIntent reports whether any dentry has this intent of its own.
func (tx *Tx) AnyIntent(intent Intent) (bool, error) {
	return tx.queryRow("SELECT 1 FROM dentries WHERE intent <> 0 AND intent = ? LIMIT 1", func(*row) {}, intent)
}

// SetIntent sets a dentry's own intent; Inherited takes it away. A file that becomes pinned and has bytes missing is queued
// for download; for a directory it is noted that what is below is to be walked. Excluded hides the name, anything else shows
// it again; ErrBusy: the root and the directories of places cannot be hidden.
func (tx *Tx) SetIntent(id DentryID, intent Intent) error {
	fail := func(err error) error { return fmt.Errorf("set intent of dentry %d: %w", id, err) }
	e, err := tx.Entry(id)
	if err != nil {
		return fail(err)
	}
	if err := tx.exec("UPDATE dentries SET intent = ? WHERE id = ?", intent, id); err != nil {
		return fail(err)
	}
	tx.marked = true
	if e.Hidden() != (intent == Excluded) {
		if err := tx.turn(e.Dentry, e.Node); err != nil {
			return fail(err)
		}
	}
	if intent != Pinned {
		return nil
	}
	return tx.wantBelow(id, e.Node)
}

// wantBelow is wantPinned for a name that may be a directory with names below: those are many, so whoever works off the
// transfers walks them afterwards.
func (tx *Tx) wantBelow(id DentryID, n Node) error {
	if n.Kind != Dir {
		return tx.wantPinned(id, n)
	}
	intent, _, err := tx.EffectiveIntent(id)
	if err != nil || intent != Pinned {
		return err
	}
	return tx.BeginWalk(id)
}

// wantPinned queues the download of a file that a pin reaches and whose bytes are not all here.
func (tx *Tx) wantPinned(id DentryID, n Node) error {
	if n.Kind != File || n.Residency == Full {
		return nil
	}
	intent, _, err := tx.EffectiveIntent(id)
	if err != nil || intent != Pinned {
		return err
	}
	return tx.PutTransfer(&Transfer{Ino: n.Ino})
}

// wantPinnedNode is wantPinned for whichever of a node's names is pinned.
func (tx *Tx) wantPinnedNode(n Node) error {
	if n.Kind != File || n.Residency == Full {
		return nil
	}
	names, err := tx.DentriesOf(n.Ino)
	if err != nil {
		return err
	}
	for _, d := range names {
		if err := tx.wantPinned(d.ID, n); err != nil {
			return err
		}
	}
	return nil
}

// lately is how long ago a file may have been opened for its next version to be fetched by itself.
const lately = 24 * time.Hour

// inUse reports whether the next version of a file is to be fetched: this one is here, and a person opened it lately. A
// version that nobody has opened since it was fetched for that reason has no successor.
func (tx *Tx) inUse(n Node) (bool, error) {
	if n.Kind != File || n.Residency != Full || n.Content == 0 {
		return false, nil
	}
	used, err := tx.LastUse(n.Ino)
	if err != nil || tx.Now()-used > int64(lately) {
		return false, err
	}
	fetched, err := tx.LastFetch(n.Ino)
	return fetched.Reader != (&Transfer{Key: RefreshKey}).Reader() || used > fetched.At, err
}

// wantAgain queues the download of the next version of a file that was in use, unless it is queued already.
func (tx *Tx) wantAgain(ino Ino) error {
	_, queued, err := tx.TransferOf(ino, 0, false)
	if err != nil || queued {
		return err
	}
	return tx.PutTransfer(&Transfer{Ino: ino, Key: RefreshKey, Priority: refreshPriority})
}

// ReplaceContent gives a file a new version whose bytes are not here, with what is known of it; an unknown hash is the
// zero Hash. The bytes of the old version go after the commit. The caller holds the node's swap lease and has checked
// that the old version may go.
func (tx *Tx) ReplaceContent(ino Ino, size, mtime int64, hash Hash) error {
	n, err := tx.Node(ino)
	switch {
	case err != nil:
		return fmt.Errorf("replace content: %w", err)
	case n.Kind != File:
		return fmt.Errorf("replace content of node %d: %w", ino, ErrInvalid)
	case n.Writing:
		return fmt.Errorf("replace content: node %d is open for writing: %w", ino, ErrBusy)
	}
	inUse, err := tx.inUse(n)
	if err != nil {
		return fmt.Errorf("replace content: %w", err)
	}
	err = tx.exec(`UPDATE nodes SET version=version+1, size=?, mtime=?, ctime=?, hash=?, content=NULL, residency=0 WHERE ino=?`,
		size, mtime, tx.Now(), hash, ino)
	if err == nil {
		err = tx.removeContent(n.Content)
	}
	if err == nil {
		err = fault.Point(faultReplace)
	}
	if err != nil {
		return fmt.Errorf("replace content: %w", err)
	}
	tx.publish(Change{Ino: ino, Data: true})
	n.Content, n.Residency, n.Version, n.Size = 0, None, n.Version+1, size
	err = tx.wantPinnedNode(n)
	if err == nil && inUse && size > 0 {
		err = tx.wantAgain(ino)
	}
	if err != nil {
		return fmt.Errorf("replace content: %w", err)
	}
	return tx.markNode(ino, 0)
}
