package offload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"vdfs/cache"
)

// endpoint is a Source whose answers a test decides.
type endpoint struct {
	mu       sync.Mutex
	files    map[cache.Ino][]byte
	fetches  []cache.Range
	asked    []cache.Ino // whose they were
	ctxs     []context.Context
	copies   int // how many copies there are, named from 1 on; 0: one
	offline  error
	corrupt  int           // how many fetches still give wrong bytes
	spoilt   bool          // the first copy gives wrong bytes
	fail     error         // what every fetch answers
	lost     cache.Ino     // of which every fetch fails
	gate     chan struct{} // not nil: each piece waits for a token
	free     bool          // fetches that begin now wait for none
	deaf     bool          // does not listen to its context
	piece    int           // bytes a read gives at most; 0: all
	noProof  error
	unhashed bool // does not know what anything must be
	proved   func()
	prove    func(cache.Ino) (int, error)  // not nil: answers in place of the two above
	holds    func(cache.Ino) (bool, error) // not nil: answers Holds
	sent     atomic.Int64
	sending  atomic.Bool
}

// testClock is a time that passes when a test says so.
type testClock struct{ now atomic.Int64 }

func newTestClock() *testClock {
	c := &testClock{}
	c.now.Store(time.Unix(1_000_000, 0).UnixNano())
	return c
}

func (c *testClock) Now() time.Time { return time.Unix(0, c.now.Load()) }

func (c *testClock) pass(d time.Duration) { c.now.Add(int64(d)) }

var errOffline = errors.New("unplugged")

func (s *endpoint) Fetch(
	ctx context.Context, ino cache.Ino, _ uint64, off, n int64, shunned []cache.BindingID,
) (io.ReadCloser, cache.BindingID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches, s.asked = append(s.fetches, cache.Range{Off: off, Len: n}), append(s.asked, ino)
	s.ctxs = append(s.ctxs, ctx)
	if s.offline != nil {
		return nil, 0, s.offline
	}
	if s.fail != nil {
		return nil, 0, s.fail
	}
	if ino == s.lost {
		return nil, 0, errOffline
	}
	from := cache.BindingID(1)
	for s.copies > int(from) && slices.Contains(shunned, from) {
		from++
	}
	data := bytes.Clone(s.files[ino][off : off+n])
	switch {
	case s.corrupt > 0 && n > 0:
		s.corrupt--
		data[n/2] ^= 1
	case s.spoilt && from == 1:
		data[n/2] ^= 1
	}
	return &stream{ctx: ctx, s: s, data: data, free: s.free}, from, nil
}

type stream struct {
	ctx  context.Context
	s    *endpoint
	data []byte
	free bool
}

func (r *stream) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	if r.s.gate != nil && !r.free {
		done := r.ctx.Done()
		if r.s.deaf {
			done = nil
		}
		select {
		case <-r.s.gate:
		case <-done:
			return 0, r.ctx.Err()
		}
	}
	if r.s.piece > 0 && len(p) > r.s.piece {
		p = p[:r.s.piece]
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *stream) Close() error { return nil }

func (s *endpoint) Reachable(cache.Ino) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offline
}

func (s *endpoint) Prove(_ context.Context, ino cache.Ino, _ uint64) (int, error) {
	if s.prove != nil {
		return s.prove(ino)
	}
	if s.proved != nil {
		s.proved()
	}
	if s.noProof != nil {
		return 0, s.noProof
	}
	return 1, nil
}

func (s *endpoint) Holds(_ context.Context, ino cache.Ino, _ uint64, h cache.Hash) (bool, error) {
	if s.holds != nil {
		return s.holds(ino)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return h == blake3.Sum256(s.files[ino]), s.offline
}

func (s *endpoint) HashKnown(ino cache.Ino, _ uint64) (cache.Hash, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return blake3.Sum256(s.files[ino]), !s.unhashed
}

func (s *endpoint) Sent() int64 { return s.sent.Load() }

func (s *endpoint) Sending() bool { return s.sending.Load() }

func (s *endpoint) fetched() []cache.Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]cache.Range(nil), s.fetches...)
}

// set changes the endpoint while it is in use.
func (s *endpoint) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// drive is a cache with one leg at the root, an endpoint and a Manager between them.
type drive struct {
	*testing.T
	c   *cache.Cache
	s   *endpoint
	m   *Manager
	leg cache.LegID
}

func newDrive(t *testing.T, o Options) *drive {
	t.Helper()
	c, err := cache.Open(context.Background(), cache.Options{Dir: t.TempDir(), Device: "here", Clock: o.Clock})
	if err != nil {
		t.Fatal(err)
	}
	d := &drive{T: t, c: c, s: &endpoint{files: map[cache.Ino][]byte{}}}
	o.Cache, o.Source = c, d.s
	d.m = New(o)
	t.Cleanup(func() {
		d.m.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	d.update(func(tx *cache.Tx) error {
		place, err := tx.EnsurePlace(cache.RootIno)
		if err != nil {
			return err
		}
		legs := []cache.Leg{{Place: place, Endpoint: "test"}}
		if err := tx.CreateConduit(&cache.Conduit{UUID: "u", Name: "home", Place: place, Source: "drive:/", Target: "test", Policy: "offload", Enabled: true}, legs); err != nil {
			return err
		}
		d.leg = legs[0].ID
		if d.leg == 0 {
			all, err := tx.Legs()
			if err != nil {
				return err
			}
			d.leg = all[0].ID
		}
		return nil
	})
	return d
}

func (d *drive) update(f func(*cache.Tx) error) {
	d.Helper()
	if err := d.c.Update(d.leg, f); err != nil {
		d.Fatal(err)
	}
}

func (d *drive) mkdir(parent cache.Ino, name string) cache.Entry {
	d.Helper()
	e, err := d.c.Mkdir(parent, name, 0o755, cache.Caller{})
	if err != nil {
		d.Fatal(err)
	}
	return e
}

// remote makes a file that the endpoint has and the drive only knows.
func (d *drive) remote(parent cache.Ino, name string, data []byte) cache.Entry {
	d.Helper()
	var e cache.Entry
	d.update(func(tx *cache.Tx) error {
		ino, err := tx.InsertNode(cache.Node{Kind: cache.File, Mode: 0o644, Size: int64(len(data)), Listing: cache.Listed})
		if err != nil {
			return err
		}
		d.s.set(func() { d.s.files[ino] = data })
		id, err := tx.InsertDentry(parent, name, ino)
		if err != nil {
			return err
		}
		if e, err = tx.Entry(id); err != nil {
			return err
		}
		return tx.PutBinding(&cache.Binding{
			Leg: d.leg, Dentry: id, RemoteID: "r" + name, RemoteName: name, Kind: cache.File, Size: int64(len(data)), Parent: 0,
			LocalParent: cache.RootDentry, LocalName: name, LocalVersion: e.Node.Version,
		})
	})
	return e
}

// full hydrates a file.
func (d *drive) full(e cache.Entry) cache.Node {
	d.Helper()
	d.ok(d.m.Complete(context.Background(), e.Ino))
	n := d.node(e.Ino)
	if n.Residency != cache.Full {
		d.Fatalf("residency %v", n.Residency)
	}
	return n
}

func (d *drive) node(ino cache.Ino) cache.Node {
	d.Helper()
	n, err := d.c.Attr(ino)
	if err != nil {
		d.Fatal(err)
	}
	return n
}

// read reads like the mount: what is missing is ensured first.
func (d *drive) read(ino cache.Ino, off, n int64) ([]byte, error) {
	d.Helper()
	o, err := d.c.OpenFile(ino, false)
	if err != nil {
		d.Fatal(err)
	}
	defer func() { d.ok(o.Close()) }()
	buf := make([]byte, n)
	for {
		k, err := o.ReadAt(buf, off)
		if !errors.Is(err, cache.ErrNotLocal) {
			v := version{ino, o.Version()}
			d.m.follow(v, off+n, d.m.passes(v, off, n))
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return buf[:k], err
		}
		if err := d.m.Ensure(context.Background(), ino, off, n); err != nil {
			return nil, err
		}
	}
}

func (d *drive) ok(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *drive) fails(err, target error, errno syscall.Errno) {
	d.Helper()
	var e interface{ Errno() syscall.Errno }
	if !errors.Is(err, target) || !errors.As(err, &e) || e.Errno() != errno {
		d.Fatalf("error is %v, want %v with %v", err, target, errno)
	}
}

// eventually polls until f, with a deadline.
func (d *drive) eventually(what string, f func() bool) {
	d.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			d.Fatalf("never: %s", what)
		}
	}
}

// run lets Run work until the test ends.
func (d *drive) run() {
	d.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.m.Run(ctx) }()
	d.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			d.Error(err)
		}
	})
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16*31)
	}
	return b
}
