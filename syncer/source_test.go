package syncer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

func TestAnEndpointTellsWhetherItHoldsAContent(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			r.far(0).write("a", "bytes")
			r.list()
			n := r.find("a").Node
			asked := func(text string, want bool) {
				t.Helper()
				got, err := r.e.Holds(context.Background(), n.Ino, n.Version, blake3.Sum256([]byte(text)))
				r.must(err)
				if got != want {
					t.Fatalf("%q: %v, want %v", text, got, want)
				}
			}
			asked("other", false)
			asked("bytes", true)
			reads := len(r.script.Calls(faulty.Verify))
			asked("bytes", true) // the proof is remembered
			asked("other", false)
			if now := len(r.script.Calls(faulty.Verify)); now != reads {
				t.Errorf("what was proved was read again: %d times", now-reads)
			}

			if yes, err := r.e.Holds(context.Background(), n.Ino, n.Version+1, blake3.Sum256([]byte("bytes"))); err == nil || yes {
				t.Errorf("of a version that no endpoint has: %v, %v", yes, err)
			}
			r.script.Add(faulty.Rule{Method: faulty.Stat, Nth: 1, Err: remote.ErrUnavailable})
			if yes, err := r.e.Holds(context.Background(), n.Ino, n.Version, blake3.Sum256([]byte("bytes"))); err == nil || yes {
				t.Errorf("of an endpoint that is away: %v, %v", yes, err)
			}
			r.far(0).write("a", "BYTES")
			if yes, err := r.e.Holds(context.Background(), n.Ino, n.Version, blake3.Sum256([]byte("bytes"))); err == nil || yes {
				t.Errorf("of a file that has another version there: %v, %v", yes, err)
			}
			if now := r.find("a").Node; now.Residency != cache.None || now.Version != n.Version {
				t.Errorf("asking changed the node: %+v", now)
			}
		})
	}
}

func TestWhatIsShunnedIsAskedLast(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()), memory.New(flavours()[0].opts()))
	r.list()
	r.write("f", "bytes")
	r.settle()
	n := r.find("f").Node
	fetch := func(shunned ...cache.BindingID) cache.BindingID {
		t.Helper()
		body, from, err := r.e.Fetch(context.Background(), n.Ino, n.Version, 0, -1, shunned)
		r.must(err)
		text, err := io.ReadAll(body)
		r.must(errors.Join(err, body.Close()))
		if string(text) != "bytes" {
			t.Fatalf("read %q", text)
		}
		return from
	}
	first := fetch()
	second := fetch(first)
	if second == first {
		t.Fatal("the copy that is shunned was read, though there is another")
	}
	if got := fetch(first, second, first); got != second {
		t.Error("of two that are shunned the worse one was read")
	}
	r.script.Add(faulty.Rule{Method: faulty.Read, Nth: 1, Err: remote.ErrUnavailable})
	if got := fetch(first); got != first {
		t.Error("where no other can be read, the one that is shunned was not")
	}
}

// TestAFetchGoesOnWhenTheObjectIsMovedByUs has the drive move a file at the endpoint in the middle of its fetch, or another program
// change it: only another version ends the fetch.
func TestAFetchGoesOnWhenTheObjectIsMovedByUs(t *testing.T) {
	move := func(r *rig) { r.move("d", "e"); r.settle() }
	for name, c := range map[string]struct {
		meanwhile func(r *rig)
		reply     chan struct{} // the move waits for it
		want      string        // "": the fetch fails
	}{
		"moved":               {meanwhile: move, want: "bytes"},
		"being moved":         {meanwhile: move, want: "bytes", reply: make(chan struct{})},
		"edited by a program": {meanwhile: func(r *rig) { r.far(0).write("d/f", "other") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := twoDirectories(t, "d/f")
			r.far(0).write("d/f", "bytes")
			r.settle()
			n := r.find("d/f").Node
			r.script.Add(faulty.Rule{Method: faulty.Read, Nth: 1, Cut: 2, CutErr: remote.ErrChanged})
			body, _, err := r.e.Fetch(context.Background(), n.Ino, n.Version, 0, -1, nil)
			r.must(err)
			under, done := make(chan struct{}), make(chan struct{})
			if c.reply != nil {
				r.script.Add(faulty.Rule{Method: faulty.Update, Nth: 1, Before: func() { close(under); <-c.reply }})
			}
			go func() {
				defer close(done)
				c.meanwhile(r)
			}()
			if c.reply == nil {
				<-done
			} else {
				<-under
				first := make([]byte, 2)
				_, err := io.ReadFull(body, first)
				r.must(err)
				body = struct {
					io.Reader
					io.Closer
				}{io.MultiReader(bytes.NewReader(first), body), body}
				time.AfterFunc(10*time.Millisecond, func() { close(c.reply) })
			}
			text, err := io.ReadAll(body)
			<-done
			r.must(body.Close())
			if c.want == "" && !errors.Is(err, remote.ErrChanged) || c.want != "" && (err != nil || string(text) != c.want) {
				t.Errorf("read %q: %v", text, err)
			}
		})
	}
}

func TestAnEndpointThatWasWaitedForTimesOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.far(0).write("f", "bytes")
	r.list()
	n := r.find("f").Node
	for cause, want := range map[error]syscall.Errno{remote.ErrSilent: syscall.ETIMEDOUT, remote.ErrUnavailable: syscall.ENETUNREACH} {
		r.script.Add(faulty.Rule{Method: faulty.Read, Nth: 1, Err: cause})
		_, _, err := r.e.Fetch(context.Background(), n.Ino, n.Version, 0, -1, nil)
		var e interface{ Errno() syscall.Errno }
		if !errors.As(err, &e) || e.Errno() != want || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v arrives as %v, want %v", cause, err, want)
		}
	}
}
