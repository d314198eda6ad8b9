package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"vdfs/cache/event"
)

// ticking is a Meter with a clock that the test sets.
func ticking() (m *Meter, now *time.Duration) {
	at := 24 * time.Hour
	return New(func() time.Duration { return at }), &at
}

func TestEventsAreCounted(t *testing.T) {
	t.Parallel()
	m, _ := ticking()
	for _, e := range []event.Event{
		{Type: event.FileUploadCompleted},
		{Type: event.FileUploadCompleted},
		{Type: event.FileDownloadCompleted},
		{Type: event.FileHydrated},
		{Type: event.FileOffloaded, Bytes: 100},
		{Type: event.FileConflictDetected},
		{Type: event.FileConflictResolved},
		{Type: event.FileUploadFailed},
		{Type: event.FileDownloadFailed},
		{Type: event.FileCorrupted},
		{Type: event.SyncFailed, Error: "x"},
		{Type: event.SyncFailed, Error: event.Interrupted},
		{Type: event.SyncCompleted},
		{Type: event.SyncCompleted, Generation: 1, Took: 2 * time.Second},
		{Type: event.SyncCompleted, Generation: 2, Took: 4 * time.Second},
		{Type: event.ConnectivityChanged},
		{Type: event.ConnectivityChanged, Online: true},
	} {
		m.Take(&e)
	}
	want := Sums{
		Syncs: 2, SyncTime: 6 * time.Second, Sent: 2, Fetched: 1, Offloaded: 1, Freed: 100, Conflicts: 1, Resolved: 1, Errors: 4,
		Corrupted: 1, Disconnects: 1,
	}
	r := m.Read()
	if r.Total != want || r.Day != want || r.Total.AverageSync() != 3*time.Second {
		t.Errorf("got  %+v\nand  %+v\nwant %+v", r.Total, r.Day, want)
	}
}

func TestADayForgetsWhatIsOlder(t *testing.T) {
	t.Parallel()
	m, now := ticking()
	fail := func() { m.Take(&event.Event{Type: event.SyncFailed, Error: "x"}) }
	fail()
	*now += 12 * time.Hour
	fail()
	if r := m.Read(); r.Day.Errors != 2 {
		t.Errorf("%d errors after half a day", r.Day.Errors)
	}
	*now += 12*time.Hour + time.Minute
	if r := m.Read(); r.Day.Errors != 1 || r.Total.Errors != 2 {
		t.Errorf("%d errors of %d after a day", r.Day.Errors, r.Total.Errors)
	}
	fail() // in a bucket that was used a day ago
	*now += 13 * time.Hour
	if r := m.Read(); r.Day.Errors != 1 || r.Total.Errors != 3 {
		t.Errorf("%d errors of %d after more than a day", r.Day.Errors, r.Total.Errors)
	}
	*now += 100 * 24 * time.Hour
	if r := m.Read(); r.Day != (Sums{}) {
		t.Errorf("after a long time: %+v", r.Day)
	}
}

func TestSpeedIsOfTheLastSecondsAndOfThoseWithBytes(t *testing.T) {
	t.Parallel()
	m, now := ticking()
	for range 5 {
		for range 10 {
			m.Moved(event.Up, 100)
			*now += 100 * time.Millisecond
		}
	}
	m.Moved(event.Down, 50)
	*now += time.Second
	r := m.Read()
	if r.UpNow != 500 || r.DownNow != 5 || r.UpMean != 1000 || r.DownMean != 50 {
		t.Errorf("%+v", r)
	}
	*now += time.Minute
	r = m.Read()
	if r.UpNow != 0 || r.DownNow != 0 || r.UpMean != 1000 || r.Total.Up != 5000 || r.Total.Down != 50 {
		t.Errorf("after a minute of rest: %+v", r)
	}
}

func TestTextIsWhatPrometheusReads(t *testing.T) {
	t.Parallel()
	var text Text
	text.Counter("vdfs_things_total", "Things, with a \\ and\na line.", 3)
	text.Gauge("vdfs_level_bytes", "A level.", 1.5e12)
	g := text.Gauges("vdfs_queue_items", "Items.")
	g.Sample(1, Label{"status", "new"}, Label{"conduit", "a\"b\\c\nd\xff"})
	g.Sample(2, Label{"status", "error"}, Label{"conduit", "x"})
	text.Summary("vdfs_run_seconds", "Runs.", 2.5, 4)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text.String()))
	if err != nil {
		t.Fatalf("%v:\n%s", err, &text)
	}
	if n := all["vdfs_things_total"].GetMetric()[0].GetCounter().GetValue(); n != 3 {
		t.Errorf("counter %v", n)
	}
	if help := all["vdfs_things_total"].GetHelp(); help != "Things, with a \\ and\na line." {
		t.Errorf("help %q", help)
	}
	if n := all["vdfs_level_bytes"].GetMetric()[0].GetGauge().GetValue(); n != 1.5e12 {
		t.Errorf("gauge %v", n)
	}
	queue := all["vdfs_queue_items"].GetMetric()
	if len(queue) != 2 || queue[0].GetLabel()[1].GetValue() != "a\"b\\c\nd\uFFFD" || queue[1].GetGauge().GetValue() != 2 {
		t.Errorf("labels %v", queue)
	}
	if s := all["vdfs_run_seconds"].GetMetric()[0].GetSummary(); s.GetSampleSum() != 2.5 || s.GetSampleCount() != 4 {
		t.Errorf("summary %v", s)
	}
}
