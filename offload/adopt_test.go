package offload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// adoptTest is a drive with placeholders, and a directory to adopt them from.
type adoptTest struct {
	*drive
	dir   string
	files map[string]cache.Entry
	data  map[string][]byte
}

func newAdoptTest(t *testing.T, o Options) *adoptTest {
	t.Helper()
	x := &adoptTest{newDrive(t, o), t.TempDir(), map[string]cache.Entry{}, map[string][]byte{}}
	x.s.unhashed = true
	return x
}

// known makes a placeholder.
func (x *adoptTest) known(parent cache.Ino, path string, data []byte) cache.Entry {
	x.Helper()
	x.files[path], x.data[path] = x.remote(parent, filepath.Base(path), data), data
	return x.files[path]
}

// twin makes a file in the directory.
func (x *adoptTest) twin(path string, data []byte) {
	x.Helper()
	at := filepath.Join(x.dir, path)
	x.ok(os.MkdirAll(filepath.Dir(at), 0o755))
	x.ok(os.WriteFile(at, data, 0o644))
}

func (x *adoptTest) adopt(ctx context.Context) (*Adoption, error) {
	x.Helper()
	dir, err := os.Open(x.dir)
	x.ok(err)
	defer func() { x.ok(dir.Close()) }()
	return x.m.Adopt(ctx, cache.RootDentry, dir, nil)
}

// found adopts and demands what is found.
func (x *adoptTest) found(want Adoption) {
	x.Helper()
	got, err := x.adopt(context.Background())
	x.ok(err)
	if !reflect.DeepEqual(*got, want) {
		x.Fatalf("found %+v, want %+v", *got, want)
	}
}

// are demands the residency of files, and that none is in use.
func (x *adoptTest) are(want cache.Residency, paths ...string) {
	x.Helper()
	for _, p := range paths {
		if n := x.node(x.files[p].Ino); n.Residency != want {
			x.Errorf("%s is %v, want %v", p, n.Residency, want)
		}
		if u := x.c.InUse(x.files[p].Ino); u != (cache.Use{}) {
			x.Errorf("%s is in use: %+v", p, u)
		}
	}
}

// reads demands what all files hold.
func (x *adoptTest) reads() {
	x.Helper()
	for p, e := range x.files {
		if got, err := x.read(e.Ino, 0, int64(len(x.data[p]))); err != nil || !bytes.Equal(got, x.data[p]) {
			x.Errorf("%s reads %d bytes that are not its own: %v", p, len(got), err)
		}
	}
}

// state is everything about the directory that reading it could change.
func (x *adoptTest) state() map[string]string {
	x.Helper()
	all := map[string]string{}
	x.ok(filepath.WalkDir(x.dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		atime := st.Atim
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			atime = unix.Timespec{} // this very walk reads it
		}
		all[p] = fmt.Sprint(st.Mode, st.Size, st.Mtim, st.Ctim, atime)
		return nil
	}))
	return all
}

func TestAdoptTakesWhatTheEndpointProves(t *testing.T) {
	t.Parallel()
	for name, unhashed := range map[string]bool{"hashes known": false, "hashes to be proved": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newAdoptTest(t, Options{})
			x.s.unhashed = unhashed
			sub := x.mkdir(cache.RootIno, "sub")
			deep := x.mkdir(sub.Ino, "deep\xff")
			gone := x.mkdir(cache.RootIno, "gone")
			linked := x.mkdir(cache.RootIno, "linked")
			hidden := x.mkdir(cache.RootIno, "hidden")
			x.known(cache.RootIno, "equal", []byte("the same"))
			x.known(cache.RootIno, "empty", nil)
			x.known(deep.Ino, "sub/deep\xff/large", pattern(3<<20+17))
			x.known(cache.RootIno, "other bytes", []byte("one"))
			x.known(cache.RootIno, "other size", []byte("four"))
			x.known(cache.RootIno, "missing", []byte("x"))
			x.known(gone.Ino, "gone/a", []byte("x"))
			x.known(linked.Ino, "linked/b", []byte("x"))
			x.known(cache.RootIno, "link", []byte("the same"))
			x.known(cache.RootIno, "fifo", []byte("x"))
			x.known(cache.RootIno, "directory", []byte("x"))
			x.known(cache.RootIno, "empty and missing", nil)
			x.known(hidden.Ino, "hidden/c", []byte("x"))
			x.ok(x.m.SetIntent(hidden.ID, cache.Excluded))
			for p, data := range x.data {
				if !strings.HasPrefix(p, "gone/") && !strings.HasPrefix(p, "linked/") && p != "missing" && p != "link" && p != "fifo" && p != "directory" {
					x.twin(p, data)
				}
			}
			x.twin("other bytes", []byte("two"))
			x.twin("other size", []byte("fourteen"))
			x.twin("only here", []byte("nobody asks"))
			x.twin("elsewhere/b", []byte("x"))
			x.ok(os.Symlink("elsewhere", filepath.Join(x.dir, "linked")))
			x.ok(os.Symlink("equal", filepath.Join(x.dir, "link")))
			x.ok(unix.Mkfifo(filepath.Join(x.dir, "fifo"), 0o644))
			x.ok(os.Mkdir(filepath.Join(x.dir, "directory"), 0o755))
			x.ok(os.Remove(filepath.Join(x.dir, "empty and missing")))
			before := x.state()
			x.found(Adoption{Files: 2, Bytes: 8 + 3<<20 + 17, Differ: 2, Absent: 6})
			x.are(cache.Full, "equal", "sub/deep\xff/large")
			x.are(cache.None, "other bytes", "other size", "missing", "gone/a", "linked/b", "link", "fifo", "directory", "hidden/c")
			if n := x.node(x.files["equal"].Ino); !n.Hash.Known() || n.Version != x.files["equal"].Node.Version {
				t.Errorf("adopted: %+v", n)
			}
			if after := x.state(); !reflect.DeepEqual(after, before) {
				t.Errorf("the directory was changed:\n%v\n%v", before, after)
			}
			if got := x.s.fetched(); len(got) != 0 {
				t.Errorf("fetched %v", got)
			}
			// There is nothing to do a second time but what could not be done.
			x.found(Adoption{Differ: 2, Absent: 6})
			x.reads()
		})
	}
}

func TestAdoptCompletesAPart(t *testing.T) {
	t.Parallel()
	x := newAdoptTest(t, Options{})
	data := pattern(8 << 20)
	e := x.known(cache.RootIno, "part", data)
	x.ok(x.m.Ensure(context.Background(), e.Ino, 5<<20, 100))
	x.eventually("what was read ahead is noted", func() bool { return x.c.InUse(e.Ino) == (cache.Use{}) })
	x.are(cache.Partial, "part")
	x.twin("part", append([]byte("other"), data[5:]...))
	x.found(Adoption{Differ: 1})
	x.are(cache.Partial, "part")
	x.twin("part", data)
	before := len(x.s.fetched())
	x.found(Adoption{Files: 1, Bytes: 8 << 20})
	x.reads()
	if now := len(x.s.fetched()); now != before {
		t.Errorf("%d more fetches", now-before)
	}
}

// What is copied is proved, whatever becomes of where it was copied from.
func TestAdoptIsNotFooledByAFileThatChanges(t *testing.T) {
	t.Parallel()
	x := newAdoptTest(t, Options{})
	data := pattern(1 << 20)
	other := bytes.Repeat([]byte("x"), len(data))
	x.known(cache.RootIno, "changes", data)
	x.twin("changes", data)
	x.s.holds = func(cache.Ino) (bool, error) {
		x.twin("changes", other)
		return true, nil
	}
	x.found(Adoption{Files: 1, Bytes: 1 << 20})
	x.reads()

	x.s.holds = nil
	var paths []string
	for i := range 8 {
		paths = append(paths, fmt.Sprint("torn", i))
		x.known(cache.RootIno, paths[i], data)
		x.twin(paths[i], data)
	}
	// Every file is rewritten in place while it is copied: what is taken is whole, and what is not is left.
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			err = rewrite(filepath.Join(x.dir, paths[i%len(paths)]), [][]byte{data, other}[i/len(paths)%2])
		}
		done <- err
	}()
	got, err := x.adopt(context.Background())
	close(stop)
	x.ok(errors.Join(err, <-done))
	if got.Files+got.Differ != len(paths) || len(got.Skipped) != 0 {
		t.Errorf("of %d files: %+v", len(paths), *got)
	}
	full := 0
	for _, p := range paths {
		if x.node(x.files[p].Ino).Residency == cache.Full {
			full++
		}
	}
	if full != got.Files {
		t.Errorf("%d are here, adopted are %d", full, got.Files)
	}
	x.reads()
}

// rewrite replaces the bytes of a file in place.
func rewrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Close())
}

func TestAdoptLeavesAFileToWhatHappensToIt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		do   func(x *adoptTest, e cache.Entry) error
		want Adoption
		text string
	}{
		"cut": {func(x *adoptTest, e cache.Entry) error {
			var zero int64
			_, err := x.c.SetAttr(e.Ino, cache.Attrs{Size: &zero})
			return err
		}, Adoption{Skips: Skips{Skipped: []Skip{{"/f", "changed in this moment"}}}}, ""},
		"another version there": {func(x *adoptTest, e cache.Entry) error {
			x.s.set(func() { x.s.files[e.Ino] = []byte("new") })
			return x.c.Update(0, func(tx *cache.Tx) error { return tx.ReplaceContent(e.Ino, 3, 1, cache.Hash{}) })
		}, Adoption{Skips: Skips{Skipped: []Skip{{"/f", "changed in this moment"}}}}, "new"},
		"fetched": {func(x *adoptTest, e cache.Entry) error { return x.m.Complete(context.Background(), e.Ino) }, Adoption{}, "text"},
		"partly": {func(x *adoptTest, e cache.Entry) error {
			x.s.set(func() { x.s.fail = errOffline })
			if err := x.m.Complete(context.Background(), e.Ino); err == nil {
				return errors.New("fetched after all")
			}
			return nil
		}, Adoption{Files: 1, Bytes: 4}, "text"},
		"not provable": {
			func(*adoptTest, cache.Entry) error { return errOffline },
			Adoption{Skips: Skips{Skipped: []Skip{{"/f", "no endpoint has proved what it must be: unplugged"}}}},
			"text",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newAdoptTest(t, Options{})
			e := x.known(cache.RootIno, "f", []byte("text"))
			x.twin("f", []byte("text"))
			x.s.holds = func(cache.Ino) (bool, error) { return true, tc.do(x, e) }
			x.found(tc.want)
			x.data["f"] = []byte(tc.text)
			x.s.set(func() { x.s.fail = nil })
			x.reads()
		})
	}
}

func TestAdoptSaysWhatItCannotRead(t *testing.T) {
	t.Parallel()
	x := newAdoptTest(t, Options{})
	dir := x.mkdir(cache.RootIno, "dir")
	x.known(cache.RootIno, "f", []byte("text"))
	x.known(dir.Ino, "dir/g", []byte("text"))
	x.known(cache.RootIno, "readable", []byte("text"))
	for p, data := range x.data {
		x.twin(p, data)
	}
	x.ok(errors.Join(os.Chmod(filepath.Join(x.dir, "f"), 0), os.Chmod(filepath.Join(x.dir, "dir"), 0)))
	t.Cleanup(func() { x.ok(os.Chmod(filepath.Join(x.dir, "dir"), 0o755)) }) // so that it can be removed
	root, err := os.Open(x.dir)
	x.ok(err)
	defer func() { x.ok(root.Close()) }()
	if os.Getuid() == 0 { // nothing is unreadable for root
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		x.ok(unix.Setfsuid(1))
		defer func() { x.ok(unix.Setfsuid(0)) }()
	}
	want := Skips{Skipped: []Skip{{"/dir", "cannot be read: open dir: permission denied"}, {"/f", "cannot be read: open f: permission denied"}}}
	got, err := x.m.Adopt(context.Background(), cache.RootDentry, root, nil)
	if err != nil || !reflect.DeepEqual(*got, Adoption{Files: 1, Bytes: 4, Skips: want}) {
		t.Errorf("found %+v, %v", *got, err)
	}
}

func TestAdoptEndsWithItsContextAndGoesOn(t *testing.T) {
	t.Parallel()
	x := newAdoptTest(t, Options{})
	const files = 60
	for i := range files {
		dir := x.mkdir(cache.RootIno, fmt.Sprint("d", i))
		path := fmt.Sprintf("d%d/f%d", i, i)
		x.known(dir.Ino, path, fmt.Append(nil, "content ", i))
		x.twin(path, x.data[path])
	}
	ctx, cancel := context.WithCancel(context.Background())
	var asked atomic.Int64
	x.s.holds = func(cache.Ino) (bool, error) {
		if asked.Add(1) == 20 {
			cancel()
		}
		return true, nil
	}
	got, err := x.adopt(ctx)
	if !errors.Is(err, context.Canceled) || got.Files < 12 || got.Files >= files-provers {
		t.Fatalf("cancelled: %+v, %v", *got, err)
	}
	x.s.holds = nil
	again, err := x.adopt(context.Background())
	if err != nil || got.Files+again.Files != files {
		t.Fatalf("adopted %d and then %d of %d: %v", got.Files, again.Files, files, err)
	}
	for p := range x.files {
		x.are(cache.Full, p)
	}
	x.reads()
}

func TestAdoptGivesUpWhenNobodyCanProve(t *testing.T) {
	t.Parallel()
	x := newAdoptTest(t, Options{})
	for i := range 100 {
		x.known(cache.RootIno, fmt.Sprint(i), fmt.Append(nil, i))
		x.twin(fmt.Sprint(i), fmt.Append(nil, i))
	}
	var asked atomic.Int64
	x.s.holds = func(cache.Ino) (bool, error) { asked.Add(1); return false, ErrUnreachable }
	got, err := x.adopt(context.Background())
	x.fails(err, ErrUnreachable, unix.ENETUNREACH)
	if n := asked.Load(); got.Files != 0 || n > 2*provers {
		t.Errorf("asked %d times, found %+v", n, *got)
	}
	if _, err := x.m.Adopt(context.Background(), x.files["1"].ID, nil, nil); !errors.Is(err, cache.ErrNotDir) {
		t.Errorf("into a file: %v", err)
	}
}

func TestPinsWaitForAnAdoption(t *testing.T) {
	t.Parallel()
	x := newAdoptTest(t, Options{})
	x.known(cache.RootIno, "same", []byte("one"))
	x.known(cache.RootIno, "missing", []byte("three"))
	x.twin("same", []byte("one"))
	asked, free := make(chan struct{}), make(chan struct{})
	x.s.holds = func(cache.Ino) (bool, error) {
		close(asked)
		<-free
		return true, nil
	}
	done := make(chan error, 1)
	go func() {
		_, err := x.adopt(context.Background())
		done <- err
	}()
	<-asked
	x.ok(x.m.Pin(context.Background(), cache.RootDentry))
	wanted := x.known(cache.RootIno, "wanted", []byte("by a person"))
	x.ok(x.m.Fetch(context.Background(), wanted.ID))
	x.run()
	x.eventually("what a person asked for comes", func() bool { return x.node(wanted.Ino).Residency == cache.Full })
	x.are(cache.None, "missing")
	if got := x.s.fetched(); len(got) != 1 {
		t.Errorf("fetched while an adoption went on: %v", got)
	}
	close(free)
	x.ok(<-done)
	x.eventually("the pin's rest comes", func() bool { return x.node(x.files["missing"].Ino).Residency == cache.Full })
	if got := x.s.fetched(); len(got) != 2 {
		t.Errorf("fetched %v", got)
	}
	x.reads()
}
