package offload

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vdfs/cache"
)

// line is a Source that is far away: it takes three round trips to the first bytes, one for each read after that, and has a
// limited rate. Its bytes are zeros.
type line struct {
	endpoint
	latency time.Duration
	rate    int64 // bytes a second

	mu   sync.Mutex
	busy time.Time // until when it is taken
	sent int64
}

func (l *line) Fetch(
	ctx context.Context, _ cache.Ino, _ uint64, _, n int64, _ []cache.BindingID,
) (io.ReadCloser, cache.BindingID, error) {
	time.Sleep(2 * l.latency)
	return &lineStream{l, n}, 1, ctx.Err()
}

func (l *line) HashKnown(cache.Ino, uint64) (cache.Hash, bool) { return cache.Hash{}, false }

type lineStream struct {
	l    *line
	left int64
}

func (s *lineStream) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), s.left)
	s.left -= n
	l := s.l
	l.mu.Lock()
	if now := time.Now(); l.busy.Before(now) {
		l.busy = now
	}
	l.busy = l.busy.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
	arrives := l.busy.Add(l.latency)
	l.sent += n
	l.mu.Unlock()
	time.Sleep(time.Until(arrives))
	clear(p[:n])
	return int(n), nil
}

func (s *lineStream) Close() error { return nil }

// onLine runs a test with a file at the end of a line, in a time that passes only while everybody waits: what programs take
// of the processor is nothing.
func onLine(t *testing.T, latency time.Duration, rate, size int64, test func(d *drive, l *line, e cache.Entry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &line{latency: latency, rate: rate}
		d := newDrive(t, Options{Clock: time.Now})
		d.m.source, d.m.Hydrator.source = l, l
		e := d.remote(cache.RootIno, "f", nil)
		d.update(func(tx *cache.Tx) error { return tx.ReplaceContent(e.Ino, size, 1, cache.Hash{}) })
		test(d, l, e)
	})
}

func TestAReaderInOrderGetsNineTenthsOfTheLine(t *testing.T) {
	t.Parallel()
	const rate, size, step = 100 << 20, 192 << 20, 128 << 10
	for _, latency := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond} {
		t.Run(latency.String(), func(t *testing.T) {
			t.Parallel()
			onLine(t, latency, rate, size, func(d *drive, l *line, e cache.Entry) {
				start := time.Now()
				_, err := d.read(e.Ino, 0, 4096)
				d.ok(err)
				if took := time.Since(start); took > 3*latency+5*time.Millisecond {
					t.Errorf("the first byte took %v", took)
				}
				for off := int64(0); off < size; off += step {
					_, err := d.read(e.Ino, off, step)
					d.ok(err)
				}
				took, line := time.Since(start), time.Duration(size)*time.Second/rate
				t.Logf("%d MiB took %v, the line alone %v", size>>20, took, line)
				// A tenth of what a file of 1 GiB takes is lost at the beginning, where nobody knows yet what will be read.
				if spare := (1 << 30) * time.Second / rate / 10; took > line+spare {
					t.Errorf("%d MiB took %v, want at most %v", size>>20, took, line+spare)
				}
				if l.sent != size {
					t.Errorf("%d bytes were sent of %d", l.sent, size)
				}
			})
		})
	}
}
