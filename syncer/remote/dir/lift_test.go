package dir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vdfs/syncer/remote"
	"vdfs/syncer/remote/dir"
)

// ordinary makes the rest of a test that of an ordinary user, whom modes stop: for root, by the thread's identity for files.
// It returns a directory of that user's.
func ordinary(t *testing.T) string {
	t.Helper()
	base := quickDir(t)
	if os.Geteuid() != 0 {
		return base
	}
	const nobody = 65534
	must(t, os.Chown(base, nobody, nobody))
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	for _, set := range []func(int) error{unix.Setfsgid, unix.Setfsuid} {
		must(t, set(nobody))
	}
	t.Cleanup(func() {
		for _, set := range []func(int) error{unix.Setfsuid, unix.Setfsgid} {
			must(t, set(0))
		}
	})
	return base
}

// shut makes a directory of mode 0555 with a file and a directory in it.
func (p *place) shut(name string) {
	p.Helper()
	must(p, os.MkdirAll(p.at(name+"/dir"), 0o755))
	p.write(name+"/old", "old")
	must(p, os.Chmod(p.at(name), 0o555))
}

func (p *place) mode(path string, want os.FileMode) {
	p.Helper()
	st, err := os.Lstat(p.at(path))
	must(p, err)
	if st.Mode().Perm() != want {
		p.Fatalf("mode of %s is %o, want %o", path, st.Mode().Perm(), want)
	}
}

// limits are the means of changing a directory that an endpoint may have.
var limits = map[string]dir.Limit{
	"everything":                   {Exchange: true, Noreplace: true, Tmpfile: true, Hardlink: true},
	"no exchange and no temporary": {Noreplace: true, Hardlink: true},
	"links only":                   {Hardlink: true},
	"plain renames only":           {},
}

func TestADirectoryThatItsOwnerMayNotWriteIsChangedAsByCp(t *testing.T) {
	t.Parallel()
	for name, limit := range limits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := ordinary(t)
			p := &place{T: t, root: filepath.Join(base, "root"), staging: filepath.Join(base, "staging")}
			must(t, os.Mkdir(p.root, 0o755))
			var err error
			p.ep, err = dir.OpenLimited(p.root, dir.Options{Staging: p.staging}, limit)
			must(t, err)
			defer p.ep.Close()
			p.shut("d")
			p.shut("e")
			ctx := context.Background()

			_, err = p.put(&remote.Upload{Parent: "p:d", Name: "new"}, "new")
			must(t, err)
			old := p.stat("d/old")
			_, err = p.put(&remote.Upload{ID: old.ID, Pre: remote.Pre{Content: old.Content}}, "newer")
			must(t, err)
			_, err = p.ep.Mkdir(ctx, "p:d", "made", remote.Attr{Mode: 0o555}, "")
			must(t, err)
			_, err = p.ep.Mkdir(ctx, "p:d", "link", remote.Attr{Target: "to"}, "")
			must(t, err)
			must(t, os.Chmod(p.at("d/dir"), 0o555))
			to, moved := remote.ItemID("p:e"), "moved"
			_, err = p.ep.Update(ctx, "p:d/dir", remote.Patch{Parent: &to, Name: &moved}, remote.Pre{Force: true}, "")
			must(t, err)
			must(t, p.ep.Delete(ctx, "p:d/link", remote.Pre{Force: true}, ""))
			must(t, p.ep.Delete(ctx, "p:e/old", remote.Pre{Force: true}, ""))
			must(t, p.ep.Delete(ctx, "p:d/made", remote.Pre{Force: true}, ""))

			if got := strings.Join(p.list("d"), " "); got != "new old" && got != "old new" {
				t.Errorf("d holds %s", got)
			}
			if got := strings.Join(p.list("e"), " "); got != "dir moved" && got != "moved dir" {
				t.Errorf("e holds %s", got)
			}
			for path, want := range map[string]string{"d/new": "new", "d/old": "newer"} {
				if got, err := os.ReadFile(p.at(path)); err != nil || string(got) != want {
					t.Errorf("%s holds %q, %v", path, got, err)
				}
			}
			for _, path := range []string{"d", "e", "e/moved"} {
				p.mode(path, 0o555)
			}
			p.nothingLifted()
		})
	}
}

// nothingLifted demands that no record of a lifted mode is left.
func (p *place) nothingLifted() {
	p.Helper()
	left, err := filepath.Glob(filepath.Join(p.staging, "tmp", "*"))
	must(p, err)
	if len(left) > 0 {
		p.Errorf("left in the staging directory: %q", left)
	}
}

func TestAFileThatItsOwnerMayNotReadIsProvedAndRead(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]uint32{"none": remote.ModeNone, "write only": 0o200, "execute only": 0o111} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := ordinaryPlace(t)
			ctx := context.Background()
			e, err := p.put(&remote.Upload{Parent: "p:", Name: "f", Attr: remote.Attr{Mode: mode}}, "hidden")
			must(t, err)
			if e.Mode != mode {
				t.Errorf("the mode of the new file is %o, want %o", e.Mode, mode)
			}
			proof, err := p.ep.Verify(ctx, e.ID, e.Hashes, e.Size, remote.ProofStrong)
			must(t, err)
			if proof != remote.ProofRead {
				t.Errorf("the proof is %v", proof)
			}
			r, err := p.ep.Read(ctx, e.ID, e.Content, 0, -1)
			must(t, err)
			must(t, r.Close())
			p.mode("f", os.FileMode(mode&0o777))
			p.nothingLifted()
		})
	}
}

// ordinaryPlace is newPlace for an ordinary user.
func ordinaryPlace(t *testing.T) *place {
	t.Helper()
	base := ordinary(t)
	p := &place{T: t, root: filepath.Join(base, "root"), staging: filepath.Join(base, "staging")}
	must(t, os.Mkdir(p.root, 0o755))
	var err error
	p.ep, err = dir.Open(p.root, dir.Options{Staging: p.staging})
	must(t, err)
	t.Cleanup(func() {
		if err := p.ep.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// theirs makes a file and a directory of root's, from an ordinary user's thread.
func theirs(t *testing.T, root string) {
	t.Helper()
	done := make(chan error)
	go func() { // a thread that is root still
		done <- errors.Join(os.Mkdir(filepath.Join(root, "d"), 0o755), os.WriteFile(filepath.Join(root, "f"), []byte("theirs"), 0o600))
	}()
	must(t, <-done)
}

func TestWhatIsNotOursStaysShut(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make files that are somebody else's")
	}
	p := ordinaryPlace(t)
	theirs(t, p.root)
	_, err := p.put(&remote.Upload{Parent: "p:d", Name: "f"}, "x")
	is(t, err, remote.ErrDenied)
	_, err = p.ep.Read(context.Background(), "p:f", "", 0, -1)
	is(t, err, remote.ErrDenied)
	p.mode("d", 0o755)
	p.mode("f", 0o600)
	p.nothingLifted()
}

// record is what a directory of mode 0555 is recorded under while it is lifted.
func (p *place) record(path string) string {
	var st unix.Stat_t
	must(p, unix.Stat(p.at(path), &st))
	return fmt.Sprintf("mode-555-755-%d-0", st.Ino)
}

func TestAKillWhileAModeIsLiftedIsMadeGood(t *testing.T) {
	p := newPlace(t)
	must(t, os.Mkdir(p.at("a"), 0o755))
	p.shut("a/lifted")
	p.shut("a/changed")
	p.shut("a/other")
	// As a kill leaves them, one of them for the second time.
	must(t, os.Symlink("./elsewhere", filepath.Join(p.staging, "tmp", p.record("a/lifted"))))
	for _, name := range []string{"lifted", "changed", "other"} {
		must(t, p.ep.LeaveLifted("a/"+name))
		p.mode("a/"+name, 0o755)
	}
	must(t, os.Chmod(p.at("a/changed"), 0o700))
	must(t, os.Rename(p.at("a/other"), p.at("a/another")))
	must(t, os.Mkdir(p.at("a/other"), 0o755))

	p.open(dir.Options{Staging: p.staging})
	for name, want := range map[string]os.FileMode{"lifted": 0o555, "changed": 0o700, "another": 0o755, "other": 0o755} {
		p.mode("a/"+name, want)
	}
	p.nothingLifted()
}

func TestADirectoryThatNobodyIsLetIntoHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	p := ordinaryPlace(t)
	must(t, os.MkdirAll(p.at("a/b"), 0o755))
	must(t, os.Mkdir(p.at("c"), 0o755))
	p.write("a/b/f", "1")
	cur := p.follow(p.ep)
	step := func(want string) {
		t.Helper()
		var got string
		if got, cur = p.hints(p.ep, cur); got != want {
			t.Fatalf("got hints %q, want %q", got, want)
		}
	}
	p.write("a/b/f", "2")
	p.write("c/f", "1")
	must(t, os.Chmod(p.at("a"), 0))
	step("/ /c") // the chmod, and the other file
	_, _, err := p.ep.List(context.Background(), "p:a", "")
	is(t, err, remote.ErrDenied)
	p.write("c/f", "2")
	step("/c")
	must(t, os.Chmod(p.at("a"), 0o755))
	step("/ /a*") // with what happened in a/b meanwhile
	step("")
}
