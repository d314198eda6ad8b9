package integration

import (
	"bytes"
	"io/fs"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"vdfs/integration/drive"
	"vdfs/integration/tree"
)

func TestFindEqualsAndNothingIsHydrated(t *testing.T) {
	t.Parallel()
	dir := goSource(t)
	must(t, tree.Oddities(dir))
	f := mounted(t, dir)

	if a, b := find(t, dir), find(t, f.at); a != b {
		t.Fatalf("find differs:\n%s", diffLines(t, a, b))
	}
	if held := f.status().Cache.Bytes; held != 0 {
		t.Fatalf("after find %d content bytes are local, want 0", held)
	}
	files, err := tree.Files(dir)
	must(t, err)
	for _, i := range f.info(files...) {
		if i.Residency != "none" && i.Size > 0 {
			t.Fatalf("after find %s is %s", i.Path, i.Residency)
		}
	}

	diffR(t, dir, f.at)
	f.becomesFull(files)
	sum, err := tree.Bytes(dir)
	must(t, err)
	if held := f.status().Cache.Bytes; held != sum {
		t.Errorf("after reading all, %d content bytes are local, want %d", held, sum)
	}
	sameTrees(t, dir, f.at)
	if queued := f.status().Queue; queued != (drive.Queue{}) {
		t.Errorf("reading queued work: %+v", queued)
	}
}

func TestOffloadFreesExactlyThoseBytes(t *testing.T) {
	t.Parallel()
	f := mounted(t, goSource(t, "net", "os"))
	diffR(t, f.dir, f.at)
	all, err := tree.Files(f.dir)
	must(t, err)
	f.becomesFull(all)
	net, err := tree.Bytes(f.behind("net"))
	must(t, err)
	before, beforeOnDisk := f.status().Cache.Bytes, f.contentOnDisk()

	f.do("offload", f.path("net"))

	if freed := before - f.status().Cache.Bytes; freed != net {
		t.Errorf("offload freed %d bytes, want %d", freed, net)
	}
	if freed := beforeOnDisk - f.contentOnDisk(); freed < net {
		t.Errorf("offload gave %d bytes back to the disk, want %d", freed, net)
	}
	for n, i := range f.info(all...) {
		want := "full"
		if strings.HasPrefix(all[n], "net/") {
			want = "none"
		}
		if i.Residency != want && i.Size > 0 {
			t.Fatalf("after offload of net %s is %s, want %s", all[n], i.Residency, want)
		}
	}
	if a, b := find(t, f.dir), find(t, f.at); a != b {
		t.Fatalf("after offload find differs:\n%s", diffLines(t, a, b))
	}
	diffR(t, f.behind("net"), f.path("net"))
	f.becomesFull(all)
	if held := f.status().Cache.Bytes; held != before {
		t.Errorf("after reading again %d bytes are local, want %d", held, before)
	}
}

// becomesFull waits until every file, named relative to the mount, is here whole.
func (f *fixture) becomesFull(files []string) {
	f.t.Helper()
	var last string
	full := drive.Poll(patience, func() bool {
		for _, i := range f.info(files...) {
			if i.Residency != "full" && i.Size > 0 {
				last = i.Path + " is " + i.Residency
				return false
			}
		}
		return true
	})
	if !full {
		f.t.Fatalf("read, but not full within %v: %s", patience, last)
	}
}

// contentOnDisk is how much of the disk the contents of the drive take, in bytes.
func (f *fixture) contentOnDisk() int64 {
	f.t.Helper()
	var sum int64
	err := filepath.WalkDir(f.Home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/content/") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += st.Blocks * 512
		}
		return nil
	})
	must(f.t, err)
	if sum == 0 {
		f.t.Fatal("no content found below the home: the test looks in the wrong place")
	}
	return sum
}

// find lists a tree with find: names, kinds, modes and targets, and for files
// sizes and times as well.
func find(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("find", ".", "(", "-type", "f", "-printf", `%y %m %s %T@ %P\0`, ")",
		"-o", "(", "-type", "l", "-printf", `%y %l %P\0`, ")", "-o", "-printf", `%y %m %P\0`)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("find %s: %v\n%s", dir, err, stderr.Bytes())
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	sort.Strings(lines)
	return strings.Join(lines, "\x00")
}

// diffLines shows some lines that only one of two listings has.
func diffLines(t *testing.T, a, b string) string {
	t.Helper()
	in := func(s string) map[string]bool {
		set := map[string]bool{}
		for line := range strings.SplitSeq(s, "\x00") {
			set[line] = true
		}
		return set
	}
	left, right := in(a), in(b)
	var out strings.Builder
	shown := 0
	for _, side := range []struct {
		sign     string
		own, not map[string]bool
	}{{"directory only: ", left, right}, {"mount only: ", right, left}} {
		for line := range side.own {
			if !side.not[line] && shown < 40 {
				out.WriteString(side.sign + line + "\n")
				shown++
			}
		}
	}
	return out.String()
}
