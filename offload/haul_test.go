package offload

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"vdfs/cache"
)

// small makes files that share a haul.
func (d *drive) small(parent cache.Ino, n int) (all []cache.Entry) {
	for i := range n {
		all = append(all, d.remote(parent, fmt.Sprint("f", i), pattern(100+i)))
	}
	return all
}

// TestOfAHaulWhatIsNotWantedAnyMoreIsNotBegun excludes files while the first of them is on its way.
func TestOfAHaulWhatIsNotWantedAnyMoreIsNotBegun(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Parallel: 2, Background: 1})
	first := d.remote(cache.RootIno, "first", pattern(50))
	dir := d.linked(d.mkdir(cache.RootIno, "dir"))
	all := d.small(dir.Ino, 10)
	last := d.remote(cache.RootIno, "last", pattern(50))
	d.ok(d.m.Fetch(context.Background(), first.ID))
	d.ok(d.m.Fetch(context.Background(), dir.ID))
	d.ok(d.m.Fetch(context.Background(), last.ID))
	d.s.gate = make(chan struct{})
	d.run()
	d.eventually("the first is fetched", func() bool { return len(d.s.fetched()) == 1 })
	_, err := d.m.Exclude(context.Background(), dir.ID)
	d.ok(err)
	close(d.s.gate)
	d.eventually("what was not excluded is here", func() bool {
		return d.node(first.Ino).Residency == cache.Full && d.node(last.Ino).Residency == cache.Full
	})
	d.eventually("nothing is queued", func() bool { return d.queued() == 0 })
	for _, e := range all {
		if r := d.node(e.Ino).Residency; r != cache.None {
			t.Errorf("%s, which was excluded before its turn, is here: %v", e.Name, r)
		}
	}
}

// TestWhatBecomesMoreUrgentLeavesItsHaul asks for the last of many pinned files while the first is on its way.
func TestWhatBecomesMoreUrgentLeavesItsHaul(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Parallel: 4, Background: 1})
	dir := d.mkdir(cache.RootIno, "dir")
	all := d.small(dir.Ino, 12)
	d.s.gate = make(chan struct{})
	d.pin(dir.ID)
	d.eventually("all are queued", func() bool { return d.queued() == int64(len(all)) })
	d.run()
	d.eventually("the first is fetched", func() bool { return len(d.s.fetched()) == 1 })
	urgent := all[len(all)-1]
	d.ok(d.m.Fetch(context.Background(), urgent.ID))
	d.eventually("it is begun", func() bool { return d.m.Hydrating(urgent.Ino) })
	close(d.s.gate)
	d.eventually("all are here", func() bool {
		return !slices.ContainsFunc(all, func(e cache.Entry) bool { return d.node(e.Ino).Residency != cache.Full })
	})
	d.eventually("nothing is queued", func() bool { return d.queued() == 0 })
	if n := len(d.s.fetched()); n != len(all) {
		t.Errorf("%d files took %d fetches", len(all), n)
	}
}

// TestEachOfAHaulThatFailsIsTriedAgainByItself damages one of many files.
func TestEachOfAHaulThatFailsIsTriedAgainByItself(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{Background: 1})
	dir := d.mkdir(cache.RootIno, "dir")
	all := d.small(dir.Ino, 12)
	bad := all[4]
	d.s.lost = bad.Ino
	d.pin(dir.ID)
	d.run()
	d.eventually("all others are here", func() bool {
		return !slices.ContainsFunc(all, func(e cache.Entry) bool { return e.Ino != bad.Ino && d.node(e.Ino).Residency != cache.Full })
	})
	d.eventually("only that one is queued, with its error", func() bool {
		var row cache.Transfer
		d.ok(d.c.View(func(tx *cache.Tx) (err error) {
			row, _, err = tx.TransferOf(bad.Ino, 0, false)
			return err
		}))
		return d.queued() == 1 && row.Tries > 0 && row.Error != ""
	})
}
