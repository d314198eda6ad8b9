package syncer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

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
		Tag: string(e.Tag), Content: string(e.Content), Size: e.Size, Mode: e.Mode & 0o777, Target: e.Target,
	}
	if !e.Mtime.IsZero() {
		o.Mtime = e.Mtime.UnixNano()
	}
	if h, err := hex.DecodeString(e.Hashes[remote.BLAKE3]); err == nil && len(h) == len(o.Hash) {
		copy(o.Hash[:], h)
	}
	return o
}

// known is a child of a directory as last observed.
type known struct {
	cache.Observed
	bound bool
}

func (l *leg) knownChildren(tx *cache.Tx, dir string) (map[string]known, error) {
	kids := map[string]known{}
	err := l.children(tx, dir, func(o cache.Observed, b *cache.Binding) bool {
		kids[o.Name] = known{o, b != nil}
		return true
	})
	return kids, err
}

// unchanged reports whether a complete listing says what is known already.
func (l *leg) unchanged(dir string, kids map[string]known, entries []remote.Entry) bool {
	n := 0
	for _, e := range entries {
		if _, ok := remoteKind(e.Kind); !ok {
			continue
		}
		n++
		k, ok := kids[e.Name]
		if !ok {
			return false
		}
		o := l.seen(k.RemoteID, dir, e)
		if !l.same(k.Observed, o) || k.Ident != o.Ident || k.Content != o.Content || l.caps.StableID && k.RemoteID != string(e.ID) {
			return false
		}
	}
	return n == len(kids)
}

// recorder turns listings into observed rows within one transaction.
type recorder struct {
	l  *leg
	tx *cache.Tx
	// fresh collects the ids whose observation differs from the base.
	fresh []string
	// dirs collects directories the base does not know: they have to be listed too.
	dirs []string
}

// listing records the children of dir. gone tells that the listing is complete, so that what it lacks is gone.
func (r *recorder) listing(dir string, kids map[string]known, entries []remote.Entry, gone bool) error {
	here := map[string]bool{} // fingerprints in this listing: what bears one has not been replaced
	for _, e := range entries {
		if e.Ident != "" {
			here[e.Ident] = true
		}
	}
	claimed := map[string]bool{}
	for _, e := range entries {
		if _, ok := remoteKind(e.Kind); !ok {
			continue // never shown: sockets, devices, online documents
		}
		id, err := r.identify(e, kids, here, claimed)
		if err != nil {
			return err
		}
		claimed[id] = true
		if err := r.put(r.l.seen(id, dir, e)); err != nil {
			return err
		}
	}
	if !gone {
		return nil
	}
	for _, k := range kids {
		if !claimed[k.RemoteID] {
			if err := r.gone(k.Observed, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// identify finds the id of an entry: the endpoint's own, that of the object
// with its fingerprint wherever it was, that of the name if the object there
// was replaced, or a new one.
func (r *recorder) identify(e remote.Entry, kids map[string]known, here, claimed map[string]bool) (string, error) {
	if id := r.l.idOf(e); id != "" {
		return id, nil
	}
	kind, _ := remoteKind(e.Kind)
	k, ok := kids[e.Name]
	ok = ok && k.Kind == kind && !claimed[k.RemoteID]
	if ok && (k.Ident == e.Ident || k.Ident == "" || e.Ident == "") {
		return k.RemoteID, nil
	}
	if e.Ident != "" {
		id, err := r.byIdent(e.Ident, kind)
		if err != nil {
			return "", err
		}
		if id != "" && !claimed[id] {
			return id, nil
		}
	}
	if ok && !here[k.Ident] {
		return k.RemoteID, nil
	}
	return r.l.newID(), nil
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
	if o.Gone || kind != cache.File {
		return "", nil
	}
	o.RemoteID = r.l.newID()
	r.fresh = append(r.fresh, o.RemoteID)
	return b.RemoteID, r.tx.PutObserved(o)
}

// put records one object as it is now.
func (r *recorder) put(o cache.Observed) error {
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
	} else if o.Kind == cache.Dir {
		r.dirs = append(r.dirs, o.RemoteID)
	}
	if old, ok, err := r.tx.Observed(r.l.id, o.RemoteID); err != nil {
		return err
	} else if ok && old == o {
		return nil
	}
	r.fresh = append(r.fresh, o.RemoteID)
	return r.tx.PutObserved(o)
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

// gone records that an object is no longer where it was, with everything that
// was still in it. What turns up elsewhere in the same scan takes it back.
func (r *recorder) gone(o cache.Observed, dir string) error {
	if now, err := r.l.object(r.tx, o.RemoteID); err != nil {
		return err
	} else if now == nil || now.Gone || now.Parent != dir {
		return nil
	}
	if o.Kind == cache.Dir {
		kids, err := r.l.knownChildren(r.tx, o.RemoteID)
		if err != nil {
			return err
		}
		for _, k := range kids {
			if err := r.gone(k.Observed, o.RemoteID); err != nil {
				return err
			}
		}
	}
	_, bound, err := r.tx.BindingOfRemote(r.l.id, o.RemoteID)
	if err != nil {
		return err
	}
	if !bound {
		return errors.Join(r.tx.DeleteObserved(r.l.id, o.RemoteID), r.tx.FinishRemote(r.l.id, o.RemoteID))
	}
	o.Gone = true
	r.fresh = append(r.fresh, o.RemoteID)
	return r.tx.PutObserved(o)
}
