package dir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// drain takes all events that the kernel has and reports whether there were
// any. fd is the inotify descriptor.
func (w *watcher) drain(fd int) (some bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := chunks.Get().(*[]byte)
	defer chunks.Put(p)
	buf := (*p)[:64<<10]
	for {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n < unix.SizeofInotifyEvent {
			return some // EAGAIN: that was all
		}
		some = true
		w.events(buf[:n])
	}
}

// collect drains without waiting.
func (w *watcher) collect() {
	w.mu.Lock()
	raw := w.raw
	w.mu.Unlock()
	if raw != nil {
		// On a closed endpoint there is nothing left to take.
		_ = raw.Control(func(fd uintptr) { w.drain(int(fd)) })
	}
}

// event is one decoded inotify event.
type event struct {
	wd     int32
	mask   uint32
	cookie uint32
	name   string
}

// events decodes a buffer of whole events. w.mu is held.
func (w *watcher) events(buf []byte) {
	for len(buf) >= unix.SizeofInotifyEvent {
		e := event{
			wd:     int32(binary.NativeEndian.Uint32(buf)),
			mask:   binary.NativeEndian.Uint32(buf[4:]),
			cookie: binary.NativeEndian.Uint32(buf[8:]),
		}
		size := min(int(binary.NativeEndian.Uint32(buf[12:])), len(buf)-unix.SizeofInotifyEvent)
		name := buf[unix.SizeofInotifyEvent:][:size]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		e.name = string(name)
		buf = buf[unix.SizeofInotifyEvent+size:]
		w.handle(e)
	}
}

func (w *watcher) handle(e event) {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		w.hint("", true)
		return
	}
	n := w.byWd[e.wd]
	switch {
	case n == nil:
	case e.mask&unix.IN_IGNORED != 0:
		w.ended(n)
	case e.name == "":
		if n == w.root && e.mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT|unix.IN_ATTRIB) != 0 {
			w.hint("", false) // the next call looks at the root itself
		}
	case indexSlash(e.name) >= 0 || reserved(n == w.root, e.name):
	default:
		w.changed(n, e)
	}
}

// ended forgets a watch that the kernel has removed.
func (w *watcher) ended(n *watched) {
	delete(w.byWd, n.wd)
	n.wd = -1
	if n == w.root {
		w.lost = true
		w.hint("", false)
		return
	}
	for n != nil && n != w.root && n.wd < 0 && len(n.kids) == 0 {
		up := n.parent
		n.detach()
		n = up
	}
}

// changed handles an event about a name in a watched directory.
func (w *watcher) changed(n *watched, e event) {
	path, known := w.path(n)
	if e.mask&unix.IN_ISDIR != 0 {
		switch {
		case e.mask&unix.IN_MOVED_FROM != 0:
			if kid := n.kids[e.name]; kid != nil {
				kid.detach()
				w.limbo[e.cookie] = kid
			}
		case e.mask&unix.IN_MOVED_TO != 0:
			if kid := w.limbo[e.cookie]; kid != nil {
				delete(w.limbo, e.cookie)
				n.attach(kid, e.name)
			}
		}
	}
	if !known {
		return // it will be listed whole where it arrives
	}
	if e.mask&unix.IN_ISDIR == 0 {
		delay := time.Duration(0)
		switch e.mask {
		case unix.IN_MODIFY:
			delay = modifyDelay
		case unix.IN_CREATE:
			delay = createDelay
		}
		w.touched(path, e.name, delay)
		return
	}
	w.hint(path, false)
	if e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 {
		w.hint(join(path, e.name), true)
	}
}

// dropLimbo ends the watches of directories that were moved out of the tree.
// All events so far have been taken, so whatever stays in the tree has arrived:
// the kernel queues both halves of a move together. w.mu is held.
func (w *watcher) dropLimbo() {
	for cookie, n := range w.limbo {
		delete(w.limbo, cookie)
		w.unwatch(n)
	}
}

func (w *watcher) unwatch(n *watched) {
	if n.wd >= 0 {
		delete(w.byWd, n.wd)
		// A watch that is gone already needs no removing.
		_ = w.raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(n.wd)) })
		n.wd = -1
	}
	for _, k := range n.kids {
		w.unwatch(k)
	}
}
