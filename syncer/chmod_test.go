package syncer

import (
	"strings"
	"testing"
	"time"

	"vdfs/syncer/remote"
)

// TestAModeChangedHereOutlivesAContentChangedThere has the drive change the mode of a file, and the endpoint its content.
func TestAModeChangedHereOutlivesAContentChangedThere(t *testing.T) {
	for _, c := range []struct {
		name   string
		here   func(t *testing.T, r *rig) // what the drive does besides
		parted bool                       // the drive's version is kept beside the endpoint's
	}{
		{name: "at rest", here: func(*testing.T, *rig) {}},
		{name: "read by a program", here: func(t *testing.T, r *rig) {
			r.read("f")
			f, err := r.c.OpenFile(r.find("f").Ino, false)
			r.must(err)
			t.Cleanup(func() { r.must(f.Close()) })
		}},
		{name: "edited", here: func(_ *testing.T, r *rig) { r.write("f", "edited here") }, parted: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				f.write("f", "v0")
				r.settle()
				c.here(t, r)
				r.chmod("f", 0o755)
				f.write("f", "changed there")
				r.settle()
				names := 0
				for p := range r.agree() {
					names++
					e, err := f.find(p)
					r.must(err)
					if here := r.find(p).Node.Mode & 0o777; here != 0o755 || e.Mode != 0o755 {
						t.Errorf("%s has mode %o here and %o there, want 755", p, here, e.Mode)
					}
				}
				if parted := names == 2; parted != c.parted {
					t.Errorf("%d files came of one; parted: %v", names, c.parted)
				}
				if got := r.read("f"); !strings.Contains(got, "there") {
					t.Errorf("f has %q", got)
				}
			})
		})
	}
}

// patch changes attributes of an object at the endpoint.
func (f *far) patch(p string, a remote.Patch) {
	f.t.Helper()
	e, err := f.find(p)
	f.must(err)
	_, err = f.ep.Update(f.t.Context(), e.ID, a, remote.Pre{Force: true}, "")
	f.must(err)
}

// TestAnAttributeChangedHereOutlivesAnotherChangedThere has the drive change the mode or the time of a file, and the endpoint
// the other one.
func TestAnAttributeChangedHereOutlivesAnotherChangedThere(t *testing.T) {
	mode, when := uint32(0o744), time.Unix(0, 1e18) // what rig.touch gives
	for _, c := range []struct {
		name  string
		here  func(r *rig)
		there remote.Patch
	}{
		{"a mode here, a time there", func(r *rig) { r.chmod("f", mode) }, remote.Patch{Mtime: &when}},
		{"a time here, a mode there", func(r *rig) { r.touch("f") }, remote.Patch{Mode: &mode}},
		{"the same bytes again here, a mode there", func(r *rig) {
			r.write("f", "v0")
			r.touch("f")
		}, remote.Patch{Mode: &mode}},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				r.settle()
				r.write("f", "v0")
				r.settle()
				c.here(r)
				f.patch("f", c.there)
				r.settle()
				n := r.find("f").Node
				e, err := f.find("f")
				r.must(err)
				if n.Mode&0o777 != mode || e.Mode != mode {
					t.Errorf("it has the mode %o here and %o there, want %o", n.Mode&0o777, e.Mode, mode)
				}
				if !time.Unix(0, n.Mtime).Equal(when) || !e.Mtime.Equal(when) {
					t.Errorf("it has the time %v here and %v there, want %v", time.Unix(0, n.Mtime), e.Mtime, when)
				}
			})
		})
	}
}
