package integration

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/integration/drive"
)

// farDrive is a drive over a directory that is as far away as a network disk, of which all requests are counted. The conduit
// is paused once the files are known: what is asked for is what programs cause.
func farDrive(t *testing.T, rate int64, files map[string][]byte) (*fixture, *drive.Far) {
	t.Helper()
	base := t.TempDir()
	behind, at := filepath.Join(base, "disk"), filepath.Join(base, "network")
	must(t, errors.Join(os.Mkdir(behind, 0o755), os.Mkdir(at, 0o755)))
	for name, data := range files {
		must(t, os.WriteFile(filepath.Join(behind, name), data, 0o755))
	}
	far, err := drive.NewFar(behind, at, time.Millisecond, rate)
	must(t, err)
	t.Cleanup(func() {
		if err := far.Close(); err != nil {
			t.Errorf("unmount the disk: %v", err)
		}
	})
	f := newFixture(t, at)
	f.mount()
	f.sync()
	f.do("pause")
	return f, far
}

func TestARestartResumesWhatIsHalfHere(t *testing.T) {
	t.Parallel()
	const size = 96 << 20
	data := random(size)
	f, far := farDrive(t, 64<<20, map[string][]byte{"big": data})
	f.do("pin", f.path("big"))
	eventually(t, "half of it is here", func() bool { return far.Seen().Bytes > size/2 })
	must(t, f.Kill())
	f.ended()
	if moved := far.Seen().Bytes; moved > size*3/4 {
		t.Skipf("NOT TESTED: %d of %d bytes had come before the kill", moved, size)
	}
	f.mount()
	f.becomesFull([]string{"big"})
	moved := far.Seen().Bytes
	if moved > size*12/10 {
		t.Errorf("of a file of %d bytes %d were moved", size, moved)
	}
	if moved < size {
		t.Errorf("of a file of %d bytes only %d were counted", size, moved)
	}
	if sum := sha256.Sum256([]byte(read(t, f.path("big")))); sum != sha256.Sum256(data) {
		t.Error("it has other bytes")
	}
	if again := far.Seen().Bytes; again != moved {
		t.Errorf("to read what is here %d bytes were moved", again-moved)
	}
}

func TestOnlyWhatIsReadIsAskedFor(t *testing.T) {
	t.Parallel()
	const size, reads = 64 << 20, 50
	seed := testSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	data := random(size)
	f, far := farDrive(t, 0, map[string][]byte{"random": data, "ordered": data, "small": data[:900_000]})

	before := far.Seen()
	h, err := os.Open(f.path("random"))
	must(t, err)
	defer h.Close()
	block := make([]byte, 4<<10)
	for range reads {
		off := rnd.Int64N(size>>12) << 12
		_, err := h.ReadAt(block, off)
		must(t, err)
		if !bytes.Equal(block, data[off:][:len(block)]) {
			t.Fatalf("at %d it has other bytes, seed %d", off, seed)
		}
	}
	if asked := far.Seen().Since(before); asked.Bytes > reads*64<<10 {
		t.Errorf("%d reads of 4 KiB moved %d bytes, seed %d", reads, asked.Bytes, seed)
	}

	before = far.Seen()
	wantsBytes(t, f.path("small"), data[:900_000])
	if asked := far.Seen().Since(before); asked.Reads != 1 || asked.Bytes != 900_000 {
		t.Errorf("a small file took %d reads of %d bytes", asked.Reads, asked.Bytes)
	}

	before = far.Seen()
	wantsBytes(t, f.path("ordered"), data)
	f.becomesFull([]string{"ordered"})
	if asked := far.Seen().Since(before); asked.Bytes > size*102/100 {
		t.Errorf("a file of %d bytes read in order moved %d", size, asked.Bytes)
	}
	before = far.Seen()
	wantsBytes(t, f.path("ordered"), data)
	wantsBytes(t, f.path("small"), data[:900_000])
	if asked := far.Seen().Since(before); asked.All() != 0 {
		t.Errorf("opening what is here asked for %+v", asked)
	}
}

// wantsBytes fails the test when a file has other bytes.
func wantsBytes(t *testing.T, path string, data []byte) {
	t.Helper()
	if got := read(t, path); got != string(data) {
		t.Fatalf("%s has %d bytes that are not those that it must have", path, len(got))
	}
}

func TestAProgramThatIsStartedComesAsAWhole(t *testing.T) {
	t.Parallel()
	from, err := exec.LookPath("true")
	must(t, err)
	program, err := os.ReadFile(from)
	must(t, err)
	// What follows the program is never read.
	program = append(program, random(16<<20)...)
	f, _ := farDrive(t, 0, map[string][]byte{"program": program})
	// This process serves the endpoint: it must not wait in a fork for what it is asked for.
	sh(t, "/", "sh", "-c", `"$1"; exit $?`, "sh", f.path("program"))
	f.becomesFull([]string{"program"})
}

func TestADiskThatIsAwayOrStuckIsSaidToBe(t *testing.T) {
	t.Parallel()
	f, disk := frozenDrive(t)
	h, err := os.Open(f.path("missing"))
	must(t, err)
	defer h.Close()
	disk.FreezeReads()
	start := time.Now()
	_, err = io.Copy(io.Discard, h)
	if took := time.Since(start); !errors.Is(err, unix.ETIMEDOUT) || took < 25*time.Second {
		t.Errorf("a read without progress ended after %v with %v, want %v", took, err, unix.ETIMEDOUT)
	}
	disk.Thaw()
	eventually(t, "it can be read", func() bool { return justRead(f.path("missing")) == nil })
}
