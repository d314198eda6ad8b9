package control

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
)

func (b *backend) Events(ctx context.Context, r EventsRequest, item func(Event) error) (None, error) {
	online := false
	err := errors.Join(b.note(r), item(Event{Seq: 1, Type: "FileAdded", Path: "/a\xff"}), item(Event{Seq: 2, Type: "ConnectivityChanged", Online: &online}))
	if r.Follow && err == nil {
		if b.begun != nil {
			close(b.begun)
		}
		<-ctx.Done()
		err = ctx.Err()
	}
	return None{}, err
}

func (b *backend) Metrics(context.Context) (Metrics, error) {
	return Metrics{Sums: Sums{Syncs: 2}, Day: Sums{Syncs: 1}}, b.err
}

func (b *backend) Prometheus(context.Context) (string, error) { return "a_total 1\n", b.err }

func TestEventsAndMetricsGoOverTheSocket(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := serve(t, b, filepath.Join(t.TempDir(), "s"))
	var got []Event
	ask := EventsRequest{Types: []string{"FileAdded"}, Limit: 3}
	_, err := Items[Event, None](t.Context(), c, "/v1/events", ask, func(e Event) error { got = append(got, e); return nil })
	if err != nil || len(got) != 2 || got[0].Path != "/a\xff" || got[1].Online == nil || *got[1].Online || !reflect.DeepEqual(b.asked[0], ask) {
		t.Errorf("%+v, %v, asked %+v", got, err, b.asked)
	}
	if m, err := Get[Metrics](t.Context(), c, "/v1/metrics"); err != nil || m.Syncs != 2 || m.Day.Syncs != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	if text, err := Text(t.Context(), c, "/metrics"); err != nil || text != "a_total 1\n" {
		t.Errorf("%q, %v", text, err)
	}
	b.err = &Error{Code: Failed, Message: "broken"}
	if _, err := Text(t.Context(), c, "/metrics"); err == nil || err.Error() != "broken" {
		t.Errorf("%v", err)
	}
}

func TestAFollowerIsToldThatTheDaemonEnds(t *testing.T) {
	t.Parallel()
	b := &backend{begun: make(chan struct{})}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Handlers{b, b, b, b, b})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	ended := make(chan error, 1)
	go func() {
		_, err := Items[Event, None](context.Background(), NewClient(socket), "/v1/events", EventsRequest{Follow: true}, func(Event) error { return nil })
		ended <- err
	}()
	<-b.begun
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; AsError(err).Code != NoDrive {
		t.Errorf("it ended with %v", err)
	}
	<-served
}

func TestAnEventHasNothingThatDoesNotApply(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(Event{Seq: 5, Type: "PinChanged", Path: "/a", Pin: "pinned"})
	if err != nil || string(data) != `{"seq":5,"at":"0001-01-01T00:00:00Z","type":"PinChanged","path":"/a","pin":"pinned"}` {
		t.Errorf("%s, %v", data, err)
	}
	zero := int64(0)
	data, err = json.Marshal(Event{Type: "FileHydrated", TotalBytes: &zero})
	if err != nil || string(data) != `{"seq":0,"at":"0001-01-01T00:00:00Z","type":"FileHydrated","total_bytes":0}` {
		t.Errorf("%s, %v", data, err)
	}
}
