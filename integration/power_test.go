package integration

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/tree"
)

func TestPowerIsCutOnADriveWhoseDirectoryIsOnAnotherDisk(t *testing.T) {
	t.Parallel()
	powerCuts(t, newImage(t, 256), "")
}

func TestPowerIsCutOnADriveAndItsDirectory(t *testing.T) {
	t.Parallel()
	m := newImage(t, 256)
	dir := filepath.Join(m.at, "dir")
	must(t, os.Mkdir(dir, 0o755))
	powerCuts(t, m, dir)
}

// powerCuts works on a drive whose state is on an image, takes the power away in the midst of it, and looks, again and again,
// that what was synced is there, that nothing else than what was written is, and that both sides come together.
func powerCuts(t *testing.T, m *image, dir string) {
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := newFixture(t, dir)
	f.Home = filepath.Join(m.at, "home")
	library := makeLibrary(t, f.behind("library"), rnd)
	sh(t, "/", "sync", "-f", f.dir)
	f.mount()
	var cut atomic.Bool
	var workers []*powerModel
	for i := range uint64(2) {
		root := f.path(fmt.Sprintf("worker%d", i))
		must(t, os.Mkdir(root, 0o755))
		must(t, syncPath(f.at))
		workers = append(workers, newPowerModel(root, rand.New(rand.NewPCG(seed, i+1)), &cut))
	}
	for round := range 5 * soak(t) {
		f.cutDuringWork(m, workers, library, time.Duration(50+rnd.Int64N(1200))*time.Millisecond)
		m.mount()
		f.mount()
		checkDrive(t, f, round, workers, library)
		f.settledBesideTrash()
		checkDrive(t, f, round, workers, library)
	}
	f.do("doctor")
}

// settledBesideTrash is settled where the directory has the drive's trash in it, as no other place on its disk can.
func (f *fixture) settledBesideTrash() {
	f.t.Helper()
	f.sync()
	diffs, err := tree.Compare(f.dir, f.at, 10_000)
	must(f.t, err)
	diffs = slices.DeleteFunc(diffs, func(d string) bool { return strings.HasPrefix(d, `".vdfs`) })
	if len(diffs) > 0 {
		f.t.Fatalf("%s and %s differ:\n%s", f.dir, f.at, strings.Join(diffs, "\n"))
	}
}

// checkDrive looks at all that is in the drive.
func checkDrive(t *testing.T, f *fixture, round int, workers []*powerModel, library map[string][]byte) {
	t.Helper()
	for _, w := range workers {
		if err := w.check(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	for name, text := range library {
		if !bytes.Equal([]byte(read(t, f.path("library", name))), text) {
			t.Fatalf("round %d: library/%s is not what the directory has", round, name)
		}
	}
}

// makeLibrary fills a directory with files that nobody changes.
func makeLibrary(t *testing.T, dir string, rnd *rand.Rand) map[string][]byte {
	t.Helper()
	must(t, os.Mkdir(dir, 0o755))
	library := map[string][]byte{}
	for i := range 12 {
		name := fmt.Sprintf("book%d", i)
		library[name] = someBytes(rnd, 1+rnd.IntN(300_000))
		must(t, os.WriteFile(filepath.Join(dir, name), library[name], 0o644))
	}
	return library
}

// cutDuringWork lets the workers loose, cuts the power after a while, and ends the daemon, which the cut leaves behind. The image
// is not mounted afterwards.
func (f *fixture) cutDuringWork(m *image, workers []*powerModel, library map[string][]byte, after time.Duration) {
	f.t.Helper()
	workers[0].cut.Store(false)
	failures := make(chan error, len(workers)+1)
	var running sync.WaitGroup
	for _, w := range workers {
		running.Go(func() { failures <- w.work() })
	}
	running.Go(func() { failures <- f.readAll(library, workers[0].cut) })
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case err := <-failures:
		f.t.Fatalf("an operation failed before the power was cut: %v", err)
	}
	workers[0].cut.Store(true) // what is acknowledged from here on is not counted
	m.cut()
	must(f.t, f.Kill())
	running.Wait()
	for range cap(failures) {
		if err := <-failures; err != nil {
			f.t.Fatal(err)
		}
	}
	for _, w := range workers {
		w.closeAll()
	}
	// What was passed to the dead mount keeps its disk in use for as long as that is there.
	if err := unix.Unmount(f.at, unix.MNT_DETACH); !errors.Is(err, unix.EINVAL) { // the daemon's guard may have been faster
		must(f.t, err)
	}
	must(f.t, m.unmount())
}

// readAll reads files of the library until the power is cut.
func (f *fixture) readAll(library map[string][]byte, cut *atomic.Bool) error {
	for {
		for name, text := range library {
			got, err := os.ReadFile(f.path("library", name))
			if cut.Load() {
				return nil
			}
			if err != nil {
				return err
			}
			if !bytes.Equal(got, text) {
				return fmt.Errorf("library/%s is not what the directory has", name)
			}
		}
	}
}

// syncPath makes a file or directory durable as a program does.
func syncPath(path string) error {
	h, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(h.Sync(), h.Close())
}

// someBytes are random and never zero, so that zeros in a file are not of its making.
func someBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + rnd.IntN(255))
	}
	return b
}

// powerFile is a file of a powerModel, under whatever name.
type powerFile struct {
	versions [][]byte // what it held, since it was last durable for certain; the last one may be under way
	base     int      // which of them is durable for certain; -1: none
	over     []placed // when it took the place of another file
}

// placed says that from a step on a version is to be durable, because the file replaced another there.
type placed struct{ step, version int }

func (p *powerFile) last() []byte { return p.versions[len(p.versions)-1] }

// change is a step: a name gets a file, or loses it.
type change struct {
	name string
	file *powerFile // nil: removed
}

// powerModel knows what one worker has done in its directory, which of it has to survive a power cut, and what may.
// Names survive in the order in which they changed, up to any step after the last that was synced. Of a file every byte
// is one that it had there since it was last synced.
type powerModel struct {
	root   string
	rnd    *rand.Rand
	cut    *atomic.Bool
	before map[string]*powerFile // the names before steps
	steps  [][]change            // the last one may be under way
	synced int                   // as many of them are durable
	now    map[string]*powerFile // the names after all steps
	logs   map[*powerFile]*os.File
	serial int
	told   []string
}

func newPowerModel(root string, rnd *rand.Rand, cut *atomic.Bool) *powerModel {
	return &powerModel{
		root: root, rnd: rnd, cut: cut, before: map[string]*powerFile{}, now: map[string]*powerFile{}, logs: map[*powerFile]*os.File{},
	}
}

func (m *powerModel) path(name string) string { return filepath.Join(m.root, name) }

// work goes on until the power is cut. An error from before is one.
func (m *powerModel) work() error {
	for {
		err := m.step()
		if m.cut.Load() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w after\n%s", m.root, err, m.story())
		}
	}
}

// story is what was done last.
func (m *powerModel) story() string {
	return strings.Join(m.told[max(0, len(m.told)-60):], "\n")
}

func (m *powerModel) tell(format string, args ...any) {
	m.told = append(m.told, fmt.Sprintf("%d: ", len(m.steps))+fmt.Sprintf(format, args...))
}

// begin notes a step that is about to be made.
func (m *powerModel) begin(changes ...change) {
	m.steps = append(m.steps, changes)
	apply(m.now, changes)
}

func apply(names map[string]*powerFile, changes []change) {
	for _, c := range changes {
		if c.file == nil {
			delete(names, c.name)
		} else {
			names[c.name] = c.file
		}
	}
}

func (m *powerModel) step() error {
	names := slices.Sorted(maps.Keys(m.now))
	if len(names) < 5 {
		return m.create()
	}
	name := names[m.rnd.IntN(len(names))]
	n := m.rnd.IntN(100)
	if len(names) > 30 && n < 20 {
		return m.remove(name)
	}
	switch {
	case n < 20:
		return m.create()
	case n < 38:
		return m.append(name)
	case n < 48:
		return m.overwrite(name)
	case n < 58:
		return m.syncFile(name)
	case n < 63:
		return m.syncNames()
	case n < 73:
		return m.rename(name)
	case n < 88:
		return m.save(name)
	case n < 94:
		return m.rewrite(name)
	default:
		return m.remove(name)
	}
}

func (m *powerModel) fresh() string {
	m.serial++
	return fmt.Sprintf("f%05d", m.serial)
}

// size is that of a piece to write: often a part of a block, sometimes many.
func (m *powerModel) size() int {
	if m.rnd.IntN(3) == 0 {
		return 1 + m.rnd.IntN(60_000)
	}
	return 1 + m.rnd.IntN(3_000)
}

// create makes a file; some stay open, as logs do.
func (m *powerModel) create() error {
	name := m.fresh()
	m.tell("create %s", name)
	p := &powerFile{versions: [][]byte{nil}, base: -1}
	m.begin(change{name, p})
	h, err := os.OpenFile(m.path(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if m.rnd.IntN(3) == 0 {
		m.logs[p] = h
		return m.writeTo(p, h, m.size())
	}
	return errors.Join(m.writeTo(p, h, m.size()), h.Close())
}

func (m *powerModel) writeTo(p *powerFile, h *os.File, n int) error {
	add := someBytes(m.rnd, n)
	off := int64(len(p.last()))
	p.versions = append(p.versions, append(bytes.Clone(p.last()), add...))
	_, err := h.WriteAt(add, off)
	return err
}

// opened is the handle a file has, or one for a moment.
func (m *powerModel) opened(name string, use func(*os.File) error) error {
	if h := m.logs[m.now[name]]; h != nil {
		return use(h)
	}
	h, err := os.OpenFile(m.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(use(h), h.Close())
}

func (m *powerModel) append(name string) error {
	n := m.size()
	m.tell("append %d to %s", n, name)
	return m.opened(name, func(h *os.File) error { return m.writeTo(m.now[name], h, n) })
}

// overwrite changes bytes in place.
func (m *powerModel) overwrite(name string) error {
	p := m.now[name]
	if len(p.last()) == 0 {
		return nil
	}
	off := m.rnd.IntN(len(p.last()))
	part := someBytes(m.rnd, 1+m.rnd.IntN(len(p.last())-off))
	m.tell("overwrite %d at %d in %s", len(part), off, name)
	next := bytes.Clone(p.last())
	copy(next[off:], part)
	p.versions = append(p.versions, next)
	return m.opened(name, func(h *os.File) error {
		_, err := h.WriteAt(part, int64(off))
		return err
	})
}

// rewrite gives a file new bytes as a program does that does not care.
func (m *powerModel) rewrite(name string) error {
	m.tell("rewrite %s", name)
	p := m.now[name]
	p.versions = append(p.versions, nil)
	h, err := os.OpenFile(m.path(name), os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	return errors.Join(m.writeTo(p, h, m.size()), h.Close())
}

func (m *powerModel) syncFile(name string) error {
	m.tell("sync %s", name)
	if err := m.opened(name, (*os.File).Sync); err != nil {
		return err
	}
	m.durable()
	if !m.cut.Load() {
		p := m.now[name]
		p.base = len(p.versions) - 1
	}
	return nil
}

func (m *powerModel) syncNames() error {
	m.tell("sync names")
	err := syncPath(m.root)
	m.durable()
	return err
}

// durable notes that all steps so far are, if the power was on when that was acknowledged.
func (m *powerModel) durable() {
	if !m.cut.Load() {
		m.synced = len(m.steps)
	}
}

func (m *powerModel) rename(name string) error {
	to := m.fresh()
	m.tell("rename %s to %s", name, to)
	m.begin(change{name, nil}, change{to, m.now[name]})
	return os.Rename(m.path(name), m.path(to))
}

// save replaces a file as editors do; half of them sync the new bytes first.
func (m *powerModel) save(name string) error {
	temp := m.fresh()
	p := &powerFile{versions: [][]byte{nil}, base: -1}
	m.tell("save %s by %s", name, temp)
	m.begin(change{temp, p})
	h, err := os.OpenFile(m.path(temp), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(m.writeTo(p, h, m.size()), h.Close()); err != nil {
		return err
	}
	if m.rnd.IntN(2) == 0 {
		if err := m.syncFile(temp); err != nil {
			return err
		}
	}
	m.begin(change{temp, nil}, change{name, p})
	p.over = append(p.over, placed{len(m.steps), len(p.versions) - 1})
	return os.Rename(m.path(temp), m.path(name))
}

func (m *powerModel) remove(name string) error {
	m.tell("remove %s", name)
	m.begin(change{name, nil})
	return os.Remove(m.path(name))
}

// closeAll gives the handles back that a dead daemon left.
func (m *powerModel) closeAll() {
	for p, h := range m.logs {
		_ = h.Close() // the daemon that it is of is dead
		delete(m.logs, p)
	}
}

// check compares the directory with what may have survived, and goes on from what has.
func (m *powerModel) check() error {
	found := map[string][]byte{}
	entries, err := os.ReadDir(m.root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if found[e.Name()], err = os.ReadFile(m.path(e.Name())); err != nil {
			return err
		}
	}
	names := maps.Clone(m.before)
	var wrong error = errors.New("no names of any time after the last sync")
	for step := 0; step <= len(m.steps); step++ {
		if step > 0 {
			apply(names, m.steps[step-1])
		}
		if step < m.synced || !sameNames(names, found) {
			continue
		}
		if wrong = m.fits(names, found, step); wrong == nil {
			m.adopt(names, found)
			return nil
		}
	}
	return fmt.Errorf("%s: %w: %w\nfound %v\nlast %v, %d of %d steps synced\n%s", m.root, errModel, wrong,
		slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(m.now)), m.synced, len(m.steps), m.story())
}

func sameNames(want map[string]*powerFile, found map[string][]byte) bool {
	for name := range want {
		if _, ok := found[name]; !ok {
			return false
		}
	}
	return len(want) == len(found)
}

func (m *powerModel) fits(names map[string]*powerFile, found map[string][]byte, step int) error {
	for name, p := range names {
		if err := p.mayBe(found[name], step); err != nil {
			return fmt.Errorf("%s after step %d: %w", name, step, err)
		}
	}
	return nil
}

// mayBe tells whether a file can hold these bytes after a cut that kept the names up to a step.
func (p *powerFile) mayBe(got []byte, step int) error {
	base := p.base
	for _, o := range p.over {
		if o.step <= step {
			base = max(base, o.version)
		}
	}
	shortest := 0
	since := p.versions[max(base, 0):]
	if base >= 0 {
		shortest = len(since[0])
		for _, v := range since {
			shortest = min(shortest, len(v))
		}
	}
	if len(got) < shortest {
		return fmt.Errorf("%d bytes, %d were synced", len(got), shortest)
	}
	for i, b := range got {
		if !slices.ContainsFunc(since, func(v []byte) bool { return i < len(v) && v[i] == b }) {
			return fmt.Errorf("byte %d of %d is %d, which was never written there since %d bytes were synced", i, len(got), b, shortest)
		}
	}
	return nil
}

// adopt goes on from what has survived.
func (m *powerModel) adopt(names map[string]*powerFile, found map[string][]byte) {
	m.before, m.now, m.steps, m.synced, m.told = map[string]*powerFile{}, map[string]*powerFile{}, nil, 0, nil
	for name := range names {
		m.before[name] = &powerFile{versions: [][]byte{found[name]}}
	}
	m.now = maps.Clone(m.before)
}
