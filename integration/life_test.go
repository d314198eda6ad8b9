package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vdfs/integration/drive"
)

func TestMountReturnsWhenTheDriveAnswersAndUnmountEndsTheDaemon(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("file"), "text")
	for range 3 {
		f.mount()
		wants(t, f.path("file"), "text")
		f.do("unmount", f.at)
		if left, err := f.Daemons(); err != nil || len(left) > 0 {
			t.Fatalf("unmount left the daemons %v, %v", left, err)
		}
		if still, err := drive.Mounted(f.at); err != nil || still {
			t.Fatalf("unmount left the mount: %v, %v", still, err)
		}
		if entries, err := os.ReadDir(f.at); err != nil || len(entries) > 0 {
			t.Fatalf("the mountpoint holds %v, %v", entries, err)
		}
	}
}

func TestUnmountNamesWhoKeepsItBusy(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "text")
	holder := command(f.at, "cat")
	stdin, err := holder.StdinPipe()
	must(t, err)
	must(t, holder.Start())
	r := f.run("unmount", f.at)
	if r.Code != 1 || !strings.Contains(r.Stderr, fmt.Sprint(holder.Process.Pid)) || !strings.Contains(r.Stderr, "cat") {
		t.Errorf("want exit 1 with the process %d and its name: %s", holder.Process.Pid, r)
	}
	wants(t, f.path("file"), "text")
	must(t, stdin.Close())
	must(t, holder.Wait())
	f.do("unmount", f.at)
}

func TestTheEmbeddedDefaultNeedsNoStorage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	f.do("mount", f.at)
	write(t, f.path("file"), "text")
	f.sync()
	s := f.status()
	if len(s.Conduits) != 1 || s.Conduits[0].Name != "home" || s.Conduits[0].Policy != "offload" || s.State != "idle" {
		t.Errorf("the first mount made %+v", s)
	}
	f.do("offload", f.path("file"))
	f.do("unmount", f.at)
	f.do("mount", f.at)
	wants(t, f.path("file"), "text")
}

func TestCommandsFindTheDriveByThePathTheyAreGiven(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "text")
	cmd := f.Command(t.Context(), "info", "--json", f.path("file"))
	// Without VDFS_HOME only the path says which drive is meant.
	var env []string
	for _, entry := range cmd.Env {
		if !strings.HasPrefix(entry, "VDFS_HOME=") {
			env = append(env, entry)
		}
	}
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"residency"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestMassDeleteInTheDirectoryIsHeld(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	const all, doomed = 120, 100
	for i := range all {
		write(t, f.behind(fmt.Sprintf("file%03d", i)), fmt.Sprint(i))
	}
	f.mount()
	f.settled()
	f.do("pause") // all are gone at the next look, however fast this is
	for i := range doomed {
		must(t, os.Remove(f.behind(fmt.Sprintf("file%03d", i))))
	}
	f.do("resume")
	if r := f.run("sync", "--wait", "--timeout", "60s"); r.Code != 7 {
		t.Errorf("a mass delete at the endpoint: want exit 7, got %s", r)
	}
	if entries, err := os.ReadDir(f.at); err != nil || len(entries) != all {
		t.Fatalf("%d of %d files are left in the drive, %v", len(entries), all, err)
	}
	f.do("sync", "--wait", "--allow-deletes", "--timeout", "60s")
	if entries, err := os.ReadDir(f.at); err != nil || len(entries) != all-doomed {
		t.Errorf("after --allow-deletes %d files are left, want %d, %v", len(entries), all-doomed, err)
	}
	f.settled()
}

// TestWhatIsDoneToHeldFilesDeletesNone works on files whose deletion in the directory is held, as a person does who wonders
// why they cannot be read by others.
func TestWhatIsDoneToHeldFilesDeletesNone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	const all, doomed = 120, 100
	name := func(i int) string { return fmt.Sprintf("file%03d", i) }
	for i := range all {
		write(t, f.behind(name(i)), fmt.Sprint(i))
	}
	f.mount()
	f.settled()
	f.do("pause") // all are gone at the next look, however fast this is
	for i := range doomed {
		must(t, os.Remove(f.behind(name(i))))
	}
	f.do("resume")
	held := func() {
		t.Helper()
		if r := f.run("sync", "--wait", "--timeout", "60s"); r.Code != 7 {
			t.Errorf("a mass delete at the endpoint: want exit 7, got %s", r)
		}
		if entries, err := os.ReadDir(f.at); err != nil || len(entries) != all {
			t.Fatalf("%d of %d files are left in the drive, %v", len(entries), all, err)
		}
	}
	held()
	sh(t, f.at, "chmod", "-R", "go=", ".")
	sh(t, f.at, "touch", name(0), name(1))
	must(t, os.Rename(f.path(name(2)), f.path("renamed")))
	held()
	if queue := f.do("queue"); !strings.Contains(queue, "mass delete") {
		t.Errorf("the queue does not say what is held:\n%s", queue)
	}
	if stuck := f.do("errors"); strings.Contains(stuck, name(0)) {
		t.Errorf("what is held is no error:\n%s", stuck)
	}
	f.do("sync", "--wait", "--allow-deletes", "--timeout", "60s")
	if entries, err := os.ReadDir(f.at); err != nil || len(entries) != all-doomed {
		t.Errorf("after --allow-deletes %d files are left, want %d, %v", len(entries), all-doomed, err)
	}
	f.settled()
}

func TestSecondConduitHasItsOwnPlace(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	photos := f.dir + "-photos"
	must(t, os.Mkdir(photos, 0o755))
	write(t, filepath.Join(photos, "theirs"), "a photo")
	write(t, f.path("outer"), "outer")
	f.do("conduit", "create", "photos", "--source", "drive:/Photos", "--target", photos, "--policy", "synchronize")
	f.sync()
	wants(t, f.path("Photos/theirs"), "a photo")
	write(t, f.path("Photos/mine"), "mine")
	f.sync()
	sameTrees(t, photos, f.path("Photos"))
	wants(t, f.behind("outer"), "outer")
	if names := f.conflictFiles(f.dir, "outer"); len(names) > 1 || len(names) == 1 && names[0] != "Photos" {
		t.Errorf("the outer conduit has %q", names)
	}
	absent(t, f.behind("Photos/theirs"))
	absent(t, f.behind("Photos/mine"))
	// mv(1) copies over the border, as between two disks.
	if err := os.Rename(f.path("outer"), f.path("Photos/outer")); err == nil {
		t.Error("a rename over the border of a place succeeded")
	}
	sh(t, f.at, "mv", "outer", "Photos/outer")
	f.sync()
	wants(t, filepath.Join(photos, "outer"), "outer")
	absent(t, f.behind("outer"))

	f.do("conduit", "delete", "photos", "--force")
	wants(t, filepath.Join(photos, "theirs"), "a photo")
}

func TestADeletedConduitLeavesItsFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.MkdirAll(f.behind("a/deep"), 0o755))
	write(t, f.behind("a/deep/file"), "text")
	f.mount()
	if r := f.run("conduit", "delete", "home"); r.Code != 7 || !strings.Contains(r.Stderr, "--hydrate") {
		t.Fatalf("files are only at the endpoint: want exit 7 and what helps, got %s", r)
	}
	f.do("conduit", "delete", "home", "--hydrate")
	wants(t, f.path("a/deep/file"), "text")
	wants(t, f.behind("a/deep/file"), "text")
	must(t, os.RemoveAll(f.dir))
	wants(t, f.path("a/deep/file"), "text")
}

func TestReadOnlyMount(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("file"), "text")
	f.do("mount", f.at, "--from", f.dir, "--read-only")
	wants(t, f.path("file"), "text")
	if err := os.WriteFile(f.path("new"), nil, 0o644); err == nil {
		t.Error("a read-only mount took a new file")
	}
	write(t, f.behind("file"), "changed")
	eventually(t, "the change arrives", func() bool { return holds(f.path("file"), "changed") })
}

func TestForegroundDaemonEndsCleanlyOnTerm(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("file"), "text")
	cmd := f.Command(t.Context(), "mount", f.at, "--from", f.dir, "--foreground")
	var said strings.Builder
	cmd.Stderr = &said
	must(t, cmd.Start())
	eventually(t, "the drive is mounted", func() bool { return holds(f.path("file"), "text") })
	must(t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v: %s", err, &said)
	}
	if still, err := drive.Mounted(f.at); err != nil || still {
		t.Errorf("the mount stayed: %v, %v", still, err)
	}
}

func TestMakeRunMountsAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("../.ci/drive")
	must(t, err)
	f := newFixture(t, "")
	must(t, os.Remove(f.at))
	for range 2 {
		cmd := command("/", script, f.at)
		cmd.Env = append(cmd.Env, f.Env...)
		cmd.Env = append(cmd.Env, "VDFS_HOME="+f.Home, "VDFS_BINARY="+built)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "try:") {
			t.Fatalf("%v\n%s", err, out)
		}
		write(t, f.path("hello.txt"), "hello\n")
	}
	must(t, f.Kill())
	cmd := command("/", script, f.at)
	cmd.Env = append(cmd.Env, f.Env...)
	cmd.Env = append(cmd.Env, "VDFS_HOME="+f.Home, "VDFS_BINARY="+built)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("after a crash: %v\n%s", err, out)
	}
	wants(t, f.path("hello.txt"), "hello\n")
}
