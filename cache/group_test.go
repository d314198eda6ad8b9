package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKilledWhileTransactionsAreRepeated kills a process that had acknowledged and not committed, and then the one that repeats
// what the log has, at each of its points.
func TestKilledWhileTransactionsAreRepeated(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, point := range []string{faultRepeated, faultRepeatDone} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			for range 20 { // a group may have been committed right before the kill
				dir := t.TempDir()
				acked, killed := crashRun(t, dir, faultSettle+":1")
				if !killed {
					t.Fatal("the workload never passes the point before")
				}
				again, killed := crashRun(t, dir, point+":1")
				if len(again) > 0 && killed {
					t.Fatal("killed after the start")
				}
				crashCheck(t, dir, acked)
				if killed {
					return
				}
			}
			t.Fatal("there was never anything to repeat")
		})
	}
}

// uncommitted makes files in a cache and abandons it. It returns the directory and the names in the order in which they were made, and
// tells how many of them only the redo log has, as far as that is up to it: on a slow machine a group may commit earlier.
func uncommitted(t *testing.T, files int) (dir string, names []string) {
	t.Helper()
	dir = t.TempDir()
	c := openContents(t, dir)
	for i := range files {
		names = append(names, fmt.Sprintf("f%02d", i))
		if _, err := c.Mkdir(RootIno, names[i], 0o755, Caller{}); err != nil {
			t.Fatal(err)
		}
	}
	abandon(t, c)
	return dir, names
}

// TestATornRedoLogGivesAPrefix cuts the log anywhere, or spoils it: what is repeated is what was done, up to there.
func TestATornRedoLogGivesAPrefix(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir, names := uncommitted(t, 20)
	log, err := os.ReadFile(redoPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		torn := slices.Clone(log)
		at := rnd.IntN(len(torn) + 1)
		if rnd.IntN(2) == 0 || at == len(torn) {
			torn = torn[:at]
		} else {
			torn[at] ^= byte(1 + rnd.IntN(255))
		}
		other := t.TempDir()
		for _, name := range []string{"index.db", "index.db-wal"} {
			if err := copyFile(filepath.Join(other, name), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(redoPath(other), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		c := openContents(t, other)
		have := rootNames(t, c)
		if len(have) > len(names) || !slices.Equal(have, names[:len(have)]) {
			t.Fatalf("cut at %d of %d: %v", at, len(log), have)
		}
		if at == len(log) && len(have) != len(names) {
			t.Fatalf("of a whole log only %d of %d were repeated", len(have), len(names))
		}
		problems(t, c)
		closeIt(t, c)
	}
}

func rootNames(t *testing.T, c *Cache) (names []string) {
	t.Helper()
	entries, err := c.ReadDir(RootIno, 0, 1000, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

// wantNames demands that the drive has exactly these names at the top, in the order in which they were made.
func wantNames(t *testing.T, c *Cache, names []string) {
	t.Helper()
	if have := rootNames(t, c); !slices.Equal(have, names) {
		t.Fatalf("have %v, want %v", have, names)
	}
}

func problems(t *testing.T, c *Cache) {
	t.Helper()
	found, err := c.Check(context.Background())
	if err != nil || len(found) > 0 {
		t.Fatalf("%v, %v", found, err)
	}
}

// TestARedoLogOfAnotherTimeIsNotRepeated puts a log beside an index that it does not follow.
func TestARedoLogOfAnotherTimeIsNotRepeated(t *testing.T) {
	t.Parallel()
	dir, names := uncommitted(t, 10)
	old, err := os.ReadFile(redoPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		c := openContents(t, dir)
		wantNames(t, c, names)
		name := fmt.Sprintf("later%d", round)
		if _, err := c.Mkdir(RootIno, name, 0o755, Caller{}); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		closeIt(t, c)
		if err := os.WriteFile(redoPath(dir), old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Nor beside one that is older than what the log begins with.
	other := t.TempDir()
	c := openContents(t, other)
	closeIt(t, c)
	index, err := os.ReadFile(indexPath(other))
	if err != nil {
		t.Fatal(err)
	}
	c = openContents(t, other)
	for i := range 3 { // each its own group
		if _, err := c.Mkdir(RootIno, fmt.Sprint(i), 0o755, Caller{}); err != nil {
			t.Fatal(err)
		}
		if err := c.settleGroup(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Mkdir(RootIno, "last", 0o755, Caller{}); err != nil {
		t.Fatal(err)
	}
	abandon(t, c)
	third := t.TempDir()
	if err := errors.Join(os.WriteFile(indexPath(third), index, 0o600), copyFile(redoPath(third), redoPath(other))); err != nil {
		t.Fatal(err)
	}
	c = openContents(t, third)
	if have := rootNames(t, c); len(have) > 0 {
		t.Fatalf("an older index got %v", have)
	}
}

// TestAGroupThatSQLiteUndoesIsMadeAgain takes the open transaction away behind the cache's back, as SQLite does when it has no
// room for a commit.
func TestAGroupThatSQLiteUndoesIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	var names []string
	for i := range 50 {
		name := fmt.Sprintf("f%02d", i)
		makeFile(t, c, name, name)
		names = append(names, name)
		c.writer.Lock()
		if i%3 == 0 {
			if err := errors.Join(c.rollback(), c.remakeGroup(nil)); err != nil {
				t.Error(err)
			}
		}
		if i%10 == 0 {
			if err := c.commitGroup(); err != nil {
				t.Error(err)
			}
		}
		c.writer.Unlock()
		wantNames(t, c, names)
	}
	problems(t, c)
	abandon(t, c)
	c = openContents(t, dir)
	wantNames(t, c, names)
	problems(t, c)
}

// TestAnErrorInAGroupUndoesItsTransactionOnly: of what shares a commit only the one that failed is undone.
func TestAnErrorInAGroupUndoesItsTransactionOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	var names []string
	for i := range 100 {
		name := fmt.Sprintf("f%03d", i)
		err := c.update(0, true, func(tx *Tx) error {
			_, err := tx.create(RootIno, name, Node{Kind: Dir, Mode: 0o755, Listing: Listed}, Caller{})
			if i%2 == 1 {
				err = errors.Join(err, ErrBusy)
			}
			return err
		})
		if i%2 == 1 {
			wantErr(t, err, ErrBusy)
		} else if names = append(names, name); err != nil {
			t.Fatal(err)
		}
	}
	wantNames(t, c, names)
	abandon(t, c)
	c = openContents(t, dir)
	wantNames(t, c, names)
}

// TestWhatIsAcknowledgedIsSeenByEveryReader asks in every way that there is, right after each change.
func TestWhatIsAcknowledgedIsSeenByEveryReader(t *testing.T) {
	t.Parallel()
	c := openContents(t, t.TempDir())
	for i := range 200 {
		name := fmt.Sprint(i)
		e, err := c.Mkdir(RootIno, name, 0o755, Caller{})
		if err != nil {
			t.Fatal(err)
		}
		see := func(tx *Tx) error {
			d, ok, err := tx.DentryAt(RootIno, name)
			if err == nil && (!ok || d.ID != e.ID) {
				err = fmt.Errorf("%q is not there", name)
			}
			return err
		}
		asks := []func() error{
			func() error { return c.View(see) }, func() error { return c.Survey(see) }, func() error { return c.Update(0, see) },
			func() error { _, err := c.Lookup(RootIno, name); return err }, func() error { _, err := c.Attr(e.Ino); return err },
		}
		if err := asks[i%len(asks)](); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSyncedIndexNeedsNoRedoLog: what fsync promised must not depend on a file that nobody synced.
func TestSyncedIndexNeedsNoRedoLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	makeFile(t, c, "synced", "bytes")
	if err := c.SyncIndex(); err != nil {
		t.Fatal(err)
	}
	abandon(t, c)
	if err := os.Remove(redoPath(dir)); err != nil {
		t.Fatal(err)
	}
	c = openContents(t, dir)
	if have := rootNames(t, c); strings.Join(have, " ") != "synced" {
		t.Fatalf("have %v", have)
	}
}

// TestARedoLogThatCannotBeRepeatedStays: an Open that fails must not take the only record of what was acknowledged with it.
func TestARedoLogThatCannotBeRepeatedStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openContents(t, dir)
	if err := c.settleGroup(); err != nil {
		t.Fatal(err)
	}
	c.writer.Lock()
	record, err := appendStatement(nil, "INSERT INTO no_such_table VALUES(1)", nil)
	if err == nil {
		err = c.writer.group.log.append(record)
	}
	c.writer.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	abandon(t, c)
	before, err := os.ReadFile(redoPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Options{Dir: dir}); err == nil {
		t.Fatal("a log that cannot be repeated was taken for repeated")
	}
	after, err := os.ReadFile(redoPath(dir))
	if err != nil || !slices.Equal(before, after) {
		t.Fatalf("the log was changed: %d bytes, %v", len(after), err)
	}
}
