package offload

import (
	"cmp"
	"path"
	"slices"
	"time"

	"vdfs/cache"
)

// Eviction says when bytes are dropped by themselves, and which. Zero values switch their rule off; sizes are bytes.
type Eviction struct {
	// Budget is how much may be here that is not pinned.
	Budget int64
	// FreeLow is the free space of the disk below which bytes are dropped, until FreeHigh is free. FreeHigh is not less.
	FreeLow, FreeHigh int64
	// Idle is after how long without having been opened a file is dropped whatever room there is.
	Idle time.Duration
	// KeepRecent is how long a file stays after it was opened or written.
	KeepRecent time.Duration
	// MinSize is the size below which a file stays.
	MinSize int64
	// Include and Exclude are patterns of path.Match for names: only files of which one matches Include go, if there are any,
	// and none of which one matches Exclude.
	Include, Exclude []string
}

// off: nothing would ever be dropped.
func (v *Eviction) off() bool { return v.Budget == 0 && v.FreeLow == 0 && v.Idle == 0 }

// level is how full it is; bytes.
type level struct {
	here, pinned int64 // pinned is part of here
	free         int64 // on the disk
}

// slack is the part of the budget, one in so many, that is made room below it, so that not every file that comes begins
// anew.
const slack = 50

// excess is how many bytes have to go. going: some went already, and the targets are to be reached.
func (v *Eviction) excess(l level, going bool) (n int64) {
	if target := v.Budget - v.Budget/slack; v.Budget > 0 && (l.here-l.pinned > v.Budget || going) {
		n = max(n, l.here-l.pinned-target)
	}
	if v.FreeLow > 0 && (l.free < v.FreeLow || going) {
		n = max(n, v.FreeHigh-l.free)
	}
	return n
}

// candidate is a file that could go.
type candidate struct {
	cache.Kept
	names  []string
	intent cache.Intent // the strongest of its names'
}

// spared: the rules want it to stay whatever the room.
func (v *Eviction) spared(c candidate, now int64) bool {
	matches := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			return slices.ContainsFunc(c.names, func(name string) bool {
				ok, err := path.Match(pattern, name)
				return ok && err == nil // who made the rules has checked them
			})
		})
	}
	return c.Ino == 0 || c.Writing || c.Size < v.MinSize || len(c.names) == 0 || c.intent == cache.Pinned ||
		v.recent(c.Used, now) || v.recent(c.Mtime, now) ||
		len(v.Include) > 0 && !matches(v.Include) || matches(v.Exclude)
}

// recent reports whether a time is too near for what was used or changed then to go. One that is still to come says nothing.
func (v *Eviction) recent(at, now int64) bool {
	return v.KeepRecent > 0 && at > now-int64(v.KeepRecent) && at <= now
}

// rank is how strongly an intent keeps bytes here.
func rank(i cache.Intent) int {
	switch i {
	case cache.Pinned:
		return 2
	case cache.Online, cache.Excluded:
		return 0
	}
	return 1
}

// strongest is the intent of a node whose names have those.
func strongest(all []cache.Intent) cache.Intent {
	return slices.MaxFunc(all, func(a, b cache.Intent) int { return cmp.Compare(rank(a), rank(b)) })
}

// order puts first what goes first: what was not opened for the longest time and, of what was opened in the same second,
// what is largest.
func order(page []candidate) {
	slices.SortStableFunc(page, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.Used/int64(time.Second), b.Used/int64(time.Second)), cmp.Compare(b.Bytes, a.Bytes))
	})
}

// take cuts off what goes now from a page in order: until bytes are reached, and what was last opened before idle; at most
// limit.
func take(page []candidate, bytes, idle int64, limit int) (batch, rest []candidate) {
	n := 0
	for n < min(len(page), limit) && (bytes > 0 || page[n].Used < idle) {
		bytes -= page[n].Bytes
		n++
	}
	return page[:n], page[n:]
}
