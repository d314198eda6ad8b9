package cache

import (
	"context"
	"testing"
	"time"
)

// openAt is a cache with a clock that the test sets.
func openAt(t *testing.T, now *time.Time) *Cache {
	t.Helper()
	c, err := Open(context.Background(), Options{Dir: t.TempDir(), Clock: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, c) })
	return c
}

func TestADirectorysChangeTimeGrowsThoughTheClockStandsOrGoesBack(t *testing.T) {
	t.Parallel()
	now := time.Unix(2000, 0)
	c := openAt(t, &now)
	last := attr(t, c, RootIno)
	changes := []struct {
		name string
		do   func() error
	}{
		{"mkdir", func() error { _, err := c.Mkdir(RootIno, "d", 0o755, Caller{}); return err }},
		{"symlink", func() error { _, err := c.Symlink(RootIno, "l", "d", Caller{}); return err }},
		{"rename", func() error { return c.Rename(RootIno, "l", RootIno, "m", 0) }},
		{"unlink", func() error { return c.Unlink(RootIno, "m") }},
		{"rmdir", func() error { return c.Rmdir(RootIno, "d") }},
	}
	for _, back := range []time.Duration{0, time.Hour} {
		now = now.Add(-back)
		for _, change := range changes {
			if err := change.do(); err != nil {
				t.Fatalf("%s: %v", change.name, err)
			}
			n := attr(t, c, RootIno)
			if n.Ctime <= last.Ctime || n.Mtime != n.Ctime {
				t.Errorf("%s, clock %v back: times %d and %d, after %d", change.name, back, n.Mtime, n.Ctime, last.Ctime)
			}
			last = n
		}
	}
}

func TestNoChangeOfANodePutsItsChangeTimeBack(t *testing.T) {
	t.Parallel()
	now := time.Unix(2000, 0)
	c := openAt(t, &now)
	e, err := c.Symlink(RootIno, "l", "target", Caller{})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	mode := uint32(0o600)
	for name, do := range map[string]func() error{
		"chmod":        func() error { _, err := c.SetAttr(e.Ino, Attrs{Mode: &mode}); return err },
		"rename":       func() error { return c.Rename(RootIno, "l", RootIno, "m", 0) },
		"set xattr":    func() error { return c.SetXattr(e.Ino, "user.a", nil, 0) },
		"remove xattr": func() error { return c.RemoveXattr(e.Ino, "user.b") },
	} {
		if name == "remove xattr" {
			if err := c.SetXattr(e.Ino, "user.b", nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := do(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := attr(t, c, e.Ino); n.Ctime != e.Node.Ctime {
			t.Errorf("%s: ctime %d, was %d", name, n.Ctime, e.Node.Ctime)
		}
	}
}

func TestTheTimesOfANewFileStayAsTheyWereToldUntilItChanges(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	e, o, err := c.Create(RootIno, "f", 0o644, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	same := func(when string) {
		t.Helper()
		n := attr(t, c, e.Ino)
		want(t, "atime "+when, n.Atime, e.Node.Atime)
		want(t, "mtime "+when, n.Mtime, e.Node.Mtime)
		want(t, "ctime "+when, n.Ctime, e.Node.Ctime)
	}
	same("while open")
	closeIt(t, o)
	same("when closed")

	if o, err = c.OpenFile(e.Ino, true); err != nil {
		t.Fatal(err)
	}
	write(t, o, "text", 0)
	open := attr(t, c, e.Ino)
	if open.Mtime < e.Node.Mtime || open.Ctime < open.Mtime {
		t.Errorf("a write put the times from %d to %d and %d", e.Node.Mtime, open.Mtime, open.Ctime)
	}
	closeIt(t, o)
	closed := attr(t, c, e.Ino)
	want(t, "mtime after the close", closed.Mtime, open.Mtime)
	want(t, "ctime after the close", closed.Ctime, open.Ctime)
}

func TestATimeSetAheadIsNoChangeTime(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	ino, o := create(t, c, "f")
	write(t, o, "text", 0)
	ahead := time.Now().Add(time.Hour).UnixNano()
	if _, err := c.SetAttr(ino, Attrs{Mtime: &ahead}); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"while open", "when closed"} {
		n := attr(t, c, ino)
		want(t, "mtime "+when, n.Mtime, ahead)
		if n.Ctime >= ahead {
			t.Errorf("ctime %s is %d, in the future as mtime is", when, n.Ctime)
		}
		if when == "while open" {
			closeIt(t, o)
		}
	}
}

func TestSetAttrOfNothingMovesTheChangeTimeAndNowIsItsTime(t *testing.T) {
	t.Parallel()
	now := time.Unix(2000, 0)
	c := openAt(t, &now)
	e, err := c.Mknod(RootIno, "fifo", Fifo, 0o6755, 0, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	n, err := c.SetAttr(e.Ino, Attrs{NoSetid: true})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "mode", n.Mode, 0o755)
	want(t, "ctime", n.Ctime, now.UnixNano())
	want(t, "mtime", n.Mtime, e.Node.Mtime)
	now = now.Add(time.Second)
	if n, err = c.SetAttr(e.Ino, Attrs{AtimeNow: true, MtimeNow: true}); err != nil {
		t.Fatal(err)
	}
	want(t, "atime", n.Atime, now.UnixNano())
	want(t, "mtime", n.Mtime, now.UnixNano())
	want(t, "ctime", n.Ctime, now.UnixNano())
}

func TestWithoutSetid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		was, now uint32
	}{
		{"both bits of a program", 0o6755, 0o755},
		{"the group's bit without group execution means locking", 0o6745, 0o2745},
		{"nothing to take", 0o1644, 0o1644},
	} {
		want(t, c.name, WithoutSetid(c.was), c.now)
	}
}
