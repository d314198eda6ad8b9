package ignore

import (
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, path string // a path that ends with a slash is a directory
		line       int    // of the pattern that decides; 0: not ignored
	}{
		"a name is meant everywhere":                 {"*.log", "a/b/x.log", 1},
		"one with a slash is meant from here":        {"a/x", "b/a/x", 0},
		"a slash at the beginning does only that":    {"/x", "a/x", 0},
		"and what is here fits":                      {"/x", "x", 1},
		"a slash at the end is for directories":      {"build/", "build", 0},
		"which are ignored with what is in them":     {"build/", "a/build/x/y", 1},
		"the last pattern decides":                   {"*.o\n!keep.o", "keep.o", 0},
		"in any order":                               {"!keep.o\n*.o", "keep.o", 2},
		"nothing comes back in an ignored directory": {"build/\n!build/keep", "build/keep", 1},
		"unless only what is in it was ignored":      {"build/*\n!build/keep", "build/keep", 0},
		"two stars are any number of directories":    {"a/**/x", "a/b/c/x", 1},
		"also none":                     {"a/**/x", "a/x", 1},
		"at the end all that is inside": {"a/**", "a/b", 1},
		"but not the directory":         {"a/**", "a/", 0},
		"one star is one name":          {"a/*/x", "a/b/c/x", 0},
		"a class":                       {"[a-c]x", "bx", 1},
		"its opposite":                  {"[!a-c]x", "bx", 0},
		"a backslash takes what follows as it is": {`\*x`, "ax", 0},
		"also a mark":                                     {`\!x`, "!x", 1},
		"a line with a mark of comments is none":          {"#x", "#x", 0},
		"spaces at the end do not count":                  {"x  ", "x", 1},
		"unless a backslash is before them":               {`x\ `, "x ", 1},
		"an end of line may have two bytes":               {"x\r\ny\r\n", "y", 2},
		"a byte order mark is none of the first pattern":  {"\ufeffx", "x", 1},
		"an empty line and a bare mark are no patterns":   {"\n!\n/\n//\n", "x", 0},
		"a name is bytes":                                 {"\xff?", "\xff\xfe", 1},
		"a class that does not end fits nothing":          {"[a", "[a", 0},
		"stars beside other bytes are one star":           {"a**b", "a/b", 0},
		"a name may be longer than the pattern's plain a": {"ab*c", "ab", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, dir := strings.CutSuffix(c.path, "/")
			d := Root(Parse("list", c.text))
			all := strings.Split(path, "/")
			for _, n := range all[:len(all)-1] {
				d = d.Enter(n, nil)
			}
			line := 0
			if h := d.Match(all[len(all)-1], dir); h != nil {
				line = h.Pattern.Line
			}
			if line != c.line {
				t.Errorf("%q is ignored by line %d, not %d, of %q", c.path, line, c.line, c.text)
			}
		})
	}
}

// What others have written is in the drive, too: it must not cost the more than its length and the path's.
func TestPatternsMadeToBeSlow(t *testing.T) {
	t.Parallel()
	path := strings.Repeat("a/", 400) + "c"
	for _, p := range []string{
		strings.Repeat("**/a/", 300) + "b", strings.Repeat("**/", 1000) + "b", strings.Repeat("*a", 300) + "b", strings.Repeat("**/*/", 300) + "b",
		strings.Repeat("a*", 500) + "/b", "/" + strings.Repeat("**/a*/", 300) + "b", strings.Repeat("**/?/", 200) + "*b",
	} {
		done := make(chan bool)
		go func() { done <- wild(p, path) == match }()
		select {
		case got := <-done:
			if got {
				t.Errorf("%.20s… fits", p)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%.20s… takes too long", p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a/**/[!b-c]*\n!x/\n", "a/b")
	f.Fuzz(func(_ *testing.T, text, path string) {
		d := Root(Parse("list", text))
		names := strings.Split(path, "/")
		for _, n := range names[:len(names)-1] {
			d = d.Enter(n, nil)
		}
		d.Match(names[len(names)-1], false)
	})
}

func BenchmarkMatch(b *testing.B) {
	l := Parse("list", "*.o\nbuild/\n/dist\n**/node_modules/\n*.log\n!keep.log\n")
	d := Root(l).Enter("a", nil).Enter("b", nil)
	for b.Loop() {
		if d.Match("main.go", false) != nil {
			b.Fatal("ignored")
		}
	}
}
