package cache

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10 // XATTR_SIZE_MAX
	maxXattrs     = 1000     // a node's names must fit the kernel's list of 64 KiB
)

func joinClose(err error, c io.Closer) error { return errors.Join(err, c.Close()) }

// GetXattr reads an extended attribute; ErrNoAttr: the node has none of that name.
func (c *Cache) GetXattr(ino Ino, name string) ([]byte, error) {
	var v []byte
	err := c.read(func(tx *Tx) error {
		ok, err := tx.queryRow("SELECT value FROM xattrs WHERE ino = ? AND name = ?", func(r *row) { v = r.bytes() }, ino, blob(name))
		if err == nil && !ok {
			err = ErrNoAttr
		}
		return err
	})
	return v, err
}

// SetXattr writes an extended attribute. flags are unix.XATTR_CREATE (ErrExists) and unix.XATTR_REPLACE (ErrNoAttr).
func (c *Cache) SetXattr(ino Ino, name string, value []byte, flags uint32) error {
	if name == "" || len(name) > maxXattrName || strings.Contains(name, "\x00") || len(value) > maxXattrValue {
		return fmt.Errorf("set attribute %q of %d bytes: %w", name, len(value), ErrInvalid)
	}
	err := c.update(0, true, func(tx *Tx) error {
		if err := tx.mayChange(ino); err != nil {
			return err
		}
		n, err := tx.Node(ino)
		if err != nil {
			return err
		}
		has, err := tx.queryRow("SELECT 1 FROM xattrs WHERE ino = ? AND name = ?", func(*row) {}, ino, blob(name))
		switch {
		case err != nil:
			return err
		case has && flags&unix.XATTR_CREATE != 0:
			return ErrExists
		case !has && flags&unix.XATTR_REPLACE != 0:
			return ErrNoAttr
		case !has && n.Xattrs >= maxXattrs:
			return ErrNoSpace
		}
		if value == nil {
			value = []byte{}
		}
		if err := tx.exec("INSERT OR REPLACE INTO xattrs(ino, name, value) VALUES(?, ?, ?)", ino, blob(name), value); err != nil {
			return err
		}
		return tx.countXattrs(ino, !has, 1)
	})
	if err != nil {
		return fmt.Errorf("set attribute %q: %w", name, err)
	}
	return nil
}

func (tx *Tx) countXattrs(ino Ino, changed bool, by int) error {
	if !changed {
		by = 0
	}
	return tx.exec("UPDATE nodes SET xattrs = xattrs + ?, ctime = max(ctime, ?) WHERE ino = ?", by, tx.Now(), ino)
}

// ListXattr reads the names of a node's extended attributes.
func (c *Cache) ListXattr(ino Ino) ([]string, error) {
	var names []string
	err := c.read(func(tx *Tx) (err error) {
		names, err = list(tx, (*row).str, "SELECT name FROM xattrs WHERE ino = ? ORDER BY name", ino)
		return err
	})
	return names, err
}

// RemoveXattr deletes an extended attribute.
func (c *Cache) RemoveXattr(ino Ino, name string) error {
	err := c.update(0, true, func(tx *Tx) error {
		if err := tx.mayChange(ino); err != nil {
			return err
		}
		had, err := tx.changed("DELETE FROM xattrs WHERE ino = ? AND name = ?", ino, blob(name))
		if err == nil && !had {
			err = ErrNoAttr
		}
		if err != nil {
			return err
		}
		return tx.countXattrs(ino, true, -1)
	})
	if err != nil {
		return fmt.Errorf("remove attribute %q: %w", name, err)
	}
	return nil
}
