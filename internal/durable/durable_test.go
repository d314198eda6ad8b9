package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

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
		"SyncDir": SyncDir(gone),
		"SyncFS":  SyncFS(gone),
		"Rename":  Rename(gone, gone+"2"),
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := SyncFS(t.TempDir()); err != nil {
		t.Errorf("SyncFS of a directory: %v", err)
	}
}
