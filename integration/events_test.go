package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// follower is a `vdfs events --follow` under way.
type follower struct {
	f    *fixture
	cmd  *exec.Cmd
	pipe io.Reader
	errs strings.Builder
	read chan struct{} // closed when all it said was read

	mu  sync.Mutex
	all []drive.Event
	bad []string // lines that are no events
}

// follow starts one, and returns when it is told of whatever happens from now on.
func (f *fixture) follow(types ...string) *follower {
	f.t.Helper()
	w := f.followUnread(types...)
	w.begin()
	return w
}

// followUnread is follow by somebody who reads nothing.
func (f *fixture) followUnread(types ...string) *follower {
	f.t.Helper()
	before := f.metric("vdfs_event_subscribers")
	args := []string{"events", "--follow"}
	if len(types) > 0 {
		args = append(args, "--type", strings.Join(types, ","))
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &follower{f: f, cmd: f.Command(ctx, args...), read: make(chan struct{})}
	w.cmd.Stderr = &w.errs
	pipe, err := w.cmd.StdoutPipe()
	must(f.t, err)
	w.pipe = pipe
	must(f.t, w.cmd.Start())
	f.t.Cleanup(func() {
		cancel()
		_ = w.cmd.Wait() // it may have been waited for
	})
	eventually(f.t, "the follower is known", func() bool { return f.metric("vdfs_event_subscribers") == before+1 })
	return w
}

// begin reads all it says.
func (w *follower) begin() {
	go func() {
		defer close(w.read)
		lines := bufio.NewScanner(w.pipe)
		for lines.Scan() {
			var e drive.Event
			err := json.Unmarshal(lines.Bytes(), &e)
			w.mu.Lock()
			if err != nil || e.Seq == 0 || e.Type == "" || e.At == "" {
				w.bad = append(w.bad, lines.Text())
			}
			w.all = append(w.all, e)
			w.mu.Unlock()
		}
	}()
}

// seen are all events so far.
func (w *follower) seen() []drive.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// wants waits for an event of a type of which something holds.
func (w *follower) wants(what, kind string, holds func(drive.Event) bool) (found drive.Event) {
	w.f.t.Helper()
	ok := drive.Poll(patience, func() bool {
		for _, e := range w.seen() {
			if e.Type == kind && holds(e) {
				found = e
				return true
			}
		}
		return false
	})
	if !ok {
		var all []string
		for _, e := range w.seen() {
			text, err := json.Marshal(e)
			must(w.f.t, err)
			all = append(all, string(text))
		}
		w.f.t.Fatalf("not told of: %s (%s)\n%s", what, kind, strings.Join(all, "\n"))
	}
	return found
}

// code waits for its end.
func (w *follower) code() int {
	w.f.t.Helper()
	<-w.read
	err := w.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.f.t.Fatal(err)
	}
	return w.cmd.ProcessState.ExitCode()
}

// metric is a number of `vdfs metrics`, by its name with its labels.
func (f *fixture) metric(name string) float64 {
	f.t.Helper()
	text := f.do("metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			must(f.t, err)
			return n
		}
	}
	f.t.Fatalf("there is no %s in:\n%s", name, text)
	return 0
}

func at(path string) func(drive.Event) bool {
	return func(e drive.Event) bool { return e.Path == path }
}

func from(path, origin string) func(drive.Event) bool {
	return func(e drive.Event) bool { return e.Path == path && e.Origin == origin }
}

func TestWhatHappensIsTold(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.behind("old"), "was there before")
	f.settled()
	w := f.follow()
	start := f.status().Metrics

	// An upload.
	text := strings.Repeat("up", 40_000)
	write(t, f.path("up"), text)
	f.sync()
	begun := w.wants("an upload begins", "FileUploadStarted", at("/up"))
	done := w.wants("an upload is done", "FileUploadCompleted", at("/up"))
	if begun.TotalBytes != 80_000 || done.TotalBytes != 80_000 || len(done.Hash) != 64 || done.Conduit != "home" || done.Endpoint != f.dir || done.Seq <= begun.Seq {
		t.Errorf("an upload is told of as %+v and %+v", begun, done)
	}
	w.wants("a file went to the endpoint", "FileAdded", from("/up", "local"))
	run := w.wants("a run is done", "SyncCompleted", func(e drive.Event) bool { return e.Generation > 0 && e.Files == 1 && e.Bytes == 80_000 })
	w.wants("it began", "SyncStarted", func(e drive.Event) bool { return e.Conduit == "home" && e.Seq < run.Seq })
	w.wants("it is proved", "VerificationComplete", func(e drive.Event) bool { return e.Generation == run.Generation && e.Verification == "verified" })

	// A download.
	write(t, f.behind("down"), "came down")
	f.sync()
	w.wants("a file came", "FileAdded", from("/down", "remote"))
	wants(t, f.path("down"), "came down")
	if e := w.wants("a download is done", "FileDownloadCompleted", at("/down")); e.TotalBytes != 9 || len(e.Hash) != 64 {
		t.Errorf("a download is told of as %+v", e)
	}
	w.wants("a file is here", "FileHydrated", func(e drive.Event) bool { return e.Path == "/down" && e.TotalBytes == 9 })

	// Changes, moves and deletions of either side.
	write(t, f.path("up"), "changed")
	write(t, f.behind("down"), "changed there")
	f.sync()
	w.wants("a change went", "FileModified", from("/up", "local"))
	w.wants("a change came", "FileModified", from("/down", "remote"))
	must(t, os.Rename(f.behind("down"), f.behind("moved")))
	must(t, os.Remove(f.path("up")))
	f.sync()
	if e := w.wants("a move came", "FileMoved", from("/moved", "remote")); e.OldPath != "/down" {
		t.Errorf("it came from %q", e.OldPath)
	}
	w.wants("a deletion went", "FileDeleted", from("/up", "local"))

	// A conflict, and its end.
	f.do("pause")
	w.wants("a conduit is paused", "SyncStateChanged", func(e drive.Event) bool { return e.State == "paused" && e.Conduit == "home" })
	write(t, f.path("old"), "mine, longer")
	write(t, f.behind("old"), "theirs")
	w.wants("the queue has grown", "QueueStatusChanged", func(e drive.Event) bool { return e.Queue != nil && e.Queue.New == 1 })
	f.do("resume")
	f.run("sync", "--wait", "--timeout", "180s")
	met := w.wants("a conflict", "FileConflictDetected", at("/old"))
	if met.ConflictPath == "" || met.ConflictType == "" || met.Strategy != "conflict-file" || met.Local == nil || met.Local.Size != 12 || met.Remote == nil || met.Remote.Size != 6 {
		t.Errorf("a conflict is told of as %+v", met)
	}
	f.do("conflicts", "resolve", f.path("old"), "--keep", "local")
	w.wants("a conflict is settled", "FileConflictResolved", func(e drive.Event) bool { return e.Path == "/old" && e.Strategy == "local" })
	f.sync()

	// Offloading and pinning.
	wants(t, f.path("moved"), "changed there")
	f.do("offload", f.path("moved"))
	w.wants("bytes are dropped", "FileOffloaded", func(e drive.Event) bool { return e.Path == "/moved" && e.Bytes > 0 })
	f.do("pin", f.path("moved"), "--wait")
	w.wants("a pin", "PinChanged", func(e drive.Event) bool { return e.Path == "/moved" && e.From == "inherited" && e.Pin == "pinned" })
	f.do("unpin", f.path("moved"))
	w.wants("a pin is gone", "PinChanged", func(e drive.Event) bool { return e.Path == "/moved" && e.From == "pinned" && e.Pin == "inherited" })

	// The endpoint goes, and is back.
	must(t, os.Rename(f.dir, f.dir+"-away"))
	if r := f.run("sync", "--wait"); r.Code != 5 {
		t.Errorf("without the endpoint: %s", r)
	}
	w.wants("it is away", "ConnectivityChanged", func(e drive.Event) bool { return e.Online != nil && !*e.Online && e.Error != "" && e.Endpoint == f.dir })
	w.wants("the conduit is offline", "SyncStateChanged", func(e drive.Event) bool { return e.State == "offline" })
	if f.metric(fmt.Sprintf("vdfs_endpoint_online{conduit=%q,endpoint=%q}", "home", f.dir)) != 0 {
		t.Error("the metrics have it online")
	}
	must(t, os.Rename(f.dir+"-away", f.dir))
	f.sync()
	w.wants("it is back", "ConnectivityChanged", func(e drive.Event) bool { return e.Online != nil && *e.Online })

	// Conduits.
	second := f.dir + "-second"
	must(t, os.Mkdir(second, 0o755))
	f.do("conduit", "create", "more", "--source", "drive:/more", "--target", second, "--policy", "offload")
	w.wants("a conduit", "ConduitCreated", func(e drive.Event) bool { return e.Conduit == "more" && e.Policy == "offload" })
	f.do("conduit", "edit", "more", "--strategy", "newest")
	w.wants("it is changed", "ConduitUpdated", func(e drive.Event) bool { return e.Conduit == "more" })
	f.do("conduit", "delete", "more", "--force")
	w.wants("it is gone", "ConduitDeleted", func(e drive.Event) bool { return e.Conduit == "more" })

	f.countedSince(start)
	f.inOrder(w)

	// The daemon ends, and with it whoever follows.
	f.do("unmount", f.at)
	if code := w.code(); code != 6 || strings.Count(w.errs.String(), "\n") != 1 {
		t.Errorf("exit %d, %q", code, w.errs.String())
	}
	f.mount()
	f.toldLater()
}

// countedSince demands that the metrics have moved with what TestWhatHappensIsTold did.
func (f *fixture) countedSince(start drive.Metrics) {
	f.t.Helper()
	now := f.status().Metrics
	if now.FilesSent < start.FilesSent+3 || now.FilesFetched < start.FilesFetched+2 || now.FilesOffloaded != start.FilesOffloaded+1 ||
		now.Conflicts != start.Conflicts+1 || now.Resolved != start.Resolved+1 || now.BytesUp < start.BytesUp+80_000 || now.BytesDown < start.BytesDown+20 ||
		now.Syncs < start.Syncs+4 || now.Day != now.Sums || now.BytesOffloaded < start.BytesOffloaded+13 {
		f.t.Errorf("metrics were %+v, now %+v", start, now)
	}
	var alone drive.Metrics
	must(f.t, f.JSON(&alone, "metrics", "--json"))
	if alone.FilesSent != now.FilesSent || f.metric("vdfs_uploaded_files_total") != float64(now.FilesSent) ||
		f.metric("vdfs_conflicts_total") != float64(now.Conflicts) || f.metric("vdfs_uploaded_bytes_total") != float64(now.BytesUp) ||
		f.metric(`vdfs_queue_items{status="error"}`) != 0 || f.metric("vdfs_nodes") == 0 || f.metric("process_resident_memory_bytes") == 0 {
		f.t.Errorf("the metrics differ: %+v, %+v\n%s", now, alone, f.do("metrics"))
	}
}

// inOrder demands that a follower was told everything, in order.
func (f *fixture) inOrder(w *follower) {
	f.t.Helper()
	all := w.seen()
	for i, e := range all {
		if e.Dropped > 0 || i > 0 && e.Seq <= all[i-1].Seq {
			f.t.Errorf("event %d: %+v", i, e)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.bad) > 0 {
		f.t.Errorf("no events: %q", w.bad)
	}
}

// toldLater demands that the diary has what TestWhatHappensIsTold did, after a restart.
func (f *fixture) toldLater() {
	f.t.Helper()
	var got []string
	for line := range strings.Lines(f.do("events", "--type", "FileConflictDetected,fileconflictresolved,ConduitCreated,ConnectivityChanged,PinChanged")) {
		var e drive.Event
		must(f.t, json.Unmarshal([]byte(line), &e))
		got = append(got, e.Type)
	}
	want := []string{"ConduitCreated", "FileConflictDetected", "FileConflictResolved", "PinChanged", "PinChanged", "ConnectivityChanged", "ConnectivityChanged", "ConduitCreated"}
	if !slices.Equal(got, want) {
		f.t.Errorf("the diary has %q, want %q", got, want)
	}
	if n := strings.Count(f.do("events", "--limit", "2"), "\n"); n != 2 {
		f.t.Errorf("%d lines instead of 2", n)
	}
	if r := f.run("events", "--type", "Nonsense"); r.Code != 2 {
		f.t.Errorf("a type that is none: %s", r)
	}
	if n := strings.Count(f.Log(), `msg=conflict `); n != 1 {
		f.t.Errorf("the log has the conflict %d times:\n%s", n, f.Log())
	}
}

func TestFollowingEndsWhenItIsInterrupted(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	w := f.follow("PinChanged")
	write(t, f.path("a"), "x")
	f.do("pin", f.path("a"))
	w.wants("a pin", "PinChanged", at("/a"))
	must(t, w.cmd.Process.Signal(unix.SIGINT))
	if code := w.code(); code != 0 || w.errs.Len() > 0 {
		t.Errorf("exit %d, %q", code, w.errs.String())
	}
	for _, e := range w.seen() {
		if e.Type != "PinChanged" {
			t.Errorf("it was told of %+v", e)
		}
	}
	eventually(t, "the daemon has forgotten it", func() bool { return f.metric("vdfs_event_subscribers") == 2 })
}

func TestSomebodyWhoDoesNotReadHoldsNothingUp(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	w := f.followUnread()
	const files = 4000
	must(t, os.Mkdir(f.path("many"), 0o755))
	for i := range files {
		write(t, f.path("many", fmt.Sprintf("a file with a name that is not short %d", i)), "x")
	}
	f.sync()
	if got := f.status().Metrics.FilesSent; got < files {
		t.Errorf("%d files were sent", got)
	}
	if f.metric("vdfs_events_dropped_total") == 0 {
		t.Fatal("no event was dropped: the test proves nothing")
	}
	w.begin()
	write(t, f.path("last"), "y")
	f.sync()
	w.wants("what comes now", "FileUploadCompleted", at("/last"))
	var lost uint64
	for _, e := range w.seen() {
		lost += e.Dropped
	}
	if float64(lost) != f.metric("vdfs_events_dropped_total") {
		t.Errorf("%d are told to be lost, %v were", lost, f.metric("vdfs_events_dropped_total"))
	}
}

// progressOf are the events about the progress of a file or a run.
func progressOf(all []drive.Event, kind, way string) (out []drive.Event) {
	for _, e := range all {
		if e.Type == kind && e.Direction == way {
			out = append(out, e)
		}
	}
	return out
}

// fits demands that progress was told of several times, but no more than five times a second, and only grows.
func fits(t *testing.T, what string, took time.Duration, all []drive.Event, bytes func(drive.Event) int64) {
	t.Helper()
	if most := int(took/(200*time.Millisecond)) + 1; len(all) < 3 || len(all) > most {
		t.Errorf("%s: told of %d times in %v", what, len(all), took)
	}
	last := int64(0)
	for _, e := range all {
		if n := bytes(e); n < last || n > e.TotalBytes || e.TotalBytes != 12<<20 {
			t.Errorf("%s: %d bytes come after %d: %+v", what, n, last, e)
		} else {
			last = n
		}
	}
}

func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	f, _ := farDrive(t, 4<<20, map[string][]byte{"big": random(12 << 20), "other": random(12 << 20)})
	w := f.follow()
	begun := time.Now()
	read(t, f.path("big"))
	w.wants("it is here", "FileDownloadCompleted", at("/big"))
	down := progressOf(w.seen(), "FileChunkReceived", "down")
	fits(t, "a download", time.Since(begun), down, func(e drive.Event) int64 { return e.Received })
	for _, e := range down {
		if e.Path != "/big" || e.Chunk != (e.Received-1)/(64<<10) {
			t.Errorf("progress is %+v", e)
		}
	}

	// What goes from one storage to another comes as slowly as from the first.
	second := f.dir + "-second"
	must(t, os.Mkdir(second, 0o755))
	f.do("resume")
	begun = time.Now()
	f.do("conduit", "create", "backup", "--source", "drive:/", "--target", second, "--policy", "synchronize")
	w.wants("it is there", "FileUploadCompleted", at("/other"))
	took := time.Since(begun)
	var up []drive.Event
	for _, e := range progressOf(w.seen(), "FileChunkReceived", "up") {
		if e.Path == "/other" && e.Conduit == "backup" {
			up = append(up, e)
		}
	}
	fits(t, "an upload", took, up, func(e drive.Event) int64 { return e.Received })
	run := progressOf(w.seen(), "SyncProgress", "")
	if len(run) < 3 || run[len(run)-1].Conduit != "backup" || run[len(run)-1].TotalFiles == 0 || run[len(run)-1].Rate == 0 {
		t.Errorf("a run is told of as %+v", run)
	}
	f.sync()
}
