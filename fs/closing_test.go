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

func TestAwaitWaitsForTheReleaseOfWhatWasClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c closing
		first, second, later := &file{}, &file{}, &file{}
		c.await(t.Context()) // nothing to wait for
		c.flushed(first)
		c.flushed(second)
		begun, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			c.await(t.Context())
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		c.flushed(later) // after the call: not waited for
		c.released(first)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it did not wait for the second file")
		default:
		}
		c.released(second)
		<-done
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it waited %v, want 1s", took)
		}
	})
}

func TestAwaitEndsForADescriptorThatStaysOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c closing
		held := &file{}
		c.flushed(held) // a duplicate was closed
		begun := time.Now()
		c.await(t.Context())
		if took := time.Since(begun); took != closeGrace {
			t.Errorf("it waited %v, want %v", took, closeGrace)
		}
		c.await(t.Context())
		if took := time.Since(begun); took != closeGrace {
			t.Errorf("it waited once more for the same close: %v", took)
		}
		c.flushed(held)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c.await(ctx)
		if took := time.Since(begun); took != closeGrace {
			t.Errorf("it waited %v though nobody waits for it", took)
		}
	})
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
