package plan

import (
	"fmt"
	"slices"
)

// Decide says what is to be done for s now, or what it waits for. It returns
// ErrPolicy, ErrSubject or the first error of the views, wrapped.
func Decide(v Views, s Subject, rules Rules) (Decision, error) {
	role, err := rules.role()
	if err != nil {
		return Decision{}, fmt.Errorf("plan %s: %w", s, err)
	}
	if !s.valid() {
		return Decision{}, fmt.Errorf("plan %+v: %w", s, ErrSubject)
	}
	p := &planner{v: v, rules: rules, role: role, restoring: map[BindingID]bool{}}
	d := p.uncircled(p.canonical(s))
	if p.err != nil {
		return Decision{}, fmt.Errorf("plan %s: %w", s, p.err)
	}
	if !role.in {
		d.Conflict = nil // what the drive says holds
	}
	if err := role.permits(d); err != nil {
		return Decision{}, fmt.Errorf("plan %s: %w", s, err)
	}
	return d, nil
}

// permits is the last line before an endpoint that is never to be written.
func (r role) permits(d Decision) error {
	for _, op := range d.Ops {
		if op.Kind.Side() == SideEndpoint && !r.out && !(r.releases && op.Kind == OpRelease) {
			return fmt.Errorf("%s was decided for an endpoint that is only read", op.Kind)
		}
	}
	return nil
}

func (s Subject) valid() bool {
	n := 0
	for _, set := range []bool{s.Binding != 0, s.Dentry != 0, s.Remote != ""} {
		if set {
			n++
		}
	}
	return n == 1
}

// canonical gives a bound object its one name.
func (p *planner) canonical(s Subject) Subject {
	if b, ok := p.ofDentry(s.Dentry); ok {
		return b.subject()
	}
	if b, ok := p.ofRemote(s.Remote); ok {
		return b.subject()
	}
	return s
}

// uncircled decides s; when s waits, it follows who waits for whom, and cuts
// the first circle it comes to.
func (p *planner) uncircled(s Subject) Decision {
	first := p.one(s)
	chain := []link{{s, first.Wait}}
	seen := map[Subject]int{s: 0}
	for d := first; d.Wait != nil && d.Wait.On != (Subject{}); {
		next := d.Wait.On
		if i, ok := seen[next]; ok {
			return cut(chain[i:], first)
		}
		seen[next] = len(chain)
		d = p.one(next)
		chain = append(chain, link{next, d.Wait})
	}
	return first
}

// link is one subject of a chain of waits.
type link struct {
	subject Subject
	wait    *Wait
}

// cut frees one of the names that the subjects of a circle wait for. Every
// circle has such a name: waiting for a directory leads up a tree, waiting for
// something inside leads down one, and neither comes back by itself.
func cut(circle []link, otherwise Decision) Decision {
	follow := make([]Subject, 0, len(circle))
	var park *Op
	for _, l := range circle {
		follow = append(follow, l.subject)
		if park == nil {
			park = l.wait.park
		}
	}
	if park == nil {
		return otherwise
	}
	parked := Subject{Binding: park.Binding}
	if park.Binding == 0 {
		parked = Subject{Remote: park.Remote}
	}
	if !slices.Contains(follow, parked) {
		follow = append(follow, parked)
	}
	return Decision{Ops: []Op{*park}, Follow: follow}
}

// one decides a canonical subject by itself.
func (p *planner) one(s Subject) Decision {
	switch {
	case s.Binding != 0:
		if b, ok := p.binding(s.Binding); ok {
			return p.bound(b)
		}
	case s.Dentry != 0:
		if l, ok := p.local(s.Dentry); ok {
			return p.newLocal(l)
		}
	default:
		if r, ok := p.remote(s.Remote); ok {
			return p.newRemote(r)
		}
	}
	return Decision{}
}

// newLocal decides an unbound dentry.
func (p *planner) newLocal(l Local) Decision {
	switch {
	case l.Parked == ParkedHere:
		// Its binding was dropped while it was parked; there is no way back
		// to the name it had.
		return do(Op{Kind: OpRenameAside, Object: l.Kind, Dentry: l.ID, Name: l.Name})
	case !p.sends(l):
		return Decision{}
	case l.Parked == ParkedElsewhere:
		return transit()
	}
	if b, ok := p.heirTo(l); ok {
		return do(b)
	}
	if !l.Ready {
		return settle()
	}
	dest, d, ok := p.placeRemote(l, nil)
	if !ok {
		return d
	}
	return do(createRemote(l, dest))
}

// sends reports whether an object that only the drive has goes to the endpoint.
func (p *planner) sends(l Local) bool { return p.role.out && !l.LocalOnly && l.Kind != Special }

func createRemote(l Local, dest Binding) Op {
	kind := OpPut
	switch l.Kind {
	case Dir:
		kind = OpMkdir
	case Symlink:
		kind = OpSymlink
	}
	meta := metaOf(l.Kind, l.Meta)
	return Op{
		Kind: kind, Object: l.Kind, Dentry: l.ID, Parent: dest.ID, Name: l.Name, Meta: meta,
		Expect: Expect{LocalVersion: l.Version},
		After: Binding{
			Parent: dest.ID, Kind: l.Kind,
			Dentry: l.ID, LocalName: l.Name, LocalVersion: l.Version, LocalMeta: meta,
			RemoteName: l.Name, RemoteHash: l.Hash, RemoteSize: l.Size, RemoteMeta: meta,
		},
	}
}

// newRemote decides an unbound object of the endpoint.
func (p *planner) newRemote(r Remote) Decision {
	if r.Kind == Special || r.Ignored {
		return Decision{}
	}
	if r.Parked == ParkedElsewhere {
		return transit()
	}
	if op, ok := p.heirToRemote(r); ok {
		return do(op)
	}
	if !p.role.in {
		return p.extra(r)
	}
	spot, d, ok := p.placeLocal(r, nil)
	if !ok {
		return d
	}
	meta := metaOf(r.Kind, r.Meta)
	create := Op{
		Kind: OpCreateLocal, Object: r.Kind, Remote: r.ID, Parent: spot.parent.ID, Name: spot.name, Aside: spot.aside, Numbered: spot.numbered, Meta: meta,
		Expect: r.expect(),
		After: Binding{
			Parent: spot.parent.ID, Kind: r.Kind, LocalName: spot.name, LocalMeta: meta,
			Remote: r.ID, RemoteName: r.Name, RemoteContent: r.Content, RemoteHash: r.Hash, RemoteSize: r.Size, RemoteMeta: meta,
		},
	}
	return Decision{Ops: append(spot.first, create), Conflict: spot.conflict}
}

func do(ops ...Op) Decision { return Decision{Ops: ops} }

func settle() Decision { return Decision{Wait: &Wait{Reason: WaitSettle}} }

func transit() Decision { return Decision{Wait: &Wait{Reason: WaitTransit}} }

func waitFor(reason Reason, on Subject) Decision {
	return Decision{Wait: &Wait{Reason: reason, On: on}}
}

func (d Decision) idle() bool { return len(d.Ops) == 0 && d.Wait == nil }

// firstOf returns the first decision with operations, else the first that
// waits, else rest.
func firstOf(s pair, steps ...func(pair) Decision) Decision {
	var waiting Decision
	for _, step := range steps {
		d := step(s)
		if len(d.Ops) > 0 {
			return d
		}
		if waiting.Wait == nil {
			waiting = d
		}
	}
	return waiting
}
