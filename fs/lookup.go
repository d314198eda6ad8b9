package fs

import (
	"errors"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"vdfs/cache"
)

// validity is how long the kernel may use what it was told. Changes are pushed, so it only bounds what a bug can do.
const validity = time.Hour

// rereads is how often a reply is read again because changes are being pushed; then it is given with no validity.
const rereads = 4

// Lookup finds a name. Absence is an answer too, and as lasting, but only in a listed directory.
func (d *drive) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if tooLong(name) {
		return statusTooLong
	}
	parent := cache.Ino(header.NodeId)
	var e cache.Entry
	var err error
	for range rereads {
		since := d.known.taken.Load()
		err = d.listed(cancel, header, func() (err error) {
			e, err = d.find(parent, name, header.Pid)
			return err
		}, child{parent, name})
		missing := errors.Is(err, cache.ErrNotFound)
		switch {
		case err != nil && !missing:
			return d.fail("lookup", header.NodeId, err)
		case !d.known.settle(since, parent, e.Ino):
			continue
		case !missing:
			d.looks(&e.Node, header.Pid)
			d.fillEntry(out, &e, validity)
			return fuse.OK
		}
		out.SetEntryTimeout(validity)
		return fuse.OK
	}
	if err != nil {
		return fuse.ENOENT
	}
	d.fillEntry(out, &e, 0)
	return fuse.OK
}

// fillEntry answers with an entry that may be kept for so long.
func (d *drive) fillEntry(out *fuse.EntryOut, e *cache.Entry, keep time.Duration) {
	out.NodeId = uint64(e.Ino)
	out.Generation = 1
	out.SetEntryTimeout(keep)
	out.SetAttrTimeout(d.attrValidity(&e.Node, keep))
	fillAttr(&out.Attr, &e.Node)
}

// made answers with an entry that this request made. A change that was pushed meanwhile may be one of it.
func (d *drive) made(out *fuse.EntryOut, since uint64, e *cache.Entry) {
	keep := validity
	if !d.known.settle(since, e.Parent, e.Ino) {
		keep = 0
	}
	d.fillEntry(out, e, keep)
}
