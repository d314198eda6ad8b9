package remote

import "strings"

const (
	pathPrefix = "p:"
	// anchorMark stands on both sides of an Ident in an ItemID: no name has it.
	anchorMark = "\x00"
)

// Address is what an ItemID says where Caps.StableID is false: a path, which may
// be anchored. A path alone means whatever is there. Another directory may have
// taken the place of the one that was looked at, so that a write would end up in
// a directory that nobody meant; an anchor says which directory it is to be.
type Address struct {
	Path string // below the root, slash-separated; "": the root
	// Dir leads to the anchor: Path itself, or the first names of it. The
	// directory there has to bear Ident (as in Entry).
	Dir   string
	Ident string // "": the address is not anchored
}

// ID is the address as an ItemID.
func (a Address) ID() ItemID {
	if a.Ident == "" || a.Dir == "" { // the root is always the one that was proved
		return ItemID(pathPrefix + a.Path)
	}
	id := pathPrefix + a.Dir + anchorMark + a.Ident
	if a.Path != a.Dir {
		id += anchorMark + a.Path[len(a.Dir)+1:]
	}
	return ItemID(id)
}

// ParseAddress takes a path ItemID apart; false: it is none.
func ParseAddress(id ItemID) (a Address, ok bool) {
	path, ok := strings.CutPrefix(string(id), pathPrefix)
	if !ok {
		return a, false
	}
	dir, anchor, anchored := strings.Cut(path, anchorMark)
	if !anchored {
		return Address{Path: path}, true
	}
	ident, rest, more := strings.Cut(anchor, anchorMark)
	a = Address{Path: dir, Dir: dir, Ident: ident}
	if more {
		a.Path += "/" + rest
	}
	return a, dir != "" && ident != "" && more == (rest != "") && !strings.Contains(rest, anchorMark)
}

// Split cuts the last name off. The address of the directory around it keeps the
// anchor, unless that is the item itself.
func (a Address) Split() (parent Address, name string) {
	i := strings.LastIndexByte(a.Path, '/')
	name = a.Path[i+1:]
	parent.Path = a.Path[:max(i, 0)]
	if a.Ident != "" && a.Dir != a.Path {
		parent.Dir, parent.Ident = a.Dir, a.Ident
	}
	return parent, name
}

// Child is the address of a name in the directory at a, anchored as a is.
func (a Address) Child(name string) Address {
	if a.Path != "" {
		name = a.Path + "/" + name
	}
	a.Path = name
	return a
}

// Itself reports whether the anchor is the item that the address leads to.
func (a Address) Itself() bool { return a.Ident != "" && a.Dir == a.Path }

// Within is the address of an entry of the directory at dir, anchored as that is.
func Within(dir ItemID, e Entry) ItemID {
	if a, ok := ParseAddress(dir); ok {
		return a.Child(e.Name).ID()
	}
	return e.ID
}
