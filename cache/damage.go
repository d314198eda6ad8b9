package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// An index is looked through when it is opened: a small one each time, with all its cross-references, a larger one
// once in each boot, for its structure only. A check reads some hundred megabytes a second.
const (
	checkEachTime = 16 << 20
	checkEachBoot = 256 << 20
)

// checkPages refuses a damaged index (ErrDamaged) before anything is built on it.
func (c *Cache) checkPages() error {
	info, err := os.Stat(indexPath(c.opt.Dir))
	if err != nil {
		return err
	}
	boot, err := bootOf(c.opt.Dir)
	if err != nil {
		return err
	}
	marker := filepath.Join(c.opt.Dir, "boot")
	seen, err := os.ReadFile(marker)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	checked := string(seen) == boot
	switch size := info.Size(); {
	case size <= checkEachTime:
		err = findDamage(c.writer.conn, "integrity_check")
	case size <= checkEachBoot && !checked:
		err = findDamage(c.writer.conn, "quick_check")
	default:
		return nil
	}
	if err != nil || checked {
		return err
	}
	if err := os.WriteFile(marker, []byte(boot), 0o600); err != nil {
		c.log.Warn("the index will be checked again at the next start", "error", err)
	}
	return nil
}

// findDamage runs one of SQLite's checks. ErrDamaged tells what it found first.
func findDamage(conn *conn, check string) error {
	var found []string
	if err := conn.run("PRAGMA "+check+"(1)", func(r *row) { found = append(found, r.str()) }); err != nil {
		return err
	}
	if len(found) == 1 && found[0] == "ok" {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(strings.Fields(strings.Join(found, " ")), " "))
}
