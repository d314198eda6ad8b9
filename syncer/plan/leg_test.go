package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"vdfs/syncer/plan"
)

// leg joins a drive to an endpoint: its base, and the endpoint as it was last
// observed. It is the Views of the planner.
type leg struct {
	name     string
	drive    *tree
	endpoint *tree
	observed *tree
	base     map[plan.BindingID]plan.Binding
	last     plan.BindingID
}

const rootBinding plan.BindingID = 1

func newLeg(name string, drive, endpoint *tree) *leg {
	l := &leg{name: name, drive: drive, endpoint: endpoint, base: map[plan.BindingID]plan.Binding{}, last: rootBinding}
	l.base[rootBinding] = plan.Binding{ID: rootBinding, Kind: plan.Dir, Dentry: rootID, Remote: remoteID(rootID)}
	l.pull()
	return l
}

func remoteID(id int64) plan.RemoteID { return plan.RemoteID(fmt.Sprintf("r%d", id)) }

func objectID(id plan.RemoteID) int64 {
	if id == "" {
		return 0
	}
	n, err := strconv.ParseInt(string(id[1:]), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// pull observes the endpoint; hashes that were learned stay known.
func (l *leg) pull() {
	seen := newTree(l.endpoint.name)
	seen.items = nil
	for _, x := range l.endpoint.items {
		c := *x
		if l.observed != nil {
			if old := l.observed.get(x.id); old != nil && old.version == x.version {
				c.known = c.known || old.known
			}
		}
		seen.items = append(seen.items, &c)
	}
	l.observed = seen
}

// look observes one object.
func (l *leg) look(id int64) {
	l.observed.items = slices.DeleteFunc(l.observed.items, func(x *item) bool { return x.id == id })
	x := l.endpoint.get(id)
	if x == nil {
		return
	}
	c := *x
	i, _ := slices.BinarySearchFunc(l.observed.items, id, func(x *item, id int64) int { return int(x.id - id) })
	l.observed.items = slices.Insert(l.observed.items, i, &c)
}

// subjects are all objects of the leg, in a fixed order.
func (l *leg) subjects() []plan.Subject {
	var out []plan.Subject
	for _, id := range slices.Sorted(maps.Keys(l.base)) {
		out = append(out, plan.Subject{Binding: id})
	}
	for _, x := range l.observed.items {
		if _, bound, _ := l.BindingOfRemote(remoteID(x.id)); !bound {
			out = append(out, plan.Subject{Remote: remoteID(x.id)})
		}
	}
	for _, x := range l.drive.items {
		if _, bound, _ := l.BindingOfDentry(plan.DentryID(x.id)); !bound {
			out = append(out, plan.Subject{Dentry: plan.DentryID(x.id)})
		}
	}
	return out
}

func (l *leg) parked(x *item) plan.Parked {
	switch x.parkedBy {
	case nil:
		return plan.NotParked
	case l:
		return plan.ParkedHere
	}
	return plan.ParkedElsewhere
}

func meta(x *item) plan.Meta {
	m := plan.Meta{Mode: x.mode, Mtime: x.mtime}
	if x.kind == plan.Symlink {
		m.Target = x.bytes
	}
	return m
}

func hash(x *item) string {
	if !x.known || x.kind != plan.File {
		return ""
	}
	return "h:" + x.bytes
}

func (l *leg) localOf(x *item) plan.Local {
	return plan.Local{
		ID: plan.DentryID(x.id), Parent: plan.DentryID(x.parent), Name: x.name, Kind: x.kind,
		Version: uint64(x.version), Hash: hash(x), Size: int64(len(x.bytes)), Meta: meta(x),
		Busy: x.busy, Ready: !x.busy, LocalOnly: l.drive.localOnly(x), Placeholder: x.placeholder, Parked: l.parked(x),
	}
}

func (l *leg) remoteOf(x *item) plan.Remote {
	r := plan.Remote{
		ID: remoteID(x.id), Name: x.name, Kind: x.kind, Hash: hash(x),
		Size: int64(len(x.bytes)), Meta: meta(x), Parked: l.parked(x),
	}
	if x.kind == plan.File {
		r.Content = fmt.Sprintf("c%d", x.version)
	}
	if x.parent != 0 {
		r.Parent = remoteID(x.parent)
	}
	return r
}

func (l *leg) Root() plan.Binding { return l.base[rootBinding] }

func (l *leg) Binding(id plan.BindingID) (plan.Binding, bool, error) {
	b, ok := l.base[id]
	return b, ok, nil
}

func (l *leg) first(match func(plan.Binding) bool) (plan.Binding, bool, error) {
	for _, id := range slices.Sorted(maps.Keys(l.base)) {
		if b := l.base[id]; match(b) {
			return b, true, nil
		}
	}
	return plan.Binding{}, false, nil
}

func (l *leg) BindingOfDentry(id plan.DentryID) (plan.Binding, bool, error) {
	for _, b := range l.base {
		if b.Dentry == id {
			return b, true, nil
		}
	}
	return plan.Binding{}, false, nil
}

func (l *leg) BindingOfRemote(id plan.RemoteID) (plan.Binding, bool, error) {
	for _, b := range l.base {
		if b.Remote == id {
			return b, true, nil
		}
	}
	return plan.Binding{}, false, nil
}

func (l *leg) each(match func(plan.Binding) bool, yield func(plan.Binding) bool) {
	_, _, _ = l.first(func(b plan.Binding) bool { return match(b) && !yield(b) })
}

func (l *leg) BindingsAt(parent plan.BindingID, name string, yield func(plan.Binding) bool) error {
	l.each(func(b plan.Binding) bool {
		return b.Parent == parent && (b.LocalName == name || b.RemoteName == name)
	}, yield)
	return nil
}

func (l *leg) Local(id plan.DentryID) (plan.Local, bool, error) {
	if x := l.drive.get(int64(id)); x != nil {
		return l.localOf(x), true, nil
	}
	return plan.Local{}, false, nil
}

func (l *leg) LocalAt(parent plan.DentryID, name string) (plan.Local, bool, error) {
	if x := l.drive.at(int64(parent), name); x != nil {
		return l.localOf(x), true, nil
	}
	return plan.Local{}, false, nil
}

func (l *leg) LocalChildren(parent plan.DentryID, yield func(plan.Local) bool) error {
	for _, x := range l.drive.children(int64(parent)) {
		if !yield(l.localOf(x)) {
			break
		}
	}
	return nil
}

func (l *leg) Remote(id plan.RemoteID) (plan.Remote, bool, error) {
	if x := l.observed.get(objectID(id)); x != nil {
		return l.remoteOf(x), true, nil
	}
	return plan.Remote{ID: id, Gone: true}, true, nil
}

func (l *leg) RemoteAt(parent plan.RemoteID, name string) (plan.Remote, bool, error) {
	if x := l.observed.at(objectID(parent), name); x != nil {
		return l.remoteOf(x), true, nil
	}
	return plan.Remote{}, false, nil
}

func (l *leg) RemoteChildren(parent plan.RemoteID, yield func(plan.Remote) bool) error {
	for _, x := range l.observed.children(objectID(parent)) {
		if !yield(l.remoteOf(x)) {
			break
		}
	}
	return nil
}
