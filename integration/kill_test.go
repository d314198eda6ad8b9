package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vdfs/integration/drive"
)

func TestKillNineTwentyTimes(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := mounted(t, "")
	var workers []*model
	for i := range uint64(3) {
		root := f.path(fmt.Sprintf("worker%d", i))
		must(t, os.Mkdir(root, 0o755))
		workers = append(workers, newModel(root, seed, i+1))
	}
	for round := range 20 * soak(t) {
		f.killDuringBurst(workers, 30+rnd.Int64N(400), time.Duration(rnd.Int64N(400))*time.Microsecond)
		f.mount()
		for _, m := range workers {
			m.crash()
			if err := m.check(); err != nil {
				t.Fatalf("round %d, seed %d: %v", round, seed, err)
			}
		}
	}
	f.settled()
	for _, m := range workers {
		if err := m.check(); err != nil {
			t.Fatalf("after sync, seed %d: %v", seed, err)
		}
	}
	f.do("doctor")
}

// killDuringBurst lets the workers loose and kills the daemon a moment after
// they have begun the given number of operations. It returns when every worker
// has met the dead mount.
func (f *fixture) killDuringBurst(workers []*model, after int64, moment time.Duration) {
	f.t.Helper()
	var begun atomic.Int64
	reached := make(chan struct{})
	failures := make(chan error, len(workers))
	var running sync.WaitGroup
	for _, m := range workers {
		running.Go(func() {
			for {
				if begun.Add(1) == after {
					close(reached)
				}
				if err := m.step(); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	select {
	case <-reached:
		spin(moment)
	case err := <-failures:
		f.t.Fatalf("an operation failed before the daemon was killed: %v", err)
	}
	must(f.t, f.Kill())
	running.Wait()
	close(failures)
	for err := range failures {
		if !diedWithDaemon(err) {
			f.t.Fatalf("an operation failed for another reason than the dead daemon: %v", err)
		}
	}
}

// spin passes a moment too short for a timer, so that the kill hits any point of
// an operation.
func spin(moment time.Duration) {
	for start := time.Now(); time.Since(start) < moment; {
	}
}

// diedWithDaemon reports whether an error is what a dead FUSE daemon leaves.
func diedWithDaemon(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EINTR)
}

// testSeed is the seed of a random test: from the environment, to repeat a run, or
// new. A failing test prints it.
func testSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("VDFS_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("VDFS_TEST_SEED is %q, want a number", text)
		}
	}
	t.Logf("seed %d: VDFS_TEST_SEED=%d repeats the choices of this test", seed, seed)
	return seed
}

func TestKillNineBeforeAnythingIsSynced(t *testing.T) {
	t.Parallel()
	f := mounted(t, "")
	f.do("pause")
	for i := range 50 {
		write(t, f.path(fmt.Sprintf("file%d", i)), fmt.Sprintf("text %d", i))
	}
	must(t, f.Kill())
	if dead, err := drive.Mounted(f.at); err != nil || !dead {
		t.Fatalf("the killed daemon leaves no dead mount behind: %v, %v", dead, err)
	}
	if r := f.run("status"); r.Code != 6 {
		t.Errorf("status after the daemon died: want exit 6, got %s", r)
	}
	f.mount()
	for i := range 50 {
		wants(t, f.path(fmt.Sprintf("file%d", i)), fmt.Sprintf("text %d", i))
	}
	f.do("resume")
	f.settled()
}

// The kill test is only as good as its model: on a plain directory it has to
// agree, and any loss behind its back it has to see.
func TestModelAgreesWithAPlainDirectoryAndSeesLosses(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	m := newModel(t.TempDir(), seed, 0)
	for i := range 1500 {
		if err := m.step(); err != nil {
			t.Fatalf("step %d, seed %d: %v", i, seed, err)
		}
	}
	m.crash()
	if err := m.check(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	m.files["victim"] = modelFile{data: []byte("acknowledged"), mtime: time.Unix(1, 0)}
	for name, spoil := range map[string]func(path string) error{
		"lost":      os.Remove,
		"truncated": func(p string) error { return os.Truncate(p, 3) },
		"zeroed":    func(p string) error { return os.WriteFile(p, make([]byte, len("acknowledged")), 0o644) },
		"touched":   func(p string) error { return os.Chtimes(p, time.Time{}, time.Unix(2, 0)) },
		"renamed":   func(p string) error { return os.Rename(p, p+"2") },
		"doubled":   func(p string) error { return os.WriteFile(p+"2", nil, 0o644) },
	} {
		path := m.path("victim")
		must(t, os.WriteFile(path, []byte("acknowledged"), 0o644))
		must(t, os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
		if err := m.check(); err != nil {
			t.Fatalf("before it was %s: %v", name, err)
		}
		must(t, spoil(path))
		if err := m.check(); !errors.Is(err, errModel) {
			t.Errorf("the model does not see that a file was %s: %v", name, err)
		}
		must(t, os.RemoveAll(path+"2"))
	}
}
