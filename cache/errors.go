package cache

import (
	"errors"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// The sentinels of this package. They arrive wrapped; test with errors.Is.
var (
	// ErrNotFound: no such name, node or row.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name is taken.
	ErrExists = errors.New("exists")
	// ErrNotEmpty: a directory that is to be removed or replaced has entries.
	ErrNotEmpty = errors.New("directory not empty")
	// ErrNotDir: a directory was needed.
	ErrNotDir = errors.New("not a directory")
	// ErrIsDir: a directory was given where none may be.
	ErrIsDir = errors.New("is a directory")
	// ErrName: a name is empty, longer than 255 bytes, or has a slash or NUL in it.
	ErrName = errors.New("invalid name")
	// ErrBorder: source and destination belong to different places (EXDEV).
	ErrBorder = errors.New("across the border of a place")
	// ErrBusy: a place's own directory, or a node that is in use (EBUSY).
	ErrBusy = errors.New("busy")
	// ErrReadOnly: the place takes no changes from the drive (EROFS).
	ErrReadOnly = errors.New("read-only")
	// ErrNotListed: the directory's children are not known yet; list it and try again.
	ErrNotListed = errors.New("directory not listed yet")
	// ErrNoAttr: no such extended attribute (ENODATA).
	ErrNoAttr = errors.New("no such attribute")
	// ErrInvalid: an argument that no state could make right (EINVAL).
	ErrInvalid = errors.New("invalid argument")
	// ErrTooManyLinks: the link count would overflow (EMLINK).
	ErrTooManyLinks = errors.New("too many links")
	// ErrNotLocal: bytes are missing here; hydrate and try again.
	ErrNotLocal = errors.New("bytes not here")
	// ErrLoop: a directory would become its own descendant (EINVAL).
	ErrLoop = errors.New("directory into its own descendant")
	// ErrNewerIndex: the index was written by a newer vdfs. Nothing was changed.
	ErrNewerIndex = errors.New("index is from a newer version")
	// ErrDamaged: the index cannot be read. `vdfs doctor --repair` mends it.
	ErrDamaged = errors.New("index is damaged")
	// ErrLocked: another process has the cache open.
	ErrLocked = errors.New("in use by another process")
	// ErrStale: the version that was asked for is not present any more.
	ErrStale = errors.New("version overtaken")
	// ErrNoSpace: the disk below is full (ENOSPC).
	ErrNoSpace = errors.New("no space left on the local disk")
)

// dbError gives SQLite's failures that have a meaning here their sentinel.
func dbError(err error) error {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code == sqlite3.ErrCorrupt, e.Code == sqlite3.ErrNotADB, e.Code == sqlite3.ErrFormat:
		return errors.Join(ErrDamaged, err)
	case e.Code == sqlite3.ErrFull, e.SystemErrno == syscall.ENOSPC, e.SystemErrno == syscall.EDQUOT:
		return errors.Join(ErrNoSpace, err)
	}
	return err
}

// isUnique reports whether a statement failed because a row with this key is there already.
func isUnique(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrConstraintUnique
}
