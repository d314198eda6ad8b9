package offload

import (
	"fmt"
	"time"

	"vdfs/cache"
	"vdfs/cache/event"
)

// habits remembers how files were read lately, and which failed verification: as much as habitsMax files.
type habits struct {
	of    map[version]*habit
	order []version // ring, oldest at at
	at    int
}

const habitsMax = 512

// habit is how one version of a file is read, and what came of it.
type habit struct {
	next  int64 // where a reader in order goes on
	run   int64 // how much it has read
	reach int64 // up to where that was begun to be fetched

	stalled time.Time // when a fetch of it was given up

	wrong  int               // verifications that failed one after the other
	copies []cache.BindingID // what they were of
	failed time.Time         // when the second of them did; zero: there was none
	told   bool              // somebody was told
}

// get finds or makes a habit. Hydrator.mu is held.
func (s *habits) get(v version) *habit {
	if hb := s.of[v]; hb != nil {
		return hb
	}
	if s.of == nil {
		s.of = make(map[version]*habit)
		s.order = make([]version, habitsMax)
	}
	delete(s.of, s.order[s.at])
	s.order[s.at] = v
	s.at = (s.at + 1) % len(s.order)
	hb := &habit{}
	s.of[v] = hb
	return hb
}

// trusted forgets after a while that a version failed verification twice. Until then it is ErrMismatch.
func (s *habits) trusted(v version, now time.Time) error {
	hb := s.of[v]
	switch {
	case hb == nil || hb.wrong < 2:
		return nil
	case now.Sub(hb.failed) < mistrust:
		return v.mismatch()
	}
	hb.wrong, hb.copies, hb.failed = 0, nil, time.Time{}
	return nil
}

// read notes a read and answers how much behind it is to be fetched before anybody asks: nothing as long as it may be one at
// random.
func (hb *habit) read(off, n int64) (window int64) {
	end := off + n
	if hb.run > 0 && off >= hb.next-stray && off <= hb.next+stray {
		hb.run += min(n, max(end-hb.next, 0))
		hb.next = max(hb.next, end)
	} else {
		hb.next, hb.run, hb.reach = end, n, 0
	}
	if hb.run <= n && off > 0 {
		return 0
	}
	return min(eager*hb.run, windowMax)
}

// reads notes a read of what is not here; what it answers is fetched ahead.
func (h *Hydrator) reads(v version, off, n int64) (window int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hb := h.habits.get(v)
	window = hb.read(off, n)
	hb.reach = max(hb.reach, off+n+window)
	return window
}

// passes notes a read of what is here, and answers how much is to be fetched ahead now; mostly nothing, as it is done in
// steps.
func (h *Hydrator) passes(v version, off, n int64) (window int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hb := h.habits.of[v]
	if hb == nil || hb.run == 0 {
		return 0 // all that was read of it was here
	}
	window = hb.read(off, n)
	if reach := off + n + window; reach-hb.reach >= min(max(window/8, minFetch), pieceMax) {
		hb.reach = reach
		return window
	}
	return 0
}

// unread is how much of what is here of a version was fetched ahead of its reader, and not read yet.
func (h *Hydrator) unread(v version) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if hb := h.habits.of[v]; hb != nil {
		return max(hb.reach-hb.next, 0)
	}
	return 0
}

// follow has the window behind from fetched, if a file still has that version, and answers how many bytes that were.
func (h *Hydrator) follow(v version, from, window int64) (begun int64) {
	if window == 0 || h.ctx.Err() != nil || h.room() != nil {
		return 0
	}
	f, err := h.acquire(v.ino)
	if err != nil || f == nil {
		return 0 // a read that waits will be told
	}
	if f.v == v {
		f.mu.Lock()
		begun = f.fetchAhead(from, window)
		f.mu.Unlock()
	}
	if err := h.release(f); err != nil {
		h.log.Warn("fetched bytes not recorded", "ino", uint64(v.ino), "error", err)
	}
	return begun
}

// stalls notes that a fetch was given up.
func (h *Hydrator) stalls(v version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.habits.get(v).stalled = time.Now() // as the watchdog
}

// echo is how long, as a part of the timeout, whoever asks for a version again is told that it stalled. The kernel asks once
// more by itself for what it could not read ahead, and of the two answers the program gets the second.
const echo = 30

// fetchable is ErrMismatch or, right after a fetch was given up, ErrStalled: the version is not fetched again so soon.
// Hydrator.mu is held.
func (h *Hydrator) fetchable(v version) error {
	if err := h.habits.trusted(v, h.now()); err != nil {
		return err
	}
	if hb := h.habits.of[v]; hb != nil && !hb.stalled.IsZero() && time.Since(hb.stalled) < h.timeout/echo {
		return fmt.Errorf("fetch version %d: %w", v.n, ErrStalled)
	}
	return nil
}

// ActivityMismatch is the kind of activity that says that what the endpoints give of a file is not what it must be.
const ActivityMismatch = "mismatch"

// failed notes that bytes of these copies failed verification; nil: it was the first time, and others may be tried.
func (h *Hydrator) failed(v version, copies []cache.BindingID) error {
	h.mu.Lock()
	hb := h.habits.get(v)
	hb.wrong++
	hb.copies = append(hb.copies, copies...)
	again := hb.wrong < 2
	tell := !again && !hb.told
	if !again {
		hb.failed, hb.told = h.now(), true
	}
	h.mu.Unlock()
	h.log.Warn("fetched bytes are not what they must be", "ino", uint64(v.ino), "version", v.n, "retried", again)
	h.tell(event.Event{Type: event.FileCorrupted, Error: "fetched bytes are not what they must be"}, v.ino)
	if again {
		return nil
	}
	if tell {
		h.tellMismatch(v)
	}
	return v.mismatch()
}

// shunned are the copies of which bytes failed verification.
func (h *Hydrator) shunned(v version) []cache.BindingID {
	h.mu.Lock()
	defer h.mu.Unlock()
	if hb := h.habits.of[v]; hb != nil {
		return hb.copies
	}
	return nil
}

// distrusted is ErrMismatch if verification failed twice: nothing is fetched once more, whoever waits.
func (h *Hydrator) distrusted(v version) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.habits.trusted(v, h.now())
}

func (v version) mismatch() error { return fmt.Errorf("verify version %d: %w", v.n, ErrMismatch) }

// verified forgets what was wrong before.
func (h *Hydrator) verified(v version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if hb := h.habits.of[v]; hb != nil {
		hb.wrong, hb.copies, hb.failed = 0, nil, time.Time{}
	}
}

// tellMismatch writes into the diary that a file failed verification, and for an hour it is a note.
func (h *Hydrator) tellMismatch(v version) {
	var text string
	err := h.cache.Update(0, func(tx *cache.Tx) error {
		d, err := tx.DentryOf(v.ino)
		if err != nil {
			return err
		}
		path, err := tx.Path(d.ID)
		if err != nil {
			return err
		}
		text = path + " cannot be read: twice it came with other bytes than it must have"
		return tx.AddActivity(ActivityMismatch, text)
	})
	if err != nil {
		h.log.Error("report not recorded", "error", err)
		return
	}
	h.notes.add(text, h.now().UnixNano())
}
