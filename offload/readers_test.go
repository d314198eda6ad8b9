package offload

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/offload/caller"
)

// The processes of programs.
const (
	person      = 1001
	thumbnailer = 1002
	indexer     = 1003
	backup      = 1004
	service     = 1005
)

// readers makes the Readers of a drive whose processes a test made up.
func (d *drive) readers() *Readers {
	d.Helper()
	proc := d.TempDir()
	for pid, p := range map[int]struct{ exe, cgroup string }{
		person: {"/usr/bin/eog", "/"}, thumbnailer: {"/usr/bin/ffmpegthumbnailer", "/"}, indexer: {"/usr/bin/recollindex", "/"},
		backup: {"/usr/bin/restic", "/"}, service: {"/usr/bin/scanner", "/system.slice/scanner.service"},
	} {
		dir := filepath.Join(proc, fmt.Sprint(pid))
		d.ok(os.Mkdir(dir, 0o755))
		d.ok(os.WriteFile(filepath.Join(dir, "stat"), fmt.Appendf(nil, "%d (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 1 1\n", pid), 0o644))
		d.ok(os.WriteFile(filepath.Join(dir, "cmdline"), nil, 0o644))
		d.ok(os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::"+p.cgroup+"\n"), 0o644))
		d.ok(os.Symlink(p.exe, filepath.Join(dir, "exe")))
	}
	return NewReaders(d.m, caller.New(caller.Options{Proc: proc}))
}

func TestAThumbnailerGetsTheHeadAndAPersonEverything(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	r, ctx := d.readers(), context.Background()
	data := pattern(1 << 20)
	e := d.remote(cache.RootIno, "f", data)

	d.fails(r.Ensure(ctx, thumbnailer, e.Ino, 500_000, 4096), ErrHeadOnly, syscall.EPERM)
	d.fails(r.Ensure(ctx, thumbnailer, e.Ino, 0, headSize+1), ErrHeadOnly, syscall.EPERM)
	d.fails(r.Complete(ctx, indexer, e.Ino), ErrHeadOnly, syscall.EPERM)
	if got := d.s.fetched(); len(got) != 0 {
		t.Fatalf("what was refused was fetched: %v", got)
	}
	d.ok(r.Ensure(ctx, thumbnailer, e.Ino, 4096, 4096))
	d.fails(r.Ensure(ctx, thumbnailer, e.Ino, headSize, 1), ErrHeadOnly, syscall.EPERM)
	d.fails(r.Complete(ctx, thumbnailer, e.Ino), ErrHeadOnly, syscall.EPERM)
	if got := d.s.fetched(); len(got) != 1 || got[0] != (cache.Range{Len: headSize}) {
		t.Fatalf("fetched %v, want the head", got)
	}
	d.eventually("nobody fetches", func() bool { return !d.m.Hydrating(e.Ino) })
	if n := d.node(e.Ino); n.Residency != cache.Partial {
		t.Fatalf("residency %v", n.Residency)
	}
	d.ok(r.Ensure(ctx, person, e.Ino, 500_000, 4096))
	if got, err := d.read(e.Ino, 0, int64(len(data))); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d: %v", len(got), err)
	}
	// What is here everybody reads.
	d.ok(r.Ensure(ctx, thumbnailer, e.Ino, 500_000, 4096))
	d.ok(r.Complete(ctx, thumbnailer, e.Ino))
}

func TestASmallFileIsFetchedForEverybody(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	r, ctx := d.readers(), context.Background()
	read, completed := d.remote(cache.RootIno, "read", pattern(headSize)), d.remote(cache.RootIno, "completed", pattern(headSize))
	d.ok(r.Ensure(ctx, thumbnailer, read.Ino, 0, 1<<20))
	d.ok(r.Complete(ctx, indexer, completed.Ino))
	for _, e := range []cache.Entry{read, completed} {
		if n := d.node(e.Ino); n.Residency != cache.Full {
			t.Errorf("%s: residency %v", e.Name, n.Residency)
		}
	}
}

func TestNothingFollowsTheHead(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	r, ctx := d.readers(), context.Background()
	e := d.remote(cache.RootIno, "f", pattern(2*headSize)) // of which the head is more than a quarter
	d.ok(r.Ensure(ctx, indexer, e.Ino, 0, headSize))
	d.eventually("nobody fetches", func() bool { return !d.m.Hydrating(e.Ino) })
	if got := d.s.fetched(); len(got) != 1 || got[0] != (cache.Range{Len: headSize}) {
		t.Fatalf("fetched %v, want the head", got)
	}
}

func TestOnlyWhatIsMissingBehindTheHeadIsRefused(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	r, ctx := d.readers(), context.Background()
	data := pattern(8 << 20)
	e := d.remote(cache.RootIno, "f", data)
	d.ok(r.Ensure(ctx, person, e.Ino, headSize, 1000))
	d.eventually("the range is here", func() bool { return !d.m.Hydrating(e.Ino) })
	d.ok(r.Ensure(ctx, thumbnailer, e.Ino, 0, headSize+500))
	d.fails(r.Ensure(ctx, thumbnailer, e.Ino, 4<<20, 1), ErrHeadOnly, syscall.EPERM)
}

func TestNobodyElseIsLimited(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	r, ctx := d.readers(), context.Background()
	for i, pid := range []uint32{person, backup, service, 0, 99} {
		e := d.remote(cache.RootIno, fmt.Sprint(i), pattern(1<<20))
		d.ok(r.Ensure(ctx, pid, e.Ino, 700_000, 10))
		d.ok(r.Complete(ctx, pid, e.Ino))
	}
}

func TestAFetchIsKnownByWhoWantedIt(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	r, ctx := d.readers(), context.Background()
	e := d.remote(cache.RootIno, "f", pattern(1<<20))
	want := func(program, kind string) {
		t.Helper()
		d.eventually("nobody fetches", func() bool { return !d.m.Hydrating(e.Ino) })
		w, err := d.m.Why(e.ID)
		d.ok(err)
		if used := w.Used != 0; used != (kind == "person" || kind == "vdfs") {
			t.Errorf("fetched by a %s it was used at %d", kind, w.Used)
		}
		if w.Fetched.Program != program || w.Fetched.Kind != kind || (w.Fetched.At != 0) != (program != "") {
			t.Fatalf("fetched for %+v, want %s %s", w.Fetched, kind, program)
		}
	}
	want("", "")
	d.ok(r.Ensure(ctx, thumbnailer, e.Ino, 0, 10))
	want("ffmpegthumbnailer", "thumbnailer")
	d.fails(r.Ensure(ctx, indexer, e.Ino, 500_000, 10), ErrHeadOnly, syscall.EPERM)
	want("ffmpegthumbnailer", "thumbnailer")
	d.ok(r.Ensure(ctx, person, e.Ino, 500_000, 10))
	want("eog", "person")
	d.ok(r.Ensure(ctx, indexer, e.Ino, 0, 10))
	want("eog", "person")

	d.run()
	other := d.remote(cache.RootIno, "pinned", pattern(100))
	d.ok(d.m.Pin(ctx, other.ID))
	e = other
	d.eventually("the pin is done", func() bool { return d.node(e.Ino).Residency == cache.Full })
	want("vdfs pin", "vdfs")
}

func TestWhyAFileStays(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	e := d.remote(dir.Ino, "f", pattern(100))
	why := func() Why {
		t.Helper()
		w, err := d.m.Why(e.ID)
		d.ok(err)
		return w
	}
	if w := why(); len(w.Kept) != 0 || len(w.Items) != 0 {
		t.Fatalf("of a placeholder: %+v", w)
	}
	d.full(e)
	if w := why(); len(w.Kept) != 0 || w.PinnedBy != "" {
		t.Fatalf("of a file that may go: %+v", w)
	}
	d.ok(d.m.Pin(context.Background(), dir.ID))
	o, err := d.c.OpenFile(e.Ino, false)
	d.ok(err)
	if w := why(); strings.Join(w.Kept, ", ") != "is pinned, is open" || w.PinnedBy != "/dir" {
		t.Fatalf("of a pinned file that is open: %q by %q", w.Kept, w.PinnedBy)
	}
	d.ok(o.Close())
	d.ok(d.m.Unpin(context.Background(), dir.ID))
	wr, err := d.c.OpenFile(e.Ino, true)
	d.ok(err)
	_, err = wr.WriteAt([]byte("x"), 0)
	d.ok(err)
	d.ok(wr.Close())
	if w := why(); strings.Join(w.Kept, ", ") != "has changes that are not sent yet" || len(w.Items) != 1 {
		t.Fatalf("of a changed file: %q, %d items", w.Kept, len(w.Items))
	}
}

func TestAProgramInTheBackgroundThatFetchesMuchIsReported(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	d := newDrive(t, Options{Clock: func() time.Time { return now }})
	r, ctx := d.readers(), context.Background()
	var made int
	fetch := func(pid uint32, files int) {
		t.Helper()
		for range files {
			made++
			d.ok(r.Ensure(ctx, pid, d.remote(cache.RootIno, fmt.Sprint(made), pattern(10)).Ino, 0, 10))
		}
	}
	reports := func(want ...string) {
		t.Helper()
		var got []cache.Activity
		d.ok(d.c.View(func(tx *cache.Tx) (err error) {
			got, err = tx.Activities(0, 100)
			return err
		}))
		if len(got) != len(want) {
			t.Fatalf("reported %v, want %d", got, len(want))
		}
		for i, w := range want {
			if text := got[i].Text; !strings.Contains(text, w) || got[i].Kind != ActivitySpree {
				t.Errorf("report %q, want that it says %q", text, w)
			}
		}
	}
	fetch(person, spreeFiles+1)
	fetch(0, spreeFiles+1)
	fetch(indexer, spreeFiles)
	reports()
	now = now.Add(spreeWindow)
	fetch(indexer, spreeFiles)
	reports()
	fetch(indexer, 1)
	reports("recollindex (indexer) had 201 files (2010 bytes) fetched")
	fetch(service, spreeFiles+1)
	reports("scanner (service) had 201 files", "recollindex")
	if notes := r.Notes(); len(notes) != 2 {
		t.Errorf("notes %q", notes)
	}
	fetch(indexer, spreeFiles+1)
	reports("scanner", "recollindex")
	now = now.Add(2 * spreeKept)
	if notes := r.Notes(); len(notes) != 0 {
		t.Errorf("notes of long ago: %q", notes)
	}
	fetch(indexer, spreeFiles+1)
	reports("recollindex", "scanner", "recollindex")
}

func TestWhatFollowsByItselfIsCountedWithWhatCausedIt(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	r, ctx := d.readers(), context.Background()
	counted := func() int64 {
		r.spree.mu.Lock()
		defer r.spree.mu.Unlock()
		return r.spree.of["scanner"].bytes
	}
	e := d.remote(cache.RootIno, "f", pattern(8<<20))
	d.ok(r.Ensure(ctx, service, e.Ino, 6<<20, 10))
	if got := counted(); got < 10 || got >= 2<<20 {
		t.Fatalf("a read of 10 bytes is counted as %d", got)
	}
	d.ok(r.Ensure(ctx, service, e.Ino, 0, 4<<20))
	if got := counted(); got < 7<<20 || got > 8<<20 {
		t.Fatalf("half of a file of 8 MiB was read, and its rest comes, but %d bytes are counted", got)
	}
	d.ok(r.Ensure(ctx, thumbnailer, d.remote(cache.RootIno, "g", pattern(2*headSize)).Ino, 0, 10))
	r.spree.mu.Lock()
	defer r.spree.mu.Unlock()
	if got := r.spree.of["ffmpegthumbnailer"].bytes; got != headSize {
		t.Fatalf("a head is counted as %d bytes", got)
	}
}

func TestManyBytesAreReportedToo(t *testing.T) {
	t.Parallel()
	var s sprees
	who := caller.Caller{Program: "restic", Class: caller.Backup}
	if text := s.note(who, 1, spreeBytes, 0); text != "" {
		t.Fatalf("reported %q", text)
	}
	if text := s.note(who, 1, 1, 1); !strings.Contains(text, "restic (backup) had 1 files (2000000001 bytes)") {
		t.Fatalf("reported %q", text)
	}
	for i := range 10 * spreesMax {
		s.note(caller.Caller{Program: fmt.Sprint(i)}, 1, 1, 2)
	}
	if n := len(s.of); n > spreesMax {
		t.Fatalf("%d programs are watched", n)
	}
	if s.of["restic"] == nil {
		t.Fatal("the one that was reported is forgotten")
	}
}

func TestAnOnlineFileThatIsOpenedBecomesAuto(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.mkdir(cache.RootIno, "dir")
	own, below, pinned := d.remote(cache.RootIno, "own", pattern(1)), d.remote(dir.Ino, "below", pattern(1)), d.remote(dir.Ino, "pinned", pattern(1))
	open := func(e cache.Entry, want cache.Intent) {
		t.Helper()
		d.ok(d.c.Update(0, func(tx *cache.Tx) error { return opened(nil, tx, e.Ino) }))
		d.ok(d.c.View(func(tx *cache.Tx) error {
			got, _, err := tx.EffectiveIntent(e.ID)
			if got != want {
				t.Errorf("%s has intent %d, want %d", e.Name, got, want)
			}
			return err
		}))
	}
	open(own, cache.Inherited)
	d.ok(d.m.SetIntent(own.ID, cache.Online))
	d.ok(d.m.SetIntent(dir.ID, cache.Online))
	d.ok(d.m.SetIntent(pinned.ID, cache.Pinned))
	open(own, cache.Auto)
	open(below, cache.Auto)
	open(pinned, cache.Pinned)
}
