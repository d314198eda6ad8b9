package cache

import (
	"errors"
	"fmt"
)

// IgnoreName is the name of the files that say what is ignored in the directory they are in, and below.
const IgnoreName = ".vdfsignore"

// IgnoreFile is an ignore file of the drive.
type IgnoreFile struct {
	Dir     Ino // it is in
	Ino     Ino
	Version uint64
	Size    int64
	Writing bool   // somebody has it open for writing
	Text    string // of what is in force
}

// IgnoreFiles reads the ignore files that the drive has, without their texts.
func (tx *Tx) IgnoreFiles() ([]IgnoreFile, error) {
	return list(tx, func(r *row) IgnoreFile {
		return IgnoreFile{Dir: Ino(r.int()), Ino: Ino(r.int()), Version: uint64(r.int()), Size: r.int(), Writing: r.flag()}
	}, `SELECT d.parent, n.ino, n.version, n.size, n.writing FROM dentries d INDEXED BY dentries_ignore JOIN nodes n ON n.ino = d.ino
		WHERE d.name = X'2E7664667369676E6F7265' AND n.kind = 1`)
}

// IgnoreInForce reads the texts that are in force. Size and Writing are not told.
func (tx *Tx) IgnoreInForce() ([]IgnoreFile, error) {
	return list(tx, func(r *row) IgnoreFile {
		return IgnoreFile{Dir: Ino(r.int()), Ino: Ino(r.int()), Version: uint64(r.int()), Text: r.str()}
	}, "SELECT dir, ino, version, text FROM ignore_files")
}

// PutIgnore puts a text in force in its directory. If it is another one than before, the directory is to be looked at again.
func (tx *Tx) PutIgnore(f IgnoreFile, another bool) error {
	err := tx.exec("INSERT OR REPLACE INTO ignore_files(dir, ino, version, text) VALUES(?, ?, ?, ?)", f.Dir, f.Ino, f.Version, []byte(f.Text))
	if err == nil && another {
		err = tx.recheckDir(f.Dir)
	}
	if err != nil {
		return fmt.Errorf("put ignore file: %w", err)
	}
	return nil
}

// DropIgnore takes away what is in force in a directory, and has that looked at again.
func (tx *Tx) DropIgnore(dir Ino) error {
	err := tx.exec("DELETE FROM ignore_files WHERE dir = ?", dir)
	if err == nil {
		err = tx.recheckDir(dir)
	}
	if err != nil {
		return fmt.Errorf("drop ignore file: %w", err)
	}
	return nil
}

func (tx *Tx) recheckDir(dir Ino) error {
	d, ok, err := get(tx, scanDentry, "SELECT "+dentryCols+" FROM dentries d WHERE d.ino = ? LIMIT 1", dir)
	if err != nil || !ok {
		return err
	}
	return errors.Join(tx.lookEverywhere(dir), tx.Recheck(d.ID))
}

// lookEverywhere has those legs of a directory's place ask their endpoints for everything that are without a directory which the
// drive keeps for what is ignored in it: that one may only be at a name there that was passed over, and nobody knows at which.
func (tx *Tx) lookEverywhere(dir Ino) error {
	return tx.exec(`UPDATE legs SET cursor = '' WHERE place = (SELECT place FROM nodes WHERE ino = ?)
		AND EXISTS (SELECT 1 FROM observed o WHERE o.leg = legs.id AND o.gone = 1 AND o.ignored = 1)`, dir)
}

// Recheck has the names below a directory looked at again: those that are ignored no more become work.
func (tx *Tx) Recheck(dir DentryID) error {
	tx.marked = true
	return tx.exec("INSERT OR REPLACE INTO rechecks(dentry) VALUES(?)", dir)
}

// RecheckPlace is Recheck of a place's own directory.
func (tx *Tx) RecheckPlace(place PlaceID) error {
	p, ok, err := get(tx, (*row).int, "SELECT ino FROM places WHERE id = ?", place)
	if err != nil || !ok {
		return err
	}
	return tx.recheckDir(Ino(p))
}

// Unchecked is a directory whose names are to be looked at again.
type Unchecked struct {
	Entry
	After DentryID // those up to this one have been
}

// NextRecheck reads one of the directories of a place that are to be looked at again; false: there is none.
func (tx *Tx) NextRecheck(place PlaceID) (Unchecked, bool, error) {
	type pos struct{ id, after DentryID }
	p, ok, err := get(tx, func(r *row) pos { return pos{DentryID(r.int()), DentryID(r.int())} }, `SELECT r.dentry, r.after FROM rechecks r
		JOIN dentries d ON d.id = r.dentry JOIN nodes n ON n.ino = d.ino WHERE n.place = ? ORDER BY r.dentry LIMIT 1`, place)
	if err != nil || !ok {
		return Unchecked{}, false, err
	}
	e, err := tx.Entry(p.id)
	return Unchecked{e, p.after}, err == nil, err
}

// Rechecked notes how far a directory was looked at; 0: all of it was. Those that are gone are forgotten with it.
func (tx *Tx) Rechecked(dir, after DentryID) error {
	if after != 0 {
		return tx.exec("UPDATE rechecks SET after = ? WHERE dentry = ?", after, dir)
	}
	return tx.exec("DELETE FROM rechecks WHERE dentry = ? OR NOT EXISTS (SELECT 1 FROM dentries d WHERE d.id = rechecks.dentry)", dir)
}

// ObservedIgnoreFiles reads what a leg's endpoint has of ignore files that the drive has not, or has otherwise.
func (tx *Tx) ObservedIgnoreFiles(leg LegID) ([]Observed, error) {
	return list(tx, scanObserved, "SELECT "+observedCols+" FROM observed INDEXED BY observed_ignore WHERE leg = ? AND name = X'2E7664667369676E6F7265' AND gone = 0 AND ignored = 0", leg)
}

// LeftDirs reads the bindings of directories that the drive has no more, in the base of one.
func (tx *Tx) LeftDirs(parent BindingID) ([]Binding, error) {
	return list(tx, scanBinding, "SELECT "+bindingCols+" FROM bindings b WHERE b.parent = ? AND b.dentry IS NULL AND b.kind = 2", parent)
}

// LookAgain has up to limit objects that a leg passed over in a directory of its endpoint decided anew, and reports whether
// there were any.
func (tx *Tx) LookAgain(leg LegID, dir string, limit int) (bool, error) {
	ids, err := list(tx, (*row).str, `SELECT remote_id FROM observed INDEXED BY observed_parent
		WHERE leg = ? AND parent = ? AND ignored = 1 AND gone = 0 LIMIT ?`, leg, dir, limit)
	for _, id := range ids {
		if err == nil {
			err = tx.exec("UPDATE observed SET ignored = 0 WHERE leg = ? AND remote_id = ?", leg, id)
		}
	}
	return len(ids) > 0, err
}

// Unjudge takes back that names stay on this machine because of what they are called.
func (tx *Tx) Unjudge() error {
	return tx.exec("UPDATE dentries SET local_only = 0 WHERE local_only <> 0 AND (SELECT kind FROM nodes n WHERE n.ino = dentries.ino) IN (1, 2, 3)")
}
