package cache

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// usageMax bounds how many accesses are kept in memory; Run writes them out long before.
const usageMax = 16384

// usage buffers what reading changes: access times, and when a file was last opened by whom. Losing it in a crash loses no
// more than that.
type usage struct {
	mu     sync.Mutex
	atimes map[Ino]int64
	opens  map[openedBy]int64
	latest map[Ino]int64 // of opens
	clock  Clock

	// A process may be gone when its opens are written, so whoever counts is asked about a new one soon, and remembers it.
	fresh chan uint32
	seen  [64]uint32 // some of those that were asked about, by the last bits
}

// openedBy is a file and a process that opened it; 0: this one.
type openedBy struct {
	ino Ino
	pid uint32
}

func (u *usage) init(clock Clock) {
	u.clock = clock
	u.atimes = make(map[Ino]int64)
	u.opens = make(map[openedBy]int64)
	u.latest = make(map[Ino]int64)
	u.fresh = make(chan uint32, 256)
}

func (u *usage) opened(ino Ino, pid uint32) {
	now := u.clock().UnixNano()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.opens) < usageMax {
		u.opens[openedBy{ino, pid}] = now
		u.latest[ino] = now
	}
	if at := &u.seen[pid%uint32(len(u.seen))]; *at != pid {
		*at = pid
		select {
		case u.fresh <- pid:
		default: // many at once: the rest is asked about later
		}
	}
}

// meetEvery is how often a new process is asked about: a build has thousands, and the answer is worth less than they take.
const meetEvery = 20 * time.Millisecond

// meet asks about new processes until ctx ends.
func (c *Cache) meet(ctx context.Context) error {
	ticker := time.NewTicker(meetEvery)
	defer ticker.Stop()
	for {
		select {
		case pid := <-c.used.fresh:
			c.opt.Counts(pid)
		case <-ctx.Done():
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// lastOpened is when a file was last opened, by whomever, if that was not written down yet; else 0.
func (u *usage) lastOpened(ino Ino) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.latest[ino]
}

func (u *usage) touch(ino Ino, at int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if before, known := u.atimes[ino]; known || len(u.atimes) < usageMax {
		u.atimes[ino] = max(before, at)
	}
}

// overlay gives a node the access time that is not in the index yet.
func (u *usage) overlay(n *Node) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.atimes[n.Ino]; ok && at > n.Atime {
		n.Atime = at
	}
}

// forget drops a buffered access time because a program has set another.
func (u *usage) forget(ino Ino) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.atimes, ino)
}

// take empties up to limit of each buffer.
func (u *usage) take(limit int) (atimes map[Ino]int64, opens map[openedBy]int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	opens = takeSome(u.opens, limit)
	for o := range opens {
		delete(u.latest, o.ino)
	}
	return takeSome(u.atimes, limit), opens
}

func takeSome[K comparable](m map[K]int64, limit int) map[K]int64 {
	out := make(map[K]int64, min(limit, len(m)))
	for k, v := range m {
		if len(out) == limit {
			break
		}
		out[k] = v
		delete(m, k)
	}
	return out
}

// TouchAtime notes that a node was read now. It is buffered: Run writes it within seconds, a crash loses it. While the
// buffer is full, which it is only without Run, further nodes are not noted.
func (c *Cache) TouchAtime(ino Ino) { c.used.touch(ino, c.now()) }

// forgetAtime drops the buffered access time of a node.
func (c *Cache) forgetAtime(ino Ino) {
	c.used.forget(ino)
	c.forgetReads(ino)
}

// usageBatch bounds one transaction of flushUsage.
const usageBatch = 200

// WriteUsage writes down the accesses so far, so that the order of KeptPage is that of now.
func (c *Cache) WriteUsage() error {
	if err := c.flushUsage(); err != nil {
		return fmt.Errorf("write access times: %w", err)
	}
	return nil
}

// flushUsage writes the buffered accesses in small transactions.
func (c *Cache) flushUsage() error {
	for {
		atimes, opens := c.used.take(usageBatch)
		if len(atimes)+len(opens) == 0 {
			return nil
		}
		uses := c.usesOf(opens)
		err := c.update(0, true, func(tx *Tx) error {
			for ino, at := range atimes {
				if err := tx.exec(`UPDATE nodes SET atime=max(atime, ?2) WHERE ino=?1`, ino, at); err != nil {
					return err
				}
			}
			for ino, at := range uses {
				if err := tx.use(ino, at); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// usesOf leaves the files that were opened by somebody who counts. Each process is asked about once.
func (c *Cache) usesOf(opens map[openedBy]int64) map[Ino]int64 {
	counts := map[uint32]bool{0: true}
	uses := make(map[Ino]int64)
	for o, at := range opens {
		yes, known := counts[o.pid]
		if !known {
			yes = c.opt.Counts(o.pid)
			counts[o.pid] = yes
		}
		if yes {
			uses[o.ino] = max(uses[o.ino], at)
		}
	}
	return uses
}

// use notes when a file was last used.
func (tx *Tx) use(ino Ino, at int64) error {
	err := tx.exec(`UPDATE contents SET used=max(used, ?2) WHERE id=(SELECT content FROM nodes WHERE ino=?1)`, ino, at)
	if err != nil {
		return err
	}
	return tx.c.opt.Used(tx, ino)
}
