package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// signal sends a signal to this drive's daemon and waits for nothing.
func (f *fixture) signal(s unix.Signal) {
	f.t.Helper()
	pids, err := f.Daemons()
	must(f.t, err)
	if len(pids) != 1 {
		f.t.Fatalf("the daemons are %v, want one", pids)
	}
	must(f.t, unix.Kill(pids[0], s))
}

// ends waits until the mount and its daemon are gone.
func (f *fixture) ends() {
	f.t.Helper()
	eventually(f.t, "the mount and its daemon are gone", func() bool {
		still, err := drive.Mounted(f.at)
		pids, perr := f.Daemons()
		return err == nil && perr == nil && !still && len(pids) == 0
	})
}

// guarded skips a test that needs the guard of a mount, which an ordinary user has only where the control file system of
// FUSE is mounted.
func guarded(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only the administrator's mounts have a guard here")
	}
}

func TestADeadMountIsReplacedThoughSomebodySitsInIt(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	write(t, f.path("file"), "text")
	h, err := os.Open(f.path("file"))
	must(t, err)
	defer h.Close()
	sitter := command(f.at, "cat")
	stdin, err := sitter.StdinPipe()
	must(t, err)
	must(t, sitter.Start())
	must(t, f.Kill())
	// Where the kernel reads the file by itself it goes on doing so.
	b := make([]byte, 4)
	if n, err := h.Read(b); !diedWithDaemon(err) && (err != nil || string(b[:n]) != "text") {
		t.Errorf("a read from a dead daemon: %q, %v", b[:n], err)
	}
	f.mount()
	wants(t, f.path("file"), "text")
	must(t, stdin.Close())
	must(t, sitter.Wait())
}

func TestTermDuringWorkLosesNothingAndHangsNobody(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := mounted(t, "")
	for round := range 3 * soak(t) {
		dir := f.path(fmt.Sprint("round", round))
		must(t, os.Mkdir(dir, 0o755))
		var workers sync.WaitGroup
		acknowledged := make([]int, 4)
		started := make(chan struct{}, len(acknowledged))
		for w := range acknowledged {
			workers.Go(func() {
				for i := 0; ; i++ {
					// Into a directory of the drive: it is not there when the mount is gone.
					path := filepath.Join(dir, fmt.Sprintf("%d-%d", w, i))
					if os.WriteFile(path, []byte(path), 0o644) != nil {
						return
					}
					if acknowledged[w] = i + 1; i == 0 {
						started <- struct{}{}
					}
				}
			})
		}
		for range acknowledged {
			<-started
		}
		spin(time.Duration(rnd.Int64N(20_000)) * time.Microsecond)
		f.signal(unix.SIGTERM)
		promptly(t, "programs at work", workers.Wait)
		f.ends()
		f.mount()
		for w, n := range acknowledged {
			for i := range n {
				path := filepath.Join(dir, fmt.Sprintf("%d-%d", w, i))
				wants(t, path, path)
			}
		}
	}
	f.settled()
}

func TestTermDuringAHydrationEndsTheRead(t *testing.T) {
	t.Parallel()
	f, disk := frozenDrive(t)
	disk.FreezeReads()
	read := make(chan error, 1)
	go func() { read <- justRead(f.path("missing")) }()
	eventually(t, "the read waits for the disk", disk.Reading)
	f.signal(unix.SIGTERM)
	promptly(t, "a read whose daemon was told to end", func() {
		if err := <-read; err == nil {
			t.Error("it read what nobody could give")
		}
	})
	eventually(t, "the mount is gone", func() bool {
		still, err := drive.Mounted(f.at)
		return err == nil && !still
	})
	disk.Thaw()
	f.ends()
	f.mount()
	must(t, justRead(f.path("missing")))
}

func TestNobodyHangsWhenADaemonIsKilledThatADeadDiskHolds(t *testing.T) {
	t.Parallel()
	guarded(t)
	f, disk := frozenDrive(t)
	disk.FreezeReads()
	read := make(chan error, 1)
	go func() { read <- justRead(f.path("missing")) }()
	eventually(t, "the read waits for the disk", disk.Reading)
	f.signal(unix.SIGKILL)
	promptly(t, "a read whose daemon was killed", func() {
		if err := <-read; !diedWithDaemon(err) {
			t.Errorf("it ended with %v", err)
		}
	})
	promptly(t, "a look at the dead mount", func() {
		if _, err := os.Lstat(f.path("local")); !diedWithDaemon(err) {
			t.Errorf("it ended with %v", err)
		}
	})
	disk.Thaw()
	f.ended()
	f.mount()
	must(t, justRead(f.path("missing")))
	wants(t, f.path("local"), strings.Repeat("l", 1000))
}

// justRead reads a file to its end.
func justRead(path string) error {
	h, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, h)
	return errors.Join(err, h.Close())
}

func TestNobodyHangsWhenADaemonIsKilledAmongReadsAndRemoteChanges(t *testing.T) {
	t.Parallel()
	guarded(t)
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := newFixture(t, "")
	const files, size = 4, 2 << 20
	name := func(i int) string { return fmt.Sprint("file", i) }
	replaceAll := func(round int) error {
		var errs []error
		for i := range files {
			errs = append(errs, replace(f.behind(name(i)), strings.Repeat(string(rune('a'+round%26)), size)))
		}
		return errors.Join(errs...)
	}
	must(t, replaceAll(0))
	for range 5 * soak(t) {
		f.mount()
		stop := make(chan struct{})
		var programs sync.WaitGroup
		for i := range 2 * files {
			programs.Go(func() {
				for justRead(f.path(name(i%files))) == nil {
				}
			})
		}
		changes := make(chan error, 1)
		go func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					changes <- nil
					return
				default:
				}
				if err := replaceAll(round); err != nil {
					changes <- err
					return
				}
			}
		}()
		spin(time.Duration(rnd.Int64N(400_000)) * time.Microsecond)
		f.signal(unix.SIGKILL)
		promptly(t, "programs that read", programs.Wait)
		f.ended()
		close(stop)
		must(t, <-changes)
	}
	f.mount()
	f.sync()
	for i := range files {
		a, err := os.ReadFile(f.path(name(i)))
		must(t, err)
		b, err := os.ReadFile(f.behind(name(i)))
		must(t, err)
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs from what is behind it", name(i))
		}
	}
}

// ended waits for the end of a daemon that was killed.
func (f *fixture) ended() {
	f.t.Helper()
	eventually(f.t, "the daemon is gone", func() bool {
		pids, err := f.Daemons()
		return err == nil && len(pids) == 0
	})
}
