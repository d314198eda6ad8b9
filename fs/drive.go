package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"vdfs/cache"
)

// drive answers the kernel's requests. What it does not implement the kernel does itself or does without: access (it
// checks modes: default_permissions), locks (local to this machine), O_TMPFILE, poll, bmap.
type drive struct {
	fuse.RawFileSystem
	cache    *cache.Cache
	hydrator Hydrator
	lister   Lister
	states   States
	room     Room
	log      *slog.Logger

	files table[file]
	dirs  table[dir]
	open  openDirs

	closing closing
	ways    ways

	known  known
	pages  *stamps // of files, by version
	names  *stamps // of directories, by ctime
	looked *stamps // of files, by the version that was told last, and to whom: see freshness

	retries  *retries
	notifier *notifier
	gone     context.Context // ends with the mount
	finish   context.CancelFunc
	setidGen setidGeneration
}

func newDrive(opt Options) *drive {
	d := &drive{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		cache:         opt.Cache, hydrator: opt.Hydrator, lister: opt.Lister, states: opt.States, room: opt.Room, log: opt.Logger,
		pages: newStamps(stampsMax), names: newStamps(stampsMax), looked: newStamps(stampsMax),
	}
	d.retries = newRetries(d.unkeep)
	d.gone, d.finish = context.WithCancel(context.Background())
	d.known.nodes.add(cache.RootIno)
	// Subscribed before the kernel can know anything.
	d.notifier = newNotifier(d, opt.Cache.Feed())
	return d
}

// String names the file system in the library's messages.
func (d *drive) String() string { return "vdfs" }

// OnUnmount closes what the kernel will not release any more.
func (d *drive) OnUnmount() {
	d.finish()
	for _, f := range d.files.drain() {
		f.stop()
		if err := f.Close(); err != nil {
			d.log.Warn("close file at unmount", "ino", f.Ino(), "error", err)
		}
	}
	d.retries.drain()
	d.dirs.drain()
}

// waiting is the context of a request that waits: it ends when the program is interrupted.
func waiting(cancel <-chan struct{}, h *fuse.InHeader) context.Context {
	return &fuse.Context{Caller: h.Caller, Cancel: cancel}
}

// waiter is the process, or the thread of it, whose request waits; 0: it is of a PID namespace that cannot be seen from here.
func waiter(ctx context.Context) uint32 {
	if c, ok := fuse.FromContext(ctx); ok {
		return c.Pid
	}
	return 0
}

// list brings the names of a directory here unless they are.
func (d *drive) list(ctx context.Context, ino cache.Ino) error {
	n, err := d.cache.Attr(ino)
	if err != nil || n.Kind != cache.Dir || n.Listing == cache.Listed {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, waitMax)
	defer cancel()
	if err := d.lister.List(ctx, ino); err != nil {
		return fmt.Errorf("list directory %d: %w", ino, err)
	}
	return nil
}

// roomFor runs an operation that takes little room, and again as long as there is none and some is made.
func (d *drive) roomFor(cancel <-chan struct{}, h *fuse.InHeader, op func() error) error {
	err := op()
	if errors.Is(err, cache.ErrNoSpace) {
		err = d.room.MakeRoom(waiting(cancel, h), 0, op)
	}
	return err
}

// child is a name in a directory; an empty name: the directory alone.
type child struct {
	parent cache.Ino
	name   string
}

// listed runs an operation on names, and once more after it turned out that a directory it needs was never listed:
// one of the parents, or, for removals and replacements, what the name itself stands for.
func (d *drive) listed(cancel <-chan struct{}, h *fuse.InHeader, op func() error, at ...child) error {
	err := d.roomFor(cancel, h, op)
	if !errors.Is(err, cache.ErrNotListed) {
		return err
	}
	ctx := waiting(cancel, h)
	for _, c := range at {
		if err := d.list(ctx, c.parent); err != nil {
			return err
		}
		if c.name == "" {
			continue
		}
		e, err := d.cache.Lookup(c.parent, c.name)
		if err == nil && e.Node.Kind == cache.Dir {
			err = d.list(ctx, e.Ino)
		}
		if err != nil && !errors.Is(err, cache.ErrNotFound) {
			return err
		}
	}
	return d.roomFor(cancel, h, op)
}

// tooLong reports a name that no directory can hold, which is an error of its own even in a lookup.
func tooLong(names ...string) bool {
	for _, n := range names {
		if len(n) > cache.MaxName {
			return true
		}
	}
	return false
}

const statusTooLong = fuse.Status(syscall.ENAMETOOLONG)

func callerOf(h *fuse.InHeader) cache.Caller { return cache.Caller{UID: h.Uid, GID: h.Gid, PID: h.Pid} }
