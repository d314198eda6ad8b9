package cache

import "sync"

// Sending many files at once makes many small changes to the index at the same time. Each in a transaction of its own would
// take its turn at the writer's lock before a program that makes a file gets it; so they share transactions, and only one of
// them waits for the lock.

// jointMax is how many changes share a transaction: file operations wait that long.
const jointMax = 8

// jointQueue are the changes that wait for a transaction. The first of them runs it.
type jointQueue struct {
	mu  sync.Mutex
	due []*jointPart
}

type jointPart struct {
	leg  LegID
	fn   func(*Tx) error
	lead chan bool // true: it is the first; false: it is done
	err  error
}

// UpdateJoint is Update for one of many changes that come at the same time and do not depend on each other. fn may be called
// again after what it did was undone, and from another goroutine.
func (c *Cache) UpdateJoint(leg LegID, fn func(*Tx) error) error {
	p := &jointPart{leg: leg, fn: fn, lead: make(chan bool, 1)}
	c.joint.add(p)
	if <-p.lead {
		c.joint.done(c.updateParts(p))
	}
	return p.err
}

func (q *jointQueue) add(p *jointPart) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = append(q.due, p)
	if len(q.due) == 1 {
		p.lead <- true
	}
}

// first are those that share the next transaction. They stay in the queue.
func (q *jointQueue) first() []*jointPart {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(jointMax, len(q.due))
	return q.due[:n:n]
}

// done takes parts from the front of the queue.
func (q *jointQueue) done(parts []*jointPart) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = q.due[len(parts):]
	for _, p := range parts[1:] {
		p.lead <- false
	}
	if len(q.due) > 0 {
		q.due[0].lead <- true
	}
}

// updateParts runs what is due in one transaction, and each by itself if one of them fails.
func (c *Cache) updateParts(first *jointPart) []*jointPart {
	parts := []*jointPart{first}
	err := c.update(first.leg, false, func(tx *Tx) error {
		parts = c.joint.first()
		for _, p := range parts {
			tx.origin = p.leg
			if err := p.fn(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && len(parts) > 1 {
		for _, p := range parts {
			p.err = c.update(p.leg, false, p.fn)
		}
		return parts
	}
	first.err = err
	return parts
}
