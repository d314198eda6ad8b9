package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// copied is what a test makes of a file in the directory that files are adopted from.
type copied int

const (
	same copied = iota
	otherBytes
	otherSize
	notThere
	aLink
)

// aCopy makes some hundred files behind the drive and a copy of most of them, and says what became of each.
func (f *fixture) aCopy(seed uint64) (dir string, made map[string]copied) {
	f.t.Helper()
	f.t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dir = filepath.Join(f.t.TempDir(), "copy")
	made = map[string]copied{}
	for i := range 300 {
		name := fmt.Sprintf("d%d/e%d/f%d", i%7, i%3, i)
		size := 1 + random.IntN(5000)
		switch i % 20 {
		case 3:
			size = 0
		case 4:
			size = 1<<20 + random.IntN(1<<20)
		}
		data := make([]byte, size)
		for at := 0; at < len(data); at += 8 {
			copy(data[at:], fmt.Sprintf("%08x", random.Uint32()))
		}
		must(f.t, os.MkdirAll(filepath.Dir(f.behind(name)), 0o755))
		must(f.t, os.WriteFile(f.behind(name), data, 0o644))
		what := copied(max(0, random.IntN(12)-7))
		if len(data) > 0 { // of an empty file nothing can be missing
			made[name] = what
		}
		at := filepath.Join(dir, name)
		must(f.t, os.MkdirAll(filepath.Dir(at), 0o755))
		switch what {
		case same:
		case otherBytes:
			if len(data) > 0 {
				data[len(data)/2] ^= 1
			}
		case otherSize:
			data = append(data, 'x')
		case aLink:
			must(f.t, os.Symlink(f.behind(name), at))
			continue
		case notThere:
			continue
		}
		must(f.t, os.WriteFile(at, data, 0o644))
	}
	write(f.t, filepath.Join(dir, "d0/more"), "nobody asks for it")
	must(f.t, os.MkdirAll(filepath.Join(dir, "elsewhere"), 0o755))
	return dir, made
}

// adopted demands that those files are here which the copy has, and only those.
func (f *fixture) adopted(made map[string]copied) (here, there []string) {
	f.t.Helper()
	for name, what := range made {
		if what == same {
			here = append(here, name)
		} else {
			there = append(there, name)
		}
	}
	for _, i := range f.info(here...) {
		if i.Residency != "full" {
			f.t.Errorf("%s was not adopted: %s", i.Path, i.Residency)
		}
	}
	for _, i := range f.info(there...) {
		if i.Residency != "none" || i.LocalBytes != 0 {
			f.t.Errorf("%s differs and is %s", i.Path, i.Residency)
		}
	}
	return here, there
}

func TestAFirstMountAdoptsACopy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	dir, made := f.aCopy(uint64(time.Now().UnixNano()))
	before := snapshots(t, []string{dir})
	r := f.run("mount", f.at, "--from", f.dir, "--adopt", dir)
	if r.Code != 0 {
		t.Fatalf("%s", r)
	}
	count := map[copied]int{}
	for _, what := range made {
		count[what]++
	}
	want := fmt.Sprintf(", %d differ, %d not there", count[otherBytes]+count[otherSize], count[notThere]+count[aLink])
	if !strings.Contains(r.Stderr, fmt.Sprintf("adopted %d files (", count[same])) || !strings.Contains(r.Stderr, want) {
		t.Errorf("says %q, want adopted %d%s", r.Stderr, count[same], want)
	}
	here, there := f.adopted(made)
	if after := snapshots(t, []string{dir}); after != before {
		t.Errorf("the copy was changed:\n%s", diffLines(t, before, after))
	}
	if why := f.do("why", f.path(here[0])); !strings.Contains(why, "vdfs adopt") {
		t.Errorf("why says %s", why)
	}
	diffR(t, f.dir, f.at) // reads all: what differs comes from the endpoint
	if r := f.run("adopt", dir, f.at); r.Code != 0 || !strings.Contains(r.Stderr, "adopted 0 files (0 B), 0 differ, 0 not there") {
		t.Errorf("with everything here: %s", r)
	}
	f.settled()
	// What an endpoint proved may go again, and comes back.
	f.do("offload", f.at)
	for _, i := range f.info(append(here, there...)...) {
		if i.Residency != "none" {
			t.Errorf("%s was offloaded and is %s", i.Path, i.Residency)
		}
	}
	diffR(t, f.dir, f.at)
}

// What was adopted is here: the storage is gone, and it reads as it did there.
func TestWhatWasAdoptedNeedsNoStorage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	dir, made := f.aCopy(uint64(time.Now().UnixNano()))
	f.mount()
	for range 2 { // the second time there is nothing left to do
		if r := f.run("adopt", dir); r.Code != 0 {
			t.Fatalf("%s", r)
		}
	}
	here, there := f.adopted(made)
	away := f.dir + "-away"
	must(t, os.Rename(f.dir, away))
	for _, name := range here {
		got, err := os.ReadFile(f.path(name))
		must(t, err)
		want, err := os.ReadFile(filepath.Join(away, name))
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s reads wrong", name)
		}
	}
	if r := f.run("adopt", dir); r.Code != 5 {
		t.Errorf("with the storage away: %s", r)
	}
	must(t, os.Rename(away, f.dir))
	f.sync()
	// The copy is mended: what was missing is adopted by its own directory.
	name := there[0]
	data, err := os.ReadFile(f.behind(name))
	must(t, err)
	at := filepath.Join(dir, name)
	must(t, os.RemoveAll(at))
	must(t, os.WriteFile(at, data, 0o644))
	if r := f.run("adopt", filepath.Dir(at), filepath.Dir(f.path(name))); r.Code != 0 || !strings.Contains(r.Stderr, "adopted 1 file (") {
		t.Errorf("of one directory: %s", r)
	}
	if i := f.info(name)[0]; i.Residency != "full" {
		t.Errorf("%s is %s", name, i.Residency)
	}
}

func TestAConduitAdoptsACopy(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	other := newFixture(t, "") // another storage
	dir, made := other.aCopy(uint64(time.Now().UnixNano()))
	r := f.run("conduit", "create", "work", "--source", "drive:/work", "--target", other.dir, "--policy", "synchronize", "--adopt", dir)
	if r.Code != 0 || !strings.Contains(r.Stderr, "created conduit work at /work") || !strings.Contains(r.Stderr, "adopted ") {
		t.Fatalf("%s", r)
	}
	args := []string{"why"}
	for name, what := range made {
		if what == same {
			args = append(args, f.path("work", name))
		}
	}
	// Some may have come before the adoption had begun.
	if by := f.do(args...); strings.Count(by, "vdfs adopt") < len(args)/2 {
		t.Errorf("the copy was fetched: %s", by)
	}
	// It keeps everything here: the rest is downloaded.
	eventually(t, "the rest comes", func() bool {
		var names []string
		for name := range made {
			names = append(names, "work/"+name)
		}
		for _, i := range f.info(names...) {
			if i.Residency != "full" {
				return false
			}
		}
		return true
	})
	diffR(t, other.dir, f.path("work"))
}

func TestBadInputAdopt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	write(t, f.behind("file"), "text")
	for dir, word := range map[string]string{f.dir: "endpoint", f.at: "mountpoint", f.dir + "-none": "no such file"} {
		f.refuses([]int{2}, []string{word}, f.everything(), "mount", f.at, "--from", f.dir, "--adopt", dir)
	}
	f.mount()
	for dir, word := range map[string]string{f.dir: "endpoint", f.at: "mountpoint", f.dir + "-none": "no such file", f.Home: "state"} {
		f.refuses([]int{2}, []string{word}, []string{f.dir}, "adopt", dir)
	}
	f.refuses([]int{6}, []string{f.dir, "not inside a mounted drive"}, []string{f.dir}, "adopt", f.at, f.dir)
}
