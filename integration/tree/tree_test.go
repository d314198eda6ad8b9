package tree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCompareFindsEveryKindOfDifference(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(root string) error
		want   string
	}{
		"nothing":    {func(string) error { return nil }, ""},
		"a byte":     {func(r string) error { return rewrite(r+"/file", "tExt") }, "bytes differ"},
		"a size":     {func(r string) error { return rewrite(r+"/file", "longer") }, "sizes"},
		"a time":     {func(r string) error { return os.Chtimes(r+"/file", time.Time{}, time.Unix(1, 1)) }, "times"},
		"a mode":     {func(r string) error { return os.Chmod(r+"/file", 0o755) }, "executable"},
		"a target":   {func(r string) error { return again(r+"/link", func(p string) error { return os.Symlink("else", p) }) }, "targets"},
		"a kind":     {func(r string) error { return again(r+"/link", func(p string) error { return os.Mkdir(p, 0o755) }) }, "kinds"},
		"one more":   {func(r string) error { return os.Mkdir(r+"/sub/more", 0o755) }, "only in"},
		"one less":   {func(r string) error { return os.Remove(r + "/sub/empty") }, "only in"},
		"other name": {func(r string) error { return os.Rename(r+"/file", r+"/File") }, "only in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := filepath.Join(t.TempDir(), "a")
			for _, step := range []func() error{
				func() error { return os.MkdirAll(a+"/sub/empty", 0o755) },
				func() error { return rewrite(a+"/file", "text") },
				func() error { return os.Symlink("nowhere", a+"/link") },
			} {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			b := filepath.Join(t.TempDir(), "b")
			if err := Copy(a, b); err != nil {
				t.Fatal(err)
			}
			if err := c.change(b); err != nil {
				t.Fatal(err)
			}
			diffs, err := Compare(a, b, 10)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(diffs, "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want something with %q", got, c.want)
			}
		})
	}
}

func TestOdditiesSurviveACopy(t *testing.T) {
	t.Parallel()
	a := t.TempDir()
	if err := Oddities(a); err != nil {
		t.Fatal(err)
	}
	b := filepath.Join(t.TempDir(), "b")
	if err := Copy(a, b); err != nil {
		t.Fatal(err)
	}
	if diffs, err := Compare(a, b, 10); err != nil || len(diffs) > 0 {
		t.Errorf("%q, %v", diffs, err)
	}
	names, err := Files(b)
	if err != nil || len(names) != 8 {
		t.Errorf("%d files: %q, %v", len(names), names, err)
	}
}

func TestManyMakesAsManyFilesAsAsked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := Many(root, 250, 10); err != nil {
		t.Fatal(err)
	}
	names, err := Files(root)
	if err != nil || len(names) != 250 {
		t.Errorf("%d files, %v", len(names), err)
	}
	if sum, err := Bytes(root); err != nil || sum != 2500 {
		t.Errorf("%d bytes, %v", sum, err)
	}
}

// rewrite changes the bytes and keeps the time, the hardest change to see.
func rewrite(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, time.Unix(1_000_000_000, 0))
}

// again makes something else of the same name.
func again(path string, remake func(string) error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return remake(path)
}
