package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// archived are two storages, the first with files and the second with one of a name that the first has, too.
func archived(t *testing.T, f *fixture) (from, to string) {
	t.Helper()
	from, to = f.dir+"-from", f.dir+"-to"
	must(t, os.MkdirAll(filepath.Join(from, "d"), 0o755))
	must(t, os.Mkdir(to, 0o755))
	write(t, filepath.Join(from, "d", "f"), "one")
	write(t, filepath.Join(from, "g"), "two")
	write(t, filepath.Join(to, "g"), "archived before")
	return from, to
}

// neverNeither looks, all the time, for files that are on their way into an archive: each is at the source, or in the archive under
// the name it gets there, or at both.
func neverNeither(t *testing.T, from, to string, moved map[string]string) (stop func()) {
	t.Helper()
	over := make(chan struct{})
	var looking sync.WaitGroup
	stop = sync.OnceFunc(func() { close(over); looking.Wait() })
	t.Cleanup(stop)
	looking.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ; !closed(over); <-tick.C {
			for source, archived := range moved { // in this order, as that is the way it goes
				if _, err := os.Lstat(filepath.Join(from, source)); err == nil {
					continue
				}
				if _, err := os.Lstat(filepath.Join(to, archived)); err != nil {
					t.Errorf("%s is neither at the source nor in the archive: %v", source, err)
					return
				}
			}
		}
	})
	return stop
}

// arriving are the files of archived, with the names that they get.
var arriving = map[string]string{"d/f": "d/f", "g": "g 2"}

// allArchived demands that all files are in the archive, and nothing else, and shown by the drive.
func allArchived(t *testing.T, f *fixture, from, to string) {
	t.Helper()
	f.do("sync", "--rescan", "--wait", "--timeout", "180s")
	if left := f.conflictFiles(from, ".vdfs"); len(left) != 0 {
		t.Errorf("the source still has %q", left)
	}
	if extra := f.conflictFiles(to, ".vdfs", "d", "g", "g 2"); len(extra) != 0 {
		t.Errorf("the archive has %q, too", extra)
	}
	for _, root := range []string{to, f.path("Archive")} {
		wants(t, filepath.Join(root, "d", "f"), "one")
		wants(t, filepath.Join(root, "g"), "archived before")
		wants(t, filepath.Join(root, "g 2"), "two")
	}
}

// TestAnArchiveMovesFilesBetweenTwoStorages goes through real mounts, and is killed around each release.
func TestAnArchiveMovesFilesBetweenTwoStorages(t *testing.T) {
	t.Parallel()
	create := func(from, to string) []string {
		return []string{"conduit", "create", "old", "--source", from, "--target", to, "--policy", "archive", "--at", "/Archive"}
	}
	t.Run("undisturbed", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, "")
		from, to := archived(t, f)
		f.mount()
		stop := neverNeither(t, from, to, arriving)
		steady := watchOver(t, []string{to}, "g")
		f.do(create(from, to)...)
		allArchived(t, f, from, to)
		stop()
		here := watchOver(t, []string{to, f.path("Archive")}, "d/f", "g", "g 2")
		write(t, filepath.Join(from, "later"), "three")
		stop = neverNeither(t, from, to, map[string]string{"later": "later"})
		f.do("sync", "--rescan", "--wait", "--timeout", "180s")
		stop()
		wants(t, filepath.Join(to, "later"), "three")
		absent(t, filepath.Join(from, "later"))
		steady.unharmed(t)
		here.unharmed(t)
	})
	for point, releases := range map[string]int{"syncer.announced.release": 3, "syncer.answered.release": 3, "dir.delete.trashed": 2} {
		for nth := 1; nth <= releases; nth++ {
			t.Run(fmt.Sprintf("killed at %s %d", point, nth), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, "")
				from, to := archived(t, f)
				cmd := f.Command(t.Context(), "mount", f.at, "--from", f.dir)
				cmd.Env = append(cmd.Env, fmt.Sprintf("VDFS_FAULT=%s:%d", point, nth))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("mount: %v\n%s", err, out)
				}
				stop := neverNeither(t, from, to, arriving)
				steady := watchOver(t, []string{to}, "g")
				f.run(create(from, to)...) // whatever it answers: the daemon may be gone by then
				must(t, f.WaitGone())
				f.do("mount", f.at)
				allArchived(t, f, from, to)
				stop()
				steady.unharmed(t)
			})
		}
	}
}
