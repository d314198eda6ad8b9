package syncer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"vdfs/internal/wait"
	"vdfs/syncer/remote"
)

// The trash of an endpoint is kept as the drive's own is: for a time, and within a number of bytes, the oldest going first. It is
// looked through page by page, and what it needs to know of it is small however much there is: how many bytes went in which hour.
// Nothing that is live or a base is ever in a trash: a file of the drive whose bytes would be there only is fetched before.

const (
	trashKept  = 30 * 24 * time.Hour
	trashFresh = 24 * time.Hour // for so long a version is kept however much there is
	trashMost  = 20 << 30       // bytes, but no more than a tenth of what is free
	trashShare = 10

	tidyFirst = 10 * time.Second // after the start
	tidyEvery = time.Hour
	tidyDaily = 24 * time.Hour // others may use the same trash
	tidyBatch = 256            // versions that are ended in one call
)

// tidied is what the last look at a trash has shown.
type tidied struct {
	mu     sync.Mutex
	at     time.Time // zero: there was none
	oldest time.Time // of what is left; zero: nothing is
	more   bool      // something may have come since
}

// due reports whether a look can come to something.
func (t *tidied) due(now time.Time, kept time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at.IsZero() || t.more || now.Sub(t.at) >= tidyDaily || !t.oldest.IsZero() && now.Sub(t.oldest) > kept
}

// grew notes that something went into the trash.
func (t *tidied) grew() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.more = true
}

// tidyTrashes tidies now and then until ctx ends.
func (e *Engine) tidyTrashes(ctx context.Context) error {
	for next := tidyFirst; wait.For(ctx, next); next = tidyEvery {
		e.TidyTrash(ctx)
	}
	return ctx.Err()
}

// TidyTrash ends what the endpoints that can be reached have kept for long enough, or too much of. What fails is logged and
// tried again the next time.
func (e *Engine) TidyTrash(ctx context.Context) {
	if e.Paused() {
		return
	}
	for _, l := range e.current() {
		if !l.answers() || !l.tidied.due(e.Clock(), e.TrashKept) {
			continue
		}
		if err := l.tidy(ctx); err != nil && ctx.Err() == nil {
			e.log.Warn("trash not tidied", "conduit", l.conduitRow().Name, "endpoint", l.target, "error", err)
		}
	}
}

// tidy looks through the trash of the endpoint.
func (l *leg) tidy(ctx context.Context) error {
	ep, err := l.online(ctx)
	if err != nil || !ep.Caps().ListTrash {
		return err
	}
	l.tidied.mu.Lock()
	l.tidied.more = false
	l.tidied.mu.Unlock()
	now := l.e.Clock()
	seen := trashSum{hours: map[int64]int64{}, fresh: now.Add(-trashFresh)}
	ended, err := l.endTrashed(ctx, ep, func(it remote.Trashed) bool {
		if it.When.Before(now.Add(-l.e.TrashKept)) {
			return true
		}
		seen.add(it)
		return false
	})
	if err != nil {
		return err
	}
	st, err := ep.Check(ctx)
	if err != nil {
		return l.readFailed(err)
	}
	if cut := seen.cut(seen.bytes - l.trashMost(st.Free, seen.bytes)); cut != nil {
		more, err := l.endTrashed(ctx, ep, cut)
		if err != nil {
			return err
		}
		ended += more
	}
	if ended > 0 {
		l.e.log.Info("old versions ended", "conduit", l.conduitRow().Name, "endpoint", l.target, "versions", ended)
	}
	l.tidied.mu.Lock()
	defer l.tidied.mu.Unlock()
	l.tidied.at, l.tidied.oldest = now, seen.oldest
	return nil
}

// trashMost is how many bytes the trash of an endpoint may have, which has so many free; below 0: nobody knows.
func (l *leg) trashMost(free, have int64) int64 {
	switch {
	case l.e.TrashMost > 0:
		return l.e.TrashMost
	case free < 0:
		return trashMost
	}
	return min(trashMost, (free+have)/trashShare)
}

// endTrashed ends what a function chooses of the trash, a page at a time, and makes way for programs. It returns how many versions
// that were.
func (l *leg) endTrashed(ctx context.Context, ep remote.Endpoint, ends func(remote.Trashed) bool) (ended int, err error) {
	for page := ""; ; {
		begun := time.Now()
		items, next, err := ep.Trash(ctx, "", page)
		if err != nil {
			return ended, l.readFailed(err)
		}
		var ids []remote.ItemID
		for _, it := range items {
			if ends(it) {
				ids = append(ids, it.ID)
			}
		}
		for part := range slices.Chunk(ids, tidyBatch) {
			if err := ep.Purge(ctx, part); err != nil {
				return ended, l.readFailed(err)
			}
			ended += len(part)
		}
		if page = next; page == "" {
			return ended, nil
		}
		l.makeWay(ctx, time.Since(begun))
	}
}

// trashSum is what there is in a trash.
type trashSum struct {
	bytes  int64
	hours  map[int64]int64 // bytes of what is older than fresh by the hour in which it went
	fresh  time.Time
	oldest time.Time
}

func hourOf(t time.Time) int64 { return t.Unix() / int64(time.Hour/time.Second) }

func (s *trashSum) add(it remote.Trashed) {
	s.bytes += it.Size
	if it.When.Before(s.fresh) {
		s.hours[hourOf(it.When)] += it.Size
	}
	if s.oldest.IsZero() || it.When.Before(s.oldest) {
		s.oldest = it.When
	}
}

// cut chooses the oldest versions that have so many bytes together, to the hour in which they went; nil: there is no need.
func (s *trashSum) cut(bytes int64) func(remote.Trashed) bool {
	if bytes <= 0 || len(s.hours) == 0 {
		return nil
	}
	var hours []int64
	for h := range s.hours {
		hours = append(hours, h)
	}
	slices.Sort(hours)
	last := hours[len(hours)-1]
	for _, h := range hours {
		if last = h; bytes <= s.hours[h] {
			break
		}
		bytes -= s.hours[h]
	}
	return func(it remote.Trashed) bool {
		h := hourOf(it.When)
		if !it.When.Before(s.fresh) || h > last || h == last && bytes <= 0 {
			return false
		}
		if h == last {
			bytes -= it.Size
		}
		return true
	}
}

// TrashUse is what the trash of an endpoint has.
type TrashUse struct {
	Conduit, Endpoint string
	Files, Bytes      int64
	Err               error // why it is not known
}

// TrashUses counts what there is in the trash of every endpoint that can be asked.
func (e *Engine) TrashUses(ctx context.Context) (out []TrashUse, err error) {
	for _, l := range e.current() {
		u := TrashUse{Conduit: l.conduitRow().Name, Endpoint: l.target}
		ep, err := l.online(ctx)
		if err == nil && !ep.Caps().ListTrash {
			if ep.Caps().Trash || ep.Caps().Versions {
				err = errOwnTrash
			} else {
				continue
			}
		}
		for page := ""; err == nil; {
			var items []remote.Trashed
			if items, page, err = ep.Trash(ctx, "", page); err != nil {
				err = l.readFailed(err)
			}
			for _, it := range items {
				u.Files++
				u.Bytes += it.Size
			}
			if page == "" {
				break
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("count trash: %w", ctx.Err())
		}
		u.Err = err
		out = append(out, u)
	}
	slices.SortFunc(out, func(a, b TrashUse) int {
		return cmp.Or(cmp.Compare(a.Conduit, b.Conduit), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return out, nil
}
