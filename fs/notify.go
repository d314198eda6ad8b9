package fs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"vdfs/cache"
)

const (
	// batchMax is how many changes are taken from the feed at a time; within a batch a node is notified once.
	batchMax = 512
	// againAfter is when a notification is repeated that the kernel did not know the node of.
	againAfter = time.Second
	// againMax bounds those that wait for that; more than this means the kernel has forgotten most of them long ago.
	againMax = 64 << 10
)

// kernel is the part of fuse.Server that takes notifications.
type kernel interface {
	InodeNotify(node uint64, off, length int64) fuse.Status
	EntryNotify(parent uint64, name string) fuse.Status
	DeleteNotify(parent, child uint64, name string) fuse.Status
}

// notifier turns committed changes into notifications. They are sent by one goroutine that holds no lock when it calls
// the kernel: a notification of a name waits for the requests under way in that directory. Between that goroutine and
// pending there is mu; the rest is the goroutine's own.
type notifier struct {
	known  *known
	pages  *stamps
	names  *stamps
	feed   *cache.Feed
	kernel kernel
	log    *slog.Logger

	mu    sync.Mutex
	queue []cache.Change // taken from the feed by pending
	busy  bool           // a batch is being sent
	// unheard counts the notifications to repeat by node: the kernel may yet take in a reply that is older.
	unheard map[cache.Ino]int
	changed *stamps // nodes that changes from elsewhere were about, lately
	resized *stamps // nodes that got other bytes from elsewhere, lately

	again   []late
	inodes  map[cache.Ino]bool // of the batch: node -> its pages too
	ordered []cache.Ino
}

// late is a notification to repeat.
type late struct {
	ino  cache.Ino
	data bool
	due  time.Time
}

func newNotifier(d *drive, feed *cache.Feed) *notifier {
	return &notifier{
		known: &d.known, pages: d.pages, names: d.names, feed: feed, log: d.log,
		inodes: make(map[cache.Ino]bool), unheard: make(map[cache.Ino]int), changed: newStamps(stampsMax), resized: newStamps(stampsMax),
	}
}

// run works until ctx ends.
func (n *notifier) run(ctx context.Context, k kernel) error {
	n.kernel = k
	for {
		if err := n.wait(ctx); err != nil {
			return err
		}
		for {
			batch := n.take()
			if len(batch) == 0 {
				break
			}
			n.send(batch)
		}
		n.repeat(time.Now())
	}
}

// take returns the next batch; none: everything that was published has been sent.
func (n *notifier) take() []cache.Change {
	n.mu.Lock()
	defer n.mu.Unlock()
	batch := n.queue
	if n.queue = nil; len(batch) == 0 {
		batch = n.fetch()
	}
	n.busy = len(batch) > 0
	return batch
}

// fetch takes changes from the feed. They are counted before anybody looks whether they need a notification: a reply
// that enters its node too late sees the count.
func (n *notifier) fetch() []cache.Change {
	batch := n.feed.Next(batchMax)
	n.known.taken.Add(uint64(len(batch)))
	for i := range batch {
		n.changed.set(batch[i].Ino, 1)
		n.changed.set(batch[i].Gone, 1)
		if batch[i].Data {
			n.resized.set(batch[i].Ino, 1)
		}
	}
	return batch
}

// stale reports whether the kernel may have the size of an older version of a node. Before the notification it has; but the
// notification only tells it that the size is not to be relied on, and an open that was under way had looked at it before.
func (n *notifier) stale(ino cache.Ino) bool { return n.pending(ino) || n.resized.get(ino) != 0 }

// pending reports whether a change of a node that is committed may not have reached the kernel yet. What it finds in the
// feed it leaves to the goroutine of run: the feed woke that when the change was published.
func (n *notifier) pending(ino cache.Ino) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy || len(n.queue) > 0 || n.unheard[ino] > 0 || len(n.unheard) >= againMax {
		return true
	}
	n.queue = n.fetch()
	return len(n.queue) > 0
}

// elsewhere reports whether a committed change from elsewhere was about a node, as far as is remembered. What it finds in
// the feed it leaves to the goroutine of run, as pending does.
func (n *notifier) elsewhere(ino cache.Ino) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	batch := n.fetch()
	n.queue = append(n.queue, batch...)
	return len(batch) == batchMax || n.changed.get(ino) != 0
}

// wait returns when there are changes or something is due to be repeated.
func (n *notifier) wait(ctx context.Context) error {
	if len(n.again) == 0 {
		return n.feed.Wait(ctx)
	}
	short, cancel := context.WithDeadline(ctx, n.again[0].due)
	defer cancel()
	if err := n.feed.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ctx.Err()
}

// send notifies a batch: first the names, then the nodes.
func (n *notifier) send(batch []cache.Change) {
	clear(n.inodes)
	n.ordered = n.ordered[:0]
	for i := range batch {
		c := &batch[i]
		if c.Parent != 0 {
			n.entry(c)
			n.collect(c.Parent, true)
		}
		if c.Ino != 0 {
			n.collect(c.Ino, c.Data)
		}
	}
	for _, ino := range n.ordered {
		n.inode(ino, n.inodes[ino], true)
	}
}

// collect remembers a node for the end of the batch. The pages of a directory are its listing.
func (n *notifier) collect(ino cache.Ino, data bool) {
	before, seen := n.inodes[ino]
	if !seen {
		n.ordered = append(n.ordered, ino)
	}
	n.inodes[ino] = before || data
}

// entry drops a name, if the kernel can have any of that directory. During the first listing of a directory it has none:
// its lookups are waiting for that listing, and a notification would wait for them.
func (n *notifier) entry(c *cache.Change) {
	if !n.known.children.has(c.Parent) {
		return
	}
	if c.Gone != 0 && n.known.nodes.has(c.Gone) {
		// This also tells those who watch or stand in what is gone. It fails if the kernel has another node there.
		if n.kernel.DeleteNotify(uint64(c.Parent), uint64(c.Gone), c.Name).Ok() {
			return
		}
	}
	n.report("entry", c.Parent, n.kernel.EntryNotify(uint64(c.Parent), c.Name))
}

// inode drops a node's attributes and perhaps its pages.
func (n *notifier) inode(ino cache.Ino, data, first bool) {
	if !n.known.nodes.has(ino) {
		return
	}
	off := int64(-1) // attributes only
	if data {
		off = 0
		n.pages.drop(ino)
		n.names.drop(ino)
	}
	status := n.kernel.InodeNotify(uint64(ino), off, 0)
	if status == fuse.ENOENT && first && len(n.again) < againMax {
		n.again = append(n.again, late{ino, data, time.Now().Add(againAfter)})
		n.hear(ino, 1)
		return
	}
	n.report("inode", ino, status)
}

// hear counts in unheard.
func (n *notifier) hear(ino cache.Ino, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unheard[ino] += by; n.unheard[ino] == 0 {
		delete(n.unheard, ino)
	}
}

// repeat sends what is due a second time.
func (n *notifier) repeat(now time.Time) {
	i := 0
	for ; i < len(n.again) && !n.again[i].due.After(now); i++ {
		n.inode(n.again[i].ino, n.again[i].data, false)
		n.hear(n.again[i].ino, -1)
	}
	if n.again = n.again[i:]; len(n.again) == 0 {
		n.again = nil
	}
}

// report leaves a trace of what the kernel did not take. That it does not know the node or the name is usual.
func (n *notifier) report(what string, ino cache.Ino, status fuse.Status) {
	if !status.Ok() && status != fuse.ENOENT {
		n.log.Debug("notification refused", "what", what, "ino", uint64(ino), "status", status.String())
	}
}
