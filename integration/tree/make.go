package tree

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Copy copies what lies at from to the new name to, with times and modes, as
// files of their own: never as hard links, which a change would show in both.
func Copy(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	out, err := exec.Command("cp", "-a", "--reflink=auto", "--", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w: %s", from, to, err, out)
	}
	// A tree installed by somebody else may be read-only; tests change theirs.
	if out, err := exec.Command("chmod", "-R", "u+w", "--", to).CombinedOutput(); err != nil {
		return fmt.Errorf("make %s writable: %w: %s", to, err, out)
	}
	return nil
}

// GoSource returns the directory of Go's own source tree.
func GoSource() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find go source: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src"), nil
}

// Oddities adds to dir, which must exist, one of everything that a plain source
// tree lacks: odd and long names, links, an executable, empty things, an old time.
func Oddities(dir string) error {
	long := strings.Repeat("n", 255)
	files := map[string]string{
		long:                  "255 bytes of name",
		"line\nbreak":         "a line break in a name",
		"not utf-8 \xff\xfe":  "bytes that are no text",
		" spaces ":            "spaces at both ends",
		"-rf":                 "looks like an option",
		"empty":               "",
		"déjà vu/ünïcode/日本語": "accents",
		"tool.sh":             "#!/bin/sh\necho works\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make oddities: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("make oddities: %w", err)
		}
	}
	old := time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.UTC)
	steps := []func() error{
		func() error { return os.Chmod(filepath.Join(dir, "tool.sh"), 0o755) },
		func() error { return os.Chtimes(filepath.Join(dir, "empty"), old, old) },
		func() error { return os.Mkdir(filepath.Join(dir, "empty directory"), 0o755) },
		func() error { return os.Symlink("tool.sh", filepath.Join(dir, "link")) },
		func() error { return os.Symlink("nowhere/at all", filepath.Join(dir, "dangling")) },
		func() error { return os.Symlink("..", filepath.Join(dir, "up")) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("make oddities: %w", err)
		}
	}
	return nil
}

// Many makes count files of size bytes each below dir, a hundred to a directory,
// and returns when all are written. The bytes tell the files apart.
func Many(dir string, count, size int) error {
	body := make([]byte, size)
	for i := range count {
		sub := filepath.Join(dir, fmt.Sprintf("d%04d", i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return fmt.Errorf("make many files: %w", err)
			}
		}
		copy(body, fmt.Sprintf("%d\n", i))
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%06d", i)), body, 0o644); err != nil {
			return fmt.Errorf("make many files: %w", err)
		}
	}
	return nil
}
