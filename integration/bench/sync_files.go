package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const (
	inDirectory = 100 // files in a directory
	atTop       = 100 // directories in one of those at the top
)

// fileSet is files of one size, whose bytes nobody can guess or shorten.
type fileSet struct{ count, size int }

// String says what it is for people.
func (f fileSet) String() string {
	if f.size < 1<<20 {
		return fmt.Sprintf("%d files of %d KiB", f.count, f.size>>10)
	}
	return fmt.Sprintf("%d files of %d MiB", f.count, f.size>>20)
}

// topDir is the name of one of the directories at the top, which has up to 10 000 files.
func topDir(i int) string { return fmt.Sprintf("top%03d", i) }

func (f fileSet) path(root string, i int) string {
	dir := i / inDirectory
	return filepath.Join(root, topDir(dir/atTop), fmt.Sprintf("dir%02d", dir%atTop), fmt.Sprintf("file%02d", i%inDirectory))
}

// fill writes what a file has in it.
func (f fileSet) fill(i int, body []byte) {
	var seed [32]byte
	binary.NativeEndian.PutUint64(seed[:], uint64(i))
	_, _ = rand.NewChaCha8(seed).Read(body) // never fails
}

// make makes all files below root.
func (f fileSet) make(root string) error {
	body := make([]byte, f.size)
	for i := range f.count {
		path := f.path(root, i)
		if i%inDirectory == 0 {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return fmt.Errorf("make files: %w", err)
			}
		}
		f.fill(i, body)
		if err := os.WriteFile(path, body, 0o644); err != nil {
			return fmt.Errorf("make files: %w", err)
		}
	}
	return nil
}

// check reads every so many of the files below root and compares them with what they have to be.
func (f fileSet) check(root string, every int) error {
	want := make([]byte, f.size)
	for i := 0; i < f.count; i += every {
		got, err := os.ReadFile(f.path(root, i))
		if err != nil {
			return fmt.Errorf("check files: %w", err)
		}
		if f.fill(i, want); !bytes.Equal(got, want) {
			return fmt.Errorf("check files: %s has other bytes than its source", f.path(root, i))
		}
	}
	return nil
}
