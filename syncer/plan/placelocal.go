package plan

// spot is a free place in the drive.
type spot struct {
	parent Binding
	name   string
	// aside asks for a conflict name made from name, numbered for a number.
	aside, numbered bool
	// first frees the name, in the same transaction.
	first    []Op
	conflict *Conflict
}

// placeLocal finds the place in the drive for the object r, which is unbound
// (self is nil) or that of self. Without a place it returns what to do or to
// wait for instead. The object was accepted by the endpoint, so the name is its
// own: what the drive has there gives way, unless it is itself about to leave.
func (p *planner) placeLocal(r Remote, self *pair) (spot, Decision, bool) {
	pb, d, ok := p.parentOfRemote(r)
	if !ok {
		if d.Conflict != nil && self != nil && self.remoteMoved {
			d.Conflict.Class = MoveToDeletedParent
		}
		return spot{}, d, false
	}
	if self != nil && self.hasL && self.b.Kind == Dir {
		if d, ok := p.notInsideLocal(pb, *self); !ok {
			return spot{}, d, false
		}
	}
	to := spot{parent: pb, name: r.Name}
	if r.Parked != NotParked {
		return p.placeParked(to, self)
	}
	x, taken := p.localAt(pb.Dentry, to.name)
	if !taken || self != nil && !self.localGone && x.ID == self.l.ID {
		return to, Decision{}, true
	}
	return p.vacateLocal(to, r, self, x)
}

// placeParked places an object whose name at the endpoint is a parking name:
// under the name it last had in the drive, if that is free.
func (p *planner) placeParked(to spot, self *pair) (spot, Decision, bool) {
	if self == nil {
		to.aside = true
		return to, Decision{}, true
	}
	to.name = self.b.LocalName
	x, taken := p.localAt(to.parent.Dentry, to.name)
	to.aside = taken && x.ID != self.l.ID
	return to, Decision{}, true
}

// parentOfRemote is the directory r is in, once the drive has it.
func (p *planner) parentOfRemote(r Remote) (Binding, Decision, bool) {
	pb, ok := p.ofRemote(r.Parent)
	if !ok {
		if _, exists := p.remote(r.Parent); !exists {
			return Binding{}, transit(), false
		}
		return Binding{}, waitFor(WaitParent, Subject{Remote: r.Parent}), false
	}
	if pb.ID == p.v.Root().ID {
		return pb, Decision{}, true
	}
	s := p.pair(pb)
	if s.localGone {
		return Binding{}, p.restoreLocal(s), false
	}
	return pb, Decision{}, true
}

// restoreLocal makes a directory again that was deleted in the drive, with
// those above it, because something in it lives on.
func (p *planner) restoreLocal(s pair) Decision {
	if p.restoring[s.b.ID] || s.remoteGone {
		return transit()
	}
	p.restoring[s.b.ID] = true
	if op, ok := p.heirOf(s); ok {
		return do(op)
	}
	to, d, ok := p.placeLocal(s.r, &s)
	if !ok {
		return d
	}
	op := s.op(OpRestoreLocal)
	op.Dentry, op.Parent, op.Name, op.Aside, op.Numbered, op.Meta = 0, to.parent.ID, to.name, to.aside, to.numbered, metaOf(Dir, s.r.Meta)
	op.After = s.b
	op.After.Dentry, op.After.LocalVersion = 0, 0
	op.After.Parent, op.After.LocalName, op.After.RemoteName = to.parent.ID, to.name, s.r.Name
	op.After.LocalMeta, op.After.RemoteMeta = op.Meta, op.Meta
	return Decision{
		Ops:      append(to.first, op),
		Conflict: &Conflict{Class: ModifyOnParentDelete, Winner: s.b.Remote},
	}
}

// notInsideLocal makes sure that the destination is not below the directory
// that is to move there. The endpoint has no circle, so something between the
// two has moved on one side only: a move made at the endpoint goes first, one
// made in the drive is taken back.
func (p *planner) notInsideLocal(dest Binding, s pair) (Decision, bool) {
	var undo *pair
	var first *Binding
	inside := false
	for at := dest.Dentry; at != 0; {
		if at == s.l.ID {
			inside = true
			break
		}
		if b, ok := p.ofDentry(at); ok && b.ID != p.v.Root().ID {
			q := p.pair(b)
			switch {
			case q.remoteMoved && first == nil:
				first = &q.b
			case q.localMoved && undo == nil:
				undo = &q
			}
		}
		l, ok := p.local(at)
		if !ok {
			break
		}
		at = l.Parent
	}
	switch {
	case !inside:
		return Decision{}, true
	case first != nil:
		return waitFor(WaitInside, first.subject()), false
	case undo == nil || p.restoring[undo.b.ID]:
		return transit(), false
	}
	p.restoring[undo.b.ID] = true
	return p.moveLocal(*undo), false
}

// vacateLocal deals with x, which has the name that r is to get.
func (p *planner) vacateLocal(to spot, r Remote, self *pair, x Local) (spot, Decision, bool) {
	xb, bound := p.ofDentry(x.ID)
	switch {
	case bound:
		return p.vacateBound(to, r, self, p.pair(xb))
	case x.LocalOnly || x.Kind == Special:
		return p.giveWay(to, x, r), Decision{}, true
	}
	return p.vacateNew(to, r, self, x)
}

// giveWay lets either x or r have another name. At the source of an archive
// that is r: what is in the drive under its name is archived already.
func (p *planner) giveWay(to spot, x Local, r Remote) spot {
	if p.role.releases {
		to.aside, to.numbered = true, true
		return to
	}
	to.first = []Op{{Kind: OpRenameAside, Object: x.Kind, Dentry: x.ID, Name: x.Name, Expect: Expect{LocalVersion: x.Version}}}
	if p.role.archive {
		to.first[0].Numbered = true
		return to
	}
	to.conflict = &Conflict{Class: MoveOnExisting, Winner: r.ID, Loser: x.ID}
	return to
}

// vacateNew deals with an unbound x: equal objects become one.
func (p *planner) vacateNew(to spot, r Remote, self *pair, x Local) (spot, Decision, bool) {
	alike := x.Kind == r.Kind
	if alike && x.Kind == File && x.Size == r.Size {
		if x.Busy {
			return to, settle(), false
		}
		if d := needHashes(x, r); !d.idle() {
			return to, d, false
		}
	}
	equal := alike && (x.Kind == Dir || x.Kind == File && sameBytes(x, r) ||
		x.Kind == Symlink && x.Meta.Target == r.Meta.Target)
	switch {
	case equal && self == nil:
		return to, do(bind(to.parent, r, x)), false
	case equal && self.localGone:
		return to, do(self.passTo(x)), false
	case self == nil && alike && x.Kind != Dir && !p.role.archive && p.strategy(x) != ConflictFile:
		return to, do(adopt(to.parent, r, x)), false
	case equal && x.Kind != Dir && !self.localChanged && !p.role.archive:
		// The moved object brings the same bytes along. One that was changed in
		// the drive would not: its content goes over them.
		to.first = []Op{{Kind: OpDeleteLocal, Object: x.Kind, Dentry: x.ID, Expect: Expect{LocalVersion: x.Version}}}
		return to, Decision{}, true
	}
	to = p.giveWay(to, x, r)
	switch {
	case to.conflict == nil:
	case !alike:
		to.conflict.Class = TypeMismatch
	case self == nil:
		to.conflict.Class = CreateOnCreate
	}
	return to, Decision{}, true
}

// bind adopts two equal objects. The base's metadata are the endpoint's, so
// that where they differ the endpoint's hold.
func bind(parent Binding, r Remote, x Local) Op {
	l, m := metaOf(x.Kind, x.Meta), metaOf(r.Kind, r.Meta)
	op := Op{
		Kind: OpBind, Object: r.Kind, Dentry: x.ID, Remote: r.ID,
		Expect: Expect{LocalVersion: x.Version, RemoteContent: r.Content, RemoteParent: r.Parent, RemoteName: r.Name},
		After: Binding{
			Parent: parent.ID, Kind: r.Kind,
			Dentry: x.ID, LocalName: x.Name, LocalVersion: x.Version, LocalMeta: l,
			Remote: r.ID, RemoteName: r.Name, RemoteContent: r.Content, RemoteHash: r.Hash, RemoteSize: r.Size, RemoteMeta: m,
		},
	}
	// A base as if both sides had been like the drive: what the endpoint has
	// differently is then its change.
	op.After.RemoteMeta.Mode, op.After.RemoteMeta.Mtime = l.Mode, l.Mtime
	return op
}

// adopt binds two objects of one kind without agreeing on what is in them: both
// sides have changed it, and the strategy decides as for an edit.
func adopt(parent Binding, r Remote, x Local) Op {
	op := bind(parent, r, x)
	op.After.LocalVersion, op.After.RemoteContent, op.After.RemoteHash = 0, "", ""
	op.After.LocalMeta.Target, op.After.RemoteMeta.Target = "", ""
	return op
}

// vacateBound deals with x, an object that has a base.
func (p *planner) vacateBound(to spot, r Remote, self *pair, x pair) (spot, Decision, bool) {
	wait := waitFor(WaitName, x.b.subject())
	wait.Wait.park = &Op{Kind: OpParkLocal, Object: x.b.Kind, Binding: x.b.ID, Dentry: x.l.ID, Name: x.l.Name}
	switch {
	case x.l.LocalOnly, x.r.Parked == ParkedHere:
		return p.giveWay(to, x.l, r), Decision{}, true
	case p.released(x):
		return to, wait, false // it is about to be nobody's here
	case x.remoteGone && x.b.Kind == Dir:
		return p.vacateDir(to, r, self, x, wait)
	case x.remoteGone, x.remoteMoved, x.r.Parked == ParkedElsewhere:
		return to, wait, false
	case x.localMoved && self == nil && x.b.Kind == File && r.Kind == File && x.l.Size == r.Size:
		return p.vacateAlike(to, r, x)
	case x.localMoved, x.b.LocalName != x.b.RemoteName:
		return p.giveWay(to, x.l, r), Decision{}, true
	}
	// Two objects in one place: not all of it has been observed.
	return to, transit(), false
}

// vacateAlike deals with a file that the drive moved to a name under which the
// endpoint has a new file of the same size. With the same bytes it becomes that
// file; the object it came from is left to be deleted.
func (p *planner) vacateAlike(to spot, r Remote, x pair) (spot, Decision, bool) {
	if x.l.Busy {
		return to, settle(), false
	}
	if d := needHashes(x.l, r); !d.idle() {
		return to, d, false
	}
	if !sameBytes(x.l, r) {
		return p.giveWay(to, x.l, r), Decision{}, true
	}
	disown := x.op(OpDisown)
	disown.After = x.b
	disown.After.Dentry, disown.After.LocalVersion = 0, 0
	return to, do(disown, bind(to.parent, r, x.l)), false
}

// vacateDir deals with a directory that was deleted at the endpoint: it leaves
// unless something in it lives on.
func (p *planner) vacateDir(to spot, r Remote, self *pair, x pair, wait Decision) (spot, Decision, bool) {
	if r.Kind == Dir && self == nil {
		return to, do(rebindRemote(x.b, r)), false
	}
	alive, pending := p.livesOnLocally(x.l.ID)
	switch {
	case alive:
		return p.giveWay(to, x.l, r), Decision{}, true
	case pending != nil:
		wait.Wait.On = *pending
	}
	return to, wait, false
}

// livesOnLocally reports whether something below a directory that is gone at
// the endpoint will stay there, else what has to leave first.
func (p *planner) livesOnLocally(d DentryID) (alive bool, pending *Subject) {
	p.localChildren(d, func(c Local) bool {
		b, bound := p.ofDentry(c.ID)
		if !bound || c.LocalOnly {
			alive = true
			return false
		}
		s := p.pair(b)
		deep := false
		switch {
		case !s.remoteGone && !s.remoteMoved, s.remoteGone && p.outlivesThere(s):
			alive = true
		case s.remoteGone && b.Kind == Dir:
			var below *Subject
			if alive, below = p.livesOnLocally(c.ID); below != nil && pending == nil {
				pending, deep = below, true
			}
		}
		if pending == nil && !deep {
			on := b.subject()
			pending = &on
		}
		return !alive
	})
	return alive, pending
}
