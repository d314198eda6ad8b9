package control

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a request: a merged file of a conflict is the largest thing in one.
const maxBody = 256 << 20

// DriveHandler answers for the drive as a whole.
type DriveHandler interface {
	Drive(ctx context.Context) (Drive, error)
	Status(ctx context.Context) (Status, error)
	Doctor(ctx context.Context) (Problems, error)
	Unmount(ctx context.Context, r UnmountRequest) (UnmountResult, error)
}

// FileHandler answers for paths.
type FileHandler interface {
	Info(ctx context.Context, r Paths) (Infos, error)
	Why(ctx context.Context, r Paths) (Whys, error)
	List(ctx context.Context, r ListRequest) (Listing, error)
	Pin(ctx context.Context, r PathsRequest, p Report) (PathsResult, error)
	Unpin(ctx context.Context, r PathsRequest, p Report) (PathsResult, error)
	Online(ctx context.Context, r PathsRequest, p Report) (PathsResult, error)
	Exclude(ctx context.Context, r PathsRequest, p Report) (PathsResult, error)
	Fetch(ctx context.Context, r PathsRequest, p Report) (PathsResult, error)
	Offload(ctx context.Context, r PathsRequest, p Report) (PathsResult, error)
	Adopt(ctx context.Context, r AdoptRequest, p Report) (AdoptResult, error)
	DiskUse(ctx context.Context, r Paths) (DiskUses, error)
	Pins(ctx context.Context, r None, item func(PinInfo) error) (None, error)
	Redundancy(ctx context.Context, r RedundancyRequest, item func(FileCopies) error) (Redundancy, error)
	Versions(ctx context.Context, r VersionsRequest) (Versions, error)
	Restore(ctx context.Context, r RestoreRequest, p Report) (RestoreResult, error)
	Verify(ctx context.Context, r VerifyRequest, p Report, item func(Finding) error) (Verification, error)
	Damage(ctx context.Context) ([]Damage, error)
}

// SyncHandler answers for the work with the endpoints.
type SyncHandler interface {
	Sync(ctx context.Context, r SyncRequest, p Report) (SyncResult, error)
	Queue(ctx context.Context, stuck bool, after int64) ([]QueueItem, error)
	History(ctx context.Context, r HistoryRequest) ([]Generation, error)
	HistoryTotals(ctx context.Context, r HistoryRequest) ([]HistoryTotals, error)
	Releases(ctx context.Context, r ReleasesRequest, item func(Release) error) (None, error)
	Conflicts(ctx context.Context, path Path) ([]ConflictInfo, error)
	Resolve(ctx context.Context, r ResolveRequest) error
	Pause(ctx context.Context, r PauseRequest) error
	Resume(ctx context.Context) error
}

// ConduitHandler answers for conduits.
type ConduitHandler interface {
	Conduits(ctx context.Context) ([]ConduitStatus, error)
	Conduit(ctx context.Context, name string) (ConduitStatus, error)
	Create(ctx context.Context, s ConduitSpec) (ConduitStatus, error)
	Preview(ctx context.Context, s ConduitSpec) (ConduitPreview, error)
	Edit(ctx context.Context, e ConduitEdit) (ConduitStatus, error)
	PauseConduit(ctx context.Context, name string) error
	ResumeConduit(ctx context.Context, name string) error
	Delete(ctx context.Context, name string, force bool) error
}

// Report is called with progress, from one goroutine at a time.
type Report func(Progress)

// Handlers are what a Server serves. All must be set.
type Handlers struct {
	Drive    DriveHandler
	Files    FileHandler
	Sync     SyncHandler
	Conduits ConduitHandler
	Events   EventHandler
}

// NewServer is the HTTP server of the protocol. The caller serves it on a
// Listener and shuts it down, which ends the contexts of requests under way.
func NewServer(h Handlers) *http.Server {
	mux := http.NewServeMux()
	routeDrive(mux, h.Drive)
	routeFiles(mux, h.Files)
	routeSync(mux, h.Sync)
	routeConduits(mux, h.Conduits)
	routeEvents(mux, h.Events)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, &Error{Code: NotFound, Message: "no such request: " + r.Method + " " + r.URL.Path})
	})
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	s.RegisterOnShutdown(func() { cancel(errEnding) })
	return s
}

// errEnding is what requests under way get when the daemon ends.
var errEnding = &Error{Code: NoDrive, Message: "the vdfs daemon is ending"}

func routeDrive(mux *http.ServeMux, d DriveHandler) {
	get(mux, "GET /v1/drive", func(ctx context.Context, _ *http.Request) (Drive, error) { return d.Drive(ctx) })
	get(mux, "GET /v1/status", func(ctx context.Context, _ *http.Request) (Status, error) { return d.Status(ctx) })
	get(mux, "GET /v1/doctor", func(ctx context.Context, _ *http.Request) (Problems, error) { return d.Doctor(ctx) })
	post(mux, "POST /v1/unmount", d.Unmount)
}

func routeFiles(mux *http.ServeMux, f FileHandler) {
	post(mux, "POST /v1/info", f.Info)
	post(mux, "POST /v1/why", f.Why)
	post(mux, "POST /v1/list", f.List)
	stream(mux, "POST /v1/pin", f.Pin)
	stream(mux, "POST /v1/unpin", f.Unpin)
	stream(mux, "POST /v1/online", f.Online)
	stream(mux, "POST /v1/exclude", f.Exclude)
	stream(mux, "POST /v1/fetch", f.Fetch)
	stream(mux, "POST /v1/offload", f.Offload)
	stream(mux, "POST /v1/adopt", f.Adopt)
	post(mux, "POST /v1/du", f.DiskUse)
	items(mux, "POST /v1/pins", f.Pins)
	items(mux, "POST /v1/redundancy", f.Redundancy)
	post(mux, "POST /v1/versions", f.Versions)
	stream(mux, "POST /v1/restore", f.Restore)
	told(mux, "POST /v1/verify", f.Verify)
	get(mux, "GET /v1/damage", func(ctx context.Context, _ *http.Request) ([]Damage, error) { return f.Damage(ctx) })
}

func routeSync(mux *http.ServeMux, s SyncHandler) {
	stream(mux, "POST /v1/sync", s.Sync)
	get(mux, "GET /v1/queue", func(ctx context.Context, r *http.Request) ([]QueueItem, error) {
		q := r.URL.Query()
		after := int64(0)
		if text := q.Get("after"); text != "" {
			var err error
			if after, err = strconv.ParseInt(text, 10, 64); err != nil {
				return nil, &Error{Code: Usage, Message: "after is not a number"}
			}
		}
		return s.Queue(ctx, q.Get("stuck") == "1", after)
	})
	get(mux, "GET /v1/history", func(ctx context.Context, r *http.Request) ([]Generation, error) {
		q, err := historyRequest(r.URL.Query())
		if err != nil {
			return nil, err
		}
		return s.History(ctx, q)
	})
	get(mux, "GET /v1/history/totals", func(ctx context.Context, r *http.Request) ([]HistoryTotals, error) {
		q, err := historyRequest(r.URL.Query())
		if err != nil {
			return nil, err
		}
		return s.HistoryTotals(ctx, q)
	})
	items(mux, "POST /v1/releases", s.Releases)
	get(mux, "GET /v1/conflicts", func(ctx context.Context, r *http.Request) ([]ConflictInfo, error) {
		return s.Conflicts(ctx, Path(r.URL.Query().Get("path")))
	})
	post(mux, "POST /v1/conflicts/resolve", func(ctx context.Context, r ResolveRequest) (None, error) { return None{}, s.Resolve(ctx, r) })
	post(mux, "POST /v1/pause", func(ctx context.Context, r PauseRequest) (None, error) { return None{}, s.Pause(ctx, r) })
	post(mux, "POST /v1/resume", func(ctx context.Context, _ None) (None, error) { return None{}, s.Resume(ctx) })
}

func routeConduits(mux *http.ServeMux, c ConduitHandler) {
	get(mux, "GET /v1/conduits", func(ctx context.Context, _ *http.Request) ([]ConduitStatus, error) { return c.Conduits(ctx) })
	get(mux, "GET /v1/conduits/{name}", func(ctx context.Context, r *http.Request) (ConduitStatus, error) {
		return c.Conduit(ctx, r.PathValue("name"))
	})
	post(mux, "POST /v1/conduits", c.Create)
	post(mux, "POST /v1/conduits/preview", c.Preview)
	post(mux, "POST /v1/conduits/edit", c.Edit)
	get(mux, "DELETE /v1/conduits/{name}", func(ctx context.Context, r *http.Request) (None, error) {
		return None{}, c.Delete(ctx, r.PathValue("name"), r.URL.Query().Get("force") == "1")
	})
	get(mux, "POST /v1/conduits/{name}/pause", func(ctx context.Context, r *http.Request) (None, error) {
		return None{}, c.PauseConduit(ctx, r.PathValue("name"))
	})
	get(mux, "POST /v1/conduits/{name}/resume", func(ctx context.Context, r *http.Request) (None, error) {
		return None{}, c.ResumeConduit(ctx, r.PathValue("name"))
	})
}

// get serves a request without a body.
func get[T any](mux *http.ServeMux, pattern string, f func(context.Context, *http.Request) (T, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r.Context(), r)
		answer(w, v, err)
	})
}

// post serves a request with a JSON body.
func post[R, T any](mux *http.ServeMux, pattern string, f func(context.Context, R) (T, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		req, err := body[R](w, r)
		if err != nil {
			fail(w, err)
			return
		}
		v, err := f(r.Context(), req)
		answer(w, v, why(r.Context(), err))
	})
}

// body reads a request: exactly one JSON value without unknown fields, or nothing.
func body[R any](w http.ResponseWriter, r *http.Request) (R, error) {
	var req R
	if r.ContentLength == 0 {
		return req, nil
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return req, &Error{Code: Usage, Message: "request body is too large"}
		}
		return req, &Error{Code: Usage, Message: "decode request: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	return req, nil
}

func answer[T any](w http.ResponseWriter, v T, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	write(w, http.StatusOK, v)
}

func fail(w http.ResponseWriter, err error) {
	e := AsError(err)
	write(w, e.Code.status(), event{Error: e})
}

// write sends one value; a client that has gone is no concern of the server's.
func write(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error":{"code":"failed","message":"encode answer"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n'))
}
