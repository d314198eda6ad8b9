package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// twoStorages mounts a drive on its directory and joins a second one to the same place.
func twoStorages(t *testing.T, f *fixture) (second string) {
	t.Helper()
	second = f.dir + "-second"
	must(t, os.MkdirAll(second, 0o755))
	f.mount()
	f.do("conduit", "create", "backup", "--source", "drive:/", "--target", second, "--policy", "synchronize")
	return second
}

// threeAlike syncs and demands that the drive and both directories are equal.
func (f *fixture) threeAlike(second string) {
	f.t.Helper()
	f.settled()
	sameTrees(f.t, second, f.at)
	diffR(f.t, second, f.at)
}

// generations are the numbers of the last generation of each conduit, and the work done in all.
func (f *fixture) generations() string {
	f.t.Helper()
	var history []drive.Generation
	must(f.t, f.JSON(&history, "history", "--json"))
	return fmt.Sprintf("%+v", history)
}

// rests demands that another full look does nothing.
func (f *fixture) rests() {
	f.t.Helper()
	before := f.generations()
	f.do("sync", "--wait", "--rescan", "--timeout", "180s")
	if after := f.generations(); after != before {
		f.t.Errorf("a second run did something:\n%s\nthen\n%s", before, after)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st.Ino
}

func TestTwoStoragesOfOneDriveStayAlike(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.MkdirAll(f.behind("dir/deep"), 0o755))
	write(t, f.behind("dir/deep/old"), "was at the first")
	write(t, f.behind("both"), "the same on both")
	must(t, os.MkdirAll(f.dir+"-second/only", 0o755))
	write(t, f.dir+"-second/only/theirs", "was at the second")
	write(t, f.dir+"-second/both", "the same on both")
	second := twoStorages(t, f)
	f.threeAlike(second)
	f.rests()
	if extra := f.conflictFiles(f.at, "dir", "both", "only"); len(extra) > 0 {
		t.Errorf("there are %q", extra)
	}

	// What one has is in the drive, and at the other, without its bytes staying here.
	big := strings.Repeat("0123456789abcdef", 256<<10) // 4 MiB
	before := f.status().Cache.Bytes
	write(t, f.behind("dir/big"), big)
	write(t, filepath.Join(second, "only/new"), "made at the second")
	eventually(t, "a file of the first is at the second", func() bool { return holds(filepath.Join(second, "dir/big"), big) })
	eventually(t, "a file of the second is at the first", func() bool { return holds(f.behind("only/new"), "made at the second") })
	f.sync()
	for _, i := range f.info("dir/big", "only/new") {
		if i.Residency != "none" || i.LocalBytes != 0 || i.Sync != "synced" || !slices.Equal(i.Conduits, []string{"home", "backup"}) {
			t.Errorf("after it went through: %+v", i)
		}
	}
	if got := f.status().Cache.Bytes; got != before {
		t.Errorf("%d bytes stay in the cache", got-before)
	}

	// A change at one, in the drive, at the other.
	write(t, f.path("made"), "in the drive")
	write(t, f.behind("dir/deep/old"), "edited at the first")
	write(t, filepath.Join(second, "only/theirs"), "edited at the second")
	f.threeAlike(second)
	wants(t, f.behind("made"), "in the drive")
	wants(t, filepath.Join(second, "dir/deep/old"), "edited at the first")
	wants(t, f.behind("only/theirs"), "edited at the second")

	// Renames are renames everywhere: the objects stay what they are.
	there, file := inode(t, filepath.Join(second, "dir")), inode(t, filepath.Join(second, "dir/big"))
	here := inode(t, f.behind("only"))
	must(t, os.Rename(f.behind("dir"), f.behind("moved")))
	must(t, os.Rename(filepath.Join(second, "only"), filepath.Join(second, "moved-too")))
	f.threeAlike(second)
	if inode(t, filepath.Join(second, "moved")) != there || inode(t, filepath.Join(second, "moved/big")) != file || inode(t, f.behind("moved-too")) != here {
		t.Error("a renamed directory was made anew")
	}
	must(t, os.Remove(f.behind("both")))
	must(t, os.RemoveAll(filepath.Join(second, "moved/deep")))
	must(t, os.Remove(f.path("made")))
	f.threeAlike(second)
	for _, name := range []string{"both", "moved/deep", "made"} {
		absent(t, f.path(name))
	}
	f.rests()
}

func TestBothStoragesEditedWhileTheDriveIsDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("doc.txt"), "base")
	write(t, f.behind("gone.txt"), "base")
	write(t, f.behind("equal.txt"), "base")
	second := twoStorages(t, f)
	f.threeAlike(second)
	must(t, f.Kill())
	for name, texts := range map[string][2]string{"doc.txt": {"of the first", "OF THE SECOND"}, "equal.txt": {"alike", "alike"}, "new.txt": {"n1", "N2"}} {
		write(t, f.behind(name), texts[0])
		write(t, filepath.Join(second, name), texts[1])
	}
	must(t, os.Remove(f.behind("gone.txt")))
	write(t, filepath.Join(second, "gone.txt"), "edited where it was not deleted")
	f.mount()
	f.threeAlike(second)
	wants(t, f.path("equal.txt"), "alike")
	wants(t, f.path("gone.txt"), "edited where it was not deleted")
	got := map[string]int{}
	entries, err := os.ReadDir(f.at)
	must(t, err)
	for _, e := range entries {
		got[read(t, f.path(e.Name()))]++
	}
	for _, text := range []string{"of the first", "OF THE SECOND", "n1", "N2"} {
		if got[text] != 1 {
			t.Errorf("%q is there %d times: %q", text, got[text], entries)
		}
	}
	if len(entries) != 6 {
		t.Errorf("there are %q", entries)
	}
	f.rests()
}

// TestKillNineWithTwoStorages kills the daemon at random moments while programs work in the mount and in both directories.
func TestKillNineWithTwoStorages(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 1))
	f := newFixture(t, "")
	must(t, os.Mkdir(f.behind("far"), 0o755))
	second := twoStorages(t, f)
	must(t, os.Mkdir(filepath.Join(second, "farther"), 0o755))
	f.threeAlike(second)
	workers := f.workers(seed, 2)
	fars := []*farModel{newFarModel(f.behind("far"), seed), newFarModel(filepath.Join(second, "farther"), seed+1)}
	for round := range 12 * soak(t) {
		f.duringBurst(workers, fars[round%2], 20+rnd.Int64N(130), func() {
			spin(time.Duration(rnd.Int64N(400)) * time.Microsecond)
			must(t, f.Kill())
		}, diedWithDaemon)
		f.mount()
		checkAll(t, workers, fmt.Sprintf("round %d, seed %d", round, seed))
	}
	f.threeAlike(second)
	checkAll(t, workers, fmt.Sprintf("after sync, seed %d", seed))
	for _, far := range fars {
		for _, root := range []string{f.dir, second, f.at} {
			must(t, far.check(root))
		}
	}
	f.rests()
	f.do("doctor")
}

func TestAStorageThatIsAwayDoesNotHoldUpTheOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("far"), "only at the first")
	second := twoStorages(t, f)
	f.threeAlike(second)
	write(t, f.behind("later"), "comes while it can")
	f.sync()
	must(t, os.Rename(second, second+".away"))
	f.away("backup")
	write(t, f.path("made"), "meanwhile")
	must(t, os.Remove(f.path("far")))
	must(t, os.Rename(f.path("later"), f.path("sooner")))
	eventually(t, "the first has what was made", func() bool { return holds(f.behind("made"), "meanwhile") })
	f.do("sync", "home", "--wait", "--timeout", "60s")
	sameTrees(t, f.dir, f.at)
	wants(t, f.path("sooner"), "comes while it can")
	if r := f.run("sync", "--wait", "--timeout", "60s"); r.Code != 5 || !strings.Contains(r.Stderr, "backup") {
		t.Errorf("sync with one away: want exit 5 and its name, got %s", r)
	}
	must(t, os.Rename(second+".away", second))
	f.threeAlike(second)

	// The first goes away, with bytes that only it has.
	write(t, f.behind("there"), "bytes of the first")
	f.do("conduit", "pause", "backup")
	f.do("sync", "home", "--wait", "--timeout", "60s")
	must(t, os.Rename(f.dir, f.dir+".away"))
	f.away("home")
	f.do("conduit", "resume", "backup")
	write(t, f.path("made"), "meanwhile again")
	eventually(t, "the second has what was made", func() bool { return holds(filepath.Join(second, "made"), "meanwhile again") })
	if c := f.conduit("backup"); c.State == "offline" || c.Errors != 0 {
		t.Errorf("the second is %+v", c)
	}
	absent(t, filepath.Join(second, "there"))
	must(t, os.Rename(f.dir+".away", f.dir))
	f.threeAlike(second)
	wants(t, filepath.Join(second, "there"), "bytes of the first")
}

// away waits until a conduit knows that its storage is not there.
func (f *fixture) away(conduit string) {
	f.t.Helper()
	eventually(f.t, conduit+" is away", func() bool {
		f.run("sync", conduit) // it looks now
		return f.conduit(conduit).State == "offline"
	})
}

// conduit is one conduit of the status.
func (f *fixture) conduit(name string) drive.Conduit {
	f.t.Helper()
	for _, c := range f.status().Conduits {
		if c.Name == name {
			return c
		}
	}
	f.t.Fatalf("no conduit %s", name)
	return drive.Conduit{}
}

func TestTwoDirectoriesAreKeptAlikeThroughTheDrive(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	a, b := f.dir+"-a", f.dir+"-b"
	must(t, os.MkdirAll(filepath.Join(a, "sub"), 0o755))
	must(t, os.MkdirAll(filepath.Join(b, "sub"), 0o755))
	write(t, filepath.Join(a, "sub/mine"), "of a")
	write(t, filepath.Join(b, "sub/theirs"), "of b")
	f.do("conduit", "create", "both", "--source", a, "--target", b, "--policy", "bidirectional")
	f.sync()
	sameTrees(t, a, b)
	sameTrees(t, a, f.path("both"))
	absent(t, f.behind("both/sub"))
	c := f.conduit("both")
	if c.At != "/both" || c.Policy != "synchronize" || c.Source != a || c.Target != b || c.State != "idle" || c.Generation == 0 || c.Verification != "verified" {
		t.Errorf("the conduit is %+v", c)
	}
	if out := f.do("conduit", "list"); !strings.Contains(out, a+" -> "+b) {
		t.Errorf("the list does not name both:\n%s", out)
	}
	start := time.Now()
	write(t, filepath.Join(a, "sub/mine"), "edited at a")
	eventually(t, "an edit at a is at b", func() bool { return holds(filepath.Join(b, "sub/mine"), "edited at a") })
	t.Logf("an edit went through in %v", time.Since(start))
	f.do("conduit", "pause", "both")
	write(t, filepath.Join(b, "sub/late"), "while it is paused")
	if r := f.run("sync", "both", "--wait"); r.Code != 1 || !strings.Contains(r.Stderr, "disabled") {
		t.Errorf("sync of a paused conduit: %s", r)
	}
	f.sync()
	absent(t, filepath.Join(a, "sub/late"))
	f.do("conduit", "resume", "both")
	f.sync()
	wants(t, filepath.Join(a, "sub/late"), "while it is paused")
	sameTrees(t, a, b)
	if r := f.run("conduit", "delete", "both"); r.Code != 7 || !strings.Contains(r.Stderr, "--hydrate") {
		t.Errorf("files are not here: want exit 7 and what helps, got %s", r)
	}
	f.do("conduit", "delete", "both", "--hydrate")
	wants(t, f.path("both/sub/late"), "while it is paused")
	wants(t, filepath.Join(a, "sub/theirs"), "of b")
}

func TestConduitsAreRefusedInOneLine(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.Mkdir(f.behind("synced"), 0o755))
	f.mount()
	f.sync()
	base := filepath.Dir(f.dir)
	other := filepath.Join(base, "other")
	must(t, os.MkdirAll(filepath.Join(other, "inside"), 0o755))
	link := filepath.Join(base, "link")
	must(t, os.Symlink(other, link))
	f.do("conduit", "create", "second", "--source", "drive:/second", "--target", other, "--policy", "synchronize")
	f.sync()
	places := []string{f.dir, other, f.at}
	create := func(source, target, policy string, more ...string) []string {
		return append([]string{"conduit", "create", "c", "--source", source, "--target", target, "--policy", policy}, more...)
	}
	free := filepath.Join(base, "free")
	must(t, os.Mkdir(free, 0o755))
	file := filepath.Join(base, "file")
	write(t, file, "no directory")
	for _, c := range []struct {
		code  int
		words []string
		args  []string
	}{
		{2, []string{"second", "already"}, create("drive:/second", other, "synchronize")},
		{2, []string{other, "second"}, create("drive:/third", other, "synchronize")},
		{2, []string{"second"}, create("drive:/third", link, "synchronize")},
		{2, []string{other, "inside"}, create("drive:/third", filepath.Join(other, "inside"), "synchronize")},
		{2, []string{"inside"}, create("drive:/third", filepath.Join(link, "inside"), "synchronize")},
		{2, []string{base, "contains"}, create("drive:/third", base, "synchronize")},
		{2, []string{free, "source"}, create(free, free, "synchronize")},
		{2, []string{"mountpoint"}, create("drive:/third", f.path("synced"), "synchronize")},
		{2, []string{"state"}, create("drive:/third", filepath.Join(f.Home, "data"), "synchronize")},
		{2, []string{"/synced", "around"}, create("drive:/synced", free, "synchronize")},
		{2, []string{"both in the drive"}, create("drive:/a", "drive:/b", "synchronize")},
		{2, []string{"archive"}, create(free, "drive:/third", "offload")},
		{2, []string{"policy"}, create("drive:/third", free, "copy")},
		{2, []string{"strategy"}, create("drive:/third", free, "synchronize", "--strategy", "oldest")},
		{2, []string{"rule"}, create("drive:/third", free, "synchronize", "--rule", "*.md")},
		{2, []string{"name"}, []string{"conduit", "create", "a/b", "--source", "drive:/x", "--target", free, "--policy", "offload"}},
		{2, []string{"exists already"}, []string{"conduit", "create", "home", "--source", "drive:/x", "--target", free, "--policy", "offload"}},
		{2, []string{"only"}, create(free, "drive:/second", "replicate")},
		{5, []string{"does not exist"}, create("drive:/third", filepath.Join(base, "none"), "synchronize")},
		{1, []string{"not a directory"}, create("drive:/third", file, "synchronize")},
		{2, []string{"nothing to change"}, []string{"conduit", "edit", "second"}},
		{2, []string{"exists already"}, []string{"conduit", "edit", "second", "--name", "home"}},
		{2, []string{"cadence"}, []string{"conduit", "edit", "second", "--cadence", "sometimes"}},
		{2, []string{"replicate"}, []string{"conduit", "edit", "second", "--keep-extra"}},
		{1, []string{"no such conduit"}, []string{"conduit", "edit", "none", "--parallel", "2"}},
	} {
		f.refuses([]int{c.code}, c.words, places, c.args...)
		if len(c.args) > 1 && c.args[1] == "create" {
			f.refuses([]int{c.code}, c.words, places, append(slices.Clone(c.args), "--dry-run")...)
		}
	}
	if got := len(f.status().Conduits); got != 2 {
		t.Errorf("there are %d conduits", got)
	}
}

func TestADryRunTellsAndChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("mine"), "12345")
	write(t, f.behind("equal"), "the same")
	write(t, f.behind("clash"), "one")
	f.mount()
	f.sync()
	second := f.dir + "-second"
	must(t, os.Mkdir(second, 0o755))
	write(t, filepath.Join(second, "equal"), "the same")
	write(t, filepath.Join(second, "clash"), "two!")
	write(t, filepath.Join(second, "theirs"), "123")
	args := []string{"conduit", "create", "backup", "--source", "drive:/", "--target", second, "--policy", "replicate", "--dry-run"}
	before := snapshots(t, []string{f.dir, second, f.at})
	var p struct {
		Copies, Deletes, Conflicts, Bytes int64
		At                                string
		DeletePaths                       []string `json:"delete_paths"`
		ConflictPaths                     []string `json:"conflict_paths"`
		Endpoints                         []struct {
			Endpoint, Role string
			Gets           struct{ Files, Bytes int64 }
		}
	}
	must(t, f.JSON(&p, append(args, "--json")...))
	if p.Copies != 2 || p.Bytes != 8 || p.Deletes != 1 || p.Conflicts != 0 || p.At != "/" || !slices.Equal(p.DeletePaths, []string{"theirs"}) ||
		len(p.Endpoints) != 1 || p.Endpoints[0].Endpoint != second || p.Endpoints[0].Gets.Files != 2 {
		t.Errorf("replicate: %+v", p)
	}
	args[8] = "synchronize"
	out := f.do(args...)
	for _, want := range []string{"nothing was changed", second, "1 conflict", "conflict  clash"} {
		if !strings.Contains(out, want) {
			t.Errorf("the preview lacks %q:\n%s", want, out)
		}
	}
	must(t, f.JSON(&p, append(args, "--json")...))
	if p.Copies != 2 || p.Bytes != 8 || p.Deletes != 0 || p.Conflicts != 1 || !slices.Equal(p.ConflictPaths, []string{"clash"}) {
		t.Errorf("synchronize: %+v", p)
	}
	if after := snapshots(t, []string{f.dir, second, f.at}); after != before {
		t.Errorf("a dry run changed something:\n%s", diffLines(t, before, after))
	}
	if got := len(f.status().Conduits); got != 1 {
		t.Errorf("there are %d conduits", got)
	}
	// The same without it does what it said.
	f.do(args[:9]...)
	f.sync()
	var history []drive.Generation
	must(t, f.JSON(&history, "history", "backup", "--json"))
	var copied, bytes int64
	for _, g := range history {
		copied, bytes = copied+g.Copied, bytes+g.Bytes
	}
	if copied != p.Copies || bytes != p.Bytes {
		t.Errorf("%d files, %d bytes were sent: %+v", copied, bytes, history)
	}
}

func TestAConduitIsEditedAndShown(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "12345")
	f.sync()
	f.do("conduit", "edit", "home", "--name", "main", "--strategy", "newest", "--rule", "*.md=local", "--rule", "a=b/*=remote", "--parallel", "5")
	var c map[string]json.RawMessage
	must(t, f.JSON(&c, "conduit", "show", "main", "--json"))
	for field, want := range map[string]string{
		"name": `"main"`, "strategy": `"newest"`, "cadence": `"instant"`, "parallel_transfers": "5", "bandwidth_limit": "0", "enabled": "true",
		"use_index_rules": "true", "files_synced": "1", "bytes_transferred": "5", "total_syncs": "1", "generation": "1", "last_sync_error": `""`, "policy_config": "{}",
		"read_only": "false", "drift": "0",
	} {
		if got := string(c[field]); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	for _, field := range []string{"uuid", "created_at", "updated_at", "last_sync", "next_sync", "endpoints", "rules", "last_sync_error_at"} {
		if len(c[field]) == 0 {
			t.Errorf("there is no %s", field)
		}
	}
	var rules []struct{ Pattern, Strategy string }
	must(t, json.Unmarshal(c["rules"], &rules))
	if len(rules) != 2 || rules[1].Pattern != "a=b/*" || rules[1].Strategy != "remote" {
		t.Errorf("rules are %+v", rules)
	}
	if out := f.do("conduit", "show", "main"); !strings.Contains(out, "*.md=local") {
		t.Errorf("shown is\n%s", out)
	}
	must(t, f.Kill())
	f.do("mount", f.at)
	f.do("conduit", "edit", "main", "--no-rules")
	if out := f.do("conduit", "show", "main"); strings.Contains(out, "*.md") || !strings.Contains(out, "newest") {
		t.Errorf("without rules it is\n%s", out)
	}
	write(t, f.path("more"), "after a restart")
	f.settled()
}
