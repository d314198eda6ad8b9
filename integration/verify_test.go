package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// flip changes a bit in the middle of a file, as a disk does: nothing tells.
func flip(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	h, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	at := info.Size() / 2
	_, err = h.ReadAt(b, at)
	if b[0] ^= 0x08; err == nil {
		_, err = h.WriteAt(b, at)
	}
	return errors.Join(err, h.Close(), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// contentOf finds the file in which the drive keeps bytes.
func (f *fixture) contentOf(text string) string {
	f.t.Helper()
	found := ""
	must(f.t, filepath.WalkDir(filepath.Join(f.Home, "data", "content"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			data, rerr := os.ReadFile(path)
			if err = rerr; errors.Is(err, fs.ErrNotExist) {
				return nil // it was of a version that is gone
			}
			if string(data) == text {
				found = path
			}
		}
		return err
	}))
	if found == "" {
		f.t.Fatalf("%q is nowhere in the content of the drive", text)
	}
	return found
}

// verification is `vdfs verify --json`.
type verification struct {
	Files, Copies, Damaged, Repaired, Changed, Unreachable int
	Findings                                               []struct{ Path, Endpoint, Conduit, State, Reason, Remedy string }
	Trees                                                  []struct {
		Endpoint, Conduit, Result string
		Verified                  *time.Time `json:"verified_at"`
	}
}

// verifies reads all copies again and returns what was said, with the exit code that is due.
func (f *fixture) verifies(code int, args ...string) (v verification) {
	f.t.Helper()
	r := f.run(append([]string{"verify", "--json"}, args...)...)
	if r.Code != code {
		f.t.Fatalf("want exit code %d: %s", code, r)
	}
	must(f.t, json.Unmarshal([]byte(r.Stdout), &v))
	return v
}

func TestAFlippedBitInAStoredCopyIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	must(t, os.Mkdir(f.path("d"), 0o755))
	file, stored := f.path("d", "precious.txt"), f.behind("d", "precious.txt")
	write(t, file, "the bytes that it must have")
	write(t, f.path("other"), "others")
	f.sync()
	before, err := os.Stat(stored)
	must(t, err)
	if v := f.verifies(0); v.Files != 2 || v.Copies != 4 || len(v.Findings) > 0 || len(v.Trees) != 1 || v.Trees[0].Result != "verified" || v.Trees[0].Verified == nil {
		t.Fatalf("of what is well: %+v", v)
	}
	if out := f.do("conduit", "show", "home"); !strings.Contains(out, "verified     as a whole just now") {
		t.Errorf("conduit show says\n%s", out)
	}

	must(t, flip(stored))
	bad := read(t, stored)
	f.do("sync", "--wait", "--rescan") // to which it looks as before
	v := f.verifies(3, f.path("d"))
	if v.Files != 1 || v.Damaged != 1 || len(v.Findings) != 1 || v.Findings[0].Path != "/d/precious.txt" || v.Findings[0].Endpoint != f.dir || v.Findings[0].State != "damaged" {
		t.Fatalf("of the flipped bit: %+v", v)
	}
	if r := f.run("verify", file); r.Code != 3 || !strings.Contains(r.Stdout, "damaged: "+file+" ("+f.dir+")") || !strings.Contains(r.Stdout, "vdfs verify --repair") {
		t.Errorf("verify says %s", r)
	}
	if s := f.status(); s.State != "attention" {
		t.Errorf("the drive is %s", s.State)
	}
	if out := f.do("errors"); !strings.Contains(out, "/d/precious.txt") || !strings.Contains(out, "damaged") {
		t.Errorf("errors says\n%s", out)
	}
	// The last good bytes are here, and stay.
	if r := f.run("offload", file); r.Code == 0 {
		t.Errorf("bytes are dropped for a damaged copy: %s", r)
	}
	if got := f.info("d/precious.txt")[0]; got.Residency != "full" {
		t.Fatalf("the last good bytes are gone: %+v", got)
	}
	var copies struct{ Files []struct{ Proved int } }
	must(t, f.JSON(&copies, "redundancy", "--json", file))
	if len(copies.Files) != 1 || copies.Files[0].Proved != 0 {
		t.Errorf("the damaged copy counts: %+v", copies)
	}

	if v := f.verifies(0, "--repair"); v.Repaired != 1 || v.Damaged != 0 {
		t.Fatalf("the repair: %+v", v)
	}
	wants(t, stored, "the bytes that it must have")
	after, err := os.Stat(stored)
	must(t, err)
	if !after.ModTime().Equal(before.ModTime()) || after.Mode() != before.Mode() {
		t.Errorf("it has time %v and mode %v, and had %v and %v", after.ModTime(), after.Mode(), before.ModTime(), before.Mode())
	}
	if old := f.versions(file); len(old) != 1 || old[0].From != f.dir {
		t.Errorf("kept is %+v", old)
	}
	f.do("restore", file, "--to", f.path("kept"))
	wants(t, f.path("kept"), bad)
	f.settled()
	if s := f.status(); s.State != "idle" {
		t.Errorf("the drive is %s", s.State)
	}
	if r := f.run("errors"); r.Stdout != "" || !strings.Contains(r.Stderr, "nothing") {
		t.Errorf("errors says %s", r)
	}
	f.do("offload", file)
	wants(t, file, "the bytes that it must have")
	f.verifies(0)
}

func TestAFlippedBitOnThisMachineIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	const text = "bytes that are on this machine"
	file := f.path("f")
	write(t, file, text)
	f.sync()
	must(t, flip(f.contentOf(text)))
	v := f.verifies(3, file)
	if v.Damaged != 1 || v.Findings[0].Endpoint != "" || v.Findings[0].Path != "/f" {
		t.Fatalf("of the flipped bit: %+v", v)
	}
	if s := f.status(); s.State != "attention" {
		t.Errorf("the drive is %s", s.State)
	}
	h, err := os.Open(file)
	must(t, err)
	if v := f.verifies(3, "--repair", file); !strings.Contains(v.Findings[0].Remedy, "a program has it open") {
		t.Errorf("of a file in use: %+v", v)
	}
	must(t, h.Close())
	eventually(t, "the file is repaired", func() bool { return f.run("verify", "--repair", file).Code == 0 }) // once the kernel has let go of it
	wants(t, file, text)
	wants(t, f.behind("f"), text)
	f.verifies(0)
	f.settled()
	if s := f.status(); s.State != "idle" {
		t.Errorf("the drive is %s", s.State)
	}
}

func TestWithoutAGoodCopyVerifyChangesNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("f"), "the only copy")
	f.sync()
	f.do("offload", f.path("f"))
	must(t, flip(f.behind("f")))
	bad := read(t, f.behind("f"))
	for _, args := range [][]string{nil, {"--repair"}} {
		v := f.verifies(3, args...)
		if v.Damaged != 1 || !strings.Contains(v.Findings[0].Remedy, "no good copy is known") {
			t.Errorf("verify %q: %+v", args, v)
		}
	}
	wants(t, f.behind("f"), bad)
	if v := f.versions(f.path("f")); len(v) > 0 {
		t.Errorf("something went into a trash: %+v", v)
	}
	// Somebody writes it anew, which is no damage.
	write(t, f.behind("f"), "saved again")
	f.settled()
	if v := f.verifies(0); v.Damaged != 0 {
		t.Errorf("after it was saved: %+v", v)
	}
	if s := f.status(); s.State != "idle" {
		t.Errorf("the drive is %s", s.State)
	}

	away := f.dir + "-away"
	must(t, os.Rename(f.dir, away))
	v := f.verifies(5)
	if v.Unreachable == 0 || v.Damaged != 0 {
		t.Errorf("of a storage that is away: %+v", v)
	}
	must(t, os.Rename(away, f.dir))
	f.settled()
	if r := f.run("verify", f.path("nowhere")); r.Code != 1 || strings.Count(r.Stderr, "\n") != 1 {
		t.Errorf("of nothing: %s", r)
	}
}

// TestRandomBitsFlipInManyFiles flips bits of some of many files, of either copy, and wants all of them back.
func TestRandomBitsFlipInManyFiles(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	f := mounted(t, "")
	text := map[string]string{}
	for i := range 80 {
		name := fmt.Sprintf("d%d/f%d", i%5, i)
		must(t, os.MkdirAll(filepath.Dir(f.path(name)), 0o755))
		data := make([]byte, 1+random.IntN(100_000))
		for j := range data {
			data[j] = byte(random.Uint32())
		}
		text[name] = string(data)
		write(t, f.path(name), string(data))
	}
	f.sync()
	damaged := 0
	for name, data := range text {
		switch random.IntN(3) {
		case 0:
			must(t, flip(f.behind(name)))
			damaged++
		case 1:
			must(t, flip(f.contentOf(data)))
			damaged++
		}
	}
	if v := f.verifies(3); v.Damaged != damaged {
		t.Errorf("of %d damaged copies %d are found", damaged, v.Damaged)
	}
	eventually(t, "all is repaired", func() bool { return f.run("verify", "--repair").Code == 0 })
	for name, data := range text {
		for _, at := range []string{f.path(name), f.behind(name)} {
			if got := read(t, at); got != data {
				t.Errorf("%s has other bytes", at)
			}
		}
	}
	f.verifies(0)
	f.settled()
}

func TestADamagedCopyIsRepairedFromAnotherStorage(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	far := filepath.Join(t.TempDir(), "far")
	must(t, os.Mkdir(far, 0o755))
	f.do("conduit", "create", "backup", "--source", "drive:/", "--target", far, "--policy", "replicate", "--at", "/")
	const text = "bytes that both storages have"
	write(t, f.path("f"), text)
	f.sync()
	f.do("offload", f.path("f"))
	for _, c := range []struct{ bad, good, conduit string }{{f.dir, far, "home"}, {far, f.dir, "backup"}} {
		must(t, flip(filepath.Join(c.bad, "f")))
		v := f.verifies(0, "--repair")
		if v.Repaired != 1 || v.Findings[0].Endpoint != c.bad || v.Findings[0].Conduit != c.conduit || v.Findings[0].Remedy != "from the copy at "+c.good {
			t.Errorf("the repair at %s: %+v", c.bad, v)
		}
		for _, dir := range []string{f.dir, far} {
			wants(t, filepath.Join(dir, "f"), text)
		}
	}
	if got := f.info("f")[0]; got.Residency != "none" {
		t.Errorf("it is here: %+v", got)
	}
	if v := f.verifies(0); len(v.Trees) != 2 || v.Trees[0].Result != "verified" || v.Trees[1].Result != "verified" {
		t.Errorf("the trees: %+v", v)
	}
	f.settled()
}

func TestTheWholeTreeIsVerifiedByItselfEachDay(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	f.Env = append(f.Env, "VDFS_FAULT_CLOCK="+f.clock())
	f.setClock(0)
	write(t, filepath.Join(f.Home, "config.toml"), "[offload]\nfree_low = 0\n[sync]\ninterval = \"1s\"\n")
	write(t, f.behind("old"), "was there")
	f.mount()
	write(t, f.path("f"), "bytes")
	verified := func() time.Time {
		t.Helper()
		var s struct {
			Conduits []struct {
				Result string     `json:"tree_verification"`
				At     *time.Time `json:"tree_verified_at"`
			}
		}
		must(t, f.JSON(&s, "status", "--json"))
		if c := s.Conduits[0]; c.Result == "verified" && c.At != nil {
			return *c.At
		}
		return time.Time{}
	}
	eventually(t, "all was looked at after the first contact", func() bool { return !verified().IsZero() })
	first := verified()
	f.setClock(25 * time.Hour)
	eventually(t, "all is looked at again a day later", func() bool { return verified().Sub(first) > 24*time.Hour })
	f.settled()
}
