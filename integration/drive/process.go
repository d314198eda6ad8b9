package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// endLimit is how long a process may take to be gone after it was told to.
const endLimit = 30 * time.Second

// Daemons returns the ids of the processes that run this drive's binary with
// this drive's home, commands under way included.
func (d *Drive) Daemons() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if d.owns(pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// owns reports whether the process runs our binary with our home. A process
// that is gone, or not ours to look into, is none of this drive.
func (d *Drive) owns(pid int) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	exe, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil || strings.TrimSuffix(exe, " (deleted)") != d.Bin {
		return false
	}
	env, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return false
	}
	for _, entry := range bytes.Split(env, []byte{0}) {
		if string(entry) == "VDFS_HOME="+d.Home {
			return true
		}
	}
	return false
}

// Kill ends this drive's daemon at once, as a crash would (SIGKILL), and waits
// until it is gone. The mount stays behind, dead.
func (d *Drive) Kill() error {
	if err := d.Signal(unix.SIGKILL); err != nil {
		return err
	}
	return d.WaitGone()
}

// Signal sends a signal to this drive's daemon.
func (d *Drive) Signal(sig unix.Signal) error {
	pids, err := d.Daemons()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("send %v to daemon %d: %w", sig, pid, err)
		}
	}
	return nil
}

// WaitGone returns when no process of this drive is left and nobody answers for its mount.
func (d *Drive) WaitGone() error {
	var pids []int
	gone := Poll(endLimit, func() bool {
		var err error
		pids, err = d.Daemons()
		return err == nil && len(pids) == 0
	})
	if !gone {
		return fmt.Errorf("processes %v of the drive %s do not end", pids, d.Home)
	}
	// A process that is ending shows nothing of itself any more while it still has its files, and with them the mount.
	if !Poll(endLimit, d.unserved) {
		return fmt.Errorf("the mount %s still answers though its daemon is gone", d.Mount)
	}
	return nil
}

// unserved reports whether nobody answers for the mount any more.
func (d *Drive) unserved() bool {
	if mounted, err := Mounted(d.Mount); err != nil || !mounted {
		return err == nil
	}
	var st unix.Statfs_t
	return errors.Is(unix.Statfs(d.Mount, &st), unix.ENOTCONN)
}

// Close unmounts the drive and ends its daemon, gently if it lets itself, and by
// force if not. It is an error if force was needed.
func (d *Drive) Close() error {
	var failures []error
	mounted, err := Mounted(d.Mount)
	if err != nil {
		failures = append(failures, err)
	}
	pids, err := d.Daemons()
	if err != nil {
		failures = append(failures, err)
	}
	if !mounted && len(pids) == 0 {
		return errors.Join(failures...)
	}
	if err := d.unmount(); err != nil {
		failures = append(failures, err)
	}
	if mounted, err = Mounted(d.Mount); err != nil || mounted {
		failures = append(failures, err, lazyUnmount(d.Mount))
	}
	if err := d.WaitGone(); err != nil {
		failures = append(failures, err, d.Kill())
	}
	return errors.Join(failures...)
}

// unmount asks the drive to end, but not for ever: it may be what is broken.
func (d *Drive) unmount() error {
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	r, err := d.RunContext(ctx, "unmount", d.Mount)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("command failed: %s", r)
	}
	return err
}

// lazyUnmount takes a mount out of the tree though it is busy or dead.
func lazyUnmount(dir string) error {
	if os.Geteuid() == 0 {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		return nil
	}
	if out, err := exec.Command("fusermount3", "-u", "-z", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount %s: %w: %s", dir, err, out)
	}
	return nil
}

// Mounted reports whether something is mounted exactly at dir. It asks nothing
// of the file system there, so a dead mount does not disturb it.
func Mounted(dir string) (bool, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, fmt.Errorf("read mounts: %w", err)
	}
	for line := range strings.Lines(string(info)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && unescapeMount(fields[4]) == dir {
			return true, nil
		}
	}
	return false, nil
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Poll asks until the condition holds or the limit has passed, and reports
// whether it held. It asks often at first, then every 20 ms.
func Poll(limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	pause := time.Millisecond
	for {
		if condition() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		timer := time.NewTimer(pause)
		<-timer.C
		pause = min(2*pause, 20*time.Millisecond)
	}
}
