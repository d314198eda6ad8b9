package dir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// The trash has the directories of the tree, as far as something that was in them is in it, and in them files called
// <ns since 1970><fate><name>. A directory itself is never put there, so what is a directory in the trash is a part of a path.

// fate is what became of a version in the trash: a part of its name there.
type fate string

const (
	deleted  fate = "-"
	replaced fate = "+"
)

// trashPrefix begins the ids of what is in the trash.
const trashPrefix = "t:"

// slot is a free name in the trash for a version called leaf.
func (d *Endpoint) slot(leaf string, f fate, try int) string {
	stamp := strconv.FormatInt(d.opts.Now().UnixNano()+int64(try), 10)
	return stamp + string(f) + leaf[:min(len(leaf), 255-len(stamp)-len(f))]
}

// parseSlot is the inverse of slot.
func parseSlot(name string) (when time.Time, f fate, leaf string, ok bool) {
	i := strings.IndexAny(name, string(deleted+replaced))
	if i < 0 {
		return when, "", "", false
	}
	ns, err := strconv.ParseInt(name[:i], 10, 64)
	return time.Unix(0, ns), fate(name[i : i+1]), name[i+1:], err == nil
}

// maxSlots bounds the search for a free name in the trash.
const maxSlots = 1000

// intoTrash moves what is called old in a directory to the trash, as a version of leaf, and returns its name there.
func (d *Endpoint) intoTrash(from int, old, leaf string, trash int, f fate) (string, error) {
	for try := range maxSlots {
		name := d.slot(leaf, f, try)
		err := d.renameFree(from, old, trash, name)
		if !errors.Is(err, unix.EEXIST) {
			return name, err
		}
	}
	return "", unix.EEXIST
}

// trashTries is how often a directory of the trash may go while it is opened.
const trashTries = 8

// errTrashGone says that a directory of the trash was removed as it was empty, after it had been opened.
var errTrashGone = errors.New("directory of the trash is gone")

// inTrash opens the directory of the trash for what is in parent, which is made where it is missing, and calls use with it while
// no other session removes it.
func (d *Endpoint) inTrash(ctx context.Context, r dirFD, parent string, use func(trash dirFD) error) (trash dirFD, err error) {
	for range trashTries {
		if trash, err = d.openTrash(r, parent); errors.Is(err, unix.ENOENT) {
			continue // removed between two steps on the way
		}
		if err != nil {
			return dirFD{}, fail("open trash", err)
		}
		err = d.exclusive(ctx, r, func() error {
			var st unix.Stat_t
			if err := unix.Fstat(trash.fd, &st); err != nil || st.Nlink == 0 {
				return errors.Join(errTrashGone, err)
			}
			return use(trash)
		})
		if !errors.Is(err, errTrashGone) {
			return trash, err
		}
		trash.close()
	}
	return dirFD{}, fmt.Errorf("open trash: %w: %w", remote.ErrUnavailable, err)
}

// openTrash opens the directory of the trash for what is in parent, and makes it where it is missing.
func (d *Endpoint) openTrash(r dirFD, parent string) (dirFD, error) {
	at, err := d.openStaging(r, trashDir)
	if err != nil || parent == "" {
		return at, err
	}
	to, err := walk(at, parent, unix.O_RDONLY|unix.O_DIRECTORY)
	if !errors.Is(err, unix.ENOENT) {
		at.close()
		return to, err
	}
	for name := range strings.SplitSeq(parent, "/") {
		to, err := makeTrash(at, name)
		at.close()
		if err != nil {
			return dirFD{}, err
		}
		at = to
	}
	return at, nil
}

// makeTrash opens a directory in one of the trash. One that was made has its name on the disk before anything is put into it.
func makeTrash(at dirFD, name string) (dirFD, error) {
	err := unix.Mkdirat(at.fd, name, 0o700)
	if err == nil {
		err = retry(func() error { return unix.Fsync(at.fd) })
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return dirFD{}, err
	}
	return walk(at, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// trashPage is how many items there are in a page of Trash.
const trashPage = 1024

// errPageFull ends a page.
var errPageFull = errors.New("page is full")

// Trash implements remote.Endpoint. A page token is the place in the trash of the last item before: the walk is in the order of
// names, so what comes and goes meanwhile moves nothing else.
func (d *Endpoint) Trash(ctx context.Context, under, page string) ([]remote.Trashed, string, error) {
	var items []remote.Trashed
	err := d.eachTrashed(ctx, under, page, func(it remote.Trashed) error {
		if len(items) == trashPage {
			return errPageFull
		}
		items = append(items, it)
		return nil
	})
	if errors.Is(err, errPageFull) {
		return items, strings.TrimPrefix(string(items[len(items)-1].ID), trashPrefix), nil
	}
	if err != nil {
		return nil, "", fail("list trash", err)
	}
	return items, "", nil
}

// visit is called with each version in the trash.
type visit func(it remote.Trashed) error

// eachTrashed visits what is at or below a path of the trash, behind a place in it; "": from the beginning.
func (d *Endpoint) eachTrashed(ctx context.Context, under, after string, do visit) error {
	r, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if !d.can.write {
		return remote.ErrUnsupported
	}
	if _, err := parseID(makeID(under, "")); err != nil {
		return nil //nolint:nilerr // nothing can have been there
	}
	top, err := d.openStaging(r, trashDir)
	if err != nil {
		return err
	}
	defer top.close()
	w := trashWalk{ctx, d, top, do}
	if under == "" {
		return w.below("", after)
	}
	behind, inside := strings.CutPrefix(after, under+"/")
	if !inside {
		if err := w.at(under, after); err != nil {
			return err
		}
		behind = ""
	}
	return w.below(under, behind)
}

// trashWalk visits what is in a trash.
type trashWalk struct {
	ctx context.Context
	d   *Endpoint
	top dirFD
	do  visit
}

// at visits the versions of one path, behind one of them.
func (w *trashWalk) at(path, after string) error {
	parent, leaf := split(path)
	_, behind := split(after)
	return w.in(parent, func(at dirFD, names []string) error {
		for _, name := range names {
			_, _, was, ok := parseSlot(name)
			// The end of a long name is cut to make room for the time.
			if !ok || name <= behind || was != leaf && (len(was) <= 200 || !strings.HasPrefix(leaf, was)) {
				continue
			}
			it, _, err := w.look(at, parent, name)
			if err != nil {
				return err
			}
			if it == nil {
				continue
			}
			it.Name, it.Path = leaf, path
			if err := w.do(*it); err != nil {
				return err
			}
		}
		return nil
	})
}

// below visits what was in a directory and in those below it, in the order of names, behind a place in it.
func (w *trashWalk) below(path, after string) error {
	behind, rest, _ := strings.Cut(after, "/")
	return w.in(path, func(at dirFD, names []string) error {
		for _, name := range names {
			if name < behind || name == behind && rest == "" && behind != "" {
				continue
			}
			it, kind, err := w.look(at, path, name)
			switch {
			case err != nil:
				return err
			case kind == remote.Dir:
				deeper := ""
				if name == behind {
					deeper = rest
				}
				if err := w.below(join(path, name), deeper); err != nil {
					return err
				}
			case it != nil:
				if err := w.do(*it); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// in reads the names of a directory of the trash, in their order. One that is not there has none.
func (w *trashWalk) in(path string, do func(at dirFD, names []string) error) error {
	at := w.top
	if path != "" {
		var err error
		at, err = walk(w.top, path, unix.O_RDONLY|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG) {
			return nil
		}
		if err != nil {
			return err
		}
		defer at.close()
	}
	names, err := readNames(w.ctx, at.fd)
	if err != nil {
		return err
	}
	slices.Sort(names)
	return do(at, names)
}

// look tells what a name in the trash is: a version, or by its kind a directory, or neither.
func (w *trashWalk) look(at dirFD, path, name string) (*remote.Trashed, remote.Kind, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, 0, err
	}
	remote.Progress(w.ctx)
	f, err := w.d.factsAt(at.fd, name)
	if errors.Is(err, unix.ENOENT) {
		return nil, 0, nil // put back, or purged
	}
	if err != nil || f.kind() == remote.Dir {
		return nil, f.kind(), err
	}
	when, became, leaf, ok := parseSlot(name)
	if !ok {
		return nil, f.kind(), nil // none of ours
	}
	e := f.entry("", leaf)
	e.ID, e.Parent, e.Tag, e.Content, e.Ident = remote.ItemID(trashPrefix+join(path, name)), "", "", "", ""
	return &remote.Trashed{Entry: e, Path: join(path, leaf), When: when, Deleted: became == deleted}, f.kind(), nil
}

// Purge implements remote.Endpoint. Directories of the trash that become empty go, too.
func (d *Endpoint) Purge(ctx context.Context, ids []remote.ItemID) error {
	r, err := d.begin(ctx)
	if err != nil {
		return fmt.Errorf("purge trash: %w", err)
	}
	defer r.close()
	for _, id := range ids {
		if err := d.purge(ctx, r, id); err != nil {
			return fail("purge trash", err)
		}
		remote.Progress(ctx)
	}
	return nil
}

func (d *Endpoint) purge(ctx context.Context, r dirFD, id remote.ItemID) error {
	slot, ok := strings.CutPrefix(string(id), trashPrefix)
	a, err := parseID(makeID("", slot))
	parent, name := split(slot)
	if _, _, _, is := parseSlot(name); !ok || !is || err != nil || a.Ident != "" {
		return remote.ErrNotFound
	}
	top, err := d.openStaging(r, trashDir)
	if err != nil {
		return err
	}
	defer top.close()
	return d.exclusive(ctx, r, func() error {
		flags := 0
		for path := slot; path != ""; path = parent {
			var leaf string
			parent, leaf = split(path)
			err := unlinkIn(top, parent, leaf, flags)
			if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
				return nil
			}
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
			flags = unix.AT_REMOVEDIR
		}
		return nil
	})
}

// unlinkIn removes a name in a directory of the trash.
func unlinkIn(top dirFD, parent, leaf string, flags int) error {
	at := top
	if parent != "" {
		var err error
		if at, err = walk(top, parent, unix.O_PATH|unix.O_DIRECTORY); err != nil {
			return err
		}
		defer at.close()
	}
	return unix.Unlinkat(at.fd, leaf, flags)
}

// locate is the directory that the address of an item begins in, and the address: an item is of the tree or of the trash.
func (d *Endpoint) locate(r dirFD, id remote.ItemID) (dirFD, remote.Address, error) {
	slot, ok := strings.CutPrefix(string(id), trashPrefix)
	if !ok {
		a, err := parseID(id)
		return dirFD{fd: r.fd, dev: r.dev}, a, err
	}
	a, err := parseID(makeID("", slot))
	if err != nil || a.Path == "" || a.Ident != "" {
		return dirFD{}, a, remote.ErrNotFound
	}
	at, err := d.openStaging(r, trashDir)
	return at, a, err
}
