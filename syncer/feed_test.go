package syncer

import (
	"fmt"
	"testing"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
)

// TestAFeedThatCannotBeContinuedIsReadAnew has an endpoint refuse a cursor while things were changed, made and deleted there and here.
func TestAFeedThatCannotBeContinuedIsReadAnew(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("stays", "1")
		f.write("d/edited", "1")
		f.write("d/gone", "1")
		r.settle()
		r.list()
		if !r.legs()[0].caps.Feed {
			t.Skip("the endpoint has no feed")
		}
		f.write("d/edited", "22")
		f.write("new", "1")
		f.remove("d/gone")
		r.write("mine", "3")
		r.script.Add(faulty.Rule{Method: faulty.Changes, Nth: 1, Err: fmt.Errorf("list changes: %w", remote.ErrCursorExpired)})
		r.settle()
		wantTree(t, r.agree(), map[string]string{"stays": "1", "d/": "", "d/edited": "22", "new": "1", "mine": "3"})
		if n := len(r.script.Calls(faulty.List)); n == 0 {
			t.Error("nothing was looked at anew")
		}
	})
}
