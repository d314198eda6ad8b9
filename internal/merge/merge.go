// Package merge brings together what two sides made of one text, line by line, as diff3 and git do.
//
// A change is a run of lines that one side took away, put in or both. Changes that have at least one line between them, that
// neither side changed, do not concern each other, and the result has all of them. Those that overlap or only touch have to
// say the same about the lines they are about, and are in the result once; otherwise the sides are in conflict and there is
// no result: part of a merge is of no use to anybody.
//
// The rules are those of git merge-file, which is the oracle of the tests: given the same changes it comes to the same
// result, byte by byte, and to a conflict in the same cases. What the changes are is not always certain. Where lines are
// repeated there is often more than one shortest way from a text to another, and git may take another one. Then either may
// have a conflict where the other has none, and the same lines may stand in another place. Where no line is repeated or moved
// there is only one way. Of large texts that differ in most lines the changes are found only roughly, which may be a conflict,
// too.
package merge

import (
	"bytes"
	"unicode/utf8"

	"znkr.io/diff"
)

const (
	// Limit is the largest text that is merged, in bytes.
	Limit = 1 << 20
	// Lines is how many lines a text may have that is merged.
	Lines = 1 << 15
	// hard is how many lines, of both texts, are compared with care: that takes a time that grows with their square.
	hard = 1 << 10
)

// Text merges what two sides made of a base. It is false if they are in conflict or if one of the three is larger than it may
// be or no text: text is UTF-8 without NUL. That is stricter than git, which looks for a NUL in the first 8000 bytes: here
// nobody looks at the result, and what only begins like a text would be broken by it. Lines end with "\n", the last one may
// end without; lines that end differently are different.
func Text(base, ours, theirs []byte) (merged []byte, ok bool) {
	ids := make(map[string]int)
	var texts [3]text
	for i, data := range [][]byte{base, ours, theirs} {
		if texts[i], ok = split(data, ids); !ok {
			return nil, false
		}
	}
	b, o, t := &texts[0], &texts[1], &texts[2]
	return weave(b, &side{text: o, left: changes(b.ids, o.ids)}, &side{text: t, left: changes(b.ids, t.ids)})
}

// text is a text by lines.
type text struct {
	data   []byte
	starts []int // of each line, and of one more
	ids    []int // of each line: the same for equal ones
}

// split finds the lines, each with its end; false: it is not to be merged.
func split(data []byte, ids map[string]int) (text, bool) {
	n := bytes.Count(data, []byte("\n"))
	if len(data) > 0 && data[len(data)-1] != '\n' {
		n++
	}
	if len(data) > Limit || n > Lines || bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return text{}, false
	}
	t := text{data: data, starts: make([]int, 1, n+1), ids: make([]int, 0, n)}
	for line := range bytes.Lines(data) {
		id, known := ids[string(line)]
		if !known {
			id = len(ids)
			ids[string(line)] = id
		}
		t.ids = append(t.ids, id)
		t.starts = append(t.starts, t.starts[len(t.ids)-1]+len(line))
	}
	return t, true
}

// lines are the bytes of some lines.
func (t *text) lines(from, to int) []byte { return t.data[t.starts[from]:t.starts[to]] }

// change replaces the lines from from to to of the base by those from at to end of a side.
type change struct{ from, to, at, end int }

// changes are those that lead from the base to a side, in order. At least one line is between two of them. Large texts are
// divided first by the lines that are there once; what is too large between two of those is one change.
func changes(base, side []int) (all []change) {
	parts := []change{{0, len(base), 0, len(side)}}
	if len(base)+len(side) > hard {
		parts = parts[:0]
		for _, h := range diff.Hunks(base, side, diff.Context(0), diff.Fast()) {
			parts = append(parts, change{h.PosX, h.EndX, h.PosY, h.EndY})
		}
	}
	for _, p := range parts {
		if p.to-p.from+p.end-p.at > hard {
			all = append(all, p)
			continue
		}
		for _, h := range diff.Hunks(base[p.from:p.to], side[p.at:p.end], diff.Context(0)) {
			all = append(all, change{p.from + h.PosX, p.from + h.EndX, p.at + h.PosY, p.at + h.EndY})
		}
	}
	return settle(base, side, all)
}

// settle moves what was only put in or only taken away as far down as it goes, as git does: among equal lines it is uncertain
// which of them it was, and both sides should come to the same. Changes that meet are one.
func settle(base, side []int, all []change) []change {
	settled := all[:0]
	met := false // the change met the one before on its way down
	for i, c := range all {
		if n := len(settled); !met {
			before := 0
			if n > 0 {
				before = settled[n-1].to
			}
			for c.from > before && c.loose(base, side, -1) {
				c = c.moved(-1)
			}
			if n > 0 && c.from == before {
				c = settled[n-1].and(c)
				settled = settled[:n-1]
			}
		}
		after := len(base)
		if i+1 < len(all) {
			after = all[i+1].from
		}
		for c.to < after && c.loose(base, side, 1) {
			c = c.moved(1)
		}
		if met = i+1 < len(all) && c.to == after; met {
			all[i+1] = c.and(all[i+1])
		} else {
			settled = append(settled, c)
		}
	}
	return settled
}

// loose reports whether a change may as well be one line further down, or up. There has to be an unchanged line.
func (c change) loose(base, side []int, by int) bool {
	lines, from, to := side, c.at, c.end
	switch {
	case c.at == c.end:
		lines, from, to = base, c.from, c.to
	case c.from != c.to:
		return false
	}
	if by < 0 {
		return lines[from-1] == lines[to-1]
	}
	return lines[from] == lines[to]
}

func (c change) moved(by int) change { return change{c.from + by, c.to + by, c.at + by, c.end + by} }

// and is a change with the one that follows at once.
func (c change) and(next change) change { return change{c.from, next.to, c.at, next.end} }

// side is a side while its changes are woven in.
type side struct {
	*text
	left  []change // still to be woven in
	ahead int      // so many lines more than the base it has before those
}

// take takes the changes that begin up to, or at, a line of the base. It returns the end of the last, if that is further.
func (s *side) take(to int) int {
	for len(s.left) > 0 && s.left[0].from <= to {
		c := s.left[0]
		s.left = s.left[1:]
		s.ahead = c.end - c.to
		to = max(to, c.to)
	}
	return to
}

// weave makes all changes of both sides to the base; false: they are in conflict.
func weave(base *text, ours, theirs *side) ([]byte, bool) {
	merged := make([]byte, 0, len(ours.data)+len(theirs.data))
	done := 0 // lines of the base
	for len(ours.left)+len(theirs.left) > 0 {
		// What overlaps or touches begins with the first change, and each that belongs to it may bring more of the other side.
		from := len(base.ids)
		for _, s := range []*side{ours, theirs} {
			if len(s.left) > 0 {
				from = min(from, s.left[0].from)
			}
		}
		o, t := *ours, *theirs
		to := from
		for more := true; more; {
			end := theirs.take(ours.take(to))
			more, to = end > to, end
		}
		mine := ours.lines(from+o.ahead, to+ours.ahead)
		other := theirs.lines(from+t.ahead, to+theirs.ahead)
		merged = append(merged, base.lines(done, from)...)
		switch {
		case len(ours.left) == len(o.left):
			merged = append(merged, other...)
		case len(theirs.left) == len(t.left) || bytes.Equal(mine, other):
			merged = append(merged, mine...)
		default:
			return nil, false
		}
		done = to
	}
	return append(merged, base.lines(done, len(base.ids))...), true
}
