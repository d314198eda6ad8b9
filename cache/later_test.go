package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// closings collects what CloseLater says of handles.
type closings struct {
	sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (c *closings) close(o *OpenFile) {
	c.Add(1)
	o.CloseLater(0, func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.errs = append(c.errs, err)
		c.Done()
	})
}

// all waits for the handles and returns what was wrong with them.
func (c *closings) all() error {
	c.Wait()
	return errors.Join(c.errs...)
}

// holdSettling keeps what is closed waiting until the function it returns is called.
func holdSettling(c *Cache) (release func()) {
	c.later.turn.Lock()
	return c.later.turn.Unlock
}

func TestFilesThatAreClosedTogetherAreSettledTogether(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	var ended closings
	var inos []Ino
	release := holdSettling(c)
	for i := range 3*settleMax + 1 {
		ino, o := create(t, c, fmt.Sprint(i))
		write(t, o, "text", 0)
		inos = append(inos, ino)
		ended.close(o)
	}
	before := c.Seq()
	for _, ino := range inos {
		want(t, "writing while it waits", rowOf(t, c, ino).Writing, true)
		want(t, "size while it waits", attr(t, c, ino).Size, 4)
	}
	release()
	if err := ended.all(); err != nil {
		t.Fatal(err)
	}
	for _, ino := range inos {
		n := rowOf(t, c, ino)
		want(t, "writing", n.Writing, false)
		want(t, "size", n.Size, 4)
		want(t, "in use", c.InUse(ino), Use{})
	}
	if n := c.Seq() - before; n > 4 {
		t.Errorf("%d transactions for %d files", n, len(inos))
	}
}

func TestWhatHappensToAFileThatWaitsToBeSettled(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	var ended closings
	closed := func(name string) Ino {
		ino, o := create(t, c, name)
		write(t, o, "first", 0)
		ended.close(o)
		return ino
	}
	release := holdSettling(c)
	opened, gone, moved := closed("opened"), closed("gone"), closed("moved")

	version := attr(t, c, opened).Version
	o := openIt(t, c, opened)
	want(t, "writing after it was opened", rowOf(t, c, opened).Writing, false)
	write(t, o, "SECOND", 0)
	want(t, "version of what is written then", attr(t, c, opened).Version, version+1)
	if err := c.Unlink(RootIno, "gone"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rename(RootIno, "moved", RootIno, "elsewhere", 0); err != nil {
		t.Fatal(err)
	}
	release()
	if err := ended.all(); err != nil {
		t.Fatal(err)
	}
	want(t, "writing while it is open again", rowOf(t, c, opened).Writing, true)
	closeIt(t, o)
	want(t, "content", content(t, c, opened), "SECOND")
	_, err := c.Attr(gone)
	wantErr(t, err, ErrNotFound)
	e, err := c.Lookup(RootIno, "elsewhere")
	if err != nil || e.Ino != moved || e.Node.Writing || e.Node.Size != 5 {
		t.Errorf("moved is %+v, %v", e, err)
	}
}

// A change from elsewhere leaves a file alone that is open for writing, and nothing else tells that it no longer is.
func TestTheLastCloseOfAFileThatWasNotWrittenToWakesWhoWaitsForIt(t *testing.T) {
	t.Parallel()
	for name, closes := range map[string]func(*OpenFile) error{
		"close": (*OpenFile).Close,
		"close later": func(o *OpenFile) error {
			done := make(chan error, 1)
			o.CloseLater(0, func(err error) { done <- err })
			return <-done
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openContents(t, t.TempDir())
			n := makePlaceholder(t, c, "p", 10)
			wake, stop := c.Watch()
			defer stop()
			o, err := c.OpenFile(n.Ino, true)
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-wake:
				t.Fatal("woken while the file is open for writing")
			default:
			}
			if err := closes(o); err != nil {
				t.Fatal(err)
			}
			select {
			case <-wake:
			case <-time.After(10 * time.Second):
				t.Error("not woken")
			}
		})
	}
}

func TestACloseOfTheCacheSettlesWhatWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	var ended closings
	ino, o := create(t, c, "f")
	write(t, o, "text", 0)
	ended.close(o)
	closeIt(t, c)
	if err := ended.all(); err != nil {
		t.Fatal(err)
	}
	c = openContents(t, dir)
	want(t, "writing", rowOf(t, c, ino).Writing, false)
	want(t, "content", content(t, c, ino), "text")
}

func TestASharedSyncTellsItsErrorsToThoseItIsFor(t *testing.T) {
	t.Parallel()
	var g groupSync
	full, broken := errors.New("no room"), errors.New("broken disk")
	fine := func() error { return nil }
	wantErr(t, g.do(func() error { return full }, fine), full)
	wantErr(t, g.do(fine, fine), nil) // there is room again

	// Who calls while a sync is under way needs another one.
	began, goOn := make(chan struct{}), make(chan struct{})
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		first <- g.do(fine, func() error {
			close(began)
			<-goOn
			return nil
		})
	}()
	<-began
	syncs := 0
	go func() { second <- g.do(fine, func() error { syncs++; return broken }) }()
	select {
	case err := <-second:
		t.Errorf("took part in a sync that had begun: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	close(goOn)
	wantErr(t, <-first, nil)
	wantErr(t, <-second, broken)
	wantErr(t, g.do(fine, func() error { syncs++; return nil }), broken) // a failed sync is never made good
	want(t, "syncs", syncs, 1)
}

func TestSinceChangeIsOfPrograms(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	if d := c.SinceChange(); d < time.Hour {
		t.Errorf("something changed %v ago", d)
	}
	makePlaceholder(t, c, "theirs", 10)
	if d := c.SinceChange(); d < time.Hour {
		t.Errorf("what an endpoint did counts: %v", d)
	}
	makeFile(t, c, "ours", "text")
	if d := c.SinceChange(); d > time.Hour {
		t.Errorf("a program changed something, and it says %v", d)
	}
	if err := c.SettleHeld(context.Background()); err != nil {
		t.Fatal(err)
	}
}
