package syncer

import (
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
)

// TestTimesThatNoClockShows gives files times from before 1970, of its very beginning and of a century to come, on either side.
func TestTimesThatNoClockShows(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(-1_000_000_000, 0), time.Unix(0, -1), time.Unix(4_000_000_000, 0)} {
		t.Run(at.UTC().String(), func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				ns := at.UnixNano()
				here := func(p string) {
					_, err := r.c.SetAttr(r.find(p).Ino, cache.Attrs{Mtime: &ns})
					r.must(err)
				}
				there := func(p string) {
					e, err := f.find(p)
					r.must(err)
					_, err = f.ep.Update(t.Context(), e.ID, remote.Patch{Mtime: &at}, remote.Pre{Force: true}, "")
					r.must(err)
				}
				r.write("sent", "1")
				f.write("seen", "1")
				r.settle()
				r.write("new here", "1")
				f.write("new there", "1")
				here("sent")
				here("new here")
				there("seen")
				there("new there")
				r.settle()
				f.write("seen", "2")
				there("seen")
				r.settle()
				for _, p := range []string{"sent", "seen", "new here", "new there"} {
					e, err := f.find(p)
					r.must(err)
					if now := r.find(p).Node.Mtime; now != ns || !e.Mtime.Equal(at) {
						t.Errorf("%s is of %v here and of %v there", p, time.Unix(0, now).UTC(), e.Mtime)
					}
				}
			})
		})
	}
}
