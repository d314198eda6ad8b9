package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vdfs/integration/drive"
	"vdfs/integration/tree"
)

// patience bounds every wait for something that has no deadline of its own.
const patience = 60 * time.Second

// fixture is a drive in a test, with the directory behind it.
type fixture struct {
	t *testing.T
	*drive.Drive
	// dir is the directory endpoint, which other programs may change.
	dir string
	// at is the mountpoint.
	at string
}

// newFixture makes a drive that is not mounted yet over dir; an empty dir stands
// for a fresh directory. Whatever the test does, nothing stays mounted or running.
func newFixture(t *testing.T, dir string) *fixture {
	t.Helper()
	base := t.TempDir()
	if dir == "" {
		dir = filepath.Join(base, "dir")
		must(t, os.Mkdir(dir, 0o755))
	}
	f := &fixture{t: t, dir: dir, at: filepath.Join(base, "Drive")}
	// A home directory of its own keeps the drive away from the person's real one.
	f.Drive = &drive.Drive{
		Bin: built, Home: filepath.Join(base, "home"), Mount: f.at,
		Env: []string{"HOME=" + base, "XDG_RUNTIME_DIR=", "XDG_CONFIG_HOME=", "XDG_DATA_HOME="},
	}
	must(t, os.Mkdir(f.at, 0o755))
	// How full the disk of this machine is decides nothing.
	must(t, os.Mkdir(f.Home, 0o700))
	write(t, filepath.Join(f.Home, "config.toml"), "[offload]\nfree_low = 0\n")
	t.Cleanup(func() {
		if t.Failed() {
			if out, err := f.Run("status"); err == nil {
				t.Logf("at the end: %s", out)
			}
			t.Logf("log of the daemon:\n%s", f.Log())
		}
		if err := f.Close(); err != nil {
			t.Errorf("clean up drive: %v", err)
		}
	})
	return f
}

// mounted is newFixture with the drive mounted on its directory.
func mounted(t *testing.T, dir string) *fixture {
	t.Helper()
	f := newFixture(t, dir)
	f.mount()
	return f
}

// mount mounts the drive on its directory.
func (f *fixture) mount() {
	f.t.Helper()
	f.do("mount", f.at, "--from", f.dir)
}

// do runs a command that has to succeed.
func (f *fixture) do(args ...string) string {
	f.t.Helper()
	out, err := f.Do(args...)
	must(f.t, err)
	return out
}

// run runs a command that may fail.
func (f *fixture) run(args ...string) drive.Result {
	f.t.Helper()
	r, err := f.Run(args...)
	must(f.t, err)
	return r
}

// path is a path in the mount.
func (f *fixture) path(parts ...string) string {
	return filepath.Join(append([]string{f.at}, parts...)...)
}

// behind is a path in the directory behind the drive.
func (f *fixture) behind(parts ...string) string {
	return filepath.Join(append([]string{f.dir}, parts...)...)
}

// status reads the state of the drive.
func (f *fixture) status() drive.Status {
	f.t.Helper()
	var s drive.Status
	must(f.t, f.JSON(&s, "status", "--json"))
	return s
}

// info asks for the state of files named relative to the mount, in pieces that fit
// a command line, and answers in the order asked.
func (f *fixture) info(names ...string) []drive.Info {
	f.t.Helper()
	const piece = 500
	var all []drive.Info
	for len(names) > 0 {
		n := min(piece, len(names))
		args := []string{"info", "--json", "--"}
		for _, name := range names[:n] {
			args = append(args, f.path(name))
		}
		var infos []drive.Info
		must(f.t, f.JSON(&infos, args...))
		if len(infos) != n {
			f.t.Fatalf("info of %d paths has %d answers", n, len(infos))
		}
		all = append(all, infos...)
		names = names[n:]
	}
	return all
}

// sync brings both sides together and returns when nothing is left to do.
func (f *fixture) sync() {
	f.t.Helper()
	f.do("sync", "--wait", "--timeout", "180s")
}

// conflictFiles returns the names in a directory of the mount that are not
// among the expected ones: with the default strategy, the conflict files.
func (f *fixture) conflictFiles(dir string, expected ...string) []string {
	f.t.Helper()
	entries, err := os.ReadDir(dir)
	must(f.t, err)
	known := map[string]bool{}
	for _, name := range expected {
		known[name] = true
	}
	var extra []string
	for _, e := range entries {
		if !known[e.Name()] {
			extra = append(extra, e.Name())
		}
	}
	return extra
}

// settled syncs and then demands that the mount and the directory are equal,
// by our own comparison and by diff -r.
func (f *fixture) settled() {
	f.t.Helper()
	f.sync()
	sameTrees(f.t, f.dir, f.at)
	diffR(f.t, f.dir, f.at)
}

// sameTrees fails the test when two trees differ in names, kinds, bytes,
// executable bits, targets or times.
func sameTrees(t *testing.T, a, b string) {
	t.Helper()
	diffs, err := tree.Compare(a, b, 20)
	must(t, err)
	if len(diffs) > 0 {
		t.Fatalf("%s and %s differ:\n%s", a, b, strings.Join(diffs, "\n"))
	}
}

// diffR fails the test when diff -r finds anything.
func diffR(t *testing.T, a, b string) {
	t.Helper()
	out, err := exec.Command("diff", "-r", "--no-dereference", a, b).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("diff -r %s %s: %v\n%s", a, b, err, firstLines(out))
	}
}

// firstLines keeps a failure message readable.
func firstLines(out []byte) []byte {
	lines := bytes.SplitAfter(out, []byte("\n"))
	return bytes.Join(lines[:min(len(lines), 40)], nil)
}

// sh runs a program in dir that has to succeed and returns what it said.
func sh(t *testing.T, dir string, name string, args ...string) string {
	t.Helper()
	out, err := command(dir, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, firstLines(out))
	}
	return string(out)
}

// command prepares a program that depends on nobody's own configuration.
func command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(
		os.Environ(), "LC_ALL=C.UTF-8", "TERM=dumb",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=A Tester", "GIT_AUTHOR_EMAIL=tester@example.org",
		"GIT_COMMITTER_NAME=A Tester", "GIT_COMMITTER_EMAIL=tester@example.org",
	)
	return cmd
}

// goSource copies parts of Go's own source, or all of it, to a fresh directory
// that the test may change.
func goSource(t *testing.T, parts ...string) string {
	t.Helper()
	from, err := tree.GoSource()
	must(t, err)
	to := filepath.Join(t.TempDir(), "dir")
	if len(parts) == 0 {
		must(t, tree.Copy(from, to))
		return to
	}
	must(t, os.Mkdir(to, 0o755))
	for _, part := range parts {
		must(t, tree.Copy(filepath.Join(from, part), filepath.Join(to, part)))
	}
	return to
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes a file as a plain program does.
func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// read returns what a file holds.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

// wants fails the test when a file holds something else.
func wants(t *testing.T, path, text string) {
	t.Helper()
	if got := read(t, path); got != text {
		t.Fatalf("%s holds %q, want %q", path, got, text)
	}
}

// absent fails the test when something is at path.
func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s: %v, want that nothing is there", path, err)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if !drive.Poll(patience, condition) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}
