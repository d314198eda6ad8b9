package plan

// bound decides an object that has a base.
func (p *planner) bound(b Binding) Decision {
	if b.ID == p.v.Root().ID {
		return Decision{}
	}
	s := p.pair(b)
	var d Decision
	switch {
	case s.hasL && s.l.LocalOnly && s.l.Parked == ParkedHere:
		return do(s.unpark())
	case s.localGone && s.remoteGone, p.released(s):
		return do(s.op(OpUnbind))
	case s.localGone:
		d = p.onlyRemote(s)
	case s.remoteGone:
		d = p.onlyLocal(s)
	default:
		d = p.both(s)
	}
	d.Drift = !p.role.in && !s.localGone && len(d.Ops) > 0 && s.remoteTouched()
	return d
}

// remoteTouched reports whether the endpoint has the object otherwise than was
// agreed.
func (s pair) remoteTouched() bool {
	return s.remoteGone || s.remoteMoved || s.remoteChanged || metaOf(s.b.Kind, s.r.Meta) != metaOf(s.b.Kind, s.b.RemoteMeta)
}

// onlyRemote decides an object that was deleted in the drive.
func (p *planner) onlyRemote(s pair) Decision {
	if op, ok := p.heirOf(s); ok && p.role.out {
		return do(op)
	}
	if s.r.Parked == ParkedElsewhere {
		return transit()
	}
	if p.role.in && s.perhapsOnlyTouched() {
		return do(needRemoteHash(s.r))
	}
	if p.outlivesHere(s) {
		return Decision{Ops: []Op{s.op(OpUnbind)}, Conflict: &Conflict{Class: DeleteOnModify, Winner: s.b.Remote}}
	}
	if s.hasL && s.l.Placeholder && !s.localChanged && !s.remoteChanged {
		return do(s.op(OpNeedBytes))
	}
	switch {
	case !p.role.out:
		return do(s.op(OpUnbind))
	case p.keepsExtra():
		return p.leave(s)
	}
	if s.hasL && s.b.Kind != Dir && !s.localChanged {
		disown := s.op(OpDisown)
		disown.After = s.b
		disown.After.LocalVersion, disown.After.LocalMeta.Target = 0, ""
		return do(disown)
	}
	// What is inside goes first; what lives on restores its directories.
	if d, stays := p.emptied(s.r); stays || !d.idle() {
		return d
	}
	del := s.op(OpDeleteRemote)
	del.Trash = s.remoteChanged || !p.role.in || p.role.archive
	d := do(del)
	if s.remoteChanged {
		d.Conflict = &Conflict{Class: DeleteOnModify, Strategy: p.strategy(Local{})}
	}
	return d
}

// emptied waits for what is left in a directory of the endpoint. With nothing
// else in it than what is ignored it stays, unless it only is in the way.
func (p *planner) emptied(r Remote) (d Decision, stays bool) {
	if r.Kind != Dir {
		return d, false
	}
	p.remoteChildren(r.ID, func(c Remote) bool {
		if r.Parked == NotParked && p.staysThere(c) {
			stays = true
			return true
		}
		d = waitFor(WaitChild, p.subjectOfRemote(c))
		return false
	})
	switch {
	case !d.idle():
		return d, false
	case r.Unlisted:
		return transit(), false
	}
	return d, stays
}

// staysThere reports whether an object of the endpoint is ignored, or a
// directory that nobody wants and that is there for what is.
func (p *planner) staysThere(r Remote) bool {
	if r.Ignored || r.Kind != Dir {
		return r.Ignored
	}
	if b, bound := p.ofRemote(r.ID); bound && !p.pair(b).localGone || !bound && p.role.in {
		return false
	}
	_, stays := p.emptied(r)
	return stays
}

// outlivesHere reports whether an object that was deleted in the drive lives on
// because it was changed at the endpoint. One that is there under a name which
// is never sent was not deleted by anybody.
func (p *planner) outlivesHere(s pair) bool {
	return s.remoteChanged && p.role.in && (s.hasL || p.strategy(Local{}) != LocalWins)
}

// outlivesThere reports whether an object that was deleted at the endpoint lives
// on because it was changed in the drive.
func (p *planner) outlivesThere(s pair) bool {
	return s.localChanged && (!p.role.out || p.strategy(s.l) != RemoteWins)
}

// onlyLocal decides an object that was deleted at the endpoint.
func (p *planner) onlyLocal(s pair) Decision {
	if s.l.Parked == ParkedElsewhere {
		return transit()
	}
	if op, ok := p.heirOfRemote(s); ok {
		return do(op)
	}
	switch {
	case s.b.Kind == Dir && p.role.in:
		return p.onlyLocalDir(s)
	case s.b.Kind == Dir:
		return p.restoreRemote(s)
	case !p.role.in:
		return p.livesOn(s)
	case p.outlivesThere(s):
		d := p.livesOn(s)
		d.Conflict = &Conflict{Class: ModifyOnDelete}
		return d
	case s.l.Busy:
		return settle()
	case s.localChanged && s.l.Placeholder:
		return do(s.op(OpNeedBytes))
	}
	d := p.deleteLocal(s)
	d.Ops[0].Trash = s.localChanged
	switch {
	case s.localChanged:
		d.Conflict = &Conflict{Class: ModifyOnDelete, Strategy: p.strategy(s.l), Winner: s.b.Remote, Loser: s.l.ID}
	case s.localMoved:
		d.Conflict = &Conflict{Class: MoveOnDelete, Winner: s.b.Remote, Loser: s.l.ID}
	}
	return d
}

// deleteLocal removes the dentry of an object that is gone, and goes on with the one that has taken its name there.
func (p *planner) deleteLocal(s pair) Decision {
	d := do(s.op(OpDeleteLocal))
	if pb, ok := p.ofDentry(s.l.Parent); ok {
		if r, ok := p.remoteAt(pb.Remote, s.l.Name); ok {
			d.Follow = []Subject{p.subjectOfRemote(r)}
		}
	}
	return d
}

// livesOn lets what the drive has outlive the object it came from: the dentry
// becomes new.
func (p *planner) livesOn(s pair) (d Decision) {
	if s.l.Parked != NotParked {
		d.Ops = append(d.Ops, s.unpark())
	}
	d.Ops = append(d.Ops, s.op(OpUnbind))
	return d
}

// onlyLocalDir deletes an empty directory. What lives on inside and is sent
// restores its directories when it is decided; what is never sent keeps them
// by itself, and what is ignored keeps them here alone.
func (p *planner) onlyLocalDir(s pair) Decision {
	var on *Subject
	keeps, ignored := false, false
	p.localChildren(s.l.ID, func(c Local) bool {
		b, bound := p.ofDentry(c.ID)
		switch {
		case p.role.out && p.ignoredHere(c):
			ignored = true
		case bound && !p.staysHere(b):
			on = &Subject{Binding: b.ID}
		case bound, !p.sends(c):
			keeps = true
		default:
			on = &Subject{Dentry: c.ID}
		}
		return on == nil
	})
	switch {
	case on != nil:
		return waitFor(WaitChild, *on)
	case keeps && p.role.out:
		return p.restoreRemote(s)
	case keeps:
		return p.livesOn(s)
	case ignored:
		return Decision{}
	case s.l.Busy:
		return settle()
	}
	return p.deleteLocal(s)
}

// ignoredHere reports whether a dentry is unbound and ignored, or a directory
// that is gone at the endpoint and here for what is.
func (p *planner) ignoredHere(l Local) bool {
	b, bound := p.ofDentry(l.ID)
	if !bound {
		return l.Ignored
	}
	if s := p.pair(b); b.Kind != Dir || s.localGone || !s.remoteGone {
		return false
	}
	all, some := true, false
	p.localChildren(l.ID, func(c Local) bool {
		some, all = true, p.ignoredHere(c)
		return all
	})
	return some && all
}

// staysHere reports whether a bound object stays where the drive has moved it,
// as its endpoint is not to be told.
func (p *planner) staysHere(b Binding) bool {
	if p.role.out {
		return false
	}
	s := p.pair(b)
	return !s.remoteGone && !s.remoteMoved
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
// left to do. Where the endpoint has no say, what it did is still there when it
// comes to the second, and gives way.
func (p *planner) both(s pair) Decision {
	if s.l.Parked == ParkedElsewhere || s.r.Parked == ParkedElsewhere {
		return transit()
	}
	if p.role.in {
		if d := firstOf(s, p.pullPlace, p.pullContent, p.pullMeta); !d.idle() {
			return d
		}
	}
	switch {
	case !p.role.out:
		return firstOf(s, p.settleBase, p.release)
	case s.remoteChanged, s.localChanged && s.remoteTouched():
		// Before anything else is written there, whose reply would bring the
		// token or the time of what nobody has agreed on.
		return p.pushContent(s)
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
	move.Parent, move.Name, move.Aside, move.Numbered = spot.parent.ID, spot.name, spot.aside, spot.numbered
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
	moved := s.localMoved || s.remoteMoved || s.r.Parked != NotParked
	switch {
	case s.l.Parked == ParkedHere:
		return do(s.unpark())
	case !moved && (p.role.in || p.samePlace(s)):
		return Decision{}
	case p.samePlace(s):
		return p.agreePlace(s)
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
