package fs

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"vdfs/cache"
)

// overtake moves the only name of one node to another, in place of its own, as the syncer does with a new version of a file
// that somebody reads. From one that is open for writing it keeps away, and this is false.
func (e *env) overtake(old, fresh cache.Ino) (done bool) {
	e.t.Helper()
	e.remote(func(tx *cache.Tx) error {
		if tx.Exclude(old).Writers > 0 {
			return nil
		}
		d, err := tx.DentryOf(old)
		if err != nil {
			return err
		}
		made, err := tx.DentryOf(fresh)
		if err == nil {
			err = errors.Join(tx.SetDentryNode(d.ID, fresh), tx.RemoveDentry(made.ID))
		}
		done = err == nil
		return err
	})
	return done
}

// A second ESTALE is the program's, so the change that comes during the second try has to wait for it.
func TestAFileReplacedTwiceWhileItIsOpenedIsOpened(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	first := e.placeholder(cache.RootIno, "f", []byte("the first version"))
	second := e.placeholder(cache.RootIno, "second", []byte("the second, longer version"))
	third := e.placeholder(cache.RootIno, "third", []byte("the third"))
	var waited atomic.Bool
	e.hyd.next(
		func() error {
			if !e.overtake(first, second) {
				t.Error("the first change waits for an open that can be begun again")
			}
			return errnoError(unix.ENETUNREACH)
		},
		func() error {
			if e.overtake(second, third) {
				return errnoError(unix.ENETUNREACH)
			}
			waited.Store(true)
			return nil
		},
	)
	e.wantContent("f", []byte("the second, longer version"))
	if !waited.Load() {
		t.Error("there was no second try, or nothing waited for it")
	}
	e.eventually("the third version comes", func() bool { return e.overtake(second, third) })
	e.wantContent("f", []byte("the third"))
}

func TestAFileIsKeptForASecondTryAndNotForLonger(t *testing.T) {
	t.Parallel()
	e := mounted(t)
	first := e.placeholder(cache.RootIno, "f", []byte("old"))
	other := e.placeholder(cache.RootIno, "other", []byte("other"))
	const thread = 1<<22 - 1
	d := e.server.drive
	looksUp := func(name string) {
		t.Helper()
		root := fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID, Caller: fuse.Caller{Pid: thread}}
		if s := d.Lookup(nil, &root, name, &fuse.EntryOut{}); !s.Ok() {
			t.Fatal(s)
		}
	}
	opens := func(ino cache.Ino, want fuse.Status) {
		t.Helper()
		in := fuse.InHeader{NodeId: uint64(ino), Caller: fuse.Caller{Pid: thread}}
		var out fuse.OpenOut
		if s := d.Open(nil, &fuse.OpenIn{InHeader: in}, &out); s != want {
			t.Fatalf("open: %v, want %v", s, want)
		} else if s.Ok() {
			d.Release(nil, &fuse.ReleaseIn{InHeader: in, Fh: out.Fh})
		}
	}
	kept := func(ino cache.Ino) bool { return e.cache.InUse(ino).Writers > 0 }

	looksUp("f")
	if kept(first) {
		t.Error("kept for a first try")
	}
	sendBack := func() {
		t.Helper()
		e.replace(first, []byte("new"))
		opens(first, fuse.Status(unix.ESTALE))
		looksUp("other")
		looksUp("f")
		if kept(other) || !kept(first) {
			t.Errorf("what the last lookup of the second try found is kept: %v, what the one before found: %v", kept(first), kept(other))
		}
	}
	sendBack()
	opens(first, fuse.OK)
	if kept(first) {
		t.Error("kept after its open")
	}
	looksUp("f")
	if kept(first) {
		t.Error("kept for the next open, which is no second try")
	}

	sendBack()
	e.eventually("a file is let go of whose open does not come", func() bool { return !kept(first) })
	e.replace(first, []byte("newer"))
	opens(first, fuse.OK) // late, but still a second try
}
