package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAPinnedFileIsWholeWhileItsNewVersionIsOnItsWay has a program read a pinned file over and over, while it is replaced at an
// endpoint that stops giving bytes, then answers nothing at all, and comes back. It reads a whole version each time, none after
// a later one, and waits for none of them.
func TestAPinnedFileIsWholeWhileItsNewVersionIsOnItsWay(t *testing.T) {
	t.Parallel()
	f, disk := frozenDrive(t)
	file, behind := f.path("missing"), filepath.Join(filepath.Dir(f.dir), "disk", "missing")
	f.do("pin", "--wait", file)

	var mu sync.Mutex
	versions := []string{read(t, file)}
	replaced := func(text string) {
		t.Helper()
		mu.Lock()
		versions = append(versions, text)
		mu.Unlock()
		must(t, replace(behind, text))
	}
	var reads atomic.Int64
	over := make(chan struct{})
	var program sync.WaitGroup
	stop := sync.OnceFunc(func() { close(over); program.Wait() })
	defer stop()
	program.Go(func() {
		for last := 0; !closed(over); reads.Add(1) {
			text, err := os.ReadFile(file)
			mu.Lock()
			i := slices.Index(versions, string(text))
			mu.Unlock()
			if err != nil || i < last {
				t.Errorf("read %d bytes, which are version %d after version %d: %v", len(text), i, last, err)
				return
			}
			last = i
		}
	})
	readsOn := func(when string) {
		t.Helper()
		before := reads.Load()
		eventually(t, "the program reads on "+when, func() bool { return reads.Load() >= before+20 })
		if read(t, file) != versions[0] {
			t.Errorf("%s another version is read than the one that is here", when)
		}
	}

	disk.FreezeReads()
	replaced(strings.Repeat("new ", 2<<20))
	f.run("sync", "--rescan")
	eventually(t, "the new version is asked for", disk.Reading)
	readsOn("while no bytes come")
	if q := f.do("queue"); !strings.Contains(q, "its new version is being fetched") {
		t.Errorf("the queue says %s", q)
	}
	disk.Freeze()
	eventually(t, "status says offline", func() bool { return f.status().State == "offline" })
	readsOn("offline")
	if i := f.info("missing")[0]; i.Residency != "full" {
		t.Errorf("offline it is %+v", i)
	}

	disk.Thaw()
	eventually(t, "the new version is read", func() bool { return read(t, file) == versions[1] })
	for i := range 5 {
		replaced(fmt.Sprintf("version %d %s", i, strings.Repeat("x", i<<20)))
		f.do("sync", "--wait", "--rescan", "--timeout", "180s") // this disk tells of no change
		wants(t, file, versions[len(versions)-1])
	}
	stop()
	f.do("doctor")
}

// TestAKilledDaemonLeavesTheOldVersionOrTheNewOne kills the daemon while the new version of a pinned file comes.
func TestAKilledDaemonLeavesTheOldVersionOrTheNewOne(t *testing.T) {
	t.Parallel()
	f, disk := frozenDrive(t)
	file, behind := f.path("missing"), filepath.Join(filepath.Dir(f.dir), "disk", "missing")
	f.do("pin", "--wait", file)
	old, next := read(t, file), strings.Repeat("new ", 2<<20)
	disk.FreezeReads()
	must(t, replace(behind, next))
	f.run("sync", "--rescan")
	eventually(t, "the new version is asked for", disk.Reading)
	f.signal(unix.SIGKILL)
	disk.Thaw() // till then it does not end
	must(t, f.WaitGone())
	disk.FreezeReads()
	f.mount()
	if read(t, file) != old {
		t.Error("after a kill the old version is not read")
	}
	disk.Thaw()
	f.do("sync", "--wait", "--rescan", "--timeout", "180s")
	if read(t, file) != next {
		t.Error("after a sync the new version is not read")
	}
	f.do("doctor")
	// What was on its way when the daemon was killed has no place in the drive, and takes none on the disk for long.
	eventually(t, "nothing is left behind", func() bool {
		var here int64
		all, err := filepath.Glob(filepath.Join(f.Home, "data", "content", "*", "*"))
		must(t, err)
		for _, path := range all {
			if info, err := os.Stat(path); err == nil {
				here += info.Size()
			}
		}
		return here == f.status().Cache.Bytes
	})
}
