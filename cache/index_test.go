package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// indexTest is a cache in a temporary directory with what the tests of the index ask of it.
type indexTest struct {
	*Cache
	t   testing.TB
	opt Options
}

func newIndexTest(t testing.TB) *indexTest {
	t.Helper()
	x := &indexTest{t: t, opt: Options{
		Dir: filepath.Join(t.TempDir(), "state"), Device: "desk", UID: 7, GID: 8,
		LocalOnly: func(name string) bool { return strings.HasSuffix(name, ".tmp") },
	}}
	x.open()
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return x
}

func (x *indexTest) open() {
	x.t.Helper()
	c, err := Open(x.t.Context(), x.opt)
	if err != nil {
		x.t.Fatalf("open: %v", err)
	}
	x.no(c.count()) // as Run does
	x.Cache = c
}

// abandon lets go of the files of a cache the way the end of its process would: nothing is settled or written.
func (x *indexTest) abandon() {
	x.t.Helper()
	if err := x.closeAll(); err != nil {
		x.t.Fatalf("abandon: %v", err)
	}
}

func (x *indexTest) no(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *indexTest) is(err, want error) {
	x.t.Helper()
	if !errors.Is(err, want) {
		x.t.Fatalf("error is %v, want %v", err, want)
	}
}

func (x *indexTest) update(leg LegID, f func(*Tx) error) {
	x.t.Helper()
	x.no(x.Update(leg, f))
}

func (x *indexTest) look(f func(*Tx) error) {
	x.t.Helper()
	x.no(x.View(f))
}

func (x *indexTest) mkdir(parent Ino, name string) Entry {
	x.t.Helper()
	e, err := x.Mkdir(parent, name, 0o755, Caller{})
	x.no(err)
	return e
}

// touch makes an empty file and closes it.
func (x *indexTest) touch(parent Ino, name string) Entry {
	x.t.Helper()
	e, o, err := x.Create(parent, name, 0o644, Caller{})
	x.no(err)
	x.no(o.Close())
	return e
}

func (x *indexTest) lookup(parent Ino, name string) Entry {
	x.t.Helper()
	e, err := x.Lookup(parent, name)
	x.no(err)
	return e
}

func (x *indexTest) gone(parent Ino, name string) {
	x.t.Helper()
	_, err := x.Lookup(parent, name)
	x.is(err, ErrNotFound)
}

// legs makes the directory a place with n legs of one conduit each.
func (x *indexTest) legs(dir Ino, n int) []LegID {
	x.t.Helper()
	var out []LegID
	x.update(0, func(tx *Tx) error {
		place, err := tx.EnsurePlace(dir)
		if err != nil {
			return err
		}
		for i := range n {
			cd := Conduit{UUID: fmt.Sprintf("u%d-%d", place, i), Name: fmt.Sprintf("c%d-%d", place, i), Place: place, Policy: "synchronize"}
			legs := []Leg{{Endpoint: "dir:/x"}}
			if err := tx.CreateConduit(&cd, legs); err != nil {
				return err
			}
			out = append(out, legs[0].ID)
		}
		return nil
	})
	return out
}

// bind agrees on the present state of a dentry with a leg, and closes its items there.
func (x *indexTest) bind(leg LegID, id DentryID) BindingID {
	x.t.Helper()
	var out BindingID
	x.update(leg, func(tx *Tx) error {
		e, err := tx.Entry(id)
		if err != nil {
			return err
		}
		up, err := tx.DentryOf(e.Parent)
		if err != nil {
			return err
		}
		root, ok, err := tx.RootBinding(leg)
		if err == nil && !ok {
			root = Binding{Leg: leg, Dentry: RootDentry, RemoteID: "root", Kind: Dir}
			err = tx.PutBinding(&root)
		}
		if err != nil {
			return err
		}
		b := Binding{
			Leg: leg, Dentry: id, RemoteID: fmt.Sprintf("r%d", id), Parent: root.ID, RemoteName: e.Name, Kind: e.Node.Kind, LocalParent: up.ID,
			LocalName: e.Name, LocalVersion: e.Node.Version, LocalMtime: e.Node.Mtime, LocalMode: e.Node.Mode, Size: e.Node.Size,
		}
		if err := tx.PutBinding(&b); err != nil {
			return err
		}
		out = b.ID
		items, err := tx.OpenItemsOf(id)
		for _, it := range items {
			if err != nil {
				return err
			}
			if it.Leg == leg {
				_, err = tx.FinishItem(it.ID, it.Updated, ItemCompleted)
			}
		}
		return err
	})
	return out
}

// work lists the open local items of a leg as "operation name", and "@never" where one waits for a close.
func (x *indexTest) work(leg LegID) []string {
	x.t.Helper()
	var out []string
	x.look(func(tx *Tx) error {
		items, err := tx.ItemsPage(leg, OriginLocal, 0, 1000, 0)
		for _, it := range items {
			s := []string{"", "create", "update", "delete", "move"}[it.Operation] + " " + it.Name
			if it.Eligible == Never {
				s += "@never"
			}
			out = append(out, s)
		}
		return err
	})
	return out
}

func (x *indexTest) wantWork(leg LegID, want ...string) {
	x.t.Helper()
	if got := x.work(leg); !slices.Equal(got, want) {
		x.t.Fatalf("open items of leg %d are %q, want %q", leg, got, want)
	}
}

func (x *indexTest) wantSound() {
	x.t.Helper()
	problems, err := x.Check(x.t.Context())
	x.no(err)
	if len(problems) > 0 {
		x.t.Fatalf("the index is broken: %v", problems)
	}
}

func TestOpenMakesAnIndexThatIsChosenRight(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	for pragma, want := range map[string]int64{"auto_vacuum": 2, "user_version": 16, "synchronous": 1} {
		var got int64
		err := x.onWriter(func(c *conn) error {
			_, err := c.one("PRAGMA "+pragma, func(r *row) { got = r.int() })
			return err
		})
		x.no(err)
		if got != want {
			t.Errorf("PRAGMA %s is %d, want %d", pragma, got, want)
		}
	}
	var mode string
	err := x.onWriter(func(c *conn) error {
		_, err := c.one("PRAGMA journal_mode", func(r *row) { mode = r.str() })
		return err
	})
	x.no(err)
	if mode != "wal" {
		t.Errorf("journal mode is %q", mode)
	}
	root, err := x.Attr(RootIno)
	x.no(err)
	if root.Kind != Dir || root.Nlink != 2 || root.UID != 7 || root.GID != 8 || root.Listing != Listed {
		t.Errorf("root is %+v", root)
	}
	if st, err := os.Stat(x.opt.Dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("state directory: %v, %v", st.Mode(), err)
	}
	x.wantSound()
}

func TestASecondOpenIsLockedOut(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	_, err := Open(t.Context(), x.opt)
	x.is(err, ErrLocked)
	x.touch(RootIno, "still-works")
}

// onWriter lends the writer's connection, which a group may be committed on meanwhile.
func (c *Cache) onWriter(f func(*conn) error) error {
	c.writer.Lock()
	defer c.writer.Unlock()
	return f(c.writer.conn)
}

func TestANewerIndexIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.touch(RootIno, "kept")
	var layout int64
	x.no(x.onWriter(func(c *conn) error {
		_, err := c.one("PRAGMA user_version", func(r *row) { layout = r.int() })
		return errors.Join(err, c.script("PRAGMA user_version = 77"))
	}))
	x.abandon()
	_, err := Open(t.Context(), x.opt)
	x.is(err, ErrNewerIndex)
	if !strings.Contains(err.Error(), "77") {
		t.Errorf("the message does not name the layout: %v", err)
	}
	conn, err := openConn(indexPath(x.opt.Dir), false)
	x.no(err)
	x.no(conn.script(fmt.Sprintf("PRAGMA user_version = %d", layout)))
	x.no(conn.close())
	x.open()
	x.lookup(RootIno, "kept")
}

func TestADamagedIndexIsRebuiltFromItsBackup(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.mkdir(RootIno, "in-backup")
	x.no(x.Backup())
	x.mkdir(RootIno, "after")
	x.touch(RootIno, "unsent")
	x.write("unsent", "hours of work")
	x.abandon()
	_, err := Rebuild(t.Context(), x.opt)
	x.is(err, ErrInvalid)

	x.no(os.WriteFile(indexPath(x.opt.Dir), []byte(strings.Repeat("not a database ", 1000)), 0o600))
	_, err = Open(t.Context(), x.opt)
	x.is(err, ErrDamaged)
	done, err := Rebuild(t.Context(), x.opt)
	x.no(err)
	if done.Backup == "" {
		t.Error("the backup was not used")
	}
	if _, err := os.Stat(done.Damaged); err != nil {
		t.Errorf("the damaged index was not kept: %v", err)
	}
	x.open()
	x.lookup(RootIno, "in-backup")
	x.gone(RootIno, "after")
	x.wantLost("hours of work")
}

// wantLost checks that lost+found holds one file, and what is in it.
func (x *indexTest) wantLost(text string) {
	x.t.Helper()
	found, err := filepath.Glob(filepath.Join(x.opt.Dir, "lost+found", "*"))
	x.no(err)
	if len(found) != 1 {
		x.t.Fatalf("lost+found holds %q", found)
	}
	if got, err := os.ReadFile(found[0]); err != nil || string(got) != text {
		x.t.Errorf("%s holds %q, %v", found[0], got, err)
	}
}

func TestADamagedIndexWithoutABackupStartsAnew(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.mkdir(RootIno, "lost")
	x.touch(RootIno, "unsent")
	x.write("unsent", "hours of work")
	x.abandon()
	x.no(os.WriteFile(indexPath(x.opt.Dir), []byte(strings.Repeat("garbage", 1000)), 0o600))
	done, err := Rebuild(t.Context(), x.opt)
	x.no(err)
	if done.Backup != "" {
		t.Errorf("restored %q from nowhere", done.Backup)
	}
	x.open()
	x.gone(RootIno, "lost")
	x.wantLost("hours of work")
	x.touch(RootIno, "goes on")
}

func TestWhatWasAcknowledgedIsThereAfterTheProcessEnds(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	d := x.mkdir(RootIno, "d")
	f := x.touch(d.Ino, "f")
	x.no(x.Rename(d.Ino, "f", RootIno, "g", 0))
	x.update(0, func(tx *Tx) error {
		items, err := tx.OpenItemsOf(f.ID)
		if err != nil {
			return err
		}
		items[0].Status = ItemProcessing
		_, err = tx.UpdateItem(&items[0])
		return err
	})
	x.abandon()
	x.open()
	if g := x.lookup(RootIno, "g"); g.ID != f.ID || g.Ino != f.Ino {
		t.Errorf("g is %+v, was %+v", g.Dentry, f.Dentry)
	}
	x.look(func(tx *Tx) error {
		items, err := tx.OpenItemsOf(f.ID)
		if err == nil && (len(items) != 1 || items[0].Status != ItemNew) {
			err = fmt.Errorf("items after a crash: %+v", items)
		}
		return err
	})
	x.wantWork(leg, "create d", "create g")
	x.wantSound()
}

func TestAFailedTransactionLeavesNothing(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	boom := errors.New("boom")
	feed := x.Feed()
	before, err := x.StatFS()
	x.no(err)
	x.is(x.Update(3, func(tx *Tx) error {
		ino, err := tx.InsertNode(Node{Kind: File})
		if err != nil {
			return err
		}
		if _, err := tx.InsertDentry(RootIno, "half", ino); err != nil {
			return err
		}
		return boom
	}), boom)
	x.gone(RootIno, "half")
	if got := feed.Next(10); len(got) > 0 {
		t.Errorf("changes of a transaction that was undone: %v", got)
	}
	if after, err := x.StatFS(); err != nil || after.Nodes != before.Nodes {
		t.Errorf("%d nodes, were %d (%v)", after.Nodes, before.Nodes, err)
	}
	x.touch(RootIno, "next")
}

func TestFeedGivesChangesInOrderAndHoldsTheSyncerBack(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	add := func(name string) error {
		return x.Update(3, func(tx *Tx) error {
			ino, err := tx.InsertNode(Node{Kind: Symlink, Target: "x"})
			if err == nil {
				_, err = tx.InsertDentry(RootIno, name, ino)
			}
			return err
		})
	}
	x.no(add("before anybody asked"))
	feed := x.Feed()
	x.touch(RootIno, "through the mount")
	x.no(add("a"))
	x.no(add("b"))
	x.no(feed.Wait(t.Context()))
	got := feed.Next(100)
	if len(got) != 2 || got[0].Name != "a" || got[1].Name != "b" || got[0].Parent != RootIno || got[0].Seq >= got[1].Seq {
		t.Fatalf("feed is %+v", got)
	}
	feed.publish(1, make([]Change, feedMax+1))
	done := make(chan error, 1)
	go func() { done <- add("c") }()
	x.touch(RootIno, "the mount is never held back")
	select {
	case err := <-done:
		t.Fatalf("the syncer was not held back (%v)", err)
	case <-time.After(20 * time.Millisecond):
	}
	feed.Next(feedMax)
	x.no(<-done)
}

func TestWatchWakesForItems(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	x.legs(RootIno, 1)
	wake, stop := x.Watch()
	defer stop()
	seq := x.Seq()
	x.mkdir(RootIno, "d")
	select {
	case <-wake:
	case <-time.After(10 * time.Second):
		t.Error("no wake-up after a commit with an item")
	}
	if x.Seq() <= seq {
		t.Error("the sequence stands still")
	}
}

func TestCloseWaitsForReadersAndRefusesAfterwards(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	inside, goOn := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- x.View(func(tx *Tx) error {
			close(inside)
			<-goOn
			_, err := tx.Node(RootIno)
			return err
		})
	}()
	<-inside
	closed := make(chan error, 1)
	go func() { closed <- x.Cache.Close() }()
	close(goOn)
	x.no(<-result)
	x.no(<-closed)
	if x.View(func(*Tx) error { return nil }) == nil || x.Update(0, func(*Tx) error { return nil }) == nil {
		t.Error("a closed cache answers")
	}
	x.open()
}

func BenchmarkCreate(b *testing.B) {
	x := newIndexTest(b)
	x.legs(RootIno, 1)
	d := x.mkdir(RootIno, "d")
	b.ResetTimer()
	for i := range b.N {
		if _, err := x.Symlink(d.Ino, fmt.Sprintf("f%09d", i), "x", Caller{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	x := newIndexTest(b)
	x.touch(RootIno, "f")
	b.ResetTimer()
	for range b.N {
		if _, err := x.Lookup(RootIno, "f"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadDirPlus(b *testing.B) {
	x := newIndexTest(b)
	for i := range 1000 {
		_, err := x.Symlink(RootIno, fmt.Sprint(i), "x", Caller{})
		x.no(err)
	}
	b.ResetTimer()
	for range b.N {
		if _, err := x.ReadDir(RootIno, 0, 1000, true); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/entry")
}
