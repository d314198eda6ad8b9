package plan

// heirTo finds the binding that an unbound dentry takes over: one that was
// agreed under this very name in this directory, of the same kind, and whose
// own dentry is gone or was renamed to something that is never sent. Saving a
// file by writing another one and renaming it is an update, not a deletion
// and a creation.
func (p *planner) heirTo(l Local) (Op, bool) {
	pb, ok := p.ofDentry(l.Parent)
	if !ok || l.LocalOnly || l.Parked != NotParked {
		return Op{}, false
	}
	var op Op
	found := false
	p.bindingsAt(pb.ID, l.Name, func(b Binding) bool {
		if b.LocalName != l.Name || b.Kind != l.Kind {
			return true
		}
		s := p.pair(b)
		if !s.localGone || s.remoteGone || s.r.Parked != NotParked {
			return true
		}
		op, found = s.passTo(l), true
		return false
	})
	return op, found
}

// heirOf is heirTo seen from the binding.
func (p *planner) heirOf(s pair) (Op, bool) {
	pb, ok := p.binding(s.b.Parent)
	if !ok || s.r.Parked != NotParked {
		return Op{}, false
	}
	l, ok := p.localAt(pb.Dentry, s.b.LocalName)
	if !ok || l.Kind != s.b.Kind || l.LocalOnly || l.Parked != NotParked {
		return Op{}, false
	}
	if _, bound := p.ofDentry(l.ID); bound {
		return Op{}, false
	}
	return s.passTo(l), true
}

// passTo passes the binding to l, once the bytes are here of a placeholder that has been renamed to what is never sent:
// its object is all it has, and is about to become that of l.
func (s pair) passTo(l Local) Op {
	if s.hasL && s.l.Placeholder {
		return s.op(OpNeedBytes)
	}
	return rebindLocal(s.b, l)
}

// rebindLocal passes b to l. No version of l was ever agreed, and its name is
// what it is; the metadata are still compared with the base.
func rebindLocal(b Binding, l Local) Op {
	after := b
	after.Dentry = l.ID
	after.LocalVersion = 0
	return Op{Kind: OpRebindLocal, Object: b.Kind, Binding: b.ID, Dentry: l.ID, Remote: b.Remote, After: after}
}

// heirToRemote is heirTo for an unbound object of the endpoint: a program
// there saves the same way, and a reply that was lost looks the same.
func (p *planner) heirToRemote(r Remote) (Op, bool) {
	pb, ok := p.ofRemote(r.Parent)
	if !ok || r.Parked != NotParked {
		return Op{}, false
	}
	var op Op
	found := false
	p.bindingsAt(pb.ID, r.Name, func(b Binding) bool {
		if b.RemoteName != r.Name || b.Kind != r.Kind {
			return true
		}
		s := p.pair(b)
		if !s.remoteGone || s.localGone || p.released(s) {
			return true
		}
		op, found = rebindRemote(b, r), true
		return false
	})
	return op, found
}

func (p *planner) heirOfRemote(s pair) (Op, bool) {
	pb, ok := p.binding(s.b.Parent)
	if !ok {
		return Op{}, false
	}
	r, ok := p.remoteAt(pb.Remote, s.b.RemoteName)
	if !ok || r.Kind != s.b.Kind || r.Parked != NotParked {
		return Op{}, false
	}
	if _, bound := p.ofRemote(r.ID); bound {
		return Op{}, false
	}
	return rebindRemote(s.b, r), true
}

// rebindRemote passes b to r. The base's hash stays: when r has it, nothing
// has changed. But where no version of the dentry is agreed any more r does not
// come after the base: who made it may never have seen what is here.
func rebindRemote(b Binding, r Remote) Op {
	after := b
	after.Remote = r.ID
	after.RemoteContent = ""
	if b.LocalVersion == 0 {
		after.RemoteHash = ""
	}
	return Op{
		Kind: OpRebindRemote, Object: b.Kind, Binding: b.ID, Dentry: b.Dentry, Remote: r.ID, After: after,
		Expect: r.expect(),
	}
}
