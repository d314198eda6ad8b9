package cache

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Damage is a copy of a file that was read and is not what it must be, or cannot be read.
type Damage struct {
	Binding BindingID // of the copy that an endpoint has; 0: what is here
	Leg     LegID     // likewise
	Ino     Ino
	Dentry  DentryID // a name of the file
	Version uint64   // of the drive, of what is here
	Content string   // the endpoint's token, or the number of what is here
	What    string   // in words
	Found   int64    // nanoseconds since 1970
}

// The rows of damage that are still of what they were found in, with a name of the file.
const currentDamage = ` FROM damage m LEFT JOIN bindings b ON b.id = m.binding AND m.binding <> 0
	JOIN dentries d ON d.id = coalesce(b.dentry, (SELECT min(id) FROM dentries WHERE ino = m.ino AND m.binding = 0))
	WHERE (m.binding <> 0 AND CAST(b.r_content AS BLOB) = m.content
		OR m.binding = 0 AND EXISTS (SELECT 1 FROM nodes n WHERE n.ino = m.ino AND n.version = m.version AND CAST(CAST(n.content AS TEXT) AS BLOB) = m.content))`

// HereContent is the Damage.Content of what is here of a node.
func HereContent(n Node) string { return strconv.FormatInt(int64(n.Content), 10) }

// PutDamage records a damaged copy. One that an endpoint has counts as proved no more: nothing is dropped or given up because of
// it. fresh: it was not known before. A base that has moved on is left alone.
func (tx *Tx) PutDamage(d Damage) (fresh bool, err error) {
	if d.Binding != 0 {
		same, err := tx.changed("UPDATE bindings SET proof = 0, verified = 0 WHERE id = ? AND r_content = ?", d.Binding, d.Content)
		if err != nil || !same {
			return false, err
		}
	}
	known, err := tx.queryRow("SELECT 1 FROM damage WHERE binding = ? AND ino = ? AND version = ? AND content = ?", func(*row) {},
		d.Binding, d.Ino, d.Version, blob(d.Content))
	if err == nil {
		err = tx.exec("INSERT OR REPLACE INTO damage(binding, ino, version, content, what, found) VALUES(?, ?, ?, ?, ?, ?)",
			d.Binding, d.Ino, d.Version, blob(d.Content), d.What, tx.Now())
	}
	if err != nil {
		return false, fmt.Errorf("record damage: %w", err)
	}
	return !known, nil
}

// ClearDamage forgets what was found of the copy of a binding or, without one, of what is here of a node: it is good, or another.
func (tx *Tx) ClearDamage(binding BindingID, ino Ino) error {
	return tx.exec("DELETE FROM damage WHERE binding = ?1 AND (?1 <> 0 OR ino = ?2)", binding, ino)
}

// PruneDamage forgets what was found of copies that are others by now.
func (tx *Tx) PruneDamage() error {
	return tx.exec("DELETE FROM damage WHERE (binding, ino) NOT IN (SELECT m.binding, m.ino" + currentDamage + ")")
}

// Damages reads up to limit damaged copies, beginning after one.
func (tx *Tx) Damages(after Damage, limit int) ([]Damage, error) {
	return list(tx, func(r *row) Damage {
		return Damage{
			Binding: BindingID(r.int()), Leg: LegID(r.int()), Ino: Ino(r.int()), Dentry: DentryID(r.int()), Version: uint64(r.int()),
			Content: r.str(), What: r.str(), Found: r.int(),
		}
	}, "SELECT m.binding, b.leg, m.ino, d.id, m.version, m.content, m.what, m.found"+currentDamage+
		" AND (m.binding, m.ino) > (?, ?) ORDER BY m.binding, m.ino LIMIT ?", after.Binding, after.Ino, limit)
}

// CountDamage counts the damaged copies of each leg; those of leg 0 are here.
func (tx *Tx) CountDamage() (map[LegID]int64, error) {
	out := map[LegID]int64{}
	some, err := tx.queryRow("SELECT 1 FROM damage LIMIT 1", func(*row) {})
	if err != nil || !some {
		return out, err
	}
	err = tx.query("SELECT coalesce(b.leg, 0), count(*)"+currentDamage+" GROUP BY b.leg", func(r *row) {
		leg := LegID(r.int())
		out[leg] = r.int()
	})
	return out, err
}

// Reread is the BLAKE3 of what the disk has of the version, past the page cache where the system allows, whatever its hash must be.
func (s *Snapshot) Reread(ctx context.Context) (h Hash, err error) {
	if s.b != nil {
		_ = unix.Fadvise(int(s.b.file.Fd()), 0, 0, unix.FADV_DONTNEED) // then it reads what the system remembers
	}
	h, err = hashFile(s, s.node.Size, ctx.Err)
	if err == nil {
		err = s.Err()
	}
	if err != nil {
		return Hash{}, fmt.Errorf("read node %d again: %w", s.st.ino, err)
	}
	return h, nil
}

// damagedReason is why a content is in the drive's trash in whose place a good one was put.
const damagedReason = "damaged on this machine"

// Mend puts a sealed stage in the place of what is here of a version of a node and is not what it must be, but has the hash
// actual (unknown: it cannot be read). That goes to the drive's trash, where it says what it is. ErrBusy: the node is in use.
// ErrStale: it has another version or another content by now.
func (c *Cache) Mend(n Node, actual Hash, s *Stage) error {
	lease, err := c.TrySwap(n.Ino)
	if err != nil {
		return fmt.Errorf("mend: %w", err)
	}
	defer lease.Release()
	err = c.update(0, false, func(tx *Tx) error {
		now, err := tx.Node(n.Ino)
		switch {
		case err != nil:
			return err
		case now.Writing:
			return ErrBusy
		case now.Version != n.Version || now.Content != n.Content || now.Hash != s.Hash():
			return ErrStale
		}
		d, err := tx.DentryOf(n.Ino)
		if err != nil {
			return err
		}
		path, err := tx.Path(d.ID)
		if err != nil {
			return err
		}
		old, err := tx.TrashNode(n.Ino, 0, path, damagedReason)
		if err == nil {
			err = tx.exec("UPDATE trash SET hash = ? WHERE id = ?", actual, old.ID)
		}
		if err == nil {
			err = tx.FillWith(n.Ino, s)
		}
		if err == nil {
			err = tx.ClearDamage(0, n.Ino)
		}
		tx.Touched(n.Ino) // the kernel may hold pages of the damaged bytes
		return err
	})
	if err != nil {
		return fmt.Errorf("mend node %d: %w", n.Ino, err)
	}
	return nil
}

// IsDamagedHere reports whether damage was found in what was here of a node.
func (tx *Tx) IsDamagedHere(ino Ino) (bool, error) {
	return tx.queryRow("SELECT 1 FROM damage WHERE binding = 0 AND ino = ?", func(*row) {}, ino)
}

// DamagedHere are the nodes of which what is here was found to be damaged.
func (tx *Tx) DamagedHere() (map[Ino]bool, error) {
	inos, err := list(tx, (*row).int, "SELECT m.ino"+currentDamage+" AND m.binding = 0")
	out := make(map[Ino]bool, len(inos))
	for _, ino := range inos {
		out[Ino(ino)] = true
	}
	return out, err
}
