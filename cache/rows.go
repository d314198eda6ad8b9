package cache

import "time"

// ItemStatus is where the work on a difference stands.
type ItemStatus uint8

// The item states. They are stored: never renumber.
//
// An item is decided anew from what the drive and its endpoint are each time it comes to its turn, so that each open state
// may follow each. What holds: an announced write makes it Processing, and a restart makes it New again; only a mark or a
// person makes a Conflicted one New; a closed one stays closed, and what comes later is another.
const (
	ItemNew        ItemStatus = iota + 1 // marked, or to be decided anew
	ItemValidated                        // decided: it waits for what its error says
	ItemProcessing                       // a write of it is under way
	ItemConflicted                       // a person has to decide
	ItemError                            // it failed, and rests until it is eligible
	ItemCompleted                        // closed: nothing is left to do
	ItemCancelled                        // closed: another version was chosen
)

// Closed reports whether nothing is left to do.
func (s ItemStatus) Closed() bool { return s >= ItemCompleted }

// Origin is the side a difference arose on.
type Origin uint8

// The origins. They are stored: never renumber.
const (
	OriginRemote Origin = iota + 1
	OriginLocal
)

// Operation is what a difference looks like to a person. It decides nothing.
type Operation uint8

// The operations. They are stored: never renumber.
const (
	OpCreate Operation = iota + 1
	OpUpdate
	OpDelete
	OpMove
)

// Never is the eligible time of an item that waits for an event, such as the last close, and not for a time.
const Never int64 = 1 << 62

// LongestRest is longer than anything rests: after a failure, or for quiet. What was written down as due after more than that
// is of a clock that was ahead then, and is due.
const LongestRest = 20 * time.Minute

// Role is which end of its conduit the endpoint of a leg is.
type Role string

// The roles. They are stored: never rename.
const (
	RoleSource Role = "source"
	RoleTarget Role = "target"
)

type (
	// Conduit is a durable sync relation. Times are nanoseconds since 1970.
	Conduit struct {
		ID               ConduitID
		UUID, Name       string
		Place            PlaceID
		Source, Target   string
		Policy           string
		PolicyConfig     string // JSON
		Strategy         string
		Cadence          string
		Enabled          bool
		Parallel         int
		Bandwidth        int64 // bytes a second, 0: unlimited
		UseIndexRules    bool
		Generation       int64
		LastSync         int64
		LastError        string
		LastErrorAt      int64
		TotalSyncs       int64
		Drift            int64 // how often what was done at a target that only follows was undone
		FilesSynced      int64
		BytesTransferred int64
		Created, Updated int64
	}

	// Leg is one endpoint joined to a place.
	Leg struct {
		ID       LegID
		Conduit  ConduitID
		Place    PlaceID
		Role     Role
		Endpoint string
		Identity string
		Cursor   string
		LastSeq  int64
		Contact  bool   // first contact is complete
		State    string // "", offline, held, error
		Message  string
		LastScan int64
		ScanCost int64
	}

	// Binding is a row of the base: what the drive and an endpoint last agreed on about one object.
	Binding struct {
		ID           BindingID
		Leg          LegID
		Dentry       DentryID // 0: gone from the drive, the delete is not agreed yet
		RemoteID     string
		Ident        string
		Parent       BindingID // 0 for the leg's root
		RemoteName   string
		Kind         Kind
		Tag          string // the remote half begins here
		Content      string
		Hash         Hash
		Size, Mtime  int64
		Mode         uint32
		Target       string
		LocalParent  DentryID // the local half begins here
		LocalName    string
		LocalVersion uint64
		LocalMtime   int64
		LocalMode    uint32
		Proof        int // how it was proved that the endpoint stores Hash
		Verified     int64
		Listed       bool // of a directory: its children at the endpoint are known
		Releasing    bool // the endpoint may have been made to give the object up
	}

	// Observed is an object of an endpoint where it differs from the base.
	Observed struct {
		Leg         LegID
		RemoteID    string
		Ident       string
		Parent      string // remote id of the directory
		Name        string
		Kind        Kind
		Tag         string
		Content     string
		Hash        Hash
		Size, Mtime int64
		Mode        uint32
		Target      string
		Gone        bool
		Listed      bool // of a directory that is not bound: what is in it was seen
		Ignored     bool // a rule has it passed over; of what is gone: the drive keeps the directory for what is ignored in it
	}

	// Item is the durable work on one difference.
	Item struct {
		ID          int64
		Leg         LegID
		Origin      Origin
		Binding     BindingID
		Dentry      DentryID
		RemoteID    string
		Operation   Operation
		Status      ItemStatus
		BaseVersion uint64
		BaseHash    Hash
		Priority    int
		Eligible    int64 // not before this time; Never: waits for an event
		Tries       int
		Error       string
		Cause       string // a word for the kind of the error, of whoever works on items; means nothing where Error is ""
		Parked      bool   // a lasting cause: time alone hardly mends it, so it is tried at a slow pace
		Resolution  string
		Generation  int64
		Name        string // last known, for what is gone
		Created     int64
		Updated     int64 // grows with every mark: what FinishItem compares
	}

	// Generation is one numbered batch of a conduit's work.
	Generation struct {
		Conduit      ConduitID
		Number       int64
		Leg          LegID // whose work it is; 0: nobody knows
		Item         int64 // the one that it is for, as its transfer is large; 0: it is for whatever is to be done
		Started      int64
		Completed    int64 // 0: it is under way
		Copied       int64
		Deleted      int64
		Conflicts    int64
		Bytes        int64
		Errors       int64
		Drift        int64 // see Conduit
		Verified     int64
		Verification string
	}

	// Rule gives the names that fit a pattern of path.Match a strategy of their own.
	Rule struct {
		Pattern  string
		Strategy string
	}

	// Decision is the strategy that holds for one conflict, between a version of the drive and a content of the endpoint.
	Decision struct {
		Leg      LegID
		Dentry   DentryID
		Version  uint64
		Content  string
		Strategy string
	}

	// Release is a line of the audit log: what a source has given up, and who has proved to store it.
	Release struct {
		ID          int64
		At          int64
		Conduit     string
		Source      string
		Destination string
		Path        string
		Kind        Kind
		Size        int64
		Hash        Hash
	}

	// ConflictRow records a conflict.
	ConflictRow struct {
		ID           int64
		Leg          LegID
		Type         string
		Strategy     string
		Dentry       DentryID // the winner; 0: gone
		Conflict     DentryID // the conflict file; 0: none
		Path         string   // as they were when it arose
		ConflictPath string
		LocalInfo    string // JSON: size, mtime, device, hash
		RemoteInfo   string
		State        string // open, resolved
		Created      int64
		Resolved     int64
	}

	// Transfer is bytes to move. Unique by (Ino, Leg, Upload).
	Transfer struct {
		ID       int64
		Ino      Ino
		Leg      LegID
		Upload   bool
		Priority int
		Key      string
		Resume   []byte
		Tries    int
		Next     int64 // not before this time
		Error    string
		Created  int64
	}

	// TrashRow is a version that a remote change replaced or deleted here.
	TrashRow struct {
		ID      int64
		Leg     LegID
		Path    string
		Kind    Kind
		Mode    uint32
		Size    int64
		Mtime   int64
		Hash    Hash
		Content ContentID
		Reason  string
		Created int64
		Target  string // of a symlink
		Born    int64  // it came into the drive, in nanoseconds since 1970; 0: not known
	}

	// Activity is one line of the drive's bounded diary.
	Activity struct {
		ID   int64
		At   int64
		Kind string
		Text string
	}
)

// Conflict states.
const (
	ConflictOpen     = "open"
	ConflictResolved = "resolved"
)
