package syncer

import (
	"errors"
	"fmt"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// Modes of what an endpoint that keeps no permissions gives.
const (
	defaultFileMode = 0o644
	defaultDirMode  = 0o755
)

// apply carries out one operation on the drive or the base, in the step's transaction.
func (t *step) apply(op plan.Op) error {
	t.dirs.forget(op)
	if op.Kind != plan.OpCreateLocal {
		t.forgetRules()
	}
	switch op.Kind {
	case plan.OpCreateLocal:
		return t.createLocal(op)
	case plan.OpRestoreLocal:
		return t.restoreLocal(op)
	case plan.OpUpdateLocal:
		return t.updateLocal(op)
	case plan.OpSplitLoser:
		return t.splitLoser(op)
	case plan.OpMoveLocal:
		return t.moveLocal(op)
	case plan.OpSetLocalMeta:
		return t.setLocalMeta(op)
	case plan.OpDeleteLocal:
		return t.deleteLocal(op)
	case plan.OpRenameAside:
		return t.renameAside(op)
	case plan.OpParkLocal:
		e, err := t.entry(op.Dentry)
		if err != nil {
			return err
		}
		return t.tx.MoveDentry(e.ID, e.Parent, t.l.parkName(fmt.Sprint(e.ID)))
	case plan.OpBind, plan.OpAgree, plan.OpDisown, plan.OpRebindRemote, plan.OpRebindLocal, plan.OpMarkRelease:
		return t.putAfter(op)
	case plan.OpUnbind:
		return t.unbind(op)
	}
	return fmt.Errorf("%v is not for the drive", op.Kind)
}

func (t *step) entry(d plan.DentryID) (cache.Entry, error) { return t.tx.Entry(cache.DentryID(d)) }

// directory is the node of a bound directory in the drive.
func (t *step) directory(b plan.BindingID) (cache.Ino, error) {
	p, ok, err := t.tx.Binding(cache.BindingID(b))
	if err != nil {
		return 0, err
	}
	if !ok || p.Dentry == 0 {
		return 0, fmt.Errorf("directory of binding %d: %w", b, cache.ErrNotFound)
	}
	d, err := t.tx.Dentry(p.Dentry)
	return d.Ino, err
}

// save writes a binding as the planner wants it, with the tokens of the object
// as last observed, and forgets the observed row if nothing of it is left to do.
func (t *step) save(id cache.BindingID, a plan.Binding) (cache.Binding, error) {
	return t.saveAs(id, a, func(*cache.Binding) {})
}

// saveAs is save for who knows more of the object.
func (t *step) saveAs(id cache.BindingID, a plan.Binding, more func(*cache.Binding)) (cache.Binding, error) {
	var b, old cache.Binding
	if id != 0 {
		var ok bool
		var err error
		if old, ok, err = t.tx.Binding(id); err != nil || !ok {
			return b, errors.Join(err, fmt.Errorf("binding %d is gone", id))
		}
		b = old
	} else {
		b.Listed = a.Kind != plan.Dir
	}
	if b.Content != a.RemoteContent || tokenHash(a.RemoteHash) != b.Hash {
		b.Proof, b.Verified = 0, 0
	}
	b.ID, b.Leg, b.Dentry, b.RemoteID, b.Parent = id, t.l.id, cache.DentryID(a.Dentry), string(a.Remote), cache.BindingID(a.Parent)
	b.RemoteName, b.Kind, b.Content, b.Hash, b.Size = a.RemoteName, cache.Kind(a.Kind), a.RemoteContent, tokenHash(a.RemoteHash), a.RemoteSize
	b.Mtime, b.Mode, b.Target = a.RemoteMeta.Mtime, a.RemoteMeta.Mode, a.RemoteMeta.Target
	b.Releasing = a.Releasing
	b.LocalName, b.LocalVersion, b.LocalMtime, b.LocalMode = a.LocalName, a.LocalVersion, a.LocalMeta.Mtime, a.LocalMeta.Mode
	if b.Parent == 0 { // which to the planner is no directory, and here would be the root's
		b.Parent = cache.NoParent
	}
	if p, ok, err := t.tx.Binding(b.Parent); err != nil {
		return b, err
	} else if ok {
		b.LocalParent = p.Dentry
	}
	if o, ok, err := t.tx.Observed(t.l.id, b.RemoteID); err != nil {
		return b, err
	} else if ok && !o.Gone && o.Content == b.Content {
		b.Tag, b.Ident = o.Tag, o.Ident
	}
	more(&b)
	if old.Content != b.Content {
		if err := t.noteBirth(old); err != nil {
			return b, err
		}
	}
	if err := t.noteMove(old, b); err != nil {
		return b, err
	}
	if err := errors.Join(t.tx.PutBinding(&b), t.touch(b.ID)); err != nil {
		return b, err
	}
	if id == 0 && releases(t.rules) && b.Dentry != 0 {
		if err := t.tx.EnsureItem(t.l.id, b.ID, b.Dentry); err != nil { // it is to be released
			return b, err
		}
	}
	return b, t.clear(b.RemoteID)
}

func (t *step) putAfter(op plan.Op) error {
	if op.Kind == plan.OpRebindLocal {
		if err := t.inheritIntent(op); err != nil {
			return err
		}
	}
	_, err := t.save(cache.BindingID(op.Binding), op.After)
	return err
}

// inheritIntent lets a pin stay with the name when another dentry takes it over.
func (t *step) inheritIntent(op plan.Op) error {
	old, ok, err := t.tx.Binding(cache.BindingID(op.Binding))
	if err != nil || !ok || old.Dentry == 0 || old.Dentry == cache.DentryID(op.Dentry) {
		return err
	}
	from, err := t.tx.Dentry(old.Dentry)
	if errors.Is(err, cache.ErrNotFound) || err == nil && from.Intent == cache.Inherited {
		return nil
	}
	if err != nil {
		return err
	}
	to, err := t.tx.Dentry(cache.DentryID(op.Dentry))
	if err != nil || to.Intent != cache.Inherited {
		return err
	}
	return t.tx.SetIntent(to.ID, from.Intent)
}

// placeholder is a node for an object of the endpoint, without bytes.
func (t *step) placeholder(o cache.Observed, m plan.Meta) cache.Node {
	now := t.tx.Now()
	n := cache.Node{
		Kind: o.Kind, UID: t.l.e.UID, GID: t.l.e.GID, Size: o.Size, Target: o.Target, Hash: o.Hash,
		Atime: now, Mtime: now, Ctime: now, Btime: now, Listing: cache.Listed, Mode: defaultFileMode,
	}
	switch o.Kind {
	case cache.Dir:
		n.Mode, n.Listing, n.Place = defaultDirMode, cache.Unlisted, t.l.place
	case cache.Symlink:
		n.Mode = 0o777
	}
	if n.Size == 0 || n.Kind != cache.File {
		n.Residency = cache.Full
	}
	t.setMeta(&n, m)
	if at, told := t.l.mtimeOf(o); told {
		n.Mtime, n.Atime = at, at
	}
	return n
}

// mtimeOf is the time that an endpoint tells of an object; false: it tells none. Where times can be set, 0 is one, too.
func (l *leg) mtimeOf(o cache.Observed) (at int64, told bool) {
	return o.Mtime, o.Mtime != 0 || o.Kind == cache.File && l.caps.MtimeGrain > 0
}

// setMeta gives n what the endpoint can keep of m, and leaves the rest as it is.
func (t *step) setMeta(n *cache.Node, m plan.Meta) {
	have := t.l.keep(remote.KnownMode(n.Mode), n.Mtime, "")
	if n.Kind != cache.Symlink && m.Mode != 0 && have.Mode != m.Mode {
		if t.l.caps.Perm == remote.PermFull {
			n.Mode = n.Mode&^0o777 | m.Mode&0o777
		} else if m.Mode&0o100 != 0 {
			n.Mode |= n.Mode & 0o444 >> 2
		} else {
			n.Mode &^= 0o111
		}
	}
	if n.Kind == cache.File && have.Mtime != m.Mtime {
		n.Mtime = m.Mtime
	}
}

// observed is the object as last seen; it must exist.
func (t *step) observed(id plan.RemoteID) (cache.Observed, error) {
	o, err := t.l.object(t.tx, string(id))
	if err != nil {
		return cache.Observed{}, err
	}
	if o == nil || o.Gone {
		return cache.Observed{}, fmt.Errorf("object %s: %w", id, cache.ErrNotFound)
	}
	return *o, nil
}

func (t *step) createLocal(op plan.Op) error {
	o, err := t.observed(op.Remote)
	if err != nil {
		return err
	}
	t.met.winner, err = t.make(op, t.placeholder(o, op.Meta), 0)
	return err
}

// make puts a new node where an operation wants it, and binds it.
func (t *step) make(op plan.Op, n cache.Node, id cache.BindingID) (cache.DentryID, error) {
	dir, name, err := t.destination(op)
	if err != nil {
		return 0, err
	}
	ino, err := t.tx.InsertNode(n)
	if err != nil {
		return 0, err
	}
	d, err := t.tx.InsertDentry(dir, name, ino)
	if err != nil {
		return 0, err
	}
	op.After.Dentry, op.After.LocalName = plan.DentryID(d), name
	return d, t.finish(id, op, ino)
}

// destination is where an operation of the drive puts its object: the directory, and the name or a conflict name made from it.
func (t *step) destination(op plan.Op) (dir cache.Ino, name string, err error) {
	if dir, err = t.directory(op.Parent); err != nil || !op.Aside {
		return dir, op.Name, err
	}
	name, err = t.otherName(dir, op)
	return dir, name, err
}

// finish saves a binding whose local half is the node as it is now.
func (t *step) finish(id cache.BindingID, op plan.Op, ino cache.Ino) error {
	n, err := t.tx.Node(ino)
	if err != nil {
		return err
	}
	a := op.After
	a.LocalVersion, a.LocalMeta = n.Version, t.agreedMeta(op, n)
	_, err = t.save(id, a)
	return err
}

// agreedMeta are the metadata of a node as they are now, but for those that only the drive has changed: they are not agreed
// because something else was, and stay to be sent.
func (t *step) agreedMeta(op plan.Op, n cache.Node) plan.Meta {
	m, base := t.l.keep(remote.KnownMode(n.Mode), n.Mtime, n.Target), op.After.LocalMeta
	if base.Mode != op.Meta.Mode {
		m.Mode = base.Mode
	}
	if base.Mtime != op.Meta.Mtime {
		m.Mtime = base.Mtime
	}
	return m
}

func (t *step) restoreLocal(op plan.Op) error {
	o, err := t.observed(op.Remote)
	if err != nil {
		return err
	}
	n := t.placeholder(o, op.Meta)
	n.Listing = cache.Listed // its children were known before it went
	t.met.winner, err = t.make(op, n, cache.BindingID(op.Binding))
	return err
}

// updateLocal gives a dentry the endpoint's content. A node in use, or one that
// other names show, is left to them: the dentry gets a new node.
func (t *step) updateLocal(op plan.Op) error {
	o, err := t.observed(op.Remote)
	if err != nil {
		return err
	}
	e, err := t.entry(op.Dentry)
	if err != nil {
		return err
	}
	use := t.tx.Exclude(e.Ino)
	if use.Writers > 0 {
		return errHeldOpen
	}
	if op.Trash {
		t.met = parties{winner: e.ID, ours: ofNode(t.l.e.Device, e.Node)}
		if err := t.keepLoser(e, "replaced by another version"); err != nil {
			return err
		}
	}
	if e.Node.Kind == cache.Symlink || use.Readers > 0 || e.Node.Nlink > 1 {
		if e.Ino, err = t.replaceNode(e, o, op.Meta); err != nil {
			return err
		}
	} else if err := t.replaceContent(e.Node, o, op.Meta); err != nil {
		return err
	}
	return t.finish(cache.BindingID(op.Binding), op, e.Ino)
}

// replaceContent gives a node, which nobody uses, the endpoint's version: what was fetched of it, else a placeholder.
func (t *step) replaceContent(n cache.Node, o cache.Observed, m plan.Meta) error {
	mtime := n.Mtime
	if at, told := t.l.mtimeOf(o); told {
		mtime = at
	}
	if err := t.tx.ReplaceContent(n.Ino, o.Size, mtime, o.Hash); err != nil {
		return err
	}
	if err := t.fill(n.Ino, o); err != nil {
		return err
	}
	n, err := t.tx.Node(n.Ino)
	if err != nil {
		return err
	}
	before := n
	if t.setMeta(&n, m); n.Mode == before.Mode && n.Mtime == before.Mtime {
		return nil
	}
	return t.tx.UpdateNode(n)
}

// replaceNode gives the dentry a new node with the endpoint's version. Old handles keep the old node.
func (t *step) replaceNode(e cache.Entry, o cache.Observed, m plan.Meta) (cache.Ino, error) {
	n := t.placeholder(o, m)
	n.UID, n.GID = e.Node.UID, e.Node.GID
	if t.l.caps.Perm == remote.PermNone {
		n.Mode = e.Node.Mode
	}
	n.Version = e.Node.Version + 1
	ino, err := t.tx.InsertNode(n)
	if err == nil {
		err = t.fill(ino, o)
	}
	if err != nil {
		return 0, err
	}
	return ino, t.tx.SetDentryNode(e.ID, ino)
}

// fill gives a node that was just given a version what was fetched of that.
func (t *step) fill(ino cache.Ino, o cache.Observed) error {
	s := t.l.fetches.ready(o)
	if s == nil {
		return nil
	}
	if err := t.tx.FillWith(ino, s); err != nil {
		return err
	}
	return t.tellRefreshed(o)
}

// splitLoser keeps both versions: the name stays with the endpoint's, the
// drive's goes on under a conflict name and is sent as a new file.
func (t *step) splitLoser(op plan.Op) error {
	o, err := t.observed(op.Remote)
	if err != nil {
		return err
	}
	e, err := t.entry(op.Dentry)
	if err != nil {
		return err
	}
	if e.Node.Kind == cache.File && t.tx.Exclude(e.Ino).Writers > 0 {
		return errHeldOpen
	}
	name, err := t.conflictName(e.Parent, op.Name)
	if err != nil {
		return err
	}
	loser, err := t.tx.InsertDentry(e.Parent, name, e.Ino)
	if err != nil {
		return err
	}
	ino, err := t.replaceNode(e, o, op.Meta)
	if err != nil {
		return err
	}
	if err := t.finish(cache.BindingID(op.Binding), op, ino); err != nil {
		return err
	}
	t.met = parties{winner: e.ID, aside: loser}
	return t.tx.EnsureItem(t.l.id, 0, loser)
}

func (t *step) moveLocal(op plan.Op) error {
	dir, name, err := t.destination(op)
	if err != nil {
		return err
	}
	if err := t.tx.MoveDentry(cache.DentryID(op.Dentry), dir, name); err != nil {
		return err
	}
	a := op.After
	a.LocalName = name
	t.met.winner = cache.DentryID(op.Dentry)
	_, err = t.save(cache.BindingID(op.Binding), a)
	return err
}

func (t *step) setLocalMeta(op plan.Op) error {
	e, err := t.entry(op.Dentry)
	if err != nil {
		return err
	}
	n := e.Node
	t.setMeta(&n, op.Meta)
	n.Ctime = t.tx.Now()
	if err := t.tx.UpdateNode(n); err != nil {
		return err
	}
	a := op.After
	a.LocalMeta = t.agreedMeta(op, n)
	_, err = t.save(cache.BindingID(op.Binding), a)
	return err
}

// deletedThere is why a version is in the drive's trash that was deleted elsewhere.
const deletedThere = "deleted at the endpoint"

// deleteLocal removes what was deleted at the endpoint. Bytes that are here in
// full are the last that vdfs can reach: they go to the drive's trash.
func (t *step) deleteLocal(op plan.Op) error {
	e, err := t.entry(op.Dentry)
	if err != nil {
		return err
	}
	if e.Node.Kind == cache.File && t.tx.Exclude(e.Ino).Writers > 0 {
		return errHeldOpen
	}
	if e.Node.Kind == cache.Dir && e.Node.Listing != cache.Listed {
		if err := t.tx.SetListing(e.Ino, cache.Listed); err != nil {
			return err
		}
	}
	if op.Trash {
		t.met = parties{ours: ofNode(t.l.e.Device, e.Node)}
		if t.met.path, err = t.tx.Path(e.ID); err != nil {
			return err
		}
	}
	if err := t.keepLoser(e, deletedThere); err != nil {
		return err
	}
	var remote string
	if op.Binding != 0 {
		b, ok, err := t.tx.Binding(cache.BindingID(op.Binding))
		if err != nil {
			return err
		}
		if ok {
			remote = b.RemoteID
			if err := errors.Join(t.touchGone(b.ID, remote), t.tx.DeleteBinding(b.ID)); err != nil {
				return err
			}
		}
	}
	if err := t.removeDentry(e.ID); err != nil {
		return err
	}
	t.counts.Deleted++
	if remote == "" {
		return nil
	}
	return t.clear(remote)
}

// keepLoser puts what a dentry shows into the drive's trash, before it is taken away. What has another name, or is not here, is
// not lost.
func (t *step) keepLoser(e cache.Entry, why string) error {
	n := e.Node
	if n.Nlink > 1 || n.Kind != cache.Symlink && (n.Kind != cache.File || n.Residency != cache.Full || n.Size == 0) {
		return nil
	}
	p, err := t.tx.Path(e.ID)
	if err != nil {
		return err
	}
	_, err = t.tx.TrashNode(e.Ino, t.l.id, p, why)
	return err
}

// removeDentry removes a name that was deleted at the endpoint. What a person has allowed on this leg is allowed on the others.
func (t *step) removeDentry(d cache.DentryID) error {
	if !t.allowed {
		return t.tx.RemoveDentry(d)
	}
	others, err := t.tx.BindingsOf(d)
	if err != nil {
		return err
	}
	if err := t.tx.RemoveDentry(d); err != nil {
		return err
	}
	for _, b := range others {
		if err := t.tx.AllowDelete(b.ID); err != nil {
			return err
		}
	}
	return nil
}

// renameAside gives a dentry of the drive a conflict name where an object of the endpoint holds its own.
func (t *step) renameAside(op plan.Op) error {
	e, err := t.entry(op.Dentry)
	if err != nil {
		return err
	}
	name, err := t.otherName(e.Parent, op)
	if err != nil {
		return err
	}
	if err := t.tx.MoveDentry(e.ID, e.Parent, name); err != nil {
		return err
	}
	t.met.aside = e.ID
	return t.claim(plan.Subject{Dentry: plan.DentryID(e.ID)})
}

// unbind drops a binding. What lives on in the drive is sent as new, what lives on at the endpoint is made here as new.
func (t *step) unbind(op plan.Op) error {
	b, ok, err := t.tx.Binding(cache.BindingID(op.Binding))
	if err != nil || !ok {
		return err
	}
	half, err := t.l.object(t.tx, b.RemoteID)
	if err != nil {
		return err
	}
	if b.Releasing && half.Gone { // the reply to its release was lost
		if err := t.auditRelease(b); err != nil {
			return err
		}
	}
	if err := t.tx.DeleteBinding(b.ID); err != nil {
		return err
	}
	if half.Gone {
		err = t.tx.DeleteObserved(t.l.id, b.RemoteID)
	} else {
		err = t.tx.PutObserved(*half)
	}
	if err != nil || b.Dentry == 0 {
		return err
	}
	if _, err := t.tx.Dentry(b.Dentry); errors.Is(err, cache.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return t.tx.EnsureItem(t.l.id, 0, b.Dentry)
}
