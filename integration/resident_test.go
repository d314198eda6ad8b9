package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"golang.org/x/sys/unix"
)

// resident is a model whose files are read in every way, too, and cut anywhere. What of them is not here has to come: only the worker
// itself changes them, so nothing excuses an error or another byte.
type resident struct{ *model }

// How many files and directories of one there are at most.
const residentFiles, residentDirs = 30, 6

func (r resident) step() error {
	names := slices.Sorted(maps.Keys(r.files))
	switch {
	case len(names) > residentFiles:
		return r.remove(names[r.rnd.IntN(len(names))])
	case len(r.dirs) > residentDirs:
		return r.removeDir(names)
	case len(names) < 3 || r.rnd.IntN(100) < 60:
		return r.model.step()
	}
	name := names[r.rnd.IntN(len(names))]
	want := r.files[name].data
	if r.rnd.IntN(5) == 0 {
		return r.truncate(name, r.rnd.IntN(len(want)+1))
	}
	h, err := os.Open(r.path(name))
	if err != nil {
		return err
	}
	err = readAny(h, len(want), r.rnd, func(got []byte, off int) error {
		if off > len(want) || off+len(got) > len(want) || !bytes.Equal(got, want[off:][:len(got)]) {
			return fmt.Errorf("%s from %d: %s: %w: %v", r.path(name), off, differ(got, want[min(off, len(want)):]), errModel, r.told[name])
		}
		return nil
	}, func(at int) error {
		if at != len(want) {
			return fmt.Errorf("%s ends at %d, not at %d: %w: %v", r.path(name), at, len(want), errModel, r.told[name])
		}
		return nil
	})
	return errors.Join(err, h.Close())
}

// removeDir removes a directory with what is in it.
func (r resident) removeDir(names []string) error {
	dirs := slices.Sorted(maps.Keys(r.dirs))
	dir := dirs[r.rnd.IntN(len(dirs))]
	for _, name := range names {
		if filepath.Dir(name) == dir {
			if err := r.remove(name); err != nil {
				return err
			}
		}
	}
	return r.rmdir(dir)
}

// viewer is a program that reads what another one publishes, through several handles that may stay open for long.
type viewer struct {
	p    *publisher
	root string
	rnd  *rand.Rand
	open []*view
	// hidden is not looked for.
	hidden string
}

// view is an open file with what was seen of it.
type view struct {
	*os.File
	*look
}

const viewerHandles = 6

func (v *viewer) step() error {
	i := v.rnd.IntN(viewerHandles)
	if i >= len(v.open) {
		return v.openOne()
	}
	if v.rnd.IntN(4) == 0 {
		return v.close(i)
	}
	w := v.open[i]
	info, err := w.Stat()
	if err == nil {
		if err := w.ends(int(info.Size())); err != nil {
			return err
		}
		err = readAny(w.File, int(info.Size()), v.rnd, w.piece, w.ends)
	}
	if err == nil || errors.Is(err, errModel) {
		return err
	}
	return errors.Join(w.failed(err), v.close(i))
}

func (v *viewer) openOne() error {
	name := v.p.all()[v.rnd.IntN(publisherNames)]
	if name == v.hidden {
		return nil
	}
	l := v.p.look(name)
	h, err := os.Open(v.root + "/" + name)
	if err != nil {
		return l.failed(err)
	}
	v.open = append(v.open, &view{h, l})
	return nil
}

func (v *viewer) close(i int) error {
	w := v.open[i]
	v.open = slices.Delete(v.open, i, i+1)
	return w.Close()
}

// crash lets go of all handles, which may be dead.
func (v *viewer) crash() {
	for _, w := range v.open {
		_ = w.Close()
	}
	v.open = nil
}

// readAny reads a file of a size as one program or another does: from its beginning to its end, a range, or its pages. It
// tells what it read, where, and where the file ended.
func readAny(h *os.File, size int, rnd *rand.Rand, piece func([]byte, int) error, ends func(int) error) error {
	switch n := rnd.IntN(10); {
	case n < 3:
		return readRange(h, 0, size+1, 1+rnd.IntN(100_000), piece, ends)
	case n < 8:
		off := rnd.IntN(size + 1)
		return readRange(h, off, off+1+rnd.IntN(30_000), 30_000, piece, ends)
	case size == 0:
		return nil
	}
	pages, err := mappedBytes(h, size)
	if err != nil {
		return err
	}
	return piece(pages, 0)
}

// readRange reads from off to end, step by step.
func readRange(h *os.File, off, end, step int, piece func([]byte, int) error, ends func(int) error) error {
	buf := make([]byte, min(step, end-off))
	for off < end {
		n, err := h.ReadAt(buf[:min(len(buf), end-off)], int64(off))
		if perr := piece(buf[:n], off); perr != nil {
			return perr
		}
		off += n
		if errors.Is(err, io.EOF) {
			return ends(off)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mappedBytes reads a file through a map of its pages. What cannot be had is EIO, as it is for a read, though to a program it
// is SIGBUS.
func mappedBytes(h *os.File, size int) (data []byte, err error) {
	pages, err := unix.Mmap(int(h.Fd()), 0, size, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			if _, ok := fault.(runtime.Error); !ok {
				panic(fault)
			}
			err = unix.EIO
		}
		err = errors.Join(err, unix.Munmap(pages))
	}()
	return bytes.Clone(pages), nil
}
