package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// keptForOpen is how long what takes a file's place waits for an open that met it. A machine that is too busy takes longer.
const keptForOpen = time.Second

// TestAFileThatIsReplacedIsNeverMissing has a program in the directory rename files over others, files that the drive knows and
// ones that it has never seen, while programs stat and open the names in the mount.
func TestAFileThatIsReplacedIsNeverMissing(t *testing.T) {
	t.Parallel()
	const names, moves = 20, 300
	f := newFixture(t, "")
	write(t, filepath.Join(f.Home, "config.toml"), fmt.Sprintf("[guard]\nmax_delete_count = %d\n", 2*moves))
	must(t, os.Mkdir(f.behind("from"), 0o755))
	must(t, os.Mkdir(f.behind("to"), 0o755))
	name := func(i int) string { return fmt.Sprintf("f%02d", i%names) }
	known := func(i int) string { return fmt.Sprintf("from/v%03d", i) }
	for i := range moves {
		if i%3 > 0 { // every third is new when its time comes
			write(t, f.behind(known(i)), fmt.Sprintf("version %d", i))
		}
	}
	for i := range names {
		write(t, f.behind("to", name(i)), "first")
	}
	f.mount()
	sameTrees(t, f.dir, f.at)

	over := make(chan struct{})
	var looking sync.WaitGroup
	stop := sync.OnceFunc(func() { close(over); looking.Wait() })
	defer stop()
	look := func(at func(path string) error) {
		looking.Go(func() {
			for i := 0; !closed(over); i++ {
				if err := at(f.path("to", name(i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	look(func(path string) error { _, err := os.Stat(path); return err })
	look(func(path string) error {
		begun := time.Now()
		h, err := os.Open(path)
		if errors.Is(err, syscall.ESTALE) && time.Since(begun) > keptForOpen {
			return nil
		}
		if err != nil {
			return err
		}
		return h.Close()
	})
	tick := time.NewTicker(10 * time.Millisecond) // so that the drive takes the moves in a few at a time
	defer tick.Stop()
	for i := range moves {
		<-tick.C
		if i%3 == 0 {
			must(t, replace(f.behind("to", name(i)), fmt.Sprintf("version %d", i)))
		} else {
			must(t, os.Rename(f.behind(known(i)), f.behind("to", name(i))))
		}
	}
	f.settled()
	stop()
	for i := moves - names; i < moves; i++ {
		wants(t, f.path("to", name(i)), fmt.Sprintf("version %d", i))
	}
}
