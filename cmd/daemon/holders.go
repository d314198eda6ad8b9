package daemon

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vdfs/cmd/control"
)

// holders finds the processes that use a file system, by its device number, so
// that it works whatever name they know the mount by. Attributes come from the
// kernel's cache: not one request reaches the file system itself. Processes of
// other users stay unseen unless the caller may look into them.
func holders(major, minor uint32) []control.Holder {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var found []control.Holder
	for _, dir := range procs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if how, path := usage(dir, major, minor); how != "" {
			found = append(found, control.Holder{PID: pid, Command: command(dir), How: how, Path: control.Path(path)})
		}
	}
	slices.SortFunc(found, func(a, b control.Holder) int { return a.PID - b.PID })
	return found
}

// usage says how a process uses the device, the most telling way first; "": not at all.
func usage(proc string, major, minor uint32) (how, path string) {
	for _, how := range []string{"cwd", "root", "exe"} {
		if link := filepath.Join(proc, how); on(link, major, minor) {
			return how, target(link)
		}
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err == nil {
		for _, fd := range fds {
			if link := filepath.Join(proc, "fd", fd.Name()); on(link, major, minor) {
				return "file", target(link)
			}
		}
	}
	if path := mapped(proc, major, minor); path != "" {
		return "mmap", path
	}
	return "", ""
}

// on reports whether the file behind a link is on the device, without asking the file system.
func on(link string, major, minor uint32) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	return err == nil && st.Dev_major == major && st.Dev_minor == minor
}

func target(link string) string {
	path, err := os.Readlink(link)
	if err != nil {
		return "?"
	}
	return path
}

// mapped is a file of the device that the process has mapped; "": none.
func mapped(proc string, major, minor uint32) string {
	f, err := os.Open(filepath.Join(proc, "maps"))
	if err != nil {
		return ""
	}
	defer f.Close()
	device := fmt.Sprintf("%02x:%02x", major, minor)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// address perms offset dev inode path
		if field := strings.Fields(lines.Text()); len(field) >= 6 && field[3] == device {
			return strings.Join(field[5:], " ")
		}
	}
	return ""
}

func command(proc string) string {
	name, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(name))
}

// describe names processes in one line, the first few of many.
func describe(list []control.Holder) string {
	const most = 8
	var out []string
	for i, h := range list {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		out = append(out, fmt.Sprintf("%s (pid %d, %s %s)", h.Command, h.PID, h.How, h.Path))
	}
	return strings.Join(out, ", ")
}
