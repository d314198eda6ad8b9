package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vdfs/cmd/control"
	"vdfs/offload"
)

// put writes a file and the directories above it.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAdoptIsAskedForAndTold(t *testing.T) {
	t.Parallel()
	d, files := unmounted(t)
	h := d.handlers()
	ctx := t.Context()
	dir := t.TempDir()
	large := string(bytes.Repeat([]byte("large "), 400_000))
	for path, text := range map[string]string{"a/deep/same": large, "a/other": "one", "a/none": "nothing", "same": "outside"} {
		put(t, filepath.Join(files, path), text)
	}
	put(t, filepath.Join(dir, "deep/same"), large)
	put(t, filepath.Join(dir, "other"), "two")
	put(t, filepath.Join(dir, "same"), "outside")
	if r, err := h.Sync.Sync(ctx, control.SyncRequest{Wait: true, Rescan: true}, noReport); err != nil || r.State != "done" {
		t.Fatalf("sync: %+v, %v", r, err)
	}
	var last control.Progress
	r, err := h.Files.Adopt(ctx, control.AdoptRequest{Dir: control.Path(dir), Path: "/a"}, func(p control.Progress) { last = p })
	if err != nil || r.Files != 1 || r.Bytes != int64(len(large)) || r.Differ != 1 || r.Absent != 1 || len(r.Refused) != 0 {
		t.Fatalf("adopt: %+v, %v", r, err)
	}
	if last.Total != 3 || last.Done > 3 || last.Bytes {
		t.Errorf("progress: %+v", last)
	}
	infos, err := h.Files.Info(ctx, control.Paths{Paths: []control.Path{"/a/deep/same", "/a/other", "/same"}})
	if err != nil || len(infos.Files) != 3 {
		t.Fatalf("info: %+v, %v", infos, err)
	}
	if i := infos.Files[0]; i.Residency != "full" || i.Sync != "synced" || len(i.Hash) != 64 || len(i.Copies) != 1 {
		t.Errorf("adopted: %+v", i)
	}
	for _, i := range infos.Files[1:] {
		if i.Residency != "none" || i.LocalBytes != 0 {
			t.Errorf("left alone: %+v", i)
		}
	}
	for path, code := range map[control.Path]control.Code{"/none": control.NotFound, "/same": control.NotFound} {
		_, err := h.Files.Adopt(ctx, control.AdoptRequest{Dir: control.Path(dir), Path: path}, noReport)
		refused(t, err, code, string(path))
	}
}

func TestADirectoryThatIsNoCopyIsNotAdopted(t *testing.T) {
	t.Parallel()
	d, files := unmounted(t)
	h := d.handlers()
	beside := made(t, "copy/sub", "second/sub", "third")
	file := filepath.Join(beside, "file")
	put(t, file, "text")
	link := filepath.Join(beside, "link")
	if err := os.Symlink(files, link); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(files, "sub/file"), "text")
	for dir, part := range map[string]string{
		"copy": "absolute", filepath.Join(beside, "none"): "no such file", file: "not a directory",
		files: "endpoint", filepath.Join(files, "sub"): "endpoint", link: "endpoint",
		d.plan.mountpoint: "mountpoint", filepath.Dir(d.plan.mountpoint): "mountpoint",
		d.plan.state[0]: "state directory",
	} {
		_, err := h.Files.Adopt(t.Context(), control.AdoptRequest{Dir: control.Path(dir), Path: "/"}, noReport)
		refused(t, err, control.Usage, part)
	}
	spec := control.ConduitSpec{Name: "second", Source: "drive:/second", Target: filepath.Join(beside, "second"), Policy: "offload"}
	for dir, part := range map[string]string{filepath.Join(beside, "second/sub"): "endpoint", files: "endpoint", filepath.Join(beside, "none"): "no such file"} {
		spec.Adopt = control.Path(dir)
		_, err := h.Conduits.Create(t.Context(), spec)
		refused(t, err, control.Usage, part)
	}
	if all, err := h.Conduits.Conduits(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("a refused conduit was made: %+v, %v", all, err)
	}
	spec.Adopt = control.Path(filepath.Join(beside, "copy"))
	if c, err := h.Conduits.Create(t.Context(), spec); err != nil || c.Name != "second" {
		t.Errorf("create: %+v, %v", c, err)
	}
	_, err := h.Files.Adopt(t.Context(), control.AdoptRequest{Dir: control.Path(filepath.Join(beside, "second")), Path: "/second"}, noReport)
	refused(t, err, control.Usage, "endpoint")
	if !strings.Contains(err.Error(), "vdfs fetch") {
		t.Errorf("no advice: %v", err)
	}
}

func TestAnAdoptionCutShortSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	did := &offload.Adoption{Files: 7}
	refused(t, cutShort(did, coded(fmt.Errorf("adopt: %w", offload.ErrUnreachable))), control.Unreachable, "reachable", "7 files")
	if err := cutShort(&offload.Adoption{}, offload.ErrUnreachable); !errors.Is(err, offload.ErrUnreachable) {
		t.Errorf("with nothing adopted: %v", err)
	}
	if err := cutShort(did, context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("at the end of the request: %v", err)
	}
	if err := cutShort(did, nil); err != nil {
		t.Error(err)
	}
}
