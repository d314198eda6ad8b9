package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"vdfs/cache"
	"vdfs/cmd/control"
)

func TestHandlersTellWhatIsKeptWhereAndWhy(t *testing.T) {
	t.Parallel()
	d, files := unmounted(t)
	h := d.handlers()
	ctx := t.Context()
	if err := errors.Join(os.Mkdir(filepath.Join(files, "dir"), 0o755), os.WriteFile(filepath.Join(files, "dir", "old"), []byte("from there"), 0o644)); err != nil {
		t.Fatal(err)
	}
	_, o, err := d.parts.cache.Create(cache.RootIno, "new", 0o640, cache.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.WriteAt([]byte("from here"), 0)
	if err := errors.Join(err, o.Close()); err != nil {
		t.Fatal(err)
	}
	use := func(paths ...control.Path) control.DiskUses {
		t.Helper()
		u, err := h.Files.DiskUse(ctx, control.Paths{Paths: paths})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := use("/new"); len(u.Usage) != 1 || u.Usage[0] != (control.DiskUse{Path: "/new", Files: 1, Dirty: 9, Total: 9}) {
		t.Errorf("before it is sent: %+v", u)
	}
	if r, err := h.Sync.Sync(ctx, control.SyncRequest{Wait: true, Rescan: true}, noReport); err != nil || r.State != "done" {
		t.Fatalf("sync: %+v, %v", r, err)
	}
	if r, err := h.Files.Pin(ctx, control.PathsRequest{Paths: []control.Path{"/dir"}, Wait: true}, noReport); err != nil || r.Files != 1 {
		t.Fatalf("pin: %+v, %v", r, err)
	}
	if u := use("/new", "/dir", "/none"); len(u.Refused) != 1 || !reflect.DeepEqual(u.Usage, []control.DiskUse{
		{Path: "/new", Files: 1, Cached: 9, Total: 9}, {Path: "/dir", Files: 1, Pinned: 10, Total: 10},
	}) {
		t.Errorf("pinned and sent: %+v", u)
	}
	if u := use(); !reflect.DeepEqual(u.Usage, []control.DiskUse{{Path: "/", Files: 2, Cached: 9, Pinned: 10, Total: 19}}) {
		t.Errorf("all: %+v", u)
	}

	copies := func(r control.RedundancyRequest) (found []control.FileCopies, sum control.Redundancy) {
		t.Helper()
		sum, err := h.Files.Redundancy(ctx, r, func(c control.FileCopies) error { found = append(found, c); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return found, sum
	}
	if _, sum := copies(control.RedundancyRequest{Paths: []control.Path{"/new", "/none"}}); sum.Files != 1 || sum.AtRisk != 0 || len(sum.Refused) != 1 {
		t.Errorf("here and sent: %+v", sum)
	}
	if r, err := h.Files.Online(ctx, control.PathsRequest{Paths: []control.Path{"/"}}, noReport); err != nil || r.Paths != 1 || r.Files != 1 || r.Bytes != 9 || r.Kept != 0 || len(r.Refused) != 0 {
		t.Fatalf("online: %+v, %v", r, err)
	}
	found, sum := copies(control.RedundancyRequest{})
	if sum.Files != 2 || sum.AtRisk != 2 || sum.Bytes != 19 || !reflect.DeepEqual(found, []control.FileCopies{
		{Path: "/new", Size: 9, Copies: 1, Proved: 1, Endpoints: []string{files}}, {Path: "/dir/old", Size: 10, Copies: 1, Here: true, Endpoints: []string{}}, // nobody had it proved yet
	}) {
		t.Errorf("only at the endpoint: %+v, %+v", found, sum)
	}
	var pins []control.PinInfo
	_, err = h.Files.Pins(ctx, control.None{}, func(p control.PinInfo) error { pins = append(pins, p); return nil })
	if err != nil || !reflect.DeepEqual(pins, []control.PinInfo{
		{Path: "/", Kind: "dir", Pin: "online", Files: 1, Missing: 9}, {Path: "/dir", Kind: "dir", Pin: "pinned", Files: 1, Here: 10},
	}) {
		t.Errorf("pins: %+v, %v", pins, err)
	}
	if u := use(); !reflect.DeepEqual(u.Usage, []control.DiskUse{{Path: "/", Files: 1, Pinned: 10, Total: 10}}) {
		t.Errorf("after online: %+v", u)
	}
}
