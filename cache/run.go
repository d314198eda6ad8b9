package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sync/errgroup"

	"vdfs/internal/durable"
	"vdfs/internal/fault"
)

// How often Run does what.
const (
	syncEvery       = 5 * time.Second
	checkpointEvery = time.Second
	usageEvery      = 5 * time.Second
	settleEvery     = 10 * time.Second
	purgeEvery      = 10 * time.Minute
	backupEvery     = 24 * time.Hour
)

// The write-ahead log is copied into the database above the first size and cut above the second.
const (
	walCheckpoint = 4 << 20
	walTruncate   = 64 << 20
)

// closedKept is how long closed items stay for those who ask what happened.
const closedKept = 7 * 24 * time.Hour

// backupsKept is how many daily backups of the index there are.
const backupsKept = 3

// Run does the background work until ctx ends, which is no error: it counts what there is, makes contents durable, writes buffered access times,
// keeps the write-ahead log short, purges closed items, old trash and old history, gives free pages back and backs the index up daily. What fails is
// logged and tried again at its next turn; nothing of it is needed for correctness while the power stays on. Call it
// once.
func (c *Cache) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.maintain(ctx, "count", 0, func(context.Context) error { return c.count() }) })
	g.Go(func() error { return c.maintain(ctx, "sweep", 0, c.sweep) })
	g.Go(func() error { return c.maintain(ctx, "remove unowned contents", 0, c.removeUnowned) })
	g.Go(func() error { return c.keepRemoving(ctx) })
	g.Go(func() error { return c.meet(ctx) })
	g.Go(func() error { return c.maintain(ctx, "sync contents", syncEvery, c.syncContents) })
	g.Go(func() error { return c.maintain(ctx, "checkpoint", checkpointEvery, c.checkpoint) })
	g.Go(func() error {
		return c.maintain(ctx, "write access times", usageEvery, func(context.Context) error { return c.flushUsage() })
	})
	g.Go(func() error { return c.maintain(ctx, "settle", settleEvery, c.settleLeft) })
	g.Go(func() error { return c.maintain(ctx, "copy open files", min(liveEvery, c.opt.OpenFor), c.CopyOpen) })
	g.Go(func() error { return c.keepHeld(ctx) })
	g.Go(func() error { return c.maintain(ctx, "purge", purgeEvery, c.purge) })
	g.Go(func() error { return c.maintain(ctx, "purge trash", purgeEvery, c.purgeTrash) })
	g.Go(func() error { return c.maintain(ctx, "purge history", purgeEvery, c.purgeGenerations) })
	g.Go(func() error { return c.maintain(ctx, "back up index", time.Hour, c.backupIfDue) })
	err := g.Wait()
	// What is on the disk for certain when the drive is unmounted needs no look at the next start.
	return errors.Join(err, c.flushUsage(), c.syncContents(context.WithoutCancel(ctx)))
}

// maintain does one task now and then every so often; 0 is once.
func (c *Cache) maintain(ctx context.Context, name string, every time.Duration, task func(context.Context) error) error {
	counted := c.opt.Tasks.Task(name)
	failed := func(err error) { c.log.Error("background task failed", "task", name, "error", err) }
	if every > 0 {
		counted.Every(ctx, every, task, failed)
	} else if err := counted.Do(func() error { return task(ctx) }); err != nil && ctx.Err() == nil {
		failed(err)
	}
	return nil
}

// syncContents makes the bytes of contents durable and says so in their rows:
//
//  1. a new round begins: rows stamped from here on wait for the next
//  2. syncfs
//  3. rows of rounds before 1 are cleared, except those being written to
//  4. of those being written to it is noted how much was on the disk
//
// A cut anywhere leaves rows stamped that need not be, which costs a look at their bytes at most.
func (c *Cache) syncContents(ctx context.Context) error {
	if !c.store.dirty.Swap(false) {
		return nil
	}
	epoch := c.store.epoch.Add(1)
	written := c.files.written()
	if err := durable.SyncFS(c.store.dir); err != nil {
		c.store.dirty.Store(true)
		return err
	}
	left := false
	err := c.pages(ctx, func(tx *Tx) (bool, error) {
		cleared, err := list(tx, (*row).int, `UPDATE contents SET boot='', synced=size WHERE id IN (
			SELECT c.id FROM contents c LEFT JOIN nodes n ON n.ino=c.ino
			WHERE c.boot >= ?1 AND c.boot < ?2 AND c.boot <> '' AND coalesce(n.writing, 0)=0 LIMIT ?3) RETURNING id`,
			c.store.boot+"/", c.store.stampOf(epoch), recoverBatch)
		for _, id := range cleared {
			c.store.notes.drop(ContentID(id))
		}
		return len(cleared) == recoverBatch, err
	})
	for _, w := range written {
		note := c.noteSynced(w.st, w.b, w.size, func(*Tx) error { return nil })
		if _, closed := w.b.stat(); closed == nil { // else it was settled meanwhile, and a later round clears it
			err = errors.Join(err, note)
		}
	}
	if err == nil {
		err = c.read(func(tx *Tx) (err error) {
			left, err = tx.queryRow(`SELECT 1 FROM contents WHERE boot<>'' LIMIT 1`, func(*row) {})
			return err
		})
	}
	if err != nil || left {
		c.store.dirty.Store(true) // files open for writing are covered by a later round
	}
	return err
}

// checkpoint copies the write-ahead log into the database, beside the writer: readers and the writer go on.
func (c *Cache) checkpoint(context.Context) error {
	if err := c.keepRoom(); err != nil {
		return err
	}
	info, err := os.Stat(indexPath(c.opt.Dir) + "-wal")
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() < walCheckpoint {
		return nil
	}
	if err != nil {
		return err
	}
	return c.aside(func(conn *conn) error {
		if err := conn.run("PRAGMA wal_checkpoint(PASSIVE)", nil); err != nil || info.Size() <= walTruncate {
			return err
		}
		// Nobody may write meanwhile; what is left to do is little.
		c.writer.Lock()
		defer c.writer.Unlock()
		if c.writer.conn == nil {
			return errClosed
		}
		if err := c.commitGroup(); err != nil {
			return err
		}
		return conn.run("PRAGMA wal_checkpoint(TRUNCATE)", nil)
	})
}

// aside lends a connection of its own, so that what it does holds up nobody.
func (c *Cache) aside(f func(*conn) error) error {
	conn, err := openConn(indexPath(c.opt.Dir), false)
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.close())
}

// vacuumPages bounds how many free pages are given back in one transaction: some milliseconds.
const vacuumPages = 256

// purge deletes old closed items and gives free pages of the index back, in small transactions.
func (c *Cache) purge(ctx context.Context) error {
	before := c.opt.Clock().Add(-closedKept).UnixNano()
	err := c.pages(ctx, func(tx *Tx) (bool, error) {
		n, err := tx.PurgeClosed(before, recoverBatch)
		return n == recoverBatch, err
	})
	if err != nil {
		return err
	}
	for free := int64(vacuumPages); free >= vacuumPages && ctx.Err() == nil; {
		err := c.update(0, true, func(tx *Tx) error {
			if err := tx.exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumPages)); err != nil {
				return err
			}
			_, err := tx.queryRow("PRAGMA freelist_count", func(r *row) { free = r.int() })
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// backupIfDue backs the index up if the newest backup is a day old.
func (c *Cache) backupIfDue(context.Context) error {
	have, err := c.backups()
	if err != nil {
		return err
	}
	if len(have) > 0 {
		info, err := os.Stat(have[len(have)-1])
		if err != nil {
			return err
		}
		if age := c.stamps().Sub(info.ModTime()); age >= 0 && age < backupEvery { // below: the clock has been set back
			return nil
		}
	}
	return c.Backup()
}

// Backup writes a copy of the index into backups/ and removes all but the newest few. Work goes on meanwhile.
func (c *Cache) Backup() error {
	name, err := c.backupName()
	if err != nil {
		return fmt.Errorf("back up index: %w", err)
	}
	partial := name + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("back up index: %w", err)
	}
	if err := c.settleGroup(); err != nil {
		return fmt.Errorf("back up index: %w", err)
	}
	if err := c.aside(func(conn *conn) error { return conn.run("VACUUM INTO ?", nil, partial) }); err != nil {
		return fmt.Errorf("back up index: %w", err)
	}
	err = fault.Point(faultBackupCopied)
	if err == nil {
		err = publish(partial, name)
	}
	if err == nil {
		err = fault.Point(faultBackupNamed)
	}
	if err != nil {
		return fmt.Errorf("back up index: %w", err)
	}
	have, err := c.backups()
	for i := 0; err == nil && i < len(have)-backupsKept; i++ {
		err = os.Remove(have[i])
	}
	return err
}

// publish gives a finished file its name.
func publish(partial, name string) error {
	f, err := os.OpenFile(partial, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = errors.Join(f.Chmod(0o600), f.Sync())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return durable.Rename(partial, name)
}

// backupName is the name of a backup made now: it comes after those that there are, also where the clock was ahead when they
// were made.
func (c *Cache) backupName() (string, error) {
	const layout = "index-20060102T150405.db"
	at := c.opt.Clock().UTC()
	have, err := c.backups()
	if err != nil {
		return "", err
	}
	if len(have) > 0 {
		if last, err := time.Parse(layout, filepath.Base(have[len(have)-1])); err == nil && !at.Truncate(time.Second).After(last) {
			at = last.Add(time.Second)
		}
	}
	return filepath.Join(c.opt.Dir, "backups", at.Format(layout)), nil
}

// backups lists the finished backups, oldest first.
func (c *Cache) backups() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(globEscape(filepath.Join(c.opt.Dir, "backups")), "index-*.db"))
	sort.Strings(names)
	return names, err
}

// globEscape makes a pattern that matches path only.
func globEscape(path string) string {
	var out []byte
	for i := range len(path) {
		if b := path[i]; b == '*' || b == '?' || b == '[' || b == '\\' {
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
