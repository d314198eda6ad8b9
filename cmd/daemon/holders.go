package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vdfs/cmd/control"
	"vdfs/internal/procs"
)

// holders finds the processes that use a file system, by its device number, so
// that it works whatever name they know the mount by. Processes of other users
// stay unseen unless the caller may look into them.
func holders(dev procs.Device) []control.Holder {
	var found []control.Holder
	for _, dir := range procs.All() {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if how, path := usage(dir, dev); how != "" {
			found = append(found, control.Holder{PID: pid, Command: command(dir), How: how, Path: control.Path(path)})
		}
	}
	slices.SortFunc(found, func(a, b control.Holder) int { return a.PID - b.PID })
	return found
}

// usage says how a process uses the device, the most telling way first; "": not
// at all, or it may not be looked into.
func usage(proc string, dev procs.Device) (how, path string) {
	for _, how := range []string{"cwd", "root", "exe"} {
		link := filepath.Join(proc, how)
		if _, ok := dev.Behind(link); ok {
			return how, target(link)
		}
	}
	_ = dev.Descriptors(proc, func(link string, _ uint64) bool {
		how, path = "file", target(link)
		return false
	})
	if how == "" {
		_ = dev.Mappings(proc, func(name string, _ uint64) bool {
			how, path = "mmap", name
			return false
		})
	}
	return how, path
}

func target(link string) string {
	path, err := os.Readlink(link)
	if err != nil {
		return "?"
	}
	return path
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
