package fs

import (
	"errors"
	"math"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// marked is a drive at whose root some names are found though nothing is there: indexers and galleries leave a directory
// alone that has a certain file in it. A marker is empty, in no listing, and known to nobody but who asks for its name, so
// that nothing is sent and nothing copied. A real file of the name is what it is, and who writes to a marker makes one.
type marked struct {
	*drive
	names []string
}

// firstMarker is the node id of the first marker; those of the others are below it, far above those of nodes.
const firstMarker = math.MaxUint64 - 1

// mark gives a drive its markers.
func mark(d *drive, names []string) fuse.RawFileSystem {
	if len(names) == 0 {
		return d
	}
	return &marked{d, names}
}

// name is that of the marker with a node id; "": it is none.
func (m *marked) name(node uint64) string {
	if i := firstMarker - node; i < uint64(len(m.names)) {
		return m.names[i]
	}
	return ""
}

// Lookup finds a marker where nothing else is. The kernel asks anew each time, so that a real file is found at once.
func (m *marked) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	s := m.drive.Lookup(cancel, header, name, out)
	i := slices.Index(m.names, name)
	if i < 0 || header.NodeId != uint64(cache.RootIno) || s != fuse.ENOENT && (s != fuse.OK || out.NodeId != 0) {
		return s
	}
	*out = fuse.EntryOut{NodeId: firstMarker - uint64(i), Generation: 1}
	return m.fill(&out.Attr, out.NodeId)
}

func (m *marked) fill(out *fuse.Attr, node uint64) fuse.Status {
	root, err := m.cache.Attr(cache.RootIno)
	if err != nil {
		return m.fail("getattr", node, err)
	}
	root.Ino, root.Kind, root.Mode, root.Nlink, root.Size = cache.Ino(node), cache.File, 0o644, 1, 0
	root.Atime, root.Mtime, root.Ctime = root.Btime, root.Btime, root.Btime
	fillAttr(out, &root)
	return fuse.OK
}

// GetAttr describes a marker: an empty file of the drive's owner.
func (m *marked) GetAttr(cancel <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if m.name(input.NodeId) == "" {
		return m.drive.GetAttr(cancel, input, out)
	}
	*out = fuse.AttrOut{}
	return m.fill(&out.Attr, input.NodeId)
}

// SetAttr makes a real file of a marker.
func (m *marked) SetAttr(cancel <-chan struct{}, input *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if name := m.name(input.NodeId); name != "" {
		return m.real(&input.InHeader, name)
	}
	return m.drive.SetAttr(cancel, input, out)
}

// Open opens a marker for reading; for writing it makes a real file of it.
func (m *marked) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	name := m.name(input.NodeId)
	switch {
	case name == "":
		return m.drive.Open(cancel, input, out)
	case input.Flags&unix.O_ACCMODE != unix.O_RDONLY || input.Flags&unix.O_TRUNC != 0:
		return m.real(&input.InHeader, name)
	}
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

// real makes the file that a marker only seems to be. ESTALE has the kernel look the name up once more and go on with what
// it finds.
func (m *marked) real(h *fuse.InHeader, name string) fuse.Status {
	_, of, err := m.cache.Create(cache.RootIno, name, 0o644, callerOf(h))
	if err == nil {
		err = of.Close()
	}
	if err != nil && !errors.Is(err, cache.ErrExists) {
		return m.fail("create", uint64(cache.RootIno), err)
	}
	m.ways.kernel.InodeNotify(uint64(cache.RootIno), -1, 0) // whose times it does not know to have changed
	return fuse.Status(syscall.ESTALE)
}

// Read is at the end at once.
func (m *marked) Read(cancel <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if m.name(input.NodeId) == "" {
		return m.drive.Read(cancel, input, buf)
	}
	return fuse.ReadResultData(nil), fuse.OK
}

// Release closes a marker, which has no handle.
func (m *marked) Release(cancel <-chan struct{}, input *fuse.ReleaseIn) {
	if m.name(input.NodeId) == "" {
		m.drive.Release(cancel, input)
	}
}

// GetXAttr finds no attributes at a marker.
func (m *marked) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if m.name(header.NodeId) == "" {
		return m.drive.GetXAttr(cancel, header, name, dest)
	}
	return 0, fuse.ENODATA
}

// ListXAttr lists none of a marker.
func (m *marked) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	if m.name(header.NodeId) == "" {
		return m.drive.ListXAttr(cancel, header, dest)
	}
	return 0, fuse.OK
}
