package plan

// placeRemote finds the directory at the endpoint for the dentry l, which is
// unbound (self is nil) or that of self, and sees that its name is free there.
// Without one it returns what to do or to wait for instead. Whatever the
// endpoint has accepted under the name is decided first; what only waits to be
// deleted or moved on by the drive gives way.
func (p *planner) placeRemote(l Local, self *pair) (Binding, Decision, bool) {
	pb, d, ok := p.parentOfLocal(l)
	if !ok {
		if d.Conflict != nil && self != nil && self.localMoved {
			d.Conflict.Class = MoveToDeletedParent
		}
		return Binding{}, d, false
	}
	if self != nil && !self.remoteGone && self.b.Kind == Dir {
		if d, ok := p.notInsideRemote(pb, *self); !ok {
			return Binding{}, d, false
		}
	}
	y, taken := p.remoteAt(pb.Remote, l.Name)
	if !taken || self != nil && y.ID == self.b.Remote {
		return pb, Decision{}, true
	}
	yb, bound := p.ofRemote(y.ID)
	if !bound {
		wait := waitFor(WaitName, Subject{Remote: y.ID})
		if !p.role.in {
			wait.Wait.park = &Op{Kind: OpParkRemote, Object: y.Kind, Remote: y.ID, Parent: pb.ID, Name: y.Name, Expect: y.expect()}
		}
		return Binding{}, wait, false
	}
	return Binding{}, p.vacateRemote(p.pair(yb)), false
}

// parentOfLocal is the directory l is in, once the endpoint has it.
func (p *planner) parentOfLocal(l Local) (Binding, Decision, bool) {
	pb, ok := p.ofDentry(l.Parent)
	if !ok {
		if _, exists := p.local(l.Parent); !exists {
			return Binding{}, transit(), false
		}
		return Binding{}, waitFor(WaitParent, Subject{Dentry: l.Parent}), false
	}
	if pb.ID == p.v.Root().ID {
		return pb, Decision{}, true
	}
	s := p.pair(pb)
	if s.remoteGone {
		return Binding{}, p.restoreRemote(s), false
	}
	return pb, Decision{}, true
}

// restoreRemote makes a directory again that was deleted at the endpoint, with
// those above it, because something in it lives on.
func (p *planner) restoreRemote(s pair) Decision {
	if p.restoring[s.b.ID] || s.localGone {
		return transit()
	}
	p.restoring[s.b.ID] = true
	if op, ok := p.heirOfRemote(s); ok {
		return do(op)
	}
	if s.l.Parked == ParkedElsewhere {
		return transit()
	}
	if s.l.Parked == ParkedHere {
		return do(s.unpark())
	}
	dest, d, ok := p.placeRemote(s.l, &s)
	if !ok {
		return d
	}
	op := s.op(OpRestoreRemote)
	op.Remote, op.Parent, op.Name, op.Meta = "", dest.ID, s.l.Name, metaOf(Dir, s.l.Meta)
	op.After = s.b
	op.After.Remote = ""
	op.After.Parent, op.After.LocalName, op.After.RemoteName = dest.ID, s.l.Name, s.l.Name
	op.After.LocalMeta, op.After.RemoteMeta = op.Meta, op.Meta
	return Decision{Ops: []Op{op}, Conflict: &Conflict{Class: ModifyOnParentDelete}}
}

// notInsideRemote makes sure that the destination is not below the directory
// that is to move there: what lies between and has moved goes first.
func (p *planner) notInsideRemote(dest Binding, s pair) (Decision, bool) {
	var first *Binding
	for at := dest.Remote; at != ""; {
		if at == s.b.Remote {
			if first == nil {
				return transit(), false
			}
			return waitFor(WaitInside, first.subject()), false
		}
		if b, ok := p.ofRemote(at); ok && first == nil && b.ID != p.v.Root().ID {
			if q := p.pair(b); q.remoteMoved || q.localMoved {
				first = &q.b
			}
		}
		r, ok := p.remote(at)
		if !ok {
			break
		}
		at = r.Parent
	}
	return Decision{}, true
}

// vacateRemote deals with y, a bound object that has a name which the drive
// wants to give away.
func (p *planner) vacateRemote(y pair) Decision {
	park := y.op(OpParkRemote)
	park.Parent, park.Name, park.After = y.b.Parent, y.r.Name, y.b
	wait := waitFor(WaitName, y.b.subject())
	switch {
	case y.r.Parked != NotParked:
		return transit()
	case y.localGone:
		return p.parkDeleted(y, park)
	case y.l.Parked != NotParked, y.remoteMoved && p.role.in:
		return wait
	case y.localMoved, !p.role.in:
		wait.Wait.park = &park
		return wait
	}
	return transit()
}

// parkDeleted parks what the drive has deleted, unless it lives on. What is
// there under a name that is never sent may come back: the reply to the parking
// would tell of metadata that it has not got.
func (p *planner) parkDeleted(y pair, park Op) Decision {
	touched := y.hasL && metaOf(y.b.Kind, y.r.Meta) != metaOf(y.b.Kind, y.b.RemoteMeta)
	if y.remoteChanged || touched || p.keepsExtra() {
		wait := waitFor(WaitName, y.b.subject())
		if !y.remoteChanged { // it may wait for what wants its name
			wait.Wait.park = &park
		}
		return wait
	}
	if y.b.Kind == Dir && p.role.in {
		if on := p.livesOnRemotely(y.b.Remote); on != nil {
			return waitFor(WaitName, *on)
		}
	}
	return do(park)
}

// livesOnRemotely finds something below a directory that is gone in the drive
// which will stay there.
func (p *planner) livesOnRemotely(dir RemoteID) (alive *Subject) {
	p.remoteChildren(dir, func(c Remote) bool {
		b, bound := p.ofRemote(c.ID)
		if !bound && c.Ignored {
			return true
		}
		if !bound {
			alive = &Subject{Remote: c.ID}
			return false
		}
		s := p.pair(b)
		switch {
		case s.localGone && b.Kind == Dir:
			alive = p.livesOnRemotely(c.ID)
		case s.localGone && p.outlivesHere(s), !s.localGone && !s.localMoved, !s.localGone && s.remoteMoved:
			on := b.subject()
			alive = &on
		}
		return alive == nil
	})
	return alive
}
