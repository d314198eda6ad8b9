package syncer

import (
	"vdfs/syncer/plan"
)

// dirs remembers bound directories while objects are made in them, in one transaction: each asks for all those above it, which
// stay what they are. Whatever else is done in the transaction has them forgotten. nil remembers nothing.
type dirs struct {
	bindings map[plan.BindingID]plan.Binding
	dentries map[plan.DentryID]plan.BindingID
	remotes  map[plan.RemoteID]plan.BindingID
	here     map[plan.DentryID]plan.Local
	there    map[plan.RemoteID]plan.Remote
}

func newDirs() *dirs {
	return &dirs{
		bindings: make(map[plan.BindingID]plan.Binding), dentries: make(map[plan.DentryID]plan.BindingID),
		remotes: make(map[plan.RemoteID]plan.BindingID), here: make(map[plan.DentryID]plan.Local), there: make(map[plan.RemoteID]plan.Remote),
	}
}

// forget forgets what an operation may change.
func (d *dirs) forget(op plan.Op) {
	if d != nil && op.Kind != plan.OpCreateLocal {
		*d = *newDirs()
	}
}

func (d *dirs) binding(id plan.BindingID) (b plan.Binding, ok bool) {
	if d != nil {
		b, ok = d.bindings[id]
	}
	return b, ok
}

func (d *dirs) ofDentry(id plan.DentryID) (b plan.Binding, ok bool) {
	if d != nil {
		b, ok = d.bindings[d.dentries[id]]
	}
	return b, ok
}

func (d *dirs) ofRemote(id plan.RemoteID) (b plan.Binding, ok bool) {
	if d != nil {
		b, ok = d.bindings[d.remotes[id]]
	}
	return b, ok
}

func (d *dirs) local(id plan.DentryID) (l plan.Local, ok bool) {
	if d != nil {
		l, ok = d.here[id]
	}
	return l, ok
}

func (d *dirs) remote(id plan.RemoteID) (r plan.Remote, ok bool) {
	if d != nil {
		r, ok = d.there[id]
	}
	return r, ok
}
