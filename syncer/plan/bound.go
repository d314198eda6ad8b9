package plan

// bound decides an object that has a base.
func (p *planner) bound(b Binding) Decision {
	if b.ID == p.v.Root().ID {
		return Decision{}
	}
	s := p.pair(b)
	switch {
	case s.hasL && s.l.LocalOnly && s.l.Parked == ParkedHere:
		return do(s.unpark())
	case s.localGone && s.remoteGone:
		return do(s.op(OpUnbind))
	case s.localGone:
		return p.onlyRemote(s)
	case s.remoteGone:
		return p.onlyLocal(s)
	}
	return p.both(s)
}

// onlyRemote decides an object that was deleted in the drive.
func (p *planner) onlyRemote(s pair) Decision {
	if op, ok := p.heirOf(s); ok {
		return do(op)
	}
	if s.r.Parked == ParkedElsewhere {
		return transit()
	}
	if s.remoteChanged {
		return Decision{Ops: []Op{s.op(OpUnbind)}, Conflict: &Conflict{Class: DeleteOnModify, Winner: s.b.Remote}}
	}
	if s.hasL && s.l.Placeholder && !s.localChanged {
		return do(s.op(OpNeedBytes))
	}
	if s.hasL && s.b.Kind != Dir && !s.localChanged {
		disown := s.op(OpDisown)
		disown.After = s.b
		disown.After.LocalVersion, disown.After.LocalMeta.Target = 0, ""
		return do(disown)
	}
	d := do(s.op(OpDeleteRemote))
	if s.b.Kind == Dir {
		// What is inside goes first; what lives on restores its directories.
		p.remoteChildren(s.b.Remote, func(c Remote) bool {
			d = waitFor(WaitChild, p.subjectOfRemote(c))
			return false
		})
	}
	return d
}

// onlyLocal decides an object that was deleted at the endpoint.
func (p *planner) onlyLocal(s pair) Decision {
	if s.l.Parked == ParkedElsewhere {
		return transit()
	}
	if op, ok := p.heirOfRemote(s); ok {
		return do(op)
	}
	if s.b.Kind == Dir {
		return p.onlyLocalDir(s)
	}
	if s.localChanged {
		return p.editWins(s)
	}
	if s.l.Busy {
		return settle()
	}
	return do(s.op(OpDeleteLocal))
}

// editWins lets a version of the drive outlive the deletion of the object it
// came from: the dentry becomes new.
func (p *planner) editWins(s pair) Decision {
	d := Decision{Conflict: &Conflict{Class: ModifyOnDelete, Loser: 0}}
	if s.l.Parked != NotParked {
		d.Ops = append(d.Ops, s.unpark())
	}
	d.Ops = append(d.Ops, s.op(OpUnbind))
	return d
}

// onlyLocalDir deletes an empty directory. What lives on inside and is sent
// restores its directories when it is decided; what is never sent keeps them
// by itself.
func (p *planner) onlyLocalDir(s pair) Decision {
	var on *Subject
	keeps := false
	p.localChildren(s.l.ID, func(c Local) bool {
		b, bound := p.ofDentry(c.ID)
		switch {
		case bound:
			on = &Subject{Binding: b.ID}
		case c.LocalOnly || c.Kind == Special:
			keeps = true
		default:
			on = &Subject{Dentry: c.ID}
		}
		return on == nil
	})
	switch {
	case on != nil:
		return waitFor(WaitChild, *on)
	case keeps:
		return p.restoreRemote(s)
	case s.l.Busy:
		return settle()
	}
	return do(s.op(OpDeleteLocal))
}

// unpark gives a dentry that is parked in the drive, and has lost the place it
// was to go to, a conflict name made from the name it had.
func (s pair) unpark() Op {
	aside := s.op(OpRenameAside)
	aside.Name = s.b.LocalName
	return aside
}

// both decides an object that has both sides: first what the endpoint did,
// then what the drive did, and the second only when nothing of the first is
// left to do.
func (p *planner) both(s pair) Decision {
	if s.l.Parked == ParkedElsewhere || s.r.Parked == ParkedElsewhere {
		return transit()
	}
	if d := firstOf(s, p.pullPlace, p.pullContent, p.pullMeta); !d.idle() {
		return d
	}
	return firstOf(s, p.pushPlace, p.pushContent, p.pushMeta, p.settleBase)
}

// pullPlace follows a move made at the endpoint, whatever the drive did.
func (p *planner) pullPlace(s pair) Decision {
	switch {
	case s.l.Parked == ParkedHere && s.r.Parked == ParkedHere:
		return do(s.unpark())
	case !s.remoteMoved && s.l.Parked == NotParked:
		return Decision{}
	case p.samePlace(s):
		return p.agreePlace(s)
	}
	return p.moveLocal(s)
}

// moveLocal moves the dentry to where its object is at the endpoint.
func (p *planner) moveLocal(s pair) Decision {
	spot, d, ok := p.placeLocal(s.r, &s)
	if !ok {
		return d
	}
	move := s.op(OpMoveLocal)
	move.Parent, move.Name, move.Aside = spot.parent.ID, spot.name, spot.aside
	move.After = s.b
	move.After.Parent, move.After.LocalName, move.After.RemoteName = spot.parent.ID, spot.name, s.r.Name
	if s.localMoved && spot.conflict == nil {
		spot.conflict = &Conflict{Class: MoveOnMove, Winner: s.b.Remote, Loser: s.l.ID}
	}
	return Decision{Ops: append(spot.first, move), Conflict: spot.conflict}
}

// samePlace reports whether both sides have the object in the same directory
// under the same name.
func (p *planner) samePlace(s pair) bool {
	if s.l.Parked != NotParked || s.r.Parked != NotParked || s.l.Name != s.r.Name {
		return false
	}
	lb, lok := p.ofDentry(s.l.Parent)
	rb, rok := p.ofRemote(s.r.Parent)
	return lok && rok && lb.ID == rb.ID
}

func (p *planner) agreePlace(s pair) Decision {
	pb, _ := p.ofRemote(s.r.Parent)
	agree := s.op(OpAgree)
	agree.After = s.b
	agree.After.Parent, agree.After.LocalName, agree.After.RemoteName = pb.ID, s.l.Name, s.r.Name
	return do(agree)
}

// pushPlace sends a move made in the drive, or takes the object out of its
// parking place.
func (p *planner) pushPlace(s pair) Decision {
	if !s.localMoved && s.r.Parked == NotParked {
		return Decision{}
	}
	dest, d, ok := p.placeRemote(s.l, &s)
	if !ok {
		return d
	}
	move := s.op(OpMoveRemote)
	move.Parent, move.Name = dest.ID, s.l.Name
	move.After = s.b
	move.After.Parent, move.After.LocalName, move.After.RemoteName = dest.ID, s.l.Name, s.l.Name
	return do(move)
}
