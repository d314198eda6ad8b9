package fs

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"vdfs/cache"

	"golang.org/x/sys/unix"
)

func TestReadsGoPastAFullDisk(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"with notifications": false, "when none has come yet": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := mounted(t)
			if silent {
				e.silence()
			}
			data := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
			ino := e.placeholder(cache.RootIno, "f", data)
			e.hyd.full.Store(true)
			e.wantContent("f", data)
			if n, err := e.cache.Attr(ino); err != nil || n.Residency != cache.None || e.hyd.through.Load() == 0 {
				t.Fatalf("residency %v after %d reads past the disk: %v", n.Residency, e.hyd.through.Load(), err)
			}
			if got := runHelper(t, "mmap-read", e.path("f")); got != string(data) {
				t.Errorf("a mapping has %d bytes, and they are wrong", len(got))
			}
			must(t, exec.Command("cp", e.path("f"), e.path("copy")).Run())
			e.wantContent("copy", data)
			next := bytes.Repeat([]byte("the next one...."), 20_000)
			e.replace(ino, next) // of the same size: pages of the version before would fit
			e.wantContent("f", next)
		})
	}
}

func TestAWriteWaitsForRoom(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	data := bytes.Repeat([]byte("far"), 1000)
	e.placeholder(cache.RootIno, "f", data)
	e.hyd.full.Store(true)
	f := open(t, e.path("f"), os.O_RDWR)
	_, err := f.WriteAt([]byte("NEW"), 3) // needs the rest of the file
	wantErrno(t, err, unix.ENOSPC)
	if e.room.made.Load() == 0 {
		t.Fatal("nobody was asked to make room")
	}
	waits := make(chan struct{}, 10)
	room := make(chan struct{})
	waitForIt := func(ctx context.Context, op func() error) error {
		waits <- struct{}{}
		select {
		case <-room:
			e.hyd.full.Store(false)
			return op()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e.room.make.Store(&waitForIt)
	cmd := exec.Command("dd", "if=/dev/zero", "of="+e.path("f"), "bs=1", "count=1", "conv=notrunc")
	must(t, cmd.Start())
	<-waits
	endsWhenKilled(t, cmd)
	done := make(chan error, 1)
	go func() {
		_, err := f.WriteAt([]byte("NEW"), 3)
		done <- err
	}()
	<-waits
	e.stat("f") // nobody else waits
	_, err = os.ReadDir(e.mnt)
	must(t, err)
	close(room)
	must(t, <-done)
	must(t, f.Close())
	e.wantContent("f", append([]byte("farNEW"), data[6:]...))
}

// A program that writes more than can be sent waits before each write, passed through or not.
func TestWritesArePaced(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	var bytesPaced, blocked atomic.Int64
	hold := make(chan struct{})
	e.room.pace = func(ctx context.Context, n int64) {
		if bytesPaced.Add(n) <= 3000 {
			return
		}
		blocked.Add(1)
		defer blocked.Add(-1)
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	e.write("before", make([]byte, 5000))
	if n := bytesPaced.Load(); n != 0 {
		t.Fatalf("%d bytes were paced before it was said", n)
	}
	e.room.paced.Store(true)
	f := open(t, e.path("f"), os.O_WRONLY|os.O_CREATE)
	for range 3 {
		_, err := f.Write(make([]byte, 1000))
		must(t, err)
	}
	if n := bytesPaced.Load(); n != 3000 {
		t.Fatalf("%d bytes were paced, want 3000", n)
	}
	cmd := exec.Command("dd", "if=/dev/zero", "of="+e.path("g"), "bs=1000", "count=1")
	must(t, cmd.Start())
	e.eventually("a write waits", func() bool { return blocked.Load() == 1 })
	must(t, cmd.Process.Signal(unix.SIGTERM))
	_ = cmd.Wait()
	e.eventually("its wait ended", func() bool { return blocked.Load() == 0 })
	done := make(chan error, 1)
	go func() {
		_, err := f.Write(make([]byte, 1000))
		done <- err
	}()
	e.eventually("a write waits", func() bool { return blocked.Load() == 1 })
	e.wantContent("before", make([]byte, 5000))
	close(hold)
	must(t, <-done)
	must(t, f.Close())
	e.wantContent("f", make([]byte, 4000))
}
