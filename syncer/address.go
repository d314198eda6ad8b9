package syncer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// rootID is the remote id of the root where the leg gives out ids.
const rootID = "r"

// maxDepth bounds walks to the root: a longer one means a cycle, which no endpoint can have.
const maxDepth = 4096

// newID gives out a remote id for an object of an endpoint without ids. The
// first 32 bits count openings of the leg, so that no id returns after a crash.
func (l *leg) newID() string {
	return strconv.FormatInt(l.nextID.Add(1), 36)
}

// idOf is the remote id of an entry of an endpoint that has ids; "" means that the leg has to find or give one.
func (l *leg) idOf(e remote.Entry) string {
	if l.caps.StableID {
		return string(e.ID)
	}
	return ""
}

// address is how the endpoint knows the object id now: its own id, or the path
// made of the names on the way to the root, anchored at the directory it is in.
func (l *leg) address(tx *cache.Tx, id string) (remote.ItemID, error) { return l.route(tx, id, 1) }

// dirAddress is the address of a directory for what is done in it: anchored at
// itself.
func (l *leg) dirAddress(tx *cache.Tx, id string) (remote.ItemID, error) { return l.route(tx, id, 0) }

// route is the address of an object, anchored at the directory that is so many
// names above it. The endpoint refuses what is meant for another directory than
// the one that is there: it may have been moved away since it was looked at, and
// another have come to its path.
func (l *leg) route(tx *cache.Tx, id string, above int) (remote.ItemID, error) {
	if l.caps.StableID {
		return remote.ItemID(id), nil
	}
	way, plain, err := tx.BasePath(l.id, id)
	if err == nil && !plain {
		way, err = l.observedPath(tx, id)
	}
	if err != nil {
		return "", err
	}
	names := make([]string, len(way))
	for i, w := range way {
		names[i] = w.Name
	}
	a := remote.Address{Path: strings.Join(names, "/")}
	if n := len(way) - above; n > 0 {
		a.Dir, a.Ident = strings.Join(names[:n], "/"), way[n-1].Ident
	}
	return a.ID(), nil
}

// observedPath are the names by which an object is reached as last observed.
func (l *leg) observedPath(tx *cache.Tx, id string) (way []cache.Waymark, err error) {
	of := id
	for range maxDepth {
		if id == rootID {
			slices.Reverse(way)
			return way, nil
		}
		o, err := l.object(tx, id)
		if err != nil {
			return nil, err
		}
		if o == nil {
			return nil, fmt.Errorf("address of %s: %w", of, remote.ErrNotFound)
		}
		w := cache.Waymark{Name: o.Name}
		if o.Kind == cache.Dir {
			w.Ident = o.Ident
		}
		way, id = append(way, w), o.Parent
	}
	return nil, fmt.Errorf("address of %s: %w", of, errCycle)
}

// within is the address of an entry of the directory at dir, anchored as that is.
func (l *leg) within(dir remote.ItemID, e remote.Entry) remote.ItemID {
	if l.caps.StableID {
		return e.ID
	}
	return remote.Within(dir, e)
}

// pathNames are the names on the way from the root to a path address.
func pathNames(addr remote.ItemID) []string {
	a, ok := remote.ParseAddress(addr)
	if !ok || a.Path == "" {
		return nil
	}
	return strings.Split(a.Path, "/")
}

// object is the endpoint's object as last observed: the observed row if there
// is one, else the remote half of the binding. nil: never heard of.
func (l *leg) object(tx *cache.Tx, id string) (*cache.Observed, error) {
	o, ok, err := tx.Observed(l.id, id)
	if err != nil {
		return nil, err
	}
	if ok {
		return &o, nil
	}
	b, ok, err := tx.BindingOfRemote(l.id, id)
	if err != nil || !ok {
		return nil, err
	}
	return l.fromBase(tx, b)
}

// fromBase is the remote half of a binding as an observed row.
func (l *leg) fromBase(tx *cache.Tx, b cache.Binding) (*cache.Observed, error) {
	parent := ""
	if b.Parent > 0 {
		p, ok, err := tx.Binding(b.Parent)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("binding %d: parent %d is missing", b.ID, b.Parent)
		}
		parent = p.RemoteID
	}
	o := baseHalf(b, parent)
	return &o, nil
}

func baseHalf(b cache.Binding, parent string) cache.Observed {
	return cache.Observed{
		Leg: b.Leg, RemoteID: b.RemoteID, Ident: b.Ident, Parent: parent, Name: b.RemoteName, Kind: b.Kind,
		Tag: b.Tag, Content: b.Content, Hash: b.Hash, Size: b.Size, Mtime: b.Mtime, Mode: b.Mode, Target: b.Target,
	}
}

// childAt finds the object of a name in a directory of the endpoint, as last observed.
func (l *leg) childAt(tx *cache.Tx, parent, name string) (*cache.Observed, error) {
	o, ok, err := tx.ObservedAt(l.id, parent, name)
	if err != nil {
		return nil, err
	}
	if ok && !o.Gone {
		return &o, nil
	}
	p, ok, err := tx.BindingOfRemote(l.id, parent)
	if err != nil || !ok {
		return nil, err
	}
	list, err := tx.BindingsAt(p.ID, name)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		if b.RemoteName != name {
			continue
		}
		if _, over, err := tx.Observed(l.id, b.RemoteID); err != nil {
			return nil, err
		} else if over {
			continue // gone, or it has moved away
		}
		half := baseHalf(b, parent)
		return &half, nil
	}
	return nil, nil
}

// children calls yield for each object in a directory of the endpoint, as last observed and without its tag, until it returns
// false.
func (l *leg) children(tx *cache.Tx, parent string, yield func(o cache.Observed) bool) error {
	p, ok, err := tx.BindingOfRemote(l.id, parent)
	if err != nil {
		return err
	}
	some, err := tx.ObservedPage(l.id, "", 1)
	if err != nil {
		return err
	}
	for after := ""; ok; {
		page, err := tx.BaseChildren(l.id, parent, p.ID, after, pageSize)
		if err != nil {
			return err
		}
		for _, o := range page {
			after = o.Name
			if len(some) > 0 { // else there is nothing to look for, a million times over in a look at everything
				if _, over, err := tx.Observed(l.id, o.RemoteID); err != nil {
					return err
				} else if over {
					continue
				}
			}
			if !yield(o) {
				return nil
			}
		}
		if len(page) < pageSize {
			break
		}
	}
	for after := ""; ; {
		page, err := tx.ObservedChildren(l.id, parent, after, pageSize)
		if err != nil {
			return err
		}
		for _, o := range page {
			after = o.Name
			if o.Gone {
				continue
			}
			if !yield(o) {
				return nil
			}
		}
		if len(page) < pageSize {
			return nil
		}
	}
}
