package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"
)

// A version of a file is its number, over and over: whoever reads can tell which one they have, and whether it is one.

const wordsMin = 4 << 10

// versionOf is the content of a version; sizes differ from one to the next, now longer, now shorter.
func versionOf(n int) []byte {
	words := wordsMin + (n%7)*1000
	text := make([]byte, 0, 8*words)
	for range words {
		text = binary.LittleEndian.AppendUint64(text, uint64(n)+1)
	}
	return text
}

// versionIn tells which version the bytes are; an error says that they are none.
func versionIn(text []byte) (int, error) {
	if len(text) < 8 {
		return 0, fmt.Errorf("%d bytes are no version", len(text))
	}
	n := binary.LittleEndian.Uint64(text)
	for i := 0; i+8 <= len(text); i += 8 {
		if w := binary.LittleEndian.Uint64(text[i:]); w != n {
			return 0, fmt.Errorf("a mix: word %d of %d is of version %d, the first of %d", i/8, len(text)/8, int64(w)-1, int64(n)-1)
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("%d zeros", len(text))
	}
	if want := len(versionOf(int(n) - 1)); len(text) != want {
		return 0, fmt.Errorf("%d bytes of version %d, want %d", len(text), n-1, want)
	}
	return int(n) - 1, nil
}

// readOnce opens a file, reads all of it, and closes it.
func readOnce(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = versionIn(text)
	return err
}

// readHeld opens a file and reads it piece by piece, with time between for it to be replaced.
func readHeld(path string) (err error) {
	h, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	var text []byte
	for piece := make([]byte, 8<<10); ; {
		n, err := h.ReadAt(piece, int64(len(text)))
		text = append(text, piece[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	_, err = versionIn(text)
	return err
}

func TestReadersWhileTheFileIsReplacedAtTheEndpoint(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	must(t, os.WriteFile(f.behind("file"), versionOf(0), 0o644))
	f.mount()
	f.sync()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for name, read := range map[string]func(string) error{"at once": readOnce, "piece by piece": readHeld} {
		readers.Go(func() {
			counts := map[string]int{}
			for i := 0; ; i++ {
				select {
				case <-stop:
					t.Logf("%s: %d reads %v", name, i, counts)
					return
				default:
				}
				if err := read(f.path("file")); err != nil {
					if counts[err.Error()]++; counts[err.Error()] == 1 {
						t.Errorf("%s, read %d: %v", name, i, err)
					}
				}
			}
		})
	}
	const versions = 100
	for n := 1; n <= versions; n++ {
		must(t, os.WriteFile(f.behind("file.new"), versionOf(n), 0o644))
		must(t, os.Rename(f.behind("file.new"), f.behind("file")))
		time.Sleep(10 * time.Millisecond)
	}
	eventually(t, "the last version arrives", func() bool {
		text, err := os.ReadFile(f.path("file"))
		if err != nil {
			return false
		}
		n, err := versionIn(text)
		return err == nil && n == versions
	})
	close(stop)
	readers.Wait()
	f.settled()
}
