package plan

import "vdfs/syncer/plan/aside"

// fate is what becomes of an object of an endpoint that only follows.
type fate uint8

const (
	isUnclear fate = iota // what was observed does not fit together yet
	isKept
	isRemoved
	// isAdopted: the drive has something of its kind under its name.
	isAdopted
)

func (p *planner) keepsExtra() bool { return !p.role.in && p.rules.KeepExtra }

// leave lets an object stay that the drive does not have any more, under a name
// that means something: while it is bound it is known which that was. A
// directory waits for what is bound in it, to stay there or to move out, as the
// base of an object says where it is by that of its directory.
func (p *planner) leave(s pair) Decision {
	if s.r.Parked == ParkedHere {
		return do(p.named(s))
	}
	if s.b.Kind == Dir {
		if on := p.boundIn(s.r); on != nil {
			return waitFor(WaitChild, *on)
		}
	}
	return do(s.op(OpUnbind))
}

// named gives a parked object its name back, numbered where another has it by
// now, in the directory it is in. It never waits: others may do so for it.
func (p *planner) named(s pair) Op {
	dir, bound := p.ofRemote(s.r.Parent)
	taken := func(name string) bool {
		_, there := p.remoteAt(s.r.Parent, name)
		if !there && bound {
			// What the drive has yet to send would take the name from it.
			_, there = p.localAt(dir.Dentry, name)
		}
		return there
	}
	move := s.op(OpMoveRemote)
	if move.Name = s.b.LocalName; taken(move.Name) {
		move.Name = aside.Number(move.Name, taken)
	}
	move.After = s.b
	move.After.RemoteName = move.Name
	return move
}

// boundIn finds something in a directory of the endpoint that is bound.
func (p *planner) boundIn(dir Remote) (some *Subject) {
	p.remoteChildren(dir.ID, func(c Remote) bool {
		if b, bound := p.ofRemote(c.ID); bound {
			on := b.subject()
			some = &on
		}
		return some == nil
	})
	return some
}

// extra decides an unbound object where the drive alone says what there is.
func (p *planner) extra(r Remote) Decision {
	f, pb, x := p.fateOf(r)
	switch f {
	case isUnclear:
		return transit()
	case isKept:
		return Decision{}
	case isAdopted:
		if pb.ID == 0 {
			return waitFor(WaitParent, Subject{Remote: r.Parent})
		}
		return p.adoptExtra(pb, r, x)
	}
	if d, stays := p.emptied(r); stays || !d.idle() {
		return d
	}
	return Decision{Drift: true, Ops: []Op{{
		Kind: OpDeleteRemote, Object: r.Kind, Remote: r.ID, Trash: true,
		Expect: r.expect(),
	}}}
}

// fateOf finds what becomes of r. An adopted one has the directory pb, and x is
// what the drive has there; without pb it is in a directory that is adopted
// first.
func (p *planner) fateOf(r Remote) (f fate, pb Binding, x Local) {
	seen := map[RemoteID]bool{} // against views that lead in a circle
	for at := r; !seen[at.ID]; {
		seen[at.ID] = true
		if pb, ok := p.ofRemote(at.Parent); ok {
			f, x = p.fateIn(pb, at)
			if at.ID != r.ID {
				return f, Binding{}, Local{} // that of the directory it is in
			}
			return f, pb, x
		}
		parent, exists := p.remote(at.Parent)
		if !exists {
			break
		}
		if at.Parked != NotParked {
			return isRemoved, Binding{}, Local{} // also in a directory that is kept
		}
		at = parent
	}
	return isUnclear, Binding{}, Local{}
}

// fateIn is fateOf in a bound directory.
func (p *planner) fateIn(pb Binding, r Remote) (fate, Local) {
	if r.Parked != NotParked {
		return isRemoved, Local{} // it was in the way, or its base was lost since
	}
	x, taken := p.localAt(pb.Dentry, r.Name)
	if taken && p.sends(x) {
		if b, bound := p.ofDentry(x.ID); x.Kind == r.Kind && (!bound || p.pair(b).remoteGone) {
			return isAdopted, x
		}
		return isRemoved, x // the name is another's
	}
	if dir, ok := p.local(pb.Dentry); ok && dir.Unlisted {
		return isUnclear, x
	}
	if p.rules.KeepExtra {
		return isKept, x
	}
	return isRemoved, x
}

// adoptExtra binds r to x, which has its name in the drive and lacks an object.
func (p *planner) adoptExtra(pb Binding, r Remote, x Local) Decision {
	if b, bound := p.ofDentry(x.ID); bound {
		return Decision{Ops: []Op{rebindRemote(b, r)}, Drift: true}
	}
	if x.Parked != NotParked {
		return transit()
	}
	if x.Kind == File && x.Size == r.Size {
		if x.Busy {
			return settle()
		}
		if d := needHashes(x, r); !d.idle() {
			return d
		}
	}
	if x.Kind == Dir || x.Kind == File && sameBytes(x, r) || x.Kind == Symlink && x.Meta.Target == r.Meta.Target {
		return do(bind(pb, r, x))
	}
	return do(adopt(pb, r, x))
}
