// Package durable does the steps that make files survive a power cut: data first, then the name, then the directory that
// holds the name.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SyncDir makes the names in the directory at path durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	err = d.Sync()
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}

// SyncFS makes everything on the file system that holds path durable, at the cost of whatever else is dirty there.
func SyncFS(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	err = unix.Syncfs(int(d.Fd()))
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync file system of %s: %w", path, err)
	}
	return nil
}

// Rename moves old over new and makes that durable. The bytes of old must be durable already.
func Rename(old, name string) error {
	if err := os.Rename(old, name); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(name)); err != nil {
		return err
	}
	if filepath.Dir(old) == filepath.Dir(name) {
		return nil
	}
	return SyncDir(filepath.Dir(old))
}
