// Package ranges keeps sets of byte ranges: which parts of a file are present.
//
// A Set is a value for one owner; it has no lock. Its zero value is the empty set.
package ranges

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sort"
)

// ErrEncoding says that bytes are not the encoding of a Set.
var ErrEncoding = errors.New("range set is not well encoded")

// Range is the bytes from Off up to, not including, Off+Len.
type Range struct {
	Off int64
	Len int64
}

// End is the first offset after the range.
func (r Range) End() int64 { return r.Off + r.Len }

// Set is a set of byte offsets, kept as sorted ranges of which no two touch.
type Set struct {
	spans []Range
	bytes int64
}

// Whole is the set of the first size bytes.
func Whole(size int64) Set {
	var s Set
	s.Add(0, size)
	return s
}

// Bytes counts the offsets in the set.
func (s *Set) Bytes() int64 { return s.bytes }

// Empty reports whether nothing is in the set.
func (s *Set) Empty() bool { return len(s.spans) == 0 }

// Ranges gives the set as sorted ranges of which no two touch. The caller owns the result.
func (s *Set) Ranges() []Range { return append([]Range(nil), s.spans...) }

// Clone gives an independent copy.
func (s *Set) Clone() Set { return Set{spans: s.Ranges(), bytes: s.bytes} }

// Clear empties the set.
func (s *Set) Clear() { s.spans, s.bytes = nil, 0 }

// Add puts n offsets from off in. Offsets below 0 and empty ranges are ignored.
func (s *Set) Add(off, n int64) {
	r, ok := clip(off, n)
	if !ok {
		return
	}
	// Ranges that overlap or touch the new one are replaced by their union.
	i := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].End() >= r.Off })
	j := i
	for ; j < len(s.spans) && s.spans[j].Off <= r.End(); j++ {
		old := s.spans[j]
		s.bytes -= old.Len
		end := max(r.End(), old.End())
		r.Off = min(r.Off, old.Off)
		r.Len = end - r.Off
	}
	s.bytes += r.Len
	s.splice(i, j, r)
}

// Remove takes n offsets from off out.
func (s *Set) Remove(off, n int64) {
	r, ok := clip(off, n)
	if !ok {
		return
	}
	i := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].End() > r.Off })
	j := i
	var keep []Range
	for ; j < len(s.spans) && s.spans[j].Off < r.End(); j++ {
		old := s.spans[j]
		s.bytes -= old.Len
		if old.Off < r.Off {
			keep = append(keep, Range{old.Off, r.Off - old.Off})
		}
		if old.End() > r.End() {
			keep = append(keep, Range{r.End(), old.End() - r.End()})
		}
	}
	for _, k := range keep {
		s.bytes += k.Len
	}
	s.splice(i, j, keep...)
}

// Contains reports whether all n offsets from off are in the set; of none it is true.
func (s *Set) Contains(off, n int64) bool {
	if n <= 0 {
		return true
	}
	i := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].End() > off })
	return i < len(s.spans) && s.spans[i].Off <= off && s.spans[i].End()-off >= n
}

// Missing lists what of the n offsets from off is not in the set, in order.
func (s *Set) Missing(off, n int64) []Range {
	r, ok := clip(off, n)
	if !ok {
		return nil
	}
	var missing []Range
	at := r.Off
	i := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].End() > r.Off })
	for ; i < len(s.spans) && s.spans[i].Off < r.End(); i++ {
		if s.spans[i].Off > at {
			missing = append(missing, Range{at, s.spans[i].Off - at})
		}
		at = s.spans[i].End()
	}
	if at < r.End() {
		missing = append(missing, Range{at, r.End() - at})
	}
	return missing
}

func (s *Set) splice(i, j int, with ...Range) {
	tail := append([]Range(nil), s.spans[j:]...)
	s.spans = append(append(s.spans[:i], with...), tail...)
}

// clip makes a range of off and n that lies in what an int64 can name.
func clip(off, n int64) (Range, bool) {
	if n <= 0 || off == math.MaxInt64 {
		return Range{}, false
	}
	if off < 0 {
		n += off
		off = 0
	}
	if n > math.MaxInt64-off {
		n = math.MaxInt64 - off
	}
	return Range{off, n}, n > 0
}

// AppendBinary appends the encoding: for each range the distance from the end of the one before and its length, as
// unsigned varints.
func (s *Set) AppendBinary(b []byte) ([]byte, error) {
	at := int64(0)
	for _, r := range s.spans {
		b = binary.AppendUvarint(b, uint64(r.Off-at))
		b = binary.AppendUvarint(b, uint64(r.Len))
		at = r.End()
	}
	return b, nil
}

// MarshalBinary gives the encoding of AppendBinary.
func (s *Set) MarshalBinary() ([]byte, error) { return s.AppendBinary([]byte{}) }

// UnmarshalBinary replaces the set by an encoded one; it fails with ErrEncoding and leaves the set alone when b could not
// have come from MarshalBinary.
func (s *Set) UnmarshalBinary(b []byte) error {
	var out Set
	at := int64(0)
	for len(b) > 0 {
		gap, rest, err := number(b)
		if err != nil {
			return err
		}
		n, rest, err := number(rest)
		if err != nil {
			return err
		}
		if n == 0 || (gap == 0 && len(out.spans) > 0) || gap > math.MaxInt64-at || n > math.MaxInt64-at-gap {
			return fmt.Errorf("decode range %d: %w", len(out.spans), ErrEncoding)
		}
		r := Range{at + gap, n}
		out.spans = append(out.spans, r)
		out.bytes += n
		at, b = r.End(), rest
	}
	*s = out
	return nil
}

func number(b []byte) (int64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > math.MaxInt64 || (n > 1 && b[n-1] == 0) { // a trailing zero byte is not the shortest form
		return 0, nil, fmt.Errorf("decode number: %w", ErrEncoding)
	}
	return int64(v), b[n:], nil
}
