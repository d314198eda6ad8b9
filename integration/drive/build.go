package drive

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoFUSE means that this machine or container cannot mount.
var ErrNoFUSE = errors.New("no usable FUSE on this machine")

// Build compiles the vdfs binary into dir and returns its path. With race it
// carries the race detector. VDFS_BINARY names a ready binary to use instead.
func Build(dir string, race bool) (string, error) {
	if ready := os.Getenv("VDFS_BINARY"); ready != "" {
		path, err := filepath.Abs(ready)
		if err != nil {
			return "", fmt.Errorf("find binary %s: %w", ready, err)
		}
		return path, nil
	}
	bin := filepath.Join(dir, "vdfs")
	args := []string{"build", "-o", bin}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "vdfs/cmd/vdfs")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build vdfs: %w\n%s", err, out)
	}
	return bin, nil
}

// CheckFUSE says why nothing can be mounted here (ErrNoFUSE), or nil.
func CheckFUSE() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoFUSE, err)
	}
	if os.Geteuid() == 0 {
		f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoFUSE, err)
		}
		return f.Close()
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return fmt.Errorf("%w: package fuse3: %w", ErrNoFUSE, err)
	}
	return nil
}
