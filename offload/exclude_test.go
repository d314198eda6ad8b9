package offload

import (
	"context"
	"errors"
	"strings"
	"testing"

	"vdfs/cache"
)

// linked binds a directory, as when the endpoint had it.
func (d *drive) linked(e cache.Entry) cache.Entry {
	d.Helper()
	d.update(func(tx *cache.Tx) error {
		return errors.Join(tx.DeleteAllItems(d.leg), tx.PutBinding(&cache.Binding{
			Leg: d.leg, Dentry: e.ID, RemoteID: "r" + e.Name, RemoteName: e.Name, Kind: cache.Dir, LocalParent: cache.RootDentry, LocalName: e.Name,
		}))
	})
	return e
}

func TestExcludeHidesWhatTheEndpointKeepsAndDropsIt(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	keep := d.linked(d.mkdir(cache.RootIno, "keep"))
	dir := d.linked(d.mkdir(keep.Ino, "dir"))
	e := d.remote(dir.Ino, "f", pattern(300))
	late := d.remote(dir.Ino, "late", pattern(30))
	d.full(e)
	d.pin(keep.ID)
	r, err := d.m.Exclude(context.Background(), dir.ID)
	d.ok(err)
	if r.Files != 1 || r.Freed != 300 || len(r.Skipped) != 0 {
		t.Errorf("%d files, %d bytes, skipped %v", r.Files, r.Freed, r.Skipped)
	}
	d.run()
	d.has("hidden below a pin", late, cache.None)
	if _, err := d.c.Lookup(keep.Ino, "dir"); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("it is still shown: %v", err)
	}
	if s, err := d.m.Describe(e.ID); err != nil || s.Word() != WordExcluded {
		t.Errorf("%+v, %v", s, err)
	}
	d.ok(d.m.Fetch(context.Background(), cache.RootDentry))
	d.has("fetched with all the rest", e, cache.None)
	d.unpin(dir.ID)
	if _, err := d.c.Lookup(keep.Ino, "dir"); err != nil {
		t.Errorf("it is not shown again: %v", err)
	}
	d.has("shown again below a pin", e, cache.Full)
}

func TestExcludeEndsWhatWasToBeFetched(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Options{})
	dir := d.linked(d.mkdir(cache.RootIno, "dir"))
	e, other := d.remote(dir.Ino, "f", pattern(300)), d.remote(cache.RootIno, "other", pattern(300))
	d.ok(d.m.Fetch(context.Background(), dir.ID, other.ID))
	_, err := d.m.Exclude(context.Background(), dir.ID)
	d.ok(err)
	d.run()
	d.has("excluded before it came", e, cache.None)
	d.has("shown", other, cache.Full)
}

func TestExcludeRefusesWhatIsNotWhollyAtTheEndpoint(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(d *drive, dir, f cache.Entry)
		want  string
	}{
		"changed": {func(d *drive, _, f cache.Entry) {
			w, err := d.c.OpenFile(f.Ino, true)
			d.ok(err)
			_, err = w.WriteAt([]byte("x"), 0)
			d.ok(errors.Join(err, w.Close()))
		}, "/dir/f has changes that are not sent yet"},
		"open for writing": {func(d *drive, _, f cache.Entry) {
			w, err := d.c.OpenFile(f.Ino, true)
			d.ok(err)
			d.Cleanup(func() { d.ok(w.Close()) })
		}, "/dir/f is open for writing"},
		"moved": {func(d *drive, dir, _ cache.Entry) {
			d.ok(d.c.Rename(dir.Ino, "f", dir.Ino, "g", 0))
		}, "/dir/g has changes that are not sent yet"},
		"new": {func(d *drive, dir, _ cache.Entry) {
			d.mkdir(dir.Ino, "new")
			d.update(func(tx *cache.Tx) error { return tx.DeleteAllItems(d.leg) })
		}, "/dir/new no endpoint has it"},
		"pinned by itself": {func(d *drive, _, f cache.Entry) { d.pin(f.ID) }, "/dir/f is pinned by itself"},
		"itself changed": {func(d *drive, dir, _ cache.Entry) {
			d.ok(d.c.Rename(cache.RootIno, "dir", cache.RootIno, "other", 0))
		}, "/other has changes that are not sent yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDrive(t, Options{})
			dir := d.linked(d.mkdir(cache.RootIno, "dir"))
			f := d.remote(dir.Ino, "f", pattern(300))
			d.full(f)
			tc.spoil(d, dir, f)
			_, err := d.m.Exclude(context.Background(), dir.ID)
			var kept *KeptError
			if !errors.As(err, &kept) || !strings.HasPrefix(kept.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if s, err := d.m.Describe(dir.ID); err != nil || s.Intent != cache.Inherited || d.node(f.Ino).Residency != cache.Full {
				t.Errorf("after the refusal: %+v, %v", s, err)
			}
		})
	}
}
