package cache

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/internal/clock"
	"vdfs/internal/durable"
	"vdfs/internal/fault"
	"vdfs/internal/schedule"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readerConns is how many snapshots can be looked at at once.
const readerConns = 4

// Open opens the cache in opt.Dir, making it where there is none. It takes the lock that keeps a second process out
// (ErrLocked), brings the index up to this version (ErrNewerIndex, ErrDamaged: nothing was changed) and mends what a
// crash left behind. It starts nothing in the background: that is Run.
func Open(ctx context.Context, opt Options) (*Cache, error) {
	stamps := opt.Clock
	if opt.Clock == nil {
		files, err := clock.New()
		if err != nil {
			return nil, fmt.Errorf("open cache: %w", err)
		}
		stamps, opt.Clock = files.Now, fault.Clock(files.Now)
	}
	opt = opt.withDefaults()
	if err := makeDirs(opt.Dir); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	lock, err := takeLock(opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", opt.Dir, err)
	}
	c := &Cache{opt: opt, stamps: stamps, steady: clock.Begin(), log: opt.Logger, lock: lock, readers: make(chan *conn, readerConns), done: make(chan struct{})}
	c.feed.init()
	if err := c.openIndex(); err != nil {
		what := opt.Dir
		if errors.Is(err, ErrDamaged) {
			what = indexPath(opt.Dir)
		}
		return nil, errors.Join(fmt.Errorf("open cache %s: %w", what, err), c.closeAll())
	}
	for _, step := range []func(context.Context) error{c.recoverIndex, c.recoverMarker, c.recoverContents} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("recover cache %s: %w", opt.Dir, err), c.closeAll())
		}
	}
	return c, nil
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Tasks == nil {
		o.Tasks = &schedule.Tasks{}
	}
	if o.LocalOnly == nil {
		o.LocalOnly = func(string) bool { return false }
	}
	if o.Counts == nil {
		o.Counts = func(uint32) bool { return true }
	}
	if o.Used == nil {
		o.Used = func(*Tx, Ino) error { return nil }
	}
	if o.QuietMin == 0 {
		o.QuietMin = 200 * time.Millisecond
	}
	if o.OpenFor == 0 {
		o.OpenFor = 10 * time.Minute
	}
	if o.QuietMax == 0 {
		o.QuietMax = 5 * time.Second
	}
	return o
}

func (c *Cache) now() int64 { return c.opt.Clock().UnixNano() }

func indexPath(dir string) string { return filepath.Join(dir, "index.db") }

func makeDirs(dir string) error {
	_, err := os.Lstat(dir)
	fresh := errors.Is(err, os.ErrNotExist)
	for _, d := range []string{dir, filepath.Join(dir, "content"), filepath.Join(dir, "lost+found"), filepath.Join(dir, "backups")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if fresh {
		return durable.SyncDir(filepath.Dir(dir))
	}
	return nil
}

// takeLock locks a file of its own: SQLite's own locks on index.db would be dropped by any close of it in this process.
func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (c *Cache) openIndex() error {
	path := indexPath(c.opt.Dir)
	conn, err := openConn(path, false)
	if err != nil {
		return err
	}
	c.writer.conn = conn
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	if err := c.checkPages(); err != nil {
		return err
	}
	// What it has was written for the layout that the index has still.
	if err := c.startGroups(); err != nil {
		return err
	}
	if err := c.migrate(); err != nil {
		return err
	}
	if err := c.countPlaces(); err != nil {
		return err
	}
	// Groups are small. Pages that wait for their commit in memory cannot fail for want of room on the disk before it.
	if err := conn.run("PRAGMA cache_spill=OFF", nil); err != nil {
		return err
	}
	for range readerConns {
		conn, err := openConn(path, true)
		if err != nil {
			return err
		}
		c.readers <- conn
		c.opened++
	}
	// What is synced later is found again only by the names of the database, its log and the contents.
	return errors.Join(c.keepRoom(), durable.SyncDir(c.opt.Dir))
}

// migrate runs the migrations that the index has not seen, each in a transaction with its number and in no group.
func (c *Cache) migrate() error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var have int64
	if _, err := c.writer.conn.one("PRAGMA user_version", func(r *row) { have = r.int() }); err != nil {
		return err
	}
	if have > int64(len(names)) {
		return fmt.Errorf("%w: it has layout %d, this vdfs knows up to %d; use a newer vdfs", ErrNewerIndex, have, len(names))
	}
	for i := int(have); i < len(names); i++ {
		if err := c.migrateOne(names[i], i+1); err != nil {
			return fmt.Errorf("migrate index with %s: %w", strings.TrimPrefix(names[i], "migrations/"), err)
		}
	}
	return nil
}

func (c *Cache) migrateOne(name string, number int) error {
	script, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	conn := c.writer.conn
	if err := conn.run("BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	err = conn.script(string(script))
	if err == nil && number == 1 {
		err = (&Tx{c: c, conn: conn}).makeRoot()
	}
	if err == nil {
		err = conn.script(fmt.Sprintf("PRAGMA user_version = %d", number))
	}
	if err == nil {
		err = conn.run("COMMIT", nil)
	}
	if err != nil {
		return errors.Join(err, c.rollback())
	}
	return nil
}

func (tx *Tx) makeRoot() error {
	now := tx.Now()
	err := tx.exec(`INSERT INTO nodes(ino, kind, mode, uid, gid, atime, mtime, ctime, btime, nlink) VALUES(?,?,?,?,?,?,?,?,?,2)`,
		RootIno, Dir, 0o755, tx.c.opt.UID, tx.c.opt.GID, now, now, now, now)
	if err != nil {
		return err
	}
	return tx.exec("INSERT INTO dentries(id, parent, name, ino) VALUES(?, 0, x'', ?)", RootDentry, RootIno)
}

// recoverIndex puts back what was under way when the last process ended. The conditions that seem to say nothing let
// SQLite use the small indexes of open items and of directories that are not listed.
func (c *Cache) recoverIndex(context.Context) error {
	return c.update(0, true, func(tx *Tx) error {
		if err := tx.exec("UPDATE items SET status = ? WHERE status = ? AND status < 6", ItemNew, ItemProcessing); err != nil {
			return err
		}
		if err := tx.exec("UPDATE nodes SET listing = ? WHERE listing = ? AND listing <> 2", Unlisted, ListingNow); err != nil {
			return err
		}
		orphans, err := list(tx, (*row).int, "SELECT ino FROM nodes WHERE nlink = 0")
		if err != nil {
			return err
		}
		for _, ino := range orphans {
			if err := tx.removeNode(Ino(ino)); err != nil {
				return err
			}
		}
		return nil
	})
}

// closeAll closes whatever is open; it serves Close and an Open that failed half way. Whoever still reads is waited for.
func (c *Cache) closeAll() error {
	return errors.Join(c.closeIndex(), c.lock.Close())
}

func (c *Cache) closeIndex() error {
	var errs []error
	close(c.done)
	for range c.opened {
		errs = append(errs, (<-c.readers).close())
	}
	c.writer.Lock()
	defer c.writer.Unlock()
	if c.writer.conn != nil {
		errs = append(errs, c.closeGroups(), c.writer.conn.close())
		c.writer.conn = nil
	}
	return errors.Join(errs...)
}
