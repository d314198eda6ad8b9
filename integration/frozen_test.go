package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// frozenDrive is a drive over a directory that can be frozen. It holds files named local, whose bytes are here, missing,
// whose bytes are not, and a directory that was listed.
func frozenDrive(t *testing.T) (*fixture, *drive.Freezer) {
	t.Helper()
	base := t.TempDir()
	behind, at := filepath.Join(base, "disk"), filepath.Join(base, "network")
	must(t, os.MkdirAll(filepath.Join(behind, "listed"), 0o755))
	must(t, os.Mkdir(at, 0o755))
	for name, size := range map[string]int{"local": 1000, "missing": 4 << 20, "listed/file": 10} {
		write(t, filepath.Join(behind, name), strings.Repeat(name[:1], size))
	}
	f, disk := overFreezer(t, behind, at)
	f.mount()
	wants(t, f.path("local"), strings.Repeat("l", 1000))
	if _, err := os.ReadDir(f.path("listed")); err != nil {
		t.Fatal(err)
	}
	f.sync()
	return f, disk
}

// overFreezer is a drive, not mounted yet, over a Freezer that shows the directory behind at at.
func overFreezer(t *testing.T, behind, at string) (*fixture, *drive.Freezer) {
	t.Helper()
	disk, err := drive.NewFreezer(behind, at)
	must(t, err)
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Errorf("unmount the disk: %v", err)
		}
	})
	f := newFixture(t, at)
	t.Cleanup(disk.Thaw) // before the drive is taken away
	return f, disk
}

// promptly fails the test when something takes longer than any wait for an endpoint may.
func promptly(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("hangs: %s", what)
	}
}

// worksFrozen does what no endpoint may hold up.
func (f *fixture) worksFrozen(round string) {
	f.t.Helper()
	promptly(f.t, "what needs no endpoint, "+round, func() {
		if text, err := os.ReadFile(f.path("local")); err != nil || len(text) == 0 {
			f.t.Errorf("read a local file: %d bytes, %v", len(text), err)
		}
		for what, err := range map[string]error{
			"overwrite a local file": os.WriteFile(f.path("local"), []byte("changed "+round), 0o644),
			"make a file":            os.WriteFile(f.path("made "+round), []byte(round), 0o644),
			"make a directory":       os.Mkdir(f.path("dir "+round), 0o755),
			"change a mode":          os.Chmod(f.path("missing"), 0o640),
			"rename":                 os.Rename(f.path("made "+round), f.path("dir "+round, "moved")),
			"ask for free space":     unix.Statfs(f.at, new(unix.Statfs_t)),
		} {
			if err != nil {
				f.t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := os.ReadDir(f.path("listed")); err != nil {
			f.t.Error(err)
		}
		if r, err := f.Run("status"); err != nil || r.Code != 0 {
			f.t.Errorf("status: %v %s", err, r)
		}
	})
}

// sentAll syncs and looks for what worksFrozen did.
func (f *fixture) sentAll(rounds ...string) {
	f.t.Helper()
	f.sync()
	for _, round := range rounds {
		wants(f.t, f.behind("dir "+round, "moved"), round)
		wants(f.t, f.behind("local"), "changed "+rounds[len(rounds)-1])
	}
	if extra := f.conflictFiles(f.at, "local", "missing", "listed", "waits to be sent", "dir "+rounds[0], "dir "+rounds[1]); len(extra) > 0 {
		f.t.Errorf("conflict files: %q", extra)
	}
}

func TestADiskThatHangsHangsNobody(t *testing.T) {
	t.Parallel()
	f, disk := frozenDrive(t)
	disk.Freeze()
	var readers []chan error
	for range 40 {
		done := make(chan error, 1)
		readers = append(readers, done)
		go func() {
			_, err := os.ReadFile(f.path("missing"))
			done <- err
		}()
	}
	f.worksFrozen("while it hangs")
	for _, done := range readers {
		promptly(t, "a read of what is missing", func() {
			if err := <-done; err == nil {
				t.Error("what is missing was read from a disk that hangs")
			}
		})
	}
	eventually(t, "status says offline", func() bool { return f.status().State == "offline" })
	promptly(t, "a read of what is missing from an endpoint that is offline", func() {
		if _, err := os.ReadFile(f.path("missing")); err == nil {
			t.Error("what is missing was read from a disk that hangs")
		}
	})
	f.worksFrozen("when it is offline")

	disk.Thaw()
	eventually(t, "what was missing can be read", func() bool {
		text, err := os.ReadFile(f.path("missing"))
		return err == nil && string(text) == strings.Repeat("m", 4<<20)
	})
	f.sentAll("while it hangs", "when it is offline")
}

func TestADriveComesAndGoesWhileItsDiskHangs(t *testing.T) {
	t.Parallel()
	f, disk := frozenDrive(t)
	disk.Freeze()
	write(t, f.path("waits to be sent"), "x")
	promptly(t, "unmount", func() { f.do("unmount", f.at) })
	promptly(t, "mount", func() { f.mount() })
	f.worksFrozen("after a new mount")

	f.signal(unix.SIGTERM)
	eventually(t, "the mount is gone after SIGTERM", func() bool {
		mounted, err := drive.Mounted(f.at)
		return err == nil && !mounted
	})
	promptly(t, "mount", func() { f.mount() })
	f.worksFrozen("after SIGTERM")

	disk.Thaw()
	f.sentAll("after a new mount", "after SIGTERM")
	wants(t, f.behind("waits to be sent"), "x")
}
