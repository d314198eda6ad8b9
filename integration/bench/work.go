package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

const blockSize = 1 << 20

// createFiles makes files of 4 KiB in a directory of this round.
func createFiles(root string, round, count int) error {
	dir := filepath.Join(root, fmt.Sprintf("create%d", round))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("create files: %w", err)
	}
	body := make([]byte, 4<<10)
	for i := range count {
		copy(body, fmt.Sprintf("%d-%d", round, i))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%06d", i)), body, 0o644); err != nil {
			return fmt.Errorf("create files: %w", err)
		}
	}
	return nil
}

// untar unpacks the archive to a directory of this round.
func (b *bench) untar(ctx context.Context, root string, round int) error {
	dir := filepath.Join(root, fmt.Sprintf("untar%d", round))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("untar: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "tar", "-C", dir, "-xf", b.archive).CombinedOutput(); err != nil {
		return fmt.Errorf("untar: %w: %s", err, out)
	}
	return nil
}

func bigFile(root string, round int) string {
	return filepath.Join(root, fmt.Sprintf("big%d", round))
}

// writeFile writes a file of this round in order. Like cp it does not wait for the disk.
func writeFile(root string, round int, size int64) (err error) {
	f, err := os.Create(bigFile(root, round))
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := make([]byte, blockSize)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for done := int64(0); done < size; done += blockSize {
		copy(block, fmt.Sprintf("%d", done))
		if _, err := f.Write(block[:min(blockSize, size-done)]); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	return nil
}

// readFile reads the file of this round in order.
func readFile(root string, round int, size int64) error {
	f, err := os.Open(bigFile(root, round))
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	defer f.Close()
	block := make([]byte, blockSize)
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

// walk lists the tree with a program; what it prints is thrown away.
func walk(ctx context.Context, root string, program ...string) error {
	cmd := exec.CommandContext(ctx, program[0], append(program[1:], root)...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("walk with %s: %w", program[0], err)
	}
	return nil
}
