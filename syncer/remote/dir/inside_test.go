package dir

import (
	"context"
	"encoding/binary"
	"encoding/hex"
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
	"lukechampine.com/blake3"

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
	items, _, err := d.Trash(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, it := range items {
		data, err := os.ReadFile(filepath.Join(d.opts.Staging, trashDir, strings.TrimPrefix(string(it.ID), trashPrefix)))
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
	tmp, err := d.spool(context.Background(), r, at, u, false)
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

// Of a large file it takes longer to be read back than anybody waits for a call that does not tell that it goes on.
func TestReadingBackTellsOfItsProgress(t *testing.T) {
	d, _, _ := within(t)
	const pieces = 5
	told := 0
	ctx := remote.WithProgress(t.Context(), func() { told++ })
	body := strings.Repeat("x", pieces*chunk)
	sum := blake3.Sum256([]byte(body))
	out := d.PutAll(ctx, []*remote.Upload{{
		Parent: makeID("", ""), Name: "f", Size: int64(len(body)), Body: strings.NewReader(body), Hashes: remote.Hashes{remote.BLAKE3: hex.EncodeToString(sum[:])},
	}})
	if out[0].Err != nil || out[0].Proof != remote.ProofRead {
		t.Fatalf("%+v", out[0])
	}
	if told < pieces {
		t.Errorf("of %d pieces %d were told", pieces, told)
	}
}

// What a stream gives is shown to readers before its end has come.
func TestAStreamGivesNoByteOfWhatIsWrittenInPlaceMeanwhile(t *testing.T) {
	d, _, root := within(t)
	path := filepath.Join(root, "f")
	save(t, path, strings.Repeat("old ", 1000))
	long := time.Now().Add(-time.Hour) // so that no clock is too coarse to tell
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	r, err := d.Read(t.Context(), makeID("", "f"), "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, 400)
	if n, err := r.Read(buf); n != len(buf) || err != nil {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	save(t, path, strings.Repeat("new ", 1000))
	if n, err := r.Read(buf); n != 0 || !errors.Is(err, remote.ErrChanged) {
		t.Fatalf("after it was written to it gives %q, %v", buf[:n], err)
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

// TestFactsAreOfOneObject looks at a name while two files and a symlink take turns under it.
func TestFactsAreOfOneObject(t *testing.T) {
	d, r, root := within(t)
	save(t, filepath.Join(root, "f"), "a file")
	save(t, filepath.Join(root, "g"), "another file")
	if err := os.Symlink("somewhere else", filepath.Join(root, "l")); err != nil {
		t.Fatal(err)
	}
	type object struct {
		key, target string
		size        int64
	}
	look := func(name string) object {
		f, err := d.factsAt(r.fd, name)
		if err != nil {
			t.Error(err)
		}
		return object{f.key, f.target, f.size}
	}
	all := map[object]int{}
	for _, name := range []string{"f", "g", "l"} {
		all[look(name)] = 0
	}
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for {
			for _, other := range []string{"g", "l"} {
				select {
				case <-stop:
					return
				default:
				}
				if err := unix.Renameat2(r.fd, "f", r.fd, other, unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 20_000 {
		o := look("f")
		if _, ok := all[o]; !ok {
			t.Errorf("%+v is none of %v", o, all)
		}
		all[o]++
		if t.Failed() {
			break
		}
	}
	close(stop)
	swaps.Wait()
	for o, seen := range all {
		if seen == 0 {
			t.Errorf("%+v was never seen", o)
		}
	}
}

func TestARenameIsMadeInTheDirectoryThatWasOpened(t *testing.T) {
	d, r, root := within(t)
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	for _, err := range []error{os.Mkdir(a, 0o755), os.WriteFile(filepath.Join(a, "f"), nil, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	from, parent, leaf, err := d.writable(r, "p:a/f")
	if err != nil {
		t.Fatal(err)
	}
	defer from.close()
	// Here another program moves the directory away, and makes one of its name.
	if err := errors.Join(os.Rename(a, b), os.Mkdir(a, 0o755)); err != nil {
		t.Fatal(err)
	}
	name := "g"
	to, _, _, err := d.destination(r, from, parent, leaf, remote.Patch{Name: &name})
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	f, err := d.expect(from.fd, parent, leaf, remote.Pre{Force: true})
	if err == nil {
		_, err = d.move(f, from.fd, leaf, to.fd, name)
	}
	if err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(b, "g"), "")
}

func TestAFileThatIsMadeEndsAWaitWhenItIsClosedOrAMomentLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens []uint32 // to one name
		after   time.Duration
	}{
		"made":                     {[]uint32{unix.IN_CREATE}, createDelay},
		"written":                  {[]uint32{unix.IN_MODIFY}, modifyDelay},
		"made and written":         {[]uint32{unix.IN_CREATE, unix.IN_MODIFY}, createDelay},
		"written and made":         {[]uint32{unix.IN_MODIFY, unix.IN_CREATE}, createDelay},
		"made, written and closed": {[]uint32{unix.IN_CREATE, unix.IN_MODIFY, unix.IN_CLOSE_WRITE}, 0},
		"renamed":                  {[]uint32{unix.IN_MOVED_TO}, 0},
		"removed":                  {[]uint32{unix.IN_DELETE}, 0},
		"given another mode":       {[]uint32{unix.IN_ATTRIB}, 0},
		"a directory":              {[]uint32{unix.IN_CREATE | unix.IN_ISDIR}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1000, 0)
			w := newWatcher("session", func() time.Time { return now }, time.Minute, true)
			w.root.wd = 1
			w.byWd[1] = w.root
			seen := w.cursor()
			for _, mask := range c.happens {
				w.handle(event{wd: 1, mask: mask, name: "f"})
			}
			if ready, until := w.ready(seen); ready != (c.after == 0) || !ready && !until.Equal(now.Add(c.after)) {
				t.Errorf("at once: %v, until %v", ready, until)
			}
			now = now.Add(c.after)
			if ready, _ := w.ready(seen); !ready {
				t.Errorf("it waits after %v still", c.after)
			}
		})
	}
}

func TestWhereDirectoriesHaveNoLastingIdentAnAddressGoesByItsPath(t *testing.T) {
	d, _, root := within(t)
	if err := os.Mkdir(filepath.Join(root, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	anchored := remote.Address{Path: "a", Dir: "a", Ident: "of another session"}
	put := func() error {
		_, err := d.Put(t.Context(), &remote.Upload{Parent: anchored.ID(), Name: "f", Size: 1, Body: strings.NewReader("x")})
		return err
	}
	d.caps.Idents = true
	if err := put(); !errors.Is(err, remote.ErrPrecondition) {
		t.Fatalf("with identity: %v", err)
	}
	d.caps.Idents = false
	if err := put(); err != nil {
		t.Fatal(err)
	}
	e, err := d.Stat(t.Context(), anchored.Child("f").ID())
	if err != nil || e.Size != 1 {
		t.Fatalf("%+v, %v", e, err)
	}
}
