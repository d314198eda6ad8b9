package syncer

import (
	"context"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/syncer/remote"
)

// Sent is a number that grows with every byte of a file that an endpoint takes, and with every sign that it proves what it
// took.
func (e *Engine) Sent() int64 { return e.sent.Load() }

// sendingSoon is how soon an item has to be due to count as being sent: a quiet period, not the rest after some failures.
const sendingSoon = 10 * time.Second

// Sending reports whether a change of the drive that takes local bytes is on its way to an endpoint, or could be soon.
func (e *Engine) Sending() bool {
	if e.puts.Load() > 0 {
		return true
	}
	if e.Paused() {
		return false
	}
	some := false
	err := e.Cache.Survey(func(tx *cache.Tx) (err error) {
		for _, l := range e.current() {
			if !some && l.answers() {
				if some, err = tx.HasCopies(l.id, e.now()+int64(sendingSoon)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		e.log.Debug("read queue", "error", err)
	}
	return some
}

// answers reports whether a leg is at work with an endpoint that was there at the last look.
func (l *leg) answers() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conduit.Enabled && l.offline == nil
}

// metered is a body that counts what is read of it, and has it told.
type metered struct {
	body
	l        *leg
	progress *event.Progress
	part     *part // nil: it counts for nothing
}

// ReadAt implements io.ReaderAt.
func (m metered) ReadAt(p []byte, off int64) (int, error) {
	n, err := m.body.ReadAt(p, off)
	m.l.e.sent.Add(int64(n))
	m.l.e.Events.Moved(event.Up, int64(n))
	m.progress.Reached(off + int64(n))
	m.part.read(int64(n))
	m.l.news.moved()
	return n, err
}

// counted is a context for proving what was sent.
func (e *Engine) counted(ctx context.Context) context.Context {
	return remote.WithProgress(ctx, func() { e.sent.Add(1) })
}
