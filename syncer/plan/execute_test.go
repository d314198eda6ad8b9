package plan_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vdfs/syncer/plan"
	"vdfs/syncer/plan/aside"
)

// errRefused is the endpoint's answer when a precondition does not hold.
var errRefused = errors.New("refused by the endpoint")

// execute carries out one operation as the engine would. Operations towards
// the drive and on the base were decided from this very state, so nothing may
// be in their way; the endpoint may refuse.
func (l *leg) execute(w *world, op plan.Op) error {
	w.count[op.Kind]++
	switch op.Kind.Side() {
	case plan.SideDrive:
		return l.onDrive(w, op)
	case plan.SideEndpoint:
		return l.onEndpoint(w, op)
	case plan.SideBase:
		return l.onBase(op)
	}
	return l.learn(w, op)
}

func (l *leg) bind(b plan.Binding) {
	if b.ID == 0 {
		l.last++
		b.ID = l.last
	}
	l.base[b.ID] = b
}

func (l *leg) onBase(op plan.Op) error {
	switch op.Kind {
	case plan.OpUnbind:
		l.drop(op.Binding)
		return nil
	case plan.OpBind, plan.OpAgree, plan.OpDisown, plan.OpMarkRelease, plan.OpRebindLocal, plan.OpRebindRemote:
		for id, b := range l.base {
			if id != op.After.ID && (b.Dentry == op.After.Dentry && b.Dentry != 0 || b.Remote == op.After.Remote && b.Remote != "") {
				return fmt.Errorf("%s: binding %d has a side of %+v", op.Kind, id, op.After)
			}
		}
		l.bind(op.After)
		return nil
	}
	return fmt.Errorf("unknown operation %s", op.Kind)
}

func (l *leg) drop(id plan.BindingID) {
	delete(l.base, id)
	for _, b := range l.base {
		if b.Parent == id && id != 0 {
			b.Parent = 0
			l.base[b.ID] = b
		}
	}
}

func (l *leg) onDrive(w *world, op plan.Op) error {
	d := l.drive
	x := d.get(int64(op.Dentry))
	if x == nil && op.Kind != plan.OpCreateLocal && op.Kind != plan.OpRestoreLocal {
		return fmt.Errorf("%s: no dentry %d", op.Kind, op.Dentry)
	}
	switch op.Kind {
	case plan.OpCreateLocal, plan.OpRestoreLocal:
		return l.createLocal(op)
	case plan.OpUpdateLocal, plan.OpSplitLoser:
		return l.updateLocal(w, op, x)
	case plan.OpMoveLocal:
		name := l.nameFor(op, l.base[op.Parent].Dentry)
		if err := d.move(x.id, int64(l.base[op.Parent].Dentry), name); err != nil {
			return err
		}
		op.After.LocalName = name
		l.bind(op.After)
	case plan.OpSetLocalMeta:
		x.mode = op.Meta.Mode
		if x.kind == plan.File {
			x.mtime = op.Meta.Mtime
		}
		l.bind(op.After)
	case plan.OpDeleteLocal:
		if op.Trash {
			if err := w.keep(x); err != nil {
				return err
			}
		}
		if err := d.remove(x.id); err != nil {
			return err
		}
		l.drop(op.Binding)
		return nil
	case plan.OpRenameAside:
		return d.move(x.id, x.parent, l.madeName(op, x.parent))
	case plan.OpParkLocal:
		if err := d.move(x.id, x.parent, fmt.Sprintf(".park-%s-%d", l.name, op.Binding)); err != nil {
			return err
		}
		x.parkedBy = l
	default:
		return fmt.Errorf("unknown operation %s", op.Kind)
	}
	return nil
}

func (l *leg) nameFor(op plan.Op, parent plan.DentryID) string {
	if op.Aside {
		return l.madeName(op, int64(parent))
	}
	return op.Name
}

// madeName is a name made from one that is taken.
func (l *leg) madeName(op plan.Op, parent int64) string {
	if op.Numbered {
		return aside.Number(op.Name, func(n string) bool { return l.drive.at(parent, n) != nil })
	}
	return l.conflictName(parent, op.Name)
}

func (l *leg) conflictName(parent int64, name string) string {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return aside.Name(name, l.drive.name, at, func(n string) bool { return l.drive.at(parent, n) != nil })
}

func (l *leg) createLocal(op plan.Op) error {
	src := l.observed.get(objectID(op.Remote))
	if src == nil {
		return fmt.Errorf("%s: %q was not observed", op.Kind, op.Remote)
	}
	parent := l.base[op.Parent].Dentry
	name := l.nameFor(op, parent)
	x, err := l.drive.add(int64(parent), name, item{
		kind: op.Object, bytes: src.bytes, mode: op.Meta.Mode, mtime: op.Meta.Mtime, known: src.known, placeholder: op.Object == plan.File,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", op.Kind, err)
	}
	op.After.Dentry, op.After.LocalVersion, op.After.LocalName = plan.DentryID(x.id), uint64(x.version), name
	l.bind(op.After)
	return nil
}

func (l *leg) updateLocal(w *world, op plan.Op, x *item) error {
	src := l.observed.get(objectID(op.Remote))
	if x.busy || src == nil {
		return fmt.Errorf("%s: busy dentry or unknown object", op.Kind)
	}
	if op.Kind == plan.OpSplitLoser {
		if x.placeholder {
			return fmt.Errorf("%s: the loser is a placeholder", op.Kind)
		}
		loser := *x
		if _, err := l.drive.add(x.parent, l.conflictName(x.parent, op.Name), loser); err != nil {
			return fmt.Errorf("%s: %w", op.Kind, err)
		}
	}
	if op.Trash {
		if err := w.keep(x); err != nil {
			return err
		}
	}
	x.bytes, x.known, x.version, x.placeholder = src.bytes, src.known, x.version+1, x.kind == plan.File
	x.mode = op.Meta.Mode
	x.mtime = op.Meta.Mtime
	op.After.LocalVersion = uint64(x.version)
	l.bind(op.After)
	return nil
}

// onEndpoint acts on the endpoint itself. A reply that is lost leaves the base
// as it was.
func (l *leg) onEndpoint(w *world, op plan.Op) error {
	id, err := l.send(w, op)
	if err != nil {
		l.pull()
		return fmt.Errorf("%s: %w: %w", op.Kind, errRefused, err)
	}
	if w.loseReply() {
		l.pull()
		return nil
	}
	l.look(id)
	switch op.Kind {
	case plan.OpDeleteRemote, plan.OpRelease:
		l.drop(op.Binding)
		return nil
	case plan.OpParkRemote:
		if op.Binding == 0 {
			return nil
		}
	}
	x := l.endpoint.get(id)
	op.After.Remote, op.After.RemoteName, op.After.RemoteMeta = remoteID(id), x.name, meta(x)
	if x.kind == plan.File {
		op.After.RemoteContent = token(x)
	}
	if (op.Kind == plan.OpPut || op.Kind == plan.OpReplace) && x.kind == plan.File {
		op.After.RemoteHash = "h:" + x.bytes // who sends a file knows it
	}
	l.bind(op.After)
	return nil
}

func (l *leg) send(w *world, op plan.Op) (int64, error) {
	e := l.endpoint
	parent := objectID(l.base[op.Parent].Remote)
	switch op.Kind {
	case plan.OpMkdir, plan.OpSymlink, plan.OpPut, plan.OpRestoreRemote:
		return l.sendNew(w, op, parent)
	}
	x := e.get(objectID(op.Remote))
	if x == nil {
		return 0, errors.New("gone")
	}
	if x.kind == plan.File && token(x) != op.Expect.RemoteContent {
		return 0, errors.New("content has changed")
	}
	switch op.Kind {
	case plan.OpReplace:
		src, err := l.source(w, op)
		if err != nil {
			return 0, err
		}
		if op.Trash {
			w.save(x)
		}
		x.bytes, x.version, x.known = src.bytes, x.version+1, src.known
		x.mode, x.mtime = op.Meta.Mode, op.Meta.Mtime
		return x.id, nil
	case plan.OpSetRemoteMeta:
		x.mode = op.Meta.Mode
		if x.kind == plan.File && x.mtime != op.Meta.Mtime {
			x.mtime, x.known = op.Meta.Mtime, false // others knew its hash by the token
		}
		return x.id, nil
	}
	if remoteID(x.parent) != op.Expect.RemoteParent || x.name != op.Expect.RemoteName {
		return 0, errors.New("was moved")
	}
	return x.id, l.rename(w, op, x, parent)
}

// rename moves or removes a name of the endpoint.
func (l *leg) rename(w *world, op plan.Op, x *item, parent int64) error {
	e := l.endpoint
	switch op.Kind {
	case plan.OpMoveRemote:
		if op.Parent == 0 {
			parent = x.parent
		}
		return e.move(x.id, parent, op.Name)
	case plan.OpDeleteRemote:
		if op.Dentry != 0 {
			w.trash[x.bytes] = true
		}
		if op.Trash {
			w.save(x)
		}
		return e.remove(x.id)
	case plan.OpRelease:
		if err := w.mayRelease(l, x); err != nil {
			w.broken = err
			return err
		}
		return e.remove(x.id)
	case plan.OpParkRemote:
		err := e.move(x.id, x.parent, fmt.Sprintf(".park-%s-%d-%s", l.name, op.Binding, op.Remote))
		x.parkedBy = l
		return err
	}
	return fmt.Errorf("unknown operation %s", op.Kind)
}

func (l *leg) sendNew(w *world, op plan.Op, parent int64) (int64, error) {
	src, err := l.source(w, op)
	if err != nil {
		return 0, err
	}
	x, err := l.endpoint.add(parent, op.Name, item{
		kind: op.Object, bytes: src.bytes, mode: op.Meta.Mode, mtime: op.Meta.Mtime, known: src.known,
	})
	if err != nil {
		return 0, err
	}
	return x.id, nil
}

// source is the dentry whose version is sent; a placeholder must be readable
// from some endpoint at this moment.
func (l *leg) source(w *world, op plan.Op) (*item, error) {
	src := l.drive.get(int64(op.Dentry))
	if src == nil || src.busy || uint64(src.version) != op.Expect.LocalVersion {
		w.broken = fmt.Errorf("%s sends a version that is not there", op.Kind)
		return nil, w.broken
	}
	return src, w.readable(l.drive, src)
}

// keep puts the content of a dentry into the drive's trash, which holds whole files only.
func (w *world) keep(x *item) error {
	if x.placeholder {
		w.broken = fmt.Errorf("the bytes of %q are to be kept, and are not here", x.name)
		return w.broken
	}
	w.save(x)
	return nil
}

func (w *world) save(x *item) {
	if x.kind != plan.Dir {
		w.saved[x.bytes] = true
	}
}

// mayRelease is what an archive is for: somebody else has the bytes that are deleted at the source.
func (w *world) mayRelease(l *leg, x *item) error {
	switch {
	case x.kind == plan.Dir || w.saved[x.bytes]:
		return nil
	case l.archive == nil:
		return fmt.Errorf("%s releases %q, and no archive is there", l.name, x.name)
	}
	for _, o := range l.archive.endpoint.items {
		if o.kind == x.kind && o.bytes == x.bytes {
			return nil
		}
	}
	if w.parallel {
		return nil // somebody has just removed it there
	}
	return fmt.Errorf("%s releases %q with the bytes %q, which the archive has not", l.name, x.name, x.bytes)
}

// merge puts two contents together if they are of one length, which stands for whatever may keep a real merge from working.
func (l *leg) merge(w *world, op plan.Op) error {
	x, o := l.drive.get(int64(op.Dentry)), l.observed.get(objectID(op.Remote))
	if x.placeholder || uint64(x.version) != op.Expect.LocalVersion {
		w.broken = errors.New("a version is merged that is not here")
		return w.broken
	}
	if len(x.bytes) != len(o.bytes) || x.bytes == o.bytes {
		l.decided[l.versions(x)] = plan.ConflictFile
		return nil
	}
	w.saved[x.bytes], w.saved[o.bytes] = true, true
	parts := append(strings.Split(x.bytes, "+"), strings.Split(o.bytes, "+")...)
	slices.Sort(parts)
	x.bytes = strings.Join(slices.Compact(parts), "+")
	w.merged[x.bytes] = true
	x.version, x.known = x.version+1, false
	l.bind(op.After)
	return nil
}

func (l *leg) learn(w *world, op plan.Op) error {
	switch op.Kind {
	case plan.OpNeedLocalHash:
		x := l.drive.get(int64(op.Dentry))
		if err := w.readable(l.drive, x); err != nil {
			return fmt.Errorf("%s: %w: %w", op.Kind, errRefused, err)
		}
		x.known = true
	case plan.OpNeedRemoteHash:
		l.observed.get(objectID(op.Remote)).known = true
	case plan.OpNeedBytes:
		x := l.drive.get(int64(op.Dentry))
		if err := w.readable(l.drive, x); err != nil {
			return fmt.Errorf("%s: %w: %w", op.Kind, errRefused, err)
		}
		x.placeholder = false
	case plan.OpMerge:
		return l.merge(w, op)
	default:
		return fmt.Errorf("unknown operation %s", op.Kind)
	}
	return nil
}
