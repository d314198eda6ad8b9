package bounded_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/bounded"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// The numbers of the package documentation.
const (
	workers  = 32
	patience = 30 * time.Second
)

// bench is an endpoint in workers, in a bubble whose clock jumps on whenever everybody waits.
type bench struct {
	*testing.T
	store  *memory.Store
	script *faulty.Script
	pool   *bounded.Pool
	ep     remote.Endpoint
	root   remote.ItemID
	thaw   chan struct{} // closed: what hangs goes on
}

func bubble(t *testing.T, run func(b *bench)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, store: memory.New(memory.Options{}), script: &faulty.Script{}, pool: bounded.NewPool(), thaw: make(chan struct{})}
		b.ep = b.open(b.script)
		st, err := b.ep.Check(t.Context())
		b.must(err)
		b.root = st.Root
		b.must(b.store.WriteFile("file", []byte("hello")))
		run(b)
	})
}

func (b *bench) open(s *faulty.Script) remote.Endpoint {
	b.Helper()
	ep, err := b.pool.Open(b.Context(), func(context.Context) (remote.Endpoint, error) { return faulty.Wrap(b.store.Open(), s), nil })
	b.must(err)
	return ep
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// hang lets calls of a method wait for thaw, whatever becomes of their contexts.
func (b *bench) hang(m faulty.Method) {
	b.script.Add(faulty.Rule{Method: m, Before: func() { <-b.thaw }})
}

// thawed lets what hangs go on, waits until it has come back, and lets nothing hang any more.
func (b *bench) thawed() {
	b.script.Clear()
	close(b.thaw)
	synctest.Wait()
}

// refused wants a call to end as one to an endpoint that is offline, after exactly so long.
func (b *bench) refused(after time.Duration, call func() error) {
	b.Helper()
	start := time.Now()
	if err := call(); !errors.Is(err, remote.ErrUnavailable) {
		b.Errorf("got %v", err)
	}
	if took := time.Since(start); took != after {
		b.Errorf("it took %v, want %v", took, after)
	}
}

func (b *bench) stat() error {
	_, err := b.ep.Stat(b.Context(), b.root)
	return err
}

func (b *bench) put(name string, body io.ReaderAt, size int64) error {
	_, err := b.ep.Put(b.Context(), &remote.Upload{Parent: b.root, Name: name, Body: body, Size: size})
	return err
}

func TestACallThatHangsIsGivenUpAndOthersGoOn(t *testing.T) {
	bubble(t, func(b *bench) {
		b.hang(faulty.Stat)
		if b.pool.Doubtful() {
			b.Error("doubtful before anything hung")
		}
		b.refused(patience, b.stat)
		if !b.pool.Doubtful() {
			b.Error("not doubtful although the last call hung")
		}
		if _, err := b.ep.Lookup(b.Context(), b.root, "file"); err != nil {
			b.Error(err)
		}
		if b.pool.Doubtful() {
			b.Error("doubtful although it answers")
		}
		if _, err := b.ep.Check(b.Context()); err != nil {
			b.Error(err)
		}
		b.refused(patience, b.stat)
		time.Sleep(patience)
		if b.pool.Doubtful() {
			b.Error("doubtful for ever")
		}
		b.thawed()
		b.must(b.stat())
	})
}

func TestWhenAllWorkersHangCallersAreRefusedAtOnce(t *testing.T) {
	bubble(t, func(b *bench) {
		b.hang(faulty.Stat)
		var callers sync.WaitGroup
		for range workers {
			callers.Go(func() { b.refused(patience, b.stat) })
		}
		synctest.Wait()
		// Those that come now wait as long as the others may still get on.
		callers.Go(func() { b.refused(patience, b.stat) })
		callers.Wait()
		b.refused(0, b.stat)
		b.refused(0, func() error { return b.put("new", strings.NewReader("x"), 1) })
		b.thawed()
		b.must(b.stat())
		b.must(b.put("new", strings.NewReader("x"), 1))
	})
}

func TestWhoFindsNoWorkerWaitsWhileTheyGetOn(t *testing.T) {
	bubble(t, func(b *bench) {
		b.script.Add(faulty.Rule{Method: faulty.Stat, Before: func() { time.Sleep(patience - time.Second) }})
		var callers sync.WaitGroup
		for range 4 * workers {
			callers.Go(func() {
				if err := b.stat(); err != nil {
					b.Error(err)
				}
			})
		}
		callers.Wait()
	})
}

// slow is an endpoint that proves a file for minutes, with or without telling.
type slow struct {
	remote.Endpoint
	tells bool
}

func (s slow) Verify(ctx context.Context, _ remote.ItemID, _ remote.Hashes, _ int64, p remote.Proof) (remote.Proof, error) {
	for range 20 {
		time.Sleep(patience / 2)
		if s.tells {
			remote.Progress(ctx)
		}
	}
	return p, nil
}

func TestACallThatTellsOfItsProgressIsNotGivenUp(t *testing.T) {
	bubble(t, func(b *bench) {
		for _, tells := range []bool{true, false} {
			ep, err := b.pool.Open(b.Context(), func(context.Context) (remote.Endpoint, error) { return slow{b.store.Open(), tells}, nil })
			b.must(err)
			verify := func() error {
				_, err := ep.Verify(b.Context(), b.root, nil, 0, remote.ProofStrong)
				return err
			}
			if tells {
				b.must(verify())
			} else {
				b.refused(patience, verify)
			}
		}
		time.Sleep(20 * patience) // until the silent one has come back
	})
}

// piecewise is an endpoint that reads a body byte by byte.
type piecewise struct{ remote.Endpoint }

func (p piecewise) Put(_ context.Context, u *remote.Upload) (remote.Entry, error) {
	for off := range u.Size {
		if _, err := u.Body.ReadAt(make([]byte, 1), off); err != nil {
			return remote.Entry{}, err
		}
	}
	return remote.Entry{}, nil
}

func TestAPutWhoseBodyIsReadIsNotGivenUp(t *testing.T) {
	bubble(t, func(b *bench) {
		b.hang(faulty.Check) // nobody can be asked
		ep, err := b.pool.Open(b.Context(), func(context.Context) (remote.Endpoint, error) {
			return piecewise{faulty.Wrap(b.store.Open(), b.script)}, nil
		})
		b.must(err)
		body := readerAt(func(p []byte, off int64) (int, error) {
			time.Sleep(patience / 2)
			return strings.NewReader("0123456789").ReadAt(p, off)
		})
		_, err = ep.Put(b.Context(), &remote.Upload{Parent: b.root, Name: "new", Body: body, Size: 10})
		b.must(err)
	})
}

type readerAt func(p []byte, off int64) (int, error)

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return r(p, off) }

func TestASilentWriteIsWaitedForWhileTheEndpointAnswers(t *testing.T) {
	bubble(t, func(b *bench) {
		b.script.Add(faulty.Rule{Method: faulty.Put, Then: func() { time.Sleep(5 * time.Minute) }})
		b.must(b.put("slow", strings.NewReader("x"), 1))
		b.script.Clear()

		b.script.Add(faulty.Rule{Method: faulty.Mkdir, Before: func() { <-b.thaw }})
		start := time.Now()
		_, err := b.ep.Mkdir(b.Context(), b.root, "dir", remote.Attr{}, "")
		if took := time.Since(start); !errors.Is(err, remote.ErrUnavailable) || took < 10*time.Minute || took > 11*time.Minute {
			b.Errorf("after %v: %v", took, err)
		}
		b.thawed()
	})
}

func TestNoWriteIsMadeWhileOneThatWasGivenUpMayTakeEffect(t *testing.T) {
	bubble(t, func(b *bench) {
		b.hang(faulty.Check)
		b.hang(faulty.Put)
		b.refused(patience, func() error { return b.put("first", strings.NewReader("1"), 1) })
		b.refused(0, func() error { return b.put("second", strings.NewReader("2"), 1) })
		b.refused(0, func() error { return b.ep.Delete(b.Context(), "nothing", remote.Pre{Force: true}, "") })
		b.refused(0, func() error {
			_, err := b.ep.Check(b.Context())
			return err
		})
		b.must(b.stat())
		b.thawed()
		if _, err := b.ep.Check(b.Context()); err != nil {
			b.Error(err)
		}
		b.must(b.put("second", strings.NewReader("2"), 1))
		// The first came back to a caller that had left with its body.
		if tree := b.store.Tree(); tree["second"] != "2" || tree["first"] != "" {
			b.Errorf("got %v", tree)
		}
	})
}

func TestAWriteGivenUpUsesNothingOfItsCaller(t *testing.T) {
	bubble(t, func(b *bench) {
		b.hang(faulty.Check)
		b.hang(faulty.Put)
		var used atomic.Int64
		body := readerAt(func(p []byte, off int64) (int, error) {
			used.Add(1)
			return strings.NewReader("x").ReadAt(p, off)
		})
		b.refused(patience, func() error { return b.put("new", body, 1) })
		b.thawed()
		if n := used.Load(); n != 0 {
			b.Errorf("its body was read %d times", n)
		}
	})
}

// stuck is a stream that gives one piece and then hangs.
type stuck struct {
	thaw   chan struct{}
	first  bool
	closed atomic.Int64
}

func (s *stuck) Read(p []byte) (int, error) {
	if !s.first {
		s.first = true
		return copy(p, "first"), nil
	}
	<-s.thaw
	return copy(p, "later"), io.EOF
}

func (s *stuck) Close() error {
	s.closed.Add(1)
	return nil
}

// reads is an endpoint with one stream.
type reads struct {
	remote.Endpoint
	body io.ReadCloser
}

func (r reads) Read(context.Context, remote.ItemID, remote.Content, int64, int64) (io.ReadCloser, error) {
	return r.body, nil
}

func TestAStreamThatHangsIsLeftToItsWorker(t *testing.T) {
	bubble(t, func(b *bench) {
		s := &stuck{thaw: b.thaw}
		ep, err := b.pool.Open(b.Context(), func(context.Context) (remote.Endpoint, error) { return reads{b.store.Open(), s}, nil })
		b.must(err)
		r, err := ep.Read(b.Context(), "x", "", 0, -1)
		b.must(err)
		p := make([]byte, 10)
		n, err := r.Read(p)
		if string(p[:n]) != "first" || err != nil {
			b.Fatalf("read %q: %v", p[:n], err)
		}
		b.refused(patience, func() error {
			_, err := r.Read(p)
			return err
		})
		b.refused(0, func() error {
			_, err := r.Read(p)
			return err
		})
		b.must(r.Close())
		if s.closed.Load() != 0 {
			b.Error("it was closed under its reader")
		}
		b.thawed()
		if s.closed.Load() != 1 || !bytes.HasPrefix(p, []byte("first")) {
			b.Errorf("closed %d times, the caller's buffer has %q", s.closed.Load(), p)
		}
	})
}

func TestAStreamIsClosedThoughNoWorkerCouldRead(t *testing.T) {
	bubble(t, func(b *bench) {
		s := &stuck{thaw: b.thaw}
		ep, err := b.pool.Open(b.Context(), func(context.Context) (remote.Endpoint, error) { return reads{b.store.Open(), s}, nil })
		b.must(err)
		ctx, cancel := context.WithCancel(b.Context())
		r, err := ep.Read(ctx, "x", "", 0, -1)
		b.must(err)
		cancel()
		if _, err := r.Read(make([]byte, 10)); !errors.Is(err, context.Canceled) {
			b.Errorf("got %v", err)
		}
		b.must(r.Close())
		if s.closed.Load() != 1 {
			b.Error("it was left open")
		}
	})
}

func TestACallEndsSoonAfterItsContext(t *testing.T) {
	bubble(t, func(b *bench) {
		b.hang(faulty.Stat)
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := b.ep.Stat(ctx, b.root); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 2*time.Second {
			b.Errorf("it took %v", took)
		}
		b.thawed()
	})
}

// late is an endpoint that counts how often it was closed.
type late struct {
	remote.Endpoint
	closed *atomic.Int64
}

func (l late) Close() error {
	l.closed.Add(1)
	return l.Endpoint.Close()
}

func TestWhatIsOpenedTooLateIsClosed(t *testing.T) {
	bubble(t, func(b *bench) {
		var closed atomic.Int64
		b.refused(patience, func() error {
			_, err := b.pool.Open(b.Context(), func(context.Context) (remote.Endpoint, error) {
				<-b.thaw
				return late{b.store.Open(), &closed}, nil
			})
			return err
		})
		b.thawed()
		if closed.Load() != 1 {
			b.Errorf("closed %d times", closed.Load())
		}
	})
}

// silent is an endpoint whose end and whose waits hang.
type silent struct {
	remote.Endpoint
	thaw chan struct{}
}

func (s silent) Close() error {
	<-s.thaw
	return nil
}

func (s silent) Wait(context.Context, remote.Cursor) error {
	<-s.thaw
	return nil
}

func TestTheEndOfASessionIsNotWaitedForLong(t *testing.T) {
	bubble(t, func(b *bench) {
		ep, err := b.pool.Open(b.Context(), func(context.Context) (remote.Endpoint, error) { return silent{b.store.Open(), b.thaw}, nil })
		b.must(err)
		ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
		defer cancel()
		if err := ep.Wait(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("got %v", err)
		}
		start := time.Now()
		if err := ep.Close(); err == nil || time.Since(start) > 10*time.Second {
			b.Errorf("after %v: %v", time.Since(start), err)
		}
		b.thawed()
	})
}
