package event

import (
	"strings"
	"time"
)

// Type is what an event is about. Its name is part of the protocol: types are added, never renamed.
type Type uint8

// The types. Unless one says otherwise Path, Conduit and Endpoint are where it happened, as far as that can be said.
const (
	FileUploadStarted     Type = iota // Total
	FileChunkReceived                 // Way, Bytes of Total have come; throttled, see Progress
	FileUploadCompleted               // Total, Hash, Took; the endpoint has proved it and the base is committed
	FileUploadFailed                  // a change of the drive could not be brought to an endpoint: Operation, Error
	FileDownloadCompleted             // Total, Took; all of it is here and verified
	FileDownloadFailed                // a change of an endpoint could not be brought into the drive: Error
	FileConflictDetected              // OtherPath is the conflict file's, Class, Strategy, Local, Remote
	FileConflictResolved              // Strategy says what was kept
	FileAdded                         // a change has come to the other side: Origin, Kind
	FileModified                      // likewise
	FileMoved                         // likewise; OtherPath is where it was
	FileDeleted                       // likewise
	FileCorrupted                     // stored bytes are not what they must be: Error
	FileOffloaded                     // Bytes were dropped here
	FileHydrated                      // all of its Total is here
	PinChanged                        // To is the new intent
	ConduitCreated                    // To is its policy
	ConduitUpdated                    //
	ConduitDeleted                    //
	SyncStarted                       // a run has found work, or somebody asked for it
	SyncProgress                      // Files of FilesTotal, Bytes of Total, Rate, Rest; throttled
	SyncCompleted                     // Generation if it did something, Files, Deleted, Conflicts, Errors, Bytes, Took
	SyncFailed                        // Error
	SyncStateChanged                  // of a conduit, From and To
	VerificationComplete              // Generation, To is the outcome
	QueueStatusChanged                // Queue
	ConnectivityChanged               // of an Endpoint: Online, else Error
	lastType
)

var names = [lastType]string{
	"FileUploadStarted", "FileChunkReceived", "FileUploadCompleted", "FileUploadFailed", "FileDownloadCompleted", "FileDownloadFailed",
	"FileConflictDetected", "FileConflictResolved", "FileAdded", "FileModified", "FileMoved", "FileDeleted", "FileCorrupted",
	"FileOffloaded", "FileHydrated", "PinChanged", "ConduitCreated", "ConduitUpdated", "ConduitDeleted", "SyncStarted",
	"SyncProgress", "SyncCompleted", "SyncFailed", "SyncStateChanged", "VerificationComplete", "QueueStatusChanged",
	"ConnectivityChanged",
}

// String is the name.
func (t Type) String() string {
	if t < lastType {
		return names[t]
	}
	return "Unknown"
}

// Parse finds a type by its name, in whatever case.
func Parse(name string) (Type, bool) {
	for i, n := range names {
		if strings.EqualFold(n, name) {
			return Type(i), true
		}
	}
	return 0, false
}

// Names are those of all types.
func Names() []string { return names[:] }

// Set is a set of types.
type Set uint64

// All are all types.
const All Set = 1<<lastType - 1

// Of is the set of these types.
func Of(types ...Type) (s Set) {
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

// Has reports whether a type is in the set.
func (s Set) Has(t Type) bool { return s&(1<<t) != 0 }

// Way is the direction in which bytes go.
type Way uint8

// The two directions.
const (
	Up   Way = iota + 1 // to an endpoint
	Down                // from one
)

// String is the word for it; "": none.
func (w Way) String() string { return [...]string{"", "up", "down"}[w] }

// Event is something that has happened: whatever it is about is committed. Which fields say something its type tells; the
// others are zero. It holds no secret.
type Event struct {
	Seq     uint64 // grows from event to event, over restarts too
	At      time.Time
	Type    Type
	Dropped uint64 // events that this subscriber has lost right before this one

	Conduit, Endpoint string
	Path, OtherPath   string // in the drive
	Kind              string // file, dir, symlink
	Origin            string // local: it was made in the drive; remote: at the endpoint
	Operation         string
	Hash              string // BLAKE3, hexadecimal
	Class, Strategy   string
	Local, Remote     string // the two versions of a conflict, as its record has them
	From, To          string
	Error             string
	Online            bool
	Way               Way

	Bytes, Total                                  int64
	Files, FilesTotal, Deleted, Conflicts, Errors int64
	Generation                                    int64
	Took                                          time.Duration
	Rate                                          int64         // bytes a second
	Rest                                          time.Duration // until all is done at this rate; 0: nobody can tell
	Queue                                         *Queue
}

// Queue counts open processing items by status.
type Queue struct{ New, Validated, Processing, Conflicted, Error int64 }

// Interrupted is the Error of a run that somebody ended: that is no failure.
const Interrupted = "interrupted"
