package syncer

import (
	"testing"

	"vdfs/syncer/remote"
)

func TestAModeWithoutAnyPermissionIsSentAndTakenIn(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		want := func(p string, here, there uint32) {
			t.Helper()
			if got := r.find(p).Node.Mode & 0o777; got != here {
				t.Errorf("mode of %s is %o in the drive, want %o", p, got, here)
			}
			e, err := f.find(p)
			f.must(err)
			if e.Mode != there {
				t.Errorf("mode of %s is %o at the endpoint, want %o", p, e.Mode, there)
			}
		}
		r.settle()
		for _, p := range []string{"new", "old", "theirs"} {
			r.write(p, p)
		}
		r.mkdir("d")
		r.write("d/in", "it")
		r.chmod("new", 0)
		r.chmod("d", 0)
		r.settle()
		want("new", 0, remote.ModeNone)
		want("d", 0, 0o500) // or nobody could look into it there
		r.chmod("old", 0)
		e, err := f.find("theirs")
		f.must(err)
		none := remote.ModeNone
		_, err = f.ep.Update(t.Context(), e.ID, remote.Patch{Mode: &none}, remote.Pre{Force: true}, "")
		f.must(err)
		r.settle()
		want("old", 0, remote.ModeNone)
		want("theirs", 0, remote.ModeNone)
		r.chmod("new", 0o600)
		r.settle()
		want("new", 0o600, 0o600)
		want("d", 0, 0o500)
	})
}
