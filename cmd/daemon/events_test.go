package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/cmd/control"
)

// told are the events that a request tells.
func told(t *testing.T, d *daemon, r control.EventsRequest) (out []control.Event) {
	t.Helper()
	_, err := d.handlers().Events.Events(t.Context(), r, func(e control.Event) error { out = append(out, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheDiaryKeepsWhatIsWorthIt(t *testing.T) {
	t.Parallel()
	d, _ := unmounted(t)
	for range 3 {
		d.parts.events.Publish(event.Event{Type: event.FileUploadCompleted, Path: "/x"})
	}
	for i := range 200 {
		d.parts.events.Publish(event.Event{Type: event.PinChanged, Path: fmt.Sprintf("/%d\xff", i), From: "inherited", To: "pinned"})
	}
	d.parts.hear(slog.New(slog.DiscardHandler))() // to the end
	err := d.parts.cache.Update(0, func(tx *cache.Tx) error { return tx.AddActivity("spree", "a sentence") })
	if err != nil {
		t.Fatal(err)
	}
	all := told(t, d, control.EventsRequest{})
	if len(all) < 202 || all[0].Type != "ConduitCreated" || all[0].Conduit != "home" {
		t.Fatalf("%d lines, the first %+v", len(all), all[0])
	}
	last := all[len(all)-1]
	if last.Type != "Message" || last.Kind != "spree" || last.Message != "a sentence" || last.At.IsZero() {
		t.Errorf("a sentence is %+v", last)
	}
	pins := told(t, d, control.EventsRequest{Types: []string{"pinchanged"}})
	if len(pins) != 200 || pins[0].Path != "/0\xff" || pins[199].Path != "/199\xff" || pins[0].Pin != "pinned" || pins[0].From != "inherited" {
		t.Fatalf("%d pins, the first %+v", len(pins), pins[0])
	}
	for i, p := range pins[1:] {
		if p.Seq != pins[i].Seq+1 {
			t.Fatalf("number %d follows %d", p.Seq, pins[i].Seq)
		}
	}
	if two := told(t, d, control.EventsRequest{Types: []string{"PinChanged"}, Limit: 2}); len(two) != 2 || two[1].Path != "/199\xff" {
		t.Errorf("the last two are %+v", two)
	}
	_, err = d.handlers().Events.Events(t.Context(), control.EventsRequest{Types: []string{"Nothing"}}, func(control.Event) error { return nil })
	if control.AsError(err).Code != control.Usage {
		t.Errorf("a type that is none: %v", err)
	}
}

func TestEveryTypeOfEventCanBeShown(t *testing.T) {
	t.Parallel()
	for _, name := range event.Names() {
		kind, _ := event.Parse(name)
		e := event.Event{Type: kind, Path: "/a", Error: "e", Total: 100, Bytes: 70_000, Queue: &event.Queue{New: 1}, Online: true, Local: `{"size":3}`, Remote: "{}"}
		data, err := json.Marshal(controlEvent(e))
		if err != nil || !strings.Contains(string(data), `"type":"`+name+`"`) {
			t.Errorf("%s: %s, %v", name, data, err)
		}
	}
	got := controlEvent(event.Event{Type: event.FileChunkReceived, Bytes: 65_537, Total: 100_000, Way: event.Up})
	if *got.Chunk != 1 || *got.Received != 65_537 || *got.TotalBytes != 100_000 || got.Direction != "up" {
		t.Errorf("progress is %+v", got)
	}
}

func TestMetricsAreWhatPrometheusReads(t *testing.T) {
	t.Parallel()
	d, files := unmounted(t)
	if err := os.WriteFile(filepath.Join(files, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := d.handlers()
	if _, err := h.Sync.Sync(t.Context(), control.SyncRequest{Wait: true, Rescan: true}, noReport); err != nil {
		t.Fatal(err)
	}
	text, err := h.Events.Prometheus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	for name, f := range all {
		kind := f.GetType().String()
		if !strings.HasPrefix(name, "vdfs_") && !strings.HasPrefix(name, "process_") || (kind == "COUNTER") != strings.HasSuffix(name, "_total") || f.GetHelp() == "" {
			t.Errorf("%s is a %s: %s", name, kind, f.GetHelp())
		}
	}
	if n := all["vdfs_sync_duration_seconds"].GetMetric()[0].GetSummary().GetSampleCount(); n == 0 {
		t.Error("no run is counted")
	}
	online := all["vdfs_endpoint_online"].GetMetric()
	if len(online) != 1 || online[0].GetGauge().GetValue() != 1 || online[0].GetLabel()[0].GetValue() != "home" || online[0].GetLabel()[1].GetValue() != files {
		t.Errorf("endpoints: %v", online)
	}
}

func TestTheLogTellsOnceWhatItsLevelAsksFor(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level][]string{
		slog.LevelInfo: {"conflict", `"conflict resolved"`},
		slog.LevelDebug: {
			"event", "conflict", `"conflict resolved"`,
		},
	} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
		bus := event.New(event.Options{})
		s := bus.Subscribe(logTypes(log), 100)
		for _, e := range []event.Event{
			{Type: event.FileAdded, Path: "/a"},
			{Type: event.FileConflictDetected, Path: "/a", OtherPath: "/b", Class: "modify-on-modify", Strategy: "conflict-file"},
			{Type: event.FileConflictResolved, Path: "/a", Strategy: "local"},
			// These the parts log themselves.
			{Type: event.FileUploadFailed, Error: "x"},
			{Type: event.SyncFailed, Error: "x"},
			{Type: event.ConnectivityChanged, Error: "x"},
			{Type: event.FileCorrupted, Error: "x"},
		} {
			bus.Publish(e)
		}
		for e, ok := s.Take(); ok; e, ok = s.Take() {
			logEvent(log, e)
		}
		s.Close()
		var got []string
		for line := range strings.Lines(out.String()) {
			_, msg, _ := strings.Cut(line, "msg=")
			if strings.HasPrefix(msg, `"`) {
				msg = `"` + strings.SplitN(msg, `"`, 3)[1] + `"`
			} else {
				msg, _, _ = strings.Cut(msg, " ")
			}
			got = append(got, msg)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: got %q, want %q:\n%s", level, got, want, &out)
		}
	}
}

// Whoever follows is told by a stream that ends with its context.
func TestFollowingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d, _ := unmounted(t)
	enough := errors.New("enough")
	before := d.parts.events.Subscribers()
	done := make(chan error, 1)
	go func() {
		_, err := d.handlers().Events.Events(t.Context(), control.EventsRequest{Follow: true, Types: []string{"FileOffloaded"}}, func(e control.Event) error {
			if *e.Bytes != 5 {
				return fmt.Errorf("told of %+v", e)
			}
			return enough
		})
		done <- err
	}()
	for err := error(nil); err == nil; {
		d.parts.events.Publish(event.Event{Type: event.FileOffloaded, Bytes: 5})
		select {
		case err = <-done:
			if !errors.Is(err, enough) {
				t.Fatal(err)
			}
		default:
		}
	}
	if n := d.parts.events.Subscribers(); n != before {
		t.Errorf("%d subscribers are left, there were %d", n, before)
	}
}
