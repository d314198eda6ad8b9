package cache

import "sync"

// usageMax bounds how many accesses are kept in memory; Run writes them out long before.
const usageMax = 16384

// usage buffers what reading changes: access times, and when a content was last opened. Losing it in a crash loses no more
// than that.
type usage struct {
	mu       sync.Mutex
	atimes   map[Ino]int64
	contents map[ContentID]int64
	clock    Clock
}

func (u *usage) init(clock Clock) {
	u.clock = clock
	u.atimes = make(map[Ino]int64)
	u.contents = make(map[ContentID]int64)
}

func (u *usage) opened(st *fileState) {
	b := st.cur.Load()
	if b == nil {
		return
	}
	now := u.clock().UnixNano()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.contents) < usageMax {
		u.contents[b.id] = now
	}
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
func (u *usage) take(limit int) (atimes map[Ino]int64, contents map[ContentID]int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return takeSome(u.atimes, limit), takeSome(u.contents, limit)
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

// flushUsage writes the buffered accesses in small transactions.
func (c *Cache) flushUsage() error {
	for {
		atimes, contents := c.used.take(usageBatch)
		if len(atimes)+len(contents) == 0 {
			return nil
		}
		err := c.update(0, true, func(tx *Tx) error {
			for ino, at := range atimes {
				if err := tx.exec(`UPDATE nodes SET atime=max(atime, ?2) WHERE ino=?1`, ino, at); err != nil {
					return err
				}
			}
			for id, at := range contents {
				if err := tx.exec(`UPDATE contents SET used=max(used, ?2) WHERE id=?1`, id, at); err != nil {
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
