package plan_test

import (
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
	rules    plan.Rules
	// archive is the leg whose proofs count for this one.
	archive *leg
	// proofs are the tokens of the objects that were proved to be stored.
	proofs map[plan.BindingID]string
	// silent says that nothing is proved for the time being.
	silent bool
	// decided are strategies for two versions that are in conflict.
	decided map[versions]plan.Strategy
}

// versions are what the two sides of a conflict have.
type versions struct {
	dentry, version int64
	token           string
}

var (
	twoWay = plan.Rules{Policy: plan.Synchronize, End: plan.Target, Strategy: plan.ConflictFile}
	cached = plan.Rules{Policy: plan.Offload, End: plan.Target, Strategy: plan.ConflictFile}
)

const rootBinding plan.BindingID = 1

func newLeg(name string, drive, endpoint *tree) *leg {
	l := &leg{
		name: name, drive: drive, endpoint: endpoint, base: map[plan.BindingID]plan.Binding{}, last: rootBinding, rules: twoWay,
		proofs: map[plan.BindingID]string{}, decided: map[versions]plan.Strategy{},
	}
	l.base[rootBinding] = plan.Binding{ID: rootBinding, Kind: plan.Dir, Dentry: rootID, Remote: remoteID(rootID)}
	l.pull()
	return l
}

func remoteID(id int64) plan.RemoteID { return plan.RemoteID("r" + strconv.FormatInt(id, 10)) }

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
			if old := l.observed.get(x.id); old != nil && token(old) == token(x) {
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

// token moves with the time, as that of an endpoint that cannot look into its files.
func token(x *item) string {
	return "c" + strconv.FormatInt(x.version, 10) + "-" + strconv.FormatInt(x.mtime, 10)
}

func (l *leg) localOf(x *item) plan.Local {
	return plan.Local{
		ID: plan.DentryID(x.id), Parent: plan.DentryID(x.parent), Name: x.name, Kind: x.kind,
		Version: uint64(x.version), Hash: hash(x), Size: int64(len(x.bytes)), Meta: meta(x),
		Busy: x.busy, Ready: !x.busy, LocalOnly: l.drive.localOnly(x), Placeholder: x.placeholder, Parked: l.parked(x), Unlisted: x.unlisted,
		Proved: l.archive != nil && l.archive.proved(x), Strategy: l.strategy(x),
	}
}

// strategy is what was decided for the versions that x and its object have.
func (l *leg) strategy(x *item) plan.Strategy {
	if len(l.decided) == 0 {
		return 0
	}
	return l.decided[l.versions(x)]
}

// proved reports whether the endpoint has proved to store what the dentry has.
func (l *leg) proved(x *item) bool {
	b, ok, _ := l.BindingOfDentry(plan.DentryID(x.id))
	switch {
	case !ok:
		return false
	case x.kind == plan.File:
		return b.LocalVersion == uint64(x.version) && b.LocalMeta == meta(x) && l.proofs[b.ID] != "" && l.proofs[b.ID] == b.RemoteContent
	case x.kind == plan.Symlink:
		return b.LocalMeta.Target == x.bytes && b.RemoteMeta.Target == x.bytes
	}
	return true
}

// prove has the endpoint tell what it stores of what it was sent, at times, and
// returns how often it did.
func (l *leg) prove(sometimes func() bool) (told int) {
	if l.silent {
		return 0
	}
	for _, id := range slices.Sorted(maps.Keys(l.base)) {
		b := l.base[id]
		x := l.endpoint.get(objectID(b.Remote))
		if b.Kind == plan.File && x != nil && token(x) == b.RemoteContent && l.proofs[id] != b.RemoteContent && sometimes() {
			l.proofs[id] = b.RemoteContent
			told++
		}
	}
	return told
}

// versions are those of a bound dentry and its object.
func (l *leg) versions(x *item) versions {
	v := versions{dentry: x.id, version: x.version}
	if b, ok, _ := l.BindingOfDentry(plan.DentryID(x.id)); ok {
		if o := l.observed.get(objectID(b.Remote)); o != nil {
			v.token = token(o)
		}
	}
	return v
}

func (l *leg) remoteOf(x *item) plan.Remote {
	r := plan.Remote{
		ID: remoteID(x.id), Name: x.name, Kind: x.kind, Hash: hash(x),
		Size: int64(len(x.bytes)), Meta: meta(x), Parked: l.parked(x), Unlisted: x.unlisted,
	}
	if x.kind == plan.File {
		r.Content = token(x)
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

func (l *leg) BindingsAt(parent plan.BindingID, name string, yield func(plan.Binding) bool) error {
	var ids []plan.BindingID
	for id, b := range l.base {
		if b.Parent == parent && (b.LocalName == name || b.RemoteName == name) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		if !yield(l.base[id]) {
			break
		}
	}
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
