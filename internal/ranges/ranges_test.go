package ranges

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// model is the set as one bool per offset.
const span = 96

func check(t interface{ Fatalf(string, ...any) }, s *Set, model *[span]bool) {
	count := int64(0)
	for i := range model {
		if s.Contains(int64(i), 1) != model[i] {
			t.Fatalf("offset %d: contains %v, want %v (%v)", i, !model[i], model[i], s.spans)
		}
		if model[i] {
			count++
		}
	}
	if s.Bytes() != count {
		t.Fatalf("bytes %d, want %d", s.Bytes(), count)
	}
	for i := 1; i < len(s.spans); i++ {
		if s.spans[i].Off <= s.spans[i-1].End() {
			t.Fatalf("ranges touch or are out of order: %v", s.spans)
		}
	}
}

func TestSetBehavesLikeASetOfOffsets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s Set
		var model [span]bool
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			off := rapid.Int64Range(0, span-1).Draw(t, "off")
			n := rapid.Int64Range(0, span-off).Draw(t, "n")
			add := rapid.Bool().Draw(t, "add")
			if add {
				s.Add(off, n)
			} else {
				s.Remove(off, n)
			}
			for i := off; i < off+n; i++ {
				model[i] = add
			}
			check(t, &s, &model)
		}
		off := rapid.Int64Range(0, span-1).Draw(t, "moff")
		n := rapid.Int64Range(0, span-off).Draw(t, "mn")
		missing := map[int64]bool{}
		for _, r := range s.Missing(off, n) {
			for i := r.Off; i < r.End(); i++ {
				missing[i] = true
			}
		}
		for i := int64(0); i < span; i++ {
			want := i >= off && i < off+n && !model[i]
			if missing[i] != want {
				t.Fatalf("missing(%d,%d) at %d: %v, want %v", off, n, i, missing[i], want)
			}
		}
		if s.Contains(off, n) != (len(s.Missing(off, n)) == 0) {
			t.Fatalf("contains and missing disagree")
		}
		b, err := s.MarshalBinary()
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		var back Set
		if err := back.UnmarshalBinary(b); err != nil {
			t.Fatalf("unmarshal: %v", err)
		}
		check(t, &back, &model)
	})
}

func TestExtremeOffsetsDoNotOverflow(t *testing.T) {
	t.Parallel()
	var s Set
	s.Add(math.MaxInt64-10, math.MaxInt64)
	s.Add(-5, 8)
	if s.Bytes() != 13 || !s.Contains(0, 3) || s.Contains(0, 4) {
		t.Fatalf("got %v", s.spans)
	}
	s.Remove(0, math.MaxInt64)
	if !s.Empty() || s.Bytes() != 0 {
		t.Fatalf("not empty: %v", s.spans)
	}
	if !s.Contains(5, 0) {
		t.Fatal("nothing is not contained")
	}
}

func TestCloneIsIndependent(t *testing.T) {
	t.Parallel()
	s := Whole(10)
	c := s.Clone()
	s.Remove(2, 3)
	if c.Bytes() != 10 || s.Bytes() != 7 {
		t.Fatalf("clone %v, set %v", c.spans, s.spans)
	}
}

// FuzzUnmarshal: what decodes is a well-formed set and encodes to the same bytes; anything else is refused.
func FuzzUnmarshal(f *testing.F) {
	s := Whole(100)
	s.Remove(10, 5)
	b, err := s.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0, 0})
	f.Add([]byte{0x80, 0x00, 1})
	f.Add(bytes.Repeat([]byte{0xff}, 30))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Set
		if err := s.UnmarshalBinary(b); err != nil {
			return
		}
		var sum int64
		for i, r := range s.spans {
			if r.Len <= 0 || r.Off < 0 || r.End() < r.Off || (i > 0 && r.Off <= s.spans[i-1].End()) {
				t.Fatalf("ill-formed set %v from %x", s.spans, b)
			}
			sum += r.Len
		}
		again, err := s.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) || sum != s.Bytes() {
			t.Fatalf("%x encodes again as %x (%v)", b, again, err)
		}
	})
}
