package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// recoverBatch bounds one transaction of recovery.
const recoverBatch = 256

// recoverContents makes the contents whole again after whatever end the last process had. It reads no tree, no table and
// no directory: its cost grows with what was under way, not with what there is.
func (c *Cache) recoverContents(ctx context.Context) error {
	if err := c.store.init(c.opt.Dir); err != nil {
		return err
	}
	c.used.init(c.opt.Clock)
	c.quiet.init(quietFirst, c.opt.QuietMin, c.opt.QuietMax)
	// The files of deleted rows may still lie there, and their numbers must not be given out again.
	err := c.read(func(tx *Tx) error {
		_, err := tx.queryRow(`SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name='contents'), 0),
			coalesce((SELECT max(id) FROM contents), 0))`, func(r *row) { c.store.next.Store(r.int()) })
		return err
	})
	if err != nil {
		return err
	}
	c.store.older = ContentID(c.store.next.Load())
	if err := c.store.mkdir(c.store.older + 1); err != nil && !errors.Is(diskError(err), ErrNoSpace) {
		return fmt.Errorf("make content directory: %w", err)
	}
	for _, step := range []func(context.Context) error{c.salvage, c.judge, c.settleAbandoned} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pages calls step with one transaction a time until it says that there is no more.
func (c *Cache) pages(ctx context.Context, step func(*Tx) (more bool, err error)) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := c.update(0, true, func(tx *Tx) (err error) {
			more, err = step(tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

type abandoned struct {
	node Node
	info fileInfo
	err  error
	held bool
}

// settleAbandoned settles nodes that were open for writing: their backing files say what they are. One that was passed
// and that a program still writes to stays marked until that ends: see keepHeld.
func (c *Cache) settleAbandoned(ctx context.Context) error {
	var after Ino
	for {
		var found []abandoned
		err := c.read(func(tx *Tx) (err error) {
			nodes, err := list(tx, scanNode, "SELECT "+nodeCols+" FROM nodes n WHERE n.writing <> 0 AND n.ino > ? ORDER BY n.ino LIMIT ?", after, recoverBatch)
			for _, n := range nodes {
				found = append(found, abandoned{node: n})
			}
			return err
		})
		if err != nil || len(found) == 0 {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range found {
			after = found[i].node.Ino
			path := c.store.path(found[i].node.Content)
			found[i].held = heldPath(path)
			found[i].info, found[i].err = statPath(path)
		}
		if err := c.update(0, true, func(tx *Tx) error { return tx.settleAll(found) }); err != nil {
			return fmt.Errorf("settle abandoned writes: %w", err)
		}
	}
}

func (tx *Tx) settleAll(found []abandoned) error {
	for _, a := range found {
		var err error
		switch {
		case a.held:
		case a.err == nil:
			err = tx.settle(a.node.Ino, a.node.Content, a.info, true)
		case errors.Is(a.err, os.ErrNotExist):
			err = tx.loseContent(a.node)
		default:
			err = a.err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// loseContent faces that the backing file of a node is gone. The node stays, as a placeholder of what it was: if an
// endpoint has that version it can be read again, and if none has, reading fails instead of giving zeros.
func (tx *Tx) loseContent(n Node) error {
	tx.c.log.Error("backing file is missing", "ino", uint64(n.Ino), "content", int64(n.Content), "size", n.Size)
	if err := tx.exec(`UPDATE nodes SET writing=0 WHERE ino=?`, n.Ino); err != nil {
		return err
	}
	return tx.dropContent(n)
}

// unownedPage bounds one look of removeUnowned.
const unownedPage = 2048

// removeUnowned deletes contents that neither a node nor the trash names. A transaction that takes a content from its node
// or from the trash deletes it, so no crash leaves one: this is against what was mended by hand or by a doctor, costs a look
// at every content, and nobody need wait for it. Run does it beside everything else.
func (c *Cache) removeUnowned(ctx context.Context) error {
	const unowned = `NOT EXISTS(SELECT 1 FROM nodes n WHERE n.ino=c.ino AND n.content=c.id) AND NOT EXISTS(SELECT 1 FROM trash t WHERE t.content=c.id)`
	for after, more := ContentID(0), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var found []ContentID
		err := c.read(func(tx *Tx) error {
			more = false
			return tx.query(`SELECT c.id, `+unowned+` FROM contents c WHERE c.id>? ORDER BY c.id LIMIT ?`, func(r *row) {
				after, more = ContentID(r.int()), true
				if r.flag() {
					found = append(found, after)
				}
			}, after, unownedPage)
		})
		if err != nil || len(found) == 0 {
			if err != nil {
				return err
			}
			continue
		}
		err = c.update(0, true, func(tx *Tx) error {
			for _, id := range found {
				still, err := tx.queryRow(`SELECT 1 FROM contents c WHERE c.id=? AND `+unowned, func(*row) {}, id)
				if err == nil && still {
					err = tx.removeContent(id)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("remove contents that nobody has: %w", err)
		}
	}
	return nil
}
