package syncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"vdfs/cache"
	"vdfs/internal/ignore"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
)

// What is ignored is told by lists that hold everywhere and by the ignore files of the drive, each for its directory and what is
// below. A rule is about names that nobody has agreed on: in the drive what has such a name is local only, at an endpoint it is
// passed over. What a leg has agreed on stays, by its place in the base, so that saving by another file is an update of it; what
// moves to a name that is ignored is gone on the other side.
//
// The text in force is kept in the index, as the bytes of a file may be elsewhere. It changes when a cycle finds that the drive
// has another version (settleRules), which comes before anything is decided. Names that may be ignored no more are looked for
// below the directory of the file: in the drive and, of what was passed over, in its rows (recheck).

// ignoreMax is how long an ignore file may be, in bytes; what is longer is not read.
const ignoreMax = 1 << 20

// ignoreSetting holds the lists that were in force everywhere when a daemon last ran.
const ignoreSetting = "sync.ignore"

// ignores are an engine's.
type ignores struct {
	reading sync.Mutex // held while texts are read and put in force

	mu      sync.Mutex
	now     *rulebook
	refused map[cache.Ino]refusal // files whose text could not be read
}

// rulebook is what is in force. It never changes.
type rulebook struct {
	everywhere []*ignore.List // the strongest last
	files      map[cache.Ino]inForce
}

// inForce is the list of a directory.
type inForce struct {
	ino     cache.Ino // the file that it is from
	version uint64
	text    string
	list    *ignore.List
}

// refusal is a version that could not be read, and when it is tried again.
type refusal struct {
	version uint64
	next    time.Time
}

func (e *Engine) rulebook() *rulebook {
	e.ignores.mu.Lock()
	defer e.ignores.mu.Unlock()
	return e.ignores.now
}

// loadIgnores begins with what was in force last. Where other lists hold everywhere than then, all places are looked at again.
func (e *Engine) loadIgnores() error {
	b := &rulebook{everywhere: e.Ignore, files: map[cache.Ino]inForce{}}
	var text strings.Builder
	for _, l := range e.Ignore {
		fmt.Fprintf(&text, "%s\n%s\n", l.Source, l.Text())
	}
	err := e.Cache.Update(0, func(tx *cache.Tx) error {
		files, err := tx.IgnoreInForce()
		if err != nil {
			return err
		}
		for _, f := range files {
			b.files[f.Dir] = inForce{f.Ino, f.Version, f.Text, ignore.Parse(cache.IgnoreName, f.Text)}
		}
		was, err := tx.Setting(ignoreSetting)
		if err != nil || string(was) == text.String() {
			return err
		}
		if was != nil {
			if b.negates() {
				if err := e.judgeLate(tx); err != nil {
					return err
				}
			}
			legs, err := tx.Legs()
			if err != nil {
				return err
			}
			for _, l := range legs {
				if err := tx.RecheckPlace(l.Place); err != nil {
					return err
				}
			}
		}
		return tx.SetSetting(ignoreSetting, []byte(text.String()))
	})
	if err != nil {
		return fmt.Errorf("load ignore files: %w", err)
	}
	e.ignores.now = b
	return nil
}

// negates reports whether a pattern brings names back.
func (b *rulebook) negates() bool {
	for _, l := range b.everywhere {
		if l.Negates() {
			return true
		}
	}
	for _, f := range b.files {
		if f.list.Negates() {
			return true
		}
	}
	return false
}

// judgeLate has names that were found to stay here by themselves judged again, and from now on when their turn comes.
func (e *Engine) judgeLate(tx *cache.Tx) error {
	if e.Late.Swap(true) {
		return nil
	}
	return tx.Unjudge()
}

// lookAtAll has all that a conduit's place shows looked at again, as the conduit goes by other rules.
func (e *Engine) lookAtAll(tx *cache.Tx, cd cache.Conduit) error {
	if !cd.UseIndexRules {
		if err := e.judgeLate(tx); err != nil {
			return err
		}
	}
	return tx.RecheckPlace(cd.Place)
}

// news are the ignore files that are not in force as they are, and the directories that have none any more.
func (e *Engine) news() (todo []cache.IgnoreFile, without []cache.Ino, err error) {
	b := e.rulebook()
	var have []cache.IgnoreFile
	err = e.Cache.View(func(tx *cache.Tx) (err error) {
		have, err = tx.IgnoreFiles()
		return err
	})
	if err != nil || len(have) == 0 && len(b.files) == 0 {
		return nil, nil, err
	}
	seen := map[cache.Ino]bool{}
	for _, f := range have {
		now := b.files[f.Dir]
		seen[f.Dir] = true
		if !f.Writing && (now.ino != f.Ino || now.version != f.Version) && e.mayRead(f) {
			todo = append(todo, f)
		}
	}
	for dir := range b.files {
		if !seen[dir] {
			without = append(without, dir)
		}
	}
	return todo, without, nil
}

// mayRead reports whether it is worth trying to read an ignore file.
func (e *Engine) mayRead(f cache.IgnoreFile) bool {
	e.ignores.mu.Lock()
	defer e.ignores.mu.Unlock()
	r, ok := e.ignores.refused[f.Ino]
	return !ok || r.version != f.Version || !e.Clock().Before(r.next)
}

// readRules puts in force what the drive's ignore files say now. One that cannot be read leaves what was in force.
func (e *Engine) readRules(ctx context.Context) error {
	if todo, without, err := e.news(); err != nil || len(todo)+len(without) == 0 {
		return err
	}
	e.ignores.reading.Lock()
	defer e.ignores.reading.Unlock()
	todo, without, err := e.news() // others may have been faster
	if err != nil {
		return err
	}
	for i := range todo {
		if err := e.readIgnore(ctx, &todo[i]); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			e.refuse(todo[i], err)
			todo[i].Ino = 0
		}
	}
	now := e.rulebook()
	next := &rulebook{everywhere: e.Ignore}
	err = e.Cache.Update(0, func(tx *cache.Tx) error {
		next.files = maps.Clone(now.files)
		for _, dir := range without {
			delete(next.files, dir)
			if err := tx.DropIgnore(dir); err != nil {
				return err
			}
		}
		for _, f := range todo {
			if f.Ino == 0 {
				continue
			}
			was := next.files[f.Dir]
			next.files[f.Dir] = inForce{f.Ino, f.Version, f.Text, ignore.Parse(cache.IgnoreName, f.Text)}
			if err := tx.PutIgnore(f, was.ino == 0 || was.text != f.Text); err != nil {
				return err
			}
		}
		if !next.negates() {
			return nil
		}
		return e.judgeLate(tx)
	})
	if err != nil {
		return fmt.Errorf("put ignore files in force: %w", err)
	}
	e.ignores.mu.Lock()
	e.ignores.now = next
	e.ignores.mu.Unlock()
	return nil
}

// refuse notes that an ignore file could not be read. It is told once of a version.
func (e *Engine) refuse(f cache.IgnoreFile, cause error) {
	e.ignores.mu.Lock()
	defer e.ignores.mu.Unlock()
	if e.ignores.refused == nil {
		e.ignores.refused = map[cache.Ino]refusal{}
	}
	if e.ignores.refused[f.Ino].version != f.Version {
		e.log.Warn("cannot read ignore file; what was in force stays so", "node", f.Ino, "error", cause)
	}
	e.ignores.refused[f.Ino] = refusal{f.Version, e.Clock().Add(minRetry)}
}

// readIgnore reads the text of a version, from here or from an endpoint that has it.
func (e *Engine) readIgnore(ctx context.Context, f *cache.IgnoreFile) error {
	if f.Size > ignoreMax {
		return fmt.Errorf("%d bytes are more than the %d that are read", f.Size, ignoreMax)
	}
	text := make([]byte, f.Size)
	s, err := e.Cache.Snapshot(f.Ino, f.Version)
	switch {
	case err == nil:
		if f.Size > 0 {
			_, err = s.ReadAt(text, 0)
		}
		err = errors.Join(err, s.Close())
	case errors.Is(err, cache.ErrNotLocal):
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		r, _, ferr := e.Fetch(ctx, f.Ino, f.Version, 0, f.Size, nil)
		if ferr != nil {
			return ferr
		}
		text, err = readWhole(r, f.Size)
	}
	f.Text = string(text)
	return err
}

// settleRules has the leg go by the ignore files as they are now, and finds what they ignore no more.
func (l *leg) settleRules(ctx context.Context) error {
	if err := l.e.readRules(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		some := false
		err := l.e.Cache.View(func(tx *cache.Tx) (err error) {
			_, some, err = tx.NextRecheck(l.place)
			return err
		})
		if err == nil && some {
			err = l.e.Cache.Update(0, func(tx *cache.Tx) error {
				u, ok, err := tx.NextRecheck(l.place)
				if err != nil || !ok {
					return err
				}
				return l.recheck(tx, u)
			})
		}
		if err != nil || !some {
			return err
		}
	}
	return ctx.Err()
}

// recheck looks at some names of a directory. What a leg of the place is to send, or to take away there, and has not heard of
// becomes its work, as does what was passed over at its endpoint.
func (l *leg) recheck(tx *cache.Tx, u cache.Unchecked) error {
	var all []*views
	here := map[*views]bool{} // the directory stays here
	for _, o := range l.e.current() {
		if o.place != l.place {
			continue
		}
		v, err := o.views(tx)
		if errors.Is(err, ErrUnknownConduit) {
			continue // it is being deleted
		}
		if err != nil {
			return err
		}
		if u.After == 0 {
			if row, _, err := tx.Leg(o.id); err != nil {
				return err
			} else if row.Cursor == "" {
				o.wake() // it is to ask for everything
			}
			if more, err := v.lookAgain(u); err != nil || more {
				return err // more of it in the next transaction
			}
		}
		if here[v], _, err = v.localOnly(u.Entry); err != nil {
			return err
		}
		all = append(all, v)
	}
	page, err := tx.Children(u.Ino, u.After, batchSize)
	if err != nil {
		return err
	}
	last := cache.DentryID(0)
	for _, e := range page {
		last = e.ID
		deeper := false
		for _, v := range all {
			more, err := v.recheckName(e, here[v])
			if err != nil {
				return err
			}
			deeper = deeper || more
		}
		if deeper {
			if err := tx.Recheck(e.ID); err != nil {
				return err
			}
		}
	}
	if len(page) < batchSize {
		last = 0
	}
	return tx.Rechecked(u.ID, last)
}

// recheckName is recheck for one name and one leg. deeper: what is in the directory of the name is to be looked at, too.
func (v *views) recheckName(e cache.Entry, dirStays bool) (deeper bool, err error) {
	stays := dirStays
	if !stays {
		if stays, _, err = v.staysHere(e); err != nil {
			return false, err
		}
	}
	b, bound, err := v.tx.BindingOfDentry(v.l.id, e.ID)
	if err != nil {
		return false, err
	}
	if stays == bound {
		err = v.tx.EnsureItem(v.l.id, b.ID, e.ID)
	}
	return e.Node.Kind == cache.Dir && e.Node.Place == v.l.place && (bound || !stays), err
}

// lookAgain has what the leg passed over in a directory decided anew, and in those that were there and are at the endpoint alone.
// more: it is not all yet.
func (v *views) lookAgain(u cache.Unchecked) (more bool, err error) {
	b, ok, err := v.tx.BindingOfDentry(v.l.id, u.ID)
	if err != nil || !ok {
		return false, err
	}
	for todo := []cache.Binding{b}; len(todo) > 0; {
		b, todo = todo[0], todo[1:]
		if more, err = v.tx.LookAgain(v.l.id, b.RemoteID, batchSize); err != nil || more {
			v.l.wake()
			return more, err
		}
		left, err := v.tx.LeftDirs(b.ID)
		if err != nil {
			return false, err
		}
		for _, d := range left { // it may be there for nothing else
			if err := v.tx.EnsureItem(v.l.id, d.ID, 0); err != nil {
				return false, err
			}
		}
		todo = append(todo, left...)
	}
	return false, nil
}

// scope is a directory of the drive as the rules see it.
func (v *views) scope(dir cache.Ino) (*ignore.Dir, error) {
	return v.scopeAt(dir, 0)
}

func (v *views) scopeAt(dir cache.Ino, depth int) (*ignore.Dir, error) {
	if d := v.scopes[dir]; d != nil {
		return d, nil
	}
	if depth > maxDepth {
		return nil, errCycle
	}
	own := v.book.files[dir].list
	name, err := v.tx.DentryOf(dir)
	if err != nil {
		return nil, err
	}
	var d *ignore.Dir
	if plan.DentryID(name.ID) == v.root.Dentry || name.Parent == 0 {
		d = ignore.Root(append(v.book.everywhere[:len(v.book.everywhere):len(v.book.everywhere)], own)...)
	} else {
		up, err := v.scopeAt(name.Parent, depth+1)
		if err != nil {
			return nil, err
		}
		d = up.Enter(name.Name, own)
	}
	if v.scopes == nil {
		v.scopes = map[cache.Ino]*ignore.Dir{}
	}
	v.scopes[dir] = d
	return d, nil
}

// staysHere tells whether e never leaves this machine because of what it is or is called, whatever holds for the directories
// above it, and whether that is by a rule that may change.
func (v *views) staysHere(e cache.Entry) (yes, byRule bool, err error) {
	switch {
	case e.Node.Kind.Special():
		return true, false, nil
	case e.Node.Kind == cache.Dir && e.Node.Place != v.l.place:
		return true, false, nil // the root of another place
	case v.book == nil:
		return false, false, nil
	case e.LocalOnly:
		held, err := v.held(e)
		return !held, false, err
	}
	hit, err := v.hit(e)
	if err != nil || hit == nil {
		return false, false, err
	}
	held, err := v.held(e)
	return !held, !held, err
}

// hit is the pattern that fits e, nil if none does.
func (v *views) hit(e cache.Entry) (*ignore.Hit, error) {
	if v.book == nil || e.Parent == 0 {
		return nil, nil
	}
	d, err := v.scope(e.Parent)
	if err != nil {
		return nil, err
	}
	return d.Match(e.Name, e.Node.Kind == cache.Dir), nil
}

// held reports whether the leg has agreed on a name of the drive: on what has it now, or what had it.
func (v *views) held(e cache.Entry) (bool, error) {
	dir, err := v.tx.DentryOf(e.Parent)
	if err != nil {
		return false, err
	}
	p, ok, err := v.BindingOfDentry(plan.DentryID(dir.ID))
	if err != nil || !ok {
		return false, err
	}
	held := false
	err = v.BindingsAt(p.ID, e.Name, func(b plan.Binding) bool {
		held = b.LocalName == e.Name && b.Kind == planKind(e.Node.Kind)
		return !held
	})
	return held, err
}

// remoteScope is a directory of the endpoint as the rules see it: by its place in the drive, as far as it has one there. nil: it
// is not known where that is, or nothing is ignored in it.
func (v *views) remoteScope(id string, depth int) (*ignore.Dir, error) {
	if d, ok := v.remoteScopes[id]; ok {
		return d, nil
	}
	if depth > maxDepth {
		return nil, errCycle
	}
	d, err := v.findRemoteScope(id, depth)
	if err == nil {
		if v.remoteScopes == nil {
			v.remoteScopes = map[string]*ignore.Dir{}
		}
		v.remoteScopes[id] = d
	}
	return d, err
}

func (v *views) findRemoteScope(id string, depth int) (*ignore.Dir, error) {
	b, bound, err := v.tx.BindingOfRemote(v.l.id, id)
	if err != nil {
		return nil, err
	}
	up, name := "", b.LocalName
	switch {
	case !bound:
		o, err := v.l.object(v.tx, id)
		if err != nil || o == nil || v.l.parked(o.Name) != plan.NotParked {
			return nil, err // what is in the way goes with all that is in it
		}
		up, name = o.Parent, o.Name
	case b.Dentry != 0:
		d, here, err := v.scopeOf(b.Dentry)
		if err != nil || here {
			return d, err
		}
		fallthrough
	default: // the drive has it no more
		if v.l.parked(b.RemoteName) != plan.NotParked {
			return nil, nil
		}
		p, ok, err := v.tx.Binding(b.Parent)
		if err != nil || !ok {
			return nil, err
		}
		up = p.RemoteID
	}
	d, err := v.remoteScope(up, depth+1)
	if err != nil || d == nil {
		return nil, err
	}
	return d.Enter(name, nil), nil
}

// scopeOf is the directory of a dentry as the rules see it; false: the drive has it no more where the endpoint could have it, for
// it was deleted or has an ignored name by now.
func (v *views) scopeOf(dir cache.DentryID) (d *ignore.Dir, here bool, err error) {
	e, err := v.tx.Entry(dir)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, false, nil
	}
	if err == nil {
		d, err = v.scope(e.Ino)
	}
	if err != nil || !d.Ignored() {
		return d, err == nil, err
	}
	stays, _, err := v.localOnly(e)
	return d, !stays, err
}

// passesOver reports whether an object of the endpoint is not to be brought into the drive, by a rule. It is not about one that
// is bound where it is. What the drive has under its name and sends is to meet it.
func (v *views) passesOver(o cache.Observed) (bool, error) {
	if v.book == nil || v.l.parked(o.Name) != plan.NotParked {
		return false, nil
	}
	d, err := v.remoteScope(o.Parent, 0)
	if err != nil || d == nil || d.Match(o.Name, o.Kind == cache.Dir) == nil {
		return false, err
	}
	p, ok, err := v.BindingOfRemote(plan.RemoteID(o.Parent))
	if err != nil || !ok {
		return err == nil, err
	}
	held := false
	err = v.BindingsAt(p.ID, o.Name, func(b plan.Binding) bool {
		held = b.RemoteName == o.Name && b.Kind == planKind(o.Kind)
		return !held
	})
	if err != nil || held || p.Dentry == 0 {
		return !held, err
	}
	x, taken, err := v.LocalAt(p.Dentry, o.Name)
	return !taken || x.LocalOnly, err
}

// forgetRules forgets where directories are: one may have moved.
func (v *views) forgetRules() { v.scopes, v.remoteScopes = nil, nil }

// passOver notes that an object is not to be brought into the drive, if that is so.
func (t *step) passOver(o cache.Observed) (bool, error) {
	if o.Gone || t.book == nil {
		return false, nil
	}
	_, bound, err := t.tx.BindingOfRemote(t.l.id, o.RemoteID)
	if err != nil || bound {
		return false, err
	}
	if o.Ignored, err = t.passesOver(o); err != nil {
		return false, err
	}
	if !o.Ignored {
		if o.Kind == cache.Dir && follows(t.rules) { // where nothing is listed when it comes in
			_, err = t.tx.LookAgain(t.l.id, o.RemoteID, batchSize)
		}
		return false, err
	}
	return true, errors.Join(t.tx.PutObserved(o), t.tx.FinishRemote(t.l.id, o.RemoteID))
}

// meetAgain has an object that was passed over decided anew: something else waits for it.
func (l *leg) meetAgain(s plan.Subject) error {
	if s.Remote == "" {
		return nil
	}
	over := false
	err := l.e.Cache.View(func(tx *cache.Tx) error {
		o, ok, err := tx.Observed(l.id, string(s.Remote))
		over = ok && o.Ignored
		return err
	})
	if err != nil || !over {
		return err
	}
	return l.e.Cache.Update(l.id, func(tx *cache.Tx) error { return l.meetAgainIn(tx, s) })
}

// meetAgainIn is meetAgain in a transaction.
func (l *leg) meetAgainIn(tx *cache.Tx, s plan.Subject) error {
	if s.Remote == "" {
		return nil
	}
	o, ok, err := tx.Observed(l.id, string(s.Remote))
	if err != nil || !ok || !o.Ignored || o.Gone {
		return err
	}
	o.Ignored = false
	l.wake()
	return tx.PutObserved(o)
}

// rulesAhead moves an ignore file to the front of a listing, and reports whether there is one.
func (l *leg) rulesAhead(entries []remote.Entry) bool {
	if follows(l.rules()) || !l.conduitRow().UseIndexRules {
		return false
	}
	i := slices.IndexFunc(entries, func(e remote.Entry) bool { return e.Name == cache.IgnoreName && e.Kind == remote.File })
	if i >= 0 {
		entries[0], entries[i] = entries[i], entries[0]
	}
	return i >= 0
}

// rulesFirst brings ignore files of the endpoint into the drive before what they may be about.
func (l *leg) rulesFirst(ctx context.Context, c *counts) error {
	if follows(l.rules()) || !l.conduitRow().UseIndexRules {
		return l.settleRules(ctx)
	}
	var files [][]cache.Observed
	err := l.e.Cache.View(func(tx *cache.Tx) error {
		files = nil
		rows, err := tx.ObservedIgnoreFiles(l.id)
		for _, o := range rows {
			way, werr := l.wayTo(tx, o)
			if err = errors.Join(err, werr); err == nil {
				files = append(files, way)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, way := range files {
		for i := range way {
			if _, err := l.applyPage(way[i:i+1], c); err != nil { // what has to be learned is learned when its turn comes
				return err
			}
		}
	}
	return l.settleRules(ctx)
}

// wayTo is an observed object with the directories above it that are not bound, the highest first.
func (l *leg) wayTo(tx *cache.Tx, o cache.Observed) ([]cache.Observed, error) {
	way := []cache.Observed{o}
	for range maxDepth {
		if _, bound, err := tx.BindingOfRemote(l.id, o.Parent); err != nil || bound {
			return way, err
		}
		up, ok, err := tx.Observed(l.id, o.Parent)
		if err != nil || !ok || up.Ignored {
			return way, err
		}
		way, o = append([]cache.Observed{up}, way...), up
	}
	return way, nil
}

// IgnoredBy is the pattern by which a name of the drive is ignored. Source is the path of an ignore file in the drive, or what
// another list is called.
type IgnoredBy struct {
	Source  string
	Line    int
	Pattern string
}

// Ignored tells by what a dentry is ignored on every leg of its place; false: some leg syncs it.
func (e *Engine) Ignored(tx *cache.Tx, id cache.DentryID) (by IgnoredBy, yes bool, err error) {
	entry, err := tx.Entry(id)
	if err != nil {
		return by, false, err
	}
	place, err := tx.PlaceOf(id)
	if err != nil || place == 0 {
		return by, false, err
	}
	for _, l := range e.current() {
		if l.place != place {
			continue
		}
		v, err := l.views(tx)
		if err != nil {
			return by, false, err
		}
		here, _, err := v.localOnly(entry)
		if err != nil || !here {
			return by, false, err
		}
		hit, err := v.hit(entry)
		if err != nil || hit == nil {
			return by, false, err
		}
		yes = true
		if by, err = v.whose(entry, hit); err != nil {
			return by, false, err
		}
	}
	return by, yes, nil
}

// whose names a pattern for people.
func (v *views) whose(e cache.Entry, hit *ignore.Hit) (IgnoredBy, error) {
	by := IgnoredBy{hit.List.Source, hit.Pattern.Line, hit.Pattern.Text}
	for dir := e.Parent; dir != 0; {
		d, err := v.tx.DentryOf(dir)
		if err != nil {
			return by, err
		}
		if v.book.files[dir].list == hit.List {
			p, err := v.tx.Path(d.ID)
			by.Source = strings.TrimSuffix(p, "/") + "/" + cache.IgnoreName
			return by, err
		}
		dir = d.Parent
	}
	return by, nil
}
