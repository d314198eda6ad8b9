package ignore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSameAsGit compares what lists say of a tree with what git says of it, for random lists in random places.
func TestSameAsGit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("VDFS_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed, rounds = n, 1
	}
	for i := range rounds {
		w := newWorld(t, seed+uint64(i))
		w.compare()
	}
}

// world is a tree on the disk with ignore files in it.
type world struct {
	t     *testing.T
	seed  uint64
	rnd   *rand.Rand
	root  string
	dirs  map[string]bool // by path; false: a file
	lists map[string]string
	weak  string // stronger than nothing
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), root: t.TempDir(), dirs: map[string]bool{}, lists: map[string]string{}}
	w.grow("", 4)
	for _, dir := range []string{"objects", "refs", "info"} { // as much of a repository as git needs
		w.no(os.MkdirAll(filepath.Join(w.root, ".git", dir), 0o700))
	}
	w.no(os.WriteFile(filepath.Join(w.root, ".git", "HEAD"), []byte("ref: refs/heads/main\n"), 0o600))
	w.lists[""] = w.text()
	for dir, is := range w.dirs {
		if is && w.rnd.IntN(4) == 0 {
			w.lists[dir] = w.text()
		}
	}
	for dir, text := range w.lists {
		w.no(os.WriteFile(filepath.Join(w.root, dir, ".gitignore"), []byte(text), 0o600))
	}
	w.weak = w.text()
	w.no(os.WriteFile(filepath.Join(w.root, ".git", "info", "exclude"), []byte(w.weak), 0o600))
	return w
}

func (w *world) no(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
}

var names = []string{
	"a", "b", "ab", "ba", "abc", "aab", "a.b", ".a", "a b", "a ", " a", "#a", "!a", "[a]", "a*", `a\`, "A", "1", "-", "a-b", "]", "^", "\xff", "é", "a\tb",
}

func (w *world) grow(dir string, depth int) {
	for range 1 + w.rnd.IntN(4) {
		name := names[w.rnd.IntN(len(names))]
		if w.rnd.IntN(2) == 0 {
			name = names[w.rnd.IntN(6)] // so that patterns meet something
		}
		p := strings.TrimPrefix(dir+"/"+name, "/")
		if _, taken := w.dirs[p]; taken {
			continue
		}
		full := filepath.Join(w.root, p)
		if w.dirs[p] = depth > 0 && w.rnd.IntN(3) > 0; w.dirs[p] {
			w.no(os.Mkdir(full, 0o700))
			w.grow(p, depth-1)
		} else {
			w.no(os.WriteFile(full, nil, 0o600))
		}
	}
}

var pieces = []string{
	"a", "b", "a", "b", "ab", "*", "*", "?", "**", "/", "/", "**/", "/**", "/**/", "***", "[ab]", "[!a]", "[^b]", "[a-b]", "[]a]", "[!]]", "[a-]", "[--a]",
	`[\]]`, `[\a-b]`, `[a-\b]`, "[[:alpha:]]", "[[:digit:]a]", "[[:punct:]]", "[[:nope:]]", "[[:]", "[[:upper:][:space:]]", "[", "]", `\a`, `\*`, `\`, `\ `, " ",
	"!", "#", ".", "-", "A", "\xff", "é", "\t", `\/`, "\r",
}

func (w *world) pattern() string {
	var b strings.Builder
	if w.rnd.IntN(4) == 0 {
		b.WriteByte('!')
	}
	for range 1 + w.rnd.IntN(5) {
		if w.rnd.IntN(3) == 0 {
			b.WriteString(pieces[w.rnd.IntN(8)])
			continue
		}
		b.WriteString(pieces[w.rnd.IntN(len(pieces))])
	}
	if w.rnd.IntN(5) == 0 {
		b.WriteByte('/')
	}
	return b.String()
}

func (w *world) text() string {
	var b strings.Builder
	for range w.rnd.IntN(5) {
		b.WriteString(w.pattern())
		b.WriteString([]string{"\n", "\n", "\n", "\r\n", " \n", "\n\n"}[w.rnd.IntN(6)])
	}
	if w.rnd.IntN(2) == 0 {
		b.WriteString(w.pattern()) // without an end of line
	}
	return b.String()
}

// compare asks both about all there is.
func (w *world) compare() {
	var paths []string
	for p := range w.dirs {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	cmd := exec.Command("git", "-C", w.root, "-c", "core.excludesFile=", "check-ignore", "--no-index", "--verbose", "--non-matching", "--stdin", "-z")
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: nothing is ignored
		w.t.Fatalf("seed %d: %v: %s", w.seed, err, stderr.String())
	}
	fields := strings.Split(string(out), "\x00") // source, line, pattern, path
	for i := 0; i+3 < len(fields); i += 4 {
		want := fields[i] + ":" + fields[i+1]
		if fields[i] == "" || strings.HasPrefix(fields[i+2], "!") {
			want = ""
		}
		got := ""
		if h := w.ask(fields[i+3]); h != nil {
			got = fmt.Sprint(h.List.Source, ":", h.Pattern.Line)
		}
		if got != want {
			w.t.Errorf("seed %d: %q (directory: %v): by %q, git says by %q %q\nlists: %q\nweak: %q", w.seed, fields[i+3], w.dirs[fields[i+3]], got, want, fields[i+2], w.lists, w.weak)
		}
	}
}

// ask is what this package says of a path.
func (w *world) ask(path string) *Hit {
	d := Root(Parse(".git/info/exclude", w.weak), Parse(".gitignore", w.lists[""]))
	at := ""
	for names := strings.Split(path, "/"); len(names) > 1; names = names[1:] {
		at = strings.TrimPrefix(at+"/"+names[0], "/")
		d = d.Enter(names[0], Parse(at+"/.gitignore", w.lists[at]))
	}
	return d.Match(filepath.Base(path), w.dirs[path])
}
