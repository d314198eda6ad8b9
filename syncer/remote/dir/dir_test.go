package dir_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/dir"
	"vdfs/syncer/remote/remotetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	remotetest.Run(t, func(t *testing.T) remotetest.Harness { return bench{staging: true}.harness(t, t.TempDir()) })
}

// The means that a file system may lack are left out on a fast one.
func TestConformanceInMemory(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]bench{
		"everything":                   {staging: true},
		"staging in the root":          {},
		"no exchange and no temporary": {staging: true, limit: dir.Limit{Noreplace: true, Hardlink: true}, limited: true},
		"links only":                   {staging: true, limit: dir.Limit{Hardlink: true}, limited: true},
		"plain renames only":           {staging: true, limited: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remotetest.Run(t, func(t *testing.T) remotetest.Harness { return b.harness(t, quickDir(t)) })
		})
	}
}

// quickDir is a temporary directory in memory where there is one.
func quickDir(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/dev/shm", "vdfs-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(base)) })
	return base
}

// TestConformanceElsewhere runs on the directories named in VDFS_TEST_DIRS,
// separated by colons: mount points of other file systems.
func TestConformanceElsewhere(t *testing.T) {
	t.Parallel()
	dirs := os.Getenv("VDFS_TEST_DIRS")
	if dirs == "" {
		t.Skip("VDFS_TEST_DIRS names no directories")
	}
	for _, at := range filepath.SplitList(dirs) {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			remotetest.Run(t, func(t *testing.T) remotetest.Harness {
				base, err := os.MkdirTemp(at, "vdfs-test-")
				must(t, err)
				t.Cleanup(func() { must(t, os.RemoveAll(base)) })
				return bench{staging: true}.harness(t, base)
			})
		})
	}
}

// bench is a way to run the suite.
type bench struct {
	staging bool
	limited bool
	limit   dir.Limit
}

func (b bench) harness(t testing.TB, base string) remotetest.Harness {
	t.Helper()
	x := direct{root: filepath.Join(base, "root"), away: filepath.Join(base, "away"), staging: filepath.Join(base, "root/.vdfs")}
	must(t, os.Mkdir(x.root, 0o755))
	o := dir.Options{}
	if b.staging {
		x.staging = filepath.Join(base, "staging")
		o.Staging = x.staging
	}
	return remotetest.Harness{
		Direct: x,
		Open: func(t testing.TB) remote.Endpoint {
			t.Helper()
			var ep remote.Endpoint
			var err error
			if b.limited {
				ep, err = dir.OpenLimited(x.root, o, b.limit)
			} else {
				ep, err = dir.Open(x.root, o)
			}
			must(t, err)
			return ep
		},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// direct works in the directory as any program does.
type direct struct{ root, away, staging string }

func (d direct) Write(t testing.TB, path, data string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(d.root, path), []byte(data), 0o644))
}

func (d direct) Tree(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == d.root {
			return err
		}
		rel, err := filepath.Rel(d.root, path)
		switch {
		case err != nil:
			return err
		case rel == ".vdfs":
			return fs.SkipDir
		case e.IsDir():
			out[rel+"/"] = ""
		case e.Type()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(path)
			out[rel] = "-> " + target
		default:
			var data []byte
			data, err = os.ReadFile(path)
			out[rel] = string(data)
		}
		return err
	}))
	return out
}

func (d direct) Kept(t testing.TB) []string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(filepath.Join(d.staging, "trash"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out = append(out, string(data))
		return err
	}))
	return out
}

func (d direct) in(t testing.TB, part string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(d.staging, part, "*"))
	must(t, err)
	return paths
}

func (d direct) Litter(t testing.TB) []string { return d.in(t, "tmp") }

func (d direct) LoseRoot(t testing.TB) {
	t.Helper()
	must(t, os.Rename(d.root, d.away))
}

func (d direct) SwapRoot(t testing.TB) {
	t.Helper()
	d.LoseRoot(t)
	must(t, os.Mkdir(d.root, 0o755))
}

func (d direct) RestoreRoot(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.root); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	must(t, os.Rename(d.away, d.root))
}
