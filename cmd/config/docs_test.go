package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// page is a row of the table in docs/configuration.md.
type page struct{ key, values, standard string }

func documented(t *testing.T) (rows []page) {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if key, ok := strings.CutPrefix(cells[0], "| `"); ok && len(cells) == 4 {
			rows = append(rows, page{strings.TrimSuffix(key, "`"), cells[1], cells[2]})
		}
	}
	return rows
}

// takes reports whether a file may give a key that value, written as in TOML.
func takes(t *testing.T, key, literal string) bool {
	t.Helper()
	table, name, _ := strings.Cut(key, ".")
	_, err := load(t, fmt.Sprintf("[%s]\n%s = %s\n", table, name, literal))
	if err != nil && !strings.Contains(err.Error(), key+": ") {
		t.Errorf("%s = %s: the error does not name the key: %v", key, literal, err)
	}
	return err == nil
}

// beside is a value just below (-1) or above (1) one that is written as in TOML.
func beside(t *testing.T, literal string, by int) string {
	t.Helper()
	if text, quoted := strings.CutPrefix(literal, `"`); quoted {
		d, err := time.ParseDuration(strings.TrimSuffix(text, `"`))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%q", d+time.Duration(by))
	}
	var n int
	if _, err := fmt.Sscan(literal, &n); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(n + by)
}

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	span   = regexp.MustCompile("^(`\"0s\"`, or )?`[^`]+` (to `[^`]+`|or more)$")
	oneOf  = regexp.MustCompile("^(`[^`]+`, )*`[^`]+` or `[^`]+`$")
)

// values are some that a description of values allows, and some that it does not.
func (p page) valuesOf(t *testing.T) (good, bad []string) {
	t.Helper()
	var named []string
	for _, m := range quoted.FindAllStringSubmatch(p.values, -1) {
		named = append(named, m[1])
	}
	switch {
	case oneOf.MatchString(p.values):
		return named, []string{`"no such word"`, `""`}
	case span.MatchString(p.values):
		good = named
		if strings.Contains(p.values, ", or ") {
			named = named[1:]
		}
		bad = append(bad, beside(t, named[0], -1), `"many"`)
		if !strings.HasSuffix(p.values, "or more") {
			bad = append(bad, beside(t, named[1], 1))
		}
		return good, bad
	case p.values == "a size":
		return []string{"0", "1", `"50GiB"`}, []string{"-1", `"many"`, "true"}
	case p.values == "a size above 0":
		return []string{"1", `"50GiB"`, `"auto"`}, []string{"0", "-1", `"many"`}
	case strings.HasPrefix(p.values, "any number of "):
		return []string{"[]"}, []string{`"one"`, `[1]`, `["/"]`}
	case p.values == "an absolute path":
		return []string{`"/a/b"`}, []string{`"a/b"`, "7"}
	case p.values == "text of 1 to 64 bytes without a slash":
		return []string{`"a"`, `"` + strings.Repeat("x", 64) + `"`}, []string{`""`, `"` + strings.Repeat("x", 65) + `"`, `"a/b"`, "7"}
	case strings.HasPrefix(p.values, "up to 64 letters"):
		return []string{`"a.B-_9"`, `"` + strings.Repeat("x", 64) + `"`}, []string{`"` + strings.Repeat("x", 65) + `"`, `"a b"`, "7"}
	}
	t.Errorf("%s: nobody knows how to try %q", p.key, p.values)
	return nil, nil
}

func TestTheDocumentationHasEveryKeyItsDefaultAndItsValues(t *testing.T) {
	t.Parallel()
	rows := documented(t)
	var told, known []string
	for _, p := range rows {
		told = append(told, p.key)
	}
	for _, k := range Keys() {
		known = append(known, k.Name)
	}
	slices.Sort(told)
	slices.Sort(known)
	if !slices.Equal(told, known) {
		t.Fatalf("the page has\n%v\nand the program\n%v", told, known)
	}
	for _, p := range rows {
		k, err := FindKey(p.key)
		if err != nil {
			t.Fatal(err)
		}
		c := Default("laptop")
		switch literal, err := k.literal(k.Text(c)); {
		case err != nil:
			t.Errorf("%s: the default cannot be written down: %v", p.key, err)
		case p.standard == "none" && k.List() && literal == "[]":
		case p.standard == "the host's name" && literal == `"laptop"`:
		case p.standard == "the data directory" && c.CacheDir(Paths{Data: "/d"}) == "/d":
		case p.standard == "`"+literal+"`", p.standard == "`"+strings.Trim(literal, `"`)+"`" && strings.HasSuffix(p.values, "a size"):
		default:
			t.Errorf("%s: the default is %s, the page says %s", p.key, literal, p.standard)
		}
		good, bad := p.valuesOf(t)
		for _, v := range good {
			if !takes(t, p.key, v) {
				t.Errorf("%s = %s is refused, the page says %s", p.key, v, p.values)
			}
		}
		for _, v := range bad {
			if takes(t, p.key, v) && !(k.List() && v == `["/"]` && strings.Contains(p.values, "patterns")) {
				t.Errorf("%s = %s is taken, the page says %s", p.key, v, p.values)
			}
		}
	}
}
