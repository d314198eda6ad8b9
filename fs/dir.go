package fs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// Offsets in a directory: 1 is after ".", 2 after "..", and 2+id after the entry with that dentry id. The ids only
// grow and survive renames, so an offset stays good while entries come and go.
const (
	afterDot    = 1
	afterDotDot = 2
)

// pageMax is how many entries are read at a time.
const pageMax = 1024

// dir is an open directory.
type dir struct {
	ino   cache.Ino
	stamp uint64      // ctime when it was opened
	told  atomic.Bool // the kernel is known to have acted on the answer to the opendir
}

// openDirs keeps the attributes of open directories: the index forgets a directory when it is removed, but a program
// that has it open may still ask.
type openDirs struct {
	mu sync.Mutex
	m  map[cache.Ino]*openDir
}

type openDir struct {
	handles int
	node    cache.Node
}

func (o *openDirs) add(n cache.Node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.m == nil {
		o.m = make(map[cache.Ino]*openDir)
	}
	e := o.m[n.Ino]
	if e == nil {
		e = new(openDir)
		o.m[n.Ino] = e
	}
	e.handles++
	e.node = n
}

func (o *openDirs) remove(ino cache.Ino) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.m[ino]; e != nil {
		if e.handles--; e.handles == 0 {
			delete(o.m, ino)
		}
	}
}

// removed describes a directory that the index has no more but a handle has.
func (o *openDirs) removed(ino cache.Ino) (cache.Node, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.m[ino]
	if e == nil {
		return cache.Node{}, false
	}
	n := e.node
	n.Nlink = 0
	return n, true
}

// OpenDir lists the directory if nobody has, and lets the kernel keep the listing it has if nothing changed since.
func (d *drive) OpenDir(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ino := cache.Ino(input.NodeId)
	n, err := d.cache.Attr(ino)
	if err == nil && n.Listing != cache.Listed {
		if err = d.list(waiting(cancel, &input.InHeader), ino); err == nil {
			n, err = d.cache.Attr(ino)
		}
	}
	switch {
	case err != nil:
		return d.failNode("opendir", input.NodeId, err)
	case n.Kind != cache.Dir:
		return fuse.ENOTDIR
	}
	h := &dir{ino: ino, stamp: uint64(n.Ctime)}
	out.OpenFlags = fuse.FOPEN_CACHE_DIR
	if d.names.get(ino) == h.stamp {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
		h.told.Store(true)
	}
	d.open.add(n)
	out.Fh = d.dirs.put(h)
	return fuse.OK
}

// ReleaseDir closes a directory.
func (d *drive) ReleaseDir(input *fuse.ReleaseIn) {
	if h := d.dirs.take(input.Fh); h != nil {
		d.open.remove(h.ino)
	}
}

// FsyncDir makes the names durable: they are in the index.
func (d *drive) FsyncDir(_ <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	return d.fail("fsyncdir", input.NodeId, d.cache.SyncIndex())
}

// ReadDir lists names and kinds.
func (d *drive) ReadDir(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return d.readDir(cancel, input, false, func(e fuse.DirEntry, _ *cache.Entry, _ time.Duration) bool {
		return out.AddDirEntry(e)
	})
}

// ReadDirPlus lists names with attributes, which saves the lookups that usually follow.
func (d *drive) ReadDirPlus(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return d.readDir(cancel, input, true, func(e fuse.DirEntry, entry *cache.Entry, keep time.Duration) bool {
		slot := out.AddDirLookupEntry(e)
		if slot != nil && entry != nil {
			d.fillEntry(slot, entry, keep)
		}
		return slot != nil
	})
}

// adder puts an entry into a reply and reports whether it had room. entry is nil for "." and "..".
type adder func(e fuse.DirEntry, entry *cache.Entry, keep time.Duration) bool

// readDir answers from the request's offset on.
func (d *drive) readDir(cancel <-chan struct{}, input *fuse.ReadIn, plus bool, add adder) fuse.Status {
	ino := cache.Ino(input.NodeId)
	if h := d.dirs.get(input.Fh); h != nil && !h.told.Swap(true) {
		d.names.set(ino, h.stamp)
	}
	off := input.Offset
	if off < afterDotDot {
		full, err := d.addDots(ino, off, add)
		if err != nil || full {
			return d.fail("readdir", input.NodeId, err)
		}
		off = afterDotDot
	}
	entries, keep, err := d.page(cancel, input, cache.DentryID(off-afterDotDot), plus)
	if err != nil {
		return d.fail("readdir", input.NodeId, err)
	}
	for i := range entries {
		e := &entries[i]
		if !add(fuse.DirEntry{Name: e.Name, Ino: uint64(e.Ino), Mode: kindBits[e.Node.Kind], Off: uint64(e.ID) + afterDotDot}, e, keep) {
			break
		}
	}
	return fuse.OK
}

func (d *drive) addDots(ino cache.Ino, off uint64, add adder) (full bool, err error) {
	parent, err := d.cache.ParentOf(ino)
	if err != nil {
		return false, err
	}
	if off < afterDot && !add(fuse.DirEntry{Name: ".", Ino: uint64(ino), Mode: unix.S_IFDIR, Off: afterDot}, nil, 0) {
		return true, nil
	}
	return !add(fuse.DirEntry{Name: "..", Ino: uint64(parent), Mode: unix.S_IFDIR, Off: afterDotDot}, nil, 0), nil
}

// entrySize is about what one entry with a name of middling length takes in a reply, without and with attributes.
const (
	entrySize     = 40
	entryPlusSize = 168
)

// page reads about as many entries as the reply has room for, and says how long the kernel may keep them. Entries with
// attributes are entered in what the kernel knows, and read again if a change was pushed meanwhile.
func (d *drive) page(cancel <-chan struct{}, input *fuse.ReadIn, after cache.DentryID, plus bool) (entries []cache.Entry, keep time.Duration, err error) {
	ino := cache.Ino(input.NodeId)
	size := entrySize
	if plus {
		size = entryPlusSize
	}
	limit := min(int(input.Size)/size+1, pageMax)
	for range rereads {
		since := d.known.taken.Load()
		err = d.listed(cancel, &input.InHeader, func() (err error) {
			entries, err = d.cache.ReadDir(ino, after, limit, true)
			return err
		}, child{parent: ino})
		if err != nil || !plus {
			return entries, 0, err
		}
		for i := range entries {
			d.known.nodes.add(entries[i].Ino)
		}
		if d.known.settle(since, ino) {
			return entries, validity, nil
		}
	}
	return entries, 0, nil
}
