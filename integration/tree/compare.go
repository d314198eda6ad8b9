package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Entry is what a comparison looks at, bytes aside. Directories have neither
// size nor time: both say more about the file system than about the tree.
type Entry struct {
	Kind   fs.FileMode // the type bits
	Exec   fs.FileMode // the executable bits of a file
	Size   int64
	Mtime  time.Time
	Target string // of a symlink
}

// Read lists everything below root by its slash path.
func Read(root string) (map[string]Entry, error) {
	entries := map[string]Entry{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		entry, err := readEntry(path, d)
		if err != nil {
			return err
		}
		entries[strings.TrimPrefix(path, root+"/")] = entry
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", root, err)
	}
	return entries, nil
}

func readEntry(path string, d fs.DirEntry) (Entry, error) {
	info, err := d.Info()
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Kind: info.Mode().Type()}
	switch {
	case info.Mode().IsRegular():
		e.Exec, e.Size, e.Mtime = info.Mode()&0o111, info.Size(), info.ModTime()
	case e.Kind == fs.ModeSymlink:
		e.Target, err = os.Readlink(path)
	}
	return e, err
}

// Compare returns the differences between two trees as readable lines, at most
// limit of them; none means that the trees are equal.
func Compare(a, b string, limit int) ([]string, error) {
	left, err := Read(a)
	if err != nil {
		return nil, err
	}
	right, err := Read(b)
	if err != nil {
		return nil, err
	}
	var diffs []string
	for _, name := range slices.Sorted(maps.Keys(left)) {
		other, ok := right[name]
		if !ok {
			diffs = append(diffs, fmt.Sprintf("%q only in %s", name, a))
			continue
		}
		if why := left[name].differs(other); why != "" {
			diffs = append(diffs, fmt.Sprintf("%q: %s", name, why))
			continue
		}
		if !left[name].Kind.IsRegular() {
			continue
		}
		if err := SameBytes(filepath.Join(a, name), filepath.Join(b, name)); err != nil {
			diffs = append(diffs, fmt.Sprintf("%q: %v", name, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(right)) {
		if _, ok := left[name]; !ok {
			diffs = append(diffs, fmt.Sprintf("%q only in %s", name, b))
		}
	}
	if len(diffs) > limit {
		diffs = append(diffs[:limit], fmt.Sprintf("and %d more", len(diffs)-limit))
	}
	return diffs, nil
}

// differs says in what two entries differ, or "".
func (e Entry) differs(o Entry) string {
	switch {
	case e.Kind != o.Kind:
		return fmt.Sprintf("kinds %v and %v", e.Kind, o.Kind)
	case e.Exec != o.Exec:
		return fmt.Sprintf("executable bits %v and %v", e.Exec, o.Exec)
	case e.Size != o.Size:
		return fmt.Sprintf("sizes %d and %d", e.Size, o.Size)
	case !e.Mtime.Equal(o.Mtime):
		return fmt.Sprintf("times %v and %v", e.Mtime, o.Mtime)
	case e.Target != o.Target:
		return fmt.Sprintf("targets %q and %q", e.Target, o.Target)
	}
	return ""
}

// ErrBytesDiffer means that two files do not hold the same bytes.
var ErrBytesDiffer = errors.New("bytes differ")

// SameBytes is nil when both files hold the same bytes.
func SameBytes(a, b string) error {
	left, err := os.Open(a)
	if err != nil {
		return err
	}
	defer left.Close()
	right, err := os.Open(b)
	if err != nil {
		return err
	}
	defer right.Close()
	const piece = 128 << 10
	p, q := make([]byte, piece), make([]byte, piece)
	for off := int64(0); ; off += piece {
		n, errLeft := io.ReadFull(left, p)
		m, errRight := io.ReadFull(right, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return fmt.Errorf("%w within %d bytes of offset %d", ErrBytesDiffer, piece, off)
		}
		end, err := atEnd(errLeft)
		if err != nil {
			return err
		}
		if _, err := atEnd(errRight); err != nil {
			return err
		}
		if end {
			return nil
		}
	}
}

// atEnd tells the end of a file from a failure to read it.
func atEnd(err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true, nil
	}
	return false, err
}

// Bytes is the sum of the sizes of all regular files below root.
func Bytes(root string) (int64, error) {
	entries, err := Read(root)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, e := range entries {
		sum += e.Size
	}
	return sum, nil
}

// Files returns the slash paths of the regular files below root, sorted.
func Files(root string) ([]string, error) {
	entries, err := Read(root)
	if err != nil {
		return nil, err
	}
	var names []string
	for name, e := range entries {
		if e.Kind.IsRegular() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
