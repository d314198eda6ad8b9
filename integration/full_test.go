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
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fullDrive is a drive whose state is on a disk that can be filled up.
type fullDrive struct {
	*fixture
	disk  *image
	rnd   *rand.Rand
	files map[string][]byte // what was acknowledged
}

func newFullDrive(t *testing.T) *fullDrive {
	t.Helper()
	disk := newImage(t, 96)
	f := newFixture(t, "")
	f.Home = filepath.Join(disk.at, "home")
	f.mount()
	seed := testSeed(t)
	return &fullDrive{f, disk, rand.New(rand.NewPCG(seed, 0)), map[string][]byte{}}
}

// fill leaves no room on the disk.
func (f *fullDrive) fill() {
	f.t.Helper()
	fillUp(f.t, f.disk.at)
}

// fillUp makes a file that leaves no room on the file system of a directory, and returns its path.
func fillUp(t *testing.T, dir string) string {
	t.Helper()
	filler := filepath.Join(dir, "filler")
	h, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	for piece := 1 << 20; piece > 0; {
		if _, err = h.Write(make([]byte, piece)); errors.Is(err, syscall.ENOSPC) {
			piece /= 4
		} else {
			must(t, err)
		}
	}
	must(t, h.Close())
	// What is allocated late is allocated now.
	d, err := os.Open(dir)
	must(t, err)
	must(t, errors.Join(unix.Syncfs(int(d.Fd())), d.Close()))
	return filler
}

// clear gives the room back.
func (f *fullDrive) clear() {
	f.t.Helper()
	must(f.t, os.Remove(filepath.Join(f.disk.at, "filler")))
}

// put writes a file piece by piece until there is no room, keeps in mind what was acknowledged, and tells whether all was.
func (f *fullDrive) put(name string, n int, flags int) (whole bool) {
	f.t.Helper()
	h, err := os.OpenFile(f.path(name), os.O_WRONLY|flags, 0o644)
	if f.full("open", name, err) {
		return false
	}
	if flags&os.O_TRUNC != 0 || f.files[name] == nil {
		f.files[name] = []byte{}
	}
	whole = true
	for n > 0 && whole {
		piece := someBytes(f.rnd, min(n, 64<<10))
		done, err := h.Write(piece)
		f.files[name] = append(f.files[name], piece[:done]...)
		whole = !f.full("write", name, err)
		n -= len(piece)
	}
	must(f.t, h.Close())
	return whole
}

// full reports that an operation found no room; any other error is one.
func (f *fullDrive) full(op, name string, err error) bool {
	f.t.Helper()
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		f.t.Fatalf("%s %s on a full disk: %v, want nothing else than no room", op, name, err)
	}
	return err != nil
}

// check reads everything.
func (f *fullDrive) check(when string) {
	f.t.Helper()
	for name, text := range f.files {
		if got := read(f.t, f.path(name)); got != string(text) {
			f.t.Fatalf("%s: %s holds %d bytes, not the %d acknowledged ones", when, name, len(got), len(text))
		}
	}
	if extra := f.conflictFiles(f.at, sortedNames(f.files)...); len(extra) > 0 {
		f.t.Fatalf("%s: %v are there, which were never made", when, extra)
	}
}

func TestAFullDiskIsToldAndDoesNoDamage(t *testing.T) {
	t.Parallel()
	f := newFullDrive(t)
	for i := range 20 {
		f.put(fmt.Sprintf("old%d", i), 30_000, os.O_CREATE|os.O_EXCL)
	}
	f.sync()
	f.fill()
	if f.put("big", 4<<20, os.O_CREATE|os.O_EXCL) {
		t.Fatal("4 MiB were written to a full disk")
	}
	for i := range 20 {
		name := fmt.Sprintf("old%d", i)
		switch i % 5 {
		case 0:
			f.put(name, 100_000, os.O_APPEND)
		case 1:
			if err := os.Rename(f.path(name), f.path(name+"b")); !f.full("rename", name, err) {
				f.files[name+"b"] = f.files[name]
				delete(f.files, name)
			}
		case 2:
			f.full("chmod", name, os.Chmod(f.path(name), 0o600))
		case 3:
			f.put(fmt.Sprintf("new%d", i), 10_000, os.O_CREATE|os.O_EXCL)
		}
	}
	f.check("on a full disk")
	f.clear()
	f.put("later", 1<<20, os.O_CREATE|os.O_EXCL)
	if len(f.files["later"]) != 1<<20 {
		t.Error("there is room again, but not for a file")
	}
	f.check("with room again")
	f.settledBesideTrash()
	f.check("after sync")
	f.do("doctor")
}

func TestWhatGivesRoomBackGoesOnOnAFullDisk(t *testing.T) {
	t.Parallel()
	f := newFullDrive(t)
	pin := []string{"pin"} // else they make room, for what fills the disk, before anybody gives some back
	for i := range 12 {
		f.put(fmt.Sprintf("old%d", i), 200_000, os.O_CREATE|os.O_EXCL)
		pin = append(pin, f.path(fmt.Sprintf("old%d", i)))
	}
	f.sync()
	f.do(pin...)
	f.fill()
	f.put("big", 4<<20, os.O_CREATE|os.O_EXCL)
	f.check("on a full disk")
	for i := range 12 {
		name := fmt.Sprintf("old%d", i)
		switch i % 3 {
		case 0:
			must(t, os.Remove(f.path(name)))
			delete(f.files, name)
		case 1:
			must(t, os.Truncate(f.path(name), 10))
			f.files[name] = f.files[name][:10]
		case 2:
			h, err := os.OpenFile(f.path(name), os.O_WRONLY|os.O_TRUNC, 0)
			must(t, err)
			must(t, h.Close())
			f.files[name] = nil
		}
		f.check("after " + name)
	}
	// What was given back is there for the next that asks.
	if !f.put("fits", 500_000, os.O_CREATE|os.O_EXCL) {
		t.Errorf("of 2 MiB that were given back there is room for %d bytes", len(f.files["fits"]))
	}
	f.check("with room again")
	f.clear()
	f.settledBesideTrash()
	f.check("after sync")
	f.do("doctor")
}

// An error of the disk below is told to the program, and what failed is not taken for done: neither by the drive nor
// by the kernel.
func TestAnErrorOfTheDiskIsTold(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"cache.content.created", "cache.content.marked", "cache.content.settle"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, "")
			f.Env = append(f.Env, "VDFS_FAULT="+point+":1:error")
			f.mount()
			path := f.path("file")
			write(t, path, "first")
			text, told := []byte("first"), 0
			for i := range 3 {
				// The kernel tells of a close after it has returned.
				eventually(t, "nobody has the file open", func() bool { return f.info("file")[0].OpenHandles == 0 })
				next := bytes.Repeat([]byte{byte('a' + i)}, 10)
				h, err := os.OpenFile(path, os.O_WRONLY, 0)
				must(t, err)
				n, err := h.WriteAt(next, 0)
				copy(text[:min(n, len(text))], next)
				if n > len(text) {
					text = append(text, next[len(text):n]...)
				}
				if err != nil {
					told++
					if !errors.Is(err, syscall.EIO) {
						t.Errorf("write: %v, want an I/O error", err)
					}
				}
				must(t, h.Close())
				wants(t, path, string(text))
			}
			if settle := point == "cache.content.settle"; told != 1 && !settle || told != 0 && settle {
				t.Errorf("%d of 3 writes were told of the error", told)
			}
			f.settled()
			wants(t, f.behind("file"), string(text))
		})
	}
}

func sortedNames(files map[string][]byte) []string {
	return slices.Sorted(maps.Keys(files))
}
