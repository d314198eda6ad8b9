package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteFileReplacesWholeAndLeavesNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"first, longer", "second"} {
		if err := WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("directory holds %v, %v", names, err)
	}
}

func TestRenameAcrossDirectories(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(a, "x"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Rename(filepath.Join(a, "x"), filepath.Join(b, "y")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(b, "y")); err != nil {
		t.Fatal(err)
	}
}

func TestMissingPathsAreErrors(t *testing.T) {
	t.Parallel()
	gone := filepath.Join(t.TempDir(), "gone")
	for name, err := range map[string]error{
		"SyncDir":   SyncDir(gone),
		"SyncFS":    SyncFS(gone),
		"Rename":    Rename(gone, gone+"2"),
		"WriteFile": WriteFile(filepath.Join(gone, "f"), nil, 0o600),
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := SyncFS(t.TempDir()); err != nil {
		t.Errorf("SyncFS of a directory: %v", err)
	}
}
