package arrows_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "vdfs"

// rule says what the packages at and below one directory may import.
type rule struct {
	// at is a directory of the module; the longest one that fits a package is
	// the rule for it.
	at string
	// ours lists the directories whose packages it may import, its own being
	// always allowed.
	ours []string
	// denied lists import paths, of the standard library or others, that
	// neither it nor anything below it may import.
	denied []string
}

// rules is the whole shape of the project. A package that no rule covers is a
// failure, so a new top level directory has to be argued for here.
var rules = []rule{
	{at: "internal"},
	{at: "cache", ours: []string{"internal"}, denied: []string{"net", "net/http", fuse}},
	{at: "fs", ours: []string{"cache", "internal"}, denied: []string{"net", "net/http", sqlite}},
	{at: "offload", ours: []string{"cache", "internal"}, denied: []string{"net", "net/http", fuse, sqlite}},
	{at: "syncer", ours: []string{"cache", "internal"}, denied: []string{fuse, sqlite}},
	{at: "syncer/plan", denied: []string{"os", "io/fs", "net", "net/http", "time", "syscall", "context", fuse, sqlite}},
	{at: "syncer/plan/aside", denied: []string{"os", "io/fs", "net", "net/http", "syscall", "context", fuse, sqlite}}, // writes times, reads none
	{at: "syncer/remote", ours: []string{"internal"}, denied: []string{fuse, sqlite}},
	{at: "cmd", ours: []string{"cache", "fs", "offload", "syncer", "internal"}, denied: []string{sqlite}},
	// integration drives the built binary, so it sees what a user sees.
	{at: "integration"},
}

const (
	fuse   = "github.com/hanwen/go-fuse/v2"
	sqlite = "github.com/mattn/go-sqlite3"
)

// pkg is what the test needs of one line of go list.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func TestPackagesImportOnlyWhatTheirLayerMay(t *testing.T) {
	t.Parallel()
	pkgs := list(t)
	if len(pkgs) == 0 {
		t.Fatal("go list found no packages: the test would prove nothing")
	}
	for _, p := range pkgs {
		dir := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		r, ok := ruleFor(dir)
		if !ok {
			t.Errorf("%s lies in no layer of the design", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if why := r.refuses(imported); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, why)
			}
		}
		// Tests may use any library, but the arrows between layers hold for them too.
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if why := r.refusesOurs(imported); why != "" {
				t.Errorf("the tests of %s import %s: %s", p.ImportPath, imported, why)
			}
		}
	}
}

func TestRulesRefuseWhatTheDesignForbids(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"cache", "vdfs/internal/clock", true},
		{"cache", "vdfs/syncer", false},
		{"cache", "net/http", false},
		{"fs", "vdfs/cache", true},
		{"fs", "vdfs/offload", false},
		{"fs", "vdfs/syncer", false},
		{"offload", "vdfs/syncer", false},
		{"offload", "vdfs/fs", false},
		{"syncer", "vdfs/fs", false},
		{"syncer", "vdfs/syncer/plan", true},
		{"syncer/plan", "vdfs/cache", false},
		{"syncer/plan", "vdfs/syncer/remote", false},
		{"syncer/plan", "time", false},
		{"syncer/remote", "vdfs/cache", false},
		{"syncer/remote/dir", "vdfs/syncer/remote", true},
		{"syncer/remote/dir", "vdfs/syncer", false},
		{"syncer/remote/dir", "vdfs/internal/durable", true},
		{"internal/clock", "vdfs/cache", false},
		{"cmd/daemon", "vdfs/syncer/remote/dir", true},
		{"cmd/daemon", "vdfs/integration/drive", false},
		{"integration", "vdfs/cache", false},
		{"integration", "vdfs/integration/drive", true},
		{"integration/bench/loopback", fuse + "/fs", true},
	} {
		r, ok := ruleFor(c.from)
		if !ok {
			t.Errorf("no rule for %s", c.from)
			continue
		}
		if why := r.refuses(c.to); (why == "") != c.allowed {
			t.Errorf("%s importing %s: allowed is %v, want %v (%s)", c.from, c.to, why == "", c.allowed, why)
		}
	}
	if _, ok := ruleFor("panel"); ok {
		t.Error("a new top level directory has a rule nobody wrote")
	}
}

// ruleFor finds the rule with the longest directory that holds dir.
func ruleFor(dir string) (rule, bool) {
	var best rule
	for _, r := range rules {
		if within(dir, r.at) && len(r.at) > len(best.at) {
			best = r
		}
	}
	return best, best.at != ""
}

// refuses says why the package in dir may not import the path, or "".
func (r rule) refuses(imported string) string {
	for _, d := range r.denied {
		// A standard package stands for itself, a library for all it holds.
		if imported == d || (strings.Contains(d, ".") && within(imported, d)) {
			return fmt.Sprintf("%s must not know %s", r.at, d)
		}
	}
	return r.refusesOurs(imported)
}

// refusesOurs is the part of refuses about packages of this module.
func (r rule) refusesOurs(imported string) string {
	target, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	for _, allowed := range append([]string{r.at}, r.ours...) {
		if within(target, allowed) {
			return ""
		}
	}
	return fmt.Sprintf("%s may import only %v", r.at, append([]string{r.at}, r.ours...))
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// list asks the go command for every package of the module.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}
