package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReadsGoOnThroughADiskWithoutRoom reads with real programs what is not here and cannot come here.
func TestReadsGoOnThroughADiskWithoutRoom(t *testing.T) {
	t.Parallel()
	f := newFullDrive(t)
	text := func(name string, size int) []byte {
		return bytes.Repeat(fmt.Appendf(nil, "%31s\n", name), size/32)
	}
	sizes := map[string]int{"small": 64, "medium": 300_000, "large": 9 << 20}
	for name, size := range sizes {
		f.files[name] = text(name, size)
		must(t, os.WriteFile(f.behind(name), f.files[name], 0o644))
	}
	f.sync()
	f.fill()
	for range 2 {
		f.check("on a full disk")
	}
	for name := range sizes {
		out, err := command(f.at, "tail", "-c", "1000", name).Output()
		want := f.files[name][max(0, len(f.files[name])-1000):]
		if err != nil || !bytes.Equal(out, want) {
			t.Errorf("tail of %s reads %d bytes, and they are wrong: %v", name, len(out), err)
		}
		if i := f.info(name)[0]; i.Residency == "full" {
			t.Errorf("%s is here, on a full disk", name)
		}
	}
	// Another version is read as what it is.
	f.files["large"] = text("other", sizes["large"])
	must(t, os.WriteFile(f.behind("new"), f.files["large"], 0o644))
	must(t, os.Rename(f.behind("new"), f.behind("large")))
	f.sync()
	f.check("of another version")
	// What needs no room works; what does is told.
	if h, err := os.OpenFile(f.path("medium"), os.O_RDWR, 0); err != nil {
		t.Error(err)
	} else {
		_, err := h.WriteAt([]byte("x"), 5)
		if !f.full("write into what is not here", "medium", err) {
			t.Error("300 kB came to a full disk")
		}
		must(t, h.Close())
	}
	must(t, os.Rename(f.path("small"), f.path("renamed")))
	f.files["renamed"] = f.files["small"]
	delete(f.files, "small")
	h, err := os.OpenFile(f.path("medium"), os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	must(t, h.Close())
	f.files["medium"] = nil
	must(t, os.Remove(f.path("large")))
	delete(f.files, "large")
	f.check("after what needs no room")
	f.clear()
	f.check("with room again")
	f.settledBesideTrash()
	f.do("doctor")
}

// TestACopyOfMoreThanTheDiskWaitsForWhatIsSent copies in much more than the disk of the drive can hold.
func TestACopyOfMoreThanTheDiskWaitsForWhatIsSent(t *testing.T) {
	t.Parallel()
	f := newFullDrive(t)
	from := filepath.Join(t.TempDir(), "from")
	must(t, os.Mkdir(from, 0o755))
	for i := range 40 {
		must(t, os.WriteFile(filepath.Join(from, fmt.Sprintf("f%02d", i)), someBytes(f.rnd, 4<<20), 0o644))
	}
	sh(t, from, "cp", "-r", from, f.path("to"))
	f.sync()
	diffR(t, from, f.behind("to"))
	diffR(t, from, f.path("to"))
	f.do("doctor")
}

// TestMoreThanTheBudgetWaitsForWhatIsSent has programs write faster than an endpoint takes it.
func TestMoreThanTheBudgetWaitsForWhatIsSent(t *testing.T) {
	t.Parallel()
	const budget, size, files = 4 << 20, 256 << 10, 120
	f := newFixture(t, "")
	write(t, filepath.Join(f.Home, "config.toml"), "[cache]\nmax_size = \"4MiB\"\n[offload]\nfree_low = 0\n")
	f.mount()
	write(t, f.path("steady"), "steady")
	f.sync()
	watch := watchOver(t, []string{f.at, f.dir}, "steady")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	most := int64(0)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			most = max(most, f.status().Cache.Bytes)
		}
	})
	text := func(i int) string { return strings.Repeat(fmt.Sprintf("%031d\n", i), size/32) }
	for i := range files {
		write(t, f.path(fmt.Sprint("f", i)), text(i))
	}
	cancel()
	wg.Wait()
	t.Logf("at most %d bytes were here, of %d", most, files*size)
	if most > files*size/2 {
		t.Errorf("%d bytes were here at a time, of %d with a budget of %d", most, files*size, budget)
	}
	eventually(t, "what is here comes down to the budget", func() bool { return f.status().Cache.Bytes <= budget })
	for i := range files {
		wants(t, f.path(fmt.Sprint("f", i)), text(i))
	}
	f.settled()
	watch.unharmed(t)
}

// TestAnEndpointThatHangsSlowsNobodyForLong writes more than the budget while nothing can be sent.
func TestAnEndpointThatHangsSlowsNobodyForLong(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	behind, at := filepath.Join(base, "disk"), filepath.Join(base, "network")
	must(t, os.Mkdir(behind, 0o755))
	must(t, os.Mkdir(at, 0o755))
	f, disk := overFreezer(t, behind, at)
	write(t, filepath.Join(f.Home, "config.toml"), "[cache]\nmax_size = \"1MiB\"\n[offload]\nfree_low = 0\n[hydrate]\ntimeout = \"2s\"\n")
	f.mount()
	f.sync()
	disk.Freeze()
	began := time.Now()
	for i := range 30 {
		write(t, f.path(fmt.Sprint("f", i)), strings.Repeat("x", 256<<10))
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("30 files were written in %v while nothing could be sent", took)
	}
	disk.Thaw()
	f.sync()
	for i := range 30 {
		wants(t, f.behind(fmt.Sprint("f", i)), strings.Repeat("x", 256<<10))
	}
}
