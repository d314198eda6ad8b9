package plan

// planner answers one call of Decide. It remembers the first error of the
// views; after it every look finds nothing, so that all loops end, and the
// decision is thrown away.
type planner struct {
	v     Views
	rules Rules
	role  role
	err   error
	// restoring holds the directories whose restoration or undoing is being
	// worked out, against views that lead in a circle.
	restoring map[BindingID]bool
}

func look[T any](p *planner, get func() (T, bool, error)) (T, bool) {
	var zero T
	if p.err != nil {
		return zero, false
	}
	t, ok, err := get()
	if err != nil {
		p.err = err
		return zero, false
	}
	if !ok {
		return zero, false
	}
	return t, true
}

func (p *planner) binding(id BindingID) (Binding, bool) {
	return look(p, func() (Binding, bool, error) { return p.v.Binding(id) })
}

func (p *planner) ofDentry(id DentryID) (Binding, bool) {
	if id == 0 {
		return Binding{}, false
	}
	return look(p, func() (Binding, bool, error) { return p.v.BindingOfDentry(id) })
}

func (p *planner) ofRemote(id RemoteID) (Binding, bool) {
	if id == "" {
		return Binding{}, false
	}
	return look(p, func() (Binding, bool, error) { return p.v.BindingOfRemote(id) })
}

func (p *planner) local(id DentryID) (Local, bool) {
	if id == 0 {
		return Local{}, false
	}
	return look(p, func() (Local, bool, error) { return p.v.Local(id) })
}

func (p *planner) localAt(parent DentryID, name string) (Local, bool) {
	return look(p, func() (Local, bool, error) { return p.v.LocalAt(parent, name) })
}

func (p *planner) remote(id RemoteID) (Remote, bool) {
	if id == "" {
		return Remote{}, false
	}
	r, ok := look(p, func() (Remote, bool, error) { return p.v.Remote(id) })
	return r, ok && !r.Gone
}

func (p *planner) remoteAt(parent RemoteID, name string) (Remote, bool) {
	return look(p, func() (Remote, bool, error) { return p.v.RemoteAt(parent, name) })
}

func (p *planner) iterate(run func() error) {
	if p.err == nil {
		p.err = run()
	}
}

func (p *planner) localChildren(d DentryID, yield func(Local) bool) {
	p.iterate(func() error {
		return p.v.LocalChildren(d, func(l Local) bool { return yield(l) && p.err == nil })
	})
}

func (p *planner) remoteChildren(r RemoteID, yield func(Remote) bool) {
	p.iterate(func() error {
		return p.v.RemoteChildren(r, func(c Remote) bool { return yield(c) && p.err == nil })
	})
}

func (p *planner) bindingsAt(parent BindingID, name string, yield func(Binding) bool) {
	p.iterate(func() error {
		return p.v.BindingsAt(parent, name, func(b Binding) bool { return yield(b) && p.err == nil })
	})
}

// pair is a bound object with both its sides and how they differ from the
// base.
type pair struct {
	b Binding
	l Local
	r Remote
	// hasL says the dentry exists; it may be local only, then localGone too.
	hasL                  bool
	localGone, remoteGone bool
	localMoved            bool
	remoteMoved           bool
	localChanged          bool
	remoteChanged         bool
}

// pair loads the two sides of a binding.
func (p *planner) pair(b Binding) pair {
	s := pair{b: b}
	var hasR bool
	s.l, s.hasL = p.local(b.Dentry)
	s.r, hasR = p.remote(b.Remote)
	s.localGone = !s.hasL || s.l.LocalOnly
	s.remoteGone = !hasR
	if s.hasL {
		s.localMoved = p.localMoved(b, s.l)
		s.localChanged = localChanged(b, s.l)
	}
	if hasR {
		s.remoteMoved = p.remoteMoved(b, s.r)
		s.remoteChanged = remoteChanged(b, s.r)
	}
	return s
}

// localMoved reports whether the dentry is elsewhere than agreed. Directories
// are compared by their bindings: a directory whose binding has passed to
// another dentry is still the same directory.
func (p *planner) localMoved(b Binding, l Local) bool {
	if l.Parked != NotParked {
		return false
	}
	if l.Name != b.LocalName {
		return true
	}
	pb, ok := p.ofDentry(l.Parent)
	return !ok || pb.ID != b.Parent
}

func (p *planner) remoteMoved(b Binding, r Remote) bool {
	if r.Parked != NotParked {
		return false
	}
	if r.Name != b.RemoteName {
		return true
	}
	pb, ok := p.ofRemote(r.Parent)
	return !ok || pb.ID != b.Parent
}

// localChanged compares versions, not bytes: rewriting the same bytes is a
// change too where it stands against a deletion.
func localChanged(b Binding, l Local) bool {
	switch b.Kind {
	case File:
		return l.Version != b.LocalVersion
	case Symlink:
		return l.Meta.Target != b.LocalMeta.Target
	}
	return false
}

func remoteChanged(b Binding, r Remote) bool {
	switch b.Kind {
	case File:
		if r.Hash != "" && b.RemoteHash != "" {
			return r.Hash != b.RemoteHash || r.Size != b.RemoteSize
		}
		return b.RemoteContent == "" || r.Content != b.RemoteContent
	case Symlink:
		return r.Meta.Target != b.RemoteMeta.Target
	}
	return false
}

// subject is a binding as a Subject.
func (b Binding) subject() Subject { return Subject{Binding: b.ID} }

func (p *planner) subjectOfRemote(r Remote) Subject {
	if b, ok := p.ofRemote(r.ID); ok {
		return b.subject()
	}
	return Subject{Remote: r.ID}
}

// expect is the precondition for touching an unbound object.
func (r Remote) expect() Expect {
	return Expect{RemoteContent: r.Content, RemoteParent: r.Parent, RemoteName: r.Name}
}

// expect is the precondition for touching the remote side of s.
func (s pair) expect() Expect {
	return Expect{
		LocalVersion: s.l.Version, RemoteContent: s.r.Content,
		RemoteParent: s.r.Parent, RemoteName: s.r.Name,
	}
}

// op is an operation on the bound object s.
func (s pair) op(k OpKind) Op {
	return Op{Kind: k, Object: s.b.Kind, Binding: s.b.ID, Dentry: s.l.ID, Remote: s.b.Remote, Expect: s.expect()}
}
