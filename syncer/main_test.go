package syncer

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain has the drives of this package's tests in memory where there is room: thousands are made, and what they are about is
// what is decided and recorded, not how a disk keeps it. That is what package cache and integration/ try.
func TestMain(m *testing.M) {
	const memory, room = "/dev/shm", 4 << 30
	var s unix.Statfs_t
	if _, chosen := os.LookupEnv("TMPDIR"); !chosen && unix.Statfs(memory, &s) == nil && int64(s.Bavail)*s.Bsize > room && unix.Access(memory, unix.W_OK) == nil {
		if err := os.Setenv("TMPDIR", memory); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
