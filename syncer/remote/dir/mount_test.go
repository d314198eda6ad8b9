package dir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/dir"
)

// tmpfs mounts a small file system, which takes an administrator.
func tmpfs(t *testing.T, at string) {
	t.Helper()
	err := unix.Mount("vdfs-test", at, "tmpfs", 0, "size=4m")
	if errors.Is(err, unix.EPERM) {
		t.Skip("mounting needs an administrator")
	}
	must(t, err)
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
	})
}

func TestANestedMountIsUnknownNotEmpty(t *testing.T) {
	p := newPlace(t)
	ctx := context.Background()
	must(t, os.Mkdir(p.at("m"), 0o755))
	p.write("m/below", "x")
	before := p.stat("m")
	tmpfs(t, p.at("m"))
	_, _, err := p.ep.List(ctx, "p:m", "")
	is(t, err, remote.ErrDetached)
	is(t, err, remote.ErrUnavailable)
	_, err = p.ep.Stat(ctx, "p:m/below")
	is(t, err, remote.ErrDetached)
	_, err = p.put(&remote.Upload{Parent: "p:m", Name: "f"}, "x")
	is(t, err, remote.ErrDetached)
	is(t, p.ep.Delete(ctx, "p:m", remote.Pre{Force: true}, ""), remote.ErrDetached)
	if e := p.stat("m"); e.Kind != remote.Dir || e.Content == before.Content {
		t.Fatalf("the mount looks like %v", e)
	}
	must(t, unix.Unmount(p.at("m"), 0))
	if got := p.list("m"); len(got) != 1 {
		t.Fatalf("listed %v", got)
	}
}

func TestAMountedRootIsFreeToBeUnmountedAndThenMissed(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "root")
	must(t, os.Mkdir(root, 0o755))
	tmpfs(t, root)
	// The staging directory is on another file system, so the one in the root is used.
	ep, err := dir.Open(root, dir.Options{Staging: filepath.Join(base, "staging")})
	must(t, err)
	defer ep.Close()
	ctx := context.Background()
	b, err := ep.Changes(ctx, "")
	must(t, err)
	if _, err := ep.Put(ctx, &remote.Upload{Parent: "p:", Name: "f", Body: strings.NewReader("x"), Size: 1}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, ep, "p:"); n != 1 {
		t.Fatalf("%d entries", n)
	}
	must(t, unix.Unmount(root, 0)) // EBUSY if anything were held
	_, err = ep.Check(ctx)
	is(t, err, remote.ErrRootGone)
	_, _, err = ep.List(ctx, "p:", "")
	is(t, err, remote.ErrRootGone)
	_, err = ep.Changes(ctx, b.Next)
	is(t, err, remote.ErrRootGone)
	if _, err := os.Stat(filepath.Join(root, ".vdfs")); !os.IsNotExist(err) {
		t.Fatal("something was written into the empty mount point")
	}
}

func TestAFullFileSystemTakesNothingHalf(t *testing.T) {
	root := t.TempDir()
	tmpfs(t, root)
	ep, err := dir.Open(root, dir.Options{})
	must(t, err)
	defer ep.Close()
	ctx := context.Background()
	old, err := ep.Put(ctx, &remote.Upload{Parent: "p:", Name: "f", Body: strings.NewReader("old"), Size: 3})
	must(t, err)
	big := strings.Repeat("x", 8<<20)
	for _, u := range []*remote.Upload{{Parent: "p:", Name: "g"}, {ID: old.ID, Pre: remote.Pre{Tag: old.Tag}}} {
		u.Body, u.Size = strings.NewReader(big), int64(len(big))
		_, err := ep.Put(ctx, u)
		is(t, err, remote.ErrQuota)
	}
	e, err := ep.Stat(ctx, "p:f")
	must(t, err)
	if e.Tag != old.Tag || count(t, ep, "p:") != 1 {
		t.Fatalf("%v became %v", old, e)
	}
	st, err := ep.Check(ctx)
	must(t, err)
	if st.Free < 3<<20 {
		t.Fatalf("only %d bytes are free: something was left behind", st.Free)
	}
}
