package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// image is an ext4 file system of its own in a file, for what must not happen to the disk that the tests are on.
type image struct {
	t    *testing.T
	loop string // the loop device
	at   string // where it is mounted
}

// needRoot skips a test that only the administrator can run.
func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("*** SKIPPED: only root can %s ***", why)
	}
}

// needLoop skips a test where the machine, as many a container, lends nobody a loop device.
func needLoop(t *testing.T) {
	t.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("*** SKIPPED: no loop devices here: %v ***", err)
	}
	must(t, control.Close())
}

// newImage makes and mounts an image. Whatever the test does, nothing of it stays: make it before the drive that uses
// it, so that the drive is gone first.
func newImage(t *testing.T, megabytes int64) *image {
	t.Helper()
	needRoot(t, "mount a file system")
	need(t, "mkfs.ext4", "losetup")
	needLoop(t)
	base := t.TempDir()
	file := filepath.Join(base, "image")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Truncate(file, megabytes<<20))
	sh(t, base, "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0", file)
	m := &image{t: t, at: filepath.Join(base, "mnt")}
	must(t, os.Mkdir(m.at, 0o755))
	m.loop = strings.TrimSpace(sh(t, base, "losetup", "--find", "--show", file))
	t.Cleanup(func() { sh(t, base, "losetup", "--detach", m.loop) })
	m.mount()
	t.Cleanup(func() {
		if err := m.unmount(); err != nil {
			t.Errorf("unmount %s: %v", m.at, errors.Join(err, unix.Unmount(m.at, unix.MNT_DETACH)))
		}
	})
	return m
}

func (m *image) mount() {
	m.t.Helper()
	must(m.t, unix.Mount(m.loop, m.at, "ext4", unix.MS_NOATIME, ""))
}

// unmount does nothing of an image that is not mounted.
func (m *image) unmount() error {
	m.t.Helper()
	err := unmountIdle(m.t, m.at)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// unmountIdle waits for the last that was killed to let go of a file system, and unmounts it.
func unmountIdle(t *testing.T, at string) error {
	t.Helper()
	var err error
	eventually(t, "nobody uses "+at, func() bool {
		err = unix.Unmount(at, 0)
		return !errors.Is(err, unix.EBUSY)
	})
	return err
}

// cut takes the power away: nothing more reaches the disk, what the journal holds back included.
func (m *image) cut() {
	m.t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2
	d, err := os.Open(m.at)
	must(m.t, err)
	err = unix.IoctlSetPointerInt(int(d.Fd()), shutdown, noLogFlush)
	must(m.t, errors.Join(err, d.Close()))
}
