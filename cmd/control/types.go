package control

import (
	"encoding/json"
	"time"
)

// Drive answers GET /v1/drive: who is there. It is cheap and never waits.
type Drive struct {
	Version    string `json:"version"`
	PID        int    `json:"pid"`
	Mountpoint Path   `json:"mountpoint"`
	Data       Path   `json:"data"` // the directory with index and content
	// Detached: the mount was taken away lazily; the daemon ends with the last program that uses it.
	Detached bool `json:"detached,omitempty"`
}

// Status answers GET /v1/status and is what `vdfs status --json` prints.
type Status struct {
	Version    string          `json:"version"`
	Drive      string          `json:"drive"` // its name: the last part of the mountpoint
	Mountpoint Path            `json:"mountpoint"`
	State      string          `json:"state"` // idle, syncing, paused, offline, attention, error
	Conduits   []ConduitStatus `json:"conduits"`
	Cache      CacheStatus     `json:"cache"`
	Queue      QueueCounts     `json:"queue"`
	Memory     int64           `json:"memory_bytes"` // resident memory of the daemon
	Nodes      int64           `json:"nodes"`
	Metrics    Metrics         `json:"metrics"`
	Notes      []string        `json:"notes,omitempty"` // what a person should know, one sentence each
	Tasks      []TaskStatus    `json:"tasks"`           // by name
}

// ConduitStatus is one conduit in a Status and in the list of conduits.
type ConduitStatus struct {
	Name         string     `json:"name"`
	UUID         string     `json:"uuid"`
	Policy       string     `json:"policy"`
	Source       string     `json:"source"`
	Target       string     `json:"target"`
	At           Path       `json:"at"`        // directory of the drive
	ReadOnly     bool       `json:"read_only"` // programs change nothing there: it is fed one way from outside
	Enabled      bool       `json:"enabled"`   // false: it was paused
	State        string     `json:"state"`     // idle, syncing, paused, offline, attention, error
	Generation   int64      `json:"generation"`
	Verification string     `json:"verification"`
	LastSync     *time.Time `json:"last_sync"` // null: never
	NextSync     *time.Time `json:"next_sync"` // null: nothing is planned
	// Triggers are how many cycles each trigger has begun since the daemon started; LastTrigger began the last one, "" if none did.
	Triggers      map[string]int64 `json:"triggers"`
	LastTrigger   string           `json:"last_trigger"`
	PendingLocal  int64            `json:"pending_local"`
	PendingRemote int64            `json:"pending_remote"`
	Conflicts     int64            `json:"conflicts"`
	Errors        int64            `json:"errors"`
	Message       string           `json:"message,omitempty"` // why it is in this state

	Progress *RunProgress `json:"progress,omitempty"` // of the run under way; absent: nothing is

	Strategy  string `json:"strategy"`
	Rules     []Rule `json:"rules"`      // in their order
	KeepExtra bool   `json:"keep_extra"` // see ConduitSpec
	Drift     int64  `json:"drift"`      // how often what was done at a target that only follows was undone

	// TreeVerified is when all of its storages was last looked at with nothing left to do; null: never.
	TreeVerified     *time.Time `json:"tree_verified_at"`
	TreeVerification string     `json:"tree_verification"` // of the last such look: verified, failed:REASON, or "": there was none

	Endpoints     []EndpointStatus `json:"endpoints"` // its storages, the source first
	Cadence       string           `json:"cadence"`
	Parallel      int              `json:"parallel_transfers"`
	Bandwidth     int64            `json:"bandwidth_limit"` // bytes a second; 0: unlimited
	UseIndexRules bool             `json:"use_index_rules"`
	PolicyConfig  json.RawMessage  `json:"policy_config"`
	TotalSyncs    int64            `json:"total_syncs"` // runs that did something
	FilesSynced   int64            `json:"files_synced"`
	BytesSent     int64            `json:"bytes_transferred"`
	LastError     string           `json:"last_sync_error"`    // of a run; "": the last one had none
	LastErrorAt   *time.Time       `json:"last_sync_error_at"` // null: there was none
	Created       time.Time        `json:"created_at"`
	Updated       time.Time        `json:"updated_at"`
}

// Rule is a strategy for the names that fit a pattern; one with a slash fits paths below the directory of the conduit.
type Rule struct {
	Pattern  string `json:"pattern"`
	Strategy string `json:"strategy"`
}

// EndpointStatus is one storage of a conduit.
type EndpointStatus struct {
	Endpoint      string     `json:"endpoint"`
	Role          string     `json:"role"` // source, target
	State         string     `json:"state"`
	Message       string     `json:"message,omitempty"`
	LastSync      *time.Time `json:"last_sync"` // since the daemon started; null: not yet
	NextSync      *time.Time `json:"next_sync"`
	PendingLocal  int64      `json:"pending_local"`
	PendingRemote int64      `json:"pending_remote"`
	Conflicts     int64      `json:"conflicts"`
	Errors        int64      `json:"errors"`
	Damaged       int64      `json:"damaged"` // copies that were found to be
}

// CacheStatus says what the drive keeps here, in bytes. A budget of 0 is none.
type CacheStatus struct {
	Bytes  int64 `json:"bytes"`
	Budget int64 `json:"budget_bytes"`
	Pinned int64 `json:"pinned_bytes"`
	Dirty  int64 `json:"dirty_bytes"`
	Free   int64 `json:"free_bytes"`  // on the disk below
	Index  int64 `json:"index_bytes"` // of the index of everything
}

// QueueCounts counts open processing items by status.
type QueueCounts struct {
	New        int64 `json:"new"`
	Validated  int64 `json:"validated"`
	Processing int64 `json:"processing"`
	Conflicted int64 `json:"conflicted"`
	Error      int64 `json:"error"`
}

// Paths is the body of POST /v1/info and /v1/why. Paths are inside the drive and begin with a slash.
type Paths struct {
	Paths []Path `json:"paths"`
}

// Refusal is a path that was not done, with the reason.
type Refusal struct {
	Path    Path   `json:"path"`
	Conduit string `json:"conduit,omitempty"`
	Code    Code   `json:"code"`
	Reason  string `json:"reason"`
}

// Infos answers POST /v1/info.
type Infos struct {
	Files   []Info    `json:"files"`
	Refused []Refusal `json:"refused"`
}

// Info is every axis of one file; `vdfs info --json` prints a list of them.
type Info struct {
	Path        Path      `json:"path"` // inside the drive
	Kind        string    `json:"kind"` // file, dir, symlink, special
	Ino         uint64    `json:"ino"`
	Size        int64     `json:"size"`
	Mtime       time.Time `json:"mtime"`
	State       string    `json:"state"`     // the one word of user.vdfs.state
	Residency   string    `json:"residency"` // none, partial, full
	LocalBytes  int64     `json:"local_bytes"`
	Sync        string    `json:"sync"`     // synced, pending, uploading, conflict, error, local-only
	Pin         string    `json:"pin"`      // pinned, online, auto, excluded
	PinFrom     string    `json:"pin_from"` // self, inherited, default
	PinPath     Path      `json:"pin_path"` // whose value it is; "" for the default
	Hash        string    `json:"hash"`     // BLAKE3, hexadecimal; "": not known yet
	Version     uint64    `json:"version"`
	Conduits    []string  `json:"conduits"`
	Copies      []Copy    `json:"copies"`
	OpenHandles int       `json:"open_handles"`
	Error       string    `json:"error"`             // the last one; "": none
	Ignored     *Ignored  `json:"ignored,omitempty"` // by what it stays on this machine; null: it does not, or not by a rule
}

// Ignored is a pattern by which something is not synced.
type Ignored struct {
	Source  string `json:"source"` // the path of an ignore file in the drive, or what another list is called
	Line    int    `json:"line"`
	Pattern string `json:"pattern"`
}

// Copy is an endpoint known to store exactly this version.
type Copy struct {
	Endpoint string     `json:"endpoint"`
	Verified *time.Time `json:"verified_at"`
}

// Whys answers POST /v1/why.
type Whys struct {
	Files   []Why     `json:"files"`
	Refused []Refusal `json:"refused"`
}

// Why says why a file is here or not, and what it waits for; `vdfs why --json` prints a list of them.
type Why struct {
	Path       Path        `json:"path"` // inside the drive
	Kind       string      `json:"kind"` // as in Info
	State      string      `json:"state"`
	Residency  string      `json:"residency"`
	LocalBytes int64       `json:"local_bytes"`
	Fetched    *Fetched    `json:"fetched"`   // null: nothing that is here was fetched
	Used       *time.Time  `json:"used"`      // when a person last opened it; null: nothing is here, or nobody did
	PinnedBy   Path        `json:"pinned_by"` // whose pin it is; "": not pinned
	Kept       []string    `json:"kept"`      // why its bytes cannot be dropped now; what no copy proves is proved before
	Copies     []Copy      `json:"copies"`    // as in Info
	Waits      []QueueItem `json:"waits"`     // what is still to be sent or taken in
	Error      string      `json:"error"`     // as in Info
	Ignored    *Ignored    `json:"ignored,omitempty"`
}

// Fetched is for whom bytes of a file last came.
type Fetched struct {
	Program string    `json:"program"` // "": it could not be told
	Kind    string    `json:"class"`   // person, thumbnailer, indexer, backup, unknown; vdfs: a pin or vdfs fetch
	At      time.Time `json:"at"`
}

// ListRequest is the body of POST /v1/list: a page of a directory, or one file.
type ListRequest struct {
	Path  Path  `json:"path"`
	After int64 `json:"after"` // Next of the page before; 0: the first
}

// Listing answers POST /v1/list.
type Listing struct {
	Dir     bool        `json:"dir"` // the path is a directory, Entries are its children
	Entries []ListEntry `json:"entries"`
	Next    int64       `json:"next"` // 0: this was the last page
}

// ListEntry is one line of `vdfs ls`.
type ListEntry struct {
	Name   Path      `json:"name"`
	Kind   string    `json:"kind"` // as in Info, of special files the exact kind
	Mode   uint32    `json:"mode"` // permission bits
	Nlink  uint32    `json:"nlink"`
	UID    uint32    `json:"uid"`
	GID    uint32    `json:"gid"`
	Size   int64     `json:"size"`
	Mtime  time.Time `json:"mtime"`
	Target Path      `json:"target,omitempty"` // of a symlink
	State  string    `json:"state"`
}

// PathsRequest is the body of POST /v1/pin, /v1/unpin, /v1/online, /v1/exclude, /v1/fetch and /v1/offload.
type PathsRequest struct {
	Paths         []Path `json:"paths"`
	Wait          bool   `json:"wait,omitempty"`           // pin, fetch: answer when the bytes are here
	IncludePinned bool   `json:"include_pinned,omitempty"` // offload
	DryRun        bool   `json:"dry_run,omitempty"`        // offload: only say what would happen
}

// PathsResult is the result of those six.
type PathsResult struct {
	Paths   int64     `json:"paths"` // of the request, that were done
	Files   int64     `json:"files"` // at or below them that had something to do
	Bytes   int64     `json:"bytes"` // freed, queued or fetched
	Kept    int64     `json:"kept"`  // online, exclude: files that may not be dropped now
	Refused []Refusal `json:"refused"`
}

// AdoptRequest is the body of POST /v1/adopt.
type AdoptRequest struct {
	Dir  Path `json:"dir"`  // a directory of this machine, absolute
	Path Path `json:"path"` // the directory of the drive whose files it has
}

// AdoptResult is the result of POST /v1/adopt. Refused are files of which it could not be found out.
type AdoptResult struct {
	Files   int64     `json:"files"` // that are here now with what the directory had
	Bytes   int64     `json:"bytes"` // theirs
	Differ  int64     `json:"differ"`
	Absent  int64     `json:"absent"` // from the directory
	Refused []Refusal `json:"refused"`
}

// PinInfo is one item of POST /v1/pins, an intent that somebody set; `vdfs pins --json` prints a list of them.
type PinInfo struct {
	Path    Path   `json:"path"`
	Kind    string `json:"kind"`          // as in Info
	Pin     string `json:"pin"`           // pinned, online, auto, excluded
	Files   int64  `json:"files"`         // at or below, but for those with intents of their own
	Here    int64  `json:"local_bytes"`   // of theirs
	Missing int64  `json:"missing_bytes"` // of theirs
}

// DiskUses answers POST /v1/du.
type DiskUses struct {
	Usage   []DiskUse      `json:"usage"`
	Kept    []StorageTrash `json:"storage_trash,omitempty"` // of the whole drive, by storage
	Refused []Refusal      `json:"refused"`
}

// DiskUse is what the drive keeps here at or below a path, in bytes by what may become of them; `vdfs du --json` prints a list.
// Every byte counts in one of them and in the total. Trash and Other are of the whole drive and else 0.
type DiskUse struct {
	Path    Path  `json:"path"`
	Files   int64 `json:"files"`         // that have bytes here
	Pinned  int64 `json:"pinned_bytes"`  // always here
	Cached  int64 `json:"cached_bytes"`  // can be dropped when room is needed
	Partial int64 `json:"partial_bytes"` // of files that are not here whole; can be dropped, too
	Dirty   int64 `json:"dirty_bytes"`   // not sent yet, or at no endpoint: never dropped
	Trash   int64 `json:"trash_bytes"`   // of versions that were replaced or deleted
	Other   int64 `json:"other_bytes"`   // of files that are removed and still open, and what came meanwhile
	Total   int64 `json:"total_bytes"`
	// There is what the storages keep in their trash: of the whole drive and else 0, and in no total.
	There int64 `json:"storage_trash_bytes"`
}

// StorageTrash is what a storage keeps of versions that were replaced or deleted.
type StorageTrash struct {
	Conduit  string `json:"conduit"`
	Endpoint string `json:"endpoint"`
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
	Unknown  string `json:"unknown,omitempty"` // why it is not known
}

// RedundancyRequest is the body of POST /v1/redundancy.
type RedundancyRequest struct {
	Paths []Path `json:"paths"`
	All   bool   `json:"all,omitempty"` // not only files with too few copies
	Min   int    `json:"min,omitempty"` // how many copies are enough; 0: two
}

// FileCopies is one item of POST /v1/redundancy: how many whole copies of a file's present version are known.
type FileCopies struct {
	Path   Path  `json:"path"`
	Size   int64 `json:"size"`
	Copies int   `json:"copies"` // in all
	Proved int   `json:"proved"` // endpoints that have proved to store it
	Here   bool  `json:"local"`  // it is here whole
	// Endpoints are those that have proved to store it.
	Endpoints []string `json:"endpoints"`
}

// Redundancy is the result of POST /v1/redundancy. Bytes are those of the files at risk.
type Redundancy struct {
	Files   int64     `json:"files"`   // looked at; empty ones are not
	AtRisk  int64     `json:"at_risk"` // with too few copies
	Bytes   int64     `json:"at_risk_bytes"`
	By      []int64   `json:"by_copies"` // files with no copy, with one, and so on
	Refused []Refusal `json:"refused"`
}

// Progress is how far a long request is. Totals grow while work is found.
type Progress struct {
	Done  int64        `json:"done"`
	Total int64        `json:"total"`
	Bytes bool         `json:"bytes,omitempty"` // the unit; else things
	Run   *RunProgress `json:"run,omitempty"`   // of a sync: what is under way
}

// RunProgress is how far a run of a conduit is. Totals grow while work is found.
type RunProgress struct {
	Phase      string   `json:"phase"`      // copying, deleting, verifying
	Files      int64    `json:"files_done"` // of this phase
	FilesTotal int64    `json:"files_total"`
	Bytes      int64    `json:"bytes_done"` // of copies
	BytesTotal int64    `json:"bytes_total"`
	Rate       int64    `json:"bytes_per_second"` // of late
	ETA        *float64 `json:"eta_seconds"`      // null: not known
}

// SyncRequest is the body of POST /v1/sync. No names: every conduit.
type SyncRequest struct {
	Conduits     []string `json:"conduits,omitempty"`
	Wait         bool     `json:"wait,omitempty"` // answer when nothing can proceed
	Rescan       bool     `json:"rescan,omitempty"`
	AllowDeletes bool     `json:"allow_deletes,omitempty"`
	Cancel       bool     `json:"cancel,omitempty"`
}

// SyncResult is the result of POST /v1/sync.
type SyncResult struct {
	State   string    `json:"state"` // started, done, conflicts, unreachable, parked, held, cancelled
	Blocked []Refusal `json:"blocked"`
}

// QueueItem is one element of GET /v1/queue: up to 1000 in the order of their
// ids. ?after=ID is the next page, ?stuck=1 leaves only those with an error.
type QueueItem struct {
	ID        int64      `json:"id"`
	Conduit   string     `json:"conduit"`
	Path      Path       `json:"path"`
	Origin    string     `json:"origin"`    // local, remote
	Operation string     `json:"operation"` // create, update, delete, move
	Status    string     `json:"status"`
	Attempts  int        `json:"attempts"`
	Next      *time.Time `json:"next_attempt"` // null: at once, or when its cause ends
	Error     string     `json:"error"`
	Category  string     `json:"category"`  // of the error: network, api, filesystem, data; "": there is none, or it waits its turn
	Condition string     `json:"condition"` // FileExists, DirectoryExists, PermissionDenied, DiskFull, NetworkError, DataMismatch; "": none of them
	Retryable bool       `json:"retryable"` // false: it does not end before somebody does something
	Created   time.Time  `json:"created"`
}

// Generation is one element of GET /v1/history, newest first; see HistoryRequest.
type Generation struct {
	Conduit      string     `json:"conduit"`
	Generation   int64      `json:"generation"`
	Started      time.Time  `json:"started"`
	Completed    *time.Time `json:"completed"` // null: under way
	Copied       int64      `json:"copied"`
	Deleted      int64      `json:"deleted"`
	Conflicts    int64      `json:"conflicts"`
	Bytes        int64      `json:"bytes"`
	Errors       int64      `json:"errors"`
	Verification string     `json:"verification"`
}

// ReleasesRequest is the body of POST /v1/releases. No conduit: all.
type ReleasesRequest struct {
	Conduit string `json:"conduit,omitempty"`
}

// Release is one item of POST /v1/releases, the oldest first: what the source of an archive has given up, and who has proved
// to store it; `vdfs history --releases --json` prints a list of them.
type Release struct {
	At          time.Time `json:"at"`
	Conduit     string    `json:"conduit"` // its name then
	Path        Path      `json:"path"`    // inside the drive
	Kind        string    `json:"kind"`    // as in Info
	Size        int64     `json:"size"`
	Hash        string    `json:"hash"` // BLAKE3, hexadecimal; "": not a file
	Source      string    `json:"source"`
	Destination string    `json:"destination"` // where it is
}

// VersionsRequest is the body of POST /v1/versions.
type VersionsRequest struct {
	Path Path `json:"path"`
}

// Versions answers POST /v1/versions: what a path can have again.
type Versions struct {
	Dir      bool      `json:"dir"` // it is, or was, a directory: each version is what was deleted in it at one time
	Versions []Version `json:"versions"`
	Away     []Refusal `json:"away"` // endpoints that may have more and could not be asked; Path is the endpoint
}

// Version is one line of `vdfs restore --list`.
type Version struct {
	Version int        `json:"version"` // from 1, the newest
	Path    Path       `json:"path"`
	Kind    string     `json:"kind"`  // as in Info
	Files   int64      `json:"files"` // of a directory; else 1
	Size    int64      `json:"size"`
	Mtime   *time.Time `json:"mtime"` // null: not known
	When    time.Time  `json:"when"`  // it went, or is to go
	Since   time.Time  `json:"since"` // of a directory: the first of the files went; else as When
	Why     string     `json:"why"`
	Conduit string     `json:"conduit"` // by whose work it went; "": none
	From    string     `json:"from"`    // the endpoint that has it; "": this drive
	Hash    string     `json:"hash"`    // BLAKE3, hexadecimal; "": not known yet
}

// RestoreRequest is the body of POST /v1/restore.
type RestoreRequest struct {
	Path    Path       `json:"path"`
	Version int        `json:"version,omitempty"` // 0: the newest
	At      *time.Time `json:"at,omitempty"`      // what it had then, instead of a version
	To      Path       `json:"to,omitempty"`      // where a file is put instead of at its path
}

// RestoreResult is the result of POST /v1/restore.
type RestoreResult struct {
	Version Version   `json:"version"` // of a file, or the first of those in a directory
	Files   int64     `json:"files"`   // restored
	Bytes   int64     `json:"bytes"`
	Same    int64     `json:"same"` // files that had that content already
	Refused []Refusal `json:"refused"`
}

// ConflictInfo is one element of GET /v1/conflicts; ?path=P leaves those of one file.
type ConflictInfo struct {
	ID           int64  `json:"id"`
	Path         Path   `json:"path"`
	ConflictPath Path   `json:"conflict_path"`
	Type         string `json:"type"`
	Condition    string `json:"condition"` // as in QueueItem: FileExists, DirectoryExists or DataMismatch
	Reason       string `json:"reason"`    // what happened, in words
	Strategy     string `json:"strategy"`
	Local        Side   `json:"local"`
	Remote       Side   `json:"remote"`
	State        string `json:"state"` // open, resolved
}

// Side is one version in a conflict, as it was when the conflict arose.
type Side struct {
	Size   int64     `json:"size"`
	Mtime  time.Time `json:"mtime"`
	Device string    `json:"device,omitempty"`
	Hash   string    `json:"hash,omitempty"`
}

// ResolveRequest is the body of POST /v1/conflicts/resolve.
type ResolveRequest struct {
	Path   Path   `json:"path"`
	Keep   string `json:"keep"`             // local, remote, both, merged
	Merged []byte `json:"merged,omitempty"` // with merged: the content to keep, base64 in JSON
}

// ConduitSpec is the body of POST /v1/conduits and /v1/conduits/preview.
type ConduitSpec struct {
	Name     string `json:"name"`
	Source   string `json:"source"`
	Target   string `json:"target"`
	Policy   string `json:"policy"`             // synchronize, offload, replicate or archive
	At       Path   `json:"at,omitempty"`       // directory of the drive; "": where source or target says, else one with the conduit's name
	Strategy string `json:"strategy,omitempty"` // "": conflict-file
	Cadence  string `json:"cadence,omitempty"`  // "": instant
	Rules    []Rule `json:"rules,omitempty"`
	Parallel int    `json:"parallel_transfers,omitempty"` // copies at once; 0: the default
	// Bandwidth is what the storages may be given, and may give, of contents, each in bytes a second; 0: no limit.
	Bandwidth int64 `json:"bandwidth_limit,omitempty"`
	// KeepExtra has the target of replicate keep what the source does not have, or not any more.
	KeepExtra bool `json:"keep_extra,omitempty"`
	// UseIndexRules has what rules ignore left out; null: yes.
	UseIndexRules *bool `json:"use_index_rules,omitempty"`
	// Adopt is a directory that files will be adopted from with POST /v1/adopt. The request only refuses one that cannot be.
	Adopt Path `json:"adopt,omitempty"`
}

// ConduitEdit is the body of POST /v1/conduits/edit. What is null stays.
type ConduitEdit struct {
	Conduit   string  `json:"conduit"`
	Name      *string `json:"name,omitempty"` // a new one
	Strategy  *string `json:"strategy,omitempty"`
	Cadence   *string `json:"cadence,omitempty"`
	Rules     *[]Rule `json:"rules,omitempty"` // all of them
	Parallel  *int    `json:"parallel_transfers,omitempty"`
	Bandwidth *int64  `json:"bandwidth_limit,omitempty"`
	KeepExtra *bool   `json:"keep_extra,omitempty"`
	// UseIndexRules: see ConduitSpec.
	UseIndexRules *bool `json:"use_index_rules,omitempty"`
}

// ConduitPreview is the result of POST /v1/conduits/preview: what the first contact of a conduit would do. Directories are
// not counted.
type ConduitPreview struct {
	Name      string            `json:"name"`
	Policy    string            `json:"policy"`
	Source    string            `json:"source"`
	Target    string            `json:"target"`
	At        Path              `json:"at"`
	Copies    int64             `json:"copies"` // files that endpoints would get
	Bytes     int64             `json:"bytes"`  // theirs
	Deletes   int64             `json:"deletes"`
	Conflicts int64             `json:"conflicts"`
	Endpoints []EndpointPreview `json:"endpoints"` // the source first
	// ConflictPaths and DeletePaths name the first hundred, below At.
	ConflictPaths []Path `json:"conflict_paths"`
	DeletePaths   []Path `json:"delete_paths"`
}

// EndpointPreview is what would happen at one endpoint.
type EndpointPreview struct {
	Endpoint  string `json:"endpoint"`
	Role      string `json:"role"`
	Gets      Tally  `json:"gets"`
	Gives     Tally  `json:"gives"` // to the drive: as placeholders, but for what is pinned
	Deletes   Tally  `json:"deletes"`
	Releases  Tally  `json:"releases"` // once the archive has proved to store it
	Conflicts int64  `json:"conflicts"`
}

// Tally is a number of files and their bytes.
type Tally struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

// PauseRequest is the body of POST /v1/pause; 0 seconds: until resumed.
type PauseRequest struct {
	Seconds int64 `json:"seconds"`
}

// UnmountRequest is the body of POST /v1/unmount. The answer comes when the mount is gone; the daemon then ends.
type UnmountRequest struct {
	Lazy bool `json:"lazy,omitempty"` // detach even while programs use it
	Wait bool `json:"wait,omitempty"` // first until everything is sent
}

// Holder is a process that keeps a mount busy.
type Holder struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
	How     string `json:"how"` // cwd, root, exe, file, mmap
	Path    Path   `json:"path"`
}

// Problems answers GET /v1/doctor.
type Problems struct {
	Problems []Problem `json:"problems"`
}

// Problem is one thing that is not as it should be in the index or the content.
type Problem struct {
	What   string `json:"what"`
	Repair string `json:"repair,omitempty"` // what --repair does about it; "": nothing can be done
}

// None is an empty request or response body.
type None struct{}
