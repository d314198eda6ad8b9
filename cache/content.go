package cache

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"vdfs/internal/durable"
	"vdfs/internal/ranges"
)

// contentState is the part of a Cache that keeps the bytes.
type contentState struct {
	files fileTable
	later laterQueue
	store contentStore
	quiet quietPeriods
	used  usage
	wal   groupSync
}

// originAttr is on every backing file that may hold bytes no endpoint has: even without an index it can be told whose they
// are. It is removed when an endpoint has proved that it stores them.
const originAttr = "user.vdfs.origin"

// contentStore is the directory of backing files. Its methods know files, not rows.
type contentStore struct {
	dir   string
	boot  string        // names the time in which memory is safe; see bootOf
	next  atomic.Int64  // the last content id given out
	older ContentID     // the last id that another process gave out: files up to it that have no row are leftovers
	epoch atomic.Uint64 // counts rounds of syncing; see stamp
	bytes atomic.Int64  // bytes present in all contents of the index; see Cache.known
	limit atomic.Int64  // of bytes, with above: see BytesAbove
	dirty atomic.Bool   // something was written since the last round of syncing began
	swept atomic.Bool   // leftovers of other processes were removed

	notes    notes
	removals removals
	held     chan struct{} // cap 1; see hasHeld
	above    chan struct{} // cap 1; see BytesAbove

	// Directories are made before their first file. Those whose own names are not durable yet are made - named.
	dirs        sync.Mutex
	made, named uint64
}

func (s *contentStore) init(dir string) error {
	s.dir = filepath.Join(dir, "content")
	var err error
	s.boot, err = bootOf(s.dir)
	s.epoch.Store(1)
	s.dirty.Store(true) // an earlier process may have left something to sync, and its directories are not known to be durable
	s.made = 1
	s.removals.wake = make(chan struct{}, 1)
	s.held = make(chan struct{}, 1)
	s.above = make(chan struct{}, 1)
	s.limit.Store(Unlimited)
	return err
}

// stamp is what contents.boot says of bytes written now: the boot, and the round of syncing that will cover them. A row
// is cleared only after a syncfs that began after the row was stamped.
func (s *contentStore) stamp() string {
	s.dirty.Store(true)
	return s.stampOf(s.epoch.Load())
}

func (s *contentStore) stampOf(epoch uint64) string { return fmt.Sprintf("%s/%016x", s.boot, epoch) }

// path puts 256 successive contents beside each other, then turns to the next of 256 directories: a small drive has few, and
// files made together lie together.
func (s *contentStore) path(id ContentID) string {
	return filepath.Join(s.subdir(int(id>>8)&0xff), strconv.FormatInt(int64(id), 16))
}

func (s *contentStore) subdir(i int) string { return filepath.Join(s.dir, fmt.Sprintf("%02x", i)) }

// create makes an empty backing file under a new id. The file comes before its row: a row without a file does not exist
// after a crash, a file without a row is swept away.
func (s *contentStore) create() (*backing, error) {
	for {
		id := ContentID(s.next.Add(1))
		path := s.path(id)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			if err = s.mkdir(id); err == nil {
				f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			}
		}
		if errors.Is(err, os.ErrExist) {
			continue // a leftover that the sweep has not come to
		}
		if err != nil {
			return nil, fmt.Errorf("create content: %w", diskError(err))
		}
		return &backing{id: id, file: f}, nil
	}
}

// mkdir makes the directory of a content, and the next one: when the disk is full by then, files can still be emptied, for
// which they need a new backing file.
func (s *contentStore) mkdir(id ContentID) error {
	s.dirs.Lock()
	defer s.dirs.Unlock()
	s.made++
	err := os.MkdirAll(filepath.Dir(s.path(id)), 0o700)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path(id+256)), 0o700)
		if errors.Is(diskError(err), ErrNoSpace) {
			err = nil
		}
	}
	return err
}

// syncName makes the name of a backing file durable, and that of its directory.
func (s *contentStore) syncName(id ContentID) error {
	s.dirs.Lock()
	made, named := s.made, s.named
	s.dirs.Unlock()
	if named < made {
		if err := durable.SyncDir(s.dir); err != nil {
			return err
		}
		s.dirs.Lock()
		s.named = max(s.named, made)
		s.dirs.Unlock()
	}
	return durable.SyncDir(filepath.Dir(s.path(id)))
}

func (s *contentStore) open(id ContentID) (*backing, error) {
	f, err := os.OpenFile(s.path(id), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	return &backing{id: id, file: f, registered: true}, nil
}

// remove deletes a backing file; that it is gone already is no error.
func (s *contentStore) remove(id ContentID) error {
	if err := os.Remove(s.path(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove content: %w", err)
	}
	return nil
}

// backing is an open backing file: the bytes of one version of one node. id and file never change; the rest is guarded by
// the op lock of the node's state.
type backing struct {
	id         ContentID
	file       *os.File
	registered bool       // its row is in the index
	full       bool       // all bytes are present: the file is its own truth
	present    ranges.Set // what is present while not full
	recorded   int64      // bytes present as its row says
	named      bool       // its directory entry was made durable
	readOnly   bool       // file cannot be written to just now: see heldOutside
}

// origin is what originAttr holds.
type origin struct {
	Ino    Ino    `json:"ino"`
	Parent Ino    `json:"parent"`
	Name   string `json:"name,omitempty"`
	Raw    string `json:"raw,omitempty"` // the name in base64 where it is not UTF-8
}

func (o origin) name() (string, error) {
	if o.Raw == "" {
		return o.Name, nil
	}
	b, err := base64.StdEncoding.DecodeString(o.Raw)
	return string(b), err
}

// setOrigin marks a backing file as holding unsent bytes of the node called name in parent.
func (b *backing) setOrigin(ino, parent Ino, name string) error {
	o := origin{Ino: ino, Parent: parent, Name: name}
	if !utf8.ValidString(name) {
		o.Name, o.Raw = "", base64.StdEncoding.EncodeToString([]byte(name))
	}
	err := b.writeOrigin(o)
	if errors.Is(err, unix.ENOSPC) {
		err = b.writeOrigin(origin{Ino: ino, Parent: parent}) // what needs no block of its own
	}
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("mark content as unsent: %w", diskError(err))
	}
	return nil
}

func (b *backing) writeOrigin(o origin) error {
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode origin: %w", err)
	}
	return unix.Fsetxattr(int(b.file.Fd()), originAttr, text, 0)
}

// clearOrigin takes the mark of setOrigin away.
func (b *backing) clearOrigin() error {
	err := unix.Fremovexattr(int(b.file.Fd()), originAttr)
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("mark content as sent: %w", err)
	}
	return nil
}

// readOrigin tells whether the file at path is marked as unsent, and whose it is.
func readOrigin(path string) (o origin, unsent bool, err error) {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, originAttr, buf)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return o, false, nil
	}
	if err != nil {
		return o, false, fmt.Errorf("read origin: %w", err)
	}
	if err := json.Unmarshal(buf[:n], &o); err != nil {
		return o, true, fmt.Errorf("decode origin: %w", err)
	}
	return o, true, nil
}

// setMtime gives the backing file the node's mtime, unless it has it. While a node is open for writing its backing file is
// the truth for mtime, so it must start from the node's.
func (b *backing) setMtime(mtime int64) error {
	st, err := b.stat()
	if err != nil {
		return err
	}
	if st.mtime == mtime {
		return nil
	}
	return futimens(b.file, mtime)
}

func futimens(f *os.File, mtime int64) error {
	return setTimes(f, unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(mtime))
}

func setTimes(f *os.File, atime, mtime unix.Timespec) error {
	times := [2]unix.Timespec{atime, mtime}
	err := unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), times[:], 0)
	if err != nil {
		return fmt.Errorf("set times of content: %w", err)
	}
	return nil
}

// fileInfo is what a backing file says of its node.
type fileInfo struct{ size, mtime, ctime int64 }

// stat may be called while the file is being closed: it fails then, and never looks at another file that got the number.
func (b *backing) stat() (fileInfo, error) {
	st, err := b.fstat()
	if err != nil {
		return fileInfo{}, fmt.Errorf("stat content: %w", err)
	}
	return infoOf(&st), nil
}

// atime is when the file was last read, as far as the disk notes it. It may be called as stat may.
func (b *backing) atime() (int64, error) {
	st, err := b.fstat()
	return st.Atim.Nano(), err
}

func (b *backing) fstat() (st unix.Stat_t, err error) {
	conn, err := b.file.SyscallConn()
	if err == nil {
		cerr := conn.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) })
		err = errors.Join(err, cerr)
	}
	return st, err
}

func statPath(path string) (fileInfo, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fileInfo{}, fmt.Errorf("stat content: %w", err)
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) fileInfo {
	return fileInfo{size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}
}

// diskError gives a full disk below its sentinel.
func diskError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return errors.Join(ErrNoSpace, err)
	}
	return err
}

// insertContent writes the row of a new full backing file of size bytes.
func (tx *Tx) insertContent(id ContentID, ino Ino, size int64) error {
	err := tx.exec(`INSERT INTO contents(id, ino, size, present, boot, used) VALUES(?1, ?2, ?3, ?3, ?4, ?5)`,
		id, ino, size, tx.c.store.stamp(), tx.Now())
	if err == nil {
		tx.c.store.notes.add(id)
		tx.countBytes(size)
	}
	return err
}

// removeContent deletes a content's row, and its backing file when that is durable. 0 is nothing.
func (tx *Tx) removeContent(id ContentID) error {
	if id == 0 {
		return nil
	}
	present, found, err := get(tx, (*row).int, `DELETE FROM contents WHERE id=? RETURNING present`, id)
	if err != nil || !found {
		return err
	}
	tx.countBytes(-present)
	c := tx.c
	c.store.notes.drop(id)
	if c.store.dir != "" { // else the index is being recovered before the contents: the sweep finds the file
		c.store.removals.begin(id) // before the row goes: whoever finds none knows why
		tx.onUndo(func() { c.store.removals.end(id) })
		tx.onCommit(func() { c.store.removals.commit(id) })
	}
	return nil
}

// countBytes keeps the sum of present bytes, from the commit on.
func (tx *Tx) countBytes(n int64) { tx.bytes += n }

// live replaces what a node open for writing has in the index by what its backing file says. It is right in and outside
// transactions: it takes no lock that is held over one.
func (c *Cache) live(n *Node) error {
	c.used.overlay(n)
	if !n.Writing || n.Content == 0 {
		return nil
	}
	info, err := c.liveInfo(n)
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed since the row was read: what the row says is the last that was settled
	}
	if err != nil {
		return err
	}
	if n.Mtime != info.mtime { // as in settle
		n.Ctime = max(n.Ctime, info.ctime)
	}
	n.Size, n.Mtime = info.size, info.mtime
	return nil
}

func (c *Cache) liveInfo(n *Node) (fileInfo, error) {
	if st := c.files.find(n.Ino); st != nil {
		if b := st.cur.Load(); b != nil && b.id == n.Content {
			if info, err := b.stat(); err == nil {
				return info, nil // else: closed in this moment, its path still answers
			}
		}
	}
	return statPath(c.store.path(n.Content))
}
