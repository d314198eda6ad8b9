package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
	"vdfs/integration/tree"
)

// pair is two drives on one directory, as two machines have them. The drives A and B and the directory H are three replicas
// of one tree.
type pair struct {
	t    *testing.T
	a, b *fixture
	dir  string
	// own has the names at the top of the directory that are the drives' own.
	own   []string
	watch *watcher
}

// replica is one of the trees of a pair.
type replica struct{ name, root string }

// newPair mounts two drives with a policy on the directory dir.
func newPair(t *testing.T, policy, dir string) *pair {
	t.Helper()
	p := &pair{t: t, dir: dir}
	p.a, p.b = p.drive("A", policy), p.drive("B", policy)
	p.watch = newWatcher(p.replicas())
	t.Cleanup(p.watch.end) // before the drives end
	return p
}

// drive mounts a drive on the directory. It may lose as much as it likes: the guard has tests of its own.
func (p *pair) drive(device, policy string) *fixture {
	p.t.Helper()
	f := newFixture(p.t, p.dir)
	f.Env = append(f.Env, "VDFS_FAULT_CLOCK="+f.clock())
	f.setClock(0)
	write(p.t, filepath.Join(f.Home, "config.toml"), fmt.Sprintf(
		"[device]\nname = %q\n[guard]\nmax_delete_count = 1000000\n[offload]\nfree_low = 0\n", device,
	))
	if policy == "offload" {
		f.mount()
		return f
	}
	f.do("mount", f.at)
	f.do("conduit", "delete", "home", "--force")
	f.do("conduit", "create", "home", "--source", "drive:/", "--target", f.dir, "--policy", policy)
	return f
}

func (p *pair) drives() []*fixture { return []*fixture{p.a, p.b} }

// replicas are A, B and H, in this order.
func (p *pair) replicas() []replica { return []replica{{"A", p.a.at}, {"B", p.b.at}, {"H", p.dir}} }

// clock is the file that says by how much the clocks of the machine are off that a drive of a pair stands for.
func (f *fixture) clock() string { return filepath.Join(f.Home, "clock") }

// setClock sets them, back or ahead, whether its daemon runs or not.
func (f *fixture) setClock(off time.Duration) {
	f.t.Helper()
	must(f.t, replace(f.clock(), off.String()))
}

// canJump asserts that the daemon goes by the clocks that are set.
func (f *fixture) canJump() {
	f.t.Helper()
	for _, off := range []time.Duration{40 * 24 * time.Hour, -40 * 24 * time.Hour} {
		f.setClock(off)
		dir := f.path("jumped")
		must(f.t, os.Mkdir(dir, 0o755))
		info, err := os.Stat(dir)
		must(f.t, err)
		if d := time.Until(info.ModTime()) - off; d.Abs() > time.Hour {
			f.t.Fatalf("with clocks that are off by %v, a new directory is of %v", off, info.ModTime())
		}
		must(f.t, os.Remove(dir))
	}
	f.setClock(0)
}

// off cuts drives off from the directory; files in them can still be opened.
func (p *pair) off(drives ...*fixture) {
	p.t.Helper()
	for _, f := range drives {
		f.do("pause")
	}
}

func (p *pair) on(drives ...*fixture) {
	p.t.Helper()
	for _, f := range drives {
		f.do("resume")
	}
}

// maxRounds is how many rounds of both drives may do something before they count as never coming to rest.
const maxRounds = 50

// settle syncs drives until two rounds in a row do nothing.
func (p *pair) settle(drives ...*fixture) {
	p.t.Helper()
	idle, last, waits := 0, p.done(drives), ""
	for range maxRounds {
		waits = ""
		for _, f := range drives {
			// While the other one is at work, what it moves has to be waited for.
			if r := f.run("sync", "--wait", "--timeout", "180s"); r.Code == 3 {
				waits += r.String()
			} else if r.Code != 0 {
				p.t.Fatal(r)
			}
		}
		now := p.done(drives)
		if idle++; now != last || waits != "" {
			idle = 0
		}
		if last = now; idle == 2 {
			return
		}
	}
	p.t.Fatalf("not at rest after %d rounds: %s", maxRounds, waits)
}

// done changes whenever one of the drives has done anything, in itself or in the directory.
func (p *pair) done(drives []*fixture) string {
	p.t.Helper()
	var out []string
	for _, f := range drives {
		s := f.status()
		out = append(out, fmt.Sprintf("%s: generation %d, %+v", f.at, s.Conduits[0].Generation, s.Queue))
	}
	return strings.Join(append(out, p.objects()...), "\x00")
}

// objects tells all about the directory that a write of any kind to it changes.
func (p *pair) objects() (out []string) {
	p.t.Helper()
	must(p.t, filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a drive is at work
		}
		if err != nil {
			return err
		}
		if p.isOwn(path) {
			return filepath.SkipDir
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); errors.Is(err, unix.ENOENT) {
			return nil
		} else if err != nil {
			return err
		}
		out = append(out, fmt.Sprintf("%s %d %o %d %v %v", path, st.Ino, st.Mode, st.Size, st.Mtim, st.Ctim))
		return nil
	}))
	return out
}

func (p *pair) isOwn(path string) bool {
	name, err := filepath.Rel(p.dir, path)
	return err == nil && slices.Contains(p.own, name)
}

// converged asserts of all replicas what has to hold whenever a pair has come to rest, whatever was done. What was to become
// of the files is for the caller to know.
func (p *pair) converged() {
	p.t.Helper()
	for _, f := range p.drives() {
		var queue []drive.Item
		must(p.t, f.JSON(&queue, "queue", "--json"))
		for _, it := range queue {
			p.t.Errorf("O10: an item is left: %+v", it)
		}
		if r := f.run("doctor"); r.Code != 0 {
			p.t.Errorf("O6: %s", r)
		}
	}
	before := p.done(p.drives())
	for _, f := range p.drives() {
		f.do("sync", "--wait", "--rescan", "--timeout", "180s")
	}
	if after := p.done(p.drives()); after != before {
		p.t.Errorf("O7: drives at rest did something when they looked at everything:\n%s", diffLines(p.t, before, after))
	}
	p.watch.unharmed(p.t)
}

// same asserts that a directory is equal in all replicas (O1) and has nothing in it that nobody made (O8). The names given
// are left out: a drive does not send them.
func (p *pair) same(t *testing.T, dir string, unsent ...string) {
	t.Helper()
	for _, f := range p.drives() {
		diffs, err := tree.Compare(filepath.Join(p.dir, dir), f.path(dir), 1000)
		must(t, err)
		diffs = slices.DeleteFunc(diffs, func(d string) bool {
			return slices.ContainsFunc(unsent, func(name string) bool { return strings.HasPrefix(d, fmt.Sprintf("%q only in", name)) })
		})
		if len(diffs) > 0 {
			t.Errorf("O1: the directory and a drive differ in %s:\n%s", dir, strings.Join(diffs, "\n"))
		}
	}
	for _, r := range p.replicas() {
		entries, err := tree.Read(filepath.Join(r.root, dir))
		must(t, err)
		for name := range entries {
			if isLitter(filepath.Base(name)) {
				t.Errorf("O8: %s has %s in %s", r.name, name, dir)
			}
		}
	}
}

// isLitter tells the names of what is only there while something is under way.
func isLitter(name string) bool {
	return strings.HasPrefix(name, ".vdfs") || strings.HasPrefix(name, ".fuse_hidden") || strings.HasPrefix(name, ".nfs")
}

// conflictMark is what the name of a conflict file has before its extension.
var conflictMark = regexp.MustCompile(` \(conflict (\w+) \d{4}-\d\d-\d\d \d{6}\)( \d+)?`)

// without does something during which one replica is not there for anybody.
func (p *pair) without(name string, do func()) {
	p.t.Helper()
	i := slices.IndexFunc(p.replicas(), func(r replica) bool { return r.name == name })
	p.watch.mu[i].Lock()
	defer p.watch.mu[i].Unlock()
	do()
}

// kill kills the daemon of a drive, does something and mounts it again.
func (p *pair) kill(f *fixture, meanwhile func()) {
	p.t.Helper()
	name := "A"
	if f == p.b {
		name = "B"
	}
	p.without(name, func() {
		must(p.t, f.Kill())
		meanwhile()
		f.do("mount", f.at)
	})
}

// watcher stats, all the time, paths that nothing happens to: not one may vanish, not for an instant (O9).
type watcher struct {
	replicas []replica
	mu       []sync.Mutex // of each replica: held for a look at it, and while it is not there
	stop     chan struct{}
	stopped  sync.Once
	running  sync.WaitGroup

	lost  sync.Mutex
	paths []string // below the roots
	found []string
}

func newWatcher(replicas []replica) *watcher {
	return &watcher{replicas: replicas, mu: make([]sync.Mutex, len(replicas)), stop: make(chan struct{})}
}

// watchOver watches, for a test without a pair, over paths that are there below all of the roots.
func watchOver(t *testing.T, roots []string, paths ...string) *watcher {
	t.Helper()
	var all []replica
	for _, root := range roots {
		all = append(all, replica{filepath.Base(root), root})
	}
	w := newWatcher(all)
	t.Cleanup(w.end) // before the drive ends
	w.start(paths)
	return w
}

func TestAWatcherSeesWhatIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"stays", "goes"} {
		write(t, filepath.Join(dir, name), "text")
	}
	w := watchOver(t, []string{dir}, "stays", "goes")
	w.unharmed(t)
	var seen []string
	must(t, os.Rename(filepath.Join(dir, "goes"), filepath.Join(dir, "away")))
	eventually(t, "it is seen that a file is gone", func() bool {
		seen = append(seen, w.failures()...)
		return len(seen) > 0
	})
	must(t, os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "goes")))
	for _, lost := range seen {
		if !strings.Contains(lost, "goes") {
			t.Errorf("seen is %q", lost)
		}
	}
}

// unharmed asserts that nothing that is watched over has vanished since this was asked last.
func (w *watcher) unharmed(t *testing.T) {
	t.Helper()
	for _, lost := range w.failures() {
		t.Errorf("O9: %s", lost)
	}
}

// start watches over paths that are there in all replicas.
func (w *watcher) start(paths []string) {
	w.paths = paths
	for i := range w.replicas {
		w.running.Go(func() { w.run(i) })
	}
}

func (w *watcher) end() {
	w.stopped.Do(func() { close(w.stop) })
	w.running.Wait()
}

func (w *watcher) run(replica int) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		w.mu[replica].Lock()
		w.look(w.replicas[replica], turn)
		w.mu[replica].Unlock()
	}
}

// look stats all paths and finds one, in turn, in the listing of its directory.
func (w *watcher) look(r replica, turn int) {
	for _, path := range w.paths {
		if _, err := os.Lstat(filepath.Join(r.root, path)); err != nil {
			w.note(fmt.Sprintf("in %s: %v", r.name, err))
		}
	}
	path := w.paths[turn%len(w.paths)]
	if !lists(filepath.Join(r.root, filepath.Dir(path)), filepath.Base(path)) {
		w.note(fmt.Sprintf("in %s: %s is not listed", r.name, path))
	}
}

func (w *watcher) note(lost string) {
	w.lost.Lock()
	defer w.lost.Unlock()
	if len(w.found) < 10 {
		w.found = append(w.found, lost)
	}
}

// failures returns what was seen to vanish since it was asked last.
func (w *watcher) failures() (out []string) {
	w.lost.Lock()
	defer w.lost.Unlock()
	out, w.found = w.found, nil
	return out
}
