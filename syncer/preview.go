package syncer

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"vdfs/cache"
	"vdfs/internal/ignore"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// Preview is what the first contact of a conduit would do. Directories are not counted.
type Preview struct {
	Conduit cache.Conduit
	At      string
	Ends    []PreviewEnd // source first
	// Paths are those of conflicts and of what would be deleted, up to previewPaths of each, below At.
	Conflicts, Deletes []string
}

// PreviewEnd is what would happen at one endpoint.
type PreviewEnd struct {
	Endpoint string
	Role     cache.Role
	Sent     Tally // what it would get
	Taken    Tally // what would come from it
	Deleted  Tally // what it would lose: to its trash
	Released Tally // what it would give up once the archive has it
	// Conflicts are names under which it has something else than the sides before it.
	Conflicts int64
}

// Tally is a number of files and their bytes.
type Tally struct{ Files, Bytes int64 }

func (t *Tally) add(size int64) {
	t.Files++
	t.Bytes += size
}

// previewPaths is how many paths of a kind a preview names.
const previewPaths = 100

// errUndo ends a transaction whose changes are not wanted.
var errUndo = errors.New("only to see whether it works")

// PreviewConduit tells what CreateConduit would do, or refuses what it would refuse. It compares as the first contact does,
// so that files of one size are read on both sides. Nothing changes but that directories of the drive may be
// looked into.
func (e *Engine) PreviewConduit(ctx context.Context, s Spec) (*Preview, error) {
	d, err := e.drafted(ctx, s)
	if err != nil {
		return nil, err
	}
	err = e.Cache.Update(0, func(tx *cache.Tx) error {
		if err := d.create(tx); err != nil {
			return err
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		return nil, d.refusal(err)
	}
	p := &preview{e: e, d: d, rules: rulesOf(d.cd, cache.RoleTarget), out: &Preview{Conduit: d.cd, At: d.at}}
	for _, l := range d.legs {
		ep, err := e.open(ctx, l.Endpoint)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.ends = append(p.ends, previewEnd{
			PreviewEnd: PreviewEnd{Endpoint: l.Endpoint, Role: l.Role}, ep: ep,
			in: p.rules.Policy != plan.Replicate || l.Role == cache.RoleSource, out: !oneWay(d.cd) || l.Role == cache.RoleTarget,
		})
	}
	err = p.run(ctx)
	if err = errors.Join(err, p.close()); err != nil {
		return nil, err
	}
	for _, end := range p.ends {
		p.out.Ends = append(p.out.Ends, end.PreviewEnd)
	}
	return p.out, nil
}

type preview struct {
	e     *Engine
	d     *draft
	rules plan.Rules
	out   *Preview
	ends  []previewEnd
}

type previewEnd struct {
	PreviewEnd
	ep      remote.Endpoint
	in, out bool // what flows from it into the drive, and from the drive to it
}

func (p *preview) close() (err error) {
	for _, end := range p.ends {
		err = errors.Join(err, end.ep.Close())
	}
	return err
}

// level is one directory on all sides.
type level struct {
	path  string
	rules *ignore.Dir     // nil: nothing is ignored
	drive cache.Ino       // 0: the drive does not have it
	dirs  []remote.ItemID // by end; "": it does not have it
}

// thing is an object on one side.
type thing struct {
	kind   cache.Kind
	size   int64
	target string
	hash   cache.Hash
	end    int // -1: the drive
	node   cache.Node
	id     remote.ItemID
	pin    remote.Content
}

// run goes through all directories; only those that are still to be looked into are held.
func (p *preview) run(ctx context.Context) error {
	top := level{}
	err := p.e.Cache.View(func(tx *cache.Tx) error {
		e, err := tx.Resolve(p.d.at)
		if errors.Is(err, cache.ErrNotFound) {
			return nil
		}
		top.drive = e.Ino
		return err
	})
	if err != nil {
		return err
	}
	for _, end := range p.ends {
		st, err := end.ep.Check(ctx)
		if err != nil {
			return err
		}
		top.dirs = append(top.dirs, st.Root)
	}
	book := p.e.rulebook()
	if p.d.cd.UseIndexRules {
		top.rules = ignore.Root(slices.Concat(book.everywhere, []*ignore.List{book.files[top.drive].list})...)
	}
	for todo := []level{top}; len(todo) > 0; {
		last := len(todo) - 1
		at := todo[last]
		todo = todo[:last]
		below, err := p.compare(ctx, at)
		if err != nil {
			return err
		}
		todo = append(todo, below...)
	}
	return nil
}

// compare looks at one directory and returns those in it.
func (p *preview) compare(ctx context.Context, at level) (below []level, err error) {
	drive, err := p.inDrive(ctx, at.drive)
	if err != nil {
		return nil, err
	}
	sides := map[string][]*thing{} // by name: the drive and the ends
	put := func(i int, things map[string]*thing) {
		for name, t := range things {
			if at.rules != nil && at.rules.Match(name, t.kind == cache.Dir) != nil {
				continue
			}
			if sides[name] == nil {
				sides[name] = make([]*thing, len(p.ends)+1)
			}
			sides[name][i] = t
		}
	}
	put(0, drive)
	for i := range p.ends {
		there, err := p.atEnd(ctx, i, at.dirs[i])
		if err != nil {
			return nil, err
		}
		put(i+1, there)
	}
	for _, name := range slices.Sorted(maps.Keys(sides)) {
		full := path.Join(at.path, name)
		if err := p.weigh(ctx, full, sides[name]); err != nil {
			return nil, err
		}
		if next, ok := descend(full, sides[name]); ok {
			if at.rules != nil {
				next.rules = at.rules.Enter(name, p.e.rulebook().files[next.drive].list)
			}
			below = append(below, next)
		}
	}
	return below, nil
}

// descend is the directory of one name, if it is one on any side.
func descend(name string, sides []*thing) (next level, ok bool) {
	next = level{path: name, dirs: make([]remote.ItemID, len(sides)-1)}
	for i, t := range sides {
		if t == nil || t.kind != cache.Dir {
			continue
		}
		ok = true
		if i == 0 {
			next.drive = t.node.Ino
		} else {
			next.dirs[i-1] = t.id
		}
	}
	return next, ok
}

// inDrive is what a directory of the drive has that is synced.
func (p *preview) inDrive(ctx context.Context, dir cache.Ino) (map[string]*thing, error) {
	out := map[string]*thing{}
	if dir == 0 {
		return out, nil
	}
	n, err := p.e.Cache.Attr(dir)
	if err == nil && n.Listing != cache.Listed {
		err = p.e.List(ctx, dir)
	}
	if err != nil {
		return nil, err
	}
	for after := cache.DentryID(0); ; {
		var page []cache.Entry
		err := p.e.Cache.View(func(tx *cache.Tx) (err error) {
			page, err = tx.Children(dir, after, pageSize)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			after = e.ID
			if e.LocalOnly && p.d.cd.UseIndexRules || e.Node.Kind.Special() || e.Node.Kind == cache.Dir && e.Node.Place != n.Place {
				continue
			}
			out[e.Name] = &thing{kind: e.Node.Kind, size: e.Node.Size, target: e.Node.Target, hash: e.Node.Hash, end: -1, node: e.Node}
		}
		if len(page) < pageSize {
			return out, nil
		}
	}
}

// atEnd is what a directory of an endpoint has that is synced.
func (p *preview) atEnd(ctx context.Context, i int, dir remote.ItemID) (map[string]*thing, error) {
	out := map[string]*thing{}
	if dir == "" {
		return out, nil
	}
	entries, err := listAll(ctx, p.ends[i].ep, dir)
	if errors.Is(err, remote.ErrDenied) || errors.Is(err, remote.ErrDetached) {
		return out, nil // the first contact leaves it out as well
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		kind, ok := remoteKind(e.Kind)
		if !ok || strings.HasPrefix(e.Name, remote.ParkPrefix) {
			continue
		}
		out[e.Name] = &thing{kind: kind, size: e.Size, target: e.Target, hash: hashIn(e), end: i, id: e.ID, pin: e.Content}
	}
	return out, nil
}

// weigh counts what would become of one name. sides are the drive and the ends.
func (p *preview) weigh(ctx context.Context, name string, sides []*thing) error {
	var keep []*thing // different versions, the one that everybody gets first
	if sides[0] != nil {
		keep = append(keep, sides[0])
	}
	for i := range p.ends {
		t := sides[i+1]
		if t == nil || !p.ends[i].in {
			continue
		}
		known, err := p.among(ctx, t, keep)
		if err != nil {
			return err
		}
		if known {
			continue
		}
		if len(keep) > 0 && p.rules.Policy != plan.Archive { // there it gets a numbered name
			p.ends[i].Conflicts++
			p.out.Conflicts = note(p.out.Conflicts, name)
			if p.rules.Strategy != plan.ConflictFile {
				continue // one of them holds
			}
		}
		keep = append(keep, t)
		p.count(&p.ends[i].Taken, t)
	}
	for i := range p.ends {
		end, t := &p.ends[i], sides[i+1]
		if t != nil && end.Role == cache.RoleSource && p.rules.Policy == plan.Archive {
			p.count(&end.Released, t)
		}
		if err := p.bring(ctx, name, end, t, keep); err != nil {
			return err
		}
	}
	return nil
}

// bring counts what an end would get of one name, and lose.
func (p *preview) bring(ctx context.Context, name string, end *previewEnd, t *thing, keep []*thing) error {
	if !end.out {
		return nil
	}
	extra := t != nil && !end.in && t.kind != cache.Dir && (len(keep) > 0 && keep[0].kind != t.kind || len(keep) == 0 && !p.rules.KeepExtra)
	if extra {
		p.count(&end.Deleted, t)
		p.out.Deletes = note(p.out.Deletes, name)
	}
	for _, k := range keep {
		if t != nil {
			same, err := p.same(ctx, t, k)
			if err != nil {
				return err
			}
			if same {
				continue
			}
		}
		p.count(&end.Sent, k)
	}
	return nil
}

func (p *preview) count(to *Tally, t *thing) {
	if t.kind != cache.Dir {
		to.add(t.size)
	}
}

func note(list []string, name string) []string {
	if len(list) < previewPaths && !slices.Contains(list, name) {
		list = append(list, name)
	}
	return list
}

func (p *preview) among(ctx context.Context, t *thing, list []*thing) (bool, error) {
	for _, k := range list {
		if same, err := p.same(ctx, t, k); err != nil || same {
			return same, err
		}
	}
	return false, nil
}

// same compares two objects as the planner does where there is no base.
func (p *preview) same(ctx context.Context, a, b *thing) (bool, error) {
	switch {
	case a == b:
		return true, nil
	case a.kind != b.kind || a.size != b.size:
		return false, nil
	case a.kind == cache.Dir || a.kind == cache.File && a.size == 0:
		return true, nil
	case a.kind == cache.Symlink:
		return a.target == b.target, nil
	}
	for _, t := range []*thing{a, b} {
		if err := p.learn(ctx, t); err != nil {
			return false, err
		}
	}
	return a.hash == b.hash, nil
}

// learn reads a file to know its hash.
func (p *preview) learn(ctx context.Context, t *thing) error {
	if t.hash.Known() {
		return nil
	}
	if t.end < 0 {
		h, err := p.e.hashOf(ctx, t.node)
		t.hash = h
		return err
	}
	r, err := p.ends[t.end].ep.Read(ctx, t.id, t.pin, 0, -1)
	if err != nil {
		return err
	}
	t.hash, err = hashStream(r)
	return err
}

// hashOf is the BLAKE3 of a version of the drive, wherever its bytes are.
func (e *Engine) hashOf(ctx context.Context, n cache.Node) (cache.Hash, error) {
	s, err := e.Cache.Snapshot(n.Ino, n.Version)
	if err == nil {
		h, err := s.EnsureHash(ctx)
		return h, errors.Join(err, s.Close())
	}
	if !errors.Is(err, cache.ErrNotLocal) {
		return cache.Hash{}, err
	}
	r, _, err := e.Fetch(ctx, n.Ino, n.Version, 0, -1, nil)
	if err != nil {
		return cache.Hash{}, err
	}
	return hashStream(r)
}
