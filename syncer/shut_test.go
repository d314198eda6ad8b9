package syncer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
)

// running lets the legs run by themselves until the test ends.
func (r *rig) running() context.Context {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- r.e.Run(ctx) }()
	r.t.Cleanup(func() {
		stop()
		r.must(<-ended)
	})
	return ctx
}

// lockOut has the endpoint refuse to list a directory.
func (r *rig) lockOut(f *far, p string, err error) {
	dir, lerr := f.find(p)
	r.must(lerr)
	r.script.Add(faulty.Rule{Method: faulty.List, Err: err, Match: func(c faulty.Call) bool { return c.ID == dir.ID || leadsTo(p)(c) }})
}

// TestADirectoryThatCannotBeListedHoldsUpNobody waits for a sync of an endpoint that does not let anybody look into a directory:
// at the first contact, and where it was known.
func TestADirectoryThatCannotBeListedHoldsUpNobody(t *testing.T) {
	for name, cause := range map[string]error{
		"denied":       fmt.Errorf("list directory: %w", remote.ErrDenied),
		"another disk": fmt.Errorf("list directory: %w: %w", remote.ErrDetached, remote.ErrUnavailable),
		"never there":  fmt.Errorf("list directory: %w", remote.ErrNotFound),
	} {
		for _, known := range []bool{false, true} {
			if known && errors.Is(cause, remote.ErrNotFound) {
				continue // it is gone then
			}
			t.Run(fmt.Sprintf("%s, known before: %v", name, known), func(t *testing.T) {
				each(t, func(t *testing.T, r *rig, f *far) {
					f.write("d/shut/x", "X")
					f.write("d/open/y", "Y")
					if known {
						r.settle()
						f.write("d/shut/x", "XX")
					}
					r.lockOut(f, "d/shut", cause)
					if known { // an endpoint with a feed tells of what is in it all the same
						if r.legs()[0].caps.Feed {
							return
						}
					}
					r.list()
					r.write("mine", "M")
					ctx := r.running()
					res, err := r.e.Sync(ctx, SyncRequest{Wait: true, Rescan: known})
					if err != nil || res.State != SyncParked || len(res.Blocked) != 1 {
						t.Fatalf("sync: %+v, %v", res, err)
					}
					if b := res.Blocked[0]; b.Path != "/d/shut" || b.Conduit != "home" || !strings.Contains(b.Reason, cause.Error()) {
						t.Errorf("it says %+v", b)
					}
					if all, err := r.e.Status(); err != nil || all[0].State != StateAttention || !strings.Contains(all[0].Message, "/d/shut") {
						t.Errorf("status: %+v, %v", all, err)
					}
					if got := r.stores[0].Tree()["mine"]; got != "M" || r.read("d/open/y") != "Y" {
						t.Errorf("the others are not in sync: %q at the endpoint", got)
					}
					r.script.Clear() // it is let in
					res, err = r.e.Sync(ctx, SyncRequest{Wait: true, Rescan: true})
					if err != nil || res.State != SyncDone {
						t.Fatalf("sync: %+v, %v", res, err)
					}
					want := map[string]string{"d/": "", "d/shut/": "", "d/shut/x": "X", "d/open/": "", "d/open/y": "Y", "mine": "M"}
					if known {
						want["d/shut/x"] = "XX"
					}
					wantTree(t, r.agree(), want)
					if all, err := r.e.Status(); err != nil || all[0].State != StateIdle {
						t.Errorf("status: %+v, %v", all, err)
					}
				})
			})
		}
	}
}

// TestAShutDirectoryThatIsGoneIsNamedNoMore removes one that could not be listed.
func TestAShutDirectoryThatIsGoneIsNamedNoMore(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		f.write("shut/x", "X")
		r.lockOut(f, "shut", remote.ErrDenied)
		ctx := r.running()
		res, err := r.e.Sync(ctx, SyncRequest{Wait: true})
		if err != nil || res.State != SyncParked {
			t.Fatalf("sync: %+v, %v", res, err)
		}
		f.remove("shut")
		res, err = r.e.Sync(ctx, SyncRequest{Wait: true})
		if err != nil || res.State != SyncDone || len(res.Blocked) > 0 {
			t.Fatalf("sync: %+v, %v", res, err)
		}
		wantTree(t, r.agree(), map[string]string{})
	})
}
