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

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// TestKillNineUnderLoad kills the daemon at random moments while programs work in the mount and another one in the
// directory, and frees and fetches bytes in between.
func TestKillNineUnderLoad(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := newFixture(t, "")
	must(t, os.Mkdir(f.behind("far"), 0o755))
	f.mount()
	workers := f.workers(seed, 3)
	far := newFarModel(f.behind("far"), seed)
	for round := range 50 * soak(t) {
		f.duringBurst(workers, far, 20+rnd.Int64N(130), func() {
			spin(time.Duration(rnd.Int64N(400)) * time.Microsecond)
			must(t, f.Kill())
		}, diedWithDaemon)
		f.mount()
		checkAll(t, workers, fmt.Sprintf("round %d, seed %d", round, seed))
		if round%10 == 9 {
			f.sync()
			// Whatever was written to since is refused.
			f.run("offload", f.at)
		}
	}
	f.settled()
	checkAll(t, workers, fmt.Sprintf("after sync, seed %d", seed))
	must(t, far.check(f.dir))
	must(t, far.check(f.at))
	f.do("doctor")
}

// workers makes a directory in the mount for each of some models.
func (f *fixture) workers(seed uint64, n int) (out []*model) {
	f.t.Helper()
	for i := range n {
		root := f.path(fmt.Sprintf("worker%d", i))
		must(f.t, os.Mkdir(root, 0o755))
		out = append(out, newModel(root, seed, uint64(i)+1))
	}
	return out
}

func checkAll(t *testing.T, workers []*model, when string) {
	t.Helper()
	for _, m := range workers {
		m.crash()
		if err := m.check(); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

// duringBurst lets the workers loose, and another program in the directory if there is one, and ends the daemon after they
// have begun the given number of operations. It returns when every worker has met the end of the mount, by an error that is
// one of those that come with it.
func (f *fixture) duringBurst(workers []*model, far *farModel, after int64, end func(), expected func(error) bool) {
	f.t.Helper()
	var begun atomic.Int64
	reached, over := make(chan struct{}), make(chan struct{})
	failures := make(chan error, len(workers)+1)
	var running, outside sync.WaitGroup
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
	if far != nil {
		outside.Go(func() { far.work(over) })
	}
	select {
	case <-reached:
	case err := <-failures:
		close(over)
		f.t.Fatalf("an operation failed before the daemon was ended: %v", err)
	}
	end()
	running.Wait()
	close(over)
	outside.Wait()
	close(failures)
	for err := range failures {
		if !expected(err) {
			f.t.Fatalf("an operation failed for another reason than the end of the daemon: %v", err)
		}
	}
	if far != nil && far.failed != nil {
		f.t.Fatalf("another program in the directory: %v", far.failed)
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

// TestEndedBySignalsUnderLoad ends the daemon by signals while programs work: whatever was acknowledged is there afterwards,
// and nothing comes undone when the endpoint is looked at again.
func TestEndedBySignalsUnderLoad(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := mounted(t, "")
	workers := f.workers(seed, 3)
	signals := []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP}
	for round := range 12 * soak(t) {
		sig := signals[round%len(signals)]
		f.duringBurst(workers, nil, 20+rnd.Int64N(130), func() { must(t, f.Signal(sig)) }, endedWithDaemon)
		for _, m := range workers {
			m.crash() // who has files open keeps the daemon
		}
		must(t, f.WaitGone())
		f.mount()
		checkAll(t, workers, fmt.Sprintf("round %d, %v, seed %d", round, sig, seed))
		if round%3 == 2 {
			f.settled()
			checkAll(t, workers, fmt.Sprintf("after sync, round %d, seed %d", round, seed))
		}
	}
	f.settled()
	checkAll(t, workers, fmt.Sprintf("after sync, seed %d", seed))
	f.do("doctor")
}

// endedWithDaemon reports whether an error is what the end of a daemon by a signal leaves: that of a dead one, or that the
// mount is not there any more.
func endedWithDaemon(err error) bool { return diedWithDaemon(err) || errors.Is(err, syscall.ENOENT) }

func TestARestartAfterAKillNeedsNoEndpoint(t *testing.T) {
	t.Parallel()
	seed := testSeed(t)
	f := mounted(t, "")
	workers := f.workers(seed, 2)
	f.duringBurst(workers, nil, 200, func() { must(t, f.Kill()) }, diedWithDaemon)
	away := f.dir + ".away"
	must(t, os.Rename(f.dir, away))
	f.mount()
	checkAll(t, workers, fmt.Sprintf("without the endpoint, seed %d", seed))
	f.do("unmount", f.at)
	must(t, os.Rename(away, f.dir))
	f.mount()
	f.settled()
	checkAll(t, workers, fmt.Sprintf("after sync, seed %d", seed))
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
