package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// refuses demands that a command fails with one of the codes and one clear line
// that names every given word, says nothing on stdout, and changes nothing below
// the places.
func (f *fixture) refuses(codes []int, words []string, places []string, args ...string) {
	f.t.Helper()
	before := snapshots(f.t, places)
	r := f.run(args...)
	if !slices.Contains(codes, r.Code) {
		f.t.Errorf("want exit %v: %s", codes, r)
	}
	if r.Stdout != "" {
		f.t.Errorf("a refusal belongs on stderr: %s", r)
	}
	if lines := strings.Split(strings.TrimSuffix(r.Stderr, "\n"), "\n"); len(lines) != 1 || lines[0] == "" {
		f.t.Errorf("want one line, got %d: %s", len(lines), r)
	}
	for _, word := range words {
		if !strings.Contains(strings.ToLower(r.Stderr), strings.ToLower(word)) {
			f.t.Errorf("the message does not say %q: %s", word, r)
		}
	}
	if after := snapshots(f.t, places); after != before {
		f.t.Errorf("a refused %v changed something:\n%s", args, diffLines(f.t, before, after))
	}
}

// snapshots lists everything at and below some places: names, kinds, modes, sizes
// and times of files. A place that does not exist is part of the answer.
func snapshots(t *testing.T, places []string) string {
	t.Helper()
	var lines []string
	for _, place := range places {
		err := filepath.WalkDir(place, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				lines = append(lines, fmt.Sprintf("%s: %v", path, err))
				return nil
			}
			info, err := os.Lstat(path)
			if err != nil {
				return err
			}
			line := fmt.Sprintf("%s %v", path, info.Mode())
			if info.Mode().IsRegular() {
				line += fmt.Sprintf(" %d %v", info.Size(), info.ModTime())
			}
			lines = append(lines, line)
			return nil
		})
		must(t, err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\x00")
}

func TestBadInputMountpointMissing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	missing := f.at + "-missing"
	f.refuses([]int{2}, []string{missing}, f.everything(), "mount", missing, "--from", f.dir)
}

func TestBadInputMountpointIsNoDirectory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	file := f.at + "-file"
	write(t, file, "a file")
	f.refuses([]int{2}, []string{file, "director"}, append(f.everything(), file), "mount", file, "--from", f.dir)
}

func TestBadInputMountpointNotEmpty(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.path("precious"), "was here first")
	f.refuses([]int{2}, []string{f.at, "empty"}, f.everything(), "mount", f.at, "--from", f.dir)
	wants(t, f.path("precious"), "was here first")
}

func TestBadInputAlreadyMounted(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "text")
	f.sync()
	f.refuses([]int{1}, []string{f.at, "mounted"}, []string{f.dir, f.at}, "mount", f.at, "--from", f.dir)
	wants(t, f.path("file"), "text")
	f.sync()
}

func TestBadInputMountpointInsideEndpoint(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	inside := f.behind("inside")
	must(t, os.Mkdir(inside, 0o755))
	f.refuses([]int{2}, []string{inside, f.dir}, f.everything(), "mount", inside, "--from", f.dir)
	// A detour through a link does not help.
	link := f.dir + "-link"
	must(t, os.Symlink(f.dir, link))
	f.refuses([]int{2}, nil, f.everything(), "mount", inside, "--from", link)
	f.refuses([]int{2}, nil, f.everything(), "mount", filepath.Join(link, "inside"), "--from", f.dir)
}

func TestBadInputMountpointInsideState(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	inside := filepath.Join(f.Home, "data", "Drive")
	must(t, os.MkdirAll(inside, 0o700))
	f.refuses([]int{2}, []string{inside}, f.everything(), "mount", inside, "--from", f.dir)
}

func TestBadInputEndpointInsideOrAroundState(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	inside := filepath.Join(f.Home, "data", "storage")
	must(t, os.MkdirAll(inside, 0o700))
	f.refuses([]int{2}, []string{inside}, f.everything(), "mount", f.at, "--from", inside)
	f.refuses([]int{2}, []string{f.Home}, f.everything(), "mount", f.at, "--from", f.Home)
}

func TestBadInputEndpointHoldsMountpointAndState(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	// What --from ~ is for a person: their home holds the mountpoint and the state.
	home := filepath.Dir(f.at)
	f.refuses([]int{2}, []string{home}, []string{home}, "mount", f.at, "--from", home)
}

func TestBadInputEndpointMissing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	missing := f.dir + "-missing"
	f.refuses([]int{5}, []string{missing}, f.everything(), "mount", f.at, "--from", missing)
	file := f.dir + "-file"
	write(t, file, "a file")
	f.refuses([]int{1}, []string{file, "director"}, f.everything(), "mount", f.at, "--from", file)
	f.refuses([]int{1, 2}, []string{"gopher"}, f.everything(), "mount", f.at, "--from", "gopher://example.org/")
}

func TestBadInputEndpointUnreadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may read everything; the run as an ordinary user has this test")
	}
	f := newFixture(t, "")
	must(t, os.Chmod(f.dir, 0))
	defer func() { must(t, os.Chmod(f.dir, 0o755)) }()
	f.refuses([]int{1, 5}, []string{f.dir, "permission"}, []string{f.at, f.Home}, "mount", f.at, "--from", f.dir)
}

func TestBadInputSecondDaemonOnTheSameState(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	second := f.at + "-second"
	must(t, os.Mkdir(second, 0o755))
	for _, args := range [][]string{
		{"mount", second},
		{"mount", second, "--from", f.dir},
		{"mount", second, "--foreground"},
	} {
		f.refuses([]int{1}, []string{f.at}, []string{f.dir, second}, args...)
	}
	write(t, f.path("file"), "the first one still works")
	f.settled()
}

func TestBadInputOtherEndpointThanTheDriveHas(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	f.do("unmount", f.at)
	other := f.dir + "-other"
	must(t, os.Mkdir(other, 0o755))
	f.refuses([]int{2}, []string{f.dir}, []string{f.at, f.dir, other}, "mount", f.at, "--from", other)
	f.do("mount", f.at)
}

func TestBadInputUnknownConfigKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	config := filepath.Join(f.Home, "config.toml")
	write(t, config, "[sync]\ninterval = \"5s\"\nbogus_key = true\n")
	f.refuses([]int{1, 2}, []string{"bogus_key", config}, f.everything(), "mount", f.at, "--from", f.dir)
	write(t, config, "[sync]\ninterval = \"soon\"\n")
	f.refuses([]int{1, 2}, []string{"interval", config}, f.everything(), "mount", f.at, "--from", f.dir)
	write(t, config, "[sync]\ninterval = \"5s\"\n")
	f.mount()
}

func TestBadInputPathOutsideAnyDrive(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	outside := filepath.Join(filepath.Dir(f.at), "outside")
	write(t, outside, "not in a drive")
	f.refuses([]int{6}, nil, f.everything(), "info", outside)
	f.refuses([]int{6}, nil, f.everything(), "status")
	f.mount()
	for _, verb := range []string{"info", "pin", "unpin", "offload", "fetch"} {
		f.refuses([]int{1, 2, 3, 6}, []string{outside}, []string{outside, f.dir}, verb, outside)
	}
	f.refuses([]int{1, 3}, []string{"nothing-here"}, []string{f.dir, f.at}, "info", f.path("nothing-here"))
	f.refuses([]int{1, 6}, []string{outside}, []string{outside}, "unmount", outside)
}

func TestBadInputUsage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	for _, args := range [][]string{{"frobnicate"}, {"mount"}, {"status", "--frobnicate"}, {"mount", f.at, "extra"}} {
		r := f.run(args...)
		if r.Code != 2 || r.Stdout != "" || r.Stderr == "" {
			t.Errorf("want exit 2 and a word on stderr: %s", r)
		}
	}
	if r := f.run("--help"); r.Code != 0 || r.Stderr != "" || !strings.Contains(r.Stdout, "mount") {
		t.Errorf("help belongs on stdout: %s", r)
	}
}

// everything is all that a refused command may not have touched.
func (f *fixture) everything() []string {
	return []string{f.at, f.dir, f.Home}
}
