package cache

import "time"

// RootIno is the node of the drive's root directory, RootDentry its dentry.
const (
	RootIno    Ino      = 1
	RootDentry DentryID = 1
)

type (
	// Ino numbers a node. It is the FUSE node id and is never reused.
	Ino uint64
	// DentryID numbers a name in a directory; it survives renames and is the readdir offset.
	DentryID int64
	// ContentID numbers a backing file. 0: the node has none.
	ContentID int64
	// PlaceID numbers a directory that conduits work on. 0: outside every place.
	PlaceID int64
	// LegID numbers an endpoint joined to a place. 0: the drive itself.
	LegID int64
	// BindingID numbers a row of the base. 0: none.
	BindingID int64
	// ConduitID numbers a conduit.
	ConduitID int64
)

// Kind is what a node is.
type Kind uint8

// The kinds. They are stored: never renumber.
const (
	File Kind = iota + 1
	Dir
	Symlink
	Fifo
	Socket
	CharDevice
	BlockDevice
)

// Special reports whether a node of this kind stays on this machine: no endpoint can hold it.
func (k Kind) Special() bool { return k > Symlink }

// Residency says how much of a file's present version is here.
type Residency uint8

// The residencies. They are stored: never renumber.
const (
	None Residency = iota
	Partial
	Full
)

// Listing says whether a directory's children are known.
type Listing uint8

// The listing states. They are stored: never renumber.
const (
	Unlisted Listing = iota
	ListingNow
	Listed
)

// Intent is a person's wish for a dentry and, where they have none of their own, for those below.
type Intent uint8

// The intents. They are stored: never renumber.
const (
	Inherited Intent = iota
	Pinned
	Online
	Auto
	Excluded
)

// Hash is the BLAKE3 of a whole content. Its zero value means: not known.
type Hash [32]byte

// Known reports whether the hash was ever computed.
func (h Hash) Known() bool { return h != Hash{} }

// Node is one inode as the index has it. Times are nanoseconds since 1970.
type Node struct {
	Ino       Ino
	Kind      Kind
	Mode      uint32 // permission bits, 07777
	UID, GID  uint32
	Rdev      uint32
	Size      int64
	Atime     int64
	Mtime     int64
	Ctime     int64
	Btime     int64
	Nlink     uint32
	Target    string
	Version   uint64 // counts changes of the content, from any side
	Hash      Hash   // of this version
	Content   ContentID
	Residency Residency
	Writing   bool // the backing file is the truth for size and mtime
	Listing   Listing
	Place     PlaceID // of a directory: the place its children belong to
	Xattrs    int     // how many extended attributes are stored
}

// Dentry is one name.
type Dentry struct {
	ID        DentryID
	Parent    Ino // 0 for the root's own dentry
	Name      string
	Ino       Ino
	Intent    Intent // own value; Inherited: none
	LocalOnly bool   // temp and lock names, special files: never sent
}

// Entry is a name with the node behind it.
type Entry struct {
	Dentry
	Node Node
}

// Caller is who asked for an operation through the mount.
type Caller struct {
	UID, GID uint32
	PID      uint32 // of the thread; 0: unknown
}

// Attrs is a change of attributes; nil fields stay. Any change moves the ctime, even one of nothing, as chown(2) does.
type Attrs struct {
	Mode               *uint32
	UID, GID           *uint32
	Size               *int64
	Atime, Mtime       *int64
	AtimeNow, MtimeNow bool // the time of the change, in place of a given one
	NoSetid            bool // takes the set-id bits off, unless it is a directory; see WithoutSetid
}

// RenameFlags are those of renameat2(2) that the drive honours.
type RenameFlags uint32

// The rename flags, with the kernel's values.
const (
	RenameNoReplace RenameFlags = 1
	RenameExchange  RenameFlags = 2
)

// Change is one entry of the feed: what the kernel may hold stale after a commit that did not come through the mount.
type Change struct {
	Seq    uint64
	Ino    Ino  // the node whose attributes or pages changed; 0: none
	Data   bool // its pages too
	Parent Ino  // the directory whose entry Name changed; 0: none
	Name   string
	Gone   Ino // the node that Name no longer names, when it was deleted
}

// Clock tells the time; tests give their own.
type Clock func() time.Time
