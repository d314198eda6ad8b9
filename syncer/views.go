package syncer

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"lukechampine.com/blake3"

	"vdfs/cache"
	"vdfs/internal/ignore"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// views shows the planner one leg as a transaction sees it.
type views struct {
	l    *leg
	tx   *cache.Tx
	root plan.Binding
	now  int64

	rules    plan.Rules
	patterns []rule
	dirs     *dirs // nil: nothing is remembered

	book         *rulebook // nil: nothing is ignored
	scopes       map[cache.Ino]*ignore.Dir
	remoteScopes map[string]*ignore.Dir
}

var _ plan.Views = (*views)(nil)

func (l *leg) views(tx *cache.Tx) (*views, error) {
	v := &views{l: l, tx: tx, now: l.e.now()}
	l.mu.Lock()
	v.rules, v.patterns = l.decides, l.patterns
	ignores := l.conduit.UseIndexRules
	l.mu.Unlock()
	if ignores {
		v.book = l.e.rulebook()
	}
	root, ok, err := tx.RootBinding(l.id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("leg %d has no root: %w", l.id, ErrUnknownConduit)
	}
	v.root = l.planBinding(root)
	return v, nil
}

// keep reduces metadata to what the leg's endpoint can keep.
func (l *leg) keep(mode uint32, mtime int64, target string) plan.Meta {
	return plan.Meta{Mode: l.caps.Perm.Keep(mode), Mtime: cut(mtime, l.caps.MtimeGrain), Target: target}
}

func cut(mtime int64, grain time.Duration) int64 {
	if grain <= 0 {
		return 0
	}
	t := mtime - mtime%int64(grain)
	if mtime < 0 && t != mtime {
		t -= int64(grain)
	}
	return t
}

func planKind(k cache.Kind) plan.Kind {
	if k.Special() {
		return plan.Special
	}
	return plan.Kind(k)
}

func hashToken(h cache.Hash) string {
	if !h.Known() {
		return ""
	}
	return string(h[:])
}

func tokenHash(s string) (h cache.Hash) {
	copy(h[:], s)
	return h
}

func (l *leg) planBinding(b cache.Binding) plan.Binding {
	return plan.Binding{
		ID: plan.BindingID(b.ID), Parent: plan.BindingID(max(b.Parent, 0)), Kind: planKind(b.Kind),
		Dentry: plan.DentryID(b.Dentry), LocalName: b.LocalName, LocalVersion: b.LocalVersion,
		LocalMeta: plan.Meta{Mode: b.LocalMode, Mtime: b.LocalMtime, Target: b.Target},
		Remote:    plan.RemoteID(b.RemoteID), RemoteName: b.RemoteName, RemoteContent: b.Content,
		RemoteHash: hashToken(b.Hash), RemoteSize: b.Size,
		RemoteMeta: plan.Meta{Mode: b.Mode, Mtime: b.Mtime, Target: b.Target}, Releasing: b.Releasing,
	}
}

func (l *leg) planRemote(o cache.Observed) plan.Remote {
	return plan.Remote{
		ID: plan.RemoteID(o.RemoteID), Parent: plan.RemoteID(o.Parent), Name: o.Name, Kind: planKind(o.Kind),
		Content: o.Content, Hash: hashToken(o.Hash), Size: o.Size,
		Meta: l.keep(o.Mode, o.Mtime, o.Target), Gone: o.Gone, Parked: l.parked(o.Name), Ignored: o.Ignored,
	}
}

// parked tells whose parking name a name is: it goes on with the token of the leg that gave it.
func (l *leg) parked(name string) plan.Parked {
	rest, ok := strings.CutPrefix(name, remote.ParkPrefix)
	switch {
	case !ok:
		return plan.NotParked
	case strings.HasPrefix(rest, l.token()+"-"):
		return plan.ParkedHere
	}
	return plan.ParkedElsewhere
}

// token names this leg in parking names, on every machine.
func (l *leg) token() string {
	u := strings.ReplaceAll(l.conduitRow().UUID, "-", "")
	return fmt.Sprintf("%.8s%d", u, l.id)
}

func (l *leg) parkName(key string) string { return remote.ParkPrefix + l.token() + "-" + key }

// parkNameOf is the parking name that an operation gives an object of the endpoint.
func (l *leg) parkNameOf(op plan.Op) string {
	if op.Binding != 0 {
		return l.parkName(fmt.Sprint(op.Binding))
	}
	id := blake3.Sum256([]byte(op.Remote)) // which may be any text
	return l.parkName(fmt.Sprintf("x%x", id[:8]))
}

func (v *views) Root() plan.Binding { return v.root }

func (v *views) binding(b cache.Binding, ok bool, err error) (plan.Binding, bool, error) {
	if err != nil || !ok {
		return plan.Binding{}, false, err
	}
	out := v.l.planBinding(b)
	if v.dirs != nil && out.Kind == plan.Dir {
		v.dirs.bindings[out.ID] = out
		v.dirs.dentries[out.Dentry], v.dirs.remotes[out.Remote] = out.ID, out.ID
	}
	return out, true, nil
}

func (v *views) Binding(id plan.BindingID) (plan.Binding, bool, error) {
	if b, ok := v.dirs.binding(id); ok {
		return b, true, nil
	}
	return v.binding(v.tx.Binding(cache.BindingID(id)))
}

func (v *views) BindingOfDentry(d plan.DentryID) (plan.Binding, bool, error) {
	if b, ok := v.dirs.ofDentry(d); ok {
		return b, true, nil
	}
	return v.binding(v.tx.BindingOfDentry(v.l.id, cache.DentryID(d)))
}

func (v *views) BindingOfRemote(r plan.RemoteID) (plan.Binding, bool, error) {
	if b, ok := v.dirs.ofRemote(r); ok {
		return b, true, nil
	}
	return v.binding(v.tx.BindingOfRemote(v.l.id, string(r)))
}

func (v *views) BindingsAt(parent plan.BindingID, name string, yield func(plan.Binding) bool) error {
	list, err := v.tx.BindingsAt(cache.BindingID(parent), name)
	if err != nil {
		return err
	}
	for _, b := range list {
		if !yield(v.l.planBinding(b)) {
			return nil
		}
	}
	return nil
}

func (v *views) BindingChildren(parent plan.BindingID, yield func(plan.Binding) bool) error {
	for after := ""; ; {
		page, err := v.tx.BindingChildren(cache.BindingID(parent), after, pageSize)
		if err != nil {
			return err
		}
		for _, b := range page {
			after = b.RemoteName
			if !yield(v.l.planBinding(b)) {
				return nil
			}
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

func (v *views) Local(id plan.DentryID) (plan.Local, bool, error) {
	if l, ok := v.dirs.local(id); ok {
		return l, true, nil
	}
	e, err := v.tx.Entry(cache.DentryID(id))
	if errors.Is(err, cache.ErrNotFound) {
		return plan.Local{}, false, nil
	}
	if err != nil {
		return plan.Local{}, false, err
	}
	l, ok, err := v.local(e)
	if v.dirs != nil && err == nil && l.Kind == plan.Dir {
		v.dirs.here[id] = l
	}
	return l, ok, err
}

func (v *views) LocalAt(parent plan.DentryID, name string) (plan.Local, bool, error) {
	ino, err := v.ino(parent)
	if err != nil || ino == 0 {
		return plan.Local{}, false, err
	}
	e, ok, err := v.tx.EntryAt(ino, name)
	if err != nil || !ok {
		return plan.Local{}, false, err
	}
	return v.local(e)
}

// ino is the directory behind a dentry, 0 when it is gone.
func (v *views) ino(d plan.DentryID) (cache.Ino, error) {
	row, err := v.tx.Dentry(cache.DentryID(d))
	if errors.Is(err, cache.ErrNotFound) {
		return 0, nil
	}
	return row.Ino, err
}

func (v *views) LocalChildren(parent plan.DentryID, yield func(plan.Local) bool) error {
	ino, err := v.ino(parent)
	if err != nil || ino == 0 {
		return err
	}
	for after := cache.DentryID(0); ; {
		page, err := v.tx.Children(ino, after, pageSize)
		if err != nil {
			return err
		}
		for _, e := range page {
			after = e.ID
			l, _, err := v.local(e)
			if err != nil {
				return err
			}
			if !yield(l) {
				return nil
			}
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

func (v *views) local(e cache.Entry) (plan.Local, bool, error) {
	n := e.Node
	out := plan.Local{
		ID: plan.DentryID(e.ID), Name: e.Name, Kind: planKind(n.Kind), Version: n.Version,
		Hash: hashToken(n.Hash), Size: n.Size, Meta: v.l.keep(remote.KnownMode(n.Mode), n.Mtime, n.Target),
		Busy:        n.Writing || v.l.e.Cache.InUse(n.Ino).Writers > 0,
		Placeholder: n.Kind == cache.File && n.Residency != cache.Full, Parked: v.l.parked(e.Name),
		Unlisted: n.Kind == cache.Dir && n.Listing != cache.Listed,
	}
	if e.Parent != 0 {
		parent, err := v.tx.DentryOf(e.Parent)
		if err != nil {
			return out, false, err
		}
		out.Parent = plan.DentryID(parent.ID)
	}
	var err error
	switch {
	case out.Busy:
		if err := v.asCopied(&out, e); err != nil {
			return out, false, err
		}
	case n.Kind == cache.File:
		if out.Ready, err = v.ready(e.ID); err != nil {
			return out, false, err
		}
	default:
		out.Ready = true
	}
	if out.LocalOnly, out.Ignored, err = v.localOnly(e); err != nil {
		return out, false, err
	}
	return out, true, v.byPolicy(&out, e)
}

// asCopied shows a file that is open for writing as it was when it was copied, until the endpoint has got that.
func (v *views) asCopied(out *plan.Local, e cache.Entry) error {
	n, ok := v.tx.Live(e.Node)
	if !ok {
		return nil
	}
	b, _, err := v.tx.BindingOfDentry(v.l.id, e.ID)
	if err != nil || b.LocalVersion == n.Version {
		return err
	}
	out.Version, out.Hash, out.Size, out.Ready = n.Version, hashToken(n.Hash), n.Size, true
	out.Meta = v.l.keep(remote.KnownMode(n.Mode), n.Mtime, n.Target)
	return nil
}

// ready tells whether the dentry's quiet period is over.
func (v *views) ready(d cache.DentryID) (bool, error) {
	it, ok, err := v.tx.LocalItem(v.l.id, d)
	return !ok || it.Due(v.now), err
}

// localOnly tells whether e, or a directory above it, never leaves this machine, and whether that is by a rule that may change.
func (v *views) localOnly(e cache.Entry) (yes, byRule bool, err error) {
	for range maxDepth {
		if plan.DentryID(e.ID) == v.root.Dentry || e.Parent == 0 {
			return false, false, nil
		}
		if yes, byRule, err = v.staysHere(e); err != nil || yes {
			return yes, byRule, err
		}
		d, err := v.tx.DentryOf(e.Parent)
		if err != nil {
			return false, false, err
		}
		n, err := v.tx.Node(d.Ino)
		if err != nil {
			return false, false, err
		}
		e = cache.Entry{Dentry: d, Node: n}
	}
	return false, false, errCycle
}

func (v *views) Remote(id plan.RemoteID) (plan.Remote, bool, error) {
	if r, ok := v.dirs.remote(id); ok {
		return r, true, nil
	}
	o, err := v.l.object(v.tx, string(id))
	if err != nil || o == nil {
		return plan.Remote{}, false, err
	}
	r, err := v.remote(*o)
	if _, bound := v.dirs.ofRemote(id); bound && err == nil {
		v.dirs.there[id] = r
	}
	return r, err == nil, err
}

func (v *views) RemoteAt(parent plan.RemoteID, name string) (plan.Remote, bool, error) {
	o, err := v.l.childAt(v.tx, string(parent), name)
	if err != nil || o == nil {
		return plan.Remote{}, false, err
	}
	r, err := v.remote(*o)
	return r, err == nil, err
}

func (v *views) RemoteChildren(parent plan.RemoteID, yield func(plan.Remote) bool) error {
	var failed error
	err := v.l.children(v.tx, string(parent), func(o cache.Observed) bool {
		var r plan.Remote
		if r, failed = v.remote(o); failed != nil {
			return false
		}
		return yield(r)
	})
	return errors.Join(err, failed)
}

// remoteKind is the drive's word for an endpoint's kind; false: the drive does not show it.
func remoteKind(k remote.Kind) (cache.Kind, bool) {
	switch k {
	case remote.File:
		return cache.File, true
	case remote.Dir:
		return cache.Dir, true
	case remote.Symlink:
		return cache.Symlink, true
	}
	return 0, false
}
