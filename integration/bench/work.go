package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

func smallFile(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("file%06d", i)) }

// createFiles makes a directory with files of 4 KiB.
func createFiles(dir string, count int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("create files: %w", err)
	}
	body := make([]byte, 4<<10)
	for i := range count {
		path := smallFile(dir, i)
		copy(body, path)
		if err := os.WriteFile(path, body, 0o644); err != nil {
			return fmt.Errorf("create files: %w", err)
		}
	}
	return nil
}

// readFiles opens, reads and closes what createFiles has made.
func readFiles(dir string, count int) error {
	body := make([]byte, 4<<10)
	for i := range count {
		if err := readSmall(smallFile(dir, i), body); err != nil {
			return fmt.Errorf("read files: %w", err)
		}
	}
	return nil
}

// readSmall fills body from the file with one read.
func readSmall(path string, body []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.ReadFull(f, body)
	return err
}

// removeFiles removes what createFiles has made.
func removeFiles(dir string, count int) error {
	for i := range count {
		if err := os.Remove(smallFile(dir, i)); err != nil {
			return fmt.Errorf("remove files: %w", err)
		}
	}
	return os.Remove(dir)
}

// untar unpacks the archive to a new directory.
func untar(ctx context.Context, archive, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("untar: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "tar", "-C", dir, "-xf", archive).CombinedOutput(); err != nil {
		return fmt.Errorf("untar: %w: %s", err, out)
	}
	return nil
}

// writeFile writes a file in order. Like cp it does not wait for the disk.
func writeFile(path string, blockSize int, size int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := make([]byte, blockSize)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for done := int64(0); done < size; done += int64(blockSize) {
		copy(block, fmt.Sprintf("%d", done))
		if _, err := f.Write(block[:min(int64(blockSize), size-done)]); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	return nil
}

// readFile reads a file of that size in order.
func readFile(path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	defer f.Close()
	// Plain reads: io.Copy would look for something cleverer.
	block := make([]byte, 1<<20)
	var done int64
	for {
		n, err := f.Read(block)
		done += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read file: %w", err)
		}
	}
	if done != size {
		return fmt.Errorf("read file: it has %d bytes, not %d", done, size)
	}
	return nil
}

// readRandomly reads 4 KiB at places that depend on the seed alone, so that all
// subjects get the same.
func readRandomly(path string, size, count int64, seed uint64) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read randomly: %w", err)
	}
	defer f.Close()
	block := make([]byte, 4<<10)
	random := rand.New(rand.NewPCG(seed, 0))
	for range count {
		if _, err := f.ReadAt(block, random.Int64N(size>>12)<<12); err != nil {
			return fmt.Errorf("read randomly: %w", err)
		}
	}
	return nil
}

// walk lists the tree with a program; what it prints is thrown away.
func walk(ctx context.Context, root string, program ...string) error {
	cmd := exec.CommandContext(ctx, program[0], append(program[1:], root)...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("walk with %s: %w", program[0], err)
	}
	return nil
}
