package daemon

import (
	"context"
	"errors"
	"strings"
	"time"

	"vdfs/cache"
	"vdfs/cmd/control"
)

// lister brings the names of a directory here.
type lister interface {
	List(ctx context.Context, ino cache.Ino) error
}

// walker finds what paths of the drive name. Directories nobody looked into yet
// are listed on the way, within a deadline.
type walker struct {
	cache  *cache.Cache
	lister lister
	wait   time.Duration
}

// find walks a path from the root. It follows no symbolic links. What the path names may be hidden, but nothing on the way.
func (w walker) find(ctx context.Context, path control.Path) (cache.Entry, error) {
	var e cache.Entry
	err := w.cache.View(func(tx *cache.Tx) (err error) {
		e, err = tx.Entry(cache.RootDentry)
		return err
	})
	for part := range strings.SplitSeq(string(path), "/") {
		if err != nil {
			return e, err
		}
		if part == "" || part == "." {
			continue
		}
		switch {
		case e.Hidden():
			return e, cache.ErrNotFound
		case e.Node.Kind != cache.Dir:
			return e, cache.ErrNotDir
		}
		parent := e.Ino
		err = w.listed(ctx, parent, func() (err error) {
			e, err = w.cache.Find(parent, part)
			return err
		})
	}
	return e, err
}

// page reads the next entries of a directory, hidden ones too.
func (w walker) page(ctx context.Context, dir cache.Ino, after cache.DentryID, limit int) ([]cache.Entry, error) {
	var entries []cache.Entry
	err := w.listed(ctx, dir, func() (err error) {
		entries, err = w.cache.ReadDirAll(dir, after, limit)
		return err
	})
	return entries, err
}

// listed does f, and if that failed because the directory is not listed, lists it and does f once more.
func (w walker) listed(ctx context.Context, dir cache.Ino, f func() error) error {
	err := f()
	if !errors.Is(err, cache.ErrNotListed) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.wait)
	defer cancel()
	if err := w.lister.List(ctx, dir); err != nil {
		return err
	}
	return f()
}
