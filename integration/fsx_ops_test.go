package integration

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// step does one random operation.
func (x *fsx) step() {
	if len(x.handles) < 2 {
		x.open()
		return
	}
	i := x.rnd.IntN(len(x.handles))
	h := x.handles[i]
	switch n := x.rnd.IntN(100); {
	case n < 12:
		x.open()
	case n < 16 || len(x.handles) > fsxHandles:
		x.close(i)
	case n < 40:
		x.read(h)
	case n < 60:
		x.write(h)
	case n < 66:
		x.truncate(h)
	case n < 72:
		x.mapped(h)
	case n < 80:
		x.allocate(h)
	case n < 88:
		x.copy(h, x.handles[x.rnd.IntN(len(x.handles))])
	case n < 90:
		x.say("fsync")
		x.must(h.Sync())
	case n < 94:
		x.rename()
	case n < 96:
		x.unlink()
	case n < 97:
		x.link()
	default:
		x.whole(x.pick())
	}
}

// bytes are random, but for some that are zeros, as a hole is.
func (x *fsx) bytes(rnd *rand.Rand, n int) []byte {
	data := make([]byte, n)
	if rnd.IntN(16) == 0 {
		return data
	}
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	return data
}

// pick is one of the names that the burst works on; it need not exist.
func (x *fsx) pick() string { return x.now[x.rnd.IntN(len(x.now))] }

// span is a random piece of a file, and of what may lie behind its end, at the edges of pages more often than not.
func (x *fsx) span(size int) (off, n int) {
	off, n = x.rnd.IntN(size+size/8+1), x.rnd.IntN(40_000)
	if x.rnd.IntN(2) == 0 {
		off &^= 4095
	}
	if x.rnd.IntN(2) == 0 {
		n = n &^ 4095
	}
	return off, max(0, min(n, fsxMax-off))
}

// inside is a random piece of a file.
func (x *fsx) inside(size int) (off, n int) {
	off, n = x.span(size)
	off = min(off, size)
	return off, min(n, size-off)
}

func (x *fsx) open() {
	name := x.pick()
	flags := []int{unix.O_RDONLY, unix.O_RDWR, unix.O_RDWR, unix.O_RDWR, unix.O_WRONLY}[x.rnd.IntN(5)]
	of := x.names[name]
	if of == nil {
		flags |= unix.O_CREAT | unix.O_EXCL
	}
	switch x.rnd.IntN(12) {
	case 0:
		flags |= unix.O_APPEND
	case 1:
		flags |= unix.O_TRUNC
	case 2:
		flags |= unix.O_CREAT &^ (flags & unix.O_EXCL)
	}
	x.say("open %s %#o", name, flags)
	h, err := os.OpenFile(x.path(name), flags, 0o644)
	x.must(err)
	if of == nil {
		of = &fsxFile{}
		x.names[name] = of
	}
	if flags&unix.O_TRUNC != 0 {
		of.data = nil
	}
	x.handles = append(x.handles, &fsxHandle{h, of, flags})
	x.size(x.handles[len(x.handles)-1])
}

func (x *fsx) close(i int) {
	x.say("close %s", x.handles[i].name())
	x.must(x.handles[i].Close())
	x.handles = slices.Delete(x.handles, i, i+1)
}

// size demands that the drive knows how long a file is.
func (x *fsx) size(h *fsxHandle) {
	info, err := h.Stat()
	x.must(err)
	if info.Size() != int64(len(h.of.data)) {
		x.fail("%s is %d bytes long, want %d", h.name(), info.Size(), len(h.of.data))
	}
}

func (x *fsx) read(h *fsxHandle) {
	if !h.reads() {
		return
	}
	off, n := x.span(len(h.of.data))
	x.say("read %s %d+%d", h.name(), off, n)
	got := make([]byte, n)
	n, err := h.ReadAt(got, int64(off))
	if err != nil && !errors.Is(err, io.EOF) {
		x.fail("%v", err)
	}
	from := min(off, len(h.of.data))
	x.same(h, off, got[:n], h.of.data[from:min(len(h.of.data), from+len(got))])
}

func (x *fsx) same(h *fsxHandle, off int, got, want []byte) {
	if !bytes.Equal(got, want) {
		x.fail("%s from %d: %s", h.name(), off, differ(got, want))
	}
}

// put changes the model: bytes at an offset, with zeros between it and the end.
func (f *fsxFile) put(off int, data []byte) {
	if len(data) == 0 {
		return
	}
	f.grow(off + len(data))
	copy(f.data[off:], data)
}

// grow adds zeros up to a size; bytes that were cut off before do not come back.
func (f *fsxFile) grow(size int) {
	if size > len(f.data) {
		f.data = append(f.data, make([]byte, size-len(f.data))...)
	}
}

func (x *fsx) write(h *fsxHandle) {
	if !h.writes() {
		return
	}
	off, n := x.span(len(h.of.data))
	if h.appends() {
		off, n = len(h.of.data), min(n, fsxMax-len(h.of.data))
	}
	data := x.bytes(x.rnd, max(n, 0))
	x.say("write %s %d+%d", h.name(), off, len(data))
	done, err := unix.Pwrite(int(h.Fd()), data, int64(off))
	x.must(err)
	if done != len(data) {
		x.fail("wrote %d bytes of %d", done, len(data))
	}
	h.of.put(off, data)
	x.size(h)
}

func (x *fsx) truncate(h *fsxHandle) {
	if !h.writes() {
		return
	}
	size := []int{0, len(h.of.data), x.rnd.IntN(len(h.of.data) + 1), x.rnd.IntN(fsxMax)}[x.rnd.IntN(4)]
	x.say("truncate %s %d", h.name(), size)
	x.must(h.Truncate(int64(size)))
	h.of.grow(size)
	h.of.data = h.of.data[:size:size]
	x.size(h)
}

// mapped reads a file through a map of its pages, and writes where the handle may.
func (x *fsx) mapped(h *fsxHandle) {
	if !h.reads() || len(h.of.data) == 0 {
		return
	}
	prot, write := unix.PROT_READ, h.writes() && x.rnd.IntN(2) == 0
	if write {
		prot |= unix.PROT_WRITE
	}
	off, n := x.inside(len(h.of.data))
	x.say("map %s %d+%d write=%v", h.name(), off, n, write)
	pages, err := unix.Mmap(int(h.Fd()), 0, len(h.of.data), prot, unix.MAP_SHARED)
	x.must(err)
	if write {
		data := x.bytes(x.rnd, n)
		copy(pages[off:], data)
		h.of.put(off, data)
		if x.rnd.IntN(2) == 0 {
			x.must(unix.Msync(pages, unix.MS_SYNC))
		}
	}
	if !bytes.Equal(pages, h.of.data) {
		x.fail("the map of %s: %s", h.name(), differ(pages, h.of.data))
	}
	x.must(unix.Munmap(pages))
}

// allocate grows a file, makes a hole in it, or zeroes a piece.
func (x *fsx) allocate(h *fsxHandle) {
	off, n := x.span(len(h.of.data))
	if !h.writes() || n == 0 {
		return
	}
	mode := []int{
		0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE,
	}[x.rnd.IntN(5)]
	x.say("allocate %s %d+%d mode %#x", h.name(), off, n, mode)
	x.must(unix.Fallocate(int(h.Fd()), uint32(mode), int64(off), int64(n)))
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
		h.of.grow(off + n)
	}
	if from := min(off, len(h.of.data)); mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		clear(h.of.data[from:min(off+n, len(h.of.data))])
	}
	x.size(h)
}

// copy copies a piece of one file to another, or to another place in the same.
func (x *fsx) copy(from, to *fsxHandle) {
	off, n := x.inside(len(from.of.data))
	at, _ := x.span(len(to.of.data))
	n = min(n, fsxMax-at)
	if !from.reads() || !to.writes() || to.appends() || n <= 0 || from.of == to.of && off < at+n && at < off+n {
		return
	}
	x.say("copy %s %d+%d to %s %d", from.name(), off, n, to.name(), at)
	in, out := int64(off), int64(at)
	for done := 0; done < n; {
		part, err := unix.CopyFileRange(int(from.Fd()), &in, int(to.Fd()), &out, n-done, 0)
		x.must(err)
		if part == 0 {
			x.fail("the copy ends after %d bytes of %d", done, n)
		}
		done += part
	}
	to.of.put(at, bytes.Clone(from.of.data[off:off+n]))
	x.size(to)
}

func (x *fsx) rename() {
	from, to := x.pick(), x.pick()
	of := x.names[from]
	if of == nil {
		return
	}
	x.fetch(to)
	x.say("rename %s %s", from, to)
	x.must(os.Rename(x.path(from), x.path(to)))
	if x.names[to] == of {
		return // one file: rename(2) does nothing
	}
	x.names[to] = of
	delete(x.names, from)
}

func (x *fsx) unlink() {
	name := x.pick()
	if x.names[name] == nil {
		return
	}
	x.fetch(name)
	x.say("unlink %s", name)
	x.must(os.Remove(x.path(name)))
	delete(x.names, name)
}

func (x *fsx) link() {
	from, to := x.pick(), x.pick()
	if x.names[from] == nil || x.names[to] != nil {
		return
	}
	x.say("link %s %s", from, to)
	x.must(os.Link(x.path(from), x.path(to)))
	x.names[to] = x.names[from]
}

// fetch brings the bytes of a file here that is to lose its name: handles on it can only be read on if they are. Reading it
// would not do: the kernel may have its pages still, and then nothing is asked for.
func (x *fsx) fetch(name string) {
	if of := x.names[name]; of != nil && of.away {
		x.say("fetch %s, which is to lose its name", name)
		x.drive.do("fetch", "--wait", x.path(name))
		of.away = false
	}
}

// whole reads a file by its name from end to end.
func (x *fsx) whole(name string) {
	of := x.names[name]
	if of == nil {
		return
	}
	x.say("read all of %s", name)
	got, err := os.ReadFile(x.path(name))
	x.must(err)
	if !bytes.Equal(got, of.data) {
		x.fail("%s: %s", name, differ(got, of.data))
	}
	info, err := os.Stat(x.path(name))
	x.must(err)
	if info.Size() != int64(len(of.data)) {
		x.fail("%s is %d bytes long, want %d", name, info.Size(), len(of.data))
	}
}
