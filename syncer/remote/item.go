package remote

import "time"

type (
	// ItemID names an item. It is opaque, and survives renames if and only if
	// Caps.StableID; else it is an Address.
	ItemID string
	// Tag is opaque. Equal tags: the item has not changed in any way that the
	// endpoint can tell. A directory's Tag is about the directory itself, not
	// about what is in it, unless Caps.DirTag.
	Tag string
	// Content is opaque. Equal contents: the same bytes. "" means that the
	// endpoint cannot tell. A directory's Content tells one directory from
	// another of the same name, and says nothing about what is in it; a
	// symlink's changes with its target.
	Content string
	// OpKey names one intended write; every retry of it has the same.
	OpKey string
	// Hashes of a content by algorithm, in lower-case hex: "blake3",
	// "quickxor", "sha256", "md5", "crc64nvme", "dropbox".
	Hashes map[string]string
)

// BLAKE3 is the key of vdfs's own content hash in Hashes.
const BLAKE3 = "blake3"

// ParkPrefix begins the names that a drive gives, by Update, to items that are in
// the way for a moment. Endpoints list and keep them as they are; drives do not
// show each other's.
const ParkPrefix = ".vdfs-park-"

// IgnoreName is the name of the files by which a person says what is not synced.
// To an endpoint they are files like any other.
const IgnoreName = ".vdfsignore"

// Kind is what an item is.
type Kind uint8

// The kinds of items.
const (
	File Kind = iota + 1
	Dir
	Symlink
	Opaque // exists, is shown, is never read or written (socket, device, online document)
)

// String is the word for the kind.
func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "directory"
	case Symlink:
		return "symlink"
	case Opaque:
		return "opaque"
	}
	return "unknown"
}

// ModeNone stands in Attr.Mode for a mode without any permission, as 0 says that it is unknown.
const ModeNone uint32 = 1 << 16

// KnownMode is a mode that is known, for Attr.Mode.
func KnownMode(mode uint32) uint32 {
	if mode &= 0o777; mode == 0 {
		return ModeNone
	}
	return mode
}

// Attr is the metadata that vdfs carries.
type Attr struct {
	Mtime  time.Time // zero: unknown
	Mode   uint32    // permission bits 0777; 0: unknown, ModeNone: not one of them
	Target string    // of a symlink, raw bytes
}

// Entry is an item as the endpoint shows it.
type Entry struct {
	ID     ItemID
	Parent ItemID // of the root: ""
	Name   string // as vdfs shows it: the endpoint has undone its own escaping
	// Ident is a fingerprint that survives rename and move where the endpoint
	// has one though its ItemID does not. "" means unknown, also for a file
	// with several names. Two items of one listing never share one.
	Ident   string
	Kind    Kind
	Size    int64 // bytes of a file, else 0
	Tag     Tag
	Content Content
	Hashes  Hashes // those that cost nothing to know; may be nil
	Attr
}

// Pre is what a write expects of the item it changes. Every field that is set
// must hold; the zero Pre on an existing item is refused with ErrPrecondition.
type Pre struct {
	Tag     Tag     // the item is unchanged in every way
	Content Content // at least its bytes are
	Empty   bool    // Delete of a directory: it has no children
	Force   bool    // no expectation; only forced commands and tests use it
}

// Holds reports whether e, the item as it is now, is as p expects. Emptiness
// is not looked at: Delete refuses directories with children in any case.
func (p Pre) Holds(e Entry) bool {
	if p.Force {
		return true
	}
	if p.Tag == "" && p.Content == "" {
		return p.Empty && e.Kind == Dir
	}
	return (p.Tag == "" || p.Tag == e.Tag) && (p.Content == "" || p.Content == e.Content)
}

// Trashed is a version that was deleted or replaced at an endpoint, and can still be had there.
type Trashed struct {
	// Entry is the item as it was, without what it takes to change one: ID is for Read and Purge alone.
	Entry
	// Path are the names from the root to the item when it went, with slashes between: the directory may be gone.
	Path    string
	When    time.Time // it went
	Deleted bool      // else a Put replaced it
}
