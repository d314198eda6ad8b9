package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/tree"
)

// Random traces of two drives on one directory. A pair of drives carries many traces at once, each in a directory of its own;
// what happens to the drives themselves happens to all of them.
const (
	tracePairs    = 4
	tracesPerPair = 25
	traceBursts   = 3
	traceSteps    = 12 // in a burst, at most
	traceDepth    = 4
)

var traceNames = []string{"a", "b", "c", "d", "e", "f"}

// TestRandomTraces has people and programs change the same few names in two drives and in their directory, while drives are
// cut off, killed and mounted again, their clocks are set, and the directory is moved away or full; then all has to agree, and
// nothing may be lost.
func TestRandomTraces(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	for i := range tracePairs {
		t.Run(fmt.Sprintf("pair %d", i), func(t *testing.T) {
			t.Parallel()
			run := newTraceRun(t, seed, i)
			for range traceBursts * soak(t) {
				run.burst()
			}
		})
	}
}

// traceRun is a pair with the traces that it carries.
type traceRun struct {
	*pair
	seed   uint64
	rnd    *rand.Rand
	disk   string // a file system of its own that the directory is on; "": there is none
	traces []*trace
}

func newTraceRun(t *testing.T, seed uint64, i int) *traceRun {
	t.Helper()
	r := &traceRun{seed: seed, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
	dir := filepath.Join(t.TempDir(), "dir")
	if i >= tracePairs/2 && os.Geteuid() == 0 {
		r.disk = tinyDisk(t)
		dir = filepath.Join(r.disk, "dir")
	}
	must(t, os.Mkdir(dir, 0o755))
	r.pair = newPair(t, []string{"synchronize", "offload"}[i%2], dir)
	if r.disk != "" {
		r.own = []string{".vdfs"} // what is on another disk than the drives' own cannot be moved there
	}
	for _, f := range r.drives() {
		f.canJump()
	}
	steady := []string{"steady/file", "steady/dir/file"}
	must(t, os.MkdirAll(r.a.path("steady/dir"), 0o755))
	for _, name := range steady {
		write(t, r.a.path(name), "steady")
	}
	for n := range tracesPerPair {
		tr := newTrace(fmt.Sprintf("trace %d", i*tracesPerPair+n), rand.New(rand.NewPCG(seed, uint64(1000+i*tracesPerPair+n))))
		r.traces = append(r.traces, tr)
		must(t, os.Mkdir(r.a.path(tr.name), 0o755))
		write(t, r.a.path(tr.name, "steady"), "steady")
		steady = append(steady, tr.name+"/steady")
	}
	r.settle(r.drives()...)
	r.watch.start(steady)
	t.Cleanup(r.explain) // while the drives are still there
	return r
}

// explain tells of a run that failed the traces in which the replicas are not equal.
func (r *traceRun) explain() {
	if !r.t.Failed() {
		return
	}
	for _, tr := range r.traces {
		var diffs []string
		for _, f := range r.drives() {
			some, err := tree.Compare(filepath.Join(r.dir, tr.name), f.path(tr.name), 20)
			if err != nil {
				some = append(some, err.Error())
			}
			diffs = append(diffs, some...)
		}
		if len(diffs) > 0 {
			r.t.Logf("%s, seed %d:\n%s\nthe directory and a drive differ:\n%s", tr.name, r.seed, strings.Join(tr.log, "\n"), strings.Join(diffs, "\n"))
		}
	}
}

// tinyDisk mounts a file system that is soon full.
func tinyDisk(t *testing.T) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "disk")
	must(t, os.Mkdir(at, 0o755))
	must(t, unix.Mount("tmpfs", at, "tmpfs", 0, "size=64m,mode=755"))
	t.Cleanup(func() { must(t, unmountIdle(t, at)) })
	return at
}

// note tells all traces what happens to their drives.
func (r *traceRun) note(format string, args ...any) {
	for _, tr := range r.traces {
		tr.note(format, args...)
	}
}

// burst has all replicas change while they cannot agree, brings them together through whatever disturbs that, and checks.
func (r *traceRun) burst() {
	r.t.Helper()
	for _, tr := range r.traces {
		tr.begin()
	}
	first, second := r.a, r.b
	if r.rnd.IntN(2) == 0 {
		first, second = second, first
	}
	switch r.rnd.IntN(4) {
	case 0: // nobody writes to the directory but the one who is on
		r.note("%s is off", r.device(second))
		r.off(second)
		r.act("A", "B")
	case 1:
		r.note("the directory is away")
		r.without("H", func() {
			r.moveAway()
			r.act("A", "B")
			r.off(second) // not in the middle of something that the other one would have to wait for
			r.moveBack()
		})
	default:
		r.note("both are off")
		r.off(first, second)
		r.act("A", "B", "H")
	}
	for _, tr := range r.traces {
		tr.seeMissing()
	}
	r.note("%s is on", r.device(first))
	r.on(first)
	r.disturb(first)
	r.settle(first)
	r.note("%s is on", r.device(second))
	r.on(second)
	r.disturb(second)
	r.settle(r.drives()...)
	r.converged()
	for _, tr := range r.traces {
		r.check(tr)
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

func (r *traceRun) device(f *fixture) string {
	if f == r.b {
		return "B"
	}
	return "A"
}

func (r *traceRun) moveAway() { must(r.t, os.Rename(r.dir, r.dir+".away")) }

func (r *traceRun) moveBack() { must(r.t, os.Rename(r.dir+".away", r.dir)) }

// act has each trace do some steps in replicas.
func (r *traceRun) act(names ...string) {
	r.t.Helper()
	for _, tr := range r.traces {
		if r.rnd.IntN(12) == 0 {
			r.jump(r.drives()[r.rnd.IntN(2)])
		}
		for range 1 + r.rnd.IntN(traceSteps) {
			tr.step(r.t, r.replica(names[tr.rnd.IntN(len(names))]))
		}
	}
	if f := r.drives()[r.rnd.IntN(2)]; r.rnd.IntN(3) == 0 {
		r.killed(f, "")
	}
}

// killed kills a drive, and has its clock be another one when it comes back, now and then.
func (r *traceRun) killed(f *fixture, when string) {
	r.t.Helper()
	r.note("%s is killed%s", r.device(f), when)
	r.kill(f, func() {
		if r.rnd.IntN(3) == 0 {
			r.jump(f)
		}
	})
}

// jump sets the clocks of a drive's machine: days or minutes back, days ahead, or right.
func (r *traceRun) jump(f *fixture) {
	r.t.Helper()
	off := time.Duration(0)
	switch r.rnd.IntN(4) {
	case 0:
		off = -time.Duration(r.rnd.Int64N(int64(72 * time.Hour)))
	case 1:
		off = -time.Duration(r.rnd.Int64N(int64(20 * time.Minute)))
	case 2:
		off = time.Duration(r.rnd.Int64N(int64(40 * 24 * time.Hour)))
	}
	r.note("the clock of %s is off by %v", r.device(f), off)
	f.setClock(off)
}

func (r *traceRun) replica(name string) replica {
	all := r.replicas()
	return all[slices.IndexFunc(all, func(r replica) bool { return r.name == name })]
}

// disturb lets something happen to a drive that has begun to sync.
func (r *traceRun) disturb(f *fixture) {
	r.t.Helper()
	moment := func() { spin(time.Duration(r.rnd.Int64N(60_000)) * time.Microsecond) }
	switch r.rnd.IntN(6) {
	case 0, 1:
		for range 1 + r.rnd.IntN(2) {
			moment()
			r.killed(f, " at work")
		}
	case 4:
		for range 1 + r.rnd.IntN(3) {
			moment()
			r.jump(f)
		}
	case 2:
		r.note("the directory is away for a moment")
		r.without("H", func() {
			moment()
			r.moveAway()
			moment()
			r.moveBack()
		})
	case 3:
		if r.disk != "" {
			r.note("the disk is full")
			r.full(func() { f.run("sync", "--wait", "--timeout", "20s") }) // whatever it comes to
		}
	}
}

// full does something while there is no room on the directory's disk.
func (r *traceRun) full(do func()) {
	r.t.Helper()
	filler := fillUp(r.t, r.disk)
	do()
	must(r.t, os.Remove(filler))
}

// check compares what became of a trace with what was done in it.
func (r *traceRun) check(tr *trace) {
	r.t.Helper()
	wrong := tr.judge(readTrace(r.t, filepath.Join(r.dir, tr.name)))
	r.t.Run(tr.name, func(t *testing.T) {
		r.same(t, tr.name)
		for _, w := range wrong {
			t.Error(w)
		}
		if t.Failed() {
			t.Logf("seed %d\n%s\nat the end: %v", r.seed, strings.Join(tr.log, "\n"), tr.agreed)
		}
	})
}

// traceItem is what is under a name: a file with its text, a symlink with its target, or a directory.
type traceItem struct {
	kind fs.FileMode
	text string
}

func (x traceItem) String() string {
	if x.kind == fs.ModeDir {
		return "/"
	}
	return fmt.Sprintf("%v%q", x.kind, x.text)
}

// traceTree is a replica's tree of a trace, by slash path.
type traceTree map[string]traceItem

// contents are the texts and targets in a tree.
func (t traceTree) contents() map[string]bool {
	out := map[string]bool{}
	for _, x := range t {
		if x.kind != fs.ModeDir {
			out[x.text] = true
		}
	}
	return out
}

// conflicts counts the conflict files.
func (t traceTree) conflicts() (n int) {
	for name := range t {
		if conflictMark.MatchString(path.Base(name)) {
			n++
		}
	}
	return n
}

// readTrace reads the tree of a trace, but for what nothing happens to.
func readTrace(t *testing.T, root string) traceTree {
	t.Helper()
	out := traceTree{}
	eachIn(t, root, func(name, path string, d fs.DirEntry) {
		x := traceItem{kind: d.Type()}
		switch x.kind {
		case 0:
			x.text = read(t, path)
		case fs.ModeSymlink:
			var err error
			x.text, err = os.Readlink(path)
			must(t, err)
		}
		out[name] = x
	})
	return out
}

// trace is one random history: what was done, and the account of contents that has to hold for it. Every content is one of its
// own, but for a few that several replicas come to write.
type trace struct {
	name string
	rnd  *rand.Rand
	n    int
	log  []string
	// agreed is what all replicas had at the end of the burst before, trees what each has now: nothing but the trace changes
	// them while it acts.
	agreed traceTree
	trees  map[string]traceTree
	actors map[string]bool
	// written are all contents ever written, removed those that somebody overwrote or removed who had seen them, shared those
	// that were written more than once.
	written, removed, shared map[string]bool
	// missing are agreed contents that some replica had no more before the replicas met.
	missing map[string]bool
}

func newTrace(name string, rnd *rand.Rand) *trace {
	return &trace{
		name: name, rnd: rnd, agreed: traceTree{}, written: map[string]bool{}, removed: map[string]bool{}, shared: map[string]bool{},
	}
}

func (tr *trace) note(format string, args ...any) {
	tr.log = append(tr.log, fmt.Sprintf(format, args...))
}

// begin starts a burst from what was agreed on.
func (tr *trace) begin() {
	tr.note("---")
	tr.trees, tr.actors, tr.missing = map[string]traceTree{}, map[string]bool{}, map[string]bool{}
	for _, name := range []string{"A", "B", "H"} {
		tr.trees[name] = maps.Clone(tr.agreed)
	}
}

// seeMissing notes what somebody has removed, or put something else in the place of, who had seen it.
func (tr *trace) seeMissing() {
	for _, tree := range tr.trees {
		have := tree.contents()
		for text := range tr.agreed.contents() {
			if !have[text] && !tr.shared[text] {
				tr.missing[text] = true
			}
		}
	}
}

// judge holds the outcome of a burst against O2 to O5 and O8, and takes it over.
func (tr *trace) judge(final traceTree) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	is := final.contents()
	for text := range tr.written {
		if !tr.removed[text] && !is[text] {
			complain("O2: %q is lost", text)
		}
	}
	for text := range is {
		if !tr.written[text] {
			complain("O3: nobody wrote %q", text)
		}
	}
	for text := range tr.missing {
		if is[text] && !tr.shared[text] {
			complain("O4: %q is back", text)
		}
	}
	if before, after := tr.agreed.conflicts(), final.conflicts(); after > before && len(tr.actors) < 2 {
		complain("O5: %d conflict files where there were %d, with one side that did anything", after, before)
	}
	for name := range final {
		if base := path.Base(name); !slices.Contains(traceNames, base) && !conflictMark.MatchString(base) {
			complain("O8: %s", name)
		}
	}
	tr.agreed = final
	return wrong
}

// token is a content that nobody wrote before, or now and then one that others write, too.
func (tr *trace) token(who string) string {
	if tr.rnd.IntN(10) == 0 {
		return tr.wrote(fmt.Sprintf("same-%d", tr.rnd.IntN(2)))
	}
	tr.n++
	return tr.wrote(fmt.Sprintf("%s-%d %s", who, tr.n, strings.Repeat("x", 16)))
}

func (tr *trace) wrote(text string) string {
	if tr.written[text] {
		tr.shared[text] = true
	}
	tr.written[text] = true
	return text
}

// step does one random thing in a replica, if what it drew is possible there.
func (tr *trace) step(t *testing.T, r replica) {
	t.Helper()
	tree := tr.trees[r.name]
	h := traceHand{trace: tr, who: r.name, root: filepath.Join(r.root, tr.name), tree: tree}
	names := slices.Sorted(maps.Keys(tree))
	files := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return tree[name].kind != 0 })
	pick := func(from []string) string {
		if len(from) == 0 {
			return ""
		}
		return from[tr.rnd.IntN(len(from))]
	}
	anything, file, fresh := pick(names), pick(files), h.fresh()
	var did string
	var err error
	switch op := tr.rnd.IntN(18); {
	case op < 4 || anything == "":
		did, err = h.create(fresh)
	case op < 6:
		did, err = h.rename(anything, fresh)
	case op < 8:
		did, err = h.remove(anything)
	case op == 8:
		did, err = h.swap(anything, pick(names))
	case op == 12 && tree[anything].kind != fs.ModeSymlink:
		did, err = h.chmod(anything)
	case file == "":
	case op == 13:
		did, err = h.touch(file)
	case op == 14:
		did, err = h.again(file)
	case op == 9:
		did, err = h.append(file)
	case op == 10:
		did, err = h.truncate(file)
	case op == 11:
		did, err = h.save(file)
	default:
		did, err = h.write(file)
	}
	if err != nil {
		t.Fatalf("%s, %s: %s: %v\n%s", tr.name, r.name, did, err, strings.Join(tr.log, "\n"))
	}
	if did != "" {
		tr.actors[r.name] = true
		tr.note("%s: %s", r.name, did)
	}
}

// traceHand acts in one replica, and in the trace's picture of it. Each of its operations says what it did, "" that it cannot
// be done there.
type traceHand struct {
	*trace
	who, root string
	tree      traceTree
}

func (h traceHand) path(name string) string { return filepath.Join(h.root, name) }

// fresh is a name from the pool in some directory.
func (h traceHand) fresh() string {
	dirs := []string{""}
	for _, name := range slices.Sorted(maps.Keys(h.tree)) {
		if h.tree[name].kind == fs.ModeDir && strings.Count(name, "/") < traceDepth-1 {
			dirs = append(dirs, name)
		}
	}
	return path.Join(dirs[h.rnd.IntN(len(dirs))], traceNames[h.rnd.IntN(len(traceNames))])
}

// forget takes a name, and what is below it, out of the picture: whoever did that had seen it.
func (h traceHand) forget(name string) {
	for path, x := range h.tree {
		if within(path, name) {
			if x.kind != fs.ModeDir {
				h.removed[x.text] = true
			}
			delete(h.tree, path)
		}
	}
}

// within reports whether a path is a directory or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// relocate moves a name with all that is below it in the picture.
func (h traceHand) relocate(from, to string) {
	for path, x := range maps.Clone(h.tree) {
		if within(path, from) {
			delete(h.tree, path)
			h.tree[to+strings.TrimPrefix(path, from)] = x
		}
	}
}

func (h traceHand) create(name string) (string, error) {
	if _, taken := h.tree[name]; taken {
		return "", nil
	}
	switch h.rnd.IntN(6) {
	case 0, 1:
		h.tree[name] = traceItem{kind: fs.ModeDir}
		return "mkdir " + name, os.Mkdir(h.path(name), 0o755)
	case 2:
		target := h.token(h.who)
		h.tree[name] = traceItem{fs.ModeSymlink, target}
		return fmt.Sprintf("symlink %s %q", name, target), os.Symlink(target, h.path(name))
	}
	text := h.token(h.who)
	h.tree[name] = traceItem{text: text}
	return fmt.Sprintf("create %s %q", name, text), os.WriteFile(h.path(name), []byte(text), 0o644)
}

// put notes that a file holds another text.
func (h traceHand) put(name, text string) {
	if old := h.tree[name].text; old != text {
		h.removed[old] = true
	}
	h.tree[name] = traceItem{text: text}
}

func (h traceHand) write(name string) (string, error) {
	text := h.token(h.who)
	h.put(name, text)
	return fmt.Sprintf("write %s %q", name, text), os.WriteFile(h.path(name), []byte(text), 0o644)
}

// append and truncate need the bytes that a file has: where these are out of reach, nothing is done.
func (h traceHand) append(name string) (string, error) {
	h.n++
	more := fmt.Sprintf(" + %s-%d", h.who, h.n)
	f, err := os.OpenFile(h.path(name), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(more)
		err = errors.Join(err, f.Close())
	}
	if outOfReach(err) {
		return "", nil
	}
	h.put(name, h.wrote(h.tree[name].text+more))
	return fmt.Sprintf("append %s %q", name, more), err
}

func (h traceHand) truncate(name string) (string, error) {
	text := h.tree[name].text
	if len(text) < 12 {
		return "", nil
	}
	size := len(text) - 1 - h.rnd.IntN(5)
	err := os.Truncate(h.path(name), int64(size))
	if outOfReach(err) {
		return "", nil
	}
	h.put(name, h.wrote(text[:size]))
	return fmt.Sprintf("truncate %s %d", name, size), err
}

// outOfReach reports that bytes are needed which are not here, and that nobody can give now.
func outOfReach(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EIO)
}

// save replaces a file as most editors do.
func (h traceHand) save(name string) (string, error) {
	text := h.token(h.who)
	h.put(name, text)
	return fmt.Sprintf("save %s %q", name, text), replace(h.path(name), text)
}

func (h traceHand) remove(name string) (string, error) {
	h.forget(name)
	return "rm -r " + name, os.RemoveAll(h.path(name))
}

// rename moves a name, over another where a file system allows that.
func (h traceHand) rename(from, to string) (string, error) {
	if within(to, from) || within(from, to) || h.deep(from, to) {
		return "", nil
	}
	if old, taken := h.tree[to]; taken {
		if (old.kind == fs.ModeDir) != (h.tree[from].kind == fs.ModeDir) || h.below(to) {
			return "", nil
		}
		h.forget(to)
	}
	h.relocate(from, to)
	return fmt.Sprintf("mv %s %s", from, to), unix.Rename(h.path(from), h.path(to)) // os.Rename takes no directory's place
}

// deep reports whether something would come to lie too deep if from were moved to to.
func (h traceHand) deep(from, to string) bool {
	for path := range h.tree {
		if within(path, from) && strings.Count(to+strings.TrimPrefix(path, from), "/") >= traceDepth {
			return true
		}
	}
	return false
}

// below reports whether anything is in a directory.
func (h traceHand) below(name string) bool {
	for path := range h.tree {
		if path != name && within(path, name) {
			return true
		}
	}
	return false
}

func (h traceHand) swap(one, other string) (string, error) {
	if within(one, other) || within(other, one) || h.deep(one, other) || h.deep(other, one) {
		return "", nil
	}
	const aside = "on its way"
	h.relocate(one, aside)
	h.relocate(other, one)
	h.relocate(aside, other)
	err := unix.Renameat2(unix.AT_FDCWD, h.path(one), unix.AT_FDCWD, h.path(other), unix.RENAME_EXCHANGE)
	return fmt.Sprintf("swap %s %s", one, other), err
}

func (h traceHand) chmod(name string) (string, error) {
	mode := []fs.FileMode{0o700, 0o744, 0o755}[h.rnd.IntN(3)]
	return fmt.Sprintf("chmod %o %s", mode, name), os.Chmod(h.path(name), mode)
}

// touch sets a time, now and then one that others set, too, or one that no clock ever showed.
func (h traceHand) touch(name string) (string, error) {
	when := time.Unix(1_000_000_000+int64(h.rnd.IntN(1000)), 0)
	switch h.rnd.IntN(10) {
	case 0:
		when = when.AddDate(100, 0, 0)
	case 1:
		when = when.AddDate(-70, 0, 0)
	case 2:
		when = time.Unix(0, 0)
	}
	return fmt.Sprintf("touch %s %d", name, when.Unix()), os.Chtimes(h.path(name), when, when)
}

// again writes what a file holds already: whether that counts as a new content is not told.
func (h traceHand) again(name string) (string, error) {
	text := h.wrote(h.tree[name].text)
	return fmt.Sprintf("write %s again %q", name, text), os.WriteFile(h.path(name), []byte(text), 0o644)
}
