package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// recoverBatch bounds one transaction of recovery.
const recoverBatch = 256

// recoverContents makes the contents whole again after whatever end the last process had. It reads no tree and no
// directory: its cost grows with what was under way, not with what there is.
func (c *Cache) recoverContents(ctx context.Context) error {
	if err := c.store.init(c.opt.Dir); err != nil {
		return err
	}
	c.used.init(c.opt.Clock)
	c.quiet.init(c.opt.QuietMin, c.opt.QuietMax)
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
	for _, step := range []func(context.Context) error{c.salvage, c.settleAbandoned, c.recoverBoot, c.removeUnowned, c.countContents} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) countContents(context.Context) error {
	return c.read(func(tx *Tx) error {
		_, err := tx.queryRow(`SELECT coalesce(sum(present), 0) FROM contents`, func(r *row) { c.store.bytes.Store(r.int()) })
		return err
	})
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
}

// settleAbandoned settles nodes that were open for writing: their backing files say what they are.
func (c *Cache) settleAbandoned(ctx context.Context) error {
	for {
		var found []abandoned
		err := c.read(func(tx *Tx) (err error) {
			nodes, err := list(tx, scanNode, "SELECT "+nodeCols+" FROM nodes n WHERE n.writing <> 0 ORDER BY n.ino LIMIT ?", recoverBatch)
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
			found[i].info, found[i].err = statPath(c.store.path(found[i].node.Content))
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

// unproved is a content that was written before a power cut and had not reached the disk for certain.
type unproved struct {
	id    ContentID
	node  Node
	clean bool
}

// recoverBoot goes through the contents that the last boot had not synced. A clean one is dropped: its endpoint has it. A
// dirty one is all there is; its hash is computed anew from what the disk kept.
func (c *Cache) recoverBoot(ctx context.Context) error {
	var after ContentID
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var found []unproved
		err := c.read(func(tx *Tx) (err error) {
			found, err = tx.unprovedContents(after)
			return err
		})
		if err != nil || len(found) == 0 {
			return err
		}
		after = found[len(found)-1].id
		if err := c.recoverUnproved(found); err != nil {
			return fmt.Errorf("recover contents of another boot: %w", err)
		}
	}
}

// unprovedContents lists contents stamped in another boot. Clean are those of which an endpoint has this very version, and
// partial ones, which can only have come from one.
func (tx *Tx) unprovedContents(after ContentID) ([]unproved, error) {
	return list(tx, func(r *row) unproved {
		return unproved{id: ContentID(r.int()), clean: r.flag(), node: scanNode(r)}
	}, `SELECT c.id, n.residency = 1 OR EXISTS(SELECT 1 FROM dentries d JOIN bindings b ON b.dentry = d.id
			WHERE d.ino = n.ino AND b.l_version = n.version AND b.r_size = n.size), `+nodeCols+`
		FROM contents c JOIN nodes n ON n.ino = c.ino AND n.content = c.id
		WHERE c.id > ?1 AND c.boot <> '' AND NOT (c.boot >= ?2 AND c.boot < ?3) ORDER BY c.id LIMIT ?4`,
		after, tx.c.store.boot+"/", tx.c.store.boot+"0", recoverBatch)
}

func (c *Cache) recoverUnproved(found []unproved) error {
	infos := make([]fileInfo, len(found))
	errs := make([]error, len(found))
	for i, u := range found {
		infos[i], errs[i] = statPath(c.store.path(u.id))
	}
	return c.update(0, true, func(tx *Tx) error {
		for i, u := range found {
			var err error
			switch {
			case u.clean:
				err = tx.dropContent(u.node)
			case errors.Is(errs[i], os.ErrNotExist):
				err = tx.loseContent(u.node)
			case errs[i] != nil:
				err = errs[i]
			default:
				err = tx.keepDirty(u, infos[i])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// keepDirty takes an unsent content as the disk kept it. If that is not what was settled it is another version.
func (tx *Tx) keepDirty(u unproved, info fileInfo) error {
	err := tx.exec(`UPDATE nodes SET hash=NULL, version=version+(size<>?2), size=?2 WHERE ino=?1`, u.node.Ino, info.size)
	if err != nil {
		return err
	}
	err = tx.exec(`UPDATE contents SET size=?2, present=?2, ranges=NULL, boot=?3 WHERE id=?1`, u.id, info.size, tx.c.store.stamp())
	if err != nil {
		return err
	}
	return tx.markNode(u.node.Ino, tx.Now())
}

// removeUnowned deletes contents that neither a node nor the trash names.
func (c *Cache) removeUnowned(ctx context.Context) error {
	var after ContentID
	return c.pages(ctx, func(tx *Tx) (bool, error) {
		ids, err := list(tx, func(r *row) unproved { return unproved{id: ContentID(r.int()), clean: r.flag()} },
			`SELECT c.id, NOT EXISTS(SELECT 1 FROM nodes n WHERE n.ino=c.ino AND n.content=c.id)
				AND NOT EXISTS(SELECT 1 FROM trash t WHERE t.content=c.id)
			FROM contents c WHERE c.id>? ORDER BY c.id LIMIT ?`, after, 8*recoverBatch)
		for _, u := range ids {
			if err == nil && u.clean {
				err = tx.removeContent(u.id)
			}
			after = u.id
		}
		return len(ids) > 0, err
	})
}
