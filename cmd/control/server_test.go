package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var someday = func() *time.Time { t := time.Date(2026, 3, 1, 12, 0, 0, 1, time.UTC); return &t }()

// backend answers everything from memory and remembers what it was asked.
type backend struct {
	asked []any
	err   error
	block chan struct{} // if set, long requests wait for it or for their client
	begun chan struct{} // if set, closed when a request blocks
	ended chan error    // gets how a blocked request ended
}

func (b *backend) note(v any) error { b.asked = append(b.asked, v); return b.err }

func (b *backend) Drive(context.Context) (Drive, error) {
	return Drive{Version: "1", PID: 7, Mountpoint: "/m\xff", Data: "/d"}, b.err
}

func (b *backend) Status(context.Context) (Status, error)   { return Status{State: "idle"}, b.err }
func (b *backend) Doctor(context.Context) (Problems, error) { return Problems{}, b.err }
func (b *backend) Unmount(_ context.Context, r UnmountRequest) (UnmountResult, error) {
	return UnmountResult{Pending: 3}, b.note(r)
}

func (b *backend) Info(_ context.Context, r Paths) (Infos, error) {
	return Infos{Files: []Info{{Path: r.Paths[0]}}}, b.note(r)
}

func (b *backend) Why(_ context.Context, r Paths) (Whys, error) {
	return Whys{Files: []Why{{Path: r.Paths[0]}}}, b.note(r)
}

func (b *backend) List(_ context.Context, r ListRequest) (Listing, error) {
	return Listing{Dir: true, Next: r.After + 1}, b.note(r)
}

func (b *backend) long(ctx context.Context, r PathsRequest, p Report) (PathsResult, error) {
	if b.block != nil {
		if b.begun != nil {
			close(b.begun)
		}
		select {
		case <-b.block:
		case <-ctx.Done():
			b.ended <- ctx.Err()
			return PathsResult{}, ctx.Err()
		}
	}
	p(Progress{Done: 1, Total: 2})
	p(Progress{Done: 2, Total: 2})
	return PathsResult{Files: 2}, b.note(r)
}

func (b *backend) Pin(ctx context.Context, r PathsRequest, p Report) (PathsResult, error) {
	return b.long(ctx, r, p)
}

func (b *backend) Unpin(ctx context.Context, r PathsRequest, p Report) (PathsResult, error) {
	return b.long(ctx, r, p)
}

func (b *backend) Online(ctx context.Context, r PathsRequest, p Report) (PathsResult, error) {
	return b.long(ctx, r, p)
}

func (b *backend) Exclude(ctx context.Context, r PathsRequest, p Report) (PathsResult, error) {
	return b.long(ctx, r, p)
}

func (b *backend) DiskUse(_ context.Context, r Paths) (DiskUses, error) {
	return DiskUses{Usage: []DiskUse{{Path: r.Paths[0]}}}, b.note(r)
}

func (b *backend) Pins(_ context.Context, _ None, item func(PinInfo) error) (None, error) {
	return None{}, errors.Join(item(PinInfo{Path: "/p\xff"}), item(PinInfo{Path: "/q"}), b.err)
}

// Redundancy answers without an end, if it is to block.
func (b *backend) Redundancy(ctx context.Context, r RedundancyRequest, item func(FileCopies) error) (Redundancy, error) {
	err := item(FileCopies{Path: "/f", Copies: 1})
	for b.block != nil && err == nil {
		err = item(FileCopies{Path: "/f", Copies: 1})
	}
	if b.block != nil {
		b.ended <- err
	}
	return Redundancy{Files: 2, AtRisk: 1}, errors.Join(err, b.note(r))
}

func (b *backend) Fetch(ctx context.Context, r PathsRequest, p Report) (PathsResult, error) {
	return b.long(ctx, r, p)
}

func (b *backend) Offload(ctx context.Context, r PathsRequest, p Report) (PathsResult, error) {
	return b.long(ctx, r, p)
}

func (b *backend) Adopt(_ context.Context, r AdoptRequest, p Report) (AdoptResult, error) {
	p(Progress{Done: 1, Total: 2})
	return AdoptResult{Files: 1, Differ: 2}, b.note(r)
}

func (b *backend) Verify(_ context.Context, r VerifyRequest, p Report, item func(Finding) error) (Verification, error) {
	p(Progress{Done: 1, Total: 2, Bytes: true})
	err := item(Finding{Path: "/f\xff", State: "damaged"})
	p(Progress{Done: 2, Total: 2, Bytes: true})
	return Verification{Files: 1, Damaged: 1}, errors.Join(err, b.note(r))
}

func (b *backend) Damage(context.Context) ([]Damage, error) { return []Damage{{Path: "/f"}}, b.err }

func (b *backend) Versions(_ context.Context, r VersionsRequest) (Versions, error) {
	return Versions{Versions: []Version{{Version: 1, Path: r.Path}}}, b.note(r)
}

func (b *backend) Restore(_ context.Context, r RestoreRequest, p Report) (RestoreResult, error) {
	p(Progress{Done: 1, Total: 1})
	return RestoreResult{Files: 1}, b.note(r)
}

func (b *backend) Releases(_ context.Context, r ReleasesRequest, item func(Release) error) (None, error) {
	return None{}, errors.Join(item(Release{Path: "/r"}), b.note(r))
}

func (b *backend) Sync(_ context.Context, r SyncRequest, _ Report) (SyncResult, error) {
	return SyncResult{State: "done"}, b.note(r)
}

func (b *backend) Queue(_ context.Context, stuck bool, after int64) ([]QueueItem, error) {
	return []QueueItem{}, b.note([2]any{stuck, after})
}

func (b *backend) History(_ context.Context, r HistoryRequest) ([]Generation, error) {
	return nil, b.note(r)
}

func (b *backend) HistoryTotals(_ context.Context, r HistoryRequest) ([]HistoryTotals, error) {
	return nil, b.note(r)
}

func (b *backend) Conflicts(_ context.Context, p Path) ([]ConflictInfo, error) {
	return nil, b.note(p)
}
func (b *backend) Resolve(_ context.Context, r ResolveRequest) error { return b.note(r) }
func (b *backend) Pause(_ context.Context, r PauseRequest) error     { return b.note(r) }
func (b *backend) Resume(context.Context) error                      { return b.note("resume") }
func (b *backend) Conduits(context.Context) ([]ConduitStatus, error) { return nil, b.err }
func (b *backend) Conduit(_ context.Context, n string) (ConduitStatus, error) {
	return ConduitStatus{Name: n}, b.err
}

func (b *backend) Create(_ context.Context, s ConduitSpec) (ConduitStatus, error) {
	return ConduitStatus{Name: s.Name}, b.note(s)
}

func (b *backend) Preview(_ context.Context, s ConduitSpec) (ConduitPreview, error) {
	return ConduitPreview{Name: s.Name}, b.note(s)
}

func (b *backend) Edit(_ context.Context, e ConduitEdit) (ConduitStatus, error) {
	return ConduitStatus{Name: e.Conduit}, b.note(e)
}
func (b *backend) PauseConduit(_ context.Context, n string) error  { return b.note("pause " + n) }
func (b *backend) ResumeConduit(_ context.Context, n string) error { return b.note("resume " + n) }
func (b *backend) Delete(_ context.Context, n string, force bool) error {
	return b.note([2]any{n, force})
}

// serve runs a server for the test and returns its client.
func serve(t *testing.T, b *backend, socket string) *Client {
	t.Helper()
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Handlers{b, b, b, b, b})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket file stays: %v", err)
		}
	})
	return NewClient(socket)
}

func socketPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "control.sock")
}

func TestRequestsReachTheirHandlersWhole(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := serve(t, b, socketPath(t))
	ctx := t.Context()
	post := func(path string, body any) error {
		_, err := Post[None](ctx, c, path, body)
		return err
	}
	for name, tc := range map[string]struct {
		send func() error
		want any
	}{
		"unmount": {func() error { return post("/v1/unmount", UnmountRequest{Lazy: true}) }, UnmountRequest{Lazy: true}},
		"pause":   {func() error { return post("/v1/pause", PauseRequest{Seconds: 9}) }, PauseRequest{9}},
		"resume":  {func() error { return post("/v1/resume", None{}) }, "resume"},
		"resolve": {func() error {
			return post("/v1/conflicts/resolve", ResolveRequest{Path: "/x\xff", Keep: "merged", Merged: []byte{0, 255}})
		}, ResolveRequest{Path: "/x\xff", Keep: "merged", Merged: []byte{0, 255}}},
		"a conduit's name with a slash": {func() error { return post("/v1/conduits/"+Escape("a/b c")+"/pause", None{}) }, "pause a/b c"},
		"resume a conduit":              {func() error { return post("/v1/conduits/x/resume", None{}) }, "resume x"},
		"edit": {func() error {
			return post("/v1/conduits/edit", ConduitEdit{Conduit: "x", Rules: &[]Rule{{Pattern: "*.md", Strategy: "newest"}}})
		}, ConduitEdit{Conduit: "x", Rules: &[]Rule{{Pattern: "*.md", Strategy: "newest"}}}},
		"preview": {func() error {
			_, err := Post[ConduitPreview](ctx, c, "/v1/conduits/preview", ConduitSpec{Name: "x", At: "/p"})
			return err
		}, ConduitSpec{Name: "x", At: "/p"}},
		"delete": {func() error { return Delete(ctx, c, "/v1/conduits/x"+Query("force", "1")) }, [2]any{"x", true}},
		"adopt": {func() error {
			_, err := Stream[AdoptResult](ctx, c, "/v1/adopt", AdoptRequest{Dir: "/d\xff", Path: "/p"}, func(Progress) {})
			return err
		}, AdoptRequest{Dir: "/d\xff", Path: "/p"}},
		"versions": {func() error {
			_, err := Post[Versions](ctx, c, "/v1/versions", VersionsRequest{Path: "/p\xff"})
			return err
		}, VersionsRequest{Path: "/p\xff"}},
		"restore": {func() error {
			_, err := Stream[RestoreResult](ctx, c, "/v1/restore", RestoreRequest{Path: "/p\xff", Version: 2, To: "/q"}, func(Progress) {})
			return err
		}, RestoreRequest{Path: "/p\xff", Version: 2, To: "/q"}},
		"releases": {func() error {
			_, err := Items[Release, None](ctx, c, "/v1/releases", ReleasesRequest{Conduit: "x"}, func(Release) error { return nil })
			return err
		}, ReleasesRequest{Conduit: "x"}},
		"history": {func() error {
			_, err := Get[[]Generation](ctx, c, "/v1/history"+HistoryRequest{Conduit: "a b", Since: someday, Failed: true, Limit: 7}.Query())
			return err
		}, HistoryRequest{Conduit: "a b", Since: someday, Failed: true, Limit: 7}},
		"totals": {func() error {
			_, err := Get[[]HistoryTotals](ctx, c, "/v1/history/totals"+HistoryRequest{Until: someday}.Query())
			return err
		}, HistoryRequest{Until: someday}},
		"a page of the queue": {func() error {
			_, err := Get[[]QueueItem](ctx, c, "/v1/queue"+Query("stuck", "1", "after", "12"))
			return err
		}, [2]any{true, int64(12)}},
		"conflicts of a path of any bytes": {func() error {
			_, err := Get[[]ConflictInfo](ctx, c, "/v1/conflicts"+Query("path", "/a&b\xff"))
			return err
		}, Path("/a&b\xff")},
	} {
		b.asked = nil
		if err := tc.send(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(b.asked) != 1 || !reflect.DeepEqual(b.asked[0], tc.want) {
			t.Errorf("%s: the handler got %#v, want %#v", name, b.asked, tc.want)
		}
	}
}

func TestALongRequestReportsProgressThenItsResult(t *testing.T) {
	t.Parallel()
	c := serve(t, &backend{}, socketPath(t))
	var seen []Progress
	r, err := Stream[PathsResult](t.Context(), c, "/v1/pin", PathsRequest{Paths: []Path{"/a"}}, func(p Progress) { seen = append(seen, p) })
	if err != nil || r.Files != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if want := []Progress{{Done: 1, Total: 2}, {Done: 2, Total: 2}}; !reflect.DeepEqual(seen, want) {
		t.Fatalf("progress %v", seen)
	}
}

func TestItemsComeOneByOneAndThenTheResult(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := serve(t, b, socketPath(t))
	var pins []Path
	_, err := Items[PinInfo, None](t.Context(), c, "/v1/pins", None{}, func(p PinInfo) error { pins = append(pins, p.Path); return nil })
	if err != nil || !reflect.DeepEqual(pins, []Path{"/p\xff", "/q"}) {
		t.Errorf("pins %q, %v", pins, err)
	}
	var files []FileCopies
	r, err := Items[FileCopies, Redundancy](t.Context(), c, "/v1/redundancy", RedundancyRequest{Paths: []Path{"/a"}, All: true}, func(f FileCopies) error {
		files = append(files, f)
		return nil
	})
	if err != nil || len(files) != 1 || files[0].Copies != 1 || r.Files != 2 || r.AtRisk != 1 {
		t.Errorf("%v, %+v, %v", files, r, err)
	}
	b.err = &Error{Code: Refused, Message: "because"}
	if _, err := Items[PinInfo, None](t.Context(), c, "/v1/pins", None{}, func(PinInfo) error { return nil }); err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("an error after items: %v", err)
	}
}

func TestItemsComeWithProgressBetweenThem(t *testing.T) {
	t.Parallel()
	c := serve(t, &backend{}, socketPath(t))
	var lines []string
	r, err := Told[Finding, Verification](t.Context(), c, "/v1/verify", VerifyRequest{Paths: []Path{"/f"}},
		func(p Progress) { lines = append(lines, fmt.Sprint(p.Done, " of ", p.Total)) },
		func(f Finding) error { lines = append(lines, string(f.Path)+" "+f.State); return nil })
	if want := []string{"1 of 2", "/f\xff damaged", "2 of 2"}; err != nil || !reflect.DeepEqual(lines, want) || r.Damaged != 1 {
		t.Errorf("%q, %+v, %v", lines, r, err)
	}
	if all, err := Get[[]Damage](t.Context(), c, "/v1/damage"); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestItemsThatNobodyReadsAreNotSoughtAnyMore(t *testing.T) {
	t.Parallel()
	b := &backend{block: make(chan struct{}), ended: make(chan error, 1)}
	c := serve(t, b, socketPath(t))
	enough := errors.New("enough")
	_, err := Items[FileCopies, Redundancy](t.Context(), c, "/v1/redundancy", RedundancyRequest{}, func(FileCopies) error { return enough })
	if !errors.Is(err, enough) {
		t.Fatalf("client: %v", err)
	}
	select {
	case err := <-b.ended:
		if err == nil {
			t.Error("it ended by itself")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler goes on without its client")
	}
}

func TestALongRequestEndsWithItsClient(t *testing.T) {
	t.Parallel()
	b := &backend{block: make(chan struct{}), ended: make(chan error, 1)}
	c := serve(t, b, socketPath(t))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("had enough"))
	defer cancel()
	_, err := Stream[PathsResult](ctx, c, "/v1/fetch", PathsRequest{}, func(Progress) {})
	if err == nil || err.Error() != "had enough" {
		t.Fatalf("client: %v", err)
	}
	select {
	case <-b.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler goes on without its client")
	}
}

func TestErrorsKeepTheirClass(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := serve(t, b, socketPath(t))
	for _, code := range []Code{Failed, Usage, Partly, Conflict, Unreachable, NoDrive, Refused, NotFound} {
		b.err = &Error{Code: code, Message: "because"}
		_, err := c.Drive(t.Context())
		if e := AsError(err); e == nil || e.Code != code || e.Message != "because" {
			t.Errorf("plain %s: %v", code, err)
		}
		_, err = Stream[PathsResult](t.Context(), c, "/v1/offload", PathsRequest{}, func(Progress) {})
		if e := AsError(err); e == nil || e.Code != code || e.Message != "because" {
			t.Errorf("streamed %s: %v", code, err)
		}
	}
	b.err = errors.New("plain")
	if _, err := c.Drive(t.Context()); AsError(err).Code != Failed {
		t.Errorf("plain error: %v", err)
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, &backend{}, socketPath(t))
	for name, tc := range map[string]struct {
		path string
		body any
		code Code
	}{
		"unknown path":  {"/v1/nothing", None{}, NotFound},
		"unknown field": {"/v1/pause", map[string]int{"minutes": 3}, Usage},
		"wrong type":    {"/v1/pause", "3", Usage},
	} {
		if _, err := Post[None](t.Context(), c, tc.path, tc.body); AsError(err) == nil || AsError(err).Code != tc.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Get[[]QueueItem](t.Context(), c, "/v1/queue?after=x"); AsError(err) == nil || AsError(err).Code != Usage {
		t.Errorf("after=x: %v", err)
	}
}

func TestTheSocketIsTheOwnersOnly(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	serve(t, &backend{}, socket)
	fi, err := os.Stat(socket)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", fi, err)
	}
}

func TestALongSocketPathWorks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40), strings.Repeat("path", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := serve(t, &backend{}, filepath.Join(dir, "control.sock"))
	if d, err := c.Drive(t.Context()); err != nil || d.Mountpoint != "/m\xff" {
		t.Fatalf("%+v, %v", d, err)
	}
}

func TestASecondListenerIsRefusedAndADeadSocketReplaced(t *testing.T) {
	t.Parallel()
	socket := socketPath(t)
	dead, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(socket); !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("second listener: %v", err)
	}
	// A process that was killed leaves its file.
	if err := dead.(*listener).UnixListener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Fatal(err)
	}
	c := serve(t, &backend{}, socket)
	if _, err := c.Drive(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestNobodyThereIsNoDrive(t *testing.T) {
	t.Parallel()
	for name, socket := range map[string]string{
		"no file": socketPath(t), "no directory": filepath.Join(t.TempDir(), "none", strings.Repeat("x", 120), "s"),
	} {
		if _, err := NewClient(socket).Drive(t.Context()); AsError(err) == nil || AsError(err).Code != NoDrive {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADaemonThatDiesWhileItIsAskedIsNoDrive(t *testing.T) {
	t.Parallel()
	c := NewClient(socketPath(t))
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, unix.ECONNRESET, unix.EPIPE, unix.ECONNREFUSED} {
		if err := c.broken(t.Context(), fmt.Errorf("write: %w", cause)); AsError(err).Code != NoDrive {
			t.Errorf("%v: %v", cause, err)
		}
	}
}

func TestTheEndOfTheDaemonEndsRequestsUnderWay(t *testing.T) {
	t.Parallel()
	b := &backend{block: make(chan struct{}), ended: make(chan error, 1)}
	socket := socketPath(t)
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Handlers{b, b, b, b, b})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	answered := make(chan error, 1)
	begun := make(chan struct{})
	b.begun = begun
	go func() {
		_, err := Stream[PathsResult](context.Background(), NewClient(socket), "/v1/pin", PathsRequest{}, func(Progress) {})
		answered <- err
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatalf("shutdown waits for a request: %v", err)
	}
	if err := <-answered; AsError(err) == nil || AsError(err).Code != NoDrive {
		t.Errorf("the request ended with %v", err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
