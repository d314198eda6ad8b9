package merge

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// oracle is what git makes of a base and two sides.
type oracle struct {
	base, ours, theirs []byte
	a, b               []change // of ours and of theirs
	text               []byte
	ok                 bool
}

// byGit has git merge texts, and tell what it takes for the changes.
func byGit(t *testing.T, all []oracle) {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) (out []byte, code int) {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C")
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return out, cmd.ProcessState.ExitCode()
	}
	for _, sub := range []string{"base", "ours", "theirs"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range all {
		m, name := &all[i], strconv.Itoa(i)
		for sub, data := range map[string][]byte{"base": m.base, "ours": m.ours, "theirs": m.theirs} {
			if err := os.WriteFile(filepath.Join(dir, sub, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, code := git("merge-file", "-p", "ours/"+name, "base/"+name, "theirs/"+name)
		if m.text, m.ok = out, code == 0; code < 0 || code > 127 {
			t.Fatalf("git merge-file fails with %d for %q, %q and %q", code, m.base, m.ours, m.theirs)
		}
	}
	for _, sub := range []string{"ours", "theirs"} {
		out, code := git("diff", "--no-index", "--no-color", "--unified=0", "--diff-algorithm=myers", "--no-indent-heuristic", "base", sub)
		if code > 1 {
			t.Fatalf("git diff fails with %d", code)
		}
		var m *oracle
		for _, line := range strings.Split(string(out), "\n") {
			if name, is := strings.CutPrefix(line, "diff --git a/base/"); is {
				i, err := strconv.Atoi(strings.Fields(name)[0])
				if err != nil {
					t.Fatal(err)
				}
				m = &all[i]
			} else if strings.HasPrefix(line, "@@ ") {
				if c := hunk(t, line); sub == "ours" {
					m.a = append(m.a, c)
				} else {
					m.b = append(m.b, c)
				}
			}
		}
	}
}

var hunkLine = regexp.MustCompile(`^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@`)

// hunk reads the first line of a hunk without context.
func hunk(t *testing.T, line string) change {
	t.Helper()
	field := hunkLine.FindStringSubmatch(line)
	if field == nil {
		t.Fatalf("not a hunk: %q", line)
	}
	span := func(at, count string) (from, to int) {
		from, _ = strconv.Atoi(at) // they are digits
		n := 1
		if count != "" {
			n, _ = strconv.Atoi(count)
		}
		if n > 0 { // else it is the line before
			from--
		}
		return from, from + n
	}
	var c change
	c.from, c.to = span(field[1], field[2])
	c.at, c.end = span(field[3], field[4])
	return c
}

func TestTextMergesAsGitDoes(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is needed, which says how texts are merged")
	}
	const each = 300
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	all := make([]oracle, 2*each)
	for i := range all {
		all[i].base, all[i].ours, all[i].theirs = draw(rnd.IntN).texts(i < each)
	}
	byGit(t, all)
	fail := func(m *oracle, what string, text []byte, ok bool) {
		t.Helper()
		t.Errorf("seed %d, %s: of %q, %q and %q: %q, %v; git: %q, %v", seed, what, m.base, m.ours, m.theirs, text, ok, m.text, m.ok)
	}
	clean, alike := 0, 0
	for i := range all {
		m := &all[i]
		ids := make(map[string]int)
		b, _ := split(m.base, ids)
		o, _ := split(m.ours, ids)
		th, _ := split(m.theirs, ids)
		// With git's changes everything is git's.
		text, ok := weave(&b, &side{text: &o, left: m.a}, &side{text: &th, left: m.b})
		if ok != m.ok || ok && !bytes.Equal(text, m.text) {
			fail(m, "with git's changes", text, ok)
		}
		if m.ok {
			clean++
		}
		// Where there is only one way to see what changed it is git's.
		text, ok = Text(m.base, m.ours, m.theirs)
		same := ok == m.ok && (!ok || bytes.Equal(text, m.text))
		if i < each && !same {
			fail(m, "of distinct lines", text, ok)
		}
		if i >= each && same {
			alike++
		}
	}
	t.Logf("%d of %d merge, %d of %d of few letters as with git", clean, len(all), alike, each)
	if clean < len(all)/4 || clean > len(all)*3/4 {
		t.Errorf("seed %d: %d of %d merge: that tests too little of the other", seed, clean, len(all))
	}
	if alike < each*8/10 {
		t.Errorf("seed %d: of texts of few letters only %d of %d are merged as git does", seed, alike, each)
	}
}
