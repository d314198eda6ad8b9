package syncer

import (
	"strings"
	"testing"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/memory"
)

func TestItIsToldHowFarSendingHasCome(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(memory.Options{}))
	r.settle()
	sending := func(when string, want bool) {
		t.Helper()
		if got := r.e.Sending(); got != want {
			t.Errorf("%s: sending is %v, want %v", when, got, want)
		}
	}
	sending("with nothing to send", false)
	before := r.e.Sent()
	text := strings.Repeat("x", 100_000)
	r.write("a", text)
	sending("with a file to send", true)
	r.must(r.e.Pause(0))
	sending("while it is paused", false)
	r.must(r.e.Resume())
	l := r.legs()[0]
	l.setOffline(remote.ErrUnavailable)
	sending("to an endpoint that is away", false)
	l.setOffline(nil)
	sending("to one that is back", true)
	r.settle()
	sending("when it was sent", false)
	if n := r.e.Sent() - before; n < int64(len(text)) {
		t.Errorf("%d bytes of %d are told to be sent", n, len(text))
	}
	r.remove("a")
	sending("with only a file to delete", false)
}
