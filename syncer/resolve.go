package syncer

import (
	"context"
	"errors"
	"fmt"

	"vdfs/cache"
)

// What a person can keep of a conflict.
const (
	KeepLocal  = "local"  // this machine's version, which became the conflict file if there is one
	KeepRemote = "remote" // the endpoint's version, which has the name
	KeepBoth   = "both"
	KeepMerged = "merged" // a new content
)

// ResolveConflict settles an open conflict. file is a path in the drive, of the
// file or of its conflict file. What is given up goes to the trash.
func (e *Engine) ResolveConflict(_ context.Context, file, keep string, merged []byte) error {
	row, err := e.openConflict(file)
	if err != nil {
		return err
	}
	switch {
	case isQuestion(row):
		err = e.answer(row, keep, merged)
	case keep == KeepBoth:
		err = e.closeConflict(row, keep, nil)
	case keep == KeepRemote:
		err = e.closeConflict(row, keep, func(tx *cache.Tx, _, loser cache.Entry) error { return discard(tx, loser) })
	case keep == KeepLocal:
		err = e.closeConflict(row, keep, func(tx *cache.Tx, winner, loser cache.Entry) error {
			if err := discard(tx, winner); err != nil {
				return err
			}
			return tx.MoveDentry(loser.ID, winner.Parent, winner.Name)
		})
	case keep == KeepMerged:
		err = e.keepMerged(row, merged)
	default:
		return errKeep(keep)
	}
	if err != nil {
		return fmt.Errorf("resolve conflict of %s: %w", file, err)
	}
	return nil
}

func errKeep(keep string) error { return invalid("keep local, remote, both or merged, not %q", keep) }

func (e *Engine) openConflict(file string) (row cache.ConflictRow, err error) {
	err = e.Cache.View(func(tx *cache.Tx) error {
		all, err := tx.Conflicts(cache.ConflictOpen, 0, 100_000)
		if err != nil {
			return err
		}
		d, err := tx.Resolve(file)
		if err != nil && !errors.Is(err, cache.ErrNotFound) {
			return err
		}
		for _, c := range all {
			if c.Path == file || c.ConflictPath == file || err == nil && (c.Dentry == d.ID || c.Conflict == d.ID) {
				row = c
				return nil
			}
		}
		return invalid("%s has no open conflict", file)
	})
	return row, err
}

// closeConflict does what was chosen with both versions and closes the record, in one transaction.
func (e *Engine) closeConflict(row cache.ConflictRow, kept string, do func(tx *cache.Tx, winner, loser cache.Entry) error) error {
	return e.Cache.Update(0, func(tx *cache.Tx) error {
		if do != nil {
			winner, loser, err := sides(tx, row)
			if err != nil {
				return err
			}
			if err := do(tx, winner, loser); err != nil {
				return err
			}
		}
		row.State, row.Resolved = cache.ConflictResolved, tx.Now()
		e.tellResolved(tx, row, kept)
		return tx.PutConflict(&row)
	})
}

// sides finds both files of a conflict, also after they were moved.
func sides(tx *cache.Tx, row cache.ConflictRow) (winner, loser cache.Entry, err error) {
	if loser, err = tx.Entry(row.Conflict); err != nil {
		return winner, loser, fmt.Errorf("the conflict file is gone, keep both to close it: %w", err)
	}
	if row.Dentry != 0 {
		winner, err = tx.Entry(row.Dentry)
	} else {
		winner, err = tx.Resolve(row.Path)
	}
	return winner, loser, err
}

// discard deletes one version. Bytes that are here go to the drive's trash, the endpoint keeps its own in its trash.
func discard(tx *cache.Tx, v cache.Entry) error {
	if tx.Exclude(v.Ino).Writers > 0 {
		return fmt.Errorf("%s is open for writing: %w", v.Name, cache.ErrBusy)
	}
	if v.Node.Kind == cache.File && v.Node.Residency == cache.Full && v.Node.Size > 0 && v.Node.Nlink == 1 {
		p, err := tx.Path(v.ID)
		if err != nil {
			return err
		}
		if _, err := tx.TrashNode(v.Ino, 0, p, "given up in a conflict"); err != nil {
			return err
		}
	}
	return tx.RemoveDentry(v.ID)
}

// keepMerged writes a new content under the name and gives up the conflict file.
func (e *Engine) keepMerged(row cache.ConflictRow, merged []byte) error {
	var winner cache.Entry
	err := e.Cache.View(func(tx *cache.Tx) (err error) {
		winner, _, err = sides(tx, row)
		return err
	})
	if err != nil {
		return err
	}
	if err := e.overwrite(winner.Ino, merged); err != nil {
		return err
	}
	return e.closeConflict(row, KeepMerged, func(tx *cache.Tx, _, loser cache.Entry) error {
		tx.Touched(winner.Ino)
		return discard(tx, loser)
	})
}

func (e *Engine) overwrite(ino cache.Ino, content []byte) (err error) {
	f, err := e.Cache.OpenFile(ino, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if len(content) > 0 {
		if _, err := f.WriteAt(content, 0); err != nil {
			return err
		}
	}
	return f.Sync()
}
