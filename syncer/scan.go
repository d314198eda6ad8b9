package syncer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// listAll reads a whole directory of the endpoint. A directory that changes meanwhile is read again.
func listAll(ctx context.Context, ep remote.Endpoint, dir remote.ItemID) ([]remote.Entry, error) {
	for range 5 {
		var all []remote.Entry
		page := ""
		for {
			entries, next, err := ep.List(ctx, dir, page)
			if errors.Is(err, remote.ErrChanged) {
				break
			}
			if err != nil {
				return nil, err
			}
			if all == nil && next == "" {
				return entries, nil
			}
			all = append(all, entries...)
			if next == "" {
				return all, nil
			}
			page = next
		}
	}
	return nil, fmt.Errorf("list directory: %w", remote.ErrChanged)
}

// seen is an entry of the endpoint in the drive's terms.
func (l *leg) seen(id, parent string, e remote.Entry) cache.Observed {
	kind, _ := remoteKind(e.Kind)
	o := cache.Observed{
		Leg: l.id, RemoteID: id, Ident: e.Ident, Parent: parent, Name: e.Name, Kind: kind,
		Tag: string(e.Tag), Content: string(e.Content), Size: e.Size, Mode: e.Mode, Target: e.Target,
	}
	if !e.Mtime.IsZero() {
		o.Mtime = e.Mtime.UnixNano()
	}
	o.Hash = hashIn(e)
	return o
}

// hashIn is the BLAKE3 that an endpoint tells of an entry.
func hashIn(e remote.Entry) (h cache.Hash) {
	if b, err := hex.DecodeString(e.Hashes[remote.BLAKE3]); err == nil && len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}

// known are children of a directory as last observed, by name.
type known map[string]cache.Observed

// comparison is a complete listing of a directory beside what is known of it. It holds no known object whole: a directory may
// be large.
type comparison struct {
	entries []remote.Entry
	ids     []string // by entry, of the object that is known by its name; "": none
	same    []bool   // by entry: it says what is known already
	missing []string // ids of known objects whose names are not there
	dirs    []string // ids of the known directories, where they are asked for
}

func (l *leg) compare(tx *cache.Tx, dir string, entries []remote.Entry, dirs bool) (*comparison, error) {
	c := &comparison{entries: entries, ids: make([]string, len(entries)), same: make([]bool, len(entries))}
	at := make(map[string]int, len(entries))
	for i, e := range entries {
		if _, ok := remoteKind(e.Kind); ok {
			at[e.Name] = i
		} else {
			c.same[i] = true // never shown: sockets, devices, online documents
		}
	}
	err := l.children(tx, dir, func(o cache.Observed) bool {
		if dirs && o.Kind == cache.Dir && !o.Ignored {
			c.dirs = append(c.dirs, o.RemoteID)
		}
		i, ok := at[o.Name]
		if !ok {
			c.missing = append(c.missing, o.RemoteID)
			return true
		}
		now := l.seen(o.RemoteID, dir, entries[i])
		same := l.same(o, now) && o.Ident == now.Ident && o.Content == now.Content && (!l.caps.StableID || o.RemoteID == string(entries[i].ID))
		if other := c.ids[i]; other != "" { // it came to the name of one that was not seen to go: only one of them can be there
			if !same || c.same[i] {
				c.missing = append(c.missing, o.RemoteID)
				return true
			}
			c.missing = append(c.missing, other)
		}
		c.ids[i], c.same[i] = o.RemoteID, same
		return true
	})
	return c, err
}

// unchanged reports whether the listing says what is known already.
func (c *comparison) unchanged() bool { return len(c.missing) == 0 && !slices.Contains(c.same, false) }

// recorder turns listings into observed rows. It lives for one listing, which may take several transactions.
type recorder struct {
	l  *leg
	tx *cache.Tx
	// here are the fingerprints in the listing: what bears one has not been replaced.
	here map[string]bool
	// claimed are the ids of objects that were found in the listing.
	claimed map[string]bool
	// fresh collects the ids whose observation differs from the base.
	fresh []string
	// dirs collects directories the base does not know: they have to be listed too.
	dirs []string
	// made are the ids that were given out for this listing: nobody knows anything of those.
	made map[string]bool
	// back collects directories that were taken for gone: what is in them has to be seen again.
	back []string
	v    *views
}

func (l *leg) recorder(tx *cache.Tx, listed []remote.Entry) *recorder {
	r := &recorder{l: l, tx: tx, here: map[string]bool{}, claimed: map[string]bool{}, made: map[string]bool{}}
	for _, e := range listed {
		if e.Ident != "" {
			r.here[e.Ident] = true
		}
	}
	return r
}

// listing records entries of dir.
func (r *recorder) listing(dir string, kids known, entries []remote.Entry) error {
	for _, e := range entries {
		if _, ok := remoteKind(e.Kind); !ok {
			continue // never shown: sockets, devices, online documents
		}
		id, err := r.identify(e, kids)
		if err != nil {
			return err
		}
		r.claimed[id] = true
		if err := r.put(r.l.seen(id, dir, e)); err != nil {
			return err
		}
	}
	return nil
}

// identify finds the id of an entry: the endpoint's own, that of the object
// with its fingerprint wherever it was, that of the name if the object there
// was replaced, or a new one.
func (r *recorder) identify(e remote.Entry, kids known) (string, error) {
	if id := r.l.idOf(e); id != "" {
		return id, nil
	}
	kind, _ := remoteKind(e.Kind)
	k, ok := kids[e.Name]
	ok = ok && k.Kind == kind && !r.claimed[k.RemoteID]
	if ok && (k.Ident == e.Ident || k.Ident == "" || e.Ident == "") {
		return k.RemoteID, nil
	}
	if e.Ident != "" {
		id, err := r.byIdent(e.Ident, kind)
		if err != nil {
			return "", err
		}
		if id != "" && !r.claimed[id] {
			return id, nil
		}
	}
	if ok && !r.here[k.Ident] {
		return k.RemoteID, nil
	}
	id := r.l.newID()
	r.made[id] = true
	return id, nil
}

// byIdent finds the object that last bore a fingerprint.
func (r *recorder) byIdent(ident string, kind cache.Kind) (string, error) {
	o, ok, err := r.tx.ObservedByIdent(r.l.id, ident)
	if err != nil {
		return "", err
	}
	if ok && o.Kind == kind {
		return o.RemoteID, nil
	}
	b, ok, err := r.tx.BindingByIdent(r.l.id, ident)
	if err != nil || !ok || b.Kind != kind {
		return "", err
	}
	o, over, err := r.tx.Observed(r.l.id, b.RemoteID)
	if err != nil || !over || o.Ident == ident {
		return b.RemoteID, err
	}
	// Another object was found under its name before it was found itself, and taken for it.
	if o.Gone || kind == cache.Dir {
		return "", nil
	}
	o.RemoteID = r.l.newID()
	r.fresh = append(r.fresh, o.RemoteID)
	return b.RemoteID, r.tx.PutObserved(o)
}

// put records one object as it is now.
func (r *recorder) put(o cache.Observed) error {
	if r.made[o.RemoteID] {
		return r.first(o)
	}
	b, bound, err := r.tx.BindingOfRemote(r.l.id, o.RemoteID)
	if err != nil {
		return err
	}
	if bound {
		if o.Content == b.Content && !o.Hash.Known() {
			o.Hash = b.Hash
		}
		half, err := r.l.fromBase(r.tx, b)
		if err != nil {
			return err
		}
		if r.l.same(*half, o) {
			return r.agreed(b, o)
		}
		if half.Parent != o.Parent || half.Name != o.Name {
			if over, err := r.passesOver(o); err != nil {
				return err
			} else if over {
				return r.leaves(o.RemoteID)
			}
		}
	} else if meet, err := r.meet(&o); err != nil || !meet {
		return err
	}
	if old, ok, err := r.tx.Observed(r.l.id, o.RemoteID); err != nil {
		return err
	} else if ok {
		if old.Gone && bound {
			if back, err := r.comesBack(o); err != nil || !back {
				return err
			}
		}
		if o.Listed = old.Listed && !bound; old == o {
			return nil
		}
	}
	return r.news(o)
}

// comesBack tells whether what was taken for gone can be there again, as it cannot in a directory that still is gone.
func (r *recorder) comesBack(o cache.Observed) (bool, error) {
	dir, err := r.l.object(r.tx, o.Parent)
	if err != nil || dir != nil && dir.Gone {
		return false, err
	}
	if o.Kind == cache.Dir {
		r.back = append(r.back, o.RemoteID)
	}
	return true, nil
}

// leaves records of a bound object that it moved to where nobody is to look: for the drive it is gone.
func (r *recorder) leaves(id string) error {
	now, err := r.l.object(r.tx, id)
	if err != nil || now == nil {
		return err
	}
	return r.gone(id, now.Parent)
}

func (r *recorder) passesOver(o cache.Observed) (bool, error) {
	if r.v == nil || r.v.tx != r.tx {
		v, err := r.l.views(r.tx)
		if err != nil {
			return false, err
		}
		r.v = v
	}
	return r.v.passesOver(o)
}

// meet takes note of an object that is not bound; false: most likely it is ours, and when that is found out its directory is
// listed again.
func (r *recorder) meet(o *cache.Observed) (bool, error) {
	if r.l.unclear.has(spot{o.Parent, o.Name}) {
		return false, nil
	}
	over, err := r.passesOver(*o)
	if o.Ignored = over; o.Kind == cache.Dir && !over {
		r.dirs = append(r.dirs, o.RemoteID)
	}
	return true, err
}

// first records an object of which nobody has heard before.
func (r *recorder) first(o cache.Observed) error {
	if meet, err := r.meet(&o); err != nil || !meet {
		return err
	}
	if !o.Ignored {
		r.fresh = append(r.fresh, o.RemoteID)
	}
	return r.tx.PutFirstObserved(o)
}

// news writes down what is to be brought into the drive. What failed before was about another state of the object.
func (r *recorder) news(o cache.Observed) error {
	if o.Ignored {
		return errors.Join(r.tx.PutObserved(o), r.tx.FinishRemote(o.Leg, o.RemoteID))
	}
	r.fresh = append(r.fresh, o.RemoteID)
	return errors.Join(r.tx.PutObserved(o), r.tx.WakeRemote(o.Leg, o.RemoteID))
}

// agreed notes tokens that moved although nothing counts as changed, and forgets an older observation.
func (r *recorder) agreed(b cache.Binding, o cache.Observed) error {
	if _, ok, err := r.tx.Observed(r.l.id, o.RemoteID); err != nil {
		return err
	} else if ok {
		if err := errors.Join(r.tx.DeleteObserved(r.l.id, o.RemoteID), r.tx.FinishRemote(r.l.id, o.RemoteID)); err != nil {
			return err
		}
	}
	if b.Tag == o.Tag && b.Ident == o.Ident && b.Content == o.Content {
		return nil
	}
	b.Tag, b.Ident, b.Content = o.Tag, o.Ident, o.Content
	return r.tx.PutBinding(&b)
}

// lost is an object that is no longer in the directory it was last observed in.
type lost struct {
	id, dir string
	emptied bool // what was in it goes before it
}

// gone records that an object is no longer where it was, with everything that
// was still in it. What turns up elsewhere in the same scan takes it back.
func (r *recorder) gone(id, dir string) error {
	for stack := []lost{{id: id, dir: dir}}; len(stack) > 0; {
		batch, err := r.l.nextLost(r.tx, &stack)
		for _, o := range batch {
			if err == nil {
				err = r.lose(o)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// allGone is gone for children of dir, in as many transactions as it takes: a tree may be large. A directory goes after what
// is in it, so whatever ends it between two of them, the rest hangs on a directory whose absence is seen again.
func (r *recorder) allGone(ctx context.Context, dir string, ids []string) error {
	stack := make([]lost, 0, len(ids))
	for _, id := range ids {
		stack = append(stack, lost{id: id, dir: dir})
	}
	for len(stack) > 0 {
		var batch []lost
		err := r.l.e.Cache.View(func(tx *cache.Tx) (err error) {
			batch, err = r.l.nextLost(tx, &stack)
			return err
		})
		if err == nil {
			err = r.l.e.Cache.Update(r.l.id, func(tx *cache.Tx) error {
				r.tx = tx
				for _, o := range batch {
					if err := r.lose(o); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nextLost takes some objects from the stack; those that were in a directory come before it.
func (l *leg) nextLost(tx *cache.Tx, stack *[]lost) (batch []lost, err error) {
	for len(*stack) > 0 && len(batch) < batchSize {
		last := len(*stack) - 1
		o := (*stack)[last]
		*stack = (*stack)[:last]
		if !o.emptied {
			now, err := l.object(tx, o.id)
			if err != nil {
				return nil, err
			}
			if now == nil || now.Gone || now.Parent != o.dir {
				continue
			}
			if now.Kind == cache.Dir {
				*stack = append(*stack, lost{o.id, o.dir, true})
				err := l.children(tx, o.id, func(k cache.Observed) bool {
					*stack = append(*stack, lost{id: k.RemoteID, dir: o.id})
					return true
				})
				if err != nil {
					return nil, err
				}
				continue
			}
		}
		batch = append(batch, o)
	}
	return batch, nil
}

// lose records that one object is gone, if it still is where it was.
func (r *recorder) lose(g lost) error {
	o, err := r.l.object(r.tx, g.id)
	if err != nil || o == nil || o.Gone || o.Parent != g.dir {
		return err
	}
	_, bound, err := r.tx.BindingOfRemote(r.l.id, o.RemoteID)
	if err != nil {
		return err
	}
	if !bound {
		return errors.Join(r.tx.DeleteObserved(r.l.id, o.RemoteID), r.tx.FinishRemote(r.l.id, o.RemoteID), r.letGo(*o))
	}
	o.Gone, r.l.lost = true, true
	return r.news(*o)
}

// letGo has the directory of an object that was passed over, and is gone, decided anew, and those above it: they may have been
// kept for it.
func (r *recorder) letGo(o cache.Observed) error {
	if !o.Ignored {
		return nil
	}
	p, ok, err := r.tx.BindingOfRemote(r.l.id, o.Parent)
	for err == nil && ok && (p.Dentry == 0 || releases(r.l.rules())) && p.Parent > 0 {
		if err = r.tx.EnsureItem(r.l.id, p.ID, p.Dentry); err == nil {
			p, ok, err = r.tx.Binding(p.Parent)
		}
	}
	return err
}
