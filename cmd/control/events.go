package control

import (
	"context"
	"io"
	"net/http"
	"time"
)

// EventHandler answers for what happens and what it sums up to.
type EventHandler interface {
	// Events tells what the diary has, or with Follow what happens from now on, until ctx ends.
	Events(ctx context.Context, r EventsRequest, item func(Event) error) (None, error)
	Metrics(ctx context.Context) (Metrics, error)
	// Prometheus is the metrics in the text form that Prometheus scrapes.
	Prometheus(ctx context.Context) (string, error)
}

func routeEvents(mux *http.ServeMux, e EventHandler) {
	items(mux, "POST /v1/events", e.Events)
	get(mux, "GET /v1/metrics", func(ctx context.Context, _ *http.Request) (Metrics, error) { return e.Metrics(ctx) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		text, err := e.Prometheus(r.Context())
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, text) // a client that has gone is no concern of the server's
	})
}

// Text sends a request without a body whose answer is plain text.
func Text(ctx context.Context, c *Client, path string) (string, error) {
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", c.broken(ctx, err)
	}
	return string(text), nil
}

// EventsRequest is the body of POST /v1/events.
type EventsRequest struct {
	Types  []string `json:"types,omitempty"` // none: all
	Follow bool     `json:"follow,omitempty"`
	Limit  int      `json:"limit,omitempty"` // without follow: so many of the last; 0: all that the diary has
}

// Event is one item of POST /v1/events and a line of `vdfs events`: something that has happened and is committed. What does not
// apply to its type is left out. docs/events.md has the types and the fields of each.
type Event struct {
	Seq     uint64    `json:"seq"` // grows, over restarts too; 0: of an older diary
	At      time.Time `json:"at"`
	Type    string    `json:"type"`
	Dropped uint64    `json:"dropped,omitempty"` // events that this follower was too slow for, right before this one

	Conduit      string `json:"conduit,omitempty"`
	Endpoint     string `json:"endpoint,omitempty"`
	Path         Path   `json:"path,omitempty"`
	OldPath      Path   `json:"old_path,omitempty"`
	ConflictPath Path   `json:"conflict_path,omitempty"`
	Kind         string `json:"kind,omitempty"`   // as in Info
	Origin       string `json:"origin,omitempty"` // as in QueueItem
	Operation    string `json:"operation,omitempty"`

	Direction  string  `json:"direction,omitempty"` // up, down
	TotalBytes *int64  `json:"total_bytes,omitempty"`
	Received   *int64  `json:"bytes_received,omitempty"`
	Chunk      *int64  `json:"chunk_index,omitempty"` // of 64 KiB, from 0: the last that is there
	Bytes      *int64  `json:"bytes,omitempty"`
	Hash       string  `json:"hash,omitempty"` // BLAKE3, hexadecimal
	Seconds    float64 `json:"duration_seconds,omitempty"`

	ConflictType string `json:"conflict_type,omitempty"`
	Strategy     string `json:"strategy,omitempty"`
	Local        *Side  `json:"local,omitempty"`
	Remote       *Side  `json:"remote,omitempty"`

	Pin    string `json:"pin,omitempty"` // as in PinInfo, or inherited
	From   string `json:"from,omitempty"`
	State  string `json:"state,omitempty"`
	Policy string `json:"policy,omitempty"`
	Online *bool  `json:"online,omitempty"`

	Generation   int64        `json:"generation,omitempty"`
	Verification string       `json:"verification,omitempty"`
	Files        *int64       `json:"files,omitempty"`
	TotalFiles   *int64       `json:"total_files,omitempty"`
	Deleted      *int64       `json:"deleted,omitempty"`
	Conflicts    *int64       `json:"conflicts,omitempty"`
	Errors       *int64       `json:"errors,omitempty"`
	Rate         int64        `json:"bytes_per_second,omitempty"`
	ETA          float64      `json:"eta_seconds,omitempty"`
	Queue        *QueueCounts `json:"queue,omitempty"`

	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Metrics answers GET /v1/metrics and is part of a Status: what was done since the daemon started, and in the last 24 hours
// of that.
type Metrics struct {
	Since time.Time `json:"since"`
	Sums
	Day Sums `json:"day"`

	// Speeds are in bytes a second: of the last ten seconds, and over the seconds of the last 24 hours in which bytes came.
	UpNow       int64 `json:"up_bytes_per_second"`
	DownNow     int64 `json:"down_bytes_per_second"`
	UpAverage   int64 `json:"up_average_bytes_per_second"`
	DownAverage int64 `json:"down_average_bytes_per_second"`
}

// Sums are what was done in some time.
type Sums struct {
	Syncs          int64   `json:"syncs"`                // runs that did something
	SyncSeconds    float64 `json:"average_sync_seconds"` // of those
	BytesUp        int64   `json:"bytes_up"`
	BytesDown      int64   `json:"bytes_down"`
	FilesSent      int64   `json:"files_sent"`
	FilesFetched   int64   `json:"files_fetched"`
	FilesOffloaded int64   `json:"files_offloaded"`
	BytesOffloaded int64   `json:"bytes_offloaded"`
	Conflicts      int64   `json:"conflicts"`
	Resolved       int64   `json:"conflicts_resolved"`
	Errors         int64   `json:"errors"`
}
