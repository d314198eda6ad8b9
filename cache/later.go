package cache

import (
	"errors"
	"sync"
	"time"
)

// A program that makes many files closes one after the other, and its next request would wait for the transaction that settles
// the file before. So the nodes that the kernel closes wait for a moment, and are settled together. Until then a node is what
// it is while it is open: marked in the index, with its backing file for the truth, and in use.

const (
	// settleDelay is how long a node waits for others.
	settleDelay = 10 * time.Millisecond
	// settleMax is how many are settled in one transaction: file operations wait that long.
	settleMax = 16
)

// laterQueue are the nodes that wait to be settled.
type laterQueue struct {
	turn sync.Mutex // held while they are settled; taken before mu
	mu   sync.Mutex
	due  []later
	late *time.Timer
}

// later is one of them, with a read lease of its own.
type later struct {
	st    *fileState
	until time.Time   // while the kernel may still be about to let go of the backing file
	done  func(error) // hears of the end
}

// CloseLater is Close of a handle that the kernel is just closing; it may take patience until it has let go of the backing
// file. done is called when the handle has come to its end.
func (o *OpenFile) CloseLater(patience time.Duration, done func(error)) {
	if err := o.end(); err != nil {
		done(err)
		return
	}
	if o.as == reads || !o.c.files.closeWriter(o.st, o.as) {
		done(o.c.letGo(o.st))
		return
	}
	o.st.waits.Store(true)
	o.c.later.add(later{o.st, time.Now().Add(patience), done}, o.c.settleNow)
}

func (q *laterQueue) add(l later, settle func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = append(q.due, l)
	switch {
	case q.late == nil:
		q.late = time.AfterFunc(settleDelay, settle)
	case len(q.due) == 1:
		q.late.Reset(settleDelay)
	}
}

// settleWaiting settles a node that waits, for one who opens it: what he opens is a version that was closed.
func (c *Cache) settleWaiting(ino Ino) {
	if st := c.files.find(ino); st != nil && st.waits.Load() {
		// It is tried again when its turn comes.
		_ = c.settleLast(st)
	}
}

func (q *laterQueue) take() []later {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := q.due
	q.due = nil
	return due
}

// settleNow settles what waits, and returns when nothing that waited before is left but what the kernel still holds.
func (c *Cache) settleNow() {
	c.later.turn.Lock()
	defer c.later.turn.Unlock()
	due := c.later.take()
	for len(due) > 0 {
		n := min(settleMax, len(due))
		c.settleTogether(due[:n])
		due = due[n:]
	}
}

// tried is a node that waited, with what came of settling it.
type tried struct {
	later
	err error
}

// settleTogether settles nodes in one transaction, and by itself each that has something particular.
func (c *Cache) settleTogether(all []later) {
	var ready, alone []later
	var ended []tried
	for _, l := range all {
		// Who has it moves bytes or opens it anew: with others held he is not waited for.
		if !l.st.op.TryLock() {
			alone = append(alone, l)
			continue
		}
		if ok, err := c.settles(l.st); !ok || err != nil {
			l.st.op.Unlock()
			ended = append(ended, tried{l, err})
			continue
		}
		ready = append(ready, l)
	}
	states := make([]*fileState, len(ready))
	for i, l := range ready {
		states[i] = l.st
	}
	err := c.settleStates(states)
	for _, l := range ready {
		l.st.op.Unlock()
		if err == nil {
			ended = append(ended, tried{l, nil})
		}
	}
	if err != nil {
		alone = append(alone, ready...)
	}
	for _, t := range ended {
		c.ends(t)
	}
	for _, l := range alone {
		c.ends(tried{l, c.settleLast(l.st)})
	}
}

// ends lets go of a node, unless the kernel may still be about to: then it is tried again.
func (c *Cache) ends(t tried) {
	if errors.Is(t.err, errHeld) && time.Now().Before(t.until) {
		c.later.add(t.later, c.settleNow)
		return
	}
	t.st.waits.Store(false)
	t.done(errors.Join(c.leftHeld(t.err), c.letGo(t.st)))
}
