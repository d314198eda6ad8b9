package fs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/cache"
)

const (
	leg      = cache.LegID(1) // an origin that is not the mount
	patience = 20 * time.Second
)

// env is a mounted drive with scripted ports.
type env struct {
	t      *testing.T
	cache  *cache.Cache
	server *Server
	mnt    string
	hyd    *fakeHydrator
	list   *fakeLister
	states *fakeStates
	room   *fakeRoom
	silent bool // no notifications are sent
}

func needFUSE(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no FUSE here: %v", err)
		}
		t.Skipf("NOT TESTED: no FUSE here: %v", err)
	}
}

// mounted mounts a fresh drive until the end of the test.
func mounted(t *testing.T, change ...func(*Options)) *env {
	t.Helper()
	needFUSE(t)
	e := &env{t: t, mnt: filepath.Join(t.TempDir(), "mnt"), list: &fakeLister{}, states: &fakeStates{pins: map[cache.Ino]string{}}, room: &fakeRoom{}}
	if err := os.Mkdir(e.mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	e.cache, err = cache.Open(context.Background(), cache.Options{
		Dir: filepath.Join(t.TempDir(), "state"), UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.cache.Close(); err != nil {
			t.Errorf("close cache: %v", err)
		}
	})
	e.hyd = &fakeHydrator{cache: e.cache, content: map[cache.Ino][]byte{}}
	e.list.cache = e.cache
	e.mount(change...)
	return e
}

func (e *env) mount(change ...func(*Options)) {
	e.t.Helper()
	opt := Options{Mountpoint: e.mnt, Cache: e.cache, Hydrator: e.hyd, Lister: e.list, States: e.states, Room: e.room, Logger: slog.New(slog.NewTextHandler(testWriter{e.t}, nil))}
	for _, c := range change {
		c(&opt)
	}
	server, err := Mount(opt)
	if err != nil {
		e.t.Fatal(err)
	}
	e.server = server
	ran := make(chan error, 1)
	if e.silent {
		ran <- nil
	} else {
		go func() { ran <- server.Run(context.Background()) }()
	}
	e.t.Cleanup(func() {
		e.unmount()
		if err := <-ran; err != nil {
			e.t.Errorf("run: %v", err)
		}
	})
}

// silence mounts again so that no notification is ever sent, as if each were late.
func (e *env) silence() {
	e.t.Helper()
	e.unmount()
	e.silent = true
	e.mount()
}

// unmount ends the mount; a descriptor that a test left open makes it lazy, which fails the test.
func (e *env) unmount() {
	err := e.server.Unmount(false)
	for range 50 {
		if !errors.Is(err, ErrInUse) {
			break
		}
		time.Sleep(20 * time.Millisecond) // the kernel lets go of closed files a little later
		err = e.server.Unmount(false)
	}
	if err != nil {
		e.t.Errorf("unmount: %v", err)
		if err := e.server.Unmount(true); err != nil {
			e.t.Errorf("unmount lazily: %v", err)
		}
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Logf("log: %s", bytes.TrimSpace(p))
	return len(p), nil
}

func (e *env) path(name string) string { return filepath.Join(e.mnt, name) }

func (e *env) write(name string, data []byte) {
	e.t.Helper()
	if err := os.WriteFile(e.path(name), data, 0o644); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) wantContent(name string, want []byte) {
	e.t.Helper()
	got, err := os.ReadFile(e.path(name))
	if err != nil {
		e.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		e.t.Fatalf("%s holds %d bytes (%.30q…), want %d (%.30q…)", name, len(got), got, len(want), want)
	}
}

func (e *env) stat(name string) unix.Stat_t {
	e.t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(e.path(name), &st); err != nil {
		e.t.Fatalf("stat %s: %v", name, err)
	}
	return st
}

// remote commits what an endpoint would have brought.
func (e *env) remote(do func(tx *cache.Tx) error) {
	e.t.Helper()
	if err := e.cache.Update(leg, do); err != nil {
		e.t.Fatal(err)
	}
}

// placeholder makes a file whose bytes are elsewhere.
func (e *env) placeholder(parent cache.Ino, name string, data []byte) cache.Ino {
	e.t.Helper()
	var ino cache.Ino
	e.remote(func(tx *cache.Tx) (err error) {
		ino, err = insert(tx, parent, name, cache.Node{Kind: cache.File, Mode: 0o644, Size: int64(len(data)), Listing: cache.Listed})
		return err
	})
	e.hyd.set(ino, data)
	return ino
}

func insert(tx *cache.Tx, parent cache.Ino, name string, n cache.Node) (cache.Ino, error) {
	n.UID, n.GID = uint32(os.Getuid()), uint32(os.Getgid())
	n.Atime, n.Mtime, n.Ctime, n.Btime = tx.Now(), tx.Now(), tx.Now(), tx.Now()
	ino, err := tx.InsertNode(n)
	if err != nil {
		return 0, err
	}
	_, err = tx.InsertDentry(parent, name, ino)
	return ino, err
}

// replace gives a file a new remote version, as the syncer does when nobody has it open.
func (e *env) replace(ino cache.Ino, data []byte) {
	e.t.Helper()
	var swap *cache.Swap
	e.eventually("the node is free", func() bool {
		var err error
		swap, err = e.cache.TrySwap(ino)
		return err == nil
	})
	e.hyd.set(ino, data)
	e.remote(func(tx *cache.Tx) error { return tx.ReplaceContent(ino, int64(len(data)), tx.Now(), cache.Hash{}) })
	swap.Release()
}

// eventually waits for a condition.
func (e *env) eventually(what string, ok func() bool) {
	e.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	e.t.Fatalf("not within %v: %s", patience, what)
}

// errnoError is a port's error with an errno of its own.
type errnoError syscall.Errno

func (e errnoError) Error() string        { return syscall.Errno(e).Error() }
func (e errnoError) Errno() syscall.Errno { return syscall.Errno(e) }

// fakeHydrator serves contents from memory.
type fakeHydrator struct {
	cache *cache.Cache

	mu      sync.Mutex
	content map[cache.Ino][]byte
	offline bool
	hold    chan struct{}  // not nil: fetches wait for it to be closed
	script  []func() error // what the next calls of Prepare do instead
	refused func(off, n int64) bool

	full atomic.Bool // there is no room for what is fetched

	prepared, ensured, completed, begun, through, waiting atomic.Int64
	ahead                                                 atomic.Int64  // the end of what was read ahead of
	pid                                                   atomic.Uint32 // who needed bytes last
}

func (h *fakeHydrator) set(ino cache.Ino, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.content[ino] = data
}

func (h *fakeHydrator) get(ino cache.Ino) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.content[ino]
}

func (h *fakeHydrator) setOffline(off bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offline = off
}

// next has the next calls of Prepare do something else, one after the other.
func (h *fakeHydrator) next(do ...func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.script = append(h.script, do...)
}

// refuse has Ensure refuse ranges with EPERM; nil: none.
func (h *fakeHydrator) refuse(which func(off, n int64) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = which
}

// block makes fetches wait until the returned function is called.
func (h *fakeHydrator) block() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hold := make(chan struct{})
	h.hold = hold
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.hold = nil
		close(hold)
	})
}

func (h *fakeHydrator) fetches() int64 { return h.ensured.Load() + h.completed.Load() }

func (h *fakeHydrator) Prepare(cache.Ino) error {
	h.prepared.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.script) > 0 {
		do := h.script[0]
		h.script = h.script[1:]
		return do()
	}
	if h.offline {
		return errnoError(syscall.ENETUNREACH)
	}
	return nil
}

func (h *fakeHydrator) Ensure(ctx context.Context, pid uint32, ino cache.Ino, off, n int64) error {
	h.ensured.Add(1)
	h.pid.Store(pid)
	return h.fill(ctx, ino, off, n, false)
}

func (h *fakeHydrator) Head(ctx context.Context, pid uint32, ino cache.Ino, n int64) error {
	return h.Ensure(ctx, pid, ino, 0, n)
}

func (h *fakeHydrator) Complete(ctx context.Context, pid uint32, ino cache.Ino) error {
	h.completed.Add(1)
	h.pid.Store(pid)
	return h.fill(ctx, ino, 0, 1<<40, true)
}

func (h *fakeHydrator) Begin(pid uint32, ino cache.Ino) {
	h.begun.Add(1)
	go func() { _ = h.Complete(context.Background(), pid, ino) }() // nobody waits for it
}

func (h *fakeHydrator) Ahead(_ uint32, _ cache.Ino, _ uint64, off, n int64) { h.ahead.Store(off + n) }

func (h *fakeHydrator) fill(ctx context.Context, ino cache.Ino, off, n int64, whole bool) error {
	h.mu.Lock()
	data, hold, offline := h.content[ino], h.hold, h.offline
	refused := h.refused != nil && h.refused(off, min(n, int64(len(data))-off))
	h.mu.Unlock()
	if refused {
		return errnoError(syscall.EPERM)
	}
	if offline {
		return errnoError(syscall.ENETUNREACH)
	}
	if h.full.Load() {
		return cache.ErrNoSpace
	}
	if hold != nil {
		h.waiting.Add(1)
		defer h.waiting.Add(-1)
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	node, err := h.cache.Attr(ino)
	if err != nil {
		return err
	}
	f, err := h.cache.Fill(ino, node.Version)
	if err != nil {
		return err
	}
	for _, r := range f.Missing(off, n) {
		if _, err = f.WriteAt(data[r.Off:r.Off+r.Len], r.Off); err == nil {
			err = f.Commit(r)
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if whole && !f.Full() {
		err = f.Complete(cache.Hash{1})
	}
	return errors.Join(err, f.Close())
}

func (h *fakeHydrator) Through(_ context.Context, _ uint32, ino cache.Ino, version uint64, p []byte, off int64) (int, error) {
	h.through.Add(1)
	if n, err := h.cache.Attr(ino); err != nil || n.Version != version {
		return 0, errors.Join(err, cache.ErrStale)
	}
	return bytes.NewReader(h.get(ino)).ReadAt(p, off)
}

// fakeRoom has the room that a test gives it.
type fakeRoom struct {
	made  atomic.Int64                                                     // how often it was asked to make room
	make  atomic.Pointer[func(ctx context.Context, op func() error) error] // nil: there is none to be made
	paced atomic.Bool
	pace  func(ctx context.Context, n int64)
}

func (r *fakeRoom) Paced() bool { return r.paced.Load() }

func (r *fakeRoom) Pace(ctx context.Context, n int64) { r.pace(ctx, n) }

func (r *fakeRoom) MakeRoom(ctx context.Context, _ int64, op func() error) error {
	err := op()
	if !errors.Is(err, cache.ErrNoSpace) {
		return err
	}
	r.made.Add(1)
	if do := r.make.Load(); do != nil {
		return (*do)(ctx, op)
	}
	return err
}

// fakeLister lists directories by a script.
type fakeLister struct {
	cache *cache.Cache
	calls atomic.Int64
	do    atomic.Pointer[func(ctx context.Context, ino cache.Ino) error]
}

func (l *fakeLister) script(do func(ctx context.Context, ino cache.Ino) error) { l.do.Store(&do) }

func (l *fakeLister) List(ctx context.Context, ino cache.Ino) error {
	l.calls.Add(1)
	if do := l.do.Load(); do != nil {
		return (*do)(ctx, ino)
	}
	return errnoError(syscall.EHOSTDOWN)
}

// fakeStates remembers pins and says "local" of everything.
type fakeStates struct {
	mu   sync.Mutex
	pins map[cache.Ino]string
}

func (s *fakeStates) State(ino cache.Ino, key StateKey) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch key {
	case StateWord:
		return "local", nil
	case StatePin:
		return s.pins[ino], nil
	}
	return "", nil
}

func (s *fakeStates) SetPin(ino cache.Ino, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch value {
	case "", "pinned", "online", "auto":
		s.pins[ino] = value
		return nil
	}
	return cache.ErrInvalid
}
