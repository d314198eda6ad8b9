package syncer

import (
	"maps"
	"slices"
	"testing"
	"time"

	"vdfs/cache"
)

// openLong has a program write to a file and keep it open, until a copy of it can be sent.
func (r *rig) openLong(o *cache.OpenFile, text string) {
	r.t.Helper()
	_, err := o.WriteAt([]byte(text), 0)
	r.must(err)
	r.advance(time.Hour)
	r.must(r.c.CopyOpen(r.t.Context()))
}

// TestAFileThatStaysOpenIsSentAsItWas: what a program keeps open goes to the endpoint all the same, again and again, the rest of
// it when it is closed, and never bytes of two moments.
func TestAFileThatStaysOpenIsSentAsItWas(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		f.write("old", "what there was")
		r.settle()
		r.read("old")
		old, err := r.c.OpenFile(r.find("old").Ino, true)
		r.must(err)
		_, fresh, err := r.c.Create(cache.RootIno, "new", 0o644, nobody)
		r.must(err)
		cycles := func() {
			t.Helper()
			for range 3 {
				r.must(r.cycle(l))
			}
		}
		there := func(when string, want map[string]string) {
			t.Helper()
			if got := r.stores[0].Tree(); !maps.Equal(got, want) {
				t.Fatalf("%s the endpoint has %q, want %q", when, got, want)
			}
		}
		_, err = fresh.WriteAt([]byte("written"), 0)
		r.must(err)
		cycles()
		there("before it was open for long", map[string]string{"old": "what there was"})

		r.openLong(old, "WHAT")
		_, err = fresh.WriteAt([]byte("later"), 0)
		r.must(err)
		cycles()
		there("when they were open for long", map[string]string{"old": "WHAT there was", "new": "written"})
		r.openLong(old, "that")
		cycles()
		there("an hour later", map[string]string{"old": "that there was", "new": "lateren"})

		_, err = old.WriteAt([]byte("LAST"), 0)
		r.must(err)
		cycles()
		there("soon after", map[string]string{"old": "that there was", "new": "lateren"})
		r.must(old.Close())
		r.must(fresh.Close())
		r.settle()
		there("when they are closed", map[string]string{"old": "LAST there was", "new": "lateren"})
		wantTree(t, r.agree(), map[string]string{"old": "LAST there was", "new": "lateren"})
	})
}

// TestAFileThatStaysOpenMeetsAChangeAtTheEndpoint: what was sent of it in between is no reason to take it for unchanged.
func TestAFileThatStaysOpenMeetsAChangeAtTheEndpoint(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		f.write("f", "base")
		r.settle()
		r.read("f")
		o, err := r.c.OpenFile(r.find("f").Ino, true)
		r.must(err)
		r.openLong(o, "mine")
		r.must(r.cycle(l))
		f.write("f", "theirs")
		_, err = o.WriteAt([]byte("MINE"), 0)
		r.must(err)
		for range 3 {
			r.must(r.cycle(l))
		}
		r.openLong(o, "Mine")
		for range 3 {
			r.must(r.cycle(l))
		}
		r.must(o.Close())
		r.settle()
		var have []string
		for _, v := range r.agree() {
			have = append(have, v)
		}
		for _, want := range []string{"theirs", "Mine"} {
			if !slices.Contains(have, want) {
				t.Errorf("%q is lost: the drive has %q", want, have)
			}
		}
	})
}
