package offload

import (
	"math"
	"time"

	"vdfs/cache"
)

// sweep goes through what is here, what was not opened for the longest time first. It stays where it is from one look to the
// next: what lies behind it was refused and rests so until the sweep begins again.
type sweep struct {
	online bool // only what goes before the rest; else everything

	began   time.Time
	cost    time.Duration // of reading, and of asking in vain, so far
	used    int64         // up to where it has read
	content cache.ContentID
	page    []candidate // was read, in order, and not tried yet
}

// How soon a sweep may begin again: after sweepShare times what it cost, within the others. A drive that is full of what may
// not go costs no more than that for being looked at. While somebody waits for room it may cost pressedShare times as much.
const (
	sweepShare   = 50
	pressedShare = 20
	minSweepRest = 15 * time.Second
	maxSweepRest = time.Minute
)

// begin starts again from what was not opened for the longest time if it is time to, which is not before least, and tells
// whether it did. Usually least is minSweepRest.
func (s *sweep) begin(now time.Time, least time.Duration) bool {
	share := time.Duration(sweepShare)
	if least < minSweepRest {
		share /= pressedShare
	}
	rest := min(max(share*s.cost, least), maxSweepRest)
	again := now.Sub(s.began) >= rest
	if again {
		*s = sweep{online: s.online, began: now}
	}
	return again
}

// next takes from a sweep what goes next to free that many bytes, and what is idle; none: that is all.
func (e *evictor) next(s *sweep, bytes int64) ([]candidate, error) {
	var idle int64
	if e.rules.Idle > 0 {
		idle = e.m.now().Add(-e.rules.Idle).UnixNano()
	}
	if bytes <= 0 && idle == 0 || !e.rested() {
		return nil, nil
	}
	for len(s.page) == 0 {
		began := e.m.now()
		more, err := e.read(s, bytes, idle)
		s.cost += e.m.now().Sub(began)
		if err != nil || !more && len(s.page) == 0 {
			return nil, err
		}
	}
	batch, rest := take(s.page, bytes, idle, 4*provers)
	s.page = rest
	return batch, nil
}

// read reads one more page of a sweep, as far as anything of it can go now. more: it may not be the last.
func (e *evictor) read(s *sweep, bytes, idle int64) (more bool, err error) {
	err = e.m.cache.Survey(func(tx *cache.Tx) error {
		if s.online {
			if any, err := anyOnline(tx); err != nil || !any {
				return err
			}
		}
		all, err := tx.KeptPage(s.used, s.content, evictPage)
		if err != nil {
			return err
		}
		now := e.m.now().UnixNano()
		for _, k := range all {
			switch {
			case bytes <= 0 && k.Used >= idle:
				return nil // nor may what follows
			case e.rules.recent(k.Used, now): // nor may what follows, but for what was used when the clock was ahead
				s.used, s.content, more = now, math.MaxInt64, true
				return nil
			}
			s.used, s.content = k.Used, k.Content
			c, err := e.candidate(tx, k)
			if err != nil {
				return err
			}
			if !e.rules.spared(c, now) && (!s.online || rank(c.intent) == rank(cache.Online)) && !e.rests(c.Ino) {
				s.page = append(s.page, c)
			}
		}
		more = len(all) == evictPage
		return nil
	})
	order(s.page)
	return more, err
}

// anyOnline tells whether anything is to go before the rest.
func anyOnline(tx *cache.Tx) (bool, error) {
	any, err := tx.AnyIntent(cache.Online)
	if err == nil && !any {
		any, err = tx.AnyIntent(cache.Excluded)
	}
	return any, err
}

// candidate finds out what the choice depends on.
func (e *evictor) candidate(tx *cache.Tx, k cache.Kept) (candidate, error) {
	c := candidate{Kept: k}
	if k.Ino == 0 || k.Writing {
		return c, nil
	}
	if at, err := tx.LastOpened(k.Ino); err != nil || at > k.Used {
		return c, err // opened in this moment: it comes again in its place
	}
	names, err := tx.DentriesOf(k.Ino)
	if err != nil || len(names) == 0 {
		return c, err
	}
	intents := make([]cache.Intent, len(names))
	for i, d := range names {
		c.names = append(c.names, d.Name)
		if intents[i], _, err = tx.EffectiveIntent(d.ID); err != nil {
			return c, err
		}
	}
	c.intent = strongest(intents)
	return c, nil
}
