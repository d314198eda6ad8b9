package drive

// The types below are the fields of the documented JSON that tests read. They
// are written out here and not shared with the program: a field renamed there
// must break a test here.

// Status is `vdfs status --json`.
type Status struct {
	Version     string    `json:"version"`
	Drive       string    `json:"drive"`
	Mountpoint  string    `json:"mountpoint"`
	State       string    `json:"state"`
	Conduits    []Conduit `json:"conduits"`
	Cache       Cache     `json:"cache"`
	Queue       Queue     `json:"queue"`
	MemoryBytes int64     `json:"memory_bytes"`
	Nodes       int64     `json:"nodes"`
	Metrics     Metrics   `json:"metrics"`
	Notes       []string  `json:"notes"`
	Tasks       []Task    `json:"tasks"`
}

// Task is something that the daemon does again and again.
type Task struct {
	Name       string  `json:"name"`
	Executions int64   `json:"execution_count"`
	Successes  int64   `json:"success_count"`
	Errors     int64   `json:"error_count"`
	Skipped    int64   `json:"skipped_count"`
	Average    float64 `json:"average_duration"`
	Last       *string `json:"last_execution"`
	LastError  string  `json:"last_error"`
	Running    bool    `json:"running"`
}

// Conduit is one conduit of Status.
type Conduit struct {
	Name          string           `json:"name"`
	Policy        string           `json:"policy"`
	Source        string           `json:"source"`
	Target        string           `json:"target"`
	At            string           `json:"at"`
	State         string           `json:"state"`
	Generation    int64            `json:"generation"`
	Verification  string           `json:"verification"`
	Message       string           `json:"message"`
	Cadence       string           `json:"cadence"`
	NextSync      *string          `json:"next_sync"`
	Triggers      map[string]int64 `json:"triggers"`
	LastTrigger   string           `json:"last_trigger"`
	PendingLocal  int64            `json:"pending_local"`
	PendingRemote int64            `json:"pending_remote"`
	Conflicts     int64            `json:"conflicts"`
	Errors        int64            `json:"errors"`
	// Progress is of the run under way; nil: nothing is.
	Progress *Progress `json:"progress"`
}

// Progress is how far a run is.
type Progress struct {
	Phase      string `json:"phase"`
	FilesDone  int64  `json:"files_done"`
	FilesTotal int64  `json:"files_total"`
	BytesDone  int64  `json:"bytes_done"`
	BytesTotal int64  `json:"bytes_total"`
}

// Cache is the local content of Status, in bytes.
type Cache struct {
	Bytes       int64 `json:"bytes"`
	BudgetBytes int64 `json:"budget_bytes"`
	PinnedBytes int64 `json:"pinned_bytes"`
	DirtyBytes  int64 `json:"dirty_bytes"`
	FreeBytes   int64 `json:"free_bytes"`
	IndexBytes  int64 `json:"index_bytes"`
}

// Queue is the number of processing items by status.
type Queue struct {
	New        int64 `json:"new"`
	Validated  int64 `json:"validated"`
	Processing int64 `json:"processing"`
	Conflicted int64 `json:"conflicted"`
	Error      int64 `json:"error"`
}

// Info is one element of `vdfs info --json`.
type Info struct {
	Path        string   `json:"path"`
	Kind        string   `json:"kind"`
	Ino         uint64   `json:"ino"`
	Size        int64    `json:"size"`
	Mtime       string   `json:"mtime"`
	Residency   string   `json:"residency"`
	LocalBytes  int64    `json:"local_bytes"`
	Sync        string   `json:"sync"`
	Pin         string   `json:"pin"`
	PinFrom     string   `json:"pin_from"`
	PinPath     string   `json:"pin_path"`
	Hash        string   `json:"hash"`
	Conduits    []string `json:"conduits"`
	OpenHandles int64    `json:"open_handles"`
	Error       string   `json:"error"`
}

// Item is one element of `vdfs queue --json`.
type Item struct {
	ID        int64  `json:"id"`
	Conduit   string `json:"conduit"`
	Path      string `json:"path"`
	Origin    string `json:"origin"`
	Operation string `json:"operation"`
	Status    string `json:"status"`
	Attempts  int64  `json:"attempts"`
	Error     string `json:"error"`
	Category  string `json:"category"`
	Condition string `json:"condition"`
	Retryable bool   `json:"retryable"`
}

// Generation is one element of `vdfs history --json`.
type Generation struct {
	Conduit      string `json:"conduit"`
	Generation   int64  `json:"generation"`
	Started      string `json:"started"`
	Completed    string `json:"completed"`
	Copied       int64  `json:"copied"`
	Deleted      int64  `json:"deleted"`
	Conflicts    int64  `json:"conflicts"`
	Bytes        int64  `json:"bytes"`
	Errors       int64  `json:"errors"`
	Verification string `json:"verification"`
}

// Conflict is one element of `vdfs conflicts --json`.
type Conflict struct {
	ID           int64  `json:"id"`
	Path         string `json:"path"`
	ConflictPath string `json:"conflict_path"`
	Type         string `json:"type"`
	Condition    string `json:"condition"`
	Reason       string `json:"reason"`
	Strategy     string `json:"strategy"`
	State        string `json:"state"`
}

// Why is one element of `vdfs why --json`.
type Why struct {
	Path      string   `json:"path"`
	State     string   `json:"state"`
	Residency string   `json:"residency"`
	Fetched   *Fetched `json:"fetched"`
	PinnedBy  string   `json:"pinned_by"`
	Kept      []string `json:"kept"`
	Waits     []Item   `json:"waits"`
	Error     string   `json:"error"`
}

// Fetched is for whom a file was fetched last.
type Fetched struct {
	Program string `json:"program"`
	Class   string `json:"class"`
	At      string `json:"at"`
}

// Event is a line of `vdfs events`.
type Event struct {
	Seq          uint64  `json:"seq"`
	At           string  `json:"at"`
	Type         string  `json:"type"`
	Dropped      uint64  `json:"dropped"`
	Conduit      string  `json:"conduit"`
	Endpoint     string  `json:"endpoint"`
	Path         string  `json:"path"`
	OldPath      string  `json:"old_path"`
	ConflictPath string  `json:"conflict_path"`
	Kind         string  `json:"kind"`
	Origin       string  `json:"origin"`
	Operation    string  `json:"operation"`
	Direction    string  `json:"direction"`
	TotalBytes   int64   `json:"total_bytes"`
	Received     int64   `json:"bytes_received"`
	Chunk        int64   `json:"chunk_index"`
	Bytes        int64   `json:"bytes"`
	Hash         string  `json:"hash"`
	Seconds      float64 `json:"duration_seconds"`
	ConflictType string  `json:"conflict_type"`
	Strategy     string  `json:"strategy"`
	Local        *Side   `json:"local"`
	Remote       *Side   `json:"remote"`
	Pin          string  `json:"pin"`
	From         string  `json:"from"`
	State        string  `json:"state"`
	Policy       string  `json:"policy"`
	Online       *bool   `json:"online"`
	Generation   int64   `json:"generation"`
	Verification string  `json:"verification"`
	Files        int64   `json:"files"`
	TotalFiles   int64   `json:"total_files"`
	Rate         int64   `json:"bytes_per_second"`
	Deleted      int64   `json:"deleted"`
	Queue        *Queue  `json:"queue"`
	Message      string  `json:"message"`
	Error        string  `json:"error"`
}

// Side is one version in a conflict.
type Side struct {
	Size   int64  `json:"size"`
	Device string `json:"device"`
	Hash   string `json:"hash"`
}

// Metrics is `vdfs metrics --json`, and "metrics" of Status.
type Metrics struct {
	Since string `json:"since"`
	Sums
	Day Sums `json:"day"`
}

// Sums are what was done in some time.
type Sums struct {
	Syncs          int64 `json:"syncs"`
	BytesUp        int64 `json:"bytes_up"`
	BytesDown      int64 `json:"bytes_down"`
	FilesSent      int64 `json:"files_sent"`
	FilesFetched   int64 `json:"files_fetched"`
	FilesOffloaded int64 `json:"files_offloaded"`
	BytesOffloaded int64 `json:"bytes_offloaded"`
	Conflicts      int64 `json:"conflicts"`
	Resolved       int64 `json:"conflicts_resolved"`
	Errors         int64 `json:"errors"`
}
