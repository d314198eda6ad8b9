package cache

import "fmt"

// A name whose own intent is Excluded is hidden: Lookup, ReadDir, Rename and the removals do not find it, and whoever wants
// to give its name to something else is told that it is taken. It stays in the index with its bindings, so that what the
// mount does not show is never taken for deleted, and changes at the endpoints go on being applied to it. A directory with
// hidden names in it is not empty.

// Hidden tells whether the mount does not show a name.
func (d Dentry) Hidden() bool { return d.Intent == Excluded }

// Find is Lookup for people who look for what is hidden, too.
func (c *Cache) Find(parent Ino, name string) (Entry, error) {
	return c.lookup(parent, name, (*Tx).anyEntry)
}

// Hides tells whether a name is taken by what is hidden.
func (c *Cache) Hides(parent Ino, name string) (bool, error) {
	var d Dentry
	err := c.read(func(tx *Tx) (err error) {
		d, _, err = tx.DentryAt(parent, name)
		return err
	})
	return d.Hidden(), err
}

// turn changes whether a name is shown. Its directory looks changed to the kernel, by its ctime, but for everybody else it has
// the same names as before.
func (tx *Tx) turn(d Dentry, n Node) error {
	if d.Parent == 0 {
		return fmt.Errorf("the root directory: %w", ErrBusy)
	}
	if root, err := tx.isPlaceRoot(n.Ino); err != nil {
		return err
	} else if root {
		return fmt.Errorf("directory %q is a place: %w", d.Name, ErrBusy)
	}
	if err := tx.exec("UPDATE nodes SET ctime=max(ctime+1, ?) WHERE ino=?", tx.Now(), d.Parent); err != nil {
		return err
	}
	tx.publish(Change{Ino: d.Parent, Parent: d.Parent, Name: d.Name})
	return nil
}
