package aside_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"vdfs/syncer/plan/aside"
)

func someTime() time.Time { return time.Date(2026, 11, 21, 9, 8, 7, 0, time.UTC) }

func TestName(t *testing.T) {
	t.Parallel()
	const mark = " (conflict box 2026-11-21 090807)"
	long := strings.Repeat("é", 127) // 254 bytes
	for name, c := range map[string]struct{ in, want string }{
		"extension is kept":                     {"a.txt", "a" + mark + ".txt"},
		"no extension":                          {"Makefile", "Makefile" + mark},
		"hidden file has no extension":          {".bashrc", ".bashrc" + mark},
		"hidden file with extension":            {".a.b", ".a" + mark + ".b"},
		"only the last extension counts":        {"a.tar.gz", "a.tar" + mark + ".gz"},
		"a dot at the end":                      {"a.", "a" + mark + "."},
		"a sentence is no extension":            {"Mr. Smith", "Mr. Smith" + mark},
		"its own mark is replaced":              {"a (conflict old 2020-01-01 000000).txt", "a" + mark + ".txt"},
		"a numbered mark is replaced":           {"a (conflict old 2020-01-01 000000) 12.txt", "a" + mark + ".txt"},
		"a mark without a date stays":           {"a (conflict zone).txt", "a (conflict zone)" + mark + ".txt"},
		"a mark with a wrong date stays":        {"a (conflict x 2020-13-01 000000)", "a (conflict x 2020-13-01 000000)" + mark},
		"a mark in the middle stays":            {"a (conflict x 2020-01-01 000000) b", "a (conflict x 2020-01-01 000000) b" + mark},
		"a name that is only a mark stays":      {" (conflict x 2020-01-01 000000)", " (conflict x 2020-01-01 000000)" + mark},
		"a long name is cut between two runes":  {long, strings.Repeat("é", (255-len(mark))/2) + mark},
		"a long name keeps its extension":       {long[:250] + ".txt", strings.Repeat("é", (255-len(mark)-4)/2) + mark + ".txt"},
		"bytes that are no runes are cut there": {strings.Repeat("\xff", 255), strings.Repeat("\xff", 255-len(mark)) + mark},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			free := func(string) bool { return false }
			if got := aside.Name(c.in, "box", someTime(), free); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestNameCountsUp(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	var got []string
	for range 3 {
		n := aside.Name("a.txt", "box", someTime(), func(n string) bool { return used[n] })
		used[n] = true
		got = append(got, n)
	}
	want := "a (conflict box 2026-11-21 090807).txt|a (conflict box 2026-11-21 090807) 2.txt|a (conflict box 2026-11-21 090807) 3.txt"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a.txt":                  "a 2.txt",
		"Makefile":               "Makefile 2",
		".bashrc":                ".bashrc 2",
		"a 2.txt":                "a 2 2.txt",
		strings.Repeat("é", 127): strings.Repeat("é", 126) + " 2",
	} {
		if got := aside.Number(in, func(string) bool { return false }); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	used := map[string]bool{"a 2.txt": true, "a 3.txt": true}
	if got := aside.Number("a.txt", func(n string) bool { return used[n] }); got != "a 4.txt" {
		t.Errorf("got %q", got)
	}
}

func TestNameIsAlwaysAFileName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		raw := rapid.OneOf(
			rapid.Custom(func(rt *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 1, 255).Draw(rt, "bytes")) }),
			rapid.StringN(1, 255, 255),
		).Draw(rt, "name")
		name := strings.NewReplacer("/", "_", "\x00", "_").Replace(raw)
		device := rapid.String().Draw(rt, "device")
		busy := rapid.IntRange(0, 12).Draw(rt, "taken")
		asked := 0
		got := aside.Name(name, device, someTime(), func(string) bool { asked++; return asked <= busy })
		if len(got) > 255 || got == "" || strings.ContainsAny(got, "/\x00") {
			rt.Fatalf("%q is no file name (%d bytes)", got, len(got))
		}
		if utf8.ValidString(name) && !utf8.ValidString(got) {
			rt.Fatalf("%q splits a rune", got)
		}
		if got == name {
			rt.Fatalf("%q is the name itself", got)
		}
		again := aside.Name(got, "other", someTime(), func(string) bool { return false })
		if strings.Count(again, " (conflict ") > max(1, strings.Count(name, " (conflict ")+1) {
			rt.Fatalf("%q nests: %q", got, again)
		}
	})
}
