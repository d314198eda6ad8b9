package fs

import (
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/cache"
)

func TestAwaitWaitsForTheFilesItIsGiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c closing
		first, second, later := &file{}, &file{}, &file{}
		c.await(t.Context(), nil) // nothing to wait for
		c.begins(first)
		begun, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			c.await(t.Context(), []*file{first, second})
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		c.begins(later) // after the call: not waited for
		c.ends(first)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it did not wait for the second file")
		default:
		}
		c.begins(second)
		c.ends(second)
		<-done
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it waited %v, want 1s", took)
		}
		if left := c.all(); len(left) != 1 || left[0] != later {
			t.Errorf("%d files are being released, want the one that is", len(left))
		}
	})
}

func TestAwaitEndsForAFileThatStaysOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c closing
		held := []*file{{}}
		begun := time.Now()
		c.await(t.Context(), held)
		if took := time.Since(begun); took != closeGrace {
			t.Errorf("it waited %v, want %v", took, closeGrace)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c.await(ctx, held)
		if took := time.Since(begun); took != closeGrace {
			t.Errorf("it waited %v though nobody waits for it", took)
		}
	})
}

func TestFilesThatProgramsHaveOpenAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	// A mapping that the kernel serves by itself is of the backing file.
	e := mounted(t, func(o *Options) { o.NoPassthrough = true })
	open := func(name string) *os.File {
		f, err := os.OpenFile(e.path(name), os.O_CREATE|os.O_RDWR, 0o644)
		must(t, err)
		must(t, f.Truncate(4096))
		return f
	}
	descriptor, mapping := open("descriptor"), open("mapping")
	m, err := unix.Mmap(int(mapping.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	must(t, mapping.Close())
	begun := time.Now()
	e.server.AwaitCloses(t.Context())
	if took := time.Since(begun); took >= closeGrace {
		t.Errorf("it waited %v for files that are open", took)
	}
	if u := e.cache.InUse(cache.Ino(e.stat("descriptor").Ino)); u.Writers != 1 {
		t.Errorf("the open file is in use by %+v", u)
	}
	must(t, unix.Munmap(m))
	must(t, descriptor.Close())
}

func TestNothingIsInUseAfterTheClosesThatReturned(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	for i := range 300 {
		path := e.path(fmt.Sprintf("f%d", i))
		must(t, os.WriteFile(path, []byte("text"), 0o644))
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		e.server.AwaitCloses(t.Context())
		if u := e.cache.InUse(cache.Ino(st.Ino)); u != (cache.Use{}) {
			t.Fatalf("file %d is in use after its close: %+v", i, u)
		}
	}
}
