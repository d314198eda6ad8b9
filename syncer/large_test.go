package syncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/memory"
)

// TestLargeListingIsTakenInByParts cuts the taking in of many new and of many lost files after its first transaction: that has
// a bounded part of them, and the next look brings the rest.
func TestLargeListingIsTakenInByParts(t *testing.T) {
	t.Parallel()
	const files = 3*batchSize + 7
	s := memory.New(flavours()[1].opts())
	r := newRig(t, s)
	r.must(s.WriteFile("d/sub/kept", []byte("kept")))
	r.settle()
	l := r.legs()[0]
	ep, err := l.online(t.Context())
	r.must(err)
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	record := func(ctx context.Context, path string) error {
		var c *comparison
		var id string
		r.must(r.c.View(func(tx *cache.Tx) (err error) {
			id, err = l.lookupDir(tx, remote.ItemID("p:"+path))
			return err
		}))
		entries, err := listAll(t.Context(), ep, remote.ItemID("p:"+path))
		r.must(err)
		r.must(r.c.View(func(tx *cache.Tx) (err error) {
			c, err = l.compare(tx, id, entries, false)
			return err
		}))
		_, err = l.recordListing(ctx, id, c)
		return err
	}
	observed := func(gone bool) (n int) {
		r.must(r.c.View(func(tx *cache.Tx) error {
			rows, err := tx.ObservedPage(l.id, "", 10*files)
			for _, o := range rows {
				if o.Gone == gone {
					n++
				}
			}
			return err
		}))
		return n
	}

	for i := range files {
		r.must(s.WriteFile(fmt.Sprintf("d/sub/f%03d", i), nil))
	}
	if err := record(cut, "d/sub"); !errors.Is(err, context.Canceled) || observed(false) != batchSize {
		t.Errorf("%d of %d new files in the first transaction, then %v", observed(false), files, err)
	}
	r.settle()
	if got, want := r.tree(), s.Tree(); !maps.Equal(got, want) || len(want) != files+3 {
		t.Errorf("the drive has %d names, the endpoint %d", len(got), len(want))
	}

	r.far(0).remove("d")
	if err := record(cut, ""); !errors.Is(err, context.Canceled) || observed(true) != batchSize {
		t.Errorf("%d of %d lost files in the first transaction, then %v", observed(true), files, err)
	}
	r.must(record(t.Context(), ""))
	if observed(true) != files+3 {
		t.Errorf("%d of %d objects are gone", observed(true), files+3)
	}
}
