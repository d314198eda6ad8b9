// Package procs tells which processes use a file system, from /proc and without a request to the file system itself.
package procs

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Device is the number of a file system.
type Device struct{ Major, Minor uint32 }

// DeviceOf is the file system that a path is on. Of a mountpoint it is what is mounted there.
func DeviceOf(path string) (Device, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st); err != nil {
		return Device{}, fmt.Errorf("find file system of %s: %w", path, err)
	}
	return Device{st.Dev_major, st.Dev_minor}, nil
}

// All lists the directories of the processes that there are now, as /proc/1.
func All() []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, filepath.Join("/proc", e.Name()))
		}
	}
	return out
}

// Behind reports whether the file behind a link of /proc is on the device, and its inode number.
func (d Device) Behind(link string) (ino uint64, ok bool) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, &st)
	return st.Ino, err == nil && Device{st.Dev_major, st.Dev_minor} == d
}

// Descriptors calls yield with each descriptor of a process that is of a file of the device, until it returns false. Of a
// process that may not be looked into it is fs.ErrPermission; of one that is gone there are none.
func (d Device) Descriptors(proc string, yield func(link string, ino uint64) bool) error {
	dir := filepath.Join(proc, "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return unlessGone(err)
	}
	for _, e := range entries {
		link := filepath.Join(dir, e.Name())
		if ino, ok := d.Behind(link); ok && !yield(link, ino) {
			return nil
		}
	}
	return nil
}

// Mappings is Descriptors for what a process has mapped, with the path as the process knows it.
func (d Device) Mappings(proc string, yield func(path string, ino uint64) bool) error {
	f, err := os.Open(filepath.Join(proc, "maps"))
	if err != nil {
		return unlessGone(err)
	}
	defer f.Close()
	device := fmt.Sprintf("%02x:%02x", d.Major, d.Minor)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// address perms offset dev inode path
		field := strings.Fields(lines.Text())
		if len(field) < 6 || field[3] != device {
			continue
		}
		ino, err := strconv.ParseUint(field[4], 10, 64)
		if err == nil && !yield(strings.Join(field[5:], " "), ino) {
			return nil
		}
	}
	return unlessGone(lines.Err())
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// Process is the process that a thread belongs to; 0: there is none, or it is not to be seen.
func Process(thread uint32) (pid int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if id, ok := strings.CutPrefix(line, "Tgid:"); ok {
			pid, _ = strconv.Atoi(strings.TrimSpace(id)) // 0 where the kernel says something else
		}
	}
	return pid
}
