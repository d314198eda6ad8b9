package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestKilledAtEveryFaultPoint drives one drive through a fixed scenario that passes every fault point, with all points
// armed: the daemon dies at the first passing of each, is started again with those that are left, and what was acknowledged
// has to be there each time. A point that the scenario does not pass fails the test.
func TestKilledAtEveryFaultPoint(t *testing.T) {
	t.Parallel()
	runFaults(t, faults{count: 1, all: true})
}

// TestKilledAtTheSecondPassingOfFaultPoints dies at the second passing in one life of the daemon, where there is one.
func TestKilledAtTheSecondPassingOfFaultPoints(t *testing.T) {
	t.Parallel()
	runFaults(t, faults{count: 2})
}

// TestKilledAtLaterPassingsOfFaultPoints goes on with the third and those after it.
func TestKilledAtLaterPassingsOfFaultPoints(t *testing.T) {
	long(t)
	for count := 3; count < 3+soak(t); count++ {
		t.Run(fmt.Sprint(count), func(t *testing.T) { runFaults(t, faults{count: count}) })
	}
}

// TestEveryFaultPointFailsOnce has every point give an error once: it is reported to the program or tried again, and
// nothing is lost.
func TestEveryFaultPointFailsOnce(t *testing.T) {
	t.Parallel()
	runFaults(t, faults{count: 1, fail: true, all: true})
}

// faultRounds is how often the scenario is repeated at most: a write that was cut is not made again, so that each of its
// points needs another one.
const faultRounds = 4

// faults says how points are armed.
type faults struct {
	count int
	fail  bool // they return an error instead of killing
	all   bool // each has to be passed
}

// faultRun is one drive on its way through the scenario.
type faultRun struct {
	*fixture
	faults
	round  int
	m      *model // of the round
	models []*model
	rounds []int    // gone through
	told   string   // the file that points tell their names to
	points []string // armed at the next start
	hit    []string
}

func runFaults(t *testing.T, how faults) {
	f := newFixture(t, "")
	r := &faultRun{fixture: f, faults: how, told: filepath.Join(t.TempDir(), "told")}
	r.points = strings.Fields(f.do("fault-points"))
	all := slices.Clone(r.points)
	for r.round = range faultRounds {
		r.endpointBegins()
		r.models = append(r.models, newModel(f.path(r.name("w")), 1, uint64(r.round)))
	}
	r.start()
	for r.round = range faultRounds {
		if r.round > 0 {
			r.killAtWork()
			if r.listen(); len(r.points) == 0 || !how.all {
				break
			}
			// What is passed once in the life of a daemon, or once a day, is passed again.
			r.forgetBackups()
			r.start()
		}
		r.m = r.models[r.round]
		for _, s := range r.scenario() {
			r.through(s)
		}
		r.rounds = append(r.rounds, r.round)
	}
	r.finish()
	t.Logf("acted: %v", r.hit)
	for _, p := range all {
		if how.all && !slices.Contains(r.hit, p) {
			t.Errorf("the scenario never passes the fault point %s", p)
		}
	}
}

// killAtWork kills the daemon while a program makes changes, so that some are acknowledged and not in the index yet.
func (r *faultRun) killAtWork() {
	r.t.Helper()
	busy, began, ended := r.path(r.name("busy")), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		started := sync.OnceFunc(func() { close(began) })
		defer started()
		for os.Mkdir(busy, 0o755) == nil && os.Remove(busy) == nil {
			started()
		}
	}()
	<-began
	must(r.t, r.Kill())
	<-ended
}

// forgetBackups removes the backups of the index, so that the next daemon makes one.
func (r *faultRun) forgetBackups() {
	r.t.Helper()
	backups, err := filepath.Glob(filepath.Join(r.Home, "data", "backups", "*"))
	must(r.t, err)
	for _, b := range backups {
		must(r.t, os.Remove(b))
	}
}

// faultStep is one operation of the scenario: it is done as long as it is to be done.
type faultStep struct {
	name string
	todo func() bool
	do   func() error
}

// through does a step, however often the daemon dies or fails meanwhile.
func (r *faultRun) through(s faultStep) {
	r.t.Helper()
	tries := 0
	eventually(r.t, s.name+" is done", func() bool {
		if !s.todo() {
			return true
		}
		if err := s.do(); err != nil {
			if tries++; tries == 1 || tries%50 == 0 {
				r.t.Logf("%s: %v", s.name, err)
			}
			r.recover(s.name, err)
		}
		return !s.todo()
	})
}

// recover brings the drive back after an operation that failed, and compares it with what was acknowledged.
func (r *faultRun) recover(name string, cause error) {
	r.t.Helper()
	for {
		fresh := r.listen()
		alive, err := r.Daemons()
		must(r.t, err)
		switch {
		case !r.fail && len(fresh) > 0:
			must(r.t, r.WaitGone())
			r.start()
		case len(alive) == 0:
			r.t.Fatalf("%s: the daemon is gone and no point says that it killed it: %v", name, cause)
		case !r.fail && diedWithDaemon(cause):
			r.t.Fatalf("%s: failed, and the daemon lives: %v", name, cause)
		}
		err = r.compare()
		if err == nil {
			return
		}
		if errors.Is(err, errModel) {
			r.t.Fatalf("after %s (%v), acted: %v: %v", name, cause, r.hit, err)
		}
		cause = err
	}
}

// compare compares the drive with what was acknowledged, and has it examined.
func (r *faultRun) compare() error {
	if err := r.tries("doctor"); err != nil {
		return err
	}
	for _, m := range r.models {
		m.crash()
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

// name is a name of this round.
func (r *faultRun) name(kind string) string { return fmt.Sprintf("%s%d", kind, r.round) }

// start mounts the drive with the points that are left armed; a daemon that dies of one at once is started again.
func (r *faultRun) start() {
	r.t.Helper()
	for {
		res := r.startOnce()
		if res == "" {
			return
		}
		if len(r.listen()) == 0 {
			r.t.Fatalf("mount failed, and no point says that it acted: %s", res)
		}
		must(r.t, r.WaitGone())
	}
}

// startOnce mounts with the points armed and returns what went wrong.
func (r *faultRun) startOnce() string {
	r.t.Helper()
	var plan []string
	for _, p := range r.points {
		entry := fmt.Sprintf("%s:%d", p, r.count)
		if r.fail {
			entry += ":error"
		}
		plan = append(plan, entry)
	}
	cmd := r.Command(r.t.Context(), "mount", r.at, "--from", r.dir)
	cmd.Env = append(cmd.Env, "VDFS_FAULT="+strings.Join(plan, ","), "VDFS_FAULT_TOLD="+r.told)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return ""
}

// listen reads which points have acted, disarms them for the next start, and returns the new ones.
func (r *faultRun) listen() (fresh []string) {
	r.t.Helper()
	text, err := os.ReadFile(r.told)
	if !errors.Is(err, os.ErrNotExist) {
		must(r.t, err)
	}
	all := strings.Fields(string(text))
	fresh = all[len(r.hit):]
	r.hit = all
	r.points = slices.DeleteFunc(r.points, func(p string) bool { return slices.Contains(fresh, p) })
	return fresh
}

// finish ends the last armed daemon and demands that an unarmed one finds everything and settles.
func (r *faultRun) finish() {
	r.t.Helper()
	must(r.t, r.Kill())
	r.listen()
	r.mount()
	must(r.t, r.compare())
	r.settled()
	must(r.t, r.compare())
	for _, r.round = range r.rounds {
		for name, text := range r.farAtTheEnd() {
			wants(r.t, r.path(name), text)
			wants(r.t, r.behind(name), text)
		}
		absent(r.t, r.path(r.name("far"), "gone"))
		absent(r.t, r.path(r.name("far"), "old"))
		r.holdsBoth(r.name("both"), "mine", "theirs!", r.known()...)
		if !leads(r.behind(r.name("link")), "target") {
			r.t.Errorf("the symlink of round %d is lost", r.round)
		}
		wants(r.t, r.behind(r.name("shared"), "in"), "lives on")
		wants(r.t, r.behind(r.name("lost")), "precious")
	}
	r.do("doctor")
	if diffs := r.run("sync", "--wait", "--rescan", "--timeout", "60s"); diffs.Code != 0 {
		r.t.Errorf("a look at everything afterwards: %s", diffs)
	}
	r.settled()
}

// once is a step that leaves no trace in the model: done is done.
func once(name string, do func() error) faultStep {
	done := false
	return faultStep{name, func() bool { return !done }, func() error {
		err := do()
		done = err == nil
		return err
	}}
}

// bigSize is more than a fetch brings before it writes down how far it came.
const bigSize = 9 << 20

// endpointBegins is what the directory holds for a round before the drive is first mounted.
func (r *faultRun) endpointBegins() {
	far := r.name("far")
	for _, d := range []string{r.name("w"), far + "/sub", far + "/old-dir"} {
		must(r.t, os.MkdirAll(r.behind(d), 0o755))
	}
	for _, name := range []string{"one", "sub/two", "gone", "old", "old-dir/in", "cut"} {
		write(r.t, r.behind(far, name), "first "+name)
	}
	must(r.t, os.WriteFile(r.behind(far, "big"), bytes.Repeat([]byte("big"), bigSize/3), 0o644))
}

// farAtTheEnd is what becomes of what another program does in the directory.
func (r *faultRun) farAtTheEnd() map[string]string {
	out := map[string]string{}
	for name, text := range map[string]string{
		"one": "changed in place", "sub/two": "replaced", "new": "first old", "new-dir/in": "first old-dir/in",
		"made/deep/file": "made", "cut": "first", "big": strings.Repeat("big", bigSize/3),
	} {
		out[filepath.Join(r.name("far"), name)] = text
	}
	return out
}

// known are the names at the top that are no conflict files.
func (r *faultRun) known() (names []string) {
	for i := range faultRounds {
		for _, kind := range []string{"w", "far", "shared", "link", "both", "busy", "lost", "rot"} {
			names = append(names, fmt.Sprintf("%s%d", kind, i))
		}
	}
	return names
}

// scenario passes every fault point.
func (r *faultRun) scenario() []faultStep {
	return slices.Concat(r.firstContact(), r.localWork(), r.farWork(), r.bothWork(), r.moreLocalWork(), r.restoreWork(), r.rotWork())
}

// rotWork has a bit of a stored copy flip, and the copy repaired.
func (r *faultRun) rotWork() []faultStep {
	there, text := r.behind(r.name("rot")), "good bytes"
	return []faultStep{
		r.puts("rot", "", text),
		r.syncs(),
		once("a bit flips", func() error { return flip(there) }),
		{"repair", func() bool {
			now, err := os.ReadFile(there)
			return err != nil || string(now) != text
		}, func() error { return r.tries("verify", "--repair", r.path(r.name("rot"))) }},
		r.syncs(),
	}
}

// firstContact reads what is at the endpoint, part by part and whole.
func (r *faultRun) firstContact() []faultStep {
	return []faultStep{
		r.reads("far", "sub/two", "first sub/two"),
		r.reads("far", "big", strings.Repeat("big", bigSize/3)),
		r.syncs(),
	}
}

// localWork is what programs do in the mount, until the endpoint has it.
func (r *faultRun) localWork() []faultStep {
	m := r.m
	link, shared := r.path(r.name("link")), r.path(r.name("shared"))
	return []faultStep{
		r.makes("d"), r.makes("gone"),
		r.fills("d/a"), r.fills("b"), r.fills("over"), r.fills("kept"), r.fills("x"), r.fills("y"), r.fills("doomed"),
		once("close everything", r.closeAll),
		{"rename", has(m, "b"), func() error { return m.rename("b", "d/c") }},
		{"rename over", has(m, "over"), func() error { return m.rename("over", "d/c") }},
		{"link", lacks(m, "linked"), func() error { return m.link("kept", "linked") }},
		once("chmod", func() error { return os.Chmod(m.path("x"), 0o755) }),
		once("stamp", func() error { return m.stamp("y") }),
		r.unmakes("gone"),
		{"symlink", func() bool { return !leads(link, "target") }, func() error { return os.Symlink("target", link) }},
		once("mkdir", func() error {
			err := os.Mkdir(shared, 0o755)
			if errors.Is(err, os.ErrExist) { // made, and not acknowledged
				return nil
			}
			return err
		}),
		r.puts("both", "", "before"),
		r.syncs(),
	}
}

// farWork is what another program does in the directory, with bytes of the drive freed and fetched meanwhile.
func (r *faultRun) farWork() []faultStep {
	m, far := r.m, r.behind(r.name("far"))
	big := r.path(r.name("far"), "big")
	return []faultStep{
		once("other program", func() error {
			return errors.Join(
				os.WriteFile(far+"/one", []byte("changed in place"), 0o644),
				replace(far+"/sub/two", "replaced"),
				os.Remove(far+"/gone"), os.Rename(far+"/old", far+"/new"), os.Rename(far+"/old-dir", far+"/new-dir"),
				os.MkdirAll(far+"/made/deep", 0o755), os.WriteFile(far+"/made/deep/file", []byte("made"), 0o644),
			)
		}),
		// What is not here of it stays where it is.
		once("cut", func() error { return os.Truncate(r.path(r.name("far"), "cut"), int64(len("first"))) }),
		r.syncs(),
		once("fetch", func() error { return r.tries("fetch", "--wait", big) }), // read in parts only, it was never proved whole
		once("offload", func() error { return r.tries("offload", m.path("d/a"), big) }),
		once("read what was freed", m.check),
		r.reads("far", "sub/two", "replaced"),
		r.reads("far", "big", strings.Repeat("big", bigSize/3)),
	}
}

// bothWork has both sides change the same things while the drive is paused.
func (r *faultRun) bothWork() []faultStep {
	both, shared := r.behind(r.name("both")), r.behind(r.name("shared"))
	return []faultStep{
		once("pause", func() error { return r.tries("pause") }),
		once("other program", func() error {
			return errors.Join(os.WriteFile(both, []byte("theirs!"), 0o644), os.Remove(shared))
		}),
		r.puts("both", "", "mine"),
		r.puts("shared", "in", "lives on"),
		once("resume", func() error { return r.tries("resume") }),
		r.syncs(),
	}
}

// moreLocalWork changes what the endpoint has.
func (r *faultRun) moreLocalWork() []faultStep {
	m := r.m
	was := ""
	return []faultStep{
		once("write again", func() error { return m.write("d/a") }),
		once("truncate", func() error { return m.truncate("d/c", 0) }),
		once("close everything", r.closeAll),
		once("chmod", func() error { return os.Chmod(m.path("y"), 0o755) }),
		{"rename of a directory", func() bool { return m.dirs["d"] }, func() error { return m.moveDir("d", "e") }},
		once("look", func() error { was = string(m.files["x"].data); return nil }),
		{"swap", func() bool { return string(m.files["x"].data) == was }, func() error { return m.swap("x", "y") }},
		{"remove", has(m, "doomed"), func() error { return m.remove("doomed") }},
		r.syncs(),
		r.makes("more"), r.syncs(), r.unmakes("more"), r.syncs(),
	}
}

// restoreWork gets back what was deleted and what was overwritten.
func (r *faultRun) restoreWork() []faultStep {
	lost := r.path(r.name("lost"))
	restore := faultStep{"restore", func() bool { return !holds(lost, "precious") }, func() error { return r.tries("restore", lost) }}
	return []faultStep{
		r.puts("lost", "", "precious"), r.syncs(),
		{"remove", func() bool { _, err := os.Lstat(lost); return err == nil }, func() error { return os.Remove(lost) }},
		r.syncs(), restore,
		r.puts("lost", "", "another"), r.syncs(), restore, r.syncs(),
		r.reads("lost", "", "precious"),
	}
}

func has(m *model, name string) func() bool {
	return func() bool { _, ok := m.files[name]; return ok }
}

func lacks(m *model, name string) func() bool {
	return func() bool { _, ok := m.files[name]; return !ok }
}

// leads reports whether a symlink leads to a target.
func leads(path, to string) bool {
	got, err := os.Readlink(path)
	return err == nil && got == to
}

// makes makes a directory of the model.
func (r *faultRun) makes(name string) faultStep {
	done := false // one that was removed again later is not to be made again
	return faultStep{"mkdir " + name, func() bool { return !done && !r.m.dirs[name] }, func() error {
		err := r.m.mkdirAt(name)
		done = err == nil
		return err
	}}
}

// unmakes removes an empty directory of the model.
func (r *faultRun) unmakes(name string) faultStep {
	m := r.m
	return faultStep{"rmdir " + name, func() bool { return m.dirs[name] }, func() error { return m.rmdir(name) }}
}

// fills makes a file of the model and writes to it.
func (r *faultRun) fills(name string) faultStep {
	return faultStep{"write " + name, func() bool { return len(r.m.files[name].data) == 0 }, func() error {
		if _, ok := r.m.files[name]; ok {
			return r.m.write(name)
		}
		return r.m.createAt(name)
	}}
}

// puts writes a file outside of the model, again and again until all of it was acknowledged.
func (r *faultRun) puts(kind, name, text string) faultStep {
	path := r.path(r.name(kind), name)
	return once("write "+path, func() error { return os.WriteFile(path, []byte(text), 0o644) })
}

// reads reads a file that has to hold the text.
func (r *faultRun) reads(kind, name, text string) faultStep {
	path := r.path(r.name(kind), name)
	return once("read "+path, func() error {
		got, err := os.ReadFile(path)
		if err == nil && string(got) != text {
			r.t.Fatalf("%s holds %d bytes that are not the %d expected ones", path, len(got), len(text))
		}
		return err
	})
}

func (r *faultRun) closeAll() error {
	for len(r.m.open) > 0 {
		if err := r.m.closeOne(); err != nil {
			return err
		}
	}
	return nil
}

func (r *faultRun) syncs() faultStep {
	return once("sync", func() error { return r.tries("sync", "--wait", "--timeout", "60s") })
}

// tries runs a command that may meet the end of the daemon.
func (r *faultRun) tries(args ...string) error {
	res := r.run(args...)
	if res.Code != 0 {
		return errors.New(res.String())
	}
	return nil
}
