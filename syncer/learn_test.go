package syncer

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// TestWhatCannotBeComparedIsPutOff has an endpoint, or the disk below the drive, that cannot be read when two changed files
// are to be compared: a cycle ends after one try, the failure can be seen, and the next try waits.
func TestWhatCannotBeComparedIsPutOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(r *rig) (mend func())
	}{
		{"the endpoint's bytes", func(r *rig) func() {
			r.script.Add(faulty.Rule{Method: faulty.Read, Err: syscall.EIO})
			return r.script.Clear
		}},
		{"the bytes here", func(r *rig) func() {
			path := r.backing("f")
			r.must(os.Rename(path, path+".away"))
			return func() { r.must(os.Rename(path+".away", path)) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(flavours()[1].opts()))
			r.settle()
			r.write("f", "old")
			r.settle()
			r.write("f", "one")
			r.far(0).write("f", "two")
			mend := c.spoil(r)
			l := r.legs()[0]
			for range 3 {
				r.script.Forget()
				r.must(r.cycle(l))
				if n := len(r.script.Calls(faulty.Read)); n > 2 { // one for each side that asks
					t.Fatalf("%d reads in one cycle", n)
				}
			}
			if _, state, blocked, err := l.standing(); err != nil || state != SyncParked || len(blocked) == 0 {
				t.Fatalf("standing: %s, %v, %v", state, blocked, err)
			}
			mend()
			r.unpark()
			r.settle()
			if tree := r.agree(); len(tree) != 2 || tree["f"] != "two" {
				t.Fatalf("afterwards: %v", tree)
			}
		})
	}
}

// TestAnItemThatLacksBytesIsPutOff is the same where the drive's side asks.
func TestAnItemThatLacksBytesIsPutOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[1].opts()))
	r.settle()
	r.write("a", "old")
	r.settle()
	r.free("a")
	r.move("a", "a~") // its bytes are needed before its object goes
	r.script.Add(faulty.Rule{Method: faulty.Read, Err: syscall.EIO})
	l := r.legs()[0]
	r.must(r.cycle(l))
	if n := len(r.script.Calls(faulty.Read)); n != 1 {
		t.Fatalf("%d reads in one cycle", n)
	}
	r.script.Clear()
	r.unpark()
	r.settle()
	wantTree(t, r.agree(), map[string]string{})
	if got := r.read("a~"); got != "old" {
		t.Fatalf("a~ has %q", got)
	}
}

// backing is the path of a file's backing file.
func (r *rig) backing(p string) string {
	r.t.Helper()
	n := r.find(p).Node
	var found string
	err := filepath.WalkDir(filepath.Join(r.dir, "content"), func(path string, d os.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == strconv.FormatInt(int64(n.Content), 16) {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		r.t.Fatalf("backing file of %s: %q, %v", p, found, err)
	}
	return found
}

// TestALookAfterASurpriseDoesNotMissAFileThatIsJustSent has one copy refused, so that its directory is listed again, while
// another is on its way there: the listing must not be older than the base that it is compared with.
func TestALookAfterASurpriseDoesNotMissAFileThatIsJustSent(t *testing.T) {
	for _, fl := range flavours()[1:] {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			r.settle()
			r.write("a", "A")
			r.write("b", "B")
			b := r.find("b").ID
			l := r.legs()[0]
			refused, listing := make(chan struct{}), make(chan struct{})
			var once sync.Once
			named := func(name string) func(faulty.Call) bool { return func(c faulty.Call) bool { return c.Name == name } }
			r.script.Add(faulty.Rule{Method: faulty.Put, Match: named("a"), Nth: 1, Before: func() {
				r.far(0).write("z", "theirs") // there is something to write down
				close(refused)
			}, Err: remote.ErrPrecondition})
			r.script.Add(faulty.Rule{Method: faulty.Put, Match: named("b"), Nth: 1, Before: func() {
				<-refused
				select {
				case <-listing: // it has read the directory without b
				case <-time.After(100 * time.Millisecond): // it waits for b, as it should
				}
			}})
			r.script.Add(faulty.Rule{Method: faulty.List, Then: func() {
				once.Do(func() { close(listing) })
				r.awaitBound(l, b)
			}})
			r.settle()
			wantTree(t, r.agree(), map[string]string{"a": "A", "b": "B", "z": "theirs"})
		})
	}
}

// awaitBound waits until a dentry is bound.
func (r *rig) awaitBound(l *leg, d cache.DentryID) {
	wake, stop := r.c.Watch()
	defer stop()
	limit := time.After(30 * time.Second)
	for {
		bound := false
		if err := r.c.View(func(tx *cache.Tx) (err error) {
			_, bound, err = tx.BindingOfDentry(l.id, d)
			return err
		}); err != nil || bound {
			return
		}
		select {
		case <-wake:
		case <-limit:
			return
		}
	}
}

// TestARenameBetweenDecisionAndCopySendsOneFile has a new file renamed over a sent one after it was decided that it is sent
// under its own name, and before that is done: it must not be left behind there, to come back as somebody else's.
func TestARenameBetweenDecisionAndCopySendsOneFile(t *testing.T) {
	for _, fl := range flavours() {
		t.Run(fl.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(fl.opts()))
			r.settle()
			r.mkdir("d")
			r.write("d/g", "old")
			r.settle()
			r.write("f", "new")    // decided first
			r.mkdir("m")           // then this is made
			r.write("d/g", "edit") // and then this is decided, of which no name is left
			r.script.Add(faulty.Rule{Method: faulty.Mkdir, Then: func() { r.move("f", "d/g") }})
			r.settle()
			wantTree(t, r.agree(), map[string]string{"d/": "", "d/g": "new", "m/": ""})
		})
	}
}

// TestBytesWrittenAnewAtTheEndpointAreNoEdit has files written there with the bytes that they had, so that only the token and
// the time differ, against an edit or a deletion here. Whose base is has no hash, as its bytes were never here, nobody can tell
// what they were: then both versions stay.
func TestBytesWrittenAnewAtTheEndpointAreNoEdit(t *testing.T) {
	for name, c := range map[string]struct {
		before func(r *rig)
		mine   string // "": it is deleted here
		want   map[string]string
	}{
		"read here":             {func(r *rig) { r.read("f") }, "mine!", map[string]string{"f": "mine!"}},
		"read here, and freed":  {func(r *rig) { r.read("f"); r.free("f") }, "mine!", map[string]string{"f": "mine!"}},
		"written here":          {func(r *rig) { r.write("f", "again"); r.settle() }, "mine!", map[string]string{"f": "mine!"}},
		"an edit of the base's": {func(r *rig) { r.read("f") }, "base!", map[string]string{"f": "base!"}},
		"read and deleted here": {func(r *rig) { r.read("f") }, "", map[string]string{}},
		"never here":            {func(*rig) {}, "mine!", map[string]string{"f": "base!", "f (conflict test)": "mine!"}},
		"never here, deleted":   {func(*rig) {}, "", map[string]string{"f": "base!"}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig, f *far) {
				f.write("f", "base!")
				r.settle()
				c.before(r)
				if c.mine == "" {
					r.remove("f")
				} else {
					r.write("f", c.mine)
				}
				f.write("f", f.tree()["f"])
				r.settle()
				got := map[string]string{}
				for p, text := range r.agree() {
					if before, _, ok := strings.Cut(p, " (conflict test"); ok {
						p = before + " (conflict test)"
					}
					got[p] = text
				}
				wantTree(t, got, c.want)
			})
		})
	}
}
