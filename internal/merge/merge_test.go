package merge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestTextMerges(t *testing.T) {
	t.Parallel()
	const conflict = "\x00"
	for name, c := range map[string]struct{ base, ours, theirs, want string }{
		"nothing at all":                                  {"", "", "", ""},
		"what one side did":                               {"a\nb\n", "a\nb\n", "a\nx\n", "a\nx\n"},
		"changes apart from each other":                   {"a\nb\nc\nd\ne\n", "A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n", "A\nb\nc\nd\nE\n"},
		"one line between changes is enough":              {"a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n"},
		"changes that touch are in conflict":              {"a\nb\n", "A\nb\n", "a\nB\n", conflict},
		"changes that overlap are in conflict":            {"a\nb\nc\n", "x\nc\n", "a\ny\n", conflict},
		"the same change is made once":                    {"a\nb\nc\n", "a\nx\nc\n", "a\nx\nc\n", "a\nx\nc\n"},
		"the same change beside another one":              {"a\nb\nc\nd\ne\n", "a\nx\nc\nd\nE\n", "a\nx\nc\nd\ne\n", "a\nx\nc\nd\nE\n"},
		"the same lines put in at one place are so once":  {"a\nb\n", "a\nx\nb\n", "a\nx\nb\n", "a\nx\nb\n"},
		"other lines put in at one place are in conflict": {"a\nb\n", "a\nx\nb\n", "a\ny\nb\n", conflict},
		"lines put in before and behind a line":           {"a\nb\nc\n", "a\nx\nb\nc\n", "a\nb\ny\nc\n", "a\nx\nb\ny\nc\n"},
		"a line taken away and changed":                   {"a\nb\nc\n", "a\nc\n", "a\nB\nc\n", conflict},
		"a line taken away and one put in beside it":      {"a\nb\nc\n", "a\nc\n", "a\nb\nx\nc\n", conflict},
		"a line taken away by both":                       {"a\nb\nc\n", "a\nc\n", "a\nc\n", "a\nc\n"},
		"emptied, and changed":                            {"a\nb\n", "", "a\nB\n", conflict},
		"emptied by one":                                  {"a\nb\n", "", "a\nb\n", ""},
		"made of nothing by both":                         {"", "a\n", "b\n", conflict},
		"made of nothing by both alike":                   {"", "a\n", "a\n", "a\n"},
		"without an end":                                  {"a\nb\nc", "A\nb\nc", "a\nb\nC", "A\nb\nC"},
		"one side ends the last line":                     {"a\nb\nc", "a\nb\nc\n", "A\nb\nc", "A\nb\nc\n"},
		"one side ends the last line and one changes it":  {"a\nb", "a\nb\n", "a\nB", conflict},
		"appended to a last line without an end":          {"a\nb\nc", "a\nb\nc\nd", "A\nb\nc", "A\nb\nc\nd"},
		"lines that end with CR LF":                       {"a\r\nb\r\nc\r\n", "A\r\nb\r\nc\r\n", "a\r\nb\r\nC\r\n", "A\r\nb\r\nC\r\n"},
		"all ends of lines changed by one":                {"a\nb\n", "a\r\nb\r\n", "a\nb\n", "a\r\nb\r\n"},
		"all ends of lines changed, and a line":           {"a\nb\nc\n", "a\r\nb\r\nc\r\n", "A\nb\nc\n", conflict},
		"one more of many equal lines, and a change":      {"a\na\na\nb\nc\n", "a\na\na\na\nb\nc\n", "a\na\na\nb\nC\n", "a\na\na\na\nb\nC\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, sides := range [][2]string{{c.ours, c.theirs}, {c.theirs, c.ours}} {
				got, ok := Text([]byte(c.base), []byte(sides[0]), []byte(sides[1]))
				if ok != (c.want != conflict) || ok && string(got) != c.want {
					t.Errorf("of %q: %q to %q and %q, want %q", c.base, got, sides[0], sides[1], c.want)
				}
			}
		})
	}
}

func TestChangesAreAsFarDownAsTheyGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		base, side string // a letter is a line
		all, want  []change
	}{
		"put in":                         {"aab", "aaab", []change{{0, 0, 0, 1}}, []change{{2, 2, 2, 3}}},
		"taken away":                     {"aaab", "aab", []change{{0, 1, 0, 0}}, []change{{2, 3, 2, 2}}},
		"to the end":                     {"abab", "ababab", []change{{0, 0, 0, 2}}, []change{{4, 4, 4, 6}}},
		"replaced: it stays":             {"aab", "ccb", []change{{0, 2, 0, 2}}, []change{{0, 2, 0, 2}}},
		"down to the next":               {"aac", "aaad", []change{{0, 0, 0, 1}, {2, 3, 3, 4}}, []change{{2, 3, 2, 4}}},
		"up to the one before":           {"caab", "daaab", []change{{0, 1, 0, 1}, {3, 3, 3, 4}}, []change{{0, 1, 0, 2}}},
		"two that meet are moved as one": {"abc", "abababc", []change{{0, 0, 0, 2}, {1, 1, 3, 5}}, []change{{2, 2, 2, 6}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids := func(s string) (ids []int) {
				for _, letter := range s {
					ids = append(ids, int(letter))
				}
				return ids
			}
			if got := settle(ids(c.base), ids(c.side), c.all); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestOnlyTextIsMerged(t *testing.T) {
	t.Parallel()
	whole := strings.Repeat("0123456789abcdef0123456789abcde\n", Limit/32)
	for name, c := range map[string]struct {
		data string
		want bool
	}{
		"text":                              {"größer\n", true},
		"with a NUL":                        {"a\x00b\n", false},
		"with a NUL far from its beginning": {strings.Repeat("a\n", 10_000) + "\x00", false},
		"of no encoding":                    {"gr\xf6\xdfer\n", false},
		"as large as may be":                {whole, true},
		"larger":                            {whole + "x", false},
		"of as many lines as may be":        {strings.Repeat("\n", Lines), true},
		"of more lines":                     {strings.Repeat("\n", Lines) + "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := "other\n"
			for i, texts := range [][3]string{{c.data, c.data, other}, {c.data, other, c.data}, {other, c.data, other}} {
				want := other
				if i == 2 {
					want = c.data
				}
				got, ok := Text([]byte(texts[0]), []byte(texts[1]), []byte(texts[2]))
				if ok != c.want || ok && string(got) != want {
					t.Errorf("merged: %v, want %v; %d bytes, want %d", ok, c.want, len(got), len(want))
				}
			}
		})
	}
}

// draw is a source of random numbers below n.
type draw func(n int) int

// some draws one of them.
func (d draw) some(of []string) string { return of[d(len(of))] }

// bases and news are what bases and changes are made of, where no line is to be there twice.
var bases, news = numbered("base"), numbered("new")

func numbered(what string) (lines []string) {
	for i := range 40 {
		lines = append(lines, fmt.Sprint(what, i, "\n"))
	}
	return lines
}

// letters are what few lines are made of.
var letters = []string{"a\n", "b\n", "c\n", "d\n", "a\r\n", "\n"}

// texts draws a base and what two sides make of it, which is in part the same. If they are distinct no line is in a text
// twice, and none is moved.
func (d draw) texts(distinct bool) (base, ours, theirs []byte) {
	letters := letters[:2+d(len(letters)-1)]
	line := func(i int) string { return d.some(letters) }
	fresh := func(i int) string { return d.some(letters) }
	if distinct {
		line = func(i int) string { return bases[i] }
		fresh = func(i int) string { return news[i] }
	}
	var lines []string
	for i := range d(len(bases)) {
		lines = append(lines, line(i))
	}
	both := d.edits(len(lines), 2, fresh)
	sides := [][]string{lines}
	for range 2 {
		edits := d.edits(len(lines), 3, fresh)
		for at, with := range both {
			if d(4) > 0 {
				edits[at] = with
			}
		}
		var side []string
		for i := range len(lines) + 1 {
			e := edits[i]
			side = append(side, e.put...)
			if i < len(lines) && !e.drop {
				side = append(side, lines[i])
			}
		}
		sides = append(sides, side)
	}
	var out [3][]byte
	for i, side := range sides {
		out[i] = []byte(strings.Join(side, ""))
		if d(4) == 0 {
			out[i] = bytes.TrimSuffix(out[i], []byte("\n"))
		}
	}
	return out[0], out[1], out[2]
}

// edit is what becomes of the place before a line, and of the line.
type edit struct {
	put  []string
	drop bool
}

// edits draws at most that many runs of edits to so many lines. What is put in at one place is never put in at another.
func (d draw) edits(lines, most int, fresh func(at int) string) map[int]edit {
	edits := make(map[int]edit)
	for range d(most + 1) {
		at := d(lines + 1)
		for range 1 + d(3) {
			e := edit{drop: d(2) == 0}
			if d(3) > 0 {
				e.put = []string{fresh(at)}
			}
			edits[at] = e
			at = min(at+1, lines)
		}
	}
	return edits
}

// holds calls fail unless a merge is as it has to be, whatever the texts.
func holds(base, ours, theirs []byte, fail func(format string, args ...any)) {
	merged, ok := Text(base, ours, theirs)
	if again, too := Text(base, theirs, ours); ok != too || !bytes.Equal(again, merged) {
		fail("of %q, %q and %q: %q and %v; with the sides exchanged %q and %v", base, ours, theirs, merged, ok, again, too)
	}
	for _, c := range [][4][]byte{
		{base, base, theirs, theirs},
		{base, ours, base, ours},
		{base, ours, ours, ours},
	} {
		if got, ok := Text(c[0], c[1], c[2]); !ok || !bytes.Equal(got, c[3]) {
			fail("of %q, %q and %q: %q, %v; want the one that changed", c[0], c[1], c[2], got, ok)
		}
	}
	of := [2]map[string]bool{set(ours), set(theirs)}
	for line := range bytes.Lines(merged) {
		if !of[0][string(line)] && !of[1][string(line)] {
			fail("of %q, %q and %q: %q, with a line that neither side has: %q", base, ours, theirs, merged, line)
		}
	}
}

// distinctHolds is holds for texts of distinct lines, of which it is known what the result is: of the lines of the base those
// that both sides have, of others those that any has, and in the order of either side.
func distinctHolds(base, ours, theirs []byte, fail func(format string, args ...any)) {
	merged, ok := Text(base, ours, theirs)
	if !ok {
		return
	}
	b, o, t := set(base), set(ours), set(theirs)
	var all []string
	got := make(map[string]int)
	for line := range bytes.Lines(merged) {
		got[string(line)] = len(all)
		all = append(all, string(line))
	}
	if len(got) != len(all) {
		fail("of %q, %q and %q: %q, with a line that is there twice", base, ours, theirs, merged)
	}
	for _, side := range [][]byte{base, ours, theirs} {
		last := -1
		for line := range bytes.Lines(side) {
			l := string(line)
			at, is := got[l]
			if want := o[l] && t[l] || !b[l] && (o[l] || t[l]); is != want {
				fail("of %q, %q and %q: %q; %q is there: %v, want %v", base, ours, theirs, merged, l, is, want)
			}
			if is && at < last {
				fail("of %q, %q and %q: %q, with lines in another order", base, ours, theirs, merged)
			}
			if is {
				last = at
			}
		}
	}
}

// set is the lines of a text.
func set(data []byte) map[string]bool {
	lines := make(map[string]bool)
	for line := range bytes.Lines(data) {
		lines[string(line)] = true
	}
	return lines
}

func TestMergesAreAsTheyHaveToBe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := draw(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") })
		base, ours, theirs := d.texts(false)
		holds(base, ours, theirs, t.Fatalf)
		base, ours, theirs = d.texts(true)
		holds(base, ours, theirs, t.Fatalf)
		distinctHolds(base, ours, theirs, t.Fatalf)
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("a\nb\nc\n"), []byte("A\nb\nc\n"), []byte("a\nb\nC"))
	f.Add([]byte("a\r\na\r\n"), []byte("\na\r\n"), []byte(""))
	f.Add([]byte("\n\n\n\n"), []byte("\n\n"), []byte("\n\nx\n\n\n\n"))
	f.Fuzz(func(t *testing.T, base, ours, theirs []byte) {
		for _, data := range [][]byte{base, ours, theirs} {
			if _, ok := split(data, map[string]int{}); !ok {
				if _, ok := Text(base, ours, theirs); ok {
					t.Fatalf("of %q, %q and %q, of which one is no text, there is a result", base, ours, theirs)
				}
				return
			}
		}
		holds(base, ours, theirs, t.Fatalf)
	})
}

func TestLargeTextsMerge(t *testing.T) {
	t.Parallel()
	for _, text := range large {
		base, ours, theirs := text(4 * hard)
		holds(base, ours, theirs, t.Fatalf)
	}
	base, ours, theirs := large["distinct lines"](4 * hard)
	distinctHolds(base, ours, theirs, t.Fatalf)
	// As in a program: most lines are there once, some often.
	lines := func(edits map[int]string) []byte {
		var out []byte
		for i := range 4 * hard {
			switch edit, is := edits[i]; {
			case is:
				out = append(out, edit...)
			case i%4 == 0:
				out = append(out, "}\n"...)
			case i%4 == 1:
				out = append(out, "\n"...)
			default:
				out = fmt.Appendf(out, "line %d\n", i)
			}
		}
		return out
	}
	got, ok := Text(lines(nil),
		lines(map[int]string{40: "", 1000: "x\n}\n", 3000: "same\n"}),
		lines(map[int]string{43: "y\n\n", 1004: "}\n}\n", 3000: "same\n", 4*hard - 1: "end"}))
	want := lines(map[int]string{40: "", 43: "y\n\n", 1000: "x\n}\n", 1004: "}\n}\n", 3000: "same\n", 4*hard - 1: "end"})
	if !ok || !bytes.Equal(got, want) {
		t.Errorf("merged: %v, and as it has to be: %v", ok, bytes.Equal(got, want))
	}
}

// TestALargeTextCostsLittleMore would see time grow with the square of the lines: sixteen times as many would take 256 times
// as long.
func TestALargeTextCostsLittleMore(t *testing.T) {
	for name, text := range large {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			// What other programs do meanwhile does not count.
			spent := func() time.Duration {
				var ts unix.Timespec
				if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
					t.Fatal(err)
				}
				return time.Duration(ts.Nano())
			}
			took := func(lines int) time.Duration {
				base, ours, theirs := text(lines)
				best := time.Hour
				for range 5 {
					began := spent()
					Text(base, ours, theirs)
					best = min(best, spent()-began)
				}
				return best
			}
			few, many := took(Lines/16), took(Lines)
			t.Logf("%v, and %v for 16 times as much", few, many)
			if many > 100*few {
				t.Errorf("it took %v, and %v for 16 times as much", few, many)
			}
		})
	}
}

// large are texts of which so many lines are hard to merge.
var large = map[string]func(lines int) (base, ours, theirs []byte){
	"equal lines": func(n int) (base, ours, theirs []byte) {
		line := strings.Repeat("=", Limit/Lines-1) + "\n"
		return []byte(strings.Repeat(line, n)),
			[]byte(strings.Repeat(line, n/3) + "x\n" + strings.Repeat(line, n/3)),
			[]byte(strings.Repeat(line, n/2) + "y\n" + strings.Repeat(line, n/2-1))
	},
	"random lines": func(n int) (base, ours, theirs []byte) {
		rnd := rand.New(rand.NewPCG(1, 1))
		var all [3][]byte
		for i := range all {
			for range n {
				all[i] = fmt.Appendf(all[i], "%d\n", rnd.IntN(100))
			}
		}
		return all[0], all[1], all[2]
	},
	"equal lines, and all others": func(n int) (base, ours, theirs []byte) {
		return []byte(strings.Repeat("a\n", n)), []byte(strings.Repeat("b\n", n)), []byte(strings.Repeat("a\nb\n", n/2))
	},
	"distinct lines": func(n int) (base, ours, theirs []byte) {
		var all [3][]byte
		for i := range n {
			for k := range all {
				if i%(7+3*k) != 0 { // the sides and the base lack others
					all[k] = fmt.Appendf(all[k], "%030d\n", i)
				}
			}
		}
		return all[0], all[1], all[2]
	},
}

// BenchmarkText merges what is hard to merge, of the largest size.
func BenchmarkText(b *testing.B) {
	for name, text := range large {
		b.Run(name, func(b *testing.B) {
			base, ours, theirs := text(Lines)
			for b.Loop() {
				Text(base, ours, theirs)
			}
		})
	}
}
