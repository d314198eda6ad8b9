package dir

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
)

// These tests stand between the check and the act, where another program may.

func within(t *testing.T) (*Endpoint, dirFD, string) {
	t.Helper()
	t.Parallel()
	base := t.TempDir()
	root := filepath.Join(base, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := Open(root, Options{Staging: filepath.Join(base, "staging")})
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.openRoot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, r, root
}

func save(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Fatalf("%s holds %q, %v; want %q", filepath.Base(path), got, err, want)
	}
}

// trashed returns the contents in the trash.
func trashed(t *testing.T, d *Endpoint) []string {
	t.Helper()
	items, err := d.Trash()
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, it := range items {
		data, err := os.ReadFile(it.Path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(data))
	}
	return out
}

func TestAFileReplacedAfterTheCheckIsPutBack(t *testing.T) {
	d, r, root := within(t)
	save(t, filepath.Join(root, "f"), "old")
	u := &remote.Upload{ID: "p:f", Pre: remote.Pre{Force: true}, Size: 4, Body: strings.NewReader("ours")}
	at, err := d.target(r, u)
	if err != nil {
		t.Fatal(err)
	}
	defer at.dir.close()
	tmp, err := d.spool(context.Background(), r, at, u)
	if err != nil {
		t.Fatal(err)
	}
	defer tmp.discard()
	trash, err := d.openStaging(r, trashDir)
	if err != nil {
		t.Fatal(err)
	}
	defer trash.close()
	// Here another program saves its file, by rename as editors do.
	save(t, filepath.Join(root, "t"), "theirs")
	if err := os.Rename(filepath.Join(root, "t"), filepath.Join(root, "f")); err != nil {
		t.Fatal(err)
	}
	if err := d.exchangeOver(at, tmp, trash.fd, false); !errors.Is(err, remote.ErrPrecondition) {
		t.Fatalf("got %v", err)
	}
	holds(t, filepath.Join(root, "f"), "theirs")
	if left := trashed(t, d); len(left) != 0 {
		t.Fatalf("in the trash: %q", left)
	}
}

func TestAFileReplacedBeforeADeleteIsPutBack(t *testing.T) {
	d, r, root := within(t)
	save(t, filepath.Join(root, "f"), "old")
	was, err := d.factsAt(r.fd, "f")
	if err != nil {
		t.Fatal(err)
	}
	trash, err := d.openStaging(r, trashDir)
	if err != nil {
		t.Fatal(err)
	}
	defer trash.close()
	save(t, filepath.Join(root, "f"), "written in place")
	if err := d.discard(was, r.fd, "f", trash.fd, false); !errors.Is(err, remote.ErrPrecondition) {
		t.Fatalf("got %v", err)
	}
	holds(t, filepath.Join(root, "f"), "written in place")
	if left := trashed(t, d); len(left) != 0 {
		t.Fatalf("in the trash: %q", left)
	}
}

func TestAFileReplacedBeforeAMoveIsMovedBack(t *testing.T) {
	d, r, root := within(t)
	save(t, filepath.Join(root, "f"), "old")
	was, err := d.factsAt(r.fd, "f")
	if err != nil {
		t.Fatal(err)
	}
	save(t, filepath.Join(root, "f"), "written in place")
	if _, err := d.move(was, r.fd, "f", r.fd, "g"); !errors.Is(err, remote.ErrPrecondition) {
		t.Fatalf("got %v", err)
	}
	holds(t, filepath.Join(root, "f"), "written in place")
}

func TestNoVersionIsLostUnderAForeignWriter(t *testing.T) {
	d, _, root := within(t)
	ctx := context.Background()
	live := filepath.Join(root, "f")
	save(t, live, "v0")
	// Another program exchanges its own versions into place as fast as it can,
	// and notes what it took out: that it has replaced knowingly.
	var wg sync.WaitGroup
	stop := make(chan struct{})
	made, taken := []string{"v0"}, []string{}
	wg.Go(func() {
		name := filepath.Join(root, "editor")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			v := fmt.Sprintf("theirs %d", i)
			if os.WriteFile(name, []byte(v), 0o644) != nil || unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, live, unix.RENAME_EXCHANGE) != nil {
				continue
			}
			made = append(made, v)
			out, err := os.ReadFile(name)
			if err != nil {
				t.Error(err)
				return
			}
			taken = append(taken, string(out))
			if os.Remove(name) != nil { // a new inode each time: what is in the trash is not written to
				t.Error("editor's file is gone")
			}
		}
	})
	var ours []string
	refused := 0
	for i := range 300 {
		e, err := d.Stat(ctx, "p:f")
		if err != nil {
			t.Fatal(err)
		}
		v := fmt.Sprintf("ours %d", i)
		_, err = d.Put(ctx, &remote.Upload{ID: e.ID, Pre: remote.Pre{Tag: e.Tag}, Size: int64(len(v)), Body: strings.NewReader(v)})
		if err == nil {
			ours = append(ours, v)
		} else if refused++; !errors.Is(err, remote.ErrPrecondition) {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	last, err := os.ReadFile(live)
	if err != nil {
		t.Fatal(err)
	}
	found := append(append(trashed(t, d), taken...), string(last))
	for _, v := range append(made, ours...) {
		if !slices.Contains(found, v) {
			t.Fatalf("%q is lost (%d puts won, %d were refused)", v, len(ours), refused)
		}
	}
	t.Logf("%d puts won, %d were refused, %d foreign versions", len(ours), refused, len(made))
}

func TestCommitsThatComeTogetherShareOneGroup(t *testing.T) {
	t.Parallel()
	var c committer
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.turn.Lock() // as if a group were being synced
	const n = 20
	done := make(chan error, n)
	for range n {
		go func() { done <- c.commit(int(f.Fd())) }()
	}
	var first *group
	deadline := time.Now().Add(10 * time.Second)
	for joined := 0; joined < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d joined", joined)
		}
		c.mu.Lock()
		if c.open != nil {
			first, joined = c.open, c.open.joined
		}
		c.mu.Unlock()
	}
	c.turn.Unlock()
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if len(first.fds) != 1 {
		t.Fatalf("one file is synced %d times", len(first.fds))
	}
	if err := c.commit(-1); err == nil {
		t.Fatal("a file that cannot be synced is taken for durable")
	}
}

func FuzzEvents(f *testing.F) {
	one := make([]byte, 32)
	binary.NativeEndian.PutUint32(one, 1)
	binary.NativeEndian.PutUint32(one[4:], unix.IN_MOVED_TO|unix.IN_ISDIR)
	binary.NativeEndian.PutUint32(one[12:], 16)
	copy(one[16:], "name")
	f.Add(one)
	f.Add(one[:20])
	f.Fuzz(func(t *testing.T, buf []byte) {
		w := newWatcher("s", time.Now, time.Second, true)
		w.hang(1, "")
		w.hang(2, "a/b")
		w.events(buf)
		for path := range w.pending {
			if strings.HasPrefix(path, "/") || strings.Contains(path, "\x00") {
				t.Fatalf("hint for %q", path)
			}
		}
	})
}
