package syncer

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
)

func TestACauseNamesOneClass(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range classes {
		if seen[c.Cause] {
			t.Errorf("%s names two", c.Cause)
		}
		seen[c.Cause] = true
		if got, ok := ClassNamed(c.Cause); !ok || got != c.Class {
			t.Errorf("%s names %+v, want %+v", c.Cause, got, c.Class)
		}
		if got := ClassOf(fmt.Errorf("around: %w", c.cause)); got != c.Class {
			t.Errorf("%v is of %+v, want %+v", c.cause, got, c.Class)
		}
		if c.Condition != "" && c.Condition.Text() == "" {
			t.Errorf("%s has no words", c.Condition)
		}
		if c.remedy != "" && c.Retryable {
			t.Errorf("%s ends by itself, and a person is to %q", c.Cause, c.remedy)
		}
	}
	for _, c := range []Class{throttled, ofSystem, ofAny} {
		if got, ok := ClassNamed(c.Cause); !ok || got != c || seen[c.Cause] {
			t.Errorf("%s names %+v", c.Cause, got)
		}
	}
	if _, ok := ClassNamed("of the future"); ok {
		t.Error("a cause that nobody knows has a class")
	}
	away := ClassOf(&elsewhere{cause: &unreachable{remote.ErrSilent}})
	if away.Category != Network || !away.Retryable {
		t.Errorf("an endpoint that is away is %+v", away)
	}
}

// TestEveryErrorOfAnEndpointEndsWithItsCause has an endpoint refuse a file in every way there is. Meanwhile the item tells the
// class of it, or that the endpoint is away; nothing is in conflict, and when the cause ends the file is sent.
func TestEveryErrorOfAnEndpointEndsWithItsCause(t *testing.T) {
	for _, cause := range []error{
		remote.ErrNotFound, remote.ErrExists, remote.ErrPrecondition, remote.ErrChanged, remote.ErrNotEmpty, remote.ErrKind, remote.ErrName,
		remote.ErrTooLarge, remote.ErrQuota, remote.ErrAuth, remote.ErrDenied, remote.ErrReadOnly, remote.ErrLocked, remote.ErrCursorExpired,
		remote.ErrUnavailable, remote.ErrSilent, remote.ErrRootGone, remote.ErrCorrupt, remote.ErrUnsupported, remote.ErrUnknown,
		remote.ErrDetached, &remote.Throttled{After: time.Second}, errors.New("something else"),
	} {
		t.Run(cause.Error(), func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				r.script.Add(faulty.Rule{Method: faulty.Put, Err: fmt.Errorf("put file: %w", cause)})
				r.write("f", "waits")
				want, told := ClassOf(cause), false
				for range 6 {
					if err := r.cycle(r.legs()[0]); err != nil && !errors.Is(err, ErrUnreachable) {
						t.Fatal(err)
					} else if err != nil {
						told = want.Category == Network
					}
					if it := r.itemOf("f"); it.Error != "" {
						got, ok := ClassNamed(it.Cause)
						told = told || ok && got == want
					}
					r.advance(time.Minute)
				}
				if !told {
					t.Errorf("nobody is told of %+v: the item is %+v", want, r.itemOf("f"))
				}
				wantTree(t, f.tree(), map[string]string{})
				r.script.Clear()
				r.advance(maxRetry)
				r.settle()
				wantTree(t, r.agree(), map[string]string{"f": "waits"})
			})
		})
	}
}
