package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// openItems and closedItems are the states that an item can be in.
var (
	openItems   = []ItemStatus{ItemNew, ItemValidated, ItemProcessing, ItemConflicted, ItemError}
	closedItems = []ItemStatus{ItemCompleted, ItemCancelled}
)

// itemsIn puts an item of every state on a leg, of each side, whose names begin with a word.
func (x *indexTest) itemsIn(leg LegID, word string) {
	x.t.Helper()
	x.update(0, func(tx *Tx) error {
		for _, s := range slices.Concat(openItems, closedItems) {
			name := fmt.Sprint(word, " ", s)
			if err := tx.MarkRemote(leg, name, name+" remote", OpUpdate); err != nil {
				return err
			}
			ino, err := tx.InsertNode(Node{Kind: Symlink, Target: "t"})
			if err == nil {
				_, err = tx.InsertDentry(RootIno, name+" local", ino)
			}
			if err == nil {
				err = tx.exec("UPDATE items SET status = ? WHERE name IN (?, ?)", s, blob(name+" remote"), blob(name+" local"))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// itemNames lists items as a filter chooses them.
func (x *indexTest) itemNames(f ItemFilter) (names []string) {
	x.t.Helper()
	x.look(func(tx *Tx) error {
		items, err := tx.ListItems(f)
		for _, it := range items {
			names = append(names, it.Name)
		}
		return err
	})
	slices.Sort(names)
	return names
}

// named are the names that itemsIn gives.
func named(word string, states []ItemStatus, sides ...string) (out []string) {
	for _, s := range states {
		for _, side := range sides {
			out = append(out, fmt.Sprint(word, " ", s, " ", side))
		}
	}
	slices.Sort(out)
	return out
}

// TestClosedItemsGoByAgeAndOpenOnesNever lets items of every state grow old.
func TestClosedItemsGoByAgeAndOpenOnesNever(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	now := time.Unix(1_000_000, 0)
	x.Cache.opt.Clock = func() time.Time { return now }
	leg := x.legs(RootIno, 1)[0]
	x.itemsIn(leg, "old")
	now = now.Add(closedKept + time.Second)
	x.itemsIn(leg, "young")
	x.no(x.purge(context.Background()))
	sides := []string{"local", "remote"}
	want := slices.Concat(named("old", openItems, sides...), named("young", openItems, sides...), named("young", closedItems, sides...))
	slices.Sort(want)
	if got := x.itemNames(ItemFilter{Closed: true}); !slices.Equal(got, want) {
		t.Errorf("left are %q\nwant %q", got, want)
	}
	now = now.Add(100 * closedKept)
	x.no(x.purge(context.Background()))
	want = slices.Concat(named("old", openItems, sides...), named("young", openItems, sides...))
	slices.Sort(want)
	if got := x.itemNames(ItemFilter{Closed: true}); !slices.Equal(got, want) {
		t.Errorf("in the end there are %q\nwant %q", got, want)
	}
}

func TestItemsAreFoundBySideAndState(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	legs := x.legs(RootIno, 2)
	x.itemsIn(legs[0], "a")
	both := []string{"local", "remote"}
	for name, tc := range map[string]struct {
		filter ItemFilter
		want   []string
	}{
		"those of the drive":      {ItemFilter{Leg: legs[0], Origin: OriginLocal}, named("a", openItems, "local")},
		"those of the endpoint":   {ItemFilter{Leg: legs[0], Origin: OriginRemote}, named("a", openItems, "remote")},
		"what is open":            {ItemFilter{Leg: legs[0]}, named("a", openItems, both...)},
		"what is closed, too":     {ItemFilter{Leg: legs[0], Closed: true}, named("a", slices.Concat(openItems, closedItems), both...)},
		"what failed":             {ItemFilter{Leg: legs[0], Errors: true}, named("a", []ItemStatus{ItemError}, both...)},
		"what was given up":       {ItemFilter{Leg: legs[0], Status: ItemCancelled}, named("a", []ItemStatus{ItemCancelled}, both...)},
		"of an endpoint only":     {ItemFilter{Leg: legs[1], Origin: OriginRemote}, nil},
		"a page of one, the next": {ItemFilter{Leg: legs[0], Origin: OriginRemote, Limit: 1}, named("a", openItems[:1], "remote")},
	} {
		if got := x.itemNames(tc.filter); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	x.look(func(tx *Tx) error {
		for _, o := range []Origin{OriginLocal, OriginRemote} {
			var got []ItemStatus
			for after, more := int64(0), true; more; {
				next, err := tx.ItemsPage(legs[0], o, after, 1, 0) // the next that is not processed
				if err != nil {
					return err
				}
				if more = len(next) == 1; more {
					after, got = next[0].ID, append(got, next[0].Status)
				}
			}
			if !slices.Equal(got, openItems) {
				t.Errorf("one after the other of side %d they are %v", o, got)
			}
		}
		return nil
	})
}

func TestAnItemIsProcessedFromTheAnnouncementOfItsWriteOn(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	x.mkdir(RootIno, "d")
	is := func(when string, want ItemStatus) {
		t.Helper()
		if got := x.items(leg); len(got) != 1 || got[0].Status != want {
			t.Fatalf("%s: %+v, want state %d", when, got, want)
		}
	}
	it := x.items(leg)[0]
	is("when it was made", ItemNew)
	announce := func() { x.update(leg, func(tx *Tx) error { return tx.Announce(leg, it.ID, []byte("op")) }) }
	announce()
	is("when its write was announced", ItemProcessing)
	x.update(leg, func(tx *Tx) error { return tx.Settled(leg, it.ID) })
	is("when it has more to do", ItemNew)
	announce()
	x.update(leg, func(tx *Tx) error { return tx.Requeue(it.ID) })
	is("when its write was broken off", ItemNew)
	announce()
	x.chmod("d", 0o700)
	is("when it was marked meanwhile", ItemNew)
	announce()
	x.abandon()
	x.open()
	is("after a restart", ItemNew)
	announce()
	x.update(leg, func(tx *Tx) error {
		now, _, err := tx.Item(it.ID)
		if err == nil {
			_, err = tx.FinishItem(it.ID, now.Updated, ItemCompleted)
		}
		return errors.Join(err, tx.Settled(leg, it.ID))
	})
	if got := x.items(leg); len(got) != 0 {
		t.Errorf("what is done is open: %+v", got)
	}
}

func TestAClosedItemStaysClosed(t *testing.T) {
	t.Parallel()
	x := newIndexTest(t)
	leg := x.legs(RootIno, 1)[0]
	x.mkdir(RootIno, "d")
	for i, end := range closedItems {
		x.chmod("d", 0o700+uint32(i))
		it := x.items(leg)[0]
		x.update(leg, func(tx *Tx) error {
			ok, err := tx.FinishItem(it.ID, it.Updated, end)
			if err == nil && !ok {
				err = errors.New("it was not closed")
			}
			return err
		})
		x.update(leg, func(tx *Tx) error {
			now, _, err := tx.Item(it.ID)
			if err != nil {
				return err
			}
			now.Status = ItemNew
			ok, err := tx.UpdateItem(&now)
			again, err2 := tx.FinishItem(now.ID, now.Updated, ItemCompleted)
			if ok || again {
				t.Errorf("an item in state %d was opened: %v, closed again: %v", end, ok, again)
			}
			return errors.Join(err, err2, tx.Announce(leg, it.ID, []byte("op")), tx.Settled(leg, it.ID))
		})
		x.wantWork(leg)
		if now := x.byID(it.ID); now.Status != end {
			t.Errorf("it is %+v, was closed in state %d", now, end)
		}
	}
}

// byID reads an item.
func (x *indexTest) byID(id int64) (it Item) {
	x.t.Helper()
	x.look(func(tx *Tx) (err error) {
		it, _, err = tx.Item(id)
		return err
	})
	return it
}
