package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vdfs/cache"
	"vdfs/internal/fault"
	"vdfs/syncer/plan"
)

// A generation is one numbered, bounded batch of a leg's work. Its row is begun in the transaction that claims its first work, and
// counts along in those that do the work. So the index alone knows what is under way: after a crash the work that is planned
// again goes on in the generation that was cut, which ends with the first cycle in any case. What it touched is written down
// until it is verified, see watch.

const (
	// generationObjects and generationBytes are how much one takes in, or little more: so much that its row and the look at the
	// changes of its conduit are nothing beside its copies, and so little that it is verified while the next is at work, and
	// that what a crash leaves to be looked at again is looked at within a second or two.
	generationObjects = 4096
	generationBytes   = 256 << 20
	// ownGeneration is the size above which a file has one of its own: it may take hours, for which nothing else waits.
	ownGeneration = 64 << 20
	// clockGrain is what a clock is set by that nobody has set.
	clockGrain = 100 * time.Millisecond
)

// errInterrupted is why a generation came to an early end: a person or the end of the daemon stopped it.
var errInterrupted = errors.New("interrupted")

// claims are what a leg has taken in hand and not completed. Their counts are the cycle's own.
type claims struct {
	objects, bytes int64     // since the generation was begun
	counted        counts    // of the cycle, at the last that was completed
	since          time.Time // of the cycle or of that
}

// ownItem is the item of a transfer that has a generation of its own, else 0.
func ownItem(item, size int64) int64 {
	if size > ownGeneration {
		return item
	}
	return 0
}

// claim notes that work is about to be done, of which nothing can be counted in the same transaction.
func (l *leg) claim(tx *cache.Tx, item int64) (generation int64, err error) {
	l.open.Store(true)
	return tx.ClaimGeneration(l.conduitRow().ID, l.id, item)
}

// work is step for what belongs to a generation; item is that which has one of its own, else 0.
func (l *leg) work(tx *cache.Tx, c *counts, item int64) (*step, error) {
	t, err := l.step(tx, c)
	t.works, t.own = true, item
	return t, err
}

// generation is the number of the one that the step belongs to.
func (t *step) generation() (n int64, err error) {
	if t.gen == 0 {
		t.gen, err = t.l.claim(t.tx, t.own)
	}
	return t.gen, err
}

// touch notes that the generation has to do with what a binding binds.
func (t *step) touch(b cache.BindingID) error {
	if !t.works {
		return nil
	}
	n, err := t.generation()
	if err != nil {
		return err
	}
	return t.tx.Touch(t.l.id, n, b)
}

// touchGone notes that the generation has removed an object of the endpoint, or found it gone. It is still known.
func (t *step) touchGone(b cache.BindingID, remoteID string) error {
	if !t.works || remoteID == "" {
		return nil
	}
	o, err := t.l.object(t.tx, remoteID)
	if err != nil || o == nil {
		return err
	}
	n, err := t.generation()
	if err != nil {
		return err
	}
	return t.tx.TouchGone(t.l.id, n, cache.Touched{Binding: b, RemoteID: remoteID, Parent: o.Parent, Name: o.Name})
}

// count adds what the step has done to its generation.
func (t *step) count(done counts) error {
	done.Applied = 0 // which is shown nowhere
	if !t.works || done == (counts{}) {
		return nil
	}
	n, err := t.generation()
	if err != nil {
		return err
	}
	return t.tx.CountInGeneration(t.l.conduitRow().ID, n, done.row())
}

// row are counts as a generation has them.
func (c counts) row() cache.Generation {
	return cache.Generation{Copied: c.Copied, Deleted: c.Deleted, Conflicts: c.Conflicts, Bytes: c.Bytes, Errors: c.Errors, Drift: c.Drift}
}

// plus is the sum of two counts.
func (c counts) plus(o counts) counts {
	return counts{
		Copied: c.Copied + o.Copied, Deleted: c.Deleted + o.Deleted, Conflicts: c.Conflicts + o.Conflicts, Bytes: c.Bytes + o.Bytes,
		Errors: c.Errors + o.Errors, Applied: c.Applied + o.Applied, Drift: c.Drift + o.Drift,
	}
}

// less is what has been counted since.
func (c counts) less(was counts) counts {
	return c.plus(counts{-was.Copied, -was.Deleted, -was.Conflicts, -was.Bytes, -was.Errors, -was.Applied, -was.Drift})
}

// more notes how much the generation under way has taken in, and completes it when that is enough. Whoever calls it is between two
// pieces of work. c are the counts of the cycle.
func (l *leg) more(c *counts, objects int, bytes int64) error {
	l.claims.objects += int64(objects)
	l.claims.bytes += bytes
	if l.claims.objects < generationObjects && l.claims.bytes < generationBytes {
		return nil
	}
	l.claims.objects, l.claims.bytes = 0, 0
	return l.complete(c, nil, func(g cache.Generation) bool { return g.Item == 0 })
}

// everyOne chooses all generations that are under way.
func everyOne(cache.Generation) bool { return true }

// complete ends generations that are under way. c are the counts of the cycle, of which those that no transaction could count go
// to the first; cause is why they end early, nil: they do not.
func (l *leg) complete(c *counts, cause error, which func(cache.Generation) bool) error {
	late := c.less(l.claims.counted)
	late = counts{Errors: late.Errors, Conflicts: l.met.Load()}
	if !l.open.Load() && late == (counts{}) {
		return nil
	}
	left := false
	var ended []cache.Generation
	err := l.e.Cache.Update(l.id, func(tx *cache.Tx) error {
		left, ended = false, nil
		all, err := tx.OpenGenerations(l.id)
		if err != nil {
			return err
		}
		for _, g := range all {
			if g.Completed == 0 && which(g) {
				ended = append(ended, g)
			} else if g.Completed == 0 {
				left = true
			}
		}
		if len(ended) == 0 && late != (counts{}) {
			g, err := tx.BeginGeneration(l.conduitRow().ID, l.id, 0)
			if err != nil {
				return err
			}
			ended = append(ended, g)
		}
		for i := range ended {
			if i == 0 {
				ended[i].Errors, ended[i].Conflicts = ended[i].Errors+late.Errors, ended[i].Conflicts+late.Conflicts
			}
			if err := l.completeOne(tx, &ended[i], cause); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("complete generation: %w", err)
	}
	if len(ended) > 0 {
		fault.Cut(faultComplete)
	}
	l.open.Store(left)
	l.met.Add(-late.Conflicts)
	l.claims.counted, l.claims.since = *c, l.e.Clock()
	l.news.completed(slices.DeleteFunc(ended, func(g cache.Generation) bool { return g.Completed == 0 }))
	return nil
}

// clockSet is by how much the clock was set while a generation was under way, in nanoseconds: what it began at moves with it.
func (l *leg) clockSet() int64 {
	since, now := l.claims.since, l.e.Clock()
	by := now.UnixNano() - since.UnixNano() - int64(now.Sub(since))
	if since.IsZero() || by > -int64(clockGrain) && by < int64(clockGrain) {
		return 0
	}
	return by
}

// completeOne ends one generation and adds it to the sums of its conduit. One that came to nothing is forgotten, and not completed.
func (l *leg) completeOne(tx *cache.Tx, g *cache.Generation, cause error) error {
	some, err := tx.TouchedPage(l.id, g.Number, cache.Touched{}, 1)
	if err != nil {
		return err
	}
	if len(some) == 0 && g.Copied == 0 && g.Deleted == 0 && g.Conflicts == 0 && g.Errors == 0 && g.Drift == 0 {
		return tx.DropGeneration(*g)
	}
	g.Started += l.clockSet()
	g.Completed = max(tx.Now(), g.Started)
	switch {
	case cause != nil:
		g.Verification = cache.FailedPrefix + reasonOf(cause)
	case g.Errors > 0:
		g.Verification = fmt.Sprintf("%s%d of its operations failed", cache.FailedPrefix, g.Errors)
	default:
		g.Verification = cache.WaitingWatcher
		l.unverified.Store(true)
	}
	failed := g.Verification != cache.WaitingWatcher
	if failed {
		err = tx.DropTouched(l.id, g.Number)
	}
	if err == nil {
		err = tx.PutGeneration(*g)
	}
	if err != nil {
		return err
	}
	cd, ok, err := tx.Conduit(g.Conduit)
	if err != nil || !ok {
		return err
	}
	cd.TotalSyncs++
	cd.FilesSynced += g.Copied
	cd.BytesTransferred += g.Bytes
	cd.Drift += g.Drift
	if !failed {
		cd.LastSync, cd.LastError, cd.LastErrorAt = tx.Now(), "", 0
	}
	return tx.UpdateConduit(cd)
}

// reasonOf is why work came to an early end, in one line.
func reasonOf(cause error) string {
	if errors.Is(cause, context.Canceled) || errors.Is(cause, errInterrupted) {
		return errInterrupted.Error()
	}
	first, _, _ := strings.Cut(cause.Error(), "\n")
	return first
}

// claimDeletions begins a generation before objects are removed, which nothing announces.
func (b *batch) claimDeletions(jobs []job) error {
	for _, j := range jobs {
		if removes(j.Op) {
			return b.l.e.Cache.Update(b.l.id, func(tx *cache.Tx) error {
				_, err := b.l.claim(tx, 0)
				return err
			})
		}
	}
	return nil
}

// inBounds puts copies together that are worked on before a generation may end: small files up to the bounds, and last the large ones,
// each of which has a generation of its own.
func inBounds(all []*sending) (parts [][]*sending) {
	var part, large []*sending
	var bytes int64
	for _, s := range all {
		if s.own != 0 {
			large = append(large, s)
			continue
		}
		if len(part) == generationObjects || bytes > generationBytes {
			parts, part, bytes = append(parts, part), nil, 0
		}
		part = append(part, s)
		bytes += s.node.Size
	}
	for _, p := range [][]*sending{part, large} {
		if len(p) > 0 {
			parts = append(parts, p)
		}
	}
	return parts
}

// copiedOf counts a copy.
func copiedOf(op plan.Op, size int64) (c counts) {
	if isCopyOf(op) {
		c.Copied, c.Bytes = 1, size
	}
	return c
}
