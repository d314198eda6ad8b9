package remote

import "time"

// Level says how an endpoint keeps a precondition.
type Level uint8

// The levels, weakest first.
const (
	Never  Level = iota // no means at all: the operation is not offered
	Window              // checked, then done: another writer can slip in between (Caps.Gap)
	Atomic              // the storage itself refuses
)

// Proof says what stands behind "it is stored".
type Proof uint8

// The proofs, weakest first.
const (
	ProofNone   Proof = iota
	ProofSize         // length only
	ProofWeak         // a hash that is not collision-proof, or one the server took from us
	ProofStrong       // a strong hash computed by the server over its bytes
	ProofRead         // read back and hashed here
)

// Perm says which permission bits an endpoint keeps.
type Perm uint8

// The kinds of permission an endpoint can keep.
const (
	PermNone Perm = iota
	PermExec      // only whether the owner may execute
	PermFull      // all of 0777
)

// Keep cuts mode to the bits that survive at the endpoint, so that both sides
// can be compared. A mode of 0 (unknown) stays 0.
func (p Perm) Keep(mode uint32) uint32 {
	switch {
	case mode == 0 || p == PermNone:
		return 0
	case p == PermFull:
		return KnownMode(mode)
	case mode&0o100 != 0:
		return 0o755
	}
	return 0o644
}

// Caps is what an endpoint can do.
type Caps struct {
	StableID    bool // ItemID survives rename and move
	Idents      bool // it does not, but every directory has an Ident that lasts, and an anchored Address is refused where another one is
	UniqueNames bool // false: two children may share a name
	Feed        bool // Changes itemises; else it gives relist hints
	FeedMoves   bool // a moved item comes with its old ID
	Push        bool // Wait does better than a timer
	DirTag      bool // a directory's Tag changes when anything below it does

	Create, Replace, Rename, Remove Level
	Gap                             time.Duration // typical width of the Window level

	AtomicPut  bool // replaced bytes are never seen half written or missing
	DirMove    Level
	EmptyDirs  bool
	Symlinks   bool
	Perm       Perm
	MtimeGrain time.Duration // 0: mtimes cannot be set
	Ranges     bool
	PinnedRead Level    // Read notices a change of the file: Atomic at the server, Window by checks around it
	Proof      Proof    // the strongest that Verify can give
	WantHashes []string // algorithms that Put wants to be given
	Trash      bool     // Delete is recoverable on the endpoint
	Versions   bool     // Put keeps the replaced version
	ListTrash  bool     // Trash lists what those two keep, Read gives it, and Purge ends it
	Rewrites   bool     // the server may change bytes after a Put
	Idempotent bool     // OpKey is honoured: a repeated write succeeds once more
	Resumable  bool
	PartAlign  int64         // bytes; 0: any
	MaxSize    int64         // bytes of a file; 0: no limit known
	SessionTTL time.Duration // how long an interrupted Put can be resumed
	Names      Names
	Parallel   int // calls in flight that it bears
	Together   int // files that a PutAll takes at most; 0: the endpoint is no Gatherer
}

// Names are the endpoint's rules for names. 0 and "" mean no rule.
type Names struct {
	MaxBytes, MaxUTF16, MaxPathUTF16 int
	Fold                             Fold
	Forbidden                        string   // runes
	NoLead, NoTrail                  string   // runes not allowed first or last
	Reserved                         []string // whole names, compared under Fold
}

// Fold says which names an endpoint takes for equal.
type Fold uint8

// The ways to fold names.
const (
	FoldNone Fold = iota
	FoldASCII
	FoldUnicode // case folding and, for some, normalisation
)
