package procs

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAThreadIsOfItsProcess(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if got := Process(uint32(unix.Gettid())); got != os.Getpid() {
		t.Errorf("this thread is of process %d, want %d", got, os.Getpid())
	}
	if got := Process(0); got != 0 {
		t.Errorf("no thread is of process %d", got)
	}
}
