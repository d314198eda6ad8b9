package integration

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vdfs/integration/drive"
	"vdfs/integration/tree"
)

// history is what `vdfs history` has of a conduit, the newest first.
func (f *fixture) history(conduit string) (all []drive.Generation) {
	f.t.Helper()
	must(f.t, f.JSON(&all, "history", conduit, "--json"))
	return all
}

// outcome is what a run leaves behind.
type outcome struct {
	here, there map[string]string // what the drive and the storages have
	trash       map[string]bool   // the contents in the trash of the storages
	copied      int64
	queue       drive.Queue
}

// cutRun is a drive with work to do, and the steps of it between which the daemon is killed.
type cutRun struct {
	conduit string
	points  []string // each with the passing of it that kills
	// prepare makes a drive whose work waits, unmounted. roots are the directories of its storages.
	prepare func(f *fixture) (roots []string)
	deleted int64 // in all
}

// TestARunThatIsKilledEndsLikeOneThatIsNot kills the daemon between the steps of a generation: copying, verifying, deleting, releasing.
// After a restart everything is as if nothing had happened.
func TestARunThatIsKilledEndsLikeOneThatIsNot(t *testing.T) {
	t.Parallel()
	generation := []string{"syncer.generation.complete:1", "syncer.generation.reobserved:1", "syncer.generation.verified:1"}
	for name, c := range map[string]cutRun{
		"synchronize": {
			conduit: "home", prepare: manyChanges, deleted: 3,
			points: append([]string{
				"syncer.announced.mkdir:1", "syncer.answered.mkdir:1", "syncer.announced.put:1", "dir.put.spooled:2", "dir.put.published:1", "syncer.answered.put:1",
				"syncer.base.committed:1", "syncer.base.committed:3", "syncer.sent:2", "syncer.announced.replace:1", "dir.put.exchanged:1",
				"syncer.answered.replace:1", "syncer.announced.move-remote:1", "syncer.announced.delete-remote:1", "dir.delete.trashed:1", "dir.delete.removed:2",
				"syncer.answered.delete-remote:1", "syncer.answered.delete-remote:3",
			}, generation...),
		},
		"archive": {
			conduit: "old", prepare: aFullSource, deleted: 4,
			points: append([]string{
				"syncer.list.committed:2", "syncer.answered.put:1", "syncer.base.committed:1", "syncer.announced.release:1", "syncer.answered.release:2", "dir.delete.trashed:1",
			}, generation...),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := c.through(t, "")
			if want.copied == 0 || len(want.there) == 0 {
				t.Fatalf("the undisturbed run did nothing: %+v", want)
			}
			for _, point := range c.points {
				t.Run(point, func(t *testing.T) {
					t.Parallel()
					got := c.through(t, point)
					if !maps.Equal(got.here, want.here) {
						t.Errorf("the drive has %q, undisturbed %q", got.here, want.here)
					}
					if !maps.Equal(got.there, want.there) {
						t.Errorf("the storages have %q, undisturbed %q", got.there, want.there)
					}
					if !maps.Equal(got.trash, want.trash) {
						t.Errorf("the trash has %v, undisturbed %v", got.trash, want.trash)
					}
					if got.copied != want.copied {
						t.Errorf("%d files were copied, undisturbed %d", got.copied, want.copied)
					}
					if got.queue != (drive.Queue{}) {
						t.Errorf("the queue is %+v", got.queue)
					}
				})
			}
		})
	}
}

// through brings a drive's work to its end, with a kill at a point if there is one.
func (c cutRun) through(t *testing.T, point string) (o outcome) {
	t.Helper()
	f := newFixture(t, "")
	roots := c.prepare(f)
	before := f.lastGeneration(c.conduit)
	f.do("unmount", f.at)
	must(t, f.WaitGone())
	cmd := f.Command(t.Context(), "mount", f.at)
	cmd.Env = append(cmd.Env, "VDFS_FAULT="+point)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
	f.run("resume") // whatever it answers: the daemon may be gone by then
	if point != "" {
		must(t, f.WaitGone())
		f.do("mount", f.at)
	}
	f.do("sync", "--wait", "--rescan", "--timeout", "180s")
	f.do("doctor")
	var deleted int64
	for _, g := range f.history(c.conduit) {
		if g.Completed == "" || g.Verification != "verified" {
			t.Errorf("a generation ends as %+v", g)
		}
		if g.Generation > before {
			o.copied += g.Copied
			deleted += g.Deleted
		}
	}
	// One that is found to be gone after the kill was deleted by nobody who could count it.
	if deleted > c.deleted || point == "" && deleted != c.deleted || deleted < c.deleted-1 {
		t.Errorf("%d objects were deleted, want %d", deleted, c.deleted)
	}
	o.here, o.there, o.trash = contents(t, f.at), map[string]string{}, map[string]bool{}
	for i, root := range append(roots, f.Home) {
		for path, text := range contents(t, root) {
			switch own := root == f.Home || strings.HasPrefix(path, ".vdfs"); {
			case !own:
				o.there[fmt.Sprintf("%d:%s", i, path)] = text
			case strings.Contains(path, "/trash/") && text != "":
				o.trash[text] = true
			}
		}
	}
	o.queue = f.status().Queue
	return o
}

// lastGeneration is the number of the newest generation of a conduit; 0: there is none, or no such conduit.
func (f *fixture) lastGeneration(conduit string) int64 {
	f.t.Helper()
	for _, c := range f.status().Conduits {
		if c.Name == conduit {
			return c.Generation
		}
	}
	return 0
}

// contents are what is below a directory, by path.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			out[name+"/"] = ""
		case e.Type().IsRegular():
			data, err := os.ReadFile(path)
			out[name] = string(data)
			return err
		}
		return nil
	}))
	return out
}

// manyChanges has a drive with changes of every kind that its one storage does not have yet.
func manyChanges(f *fixture) (roots []string) {
	must(f.t, os.Mkdir(f.behind("d"), 0o755))
	for _, name := range []string{"edited", "moved", "d/steady", "gone one", "gone two", "gone three"} {
		write(f.t, f.behind(name), "first "+name)
	}
	f.mount()
	f.sync()
	for _, name := range []string{"edited", "moved", "gone one", "gone two", "gone three"} {
		wants(f.t, f.path(name), "first "+name)
	}
	f.do("pause")
	must(f.t, os.Mkdir(f.path("new dir"), 0o755))
	for _, name := range []string{"one", "two", "new dir/three"} {
		write(f.t, f.path(name), "made "+name)
	}
	write(f.t, f.path("edited"), "second")
	must(f.t, os.Rename(f.path("moved"), f.path("d", "moved")))
	for _, name := range []string{"gone one", "gone two", "gone three"} {
		must(f.t, os.Remove(f.path(name)))
	}
	return []string{f.dir}
}

// aFullSource has an archive whose source is full.
func aFullSource(f *fixture) (roots []string) {
	from, to := archived(f.t, f)
	write(f.t, filepath.Join(from, "d", "more"), "three")
	f.mount()
	f.sync()
	f.do("pause")
	f.do("conduit", "create", "old", "--source", from, "--target", to, "--policy", "archive", "--at", "/Archive")
	return []string{from, to}
}

// TestAGenerationIsVerifiedAndShown looks at the history and the status of a drive that works.
func TestAGenerationIsVerifiedAndShown(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	f.sync()
	must(t, tree.Many(f.path("many"), 3000, 20))
	write(t, f.path("one"), "first")
	f.sync()
	var copied int64
	for _, g := range f.history("home") {
		copied += g.Copied
		if g.Verification != "verified" || g.Completed == "" {
			t.Errorf("a generation is %+v", g)
		}
	}
	if copied < 3001 {
		t.Errorf("%d files were copied", copied)
	}
	last := f.lastGeneration("home")
	f.do("sync", "--wait", "--rescan")
	if now := f.lastGeneration("home"); now != last {
		t.Errorf("a run without work has number %d, the last with work %d", now, last)
	}
	if c := f.status().Conduits[0]; c.Progress != nil || c.Verification != "verified" {
		t.Errorf("afterwards the conduit is %+v", c)
	}
	if text := f.do("history"); !strings.Contains(text, "verified") {
		t.Errorf("the history does not tell:\n%s", text)
	}
}

// TestASyncOnAStaleIndexIsRefused has a storage away whose changes nobody can know, and then a conduit that is paused.
func TestASyncOnAStaleIndexIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("gone"), "first")
	f.mount()
	f.sync()
	away := f.dir + "-away"
	must(t, os.Rename(f.dir, away))
	must(t, os.Mkdir(f.dir, 0o755)) // another one, which is empty
	write(t, f.path("new"), "made")
	must(t, os.Remove(f.path("gone")))
	if r := f.run("sync", "home", "--wait"); r.Code != 5 || !strings.Contains(r.Stderr, "not reachable") {
		t.Errorf("while the storage is away: %s", r)
	}
	if extra := f.conflictFiles(f.dir); len(extra) > 0 {
		t.Errorf("another directory got %q", extra)
	}
	wants(t, filepath.Join(away, "gone"), "first")
	must(t, os.Remove(f.dir))
	must(t, os.Rename(away, f.dir))
	f.do("conduit", "pause", "home")
	if r := f.run("sync", "home"); r.Code == 0 || !strings.Contains(r.Stderr, "disabled") {
		t.Errorf("a paused conduit: %s", r)
	}
	wants(t, f.behind("gone"), "first")
	f.do("conduit", "resume", "home")
	f.settled()
	wants(t, f.behind("new"), "made")
	absent(t, f.behind("gone"))
}

// TestACancelledRunLeavesDeletionsQueued cancels a run that copies a large file, behind which deletions wait.
func TestACancelledRunLeavesDeletionsQueued(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	for i := range 3 {
		write(t, f.behind(fmt.Sprint("gone", i)), "first")
	}
	f.mount()
	f.sync()
	f.do("pause")
	must(t, tree.Many(f.path("many"), 4000, 40))
	for i := range 3 {
		must(t, os.Remove(f.path(fmt.Sprint("gone", i))))
	}
	f.do("resume")
	eventually(t, "the run copies", func() bool {
		p := f.status().Conduits[0].Progress
		return p != nil && p.Phase == "copying" && p.FilesTotal > 1000 && p.BytesTotal > p.BytesDone
	})
	f.do("sync", "--cancel")
	for i := range 3 {
		wants(t, f.behind(fmt.Sprint("gone", i)), "first")
	}
	// What was to be copied goes on with the next occasion, and what was to be deleted does not.
	write(t, f.path("later"), "made")
	eventually(t, "the copies arrive", func() bool {
		return f.status().Queue.New+f.status().Queue.Validated == 3 && holds(f.behind("later"), "made")
	})
	for i := range 3 {
		wants(t, f.behind(fmt.Sprint("gone", i)), "first")
	}
	if text := f.do("status"); !strings.Contains(text, "cancelled: 3 deletions wait") {
		t.Errorf("the status does not tell:\n%s", text)
	}
	for _, g := range f.history("home") {
		if g.Completed == "" {
			t.Errorf("a generation is under way: %+v", g)
		}
	}
	f.settled()
	absent(t, f.behind("gone0"))
}
