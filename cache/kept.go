package cache

import "math"

// Kept are the local bytes of a node, and when somebody last wanted them.
type Kept struct {
	Used    int64 // when they were last opened, or else came, as the index has it; nanoseconds since 1970
	Content ContentID
	Ino     Ino   // 0: no node has them, as what is in the trash
	Bytes   int64 // of them here
	Size    int64 // of the node; mtime likewise
	Mtime   int64
	Writing bool // the node is being written to
}

// KeptPage reads up to limit contents in the order in which they were last opened, behind the one that was used then and has
// that id; 0 and 0 is the beginning. What was written or fetched in the last seconds is not among them: it comes in when it
// is synced.
func (tx *Tx) KeptPage(used int64, after ContentID, limit int) ([]Kept, error) {
	scan := func(r *row) Kept {
		return Kept{
			Used: r.int(), Content: ContentID(r.int()), Bytes: r.int(),
			Ino: Ino(r.int()), Size: r.int(), Mtime: r.int(), Writing: r.flag(),
		}
	}
	return list(tx, scan, `SELECT c.used, c.id, c.present, n.ino, n.size, n.mtime, n.writing
		FROM contents c INDEXED BY contents_used LEFT JOIN nodes n ON n.ino = c.ino AND n.content = c.id
		WHERE c.boot = '' AND (c.used, c.id) > (?, ?) ORDER BY c.used, c.id LIMIT ?`, used, after, limit)
}

// LastOpened is LastUse, or when it was opened since that was last written down, by whomever.
func (tx *Tx) LastOpened(ino Ino) (int64, error) {
	at, err := tx.LastUse(ino)
	return max(at, tx.c.used.lastOpened(ino)), err
}

// Unlimited is the limit of BytesAbove that is never reached.
const Unlimited = math.MaxInt64

// BytesAbove sets the one limit of local bytes, and returns a channel that gets a token soon after a transaction added some and
// left more than that. It has one user; tokens do not queue up. Before Run or Stats have counted what is here, less than
// everything counts.
func (c *Cache) BytesAbove(limit int64) <-chan struct{} {
	c.store.limit.Store(limit)
	return c.store.above
}

// add counts bytes that came or, below 0, went.
func (s *contentStore) add(n int64) {
	if s.bytes.Add(n) <= s.limit.Load() || n <= 0 {
		return
	}
	select {
	case s.above <- struct{}{}:
	default:
	}
}
