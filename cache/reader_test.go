package cache

import (
	"context"
	"slices"
	"testing"
	"time"
)

func TestAFileIsUsedByOpensThatCount(t *testing.T) {
	t.Parallel()
	const person, crawler = 7, 13
	now := time.Unix(1000, 0)
	var asked []uint32
	var told []Ino
	c, err := Open(context.Background(), Options{
		Dir: t.TempDir(), Clock: func() time.Time { return now },
		Counts: func(pid uint32) bool { asked = append(asked, pid); return pid != crawler },
		Used:   func(_ *Tx, ino Ino) error { told = append(told, ino); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, c)
	a, b := makeFile(t, c, "a", "x"), makeFile(t, c, "b", "x")
	if err := c.flushUsage(); err != nil {
		t.Fatal(err)
	}
	made := usedAt(t, c, a.Ino)
	open := func(ino Ino, pid uint32) {
		t.Helper()
		o, err := c.OpenFileFor(ino, false, pid)
		if err != nil {
			t.Fatal(err)
		}
		closeIt(t, o)
	}
	flushed := func(want ...Ino) {
		t.Helper()
		asked, told = nil, nil
		if err := c.flushUsage(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Fatalf("told of %v, want %v", told, want)
		}
	}
	now = now.Add(time.Hour)
	open(a.Ino, crawler)
	open(b.Ino, crawler)
	flushed()
	want(t, "used after a crawler", usedAt(t, c, a.Ino), made)
	if !slices.Equal(asked, []uint32{crawler}) {
		t.Fatalf("asked about %v, want the one process once", asked)
	}
	open(a.Ino, person)
	at := now.UnixNano()
	now = now.Add(time.Hour)
	open(a.Ino, crawler)
	open(b.Ino, 0)
	flushed(a.Ino, b.Ino)
	want(t, "used after a person and a crawler", usedAt(t, c, a.Ino), at)
	want(t, "used after nobody knows who", usedAt(t, c, b.Ino), now.UnixNano())
	for pid := range uint32(10) {
		now = now.Add(time.Second)
		open(a.Ino, 100+pid)
	}
	flushed(a.Ino)
	want(t, "used by several", usedAt(t, c, a.Ino), now.UnixNano())
}

func TestANewProcessIsAskedAboutBeforeItCanBeGone(t *testing.T) {
	t.Parallel()
	asked := make(chan uint32, 10)
	c, err := Open(context.Background(), Options{Dir: t.TempDir(), Counts: func(pid uint32) bool { asked <- pid; return true }})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.meet(ctx) }()
	n := makeFile(t, c, "f", "x")
	for range 3 {
		o, err := c.OpenFileFor(n.Ino, false, 42)
		if err != nil {
			t.Fatal(err)
		}
		closeIt(t, o)
	}
	want(t, "asked about", <-asked, 42)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want(t, "asked about more often", len(asked), 0)
}

func TestAFillSaysForWhomItIs(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	c, err := Open(context.Background(), Options{Dir: t.TempDir(), Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, c)
	ino := makePlaceholder(t, c, "f", 10).Ino
	fill := func(r Reader, at Range) {
		t.Helper()
		f, err := c.Fill(ino, attr(t, c, ino).Version)
		if err != nil {
			t.Fatal(err)
		}
		f.For(r)
		if _, err := f.WriteAt(make([]byte, at.Len), at.Off); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(at); err != nil {
			t.Fatal(err)
		}
		closeIt(t, f)
	}
	last := func() (f Fetched) {
		t.Helper()
		err := c.View(func(tx *Tx) (err error) {
			f, err = tx.LastFetch(ino)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	want(t, "before any", last(), Fetched{})
	fill(Reader{Program: "p", Kind: "crawler", Unused: true}, Range{Len: 4})
	want(t, "after the first", last(), Fetched{Reader{Program: "p", Kind: "crawler"}, now.UnixNano()})
	want(t, "used after the first", usedAt(t, c, ino), 0)
	now = now.Add(time.Hour)
	fill(Reader{Program: "q", Kind: "person"}, Range{Off: 4, Len: 4})
	want(t, "after the second", last(), Fetched{Reader{Program: "q", Kind: "person"}, now.UnixNano()})
	want(t, "used after the second", usedAt(t, c, ino), now.UnixNano())
}

// usedAt is when the content of a node was last used, as the index has it.
func usedAt(t *testing.T, c *Cache, ino Ino) (at int64) {
	t.Helper()
	err := c.View(func(tx *Tx) (err error) {
		at, err = tx.LastUse(ino)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}
