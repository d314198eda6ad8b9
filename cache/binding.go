package cache

import (
	"fmt"
	"slices"
)

const bindingCols = `b.id, b.leg, b.dentry, b.remote_id, b.ident, b.parent, b.remote_name, b.kind, b.r_tag, b.r_content, b.r_hash, b.r_size, b.r_mtime,
	b.r_mode, b.r_target, b.l_parent, b.l_name, b.l_version, b.l_mtime, b.l_mode, b.proof, b.verified, b.listed, b.releasing`

func scanBinding(r *row) Binding {
	return Binding{
		ID: BindingID(r.int()), Leg: LegID(r.int()), Dentry: DentryID(r.int()), RemoteID: r.str(), Ident: r.str(), Parent: BindingID(r.int()),
		RemoteName: r.str(), Kind: Kind(r.int()), Tag: r.str(), Content: r.str(), Hash: r.hash(), Size: r.int(), Mtime: r.int(),
		Mode: uint32(r.int()), Target: r.str(), LocalParent: DentryID(r.int()), LocalName: r.str(), LocalVersion: uint64(r.int()),
		LocalMtime: r.int(), LocalMode: uint32(r.int()), Proof: int(r.int()), Verified: r.int(), Listed: r.flag(), Releasing: r.flag(),
	}
}

func (tx *Tx) binding(where string, args ...any) (Binding, bool, error) {
	return get(tx, scanBinding, "SELECT "+bindingCols+" FROM bindings b WHERE "+where, args...)
}

// Binding reads a binding; false: there is none. So for its siblings below.
func (tx *Tx) Binding(id BindingID) (Binding, bool, error) { return tx.binding("b.id = ?", id) }

// BindingOfDentry finds what a dentry is bound to on a leg.
func (tx *Tx) BindingOfDentry(leg LegID, id DentryID) (Binding, bool, error) {
	return tx.binding("b.dentry = ? AND b.leg = ?", id, leg)
}

// BindingOfRemote finds the binding of an endpoint's object.
func (tx *Tx) BindingOfRemote(leg LegID, remoteID string) (Binding, bool, error) {
	return tx.binding("b.leg = ? AND b.remote_id = ?", leg, remoteID)
}

// BindingAt finds by the base's names at the endpoint; the oldest where a name was bound twice in turn.
func (tx *Tx) BindingAt(parent BindingID, remoteName string) (Binding, bool, error) {
	return tx.binding("b.parent = ? AND b.remote_name = ? ORDER BY b.id LIMIT 1", parent, blob(remoteName))
}

// BindingByIdent finds by the endpoint's fingerprint of an object.
func (tx *Tx) BindingByIdent(leg LegID, ident string) (Binding, bool, error) {
	if ident == "" {
		return Binding{}, false, nil
	}
	return tx.binding("b.leg = ? AND b.ident = ? AND b.ident <> '' ORDER BY b.id LIMIT 1", leg, ident)
}

// RootBinding is the binding of a leg's root with its place's directory.
func (tx *Tx) RootBinding(leg LegID) (Binding, bool, error) {
	return tx.binding("b.parent = 0 AND b.leg = ?", leg)
}

// BindingChildren reads up to limit bindings below a directory's, in the order of their names at the endpoint, beginning
// after a name; "" begins at the first. A name bound twice comes twice and is never split over two pages: the page may
// be longer by that.
func (tx *Tx) BindingChildren(parent BindingID, after string, limit int) ([]Binding, error) {
	return childrenPage(tx, bindingCols, scanBinding, func(b Binding) string { return b.RemoteName }, parent, after, limit)
}

// BaseChildren is BindingChildren for who wants no more than what the base says of the endpoint's side, and no tags: of many
// that is cheaper.
func (tx *Tx) BaseChildren(leg LegID, dir string, parent BindingID, after string, limit int) ([]Observed, error) {
	const cols = "b.remote_id, b.ident, b.remote_name, b.kind, b.r_content, b.r_hash, b.r_size, b.r_mtime, b.r_mode, b.r_target"
	scan := func(r *row) Observed {
		return Observed{
			Leg: leg, Parent: dir, RemoteID: r.str(), Ident: r.str(), Name: r.str(), Kind: Kind(r.int()), Content: r.str(), Hash: r.hash(),
			Size: r.int(), Mtime: r.int(), Mode: uint32(r.int()), Target: r.str(),
		}
	}
	return childrenPage(tx, cols, scan, func(o Observed) string { return o.Name }, parent, after, limit)
}

func childrenPage[T any](tx *Tx, cols string, scan func(*row) T, name func(T) string, parent BindingID, after string, limit int) ([]T, error) {
	page, err := list(tx, scan, "SELECT "+cols+" FROM bindings b WHERE b.parent = ? AND b.remote_name > ? ORDER BY b.remote_name, b.id LIMIT ?", parent, blob(after), limit)
	if err != nil || len(page) < limit || limit == 0 {
		return page, err
	}
	last := name(page[len(page)-1])
	for len(page) > 0 && name(page[len(page)-1]) == last {
		page = page[:len(page)-1]
	}
	rest, err := list(tx, scan, "SELECT "+cols+" FROM bindings b WHERE b.parent = ? AND b.remote_name = ? ORDER BY b.id", parent, blob(last))
	return append(page, rest...), err
}

// BindingsOf reads the bindings of a dentry on all legs.
func (tx *Tx) BindingsOf(id DentryID) ([]Binding, error) {
	return list(tx, scanBinding, "SELECT "+bindingCols+" FROM bindings b WHERE b.dentry = ? ORDER BY b.leg", id)
}

// BindingsPage reads up to limit bindings of a leg in the order of their ids.
func (tx *Tx) BindingsPage(leg LegID, after BindingID, limit int) ([]Binding, error) {
	return list(tx, scanBinding, "SELECT "+bindingCols+" FROM bindings b WHERE b.id > ? AND +b.leg = ? ORDER BY b.id LIMIT ?", after, leg, limit)
}

// UnlistedBindings reads up to limit directories of a leg whose children at the endpoint are not known.
func (tx *Tx) UnlistedBindings(leg LegID, after BindingID, limit int) ([]Binding, error) {
	return list(tx, scanBinding, "SELECT "+bindingCols+" FROM bindings b WHERE b.leg = ? AND b.listed = 0 AND b.id > ? ORDER BY b.id LIMIT ?", leg, after, limit)
}

// PutBinding writes a binding; with ID 0 it is new and gets one. A remote id or a dentry that the leg has bound elsewhere
// is ErrExists. The open item that the dentry had while it was unbound becomes the binding's.
func (tx *Tx) PutBinding(b *Binding) error {
	var err error
	if b.ID == 0 {
		var id int64
		id, err = tx.insert(`INSERT INTO bindings(leg, dentry, remote_id, ident, parent, remote_name, kind, r_tag, r_content, r_hash, r_size, r_mtime, r_mode,
			r_target, l_parent, l_name, l_version, l_mtime, l_mode, proof, verified, listed, releasing, born)
			VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,`+bornNow+`)`, slices.Concat([]any{b.Leg}, bindingArgs(b), []any{b.Leg, orNull(b.Dentry)})...)
		b.ID = BindingID(id)
	} else {
		var ok bool
		ok, err = tx.changed(`UPDATE bindings SET dentry=?, remote_id=?, ident=?, parent=?, remote_name=?, kind=?, r_tag=?, r_content=?, r_hash=?, r_size=?,
			r_mtime=?, r_mode=?, r_target=?, l_parent=?, l_name=?, l_version=?, l_mtime=?, l_mode=?, proof=?, verified=?, listed=?, releasing=?
			WHERE id=?`, append(bindingArgs(b), b.ID)...)
		if err == nil && !ok {
			err = ErrNotFound
		}
	}
	if isUnique(err) {
		err = fmt.Errorf("remote %q, dentry %d: %w", b.RemoteID, b.Dentry, ErrExists)
	}
	if err == nil && b.Dentry != 0 {
		err = tx.rekey(b)
	}
	if err != nil {
		return fmt.Errorf("put binding: %w", err)
	}
	return nil
}

// bornNow is when the node of a new binding came into the drive. What a first contact finds was there before.
const bornNow = `CASE WHEN (SELECT contact FROM legs WHERE id = ?)
	THEN coalesce((SELECT n.btime FROM dentries d JOIN nodes n ON n.ino = d.ino WHERE d.id = ?), 0) ELSE 0 END`

// Born is when what a binding is of came into the drive, in nanoseconds since 1970; 0: that is not known, or was written down.
func (tx *Tx) Born(id BindingID) (int64, error) {
	born, _, err := get(tx, (*row).int, "SELECT born FROM bindings WHERE id = ?", id)
	return born, err
}

func bindingArgs(b *Binding) []any {
	var target any
	if b.Kind == Symlink {
		target = blob(b.Target)
	}
	return []any{
		orNull(b.Dentry), b.RemoteID, b.Ident, b.Parent, blob(b.RemoteName), b.Kind, b.Tag, b.Content, b.Hash, b.Size, b.Mtime, b.Mode, target,
		b.LocalParent, blob(b.LocalName), b.LocalVersion, b.LocalMtime, b.LocalMode, b.Proof, b.Verified, b.Listed, b.Releasing,
	}
}

// rekey hands the item of a dentry that was unbound to its binding. If the binding has one of its own, that one stands for
// both and is new work.
func (tx *Tx) rekey(b *Binding) error {
	id, ok, err := get(tx, (*row).int, "SELECT id FROM items WHERE leg=? AND dentry=? AND origin=2 AND binding IS NULL AND status<6", b.Leg, b.Dentry)
	if err != nil || !ok {
		return err
	}
	tx.marked = true
	both, err := tx.changed(`UPDATE items SET status=1, dentry=?, tries=0, error='', parked=0, updated=max(?, updated+1),
		eligible=(SELECT max(eligible) FROM items o WHERE o.id IN (?, items.id))
		WHERE leg=? AND binding=? AND origin=2 AND status<6`, b.Dentry, tx.Now(), id, b.Leg, b.ID)
	if err != nil {
		return err
	}
	if both {
		return tx.exec("DELETE FROM items WHERE id = ?", id)
	}
	return tx.exec("UPDATE items SET binding=? WHERE id=?", b.ID, id)
}

// NoParent is the parent of a binding whose directory's binding was dropped before its own. (0 is the root's.)
const NoParent BindingID = -1

// DeleteBinding forgets what was agreed on an object, and the open work on it. If the dentry stays, MarkLocalOn makes it
// new work. Bindings below are left without a parent.
func (tx *Tx) DeleteBinding(id BindingID) error {
	leg, ok, err := get(tx, (*row).int, "DELETE FROM bindings WHERE id = ? RETURNING leg", id)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err == nil {
		err = tx.exec("DELETE FROM items WHERE leg = ? AND binding = ? AND origin = 2 AND status < 6", leg, id)
	}
	if err == nil {
		err = tx.exec("UPDATE bindings SET parent = ? WHERE parent = ?", NoParent, id)
	}
	if err != nil {
		return fmt.Errorf("delete binding %d: %w", id, err)
	}
	return nil
}
