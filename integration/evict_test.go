package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReadingMoreThanTheBudgetKeepsTheBudget reads much more than may be here with real programs, one of them again and again
// from files that are dropped meanwhile.
func TestReadingMoreThanTheBudgetKeepsTheBudget(t *testing.T) {
	t.Parallel()
	const budget, files, size = 4 << 20, 400, 64 << 10
	f := newFixture(t, "")
	write(t, filepath.Join(f.Home, "config.toml"), "[cache]\nmax_size = \"4MiB\"\n[offload]\nfree_low = 0\n")
	for _, dir := range []string{"keep", "many"} {
		must(t, os.Mkdir(f.behind(dir), 0o755))
	}
	text := func(i int) []byte {
		return bytes.Repeat(fmt.Appendf(nil, "%031d\n", i), size/32)
	}
	for i := range files {
		must(t, os.WriteFile(f.behind("many", fmt.Sprintf("f%03d", i)), text(i), 0o644))
	}
	var kept []string
	for i := range 20 {
		kept = append(kept, fmt.Sprintf("keep/k%02d", i))
		must(t, os.WriteFile(f.behind(kept[i]), text(1000+i), 0o644))
	}
	f.mount()
	f.do("pin", "--wait", f.path("keep"))

	watch := watchOver(t, []string{f.at, f.dir}, "keep/k00", "many/f000", fmt.Sprintf("many/f%03d", files-1))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	enough := make(chan struct{})
	var wg sync.WaitGroup
	stop := sync.OnceFunc(func() { close(enough); wg.Wait() })
	defer stop()
	again := func(work func() error) {
		wg.Go(func() {
			for !closed(enough) {
				if err := work(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for worker := range uint64(3) { // dd reads one file after the other, of which some are dropped in that moment
		rnd := rand.New(rand.NewPCG(seed, worker))
		again(func() error {
			i := rnd.IntN(files)
			out, err := command(f.path("many"), "dd", fmt.Sprintf("if=f%03d", i), "bs=4k", "status=none").Output()
			if err != nil || !bytes.Equal(out, text(i)) {
				return fmt.Errorf("dd read %d bytes of file %d, and they are wrong: %w", len(out), i, err)
			}
			return nil
		})
	}
	again(func() error {
		found, err := command(f.path("many"), "grep", "-rl", "^0*[0-9]$", ".").Output()
		if n := bytes.Count(found, []byte("\n")); n != 10 || err != nil {
			return fmt.Errorf("grep found %d files, want 10: %w", n, err)
		}
		out, err := command(f.at, "sh", "-c", `tar -cf - many | tar -C "$1" -df -`, "sh", f.dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("tar does not find the same: %w\n%s", err, firstLines(out))
		}
		return nil
	})
	last, drops := int64(0), 0
	eventually(t, "bytes are dropped three times while all read", func() bool {
		now := f.status().Cache.Bytes
		if now < last-budget/2 {
			drops++
		}
		last = now
		return drops == 3 || t.Failed()
	})
	stop()

	atBudget := func() bool {
		c := f.status().Cache
		return c.BudgetBytes == budget && c.Bytes-c.PinnedBytes <= budget && c.Bytes-c.PinnedBytes > budget-budget/50-size
	}
	eventually(t, "what is here comes down to the budget, and not much below", atBudget)
	sameTrees(t, f.dir, f.at)
	diffR(t, f.dir, f.at)
	eventually(t, "what is here comes down to the budget again", atBudget)
	for n, i := range f.info(kept...) {
		if i.Residency != "full" {
			t.Errorf("the pinned %s is %s", kept[n], i.Residency)
		}
	}
	if c := f.status().Cache; c.PinnedBytes != 20*size {
		t.Errorf("%d bytes are pinned, want %d", c.PinnedBytes, 20*size)
	}
	if out := f.do("status"); !strings.Contains(out, " of 4.0 MiB") {
		t.Errorf("status does not tell the budget:\n%s", out)
	}
	f.settled()
	watch.unharmed(t)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
