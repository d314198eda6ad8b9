package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/integration/tree"
)

// A file that is deleted elsewhere while a program writes to it lives on with what the program wrote.
func TestAFileDeletedElsewhereWhileItIsWritten(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(p *pair){
		"in the other drive": func(p *pair) { must(t, os.Remove(p.a.path("f"))); p.a.sync() },
		"in the directory":   func(p *pair) { must(t, os.Remove(filepath.Join(p.dir, "f"))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "synchronize", t.TempDir())
			write(t, p.a.path("f"), "both know this")
			p.settle(p.drives()...)
			wants(t, p.b.path("f"), "both know this")
			h, err := os.OpenFile(p.b.path("f"), os.O_WRONLY|os.O_APPEND, 0)
			must(t, err)
			defer h.Close()
			_, err = h.WriteString(", first")
			must(t, err)
			remove(p)
			if r := p.b.run("sync", "--wait", "--timeout", "60s"); r.Code != 3 || !strings.Contains(r.Stderr, "/f") {
				t.Errorf("sync with the file open: want exit 3 and its name, got %s", r)
			}
			_, err = h.WriteString(", then")
			must(t, err)
			must(t, h.Close())
			p.settle(p.drives()...)
			p.converged()
			p.same(t, ".")
			for _, r := range p.replicas() {
				wants(t, filepath.Join(r.root, "f"), "both know this, first, then")
				if extra := p.a.conflictFiles(r.root, "f"); len(extra) > 0 {
					t.Errorf("%s has %q beside it", r.name, extra)
				}
			}
		})
	}
}

// A program that has a file of the directory open writes on in what a drive has deleted: it is in the drive's trash.
func TestAFileOfTheDirectoryDeletedWhileItIsWritten(t *testing.T) {
	t.Parallel()
	p := newPair(t, "synchronize", t.TempDir())
	write(t, p.a.path("f"), "both know this")
	p.settle(p.drives()...)
	h, err := os.OpenFile(filepath.Join(p.dir, "f"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer h.Close()
	must(t, os.Remove(p.a.path("f")))
	p.settle(p.a)
	_, err = h.WriteString(", and this")
	must(t, err)
	must(t, h.Close())
	p.settle(p.drives()...)
	p.converged()
	if got := trashed(t, p.a); len(got) != 1 || got[0] != "both know this, and this" {
		t.Errorf("the trash has %q", got)
	}
}

// trashed are the versions that a drive keeps of what it deleted or replaced in its directory.
func trashed(t *testing.T, f *fixture) (out []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(f.Home, "data", "endpoints", "*", "trash"))
	must(t, err)
	for _, trash := range found {
		must(t, filepath.WalkDir(trash, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				out = append(out, read(t, path))
			}
			return err
		}))
	}
	return out
}

// A file that was freed in one drive is edited in the other: what is told of it is of the new version before any of it is read,
// and no reader gets bytes of both.
func TestAFreedFileIsEditedElsewhere(t *testing.T) {
	t.Parallel()
	p := newPair(t, "offload", t.TempDir())
	old, next := stamped(1, 0, 300_000), stamped(2, 0, 200_000)
	must(t, os.WriteFile(p.a.path("f"), old, 0o644))
	write(t, p.a.path("steady"), "steady")
	p.settle(p.drives()...)
	p.watch.start([]string{"f", "steady"})
	p.a.do("offload", p.a.path("f"))
	h, err := os.Open(p.a.path("f"))
	must(t, err)
	defer h.Close()
	must(t, os.WriteFile(p.b.path("f"), next, 0o644))
	p.settle(p.drives()...)
	was := p.a.status().Cache.Bytes
	mine, err := os.Stat(p.a.path("f"))
	must(t, err)
	theirs, err := os.Stat(p.b.path("f"))
	must(t, err)
	if mine.Size() != int64(len(next)) || !mine.ModTime().Equal(theirs.ModTime()) {
		t.Errorf("it has %d bytes, of %v; want %d, of %v", mine.Size(), mine.ModTime(), len(next), theirs.ModTime())
	}
	if now := p.a.status().Cache.Bytes; now != was {
		t.Errorf("to look at it brought %d bytes", now-was)
	}
	if got, err := os.ReadFile(p.a.path("f")); err != nil || !bytes.Equal(got, next) {
		t.Errorf("%d bytes are read, and they are not those of the new version: %v", len(got), err)
	}
	got, err := io.ReadAll(h)
	if err != nil && !errors.Is(err, unix.EIO) || !bytes.HasPrefix(old, got) || err == nil && len(got) != len(old) {
		t.Errorf("who had it open reads %d bytes, and they are not those of the old version: %v", len(got), err)
	}
	p.converged()
	p.same(t, ".")
}

// The rename of a directory with ten thousand files in it is one rename everywhere.
func TestALargeDirectoryIsRenamedAtOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	must(t, tree.Many(filepath.Join(dir, "d"), 10_000, 10))
	p := newPair(t, "offload", dir)
	p.settle(p.drives()...)
	before := map[string]map[string]string{}
	for _, r := range p.replicas() {
		before[r.name] = below(t, filepath.Join(r.root, "d"), r.name == "H")
	}
	must(t, os.Rename(p.a.path("d"), p.a.path("e")))
	p.settle(p.drives()...)
	p.converged()
	for _, r := range p.replicas() {
		absent(t, filepath.Join(r.root, "d"))
		now := below(t, filepath.Join(r.root, "e"), r.name == "H")
		if len(now) != 10_100 || len(now) != len(before[r.name]) {
			t.Errorf("%s has %d files and directories, had %d", r.name, len(now), len(before[r.name]))
		}
		for name, was := range before[r.name] {
			if now[name] != was {
				t.Fatalf("%s: %s was %s and is %s", r.name, name, was, now[name])
			}
		}
	}
	if fetched := p.b.status().Cache.Bytes; fetched != 0 {
		t.Errorf("B fetched %d bytes", fetched)
	}
}

// below tells the objects in a directory apart, where it is asked for by the time of the last change of any kind, too.
func below(t *testing.T, dir string, changed bool) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := tree.Read(dir)
	must(t, err)
	for name := range entries {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, name), &st))
		out[name] = fmt.Sprint(st.Ino)
		if changed {
			out[name] += fmt.Sprint(" ", st.Ctim)
		}
	}
	return out
}

// Two drives that were given the same files find out that they are the same: no file is sent twice, and none is in conflict.
func TestFirstSyncOfTwoEqualReplicas(t *testing.T) {
	t.Parallel()
	p := newPair(t, "synchronize", t.TempDir())
	p.off(p.drives()...)
	for _, f := range p.drives() {
		must(t, tree.Many(f.path("d"), 1000, 100))
	}
	p.on(p.a)
	p.settle(p.a)
	sent := below(t, filepath.Join(p.dir, "d"), false)
	p.on(p.b)
	p.settle(p.drives()...)
	p.converged()
	p.same(t, ".")
	now := below(t, filepath.Join(p.dir, "d"), false)
	if len(now) != 1010 || len(sent) != len(now) {
		t.Errorf("%d files and directories were sent first, now there are %d", len(sent), len(now))
	}
	for name, was := range sent {
		if now[name] != was {
			t.Errorf("%s was sent again", name)
		}
	}
}

// More files than anybody deletes by accident are deleted elsewhere only when a person says so, and stay in the trash.
func TestAMassDeletionInADriveIsHeld(t *testing.T) {
	t.Parallel()
	const files = 1200
	p := newPair(t, "synchronize", t.TempDir())
	must(t, tree.Many(p.a.path("d"), files, 10))
	write(t, p.a.path("stays"), "stays")
	p.settle(p.drives()...)
	p.off(p.a)
	must(t, os.RemoveAll(p.a.path("d")))
	p.on(p.a)
	if r := p.a.run("sync", "--wait", "--timeout", "180s"); r.Code != 7 || !strings.Contains(r.Stderr, "--allow-deletes") {
		t.Errorf("want exit 7 and what to do, got %s", r)
	}
	p.b.sync()
	for _, root := range []string{p.dir, p.b.at} {
		if names, err := tree.Files(filepath.Join(root, "d")); err != nil || len(names) != files {
			t.Errorf("before anybody said so %s has %d of %d files: %v", root, len(names), files, err)
		}
	}
	p.a.do("sync", "--wait", "--allow-deletes", "--timeout", "180s")
	p.settle(p.drives()...)
	p.converged()
	p.same(t, ".")
	absent(t, filepath.Join(p.dir, "d"))
	if got := len(trashed(t, p.a)); got != files {
		t.Errorf("the trash has %d files of %d", got, files)
	}
}

// A deletion that is sent while it goes on is one, too.
func TestAMassDeletionIsHeldThoughItIsSentWhileItGoesOn(t *testing.T) {
	t.Parallel()
	const files = 3000
	p := newPair(t, "offload", t.TempDir())
	must(t, tree.Many(filepath.Join(p.dir, "d"), files, 10))
	p.settle(p.a)
	must(t, os.RemoveAll(p.a.path("d")))
	if r := p.a.run("sync", "--wait", "--timeout", "180s"); r.Code != 7 {
		t.Errorf("want exit 7, got %s", r)
	}
	const half = (files + 2) / 2 // of all objects: the files, their directory and the root
	if names, err := tree.Files(filepath.Join(p.dir, "d")); err != nil || len(names) < files-half {
		t.Errorf("before anybody said so the directory has %d of %d files: %v", len(names), files, err)
	}
}

// A file that nobody may read waits with its reason, and the others go on.
func TestAFileThatNobodyMayReadHoldsUpNobody(t *testing.T) {
	t.Parallel()
	p := newPair(t, "synchronize", t.TempDir())
	for _, r := range p.replicas() {
		secret := filepath.Join(r.root, "secret of "+r.name)
		write(t, secret, "secret")
		must(t, os.Chmod(secret, 0))
	}
	p.a.run("sync", "--wait", "--timeout", "30s") // whatever becomes of the secrets
	for _, r := range p.replicas() {
		write(t, filepath.Join(r.root, "file of "+r.name), "of "+r.name)
	}
	for _, f := range []*fixture{p.a, p.b, p.a} {
		if r := f.run("sync", "--wait", "--timeout", "30s"); r.Code != 0 && r.Code != 3 {
			t.Errorf("want exit 0 or 3, got %s", r)
		}
	}
	for _, r := range p.replicas() {
		for _, of := range p.replicas() {
			wants(t, filepath.Join(r.root, "file of "+of.name), "of "+of.name)
		}
	}
}

// Special files stay where they are made, and hold up nobody.
func TestSpecialFilesHoldUpNobody(t *testing.T) {
	t.Parallel()
	p := newPair(t, "synchronize", t.TempDir())
	for _, r := range []replica{p.replicas()[0], p.replicas()[2]} {
		must(t, unix.Mkfifo(filepath.Join(r.root, "pipe of "+r.name), 0o644))
		must(t, unix.Mknod(filepath.Join(r.root, "socket of "+r.name), unix.S_IFSOCK|0o644, 0))
		write(t, filepath.Join(r.root, "file of "+r.name), "of "+r.name)
	}
	p.settle(p.drives()...)
	p.converged()
	p.same(t, ".", "pipe of A", "socket of A", "pipe of H", "socket of H")
	for _, r := range p.replicas() {
		wants(t, filepath.Join(r.root, "file of A"), "of A")
		wants(t, filepath.Join(r.root, "file of H"), "of H")
	}
	absent(t, p.b.path("pipe of A"))
	absent(t, p.b.path("socket of A"))
}
