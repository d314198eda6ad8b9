package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"vdfs/internal/durable"
)

// Problem is something in the index or the contents that must not be.
type Problem struct {
	// What names the rule that is broken; it is the same for all its cases.
	What string
	// Subject tells which row or file.
	Subject string
	// Mendable: Repair puts it right.
	Mendable bool
}

func (p Problem) String() string { return p.What + ": " + p.Subject }

// rule is an invariant that can be read off the tables. find selects the ids of what breaks it.
type rule struct {
	what, subject string
	find          string
	mend          string // a statement for one id; "": cannot be mended
}

// rules are in the order in which they are mended: a later one may depend on an earlier one.
var rules = []rule{
	{
		"name without a node", "dentry", "SELECT d.id FROM dentries d LEFT JOIN nodes n ON n.ino = d.ino WHERE n.ino IS NULL",
		"DELETE FROM dentries WHERE id = ?",
	},
	{
		"name in what is no directory", "dentry",
		"SELECT d.id FROM dentries d LEFT JOIN nodes n ON n.ino = d.parent WHERE d.parent <> 0 AND (n.ino IS NULL OR n.kind <> 2)",
		"UPDATE OR IGNORE dentries SET parent = 1, name = CAST('lost-' || id AS BLOB) WHERE id = ?",
	},
	{
		"directory with another number of names than one", "node",
		"SELECT n.ino FROM nodes n WHERE n.kind = 2 AND (SELECT count(*) FROM dentries d WHERE d.ino = n.ino) <> 1", "",
	},
	{
		"directory out of reach of the root", "node",
		`WITH RECURSIVE reach(ino) AS (SELECT 1 UNION SELECT n.ino FROM reach JOIN dentries d ON d.parent = reach.ino JOIN nodes n ON n.ino = d.ino WHERE n.kind = 2)
		SELECT ino FROM nodes WHERE kind = 2 AND ino NOT IN (SELECT ino FROM reach)`, "",
	},
	{
		"wrong link count", "node",
		`SELECT n.ino FROM nodes n WHERE n.nlink <> (SELECT count(*) FROM dentries d WHERE d.ino = n.ino) +
			CASE WHEN n.kind = 2 THEN 1 + (SELECT count(*) FROM dentries d JOIN nodes s ON s.ino = d.ino WHERE d.parent = n.ino AND s.kind = 2) ELSE 0 END`,
		`UPDATE nodes AS n SET nlink = (SELECT count(*) FROM dentries d WHERE d.ino = n.ino) +
			CASE WHEN n.kind = 2 THEN 1 + (SELECT count(*) FROM dentries d JOIN nodes s ON s.ino = d.ino WHERE d.parent = n.ino AND s.kind = 2) ELSE 0 END
		WHERE ino = ?`,
	},
	{
		"wrong number of extended attributes", "node", "SELECT ino FROM nodes n WHERE xattrs <> (SELECT count(*) FROM xattrs x WHERE x.ino = n.ino)",
		"UPDATE nodes AS n SET xattrs = (SELECT count(*) FROM xattrs x WHERE x.ino = n.ino) WHERE ino = ?",
	},
	{
		"place without a directory", "place", "SELECT p.id FROM places p LEFT JOIN nodes n ON n.ino = p.ino WHERE n.ino IS NULL OR n.kind <> 2", "",
	},
	{
		"directory in the wrong place", "node",
		`SELECT n.ino FROM nodes n JOIN dentries d ON d.ino = n.ino LEFT JOIN nodes up ON up.ino = d.parent LEFT JOIN places p ON p.ino = n.ino
			WHERE n.kind = 2 AND n.place <> coalesce(p.id, up.place, 0)`,
		`UPDATE nodes AS n SET place = coalesce((SELECT id FROM places WHERE ino = n.ino),
			(SELECT up.place FROM dentries d JOIN nodes up ON up.ino = d.parent WHERE d.ino = n.ino), 0) WHERE ino = ?`,
	},
	{
		"binding of a name that is gone", "binding", "SELECT b.id FROM bindings b LEFT JOIN dentries d ON d.id = b.dentry WHERE b.dentry IS NOT NULL AND d.id IS NULL",
		"UPDATE bindings SET dentry = NULL WHERE id = ?",
	},
	{
		"binding below none", "binding", "SELECT b.id FROM bindings b LEFT JOIN bindings p ON p.id = b.parent AND p.leg = b.leg WHERE b.parent <> 0 AND p.id IS NULL", "",
	},
	{
		"two root bindings", "leg", "SELECT leg FROM bindings WHERE parent = 0 GROUP BY leg HAVING count(*) > 1", "",
	},
	{
		"work on nothing", "item",
		`SELECT i.id FROM items i WHERE i.status < 6 AND i.origin = 2 AND CASE WHEN i.binding IS NULL
			THEN NOT EXISTS(SELECT 1 FROM dentries d WHERE d.id = i.dentry) ELSE NOT EXISTS(SELECT 1 FROM bindings b WHERE b.id = i.binding) END`,
		"DELETE FROM items WHERE id = ?",
	},
	{
		"work of a leg that is gone", "item", "SELECT i.id FROM items i LEFT JOIN legs l ON l.id = i.leg WHERE i.status < 6 AND l.id IS NULL",
		"DELETE FROM items WHERE id = ?",
	},
	{
		"transfer of a node that is gone", "transfer", "SELECT t.id FROM transfers t LEFT JOIN nodes n ON n.ino = t.ino WHERE n.ino IS NULL",
		"DELETE FROM transfers WHERE id = ?",
	},
}

// problemsShown bounds how many cases of one rule are told: of a thing broken a million times over a few will do.
const problemsShown = 100

// Check looks for whatever in the index and the contents must not be. It changes nothing and may run beside everything
// else; it reads the whole index.
func (c *Cache) Check(ctx context.Context) ([]Problem, error) {
	var out []Problem
	err := c.Survey(func(tx *Tx) error {
		damage, err := list(tx, (*row).str, "PRAGMA integrity_check(100)")
		if err != nil {
			return err
		}
		for _, text := range damage {
			if text != "ok" {
				out = append(out, Problem{What: "damaged index", Subject: text})
			}
		}
		for _, r := range rules {
			if err := ctx.Err(); err != nil {
				return err
			}
			ids, err := list(tx, (*row).int, r.find+" LIMIT ?", problemsShown)
			if err != nil {
				return err
			}
			for _, id := range ids {
				out = append(out, Problem{r.what, fmt.Sprintf("%s %d", r.subject, id), r.mend != ""})
			}
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("check index: %w", err)
	}
	more, err := c.checkContents(ctx)
	if err != nil {
		return out, fmt.Errorf("check contents: %w", err)
	}
	return append(out, more...), nil
}

// Repair mends what Check finds and can be mended without a guess, and returns what it mended. It deletes no bytes. ErrDamaged:
// the index itself is damaged, and Rebuild has to replace it.
func (c *Cache) Repair(ctx context.Context) ([]Problem, error) {
	var mended []Problem
	if err := c.Survey(func(tx *Tx) error { return findDamage(tx.conn, "integrity_check") }); err != nil {
		return nil, fmt.Errorf("mend index: %w", err)
	}
	for _, r := range rules {
		if r.mend == "" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return mended, err
		}
		err := c.update(0, false, func(tx *Tx) error {
			ids, err := list(tx, (*row).int, r.find)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := tx.exec(r.mend, id); err != nil {
					return err
				}
				mended = append(mended, Problem{r.what, fmt.Sprintf("%s %d", r.subject, id), true})
			}
			tx.marked = len(ids) > 0
			return nil
		})
		if err != nil {
			return mended, fmt.Errorf("mend %q: %w", r.what, err)
		}
	}
	more, err := c.repairContents(ctx)
	if err != nil {
		return mended, fmt.Errorf("mend contents: %w", err)
	}
	return append(mended, more...), nil
}

// Rebuilt is what Rebuild did.
type Rebuilt struct {
	// Damaged is where the old index lies now.
	Damaged string
	// Backup is the backup that took its place; "": a new, empty index did.
	Backup string
}

// Rebuild replaces an index that cannot be opened (ErrDamaged) by its newest sound backup or, without one, by a new one.
// The damaged files are kept beside it. Files the new index does not know and no endpoint has are moved to lost+found by
// the next Open. ErrInvalid: the index is sound, there is nothing to do.
func Rebuild(ctx context.Context, opt Options) (done Rebuilt, err error) {
	opt = opt.withDefaults()
	lock, err := takeLock(opt.Dir)
	if err != nil {
		return done, fmt.Errorf("rebuild index: %w", err)
	}
	defer func() { err = joinClose(err, lock) }()
	switch err := sound(indexPath(opt.Dir)); {
	case err == nil:
		return done, fmt.Errorf("rebuild index: it is sound: %w", ErrInvalid)
	case !errors.Is(err, ErrDamaged):
		return done, fmt.Errorf("rebuild index: %w", err)
	}
	if done.Backup, err = newestSound(ctx, opt); err != nil {
		return done, fmt.Errorf("rebuild index: %w", err)
	}
	done.Damaged = fmt.Sprintf("%s.damaged-%d", indexPath(opt.Dir), opt.Clock().Unix())
	if err := replaceIndex(opt.Dir, done); err != nil {
		return done, fmt.Errorf("rebuild index: %w", err)
	}
	return done, nil
}

// newestSound picks the newest backup that can be read; "": there is none.
func newestSound(ctx context.Context, opt Options) (string, error) {
	backups, err := (&Cache{opt: opt}).backups()
	if err != nil {
		return "", err
	}
	for _, b := range slices.Backward(backups) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if sound(b) == nil {
			return b, nil
		}
	}
	return "", nil
}

// replaceIndex puts a backup, or nothing, in the place of the index. What is done for a cut after each step:
//
//  1. a marker says that contents may be unknown   Open salvages for nothing, or says ErrDamaged again
//  2. the backup is copied beside the index        as 1
//  3. the damaged index goes aside                 Open begins a new index and salvages
//  4. the copy takes its place                     Open salvages
func replaceIndex(dir string, done Rebuilt) error {
	path := indexPath(dir)
	marker, err := os.OpenFile(salvageMarker(dir), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := joinClose(marker.Sync(), marker); err != nil {
		return err
	}
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	if done.Backup != "" {
		if err := copyFile(path+".new", done.Backup); err != nil {
			return fmt.Errorf("copy backup: %w", err)
		}
	}
	for _, suffix := range []string{"-wal", "-shm", "-redo", ""} {
		if err := os.Rename(path+suffix, done.Damaged+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("put damaged index aside: %w", err)
		}
	}
	if done.Backup == "" {
		return nil
	}
	return durable.Rename(path+".new", path)
}

func salvageMarker(dir string) string { return filepath.Join(dir, "salvage") }

// recoverMarker makes the marker of replaceIndex a note in the index that is there now.
func (c *Cache) recoverMarker(context.Context) error {
	if _, err := os.Lstat(salvageMarker(c.opt.Dir)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := c.update(0, true, func(tx *Tx) error { return errors.Join(tx.Salvage(), tx.doubtContents()) }); err != nil {
		return err
	}
	if err := c.syncIndex(); err != nil {
		return err
	}
	return os.Remove(salvageMarker(c.opt.Dir))
}

// restored is what contents.boot says of bytes that may be of another version than an index that was restored believes.
const restored = "restored"

// doubtContents has all contents judged: their files may have been written to since the index was backed up. What they hold is
// on the disk.
func (tx *Tx) doubtContents() error {
	return tx.exec(`UPDATE contents SET boot=?, synced=?`, restored, int64(math.MaxInt64))
}

// sound opens a database and looks through its pages. ErrDamaged: it is not one, or not all there.
func sound(path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	conn, err := openConn(path, false)
	if err != nil {
		return err
	}
	err = findDamage(conn, "integrity_check")
	if err == nil {
		err = conn.run("SELECT max(ino) FROM nodes", nil)
	}
	return errors.Join(err, conn.close())
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // only read from
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return joinClose(err, out)
	}
	return joinClose(out.Sync(), out)
}
