package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// TestRandomInputAndOutput does random operations on a few files, through many handles, and demands after each that the
// drive holds what a model in memory holds. Meanwhile files are sent, offloaded, fetched and changed in the directory.
func TestRandomInputAndOutput(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	rounds := 15
	if soak(t) > 1 {
		rounds = 50
	}
	// Most of the time it waits until a file that lost a descriptor and not its last is known to be open: so many are done
	// at once, whatever other tests may.
	var parts errgroup.Group
	parts.SetLimit(10)
	for part := range soak(t) {
		parts.Go(func() error {
			t.Run(fmt.Sprint(part), func(t *testing.T) {
				x := newFsx(t, seed+uint64(part))
				for range rounds {
					x.burst(1000)
					x.elsewhere()
				}
				x.finish()
			})
			return nil
		})
	}
	must(t, parts.Wait())
}

// The test is only as good as its model: a plain directory has to agree with it.
func TestRandomInputAndOutputOnAPlainDirectory(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	x := &fsx{t: t, dir: t.TempDir(), seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), names: map[string]*fsxFile{}}
	for range 10 {
		x.burst(1000)
	}
	x.compare(x.dir)
	x.closeAll()
}

// fsx is the model of a directory with files and handles.
type fsx struct {
	t     *testing.T
	drive *fixture // nil: a plain directory
	dir   string
	seed  uint64
	rnd   *rand.Rand
	// outer decides what happens outside of the bursts: that depends on what the drive has got done, so a seed of its own
	// keeps the operations of a burst the same.
	outer *rand.Rand

	names   map[string]*fsxFile
	handles []*fsxHandle
	now     []string // names that the present burst works on
	told    []string // what was done, for the message of a failure
}

// fsxFile is what one inode holds. It may have several names, or none and handles only.
type fsxFile struct {
	data []byte
	away bool // some of its bytes may be elsewhere
}

// fsxHandle is an open file.
type fsxHandle struct {
	*os.File
	of    *fsxFile
	flags int
}

// name is what the file was called when it was opened.
func (h *fsxHandle) name() string  { return filepath.Base(h.Name()) }
func (h *fsxHandle) reads() bool   { return h.flags&unix.O_ACCMODE != unix.O_WRONLY }
func (h *fsxHandle) writes() bool  { return h.flags&unix.O_ACCMODE != unix.O_RDONLY }
func (h *fsxHandle) appends() bool { return h.flags&unix.O_APPEND != 0 }

const (
	fsxNames   = 16
	fsxHandles = 10
	// fsxMax bounds a file's size; what is truncated or allocated beyond is cut.
	fsxMax = 300_000
	// fsxTold is how many operations at least a failure tells of.
	fsxTold = 60
)

func newFsx(t *testing.T, seed uint64) *fsx {
	f := mounted(t, "")
	x := &fsx{
		t: t, drive: f, dir: f.at, seed: seed, names: map[string]*fsxFile{},
		rnd: rand.New(rand.NewPCG(seed, 0)), outer: rand.New(rand.NewPCG(seed, 1)),
	}
	t.Cleanup(x.closeAll) // before the drive is unmounted
	return x
}

func (x *fsx) path(name string) string { return filepath.Join(x.dir, name) }

// say notes an operation before it is done.
func (x *fsx) say(format string, args ...any) {
	x.told = append(x.told, fmt.Sprintf(format, args...))
	if len(x.told) > 2*fsxTold {
		x.told = slices.Clone(x.told[fsxTold:])
	}
}

// fail ends the test with what led to it.
func (x *fsx) fail(format string, args ...any) {
	x.t.Helper()
	x.t.Fatalf("seed %d: %s\nafter:\n%s", x.seed, fmt.Sprintf(format, args...), strings.Join(x.told, "\n"))
}

func (x *fsx) must(err error) {
	x.t.Helper()
	if err != nil {
		x.fail("%v", err)
	}
}

// burst works on a few names, so that the others come to rest and are sent.
func (x *fsx) burst(steps int) {
	x.now = x.now[:0]
	for range 4 {
		x.now = append(x.now, fmt.Sprintf("f%02d", x.rnd.IntN(fsxNames)))
	}
	for range steps {
		x.step()
	}
}

// elsewhere is what the drive and the directory do to files that nobody writes to.
func (x *fsx) elsewhere() {
	names := slices.Sorted(maps.Keys(x.names))
	if len(names) == 0 {
		return
	}
	for i, info := range x.drive.info(names...) {
		if info.Sync != "synced" || !x.mayChange(x.names[names[i]]) {
			continue
		}
		switch n := x.outer.IntN(10); {
		case n < 3:
			x.offload(names[i])
		case n < 4:
			x.say("fetch %s", names[i])
			x.drive.do("fetch", "--wait", x.path(names[i]))
		case n < 6:
			x.changeBehind(names[i])
		case n < 7:
			x.removeBehind(names[i])
		}
	}
	if x.outer.IntN(10) == 0 {
		x.remount()
	}
}

// mayChange tells whether a file may get other bytes from elsewhere: nobody has it open, or only readers, who keep what
// they opened, provided that all of it is here.
func (x *fsx) mayChange(of *fsxFile) bool {
	return !slices.ContainsFunc(x.handles, func(h *fsxHandle) bool { return h.of == of && (h.writes() || of.away) })
}

// opened tells whether somebody has a file open.
func (x *fsx) opened(of *fsxFile) bool {
	return slices.ContainsFunc(x.handles, func(h *fsxHandle) bool { return h.of == of })
}

// offload drops the bytes of a file, unless the drive has a reason not to: a hard link with another name may be waiting
// to be sent.
func (x *fsx) offload(name string) {
	x.say("offload %s", name)
	r := x.drive.run("offload", x.path(name))
	if r.Code != 0 && r.Code != 3 {
		x.fail("%s", r)
	}
	x.names[name].away = true
}

// changeBehind replaces a file in the directory. Until the drive shows it, it shows the old one, never anything else.
func (x *fsx) changeBehind(name string) {
	old, of := x.names[name].data, &fsxFile{data: x.bytes(x.outer, x.outer.IntN(fsxMax)), away: true}
	x.say("replace %s behind the drive: %d bytes", name, len(of.data))
	aside := filepath.Join(x.t.TempDir(), name)
	x.must(os.WriteFile(aside, of.data, 0o644))
	x.must(os.Rename(aside, x.drive.behind(name)))
	eventually(x.t, name+" is replaced", func() bool {
		got, err := os.ReadFile(x.path(name))
		if errors.Is(err, unix.EIO) {
			return false // nobody has the bytes of the old version any more
		}
		x.must(err)
		if bytes.Equal(got, of.data) {
			return true
		}
		if !bytes.Equal(got, old) {
			x.fail("%s holds neither the old nor the new bytes: %s", name, differ(got, of.data))
		}
		return false
	})
	if !x.opened(x.names[name]) && len(x.namesOf(x.names[name])) == 1 {
		*x.names[name] = *of
	} else {
		x.names[name] = of // handles keep the old one, and so do other names: the endpoint knows no hard links
	}
}

func (x *fsx) removeBehind(name string) {
	x.say("remove %s behind the drive", name)
	x.must(os.Remove(x.drive.behind(name)))
	eventually(x.t, name+" is gone", func() bool {
		_, err := os.Lstat(x.path(name))
		return errors.Is(err, fs.ErrNotExist)
	})
	delete(x.names, name)
}

func (x *fsx) namesOf(of *fsxFile) (names []string) {
	for name, f := range x.names {
		if f == of {
			names = append(names, name)
		}
	}
	return names
}

// remount ends the daemon and starts another.
func (x *fsx) remount() {
	x.closeAll()
	x.say("mount again")
	x.drive.do("unmount", x.dir)
	x.drive.mount()
}

func (x *fsx) closeAll() {
	for len(x.handles) > 0 {
		x.close(0)
	}
}

// finish demands that drive, model and directory agree in the end.
func (x *fsx) finish() {
	x.compare(x.dir)
	x.closeAll()
	x.drive.settled()
	x.compare(x.dir)
	x.compare(x.drive.dir)
	x.drive.do("doctor")
}

// compare demands that a directory holds what the model holds, and nothing else.
func (x *fsx) compare(dir string) {
	x.t.Helper()
	entries, err := os.ReadDir(dir)
	x.must(err)
	var there []string
	for _, e := range entries {
		there = append(there, e.Name())
	}
	if want := slices.Sorted(maps.Keys(x.names)); !slices.Equal(there, want) {
		x.fail("%s has %q, want %q", dir, there, want)
	}
	for name, of := range x.names {
		got, err := os.ReadFile(filepath.Join(dir, name))
		x.must(err)
		if !bytes.Equal(got, of.data) {
			x.fail("%s in %s: %s", name, dir, differ(got, of.data))
		}
	}
}

// differ tells where two contents part.
func differ(got, want []byte) string {
	n := min(len(got), len(want))
	at := 0
	for at < n && got[at] == want[at] {
		at++
	}
	return fmt.Sprintf("%d bytes instead of %d, other from %d on: %.20x instead of %.20x", len(got), len(want), at, got[at:], want[at:])
}
