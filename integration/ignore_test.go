package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/integration/tree"
)

// TestIgnoreFiles has a program work on both sides of a drive with an ignore file, and then takes that away.
func TestIgnoreFiles(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path(".vdfsignore"), "# what is made from the sources\n*.log\nbuild/\n!keep.log\n")
	must(t, os.MkdirAll(f.path("build", "sub"), 0o755))
	for _, p := range []string{"build/sub/a", "x.log", "keep.log", "main.c"} {
		write(t, f.path(p), "here: "+p)
	}
	must(t, os.MkdirAll(f.behind("proj", "build"), 0o755))
	for _, p := range []string{"there.log", "proj/build/b", "proj/src.c"} {
		write(t, f.behind(p), "there: "+p)
	}
	f.sync()
	wants(t, f.behind("main.c"), "here: main.c")
	wants(t, f.behind("keep.log"), "here: keep.log")
	wants(t, f.path("proj", "src.c"), "there: proj/src.c")
	for _, p := range []string{"build", "x.log"} {
		absent(t, f.behind(p))
	}
	for _, p := range []string{"there.log", "proj/build"} {
		absent(t, f.path(p))
	}
	for i, info := range f.info("x.log", "build/sub/a", "build", "main.c") {
		if want := []string{"local-only", "local-only", "local-only", "synced"}[i]; info.Sync != want {
			t.Errorf("%s is %s", info.Path, info.Sync)
		}
	}
	for path, want := range map[string]string{
		"x.log": "never: ignored by *.log (/.vdfsignore, line 2)", "build/sub/a": "never: ignored by build/ (/.vdfsignore, line 3)",
	} {
		for _, verb := range []string{"info", "why"} {
			if text := f.do(verb, f.path(path)); !strings.Contains(text, want) {
				t.Errorf("vdfs %s %s does not say %q:\n%s", verb, path, want, text)
			}
		}
	}
	word := make([]byte, 64)
	if n, err := unix.Lgetxattr(f.path("x.log"), "user.vdfs.state", word); err != nil || string(word[:n]) != "local" {
		t.Errorf("the state of x.log is %q, %v", word[:max(n, 0)], err)
	}

	// Saving by an ignored name is an update, and what is moved out is sent.
	write(t, f.path("main.log"), "saved")
	must(t, os.Rename(f.path("main.log"), f.path("main.c")))
	must(t, os.Rename(f.path("build"), f.path("kept")))
	f.sync()
	wants(t, f.behind("main.c"), "saved")
	wants(t, f.behind("kept", "sub", "a"), "here: build/sub/a")

	// What only the other side has is not lost with its directory.
	must(t, os.RemoveAll(f.path("proj")))
	f.sync()
	absent(t, f.behind("proj", "src.c"))
	wants(t, f.behind("proj", "build", "b"), "there: proj/build/b")
	absent(t, f.path("proj"))

	// Without the rules all of it is synced, and nobody has to ask for it.
	must(t, os.Remove(f.path(".vdfsignore")))
	f.sync()
	wants(t, f.behind("x.log"), "here: x.log")
	wants(t, f.path("there.log"), "there: there.log")
	wants(t, f.path("proj", "build", "b"), "there: proj/build/b")
	f.settled()
}

// TestIgnoreFileOfTheStorage has a new drive meet a tree that has ignore files of its own.
func TestIgnoreFileOfTheStorage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	for p, text := range map[string]string{
		".vdfsignore": "*.o\n/out/\n", "-.o": "x", "a/.vdfsignore": "!b.o\n", "a/b.o": "y", "a/c.o": "z", "out/d": "x", "a/out/e": "w", "f.swp": "a temporary",
	} {
		must(t, os.MkdirAll(filepath.Dir(f.behind(p)), 0o755))
		write(t, f.behind(p), text)
	}
	f.mount()
	if _, err := os.ReadDir(f.path()); err != nil { // before any cycle
		t.Fatal(err)
	}
	f.sync()
	diffs, err := tree.Compare(f.dir, f.at, 20)
	must(t, err)
	for _, p := range []string{"-.o", "a/c.o", "out", "f.swp"} {
		absent(t, f.path(p))
	}
	wants(t, f.path("a", "b.o"), "y")
	wants(t, f.path("a", "out", "e"), "w")
	if len(diffs) == 0 {
		t.Error("the trees are equal")
	}
	must(t, f.Kill())
	must(t, f.WaitGone())
	write(t, f.behind(".vdfsignore"), "*.swp\n")
	f.mount()
	f.sync()
	wants(t, f.path("-.o"), "x")
	wants(t, f.path("out", "d"), "x")
	absent(t, f.path("f.swp"))
}

// TestSyncIgnore is sync.ignore: what it says holds everywhere, and what it says no more is made up for at the next start.
func TestSyncIgnore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	config := func(patterns string) {
		write(t, filepath.Join(f.Home, "config.toml"), fmt.Sprintf("[offload]\nfree_low = 0\n[sync]\nignore = [%s]\n", patterns))
	}
	config(`"*.bak", "!f.part"`)
	f.mount()
	write(t, f.path("a.bak"), "mine")
	write(t, f.path("f.part"), "brought back")
	write(t, f.path("g.part"), "a temporary")
	write(t, f.behind("b.bak"), "theirs")
	f.sync()
	absent(t, f.behind("a.bak"))
	absent(t, f.behind("g.part"))
	absent(t, f.path("b.bak"))
	wants(t, f.behind("f.part"), "brought back")
	if text := f.do("info", f.path("a.bak")); !strings.Contains(text, "ignored by *.bak (sync.ignore in the configuration)") {
		t.Errorf("vdfs info says\n%s", text)
	}
	if text := f.do("info", f.path("g.part")); !strings.Contains(text, "by its name it is a lock, a backup or unfinished (*.part)") {
		t.Errorf("vdfs info says\n%s", text)
	}
	f.do("unmount", f.at)
	config("")
	f.mount()
	f.sync()
	wants(t, f.behind("a.bak"), "mine")
	wants(t, f.path("b.bak"), "theirs")
	absent(t, f.behind("g.part"))
}

// TestAConduitThatIgnoresNothing makes one beside another that does.
func TestAConduitThatIgnoresNothing(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	far := filepath.Join(t.TempDir(), "far")
	must(t, os.Mkdir(far, 0o755))
	write(t, f.path(".vdfsignore"), "*.log\n")
	write(t, f.path("a.log"), "mine")
	write(t, f.path("b.swp"), "a temporary")
	f.sync()
	f.do("conduit", "create", "all", "--source", "drive:/", "--target", far, "--policy", "replicate", "--no-ignore")
	f.sync()
	wants(t, filepath.Join(far, "a.log"), "mine")
	wants(t, filepath.Join(far, "b.swp"), "a temporary")
	absent(t, f.behind("a.log"))
	absent(t, f.behind("b.swp"))
	write(t, f.path("c.swp"), "another")
	f.sync()
	wants(t, filepath.Join(far, "c.swp"), "another")
	absent(t, f.behind("c.swp"))
	var shown struct {
		UseIndexRules *bool `json:"use_index_rules"`
	}
	must(t, f.JSON(&shown, "conduit", "show", "all", "--json"))
	if shown.UseIndexRules == nil || *shown.UseIndexRules {
		t.Errorf("use_index_rules is %v", shown.UseIndexRules)
	}
	f.do("conduit", "edit", "all", "--no-ignore=false")
	write(t, f.path("d.log"), "here alone")
	write(t, f.path("a.log"), "still synced")
	f.sync()
	absent(t, filepath.Join(far, "d.log"))
	wants(t, filepath.Join(far, "a.log"), "still synced")
	f.do("conduit", "edit", "home", "--no-ignore")
	f.sync()
	wants(t, f.behind("d.log"), "here alone")
	wants(t, f.behind("b.swp"), "a temporary")
}
