package cache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"vdfs/internal/durable"
)

// salvageKey is the row of meta that says that the index is older than the contents: a backup was restored or a new one
// was begun. Unsent files without a row then go to lost+found instead of being swept away.
const salvageKey = "salvage"

// Salvage tells the next sweep that the index does not know all contents. Whoever restores or remakes an index calls it
// before anything else, so that no unsent work is taken for a leftover.
func (tx *Tx) Salvage() error {
	return tx.exec(`INSERT OR REPLACE INTO meta(key, value) VALUES(?, 1)`, salvageKey)
}

// salvage saves what an index that is older than the contents does not know: one that says so, or one so new that it never
// had a content. It runs before anybody writes: until it is done, the numbers of the index prove nothing.
func (c *Cache) salvage(ctx context.Context) error {
	salvage := false
	err := c.read(func(tx *Tx) (err error) {
		salvage, err = tx.queryRow(`SELECT 1 FROM meta WHERE key=?`, func(*row) {}, salvageKey)
		return err
	})
	if err != nil || !salvage && c.store.next.Load() != 0 {
		return err
	}
	if err := c.sweepAll(ctx, math.MaxInt64, c.saveUnsent); err != nil {
		return err
	}
	return c.update(0, true, func(tx *Tx) error { return tx.exec(`DELETE FROM meta WHERE key=?`, salvageKey) })
}

// sweep removes backing files that no row names: what was made, or was to be removed, when a process ended. It works
// through one directory after the other next to everything else, so it leaves all files alone that this process made:
// their rows come after them.
func (c *Cache) sweep(ctx context.Context) error {
	if err := c.sweepAll(ctx, c.store.older, removeIfThere); err != nil {
		return err
	}
	c.store.swept.Store(true)
	return nil
}

func (c *Cache) sweepAll(ctx context.Context, limit ContentID, putAway func(path string) error) error {
	for i := range 256 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.sweepDir(c.store.subdir(i), limit, putAway); err != nil {
			return fmt.Errorf("sweep contents: %w", err)
		}
	}
	return nil
}

func (c *Cache) sweepDir(dir string, limit ContentID, putAway func(string) error) error {
	d, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // made with its first file
	}
	if err != nil {
		return err
	}
	defer d.Close() // only read from
	for {
		names, err := d.Readdirnames(recoverBatch)
		if len(names) == 0 {
			return ignoreEOF(err)
		}
		strays, err := c.strays(names, limit)
		if err != nil {
			return err
		}
		if len(strays) > 0 {
			// The transaction that deleted a row may not be durable yet.
			if err := c.syncIndex(); err != nil {
				return err
			}
		}
		for _, name := range strays {
			if err := putAway(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
}

// strays picks the names of backing files that have a number up to limit and no row.
func (c *Cache) strays(names []string, limit ContentID) ([]string, error) {
	var out []string
	err := c.read(func(tx *Tx) error {
		for _, name := range names {
			id, err := strconv.ParseInt(name, 16, 64)
			if err != nil || ContentID(id) > limit {
				continue
			}
			known, err := tx.queryRow(`SELECT 1 FROM contents WHERE id=?`, func(*row) {}, id)
			if err != nil {
				return err
			}
			if !known {
				out = append(out, name)
			}
		}
		return nil
	})
	return out, err
}

// saveUnsent puts a stray backing file into lost+found if it may be the only copy of somebody's work, else removes it.
func (c *Cache) saveUnsent(path string) error {
	o, unsent, err := readOrigin(path)
	if unsent {
		return c.saveLost(path, o, err)
	}
	if err != nil {
		return err
	}
	return removeIfThere(path)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// saveLost moves an unsent backing file to lost+found, under its name if that could be read.
func (c *Cache) saveLost(path string, o origin, unreadable error) error {
	name := "unnamed"
	if n, err := o.name(); unreadable == nil && err == nil && n != "" {
		name = n
	}
	prefix := filepath.Base(path) + " " // the content's number keeps equal names apart
	if room := MaxName - len(prefix); len(name) > room {
		name = name[len(name)-room:]
	}
	to := filepath.Join(c.opt.Dir, "lost+found", prefix+name)
	if err := durable.Rename(path, to); err != nil {
		return fmt.Errorf("save unsent file: %w", err)
	}
	c.log.Warn("unsent file without an entry saved", "path", to, "ino", uint64(o.Ino), "parent", uint64(o.Parent))
	return nil
}
