package dir

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

const (
	// ownDir is our directory in the root, where the staging directory is on
	// another file system.
	ownDir = ".vdfs"
	// maxWalk is how much of a path one openat2 takes (PATH_MAX is 4096).
	maxWalk = 4000
)

// errElsewhere is what an address gives whose anchor is not at its path.
var errElsewhere = fmt.Errorf("the directory that was meant is elsewhere: %w", remote.ErrPrecondition)

// beneath keeps every resolution in the tree and on its file system.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// dirFD is an open directory. The root's is borrowed where a path is the root.
type dirFD struct {
	fd  int
	dev uint64 // of the root: nothing on another device is ours
	own bool
}

func (f dirFD) close() {
	if f.own {
		// Nothing was written through a directory's descriptor, so there is
		// nothing an error could tell.
		_ = unix.Close(f.fd)
	}
}

func makeID(parent, name string) remote.ItemID {
	return remote.Address{Path: join(parent, name)}.ID()
}

func join(parent, name string) string {
	if parent == "" {
		return name
	}
	if name == "" {
		return parent
	}
	return parent + "/" + name
}

// parseID returns where an item is; ErrNotFound for what no listing of ours can
// have named.
func parseID(id remote.ItemID) (remote.Address, error) {
	a, ok := remote.ParseAddress(id)
	if !ok {
		return a, remote.ErrNotFound
	}
	parent := ""
	for rest := a.Path; rest != ""; {
		name, after, more := strings.Cut(rest, "/")
		if checkName(parent, name) != nil || more && after == "" {
			return a, remote.ErrNotFound
		}
		parent, rest = ".", after // any parent but the root
	}
	return a, nil
}

// split cuts a path into the directory's and the leaf name.
func split(path string) (parent, leaf string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// checkName gives ErrName for names that cannot be, or are ours.
func checkName(parent, name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 ||
		strings.ContainsAny(name, "/\x00") || reserved(parent == "", name) {
		return remote.ErrName
	}
	return nil
}

// reserved reports whether a name is kept for vdfs: never listed, never made. Parking names are ours too, but a drive
// has to see what it parked, in the root too; and an ignore file is the person's.
func reserved(inRoot bool, name string) bool {
	switch {
	case strings.HasPrefix(name, remote.ParkPrefix), name == remote.IgnoreName:
		return false
	case inRoot:
		return strings.HasPrefix(name, ownDir)
	}
	return strings.HasPrefix(name, ".vdfs-")
}

// openDir opens the directory at path below r. flags is O_PATH to look only, or
// O_RDONLY to list or sync. A directory that is not the root's device gives
// ErrDetached.
func (d *Endpoint) openDir(r dirFD, path string, flags int) (dirFD, error) {
	if path == "" {
		return dirFD{fd: r.fd, dev: r.dev}, nil
	}
	p, err := walk(r, path, uint64(flags|unix.O_DIRECTORY))
	if err != nil {
		return dirFD{}, err
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(p.fd, &st) }); err != nil {
		p.close()
		return dirFD{}, err
	}
	if st.Dev != r.dev { // a nested subvolume is no mount, so openat2 lets it pass
		p.close()
		return dirFD{}, errDetached
	}
	return p, nil
}

// openAt is openDir for an address. Its anchor is looked at through the
// descriptor that the way goes on from: what is done next is done in the
// directory that was meant, whatever is at its path by then.
func (d *Endpoint) openAt(r dirFD, a remote.Address, flags int) (dirFD, error) {
	if a.Ident == "" || !d.caps.Idents {
		return d.openDir(r, a.Path, flags)
	}
	at := flags
	if !a.Itself() {
		at = unix.O_PATH
	}
	p, err := d.openDir(r, a.Dir, at)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return dirFD{}, errElsewhere
	}
	if err != nil {
		return dirFD{}, err
	}
	f, err := d.factsAt(p.fd, "")
	if err == nil && f.key != a.Ident {
		err = errElsewhere
	}
	if err == nil && a.Itself() {
		return p, nil
	}
	defer p.close()
	if err != nil {
		return dirFD{}, err
	}
	return d.openDir(p, a.Path[len(a.Dir)+1:], flags)
}

// item looks at the item at an address, in the open directory around it.
func (d *Endpoint) item(p dirFD, a remote.Address) (facts, error) {
	_, leaf := a.Split()
	f, err := d.factsAt(p.fd, leaf)
	if a.Itself() && d.caps.Idents && (errors.Is(err, unix.ENOENT) || err == nil && f.key != a.Ident) {
		err = errElsewhere
	}
	return f, err
}

// walk opens path below r, in several steps where it is long.
func walk(r dirFD, path string, flags uint64) (dirFD, error) {
	at := dirFD{fd: r.fd, dev: r.dev}
	for {
		step, rest := path, ""
		if len(path) > maxWalk {
			i := strings.LastIndexByte(path[:maxWalk], '/')
			step, rest = path[:i], path[i+1:]
		}
		how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: beneath}
		if rest != "" {
			how.Flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
		}
		next, err := openat2(at.fd, step, &how)
		at.close()
		if err != nil {
			return dirFD{}, err
		}
		at = dirFD{fd: next, dev: r.dev, own: true}
		if path = rest; path == "" {
			return at, nil
		}
	}
}

// openat2 tries again a few times when the kernel asks to, as it does when
// something is renamed at that moment.
func openat2(at int, path string, how *unix.OpenHow) (fd int, err error) {
	for range 32 {
		fd, err = unix.Openat2(at, path, how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return fd, err
}

// procPath names an open file for system calls that take only a path.
func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// writable opens the parent of a new or existing item for a change below it,
// with the path of the parent and the leaf.
func (d *Endpoint) writable(r dirFD, id remote.ItemID) (p dirFD, parent, leaf string, err error) {
	a, err := parseID(id)
	if err != nil {
		return p, "", "", err
	}
	if a.Path == "" {
		return p, "", "", fmt.Errorf("change root: %w", remote.ErrUnsupported)
	}
	up, leaf := a.Split()
	if p, err = d.openAt(r, up, unix.O_RDONLY); errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		err = remote.ErrNotFound
	}
	if err == nil && a.Itself() {
		if _, err = d.item(p, a); err != nil {
			p.close()
		}
	}
	return p, up.Path, leaf, err
}

// place opens the directory that a new item is to be in.
func (d *Endpoint) place(r dirFD, parent remote.ItemID, name string) (dirFD, string, error) {
	a, err := parseID(parent)
	if err != nil {
		return dirFD{}, "", err
	}
	if err := checkName(a.Path, name); err != nil {
		return dirFD{}, "", err
	}
	p, err := d.openAt(r, a, unix.O_RDONLY)
	return p, a.Path, err
}
