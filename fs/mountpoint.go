package fs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What can be wrong with a mountpoint. The texts are for people.
var (
	// ErrMissing: there is no such directory.
	ErrMissing = errors.New("mountpoint does not exist")
	// ErrNotDirectory: it is something else.
	ErrNotDirectory = errors.New("mountpoint is not a directory")
	// ErrNotEmpty: what is in it would be hidden.
	ErrNotEmpty = errors.New("mountpoint is not empty")
	// ErrMounted: something is mounted there.
	ErrMounted = errors.New("something is already mounted there")
	// ErrStaleMount: the process that served the mount is gone. Recover takes such a mount away.
	ErrStaleMount = errors.New("a mount whose process is gone is in the way")
)

// probeMax is how long a mount may take to answer before it counts as alive but stuck.
const probeMax = 5 * time.Second

// CheckMountpoint returns the absolute path, without symlinks, of a directory that a drive can be mounted on, or one
// of the errors above. It changes nothing.
func CheckMountpoint(path string) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("mount at %s: %w", path, err) }
	abs, err := resolveMountpoint(path)
	if err != nil {
		return fail(err)
	}
	if m, found := mountAt(abs); found {
		if m.isFuse() && Deserted(probe(abs)) {
			return fail(ErrStaleMount)
		}
		return fail(ErrMounted)
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(ErrMissing)
	case err != nil:
		return fail(err)
	case !info.IsDir():
		return fail(ErrNotDirectory)
	}
	empty, err := isEmpty(abs)
	if err != nil {
		return fail(err)
	}
	if !empty {
		return fail(ErrNotEmpty)
	}
	return abs, nil
}

// resolveMountpoint resolves the symlinks of all but the last part, which cannot be looked at when the mount is stale,
// and then of the whole if it can be.
func resolveMountpoint(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrMissing
	}
	if err != nil {
		return "", err
	}
	abs = filepath.Join(dir, filepath.Base(abs))
	if _, found := mountAt(abs); found {
		return abs, nil
	}
	whole, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrMissing
	}
	return whole, err
}

func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	names, err := f.Readdirnames(1)
	closeErr := f.Close()
	if len(names) > 0 {
		return false, closeErr
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return true, errors.Join(err, closeErr)
}

// probe asks a mount for an answer. One that takes too long counts as alive.
func probe(path string) error {
	answer := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(path, &st)
	}()
	timeout := time.NewTimer(probeMax)
	defer timeout.Stop()
	select {
	case err := <-answer:
		return err
	case <-timeout.C:
		return nil
	}
}

// Deserted reports whether an error is a mount's answer that its process is gone: before the question came, or while it waited.
func Deserted(err error) bool {
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// Recover takes away a mount that a process left behind when it died, and reports whether there was one. A mount that
// answers, or any that is not FUSE, is left alone.
func Recover(path string) (bool, error) {
	abs, err := resolveMountpoint(path)
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("recover mount %s: %w", path, err)
	}
	m, found := mountAt(abs)
	if !found || !m.isFuse() || !Deserted(probe(abs)) {
		return false, nil
	}
	// Lazily: programs may still sit in it, and all they can get from it is an error.
	if err := detach(abs, true); err != nil {
		return false, fmt.Errorf("recover mount %s: %w", path, err)
	}
	return true, nil
}

// mountEntry is a line of the mount table.
type mountEntry struct{ point, fstype, source string }

func (m mountEntry) isFuse() bool {
	return m.fstype == "fuse" || strings.HasPrefix(m.fstype, "fuse.") || m.fstype == "fuseblk"
}

// mountAt finds what is mounted on a path, the topmost if several are. It does not touch the path, so a mount that
// hangs cannot hang it. Without a mount table it finds nothing.
func mountAt(path string) (top mountEntry, found bool) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return top, false
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok && m.point == path {
			top, found = m, true
		}
	}
	return top, found
}

// parseMount reads a line of mountinfo: "36 35 98:0 /root /point options optional… - fstype source superoptions".
func parseMount(line string) (mountEntry, bool) {
	left, right, ok := strings.Cut(line, " - ")
	if !ok {
		return mountEntry{}, false
	}
	l, r := strings.Fields(left), strings.Fields(right)
	if len(l) < 6 || len(r) < 2 {
		return mountEntry{}, false
	}
	return mountEntry{point: unescape(l[4]), fstype: r[0], source: unescape(r[1])}, true
}

// unescape undoes the octal escapes of the mount table.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
