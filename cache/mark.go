package cache

import "fmt"

// legsOf is the legs joined to a place, from memory. Only the writer uses it, so the writer's lock guards it.
func (tx *Tx) legsOf(place PlaceID) ([]LegID, error) {
	if place == 0 {
		return nil, nil
	}
	w := &tx.c.writer
	if w.legs == nil {
		legs := make(map[PlaceID][]LegID)
		err := tx.query("SELECT place, id FROM legs ORDER BY id", func(r *row) {
			p := PlaceID(r.int())
			legs[p] = append(legs[p], LegID(r.int()))
		})
		if err != nil {
			return nil, err
		}
		w.legs = legs
	}
	return w.legs[place], nil
}

// legsChanged forgets which legs there are.
func (tx *Tx) legsChanged() {
	tx.c.writer.legs = nil
	tx.marked = true
}

// MarkLocal puts an item for a dentry on every leg of its place except the transaction's origin. Marks on the same
// dentry squash into one item: it says what is to be looked at, never what happened.
func (tx *Tx) MarkLocal(id DentryID) error {
	e, err := tx.Entry(id)
	if err == nil {
		err = tx.mark(e.Dentry, e.Node, 0)
	}
	if err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return nil
}

// MarkLocalOn is MarkLocal for one leg, whatever the transaction's origin: for a difference that this leg's own
// engine leaves behind, such as a base it dropped while the drive keeps the object.
func (tx *Tx) MarkLocalOn(leg LegID, id DentryID) error {
	e, err := tx.Entry(id)
	if err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	place, err := tx.PlaceOf(id)
	if err != nil || e.Node.Kind == Dir && e.Node.Place != place {
		return err
	}
	return tx.markOn([]LegID{leg}, 0, placed{e.Dentry, place, true}, e.Node, 0)
}

// mark is MarkLocal for one who has dentry and node at hand. eligible 0: at once, but not before a file's quiet
// period is over; Never: when the file is settled.
func (tx *Tx) mark(d Dentry, n Node, eligible int64) error {
	p, _, err := get(tx, (*row).int, "SELECT place FROM nodes WHERE ino = ?", d.Parent)
	if err != nil {
		return err
	}
	return tx.markAt(placed{d, PlaceID(p), true}, n, eligible)
}

// placed is a dentry with the place that it belongs to, and whether it may be bound.
type placed struct {
	Dentry
	place PlaceID
	bound bool
}

func (tx *Tx) markAt(d placed, n Node, eligible int64) error {
	if n.Kind == Dir && n.Place != d.place {
		return nil // the directory of a place belongs to no leg of the place around it
	}
	legs, err := tx.legsOf(d.place)
	if err != nil || len(legs) == 0 {
		return err
	}
	if n.Writing {
		eligible = Never
	}
	return tx.markOn(legs, tx.origin, d, n, eligible)
}

// bound is what a mark has to know of a binding.
type bound struct {
	id    BindingID
	moved bool // the name is not the one that the endpoint knows
}

func (tx *Tx) markOn(legs []LegID, except LegID, d placed, n Node, eligible int64) error {
	bindings, err := tx.bounds(d)
	if err != nil {
		return err
	}
	for _, leg := range legs {
		if leg == except {
			continue
		}
		b, ok := bindings[leg]
		switch {
		case ok && (b.moved || d.LocalOnly):
			err = tx.upsertBound(leg, b.id, d.Dentry, n, OpMove, eligible)
		case ok:
			err = tx.upsertBound(leg, b.id, d.Dentry, n, OpUpdate, eligible)
		case d.LocalOnly:
			err = tx.dropUnbound(leg, d.ID)
		default:
			err = tx.upsertUnbound(leg, d.Dentry, n, eligible)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) bounds(d placed) (map[LegID]bound, error) {
	if !d.bound {
		return nil, nil
	}
	bindings := make(map[LegID]bound)
	err := tx.query(`SELECT leg, id, l_name <> ? OR l_parent <> (SELECT id FROM dentries WHERE ino = ?) FROM bindings WHERE dentry = ?`,
		func(r *row) { bindings[LegID(r.int())] = bound{BindingID(r.int()), r.flag()} }, blob(d.Name), d.Parent, d.ID)
	return bindings, err
}

// markNew is mark for a name that was just made: it cannot be bound.
func (tx *Tx) markNew(d Dentry, n Node, place PlaceID) error {
	if n.Kind == Dir && n.Place == 0 {
		n.Place = place
	}
	if d.LocalOnly {
		return nil
	}
	return tx.markAt(placed{d, place, false}, n, 0)
}

// markNode marks every name of a node. Endpoints know no hard links, so each name is work of its own.
func (tx *Tx) markNode(ino Ino, eligible int64) error {
	n, err := tx.Node(ino)
	if err != nil {
		return err
	}
	return tx.markNames(n, eligible)
}

// markNames is markNode for one who knows kind, version, hash and place of the node, and whether it is written to.
func (tx *Tx) markNames(n Node, eligible int64) error {
	names, err := list(tx, func(r *row) placed { return placed{scanDentry(r), PlaceID(r.int()), r.flag()} },
		"SELECT "+dentryCols+`, p.place, EXISTS(SELECT 1 FROM bindings b WHERE b.dentry = d.id)
		FROM dentries d JOIN nodes p ON p.ino = d.parent WHERE d.ino = ? ORDER BY d.id`, n.Ino)
	if err != nil {
		return err
	}
	for _, d := range names {
		if err := tx.markAt(d, n, eligible); err != nil {
			return err
		}
	}
	return nil
}

// onMark is what a mark does to an open item: it is new work, whatever came of the last attempt. A mark of metadata
// (eligible 0) does not cut short the quiet period of a content. `updated` grows with every mark, so that whoever
// works on the item sees at the end that it was overtaken.
const onMark = ` DO UPDATE SET dentry = excluded.dentry, operation = excluded.operation, status = 1,
	base_version = excluded.base_version, base_hash = excluded.base_hash,
	eligible = CASE WHEN excluded.eligible = 0 AND items.status IN (1, 2) AND excluded.operation <> 3 THEN items.eligible ELSE excluded.eligible END,
	tries = 0, error = '', parked = 0, resolution = '', name = excluded.name, updated = max(excluded.updated, items.updated + 1)`

const (
	insertItem = `INSERT INTO items(leg, origin, binding, dentry, operation, status, base_version, base_hash, eligible, name, created, updated)
		VALUES(?, 2, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?) ON CONFLICT`
	upsertBoundSQL   = insertItem + "(leg, binding) WHERE origin = 2 AND binding IS NOT NULL AND status < 6" + onMark
	upsertUnboundSQL = insertItem + "(leg, dentry) WHERE origin = 2 AND binding IS NULL AND status < 6" + onMark
)

func (tx *Tx) upsertBound(leg LegID, b BindingID, d Dentry, n Node, op Operation, eligible int64) error {
	tx.marked = true
	return tx.exec(upsertBoundSQL, leg, b, orNull(d.ID), op, n.Version, n.Hash, eligible, blob(d.Name), tx.Now(), tx.Now())
}

func (tx *Tx) upsertUnbound(leg LegID, d Dentry, n Node, eligible int64) error {
	tx.marked = true
	return tx.exec(upsertUnboundSQL, leg, nil, d.ID, OpCreate, n.Version, n.Hash, eligible, blob(d.Name), tx.Now(), tx.Now())
}

// dropUnbound deletes the item of a name that no endpoint knows: created and deleted is nothing.
func (tx *Tx) dropUnbound(leg LegID, id DentryID) error {
	return tx.exec("DELETE FROM items WHERE leg = ? AND dentry = ? AND origin = 2 AND binding IS NULL AND status < 6", leg, id)
}

// MarkDelete puts a delete item for a binding whose dentry is gone, on the binding's leg.
func (tx *Tx) MarkDelete(id BindingID) error {
	b, ok, err := tx.Binding(id)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("mark delete of binding %d: %w", id, ErrNotFound)
	}
	return tx.upsertBound(b.Leg, b.ID, Dentry{Name: b.LocalName}, Node{Version: b.LocalVersion, Hash: b.Hash}, OpDelete, 0)
}

// bequeath passes the bindings of a name that is about to go to another name of its node, where they are all by which the
// bytes can still be read: a file that is not here in full has them only at the endpoint, under the name that the endpoint
// knows. What would be a deletion is a move then.
func (tx *Tx) bequeath(e Entry) error {
	if e.Node.Kind != File || e.Node.Residency == Full || e.Node.Nlink < 2 {
		return nil
	}
	all, err := tx.BindingsOf(e.ID)
	if err != nil {
		return err
	}
	for _, b := range all {
		if b.LocalVersion != e.Node.Version {
			continue // it gives other bytes
		}
		if err := tx.bequeathOne(b, e); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) bequeathOne(b Binding, e Entry) error {
	another, err := tx.queryRow(`SELECT 1 FROM dentries d JOIN bindings o ON o.dentry = d.id AND o.leg = ?3
		WHERE d.ino = ?1 AND d.id <> ?2 AND o.l_version = ?4 LIMIT 1`, func(*row) {}, e.Ino, e.ID, b.Leg, b.LocalVersion)
	if err != nil || another {
		return err
	}
	heir, ok, err := get(tx, scanDentry, "SELECT "+dentryCols+` FROM dentries d LEFT JOIN bindings o ON o.dentry = d.id AND o.leg = ?3
		WHERE d.ino = ?1 AND d.id <> ?2 ORDER BY d.local_only, o.id IS NOT NULL, d.id LIMIT 1`, e.Ino, e.ID, b.Leg)
	if err != nil || !ok {
		return err
	}
	older, bound, err := tx.BindingOfDentry(b.Leg, heir.ID)
	if err != nil {
		return err
	}
	if bound { // an older version under the heir's own name: it was replaced, by what it inherits
		if err := tx.exec("UPDATE bindings SET dentry = NULL WHERE id = ?", older.ID); err != nil {
			return err
		}
		if err := tx.MarkDelete(older.ID); err != nil {
			return err
		}
	}
	if err := tx.dropUnbound(b.Leg, heir.ID); err != nil {
		return err
	}
	if err := tx.exec("UPDATE bindings SET dentry = ? WHERE id = ?", heir.ID, b.ID); err != nil {
		return err
	}
	return tx.markOn([]LegID{b.Leg}, 0, placed{Dentry: heir, bound: true}, e.Node, 0)
}

// markGone is what the removal of a name leaves behind: bindings without a dentry and a delete item for each, except
// on the leg that removed it; of an unbound name nothing.
func (tx *Tx) markGone(d Dentry) error {
	left, err := list(tx, func(r *row) Binding {
		return Binding{ID: BindingID(r.int()), Leg: LegID(r.int()), LocalVersion: uint64(r.int()), Hash: r.hash()}
	}, "UPDATE bindings SET dentry = NULL WHERE dentry = ? RETURNING id, leg, l_version, r_hash", d.ID)
	if err != nil {
		return err
	}
	p, _, err := get(tx, (*row).int, "SELECT place FROM nodes WHERE ino = ?", d.Parent)
	if err != nil {
		return err
	}
	legs, err := tx.legsOf(PlaceID(p))
	if err != nil {
		return err
	}
	for _, leg := range legs {
		if err := tx.dropUnbound(leg, d.ID); err != nil {
			return err
		}
	}
	for _, b := range left {
		if b.Leg == tx.origin {
			continue
		}
		if err := tx.upsertBound(b.Leg, b.ID, Dentry{Name: d.Name}, Node{Version: b.LocalVersion, Hash: b.Hash}, OpDelete, 0); err != nil {
			return err
		}
	}
	return nil
}

// RederivePos is where Rederive goes on. Its zero value is the beginning.
type RederivePos struct {
	Gone   BindingID
	Dentry DentryID
	Done   bool
}

// Rederive marks what differs from a leg's base, a page of up to limit rows at a time: names without a binding,
// bindings whose local half is not what the drive has, bindings whose name is gone; with all, every name that is bound. With
// all items deleted it brings back the same work; for a new leg it is the first contact's list.
func (tx *Tx) Rederive(leg LegID, from RederivePos, limit int, all bool) (RederivePos, error) {
	gone, err := list(tx, (*row).int, "SELECT id FROM bindings WHERE leg = ? AND dentry IS NULL AND id > ? ORDER BY id LIMIT ?", leg, from.Gone, limit)
	if err != nil {
		return from, fmt.Errorf("rederive: %w", err)
	}
	for _, id := range gone {
		if err := tx.MarkDelete(BindingID(id)); err != nil {
			return from, fmt.Errorf("rederive: %w", err)
		}
		from.Gone = BindingID(id)
	}
	if len(gone) == limit {
		return from, nil
	}
	return tx.rederiveNames(leg, from, limit, all)
}

func (tx *Tx) rederiveNames(leg LegID, from RederivePos, limit int, all bool) (RederivePos, error) {
	ids, last, err := tx.Differing(leg, from.Dentry, limit, all)
	if err != nil {
		return from, fmt.Errorf("rederive: %w", err)
	}
	for _, id := range ids {
		if err := tx.MarkLocalOn(leg, id); err != nil {
			return from, fmt.Errorf("rederive: %w", err)
		}
	}
	if from.Done = last == 0; !from.Done {
		from.Dentry = last
	}
	return from, nil
}

// Differing reads the next limit names of the drive in the order of their ids, beginning after one, and returns those of a leg's
// place that are not known to be as its base says, or all that are bound, too. last is where the next page begins; 0: there is none.
func (tx *Tx) Differing(leg LegID, after DentryID, limit int, all bool) (ids []DentryID, last DentryID, err error) {
	read := 0
	// One pass over the dentries by id. The whole drive is read, whatever part of it the place is: this is the
	// repair, not the cycle.
	err = tx.query(`
		SELECT d.id, p.place = l.place AND (n.kind <> 2 OR n.place = l.place) AND CASE WHEN b.id IS NULL THEN NOT d.local_only
			ELSE ?4 OR d.local_only OR n.writing OR b.kind <> n.kind OR b.l_name <> d.name OR b.l_parent <> (SELECT id FROM dentries WHERE ino = d.parent)
				OR b.l_version <> n.version OR b.l_mode <> n.mode OR (n.kind <> 2 AND b.l_mtime <> n.mtime) END
		FROM dentries d JOIN legs l ON l.id = ?1 JOIN nodes n ON n.ino = d.ino JOIN nodes p ON p.ino = d.parent
		LEFT JOIN bindings b ON b.dentry = d.id AND b.leg = l.id
		WHERE d.id > ?2 ORDER BY d.id LIMIT ?3`, func(r *row) {
		read++
		if last = DentryID(r.int()); r.flag() {
			ids = append(ids, last)
		}
	}, leg, after, limit, all)
	if read < limit {
		last = 0
	}
	return ids, last, err
}
