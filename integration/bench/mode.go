package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
)

// mode is who mounts and works, and what the kernel may do by itself then.
type mode string

const (
	modeNoPass mode = "nopass" // root, every byte goes through the daemon
	modeRoot   mode = "root"   // root, with passthrough where kernel and program have it
	modeUser   mode = "user"   // an ordinary user, through fusermount3
)

// inOrder are the modes in the order they run.
var inOrder = []mode{modeNoPass, modeRoot, modeUser}

var errNoMode = errors.New("nothing can be mounted here: is /dev/fuse there, and fusermount3 (package fuse3)?")

// walker is the one of the modes that walks the big tree: neither who mounts nor
// passthrough changes anything about listing. Root can have the kernel forget.
func walker(modes []mode) mode {
	for _, m := range []mode{modeRoot, modeUser} {
		if slices.Contains(modes, m) {
			return m
		}
	}
	return ""
}

// passthrough reports whether the goals for passthrough hold.
func (m mode) passthrough() bool { return m == modeRoot && kernelAtLeast(6, 9) }

// named are the modes of these names.
func named(names []string) ([]mode, error) {
	var found []mode
	for _, m := range inOrder {
		if slices.Contains(names, string(m)) {
			found = append(found, m)
		}
	}
	if len(found) != len(names) {
		return nil, fmt.Errorf("read flags: modes are %v, not %v", inOrder, names)
	}
	for _, m := range found {
		if err := m.check(); err != nil {
			return nil, fmt.Errorf("measure as %s: %w", m, err)
		}
	}
	return found, nil
}

// possible are the modes that can be run here; of the others it says why not.
func possible(talk io.Writer) []mode {
	var found []mode
	for _, m := range inOrder {
		if err := m.check(); err != nil {
			fmt.Fprintf(talk, "left out: %s: %v\n", m, err)
			continue
		}
		found = append(found, m)
	}
	return found
}

// check says why the mode cannot be run here, or nil.
func (m mode) check() error {
	root := os.Geteuid() == 0
	if m != modeUser && !root {
		return errors.New("you are not root")
	}
	st, err := os.Stat("/dev/fuse")
	if err != nil || m != modeUser {
		return err
	}
	if st.Mode()&0o006 != 0o006 {
		return errors.New("only root may use /dev/fuse; elsewhere udev sees to that: chmod 0666 /dev/fuse")
	}
	_, err = exec.LookPath("fusermount3")
	return err
}

// ordinary is the user that root measures as: the one who called sudo, else nobody.
func ordinary() *syscall.Credential {
	const nobody = 65534
	return &syscall.Credential{Uid: idFrom("SUDO_UID", nobody), Gid: idFrom("SUDO_GID", nobody)}
}

func idFrom(variable string, otherwise uint32) uint32 {
	id, err := strconv.ParseUint(os.Getenv(variable), 10, 32)
	if err != nil || id == 0 {
		return otherwise
	}
	return uint32(id)
}
