package dir

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	watchMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE |
		unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK
	// settle is how long a wait goes on collecting once something happened.
	settle = 20 * time.Millisecond
	// modifyDelay is how long a file may go on being written before a wait ends
	// for that alone; its close ends the wait at once.
	modifyDelay = 500 * time.Millisecond
	// createDelay is the same for a file that was made and is not closed yet: its writer is not through. What is never open
	// for writing, as a link, waits as long.
	createDelay = 60 * time.Millisecond
	// rootPoll is how often a wait ends while the root is missing.
	rootPoll = 2 * time.Second
	// maxHints is how many directories are named one by one.
	maxHints = 4096
	// maxOwn is how many names are remembered of what the endpoint wrote itself, and as many in a directory of what happened.
	maxOwn = 16384
)

// watcher turns inotify events into hints: directories to list again. A
// directory is watched from when it is first listed, for what was never listed
// is known to nobody. It runs no goroutine: events are taken from the kernel by
// Wait and Changes. Its memory grows with the directories watched, not with
// files.
type watcher struct {
	session string
	now     func() time.Time
	every   time.Duration          // between full listings, where hints are not enough
	limit   int                    // watches before the limit is taken for reached; tests lower it
	waiting chan struct{}          // held by the one Wait that reads events
	notice  atomic.Pointer[string] // why it polls; read without mu, which is held over system calls

	mu      sync.Mutex
	f       *os.File // nil: no inotify (yet)
	raw     syscall.RawConn
	polling bool // hints are not enough
	lost    bool // the root is not watched any more: start again
	byWd    map[int32]*watched
	root    *watched
	limbo   map[uint32]*watched // moved away, not yet seen to arrive, by cookie
	pending map[string]hint     // by path
	own     map[spotName]own    // what this endpoint has written
	shut    map[string]bool     // directories that nobody was let into when they were to be listed
	seq     uint64
	floor   uint64 // cursors before it are expired
	lazy    time.Time
	urgent  uint64 // seq of the last hint that ends a wait at once
	rescan  time.Time
}

// watched is a directory in the tree of watches. One with wd < 0 is only on the
// way to others.
type watched struct {
	wd     int32
	parent *watched
	name   string
	kids   map[string]*watched
}

type hint struct {
	seq  uint64
	deep bool
	// names are those in the directory that something happened to; nil: the directory is to be listed whatever they are.
	names map[string]struct{}
}

// spotName is a name in the tree.
type spotName struct{ parent, leaf string }

// own is what this endpoint wrote under a name. It is told of that like of anybody else's work, and to list a directory of
// thousands for each file that went there would cost more than the sending. So what is still as it was written is no news.
type own struct {
	done  bool  // facts says what is there; else the write is under way, or came to nothing
	facts facts // the zero value: the name is gone
}

// newWatcher makes a watcher that does nothing until start. Without events it
// only polls.
func newWatcher(session string, now func() time.Time, every time.Duration, events bool) *watcher {
	w := &watcher{session: session, now: now, every: every, limit: 1 << 30, waiting: make(chan struct{}, 1), pending: map[string]hint{}, own: map[spotName]own{}, shut: map[string]bool{}}
	w.reset()
	if !events {
		w.poll("this file system does not tell of changes made elsewhere")
	}
	return w
}

// poll turns to full listings at intervals, and says why. w.mu is held, or w is
// not shared yet.
func (w *watcher) poll(why string) {
	if !w.polling {
		w.polling = true
		notice := fmt.Sprintf("%s; everything is looked through every %s", why, w.every)
		w.notice.Store(&notice)
		w.rescan = w.now().Add(w.every)
		if w.f != nil {
			_ = w.f.SetReadDeadline(time.Unix(1, 0)) // a wait under way learns of rescan
		}
	}
}

func (w *watcher) message() string {
	if n := w.notice.Load(); n != nil {
		return *n
	}
	return ""
}

func (w *watcher) reset() {
	w.root = &watched{wd: -1}
	w.byWd = map[int32]*watched{}
	w.limbo = map[uint32]*watched{}
	w.lost = false
}

// start opens inotify if it is not open. w.mu is held.
func (w *watcher) start() {
	if w.f != nil || w.polling {
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		w.f = os.NewFile(uintptr(fd), "inotify")
		w.raw, err = w.f.SyscallConn()
	}
	if err != nil {
		w.poll(fmt.Sprintf("changes cannot be watched (%v; see the sysctl fs.inotify.max_user_instances)", err))
	}
}

func (w *watcher) close() error {
	w.mu.Lock()
	f := w.f
	w.mu.Unlock() // closing waits for readers, and those take the lock
	if f == nil {
		return nil
	}
	if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close inotify: %w", err)
	}
	return nil
}

// add watches an open directory under its path, also before the first Changes:
// a listing may come to its end after that.
func (w *watcher) add(fd int, path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.start(); w.f == nil || w.lost {
		return
	}
	wd, err := -1, error(unix.ENOSPC)
	if len(w.byWd) < w.limit {
		cerr := w.raw.Control(func(ifd uintptr) {
			wd, err = unix.InotifyAddWatch(int(ifd), procPath(fd), watchMask)
		})
		if cerr != nil {
			return // closed
		}
	}
	if err != nil {
		w.poll(fmt.Sprintf("only %d directories can be watched for changes (%v; raise the sysctl fs.inotify.max_user_watches)", len(w.byWd), err))
		return
	}
	w.hang(int32(wd), path)
}

// hang puts a watch at its place in the tree. The kernel gives a directory that
// is watched already its old number: then it has moved.
func (w *watcher) hang(wd int32, path string) {
	at := w.node(path)
	if old := w.byWd[wd]; old != nil && old != at {
		old.wd = -1
		if at.wd < 0 && len(at.kids) == 0 && at.parent != nil && !old.above(at) {
			old.detach()
			old.wd = wd
			at.parent.attach(old, at.name)
			return
		}
	}
	if at.wd >= 0 && at.wd != wd {
		delete(w.byWd, at.wd) // another directory had this name: its events have no path any more
	}
	at.wd = wd
	w.byWd[wd] = at
}

// node finds the place of a path, making it where needed.
func (w *watcher) node(path string) *watched {
	n := w.root
	for path != "" {
		name := path
		if i := indexSlash(path); i >= 0 {
			name, path = path[:i], path[i+1:]
		} else {
			path = ""
		}
		next := n.kids[name]
		if next == nil {
			next = &watched{wd: -1}
			n.attach(next, name)
		}
		n = next
	}
	return n
}

func indexSlash(s string) int {
	for i := range len(s) {
		if s[i] == '/' {
			return i
		}
	}
	return -1
}

func (n *watched) attach(kid *watched, name string) {
	if n.kids == nil {
		n.kids = map[string]*watched{}
	}
	kid.parent, kid.name = n, name
	n.kids[name] = kid
}

func (n *watched) detach() {
	if n.parent != nil && n.parent.kids[n.name] == n {
		delete(n.parent.kids, n.name)
	}
	n.parent = nil
}

func (n *watched) above(m *watched) bool {
	for ; m != nil; m = m.parent {
		if m == n {
			return true
		}
	}
	return false
}

// path is where a watched directory is; not ok while it is between two places.
func (w *watcher) path(n *watched) (string, bool) {
	p := ""
	for ; n != w.root; n = n.parent {
		if n == nil {
			return "", false
		}
		p = join(n.name, p)
	}
	return p, true
}

// keepOut notes that a directory could not be looked into, up to as many as there may be hints.
func (w *watcher) keepOut(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.shut) < maxHints {
		w.shut[path] = true
	}
}

// letIn turns the directories noted by keepOut into hints as soon as they can be looked into, for all that is below: nobody
// knows what happened there meanwhile.
func (w *watcher) letIn(shut func(path string) bool) {
	w.mu.Lock()
	paths := slices.Collect(maps.Keys(w.shut))
	w.mu.Unlock()
	for _, path := range paths {
		if shut(path) {
			continue
		}
		w.mu.Lock()
		delete(w.shut, path)
		w.hint(path, true)
		w.mu.Unlock()
	}
}

// begin says that this endpoint is about to write under a name.
func (w *watcher) begin(parent, leaf string) { w.setOwn(parent, leaf, own{}) }

// end says what it left there. It is not called where that is not known.
func (w *watcher) end(parent, leaf string, f facts) {
	w.setOwn(parent, leaf, own{done: true, facts: f})
}

func (w *watcher) setOwn(parent, leaf string, o own) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return // nobody tells of anything
	}
	if len(w.own) >= maxOwn {
		clear(w.own) // the directories are listed
	}
	w.own[spotName{parent, leaf}] = o
}

// hint notes that a directory is to be listed. w.mu is held.
func (w *watcher) hint(path string, deep bool) { w.note(path, deep, nil, 0) }

// touched notes that something happened to a name that is no directory's, for which a wait ends after a delay. w.mu is held.
func (w *watcher) touched(path, name string, delay time.Duration) {
	was, known := w.pending[path]
	names := was.names
	if !known {
		names = make(map[string]struct{})
	}
	if names != nil {
		names[name] = struct{}{}
	}
	if len(names) > maxOwn {
		names = nil
	}
	if _, ours := w.own[spotName{path, name}]; ours {
		delay = modifyDelay // most likely it is the echo of that
	}
	w.note(path, false, names, delay)
}

func (w *watcher) note(path string, deep bool, names map[string]struct{}, delay time.Duration) {
	w.seq++
	if len(w.pending) >= maxHints {
		clear(w.pending)
		path, deep, names = "", true, nil
	}
	was := w.pending[path]
	w.pending[path] = hint{seq: w.seq, deep: deep || was.deep, names: names}
	if delay == 0 {
		w.urgent = w.seq
	} else if at := w.now().Add(delay); w.lazy.IsZero() || at.Before(w.lazy) {
		w.lazy = at
	}
}
