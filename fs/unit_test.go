package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"vdfs/cache"
)

func TestErrno(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{fmt.Errorf("lookup: %w", cache.ErrNotFound), unix.ENOENT},
		{cache.ErrBorder, unix.EXDEV},
		{context.Canceled, unix.EINTR},
		{context.DeadlineExceeded, unix.ETIMEDOUT},
		{fmt.Errorf("read: %w", errnoError(unix.ENETUNREACH)), unix.ENETUNREACH},
		{errors.Join(cache.ErrExists, errnoError(unix.EROFS)), unix.EROFS},
		{fmt.Errorf("write: %w", unix.EFBIG), unix.EFBIG},
		{cache.ErrNotLocal, unix.EIO},
		{errors.New("who knows"), unix.EIO},
	} {
		if got := Errno(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestTimesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64().Draw(t, "ns")
		sec, nsec := split(ns)
		if nsec >= 1e9 {
			t.Fatalf("%d has %d nanoseconds", ns, nsec)
		}
		got := nanos(time.Unix(int64(sec), int64(nsec)))
		// The outermost second is cut off.
		if got != ns && ns > math.MinInt64+2e9 && ns < math.MaxInt64-2e9 {
			t.Fatalf("%d became %d", ns, got)
		}
	})
	if got := nanos(time.Unix(1<<40, 0)); got != math.MaxInt64 {
		t.Errorf("a far future became %d", got)
	}
	if got := nanos(time.Unix(-1<<40, 0)); got != math.MinInt64 {
		t.Errorf("a far past became %d", got)
	}
}

func TestInoSet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s inoSet
		model := map[cache.Ino]bool{}
		inos := rapid.SliceOf(rapid.Uint64Range(0, 3*pageSize)).Draw(t, "inos")
		for _, n := range inos {
			s.add(cache.Ino(n))
			model[cache.Ino(n)] = true
		}
		for _, n := range append(inos, 1, pageSize, 1<<40) {
			for _, ino := range []cache.Ino{cache.Ino(n), cache.Ino(n) + 1, cache.Ino(n) + 64} {
				if s.has(ino) != model[ino] {
					t.Fatalf("%d: %v, want %v", ino, s.has(ino), model[ino])
				}
			}
		}
	})
}

func TestStampsAreBoundedAndNeverWrong(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const limit = 8
		s := newStamps(limit)
		model := map[cache.Ino]uint64{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			ino := cache.Ino(rapid.IntRange(1, 40).Draw(t, "ino"))
			version := uint64(rapid.IntRange(1, 5).Draw(t, "version"))
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				s.set(ino, version)
				model[ino] = version
				if s.get(ino) != version {
					t.Fatal("forgot at once")
				}
			case 1:
				s.drop(ino)
				delete(model, ino)
			case 2:
				s.follow(ino, version)
				if m := model[ino]; m != version && m != version-1 {
					delete(model, ino)
				} else if m != 0 {
					model[ino] = version
				}
			}
			if got := s.get(ino); got != 0 && got != model[ino] {
				t.Fatalf("%d has stamp %d, want %d or none", ino, got, model[ino])
			}
			if len(s.young) > limit || len(s.old) > limit {
				t.Fatalf("grew to %d and %d", len(s.young), len(s.old))
			}
		}
	})
}

func TestTableReusesNumbers(t *testing.T) {
	t.Parallel()
	var tab table[int]
	a, b := 1, 2
	fa, fb := tab.put(&a), tab.put(&b)
	if fa == 0 || fb == 0 || fa == fb || tab.get(fa) != &a || tab.get(fb) != &b {
		t.Fatalf("numbers %d and %d", fa, fb)
	}
	if tab.take(fa) != &a || tab.get(fa) != nil || tab.take(fa) != nil {
		t.Fatal("taken twice")
	}
	if tab.put(&a) != fa || tab.get(0) != nil || tab.get(99) != nil {
		t.Fatal("number not used again")
	}
	if len(tab.drain()) != 2 || tab.get(fb) != nil {
		t.Fatal("not drained")
	}
}

// fakeKernel writes down what it is told, and does not know some nodes.
type fakeKernel struct {
	told    []string
	unknown map[uint64]bool
	denied  bool // deletes are refused
}

func (k *fakeKernel) InodeNotify(node uint64, off, _ int64) fuse.Status {
	k.told = append(k.told, fmt.Sprintf("inode %d from %d", node, off))
	if k.unknown[node] {
		return fuse.ENOENT
	}
	return fuse.OK
}

func (k *fakeKernel) EntryNotify(parent uint64, name string) fuse.Status {
	k.told = append(k.told, fmt.Sprintf("entry %d/%s", parent, name))
	return fuse.OK
}

func (k *fakeKernel) DeleteNotify(parent, child uint64, name string) fuse.Status {
	k.told = append(k.told, fmt.Sprintf("delete %d/%s=%d", parent, name, child))
	if k.denied {
		return fuse.ENOENT
	}
	return fuse.OK
}

func (k *fakeKernel) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(k.told, want) {
		t.Fatalf("told %q, want %q", k.told, want)
	}
	k.told = nil
}

func TestNotifier(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{unknown: map[uint64]bool{}}
	known := new(known)
	n := &notifier{
		known: known, pages: newStamps(8), names: newStamps(8), kernel: k,
		log: slog.New(slog.DiscardHandler), inodes: map[cache.Ino]bool{}, changed: newStamps(8), unheard: map[cache.Ino]int{},
	}
	// Nothing for what the kernel cannot know.
	n.send([]cache.Change{{Ino: 5, Data: true}, {Parent: 1, Name: "a", Ino: 1}})
	k.want(t)
	known.settle(0, 1, 1, 5)
	n.pages.set(5, 7)
	// Names first, each node once, pages if any of its changes was of data.
	n.send([]cache.Change{{Ino: 5}, {Ino: 5, Data: true}, {Parent: 1, Name: "a"}, {Parent: 1, Name: "b", Ino: 1}, {Parent: 9, Name: "c"}})
	k.want(t, "entry 1/a", "entry 1/b", "inode 5 from 0", "inode 1 from 0")
	if n.pages.get(5) != 0 {
		t.Fatal("its pages count as present")
	}
	n.send([]cache.Change{{Ino: 5}})
	k.want(t, "inode 5 from -1")
	n.send([]cache.Change{{Parent: 1, Name: "a", Gone: 5}})
	k.want(t, "delete 1/a=5", "inode 1 from 0")
	k.denied = true
	n.send([]cache.Change{{Parent: 1, Name: "a", Gone: 5}})
	k.want(t, "delete 1/a=5", "entry 1/a", "inode 1 from 0")
	// What the kernel did not know is told again later, once.
	k.unknown[5] = true
	n.send([]cache.Change{{Ino: 5, Data: true}})
	k.want(t, "inode 5 from 0")
	n.repeat(time.Now())
	k.want(t)
	if n.unheard[5] != 1 {
		t.Fatal("an open would rely on the attributes")
	}
	n.repeat(time.Now().Add(2 * againAfter))
	k.want(t, "inode 5 from 0")
	n.repeat(time.Now().Add(4 * againAfter))
	k.want(t)
	if len(n.unheard) != 0 {
		t.Fatalf("still unheard: %v", n.unheard)
	}
}
