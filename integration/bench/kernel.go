package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// release is the version of the running kernel, such as 6.12.1-amd64.
func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return strings.TrimRight(string(u.Release[:]), "\x00")
}

func kernel() string { return "Linux " + release() }

// kernelAtLeast reports whether the running kernel is that version or a later one.
func kernelAtLeast(major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(release(), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// forgetting is where the kernel can be told to forget names and attributes (2), or
// those and bytes (3), that it can read again.
const forgetting = "/proc/sys/vm/drop_caches"

// canForget reports whether this process may have the kernel forget.
func canForget() bool {
	f, err := os.OpenFile(forgetting, os.O_WRONLY, 0)
	return err == nil && f.Close() == nil
}

// forget makes the kernel read anew what it has of the disk, see forgetting.
func forget(what string) error {
	f, err := os.OpenFile(forgetting, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("forget what is cached: %w", err)
	}
	_, err = f.WriteString(what)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("forget what is cached: %w", err)
	}
	return nil
}
