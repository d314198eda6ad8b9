package cache

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// keptTest is an index whose clock stands where the test puts it.
func keptTest(t *testing.T) (*indexTest, *time.Time) {
	t.Helper()
	now := time.Unix(1000, 0)
	x := newIndexTest(t)
	x.no(x.Close())
	x.opt.Clock = func() time.Time { return now }
	x.open()
	return x, &now
}

// kept reads all pages and names what is in them.
func (x *indexTest) kept(limit int) (names []string) {
	x.t.Helper()
	var used int64
	var at ContentID
	for {
		var page []Kept
		x.look(func(tx *Tx) (err error) {
			page, err = tx.KeptPage(used, at, limit)
			for _, k := range page {
				name := "?"
				if k.Ino != 0 {
					d, derr := tx.DentryOf(k.Ino)
					x.no(derr)
					name = fmt.Sprint(d.Name, k.Bytes, "/", k.Size)
				}
				names = append(names, name)
			}
			return err
		})
		if len(page) == 0 {
			return names
		}
		if len(page) > limit {
			x.t.Fatalf("a page of %d, want at most %d", len(page), limit)
		}
		used, at = page[len(page)-1].Used, page[len(page)-1].Content
	}
}

func (x *indexTest) wantKept(limit int, want string) {
	x.t.Helper()
	if got := strings.Join(x.kept(limit), " "); got != want {
		x.t.Errorf("kept is %q, want %q", got, want)
	}
}

func TestWhatIsHereIsReadInTheOrderOfItsUse(t *testing.T) {
	t.Parallel()
	x, now := keptTest(t)
	for i, name := range []string{"a", "b", "c", "d"} {
		*now = time.Unix(int64(2000+i), 0)
		x.touch(RootIno, name)
		x.write2(RootIno, name, "12345")
	}
	x.wantKept(10, "") // nothing is synced
	x.no(x.flushUsage())
	x.no(x.SyncContents(t.Context()))
	for limit := range 6 {
		x.wantKept(1+limit, "a5/5 b5/5 c5/5 d5/5")
	}

	// Opened again, one goes to the end, as soon as that is in the index; LastOpened knows it before.
	*now = time.Unix(3000, 0)
	b := x.lookup(RootIno, "b")
	o, err := x.OpenFile(b.Ino, false)
	x.no(err)
	x.no(o.Close())
	x.wantKept(2, "a5/5 b5/5 c5/5 d5/5")
	for range 2 {
		x.look(func(tx *Tx) error {
			n, err := tx.Node(b.Ino)
			x.no(err)
			if at, err := tx.LastOpened(n.Ino); err != nil || at != now.UnixNano() {
				t.Errorf("last used %d, %v, want %d", at, err, now.UnixNano())
			}
			return nil
		})
		x.no(x.flushUsage())
	}
	x.wantKept(2, "a5/5 c5/5 d5/5 b5/5")

	// What the trash has is nobody's, and what was written to waits for the next sync.
	c := x.lookup(RootIno, "c")
	x.update(0, func(tx *Tx) error {
		_, err := tx.TrashNode(c.Ino, 1, "/c", "test")
		return err
	})
	x.write2(RootIno, "d", "1")
	x.wantKept(1, "a5/5 ? b5/5")
}

func TestIntentsOfTheirOwnAreFound(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	d := x.mkdir(RootIno, "d")
	for _, intent := range []Intent{Inherited, Pinned, Online} {
		x.update(0, func(tx *Tx) error { return tx.SetIntent(d.ID, intent) })
		x.look(func(tx *Tx) error {
			if found, err := tx.AnyIntent(Online); err != nil || found != (intent == Online) {
				t.Errorf("with %v online is found: %v, %v", intent, found, err)
			}
			return nil
		})
	}
}

func TestBytesAboveTheLimitAreTold(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	above := x.BytesAbove(8)
	told := func(want bool, when string) {
		t.Helper()
		select {
		case <-above:
			if !want {
				t.Errorf("told of bytes %s", when)
			}
		default:
			if want {
				t.Errorf("not told of bytes %s", when)
			}
		}
	}
	for _, name := range []string{"a", "b"} {
		told(false, "at the limit")
		x.touch(RootIno, name)
		x.write2(RootIno, name, "12345")
	}
	told(true, "above the limit")
	x.touch(RootIno, "c")
	x.no(x.Unlink(RootIno, "c"))
	told(false, "that did not grow")
	x.write2(RootIno, "a", "1234567")
	told(true, "further above the limit")
	x.BytesAbove(Unlimited)
	x.write2(RootIno, "a", "123456789")
	told(false, "without a limit")
}
