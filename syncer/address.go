package syncer

import (
	"fmt"
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
// made of the names on the way to the root.
func (l *leg) address(tx *cache.Tx, id string) (remote.ItemID, error) {
	if l.caps.StableID {
		return remote.ItemID(id), nil
	}
	var names []string
	for range maxDepth {
		if id == rootID {
			for i, j := 0, len(names)-1; i < j; i, j = i+1, j-1 {
				names[i], names[j] = names[j], names[i]
			}
			return remote.ItemID("p:" + strings.Join(names, "/")), nil
		}
		o, err := l.object(tx, id)
		if err != nil {
			return "", err
		}
		if o == nil {
			return "", fmt.Errorf("address of %s: %w", id, remote.ErrNotFound)
		}
		names = append(names, o.Name)
		id = o.Parent
	}
	return "", fmt.Errorf("address of %s: %w", id, errCycle)
}

// pathNames are the names on the way from the root to a path address.
func pathNames(addr remote.ItemID) []string {
	p := strings.TrimPrefix(string(addr), "p:")
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
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

// children calls yield for each object in a directory of the endpoint, as last observed, until it returns false.
func (l *leg) children(tx *cache.Tx, parent string, yield func(o cache.Observed, b *cache.Binding) bool) error {
	p, ok, err := tx.BindingOfRemote(l.id, parent)
	if err != nil {
		return err
	}
	some, err := tx.ObservedPage(l.id, "", 1)
	if err != nil {
		return err
	}
	for after := ""; ok; {
		page, err := tx.BindingChildren(p.ID, after, pageSize)
		if err != nil {
			return err
		}
		for i := range page {
			b := &page[i]
			after = b.RemoteName
			if len(some) > 0 { // else there is nothing to look for, a million times over in a look at everything
				if _, over, err := tx.Observed(l.id, b.RemoteID); err != nil {
					return err
				} else if over {
					continue
				}
			}
			if !yield(baseHalf(*b, parent), b) {
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
			if !yield(o, nil) {
				return nil
			}
		}
		if len(page) < pageSize {
			return nil
		}
	}
}
