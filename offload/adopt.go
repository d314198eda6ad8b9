package offload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"vdfs/cache"
	"vdfs/cache/event"
)

// Adoption is what Adopt found.
type Adoption struct {
	Files  int   // that are here now with what the directory had
	Bytes  int64 // theirs
	Differ int   // that have other bytes in the directory
	Absent int   // that are no regular files in it, or nothing
	// Skips are those of which it could not be found out, because of what happened to them meanwhile or because they could not
	// be read.
	Skips
}

// adopterName is whom the bytes came for, as vdfs why tells it.
const adopterName = "vdfs adopt"

// Adopt looks in a directory of this machine for the files below a directory of the drive that are not all here, by their
// paths, and takes their bytes from there where an endpoint proves that the content is that of the drive's version. Size and
// name prove nothing. Nothing in the directory is changed, and no symbolic link in it followed. Other files stay as they are,
// and so does one that is changed while it is looked at. Directories that are not listed have nothing below them.
//
// report, if given, is told in between how many files were looked at, from the goroutine that called. What pins want is not
// fetched meanwhile. Errors: ErrUnreachable when nobody can be asked for a proof, cache.ErrNoSpace, or ctx's; what is adopted by then stays
// adopted and is in the Adoption, and another call goes on.
func (m *Manager) Adopt(ctx context.Context, id cache.DentryID, directory *os.File, report func(looked int)) (*Adoption, error) {
	defer m.HoldPins()()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(provers)
	a := &adopter{m: m, work: g, report: report}
	var root cache.Entry
	err := m.cache.View(func(tx *cache.Tx) (err error) {
		root, err = tx.Entry(id)
		return err
	})
	if err == nil && root.Node.Kind != cache.Dir {
		err = cache.ErrNotDir
	}
	if err == nil {
		err = a.below(gctx, root.Ino, directory)
	}
	if werr := g.Wait(); werr != nil {
		err = werr // what ended the walk
	}
	if err != nil {
		return &a.found, fmt.Errorf("adopt: %w", err)
	}
	return &a.found, nil
}

// adopter is one Adopt under way.
type adopter struct {
	m      *Manager
	work   *errgroup.Group
	report func(int)

	mu     sync.Mutex // guards found and looked; a leaf
	found  Adoption
	looked int
}

// below looks for the files below a directory of the drive in its twin.
func (a *adopter) below(ctx context.Context, dir cache.Ino, twin *os.File) error {
	return a.m.pages(ctx, dir, func(page []cache.Entry) error {
		for _, e := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := a.entry(ctx, e, twin); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *adopter) entry(ctx context.Context, e cache.Entry, twin *os.File) error {
	switch {
	case e.Hidden():
		return nil
	case e.Node.Kind == cache.Dir:
		return a.directory(ctx, e, twin)
	case !adoptable(e):
		return nil
	}
	src, err := openFile(twin, e.Name)
	if err != nil {
		return a.notOpened(e, err)
	}
	a.work.Go(func() error {
		err := a.file(ctx, e, src)
		return errors.Join(err, src.Close())
	})
	a.tell()
	return nil
}

// adoptable: bytes of it are not here. Of an empty file there are none.
func adoptable(e cache.Entry) bool {
	return e.Node.Kind == cache.File && e.Node.Residency != cache.Full && e.Node.Size > 0
}

// tell reports from the goroutine that walks.
func (a *adopter) tell() {
	if a.report == nil {
		return
	}
	a.mu.Lock()
	n := a.looked
	a.mu.Unlock()
	a.report(n)
}

func (a *adopter) directory(ctx context.Context, e cache.Entry, twin *os.File) error {
	sub, err := openDir(twin, e.Name)
	if errors.Is(err, errAbsent) {
		return a.absent(ctx, e)
	}
	if err != nil {
		return a.skip(e, unreadable(err))
	}
	return errors.Join(a.below(ctx, e.Ino, sub), sub.Close())
}

// absent counts the files below a directory that the twin has not got.
func (a *adopter) absent(ctx context.Context, e cache.Entry) error {
	return a.m.walk(ctx, e.ID, shown, func(page []cache.Entry) error {
		for _, e := range page {
			if adoptable(e) {
				a.note(func(n *Adoption) { n.Absent++ })
			}
		}
		return nil
	})
}

func (a *adopter) notOpened(e cache.Entry, err error) error {
	if errors.Is(err, errAbsent) {
		a.note(func(n *Adoption) { n.Absent++ })
		return nil
	}
	return a.skip(e, unreadable(err))
}

// note counts what was found out about one file.
func (a *adopter) note(count func(*Adoption)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	count(&a.found)
	a.looked++
}

func (a *adopter) skip(e cache.Entry, why skipped) error {
	path, err := a.m.pathOf(e)
	if err != nil {
		return err
	}
	a.note(func(n *Adoption) { n.add(Skip{path, string(why)}) })
	return nil
}

func unreadable(err error) skipped { return skipped("cannot be read: " + err.Error()) }

// errDiffers says that a file of the directory is not the one of the drive.
var errDiffers = errors.New("differs")

// file finds out about one file, and adopts it if it is the same. Only what concerns all of them is an error.
func (a *adopter) file(ctx context.Context, e cache.Entry, src *os.File) error {
	err := a.adopt(ctx, e.Node, src)
	var why skipped
	switch {
	case err == nil:
		a.note(func(n *Adoption) { n.Files, n.Bytes = n.Files+1, n.Bytes+e.Node.Size })
		a.m.tell(event.Event{Type: event.FileHydrated, Total: e.Node.Size}, e.Ino)
		return nil
	case errors.Is(err, errDiffers):
		a.note(func(n *Adoption) { n.Differ++ })
		return nil
	case errors.Is(err, cache.ErrStale), errors.Is(err, cache.ErrNotFound):
		return a.overtaken(e)
	case errors.As(err, &why):
		return a.skip(e, why)
	}
	return err
}

// overtaken is about a file to which something happened meanwhile: somebody fetched it, or it has another version.
func (a *adopter) overtaken(e cache.Entry) error {
	n, err := a.m.cache.Attr(e.Ino)
	switch {
	case errors.Is(err, cache.ErrNotFound):
		a.note(func(*Adoption) {})
		return nil
	case err != nil:
		return err
	case n.Version == e.Node.Version && n.Residency == cache.Full:
		a.note(func(*Adoption) {}) // it is no matter how the bytes came
		return nil
	}
	return a.skip(e, "changed in this moment")
}

// adopt makes src the content of a version:
//
//  1. src can be it by its size
//  2. it is copied to where nobody sees it: what happens to src from here on is no matter
//  3. the hash of the copy is what the version must have, or an endpoint proves that it is
//  4. the copy becomes the content, unless the version was overtaken or fetched meanwhile
func (a *adopter) adopt(ctx context.Context, n cache.Node, src *os.File) error {
	m := a.m
	size, err := sizeOf(src)
	if err != nil {
		return unreadable(err)
	}
	if size != n.Size {
		return errDiffers
	}
	draft, err := m.cache.Draft(ctx, n.Ino, n.Version, src)
	if errors.Is(err, cache.ErrSource) {
		return unreadable(err)
	}
	if err != nil {
		return err
	}
	err = a.proved(ctx, n, draft.Hash())
	if err == nil {
		err = draft.Complete(cache.Reader{Program: adopterName, Kind: "vdfs"})
	}
	return errors.Join(err, draft.Close())
}

// proved is nil if a version has that hash.
func (a *adopter) proved(ctx context.Context, n cache.Node, h cache.Hash) error {
	holds := false
	must, known := a.m.source.HashKnown(n.Ino, n.Version)
	if known {
		holds = must == h
	} else {
		var err error
		if holds, err = a.m.source.Holds(ctx, n.Ino, n.Version, h); err != nil {
			return unproved(ctx, err)
		}
	}
	if !holds {
		return errDiffers
	}
	return nil
}

// unproved tells one file's failure from that of all.
func unproved(ctx context.Context, err error) error {
	var known interface{ Errno() syscall.Errno }
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known) && known.Errno() == syscall.ENETUNREACH:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return skipped("no endpoint has proved what it must be: " + err.Error())
}
