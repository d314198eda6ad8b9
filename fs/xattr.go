package fs

import (
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

const (
	userPrefix    = "user."
	virtualPrefix = "user.vdfs."
)

const statusUnsupported = fuse.Status(unix.EOPNOTSUPP)

// refused answers for names outside user.*, without a look at the index: access lists, capabilities and labels would mean
// nothing at an endpoint. A file system that says so of lists and labels is not asked by ls again. For capabilities the
// kernel asks before a write, and getcap calls it an error if there can be none.
func refused(name string, absent fuse.Status) fuse.Status {
	switch {
	case strings.HasPrefix(name, userPrefix):
		return fuse.OK
	case name == "security.capability":
		return absent
	}
	return statusUnsupported
}

// GetXAttr reads a stored attribute, or one of the virtual ones.
func (d *drive) GetXAttr(_ <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if s := refused(name, fuse.ENODATA); !s.Ok() {
		return 0, s
	}
	value, err := d.xattr(cache.Ino(header.NodeId), name)
	if err != nil {
		return 0, d.fail("getxattr", header.NodeId, err)
	}
	return put(dest, value)
}

func (d *drive) xattr(ino cache.Ino, name string) ([]byte, error) {
	key, virtual := strings.CutPrefix(name, virtualPrefix)
	if !virtual {
		return d.cache.GetXattr(ino, name)
	}
	switch StateKey(key) {
	case StateWord, StatePin, StateHash, StateLocal, StateError:
		value, err := d.states.State(ino, StateKey(key))
		if err == nil && value == "" {
			err = cache.ErrNoAttr
		}
		return []byte(value), err
	}
	return nil, cache.ErrNoAttr
}

// put copies a value to where the library wants it, or says how much room it needs.
func put(dest, value []byte) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

// ListXAttr lists what is stored; programs that copy files copy what is listed, so the virtual ones are not.
func (d *drive) ListXAttr(_ <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	names, err := d.cache.ListXattr(cache.Ino(header.NodeId))
	if err != nil {
		return 0, d.fail("listxattr", header.NodeId, err)
	}
	var list []byte
	for _, n := range names {
		list = append(append(list, n...), 0)
	}
	return put(dest, list)
}

// SetXAttr stores an attribute. Of the virtual ones only the pin can be set.
func (d *drive) SetXAttr(_ <-chan struct{}, input *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	if s := refused(name, statusUnsupported); !s.Ok() {
		return s
	}
	ino := cache.Ino(input.NodeId)
	switch {
	case name == virtualPrefix+string(StatePin):
		return d.fail("setxattr", input.NodeId, d.states.SetPin(ino, string(value)))
	case strings.HasPrefix(name, virtualPrefix):
		return fuse.EPERM
	}
	return d.failNode("setxattr", input.NodeId, d.cache.SetXattr(ino, name, value, input.Flags))
}

// RemoveXAttr removes an attribute; without its pin a name inherits again.
func (d *drive) RemoveXAttr(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if s := refused(name, fuse.ENODATA); !s.Ok() {
		return s
	}
	ino := cache.Ino(header.NodeId)
	switch {
	case name == virtualPrefix+string(StatePin):
		return d.fail("removexattr", header.NodeId, d.states.SetPin(ino, ""))
	case strings.HasPrefix(name, virtualPrefix):
		return fuse.EPERM
	}
	return d.fail("removexattr", header.NodeId, d.cache.RemoveXattr(ino, name))
}
