package paced_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/bounded"
	"vdfs/syncer/remote/memory"
	"vdfs/syncer/remote/paced"
)

const mib = 1 << 20

// bench is an endpoint at the rates of a conduit, in workers, in a bubble whose clock jumps on whenever everybody waits.
func bench(t *testing.T, rate int64, run func(t *testing.T, ep remote.Endpoint, root remote.ItemID, r *paced.Rates)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r paced.Rates
		r.Set(rate)
		ep, err := bounded.NewPool().Open(t.Context(), func(context.Context) (remote.Endpoint, error) {
			return paced.Wrap(memory.New(memory.Options{}).Open(), &r), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		st, err := ep.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		run(t, ep, st.Root, &r)
	})
}

func upload(root remote.ItemID, name string, size int) *remote.Upload {
	return &remote.Upload{Parent: root, Name: name, Size: int64(size), Body: bytes.NewReader(make([]byte, size))}
}

// lasts checks how long something takes that moves so many seconds' worth of bytes.
func lasts(t *testing.T, what string, want time.Duration, do func() error) {
	t.Helper()
	began := time.Now()
	if err := do(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if took := time.Since(began); took < want*95/100-time.Second/4 || took > want*105/100 {
		t.Errorf("%s took %v, want %v", what, took, want)
	}
}

func read(t *testing.T, ep remote.Endpoint, id remote.ItemID) error {
	body, err := ep.Read(t.Context(), id, "", 0, -1)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	return body.Close()
}

// TestContentsComeAndGoAtTheRate also has every wait be longer than the patience with a call that shows no progress.
func TestContentsComeAndGoAtTheRate(t *testing.T) {
	bench(t, mib, func(t *testing.T, ep remote.Endpoint, root remote.ItemID, _ *paced.Rates) {
		var id remote.ItemID
		lasts(t, "a put", 40*time.Second, func() error {
			e, err := ep.Put(t.Context(), upload(root, "f", 40*mib))
			id = e.ID
			return err
		})
		lasts(t, "a read", 40*time.Second, func() error { return read(t, ep, id) })
		lasts(t, "puts together", 8*time.Second, func() error {
			for _, s := range ep.(remote.Gatherer).PutAll(t.Context(), []*remote.Upload{upload(root, "g", 4*mib), upload(root, "h", 4*mib)}) {
				if s.Err != nil {
					return s.Err
				}
			}
			return nil
		})
		lasts(t, "other calls", 0, func() error {
			_, _, err := ep.List(t.Context(), root, "")
			return err
		})
	})
}

func TestTransfersShareTheRateAndEachDirectionHasItsOwn(t *testing.T) {
	bench(t, 0, func(t *testing.T, ep remote.Endpoint, root remote.ItemID, r *paced.Rates) {
		var id remote.ItemID
		lasts(t, "a put without a limit", 0, func() error {
			e, err := ep.Put(t.Context(), upload(root, "f", 20*mib))
			id = e.ID
			return err
		})
		r.Set(mib)
		lasts(t, "all of them", 60*time.Second, func() error {
			errs := make(chan error, 6)
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() { errs <- read(t, ep, id) })
				all.Go(func() {
					_, err := ep.Put(t.Context(), upload(root, string(rune('a'+i)), 20*mib))
					errs <- err
				})
			}
			all.Wait()
			for range 6 {
				if err := <-errs; err != nil {
					return err
				}
			}
			return nil
		})
	})
}
