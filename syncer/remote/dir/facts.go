package dir

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"lukechampine.com/blake3"

	"vdfs/syncer/remote"
)

// facts is what one look at an item tells.
type facts struct {
	dev, ino     uint64
	mode         uint32 // with the type bits
	nlink        uint32
	uid, gid     uint32
	size         int64
	mtime, ctime int64 // ns since 1970
	key          string
	target       string
}

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// factsAt looks at name in the directory, or at the open file itself when name
// is "". Nothing is followed or read. All facts are of one object: where several
// looks at a name could be of two, one of which took the place of the other in
// between, they go through a descriptor.
func (d *Endpoint) factsAt(fd int, name string) (facts, error) {
	f, one, err := d.lookAt(fd, name)
	if err != nil || one {
		return f, err
	}
	var item int
	err = retry(func() (err error) {
		item, err = unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return facts{}, err
	}
	defer unix.Close(item)
	f, _, err = d.lookAt(item, "")
	return f, err
}

// lookAt is factsAt with no descriptor between: one tells whether the facts are of one object for certain.
func (d *Endpoint) lookAt(fd int, name string) (f facts, one bool, err error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	if err := retry(func() error { return unix.Statx(fd, name, flags, statMask, &st) }); err != nil {
		return facts{}, false, err
	}
	f = facts{
		dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino, mode: uint32(st.Mode), nlink: st.Nlink,
		uid: st.Uid, gid: st.Gid, size: int64(st.Size), mtime: nanos(st.Mtime), ctime: nanos(st.Ctime),
	}
	one = true
	if f.mode&unix.S_IFMT == unix.S_IFLNK {
		if name != "" {
			return facts{}, false, nil
		}
		if f.target, err = readLink(fd, ""); err != nil {
			return facts{}, false, err
		}
	}
	if d.can.keys {
		handle, err := fileHandle(fd, name)
		one = name == "" || errors.Is(err, unix.EOPNOTSUPP) || err == nil && tells(handle, f.ino)
		f.key = hex.EncodeToString(handle)
		if f.key == "" && st.Mask&unix.STATX_BTIME != 0 {
			f.key = strconv.FormatUint(st.Ino, 10) + ":" + strconv.FormatInt(nanos(st.Btime), 10)
		}
	}
	return f, one, nil
}

// tells reports whether a file handle is one of an inode for certain: those of local file systems have its number in them.
func tells(handle []byte, ino uint64) bool {
	for ; len(handle) >= 4; handle = handle[4:] {
		if binary.NativeEndian.Uint32(handle) == uint32(ino) {
			return true
		}
	}
	return false
}

func nanos(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// fileHandle is the handle of an item, or why there is none, EOPNOTSUPP where the
// file system has none. It is inode and generation, so a number used again differs.
func fileHandle(fd int, name string) ([]byte, error) {
	var h struct {
		size uint32
		kind int32
		data [128]byte
	}
	h.size = uint32(len(h.data))
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	flags := 0
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	var mount int32
	_, _, no := unix.Syscall6(unix.SYS_NAME_TO_HANDLE_AT, uintptr(fd), uintptr(unsafe.Pointer(path)),
		uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&mount)), uintptr(flags), 0)
	if no != 0 {
		return nil, no
	}
	return h.data[:min(h.size, uint32(len(h.data)))], nil
}

func readLink(fd int, name string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(fd, name, buf)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

func (f facts) kind() remote.Kind {
	switch f.mode & unix.S_IFMT {
	case unix.S_IFREG:
		return remote.File
	case unix.S_IFDIR:
		return remote.Dir
	case unix.S_IFLNK:
		return remote.Symlink
	}
	return remote.Opaque
}

// sameBytes reports whether g is the item that f was, with the same bytes.
// Renaming moves ctime, so it is not looked at.
func (f facts) sameBytes(g facts) bool {
	if f.dev != g.dev || f.ino != g.ino || f.key != g.key || f.mode&unix.S_IFMT != g.mode&unix.S_IFMT {
		return false
	}
	return f.kind() == remote.Dir || f.size == g.size && f.mtime == g.mtime && f.target == g.target
}

func (f facts) content() remote.Content {
	switch f.kind() {
	case remote.File:
		return remote.Content("f:" + f.key + ":" + strconv.FormatInt(f.size, 36) + ":" + strconv.FormatInt(f.mtime, 36))
	case remote.Symlink:
		sum := blake3.Sum256([]byte(f.target))
		return remote.Content("l:" + hex.EncodeToString(sum[:16]))
	case remote.Dir:
		return remote.Content("d:" + f.key)
	}
	return remote.Content("o:" + f.key)
}

func (f facts) tag() remote.Tag {
	t := string(f.content()) + ":" + strconv.FormatUint(uint64(f.mode&0o7777), 8)
	if f.kind() == remote.Dir {
		return remote.Tag(t)
	}
	return remote.Tag(t + ":" + f.key + ":" + strconv.FormatInt(f.ctime, 36))
}

// entry shows the facts of parent/name.
func (f facts) entry(parent, name string) remote.Entry {
	e := remote.Entry{
		ID: makeID(parent, name), Name: name, Kind: f.kind(), Tag: f.tag(), Content: f.content(),
		Attr: remote.Attr{Mtime: time.Unix(0, f.mtime), Target: f.target},
	}
	if name != "" {
		e.Parent = makeID(parent, "")
	}
	if e.Kind == remote.File {
		e.Size = f.size
	}
	if e.Kind != remote.Symlink {
		e.Mode = remote.KnownMode(f.mode)
	}
	if e.Kind == remote.Dir || f.nlink == 1 {
		e.Ident = f.key
	}
	return e
}

// rootFacts is the root as it was last proved.
type rootFacts struct {
	dev, ino uint64
	handle   string
	identity string
}

// openRoot opens the root and proves that it is the known one. No descriptor is
// kept between calls, so that the file system can be unmounted at any time.
func (d *Endpoint) openRoot() (dirFD, error) {
	fd, err := unix.Open(d.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return dirFD{}, fmt.Errorf("%w: %w", remote.ErrRootGone, err)
	}
	if err != nil {
		return dirFD{}, fail("open root", err)
	}
	r := dirFD{fd: fd, own: true}
	if err := d.proveRoot(&r); err != nil {
		r.close()
		return dirFD{}, err
	}
	return r, nil
}

func (d *Endpoint) proveRoot(r *dirFD) error {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(r.fd, &st) }); err != nil {
		return fail("stat root", err)
	}
	r.dev = st.Dev
	handle, _ := fileHandle(r.fd, "") // where there is none, inode and device have to do
	now := &rootFacts{dev: st.Dev, ino: st.Ino, handle: hex.EncodeToString(handle)}
	known := d.known.Load()
	if known != nil && known.dev == now.dev && known.ino == now.ino && known.handle == now.handle {
		return nil
	}
	var err error
	if now.identity, err = identify(r.fd, now); err != nil {
		return fail("identify root", err)
	}
	want := d.opts.KnownRoot
	if known != nil {
		want = known.identity
	}
	if want != "" && !SameRoot(want, now.identity) {
		return remote.ErrRootGone
	}
	d.known.Store(now)
	return nil
}
