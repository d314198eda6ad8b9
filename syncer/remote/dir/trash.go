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

// Trash implements remote.Endpoint, all in one page.
func (d *Endpoint) Trash(ctx context.Context, under, _ string) ([]remote.Trashed, string, error) {
	var items []remote.Trashed
	err := d.eachTrashed(ctx, under, func(_ dirFD, _ string, _ facts, it remote.Trashed) error {
		items = append(items, it)
		return nil
	})
	return items, "", err
}

// Purge removes for good what was put into the trash before that time, and
// returns the bytes that this freed.
func (d *Endpoint) Purge(before time.Time) (int64, error) {
	var freed int64
	err := d.eachTrashed(context.Background(), "", func(at dirFD, slot string, f facts, it remote.Trashed) error {
		if !it.When.Before(before) {
			return nil
		}
		if f.nlink == 1 {
			freed += f.size
		}
		return unix.Unlinkat(at.fd, slot, 0)
	})
	return freed, err
}

// visit is called with each version in the trash: the directory there, its name in that, and what it is.
type visit func(at dirFD, slot string, f facts, it remote.Trashed) error

// eachTrashed visits what is at or below a path of the trash.
func (d *Endpoint) eachTrashed(ctx context.Context, under string, do visit) error {
	r, err := d.enter(ctx)
	if err != nil {
		return fmt.Errorf("list trash: %w", err)
	}
	defer r.close()
	if !d.can.write {
		return fmt.Errorf("list trash: %w", remote.ErrUnsupported)
	}
	if _, err := parseID(makeID(under, "")); err != nil {
		return nil //nolint:nilerr // nothing can have been there
	}
	top, err := d.openStaging(r, trashDir)
	if err != nil {
		return fail("open trash", err)
	}
	defer top.close()
	parent, leaf := split(under)
	if under != "" {
		// The end of a long name is cut to make room for the time.
		is := func(name string) bool { return name == leaf || len(name) > 200 && strings.HasPrefix(leaf, name) }
		_, err = d.trashIn(ctx, top, parent, is, func(at dirFD, slot string, f facts, it remote.Trashed) error {
			it.Name, it.Path = leaf, under
			return do(at, slot, f, it)
		})
	}
	if err == nil {
		err = d.trashBelow(ctx, top, under, do)
	}
	if err != nil {
		return fail("list trash", err)
	}
	return nil
}

// trashBelow visits what was in a directory and in those below it.
func (d *Endpoint) trashBelow(ctx context.Context, top dirFD, path string, do visit) error {
	todo := []string{path}
	for len(todo) > 0 {
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		dirs, err := d.trashIn(ctx, top, path, func(string) bool { return true }, do)
		if err != nil {
			return err
		}
		for _, name := range dirs {
			todo = append(todo, join(path, name))
		}
	}
	return nil
}

// trashIn visits what was in a directory under one of some names, and names the directories of the trash that are in this one.
func (d *Endpoint) trashIn(ctx context.Context, top dirFD, path string, wants func(leaf string) bool, do visit) (dirs []string, err error) {
	at := top
	if path != "" {
		at, err = walk(top, path, unix.O_RDONLY|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer at.close()
	}
	names, err := readNames(ctx, at.fd)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := d.factsAt(at.fd, name)
		if errors.Is(err, unix.ENOENT) {
			continue // put back, or purged
		}
		if err != nil {
			return nil, err
		}
		if f.kind() == remote.Dir {
			dirs = append(dirs, name)
			continue
		}
		when, fate, leaf, ok := parseSlot(name)
		if !ok || !wants(leaf) {
			continue // of another name, or none of ours
		}
		remote.Progress(ctx)
		if err := do(at, name, f, trashedItem(path, name, f, when, fate, leaf)); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

func trashedItem(path, name string, f facts, when time.Time, became fate, leaf string) remote.Trashed {
	e := f.entry("", leaf)
	e.ID, e.Parent, e.Tag, e.Content, e.Ident = remote.ItemID(trashPrefix+join(path, name)), "", "", "", ""
	return remote.Trashed{Entry: e, Path: join(path, leaf), When: when, Deleted: became == deleted}
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
