package syncer

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vdfs/cache"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote/faulty"
	"vdfs/syncer/remote/memory"
)

// intend sets a file's own intent.
func (r *rig) intend(p string, i cache.Intent) {
	r.t.Helper()
	e := r.find(p)
	r.must(r.c.Update(0, func(tx *cache.Tx) error { return tx.SetIntent(e.ID, i) }))
}

// here returns what a program reads without fetching anything. A file of which something is missing fails the test.
func (r *rig) here(p string) string {
	r.t.Helper()
	e := r.find(p)
	if e.Node.Residency != cache.Full {
		r.t.Fatalf("%s is not all here: %+v", p, e.Node)
	}
	f, err := r.c.OpenFile(e.Ino, false)
	r.must(err)
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	r.must(err)
	return string(b)
}

// wantHere wants a file to be here, with that text.
func (r *rig) wantHere(when, p, text string) {
	r.t.Helper()
	if got := r.here(p); got != text {
		r.t.Fatalf("%s: %s has %d bytes %.20q, want %d %.20q", when, p, len(got), got, len(text), text)
	}
}

// backingFiles counts the files of all contents.
func (r *rig) backingFiles() int {
	r.t.Helper()
	r.must(r.c.FreeDropped())
	all, err := filepath.Glob(filepath.Join(r.dir, "content", "*", "*"))
	r.must(err)
	return len(all)
}

// pinned makes a file at the endpoint that is here and pinned, and a day old, so that nothing but the pin counts.
func (r *rig) pinned(p, text string) {
	r.t.Helper()
	r.far(0).write(p, text)
	r.settle()
	r.read(p)
	r.intend(p, cache.Pinned)
	r.advance(25 * time.Hour)
}

// hold has reads at the endpoint wait until it is released.
func (r *rig) hold() (release func()) {
	held := make(chan struct{})
	r.script.Add(faulty.Rule{Method: faulty.Read, Hold: held})
	return func() { r.script.Clear(); close(held) }
}

// askedFor waits until so many reads were asked for at the endpoint.
func (r *rig) askedFor(reads int) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); len(r.script.Calls(faulty.Read)) < reads; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%d reads at the endpoint, want %d", len(r.script.Calls(faulty.Read)), reads)
		}
	}
}

var oldText, newText = strings.Repeat("old ", 30_000), strings.Repeat("newer ", 50_000)

// TestAPinnedFileIsWholeWhileItsNewVersionComes has an endpoint stop again and again on the way.
func TestAPinnedFileIsWholeWhileItsNewVersionComes(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		r.pinned("f", oldText)
		before := r.backingFiles()
		reader, err := r.c.OpenFile(r.find("f").Ino, false)
		r.must(err)
		const part = 1000
		r.script.Add(faulty.Rule{Method: faulty.Read, Cut: part})
		f.write("f", newText)
		for i := range int64(3) {
			r.must(r.cycle(l))
			r.wantHere("while it comes", "f", oldText)
			for _, at := range l.fetches.all {
				if at.at != (i+1)*part {
					t.Errorf("%d bytes are here after %d tries, want what came of each", at.at, i+1)
				}
			}
			if p := r.pending(); !strings.Contains(p, plan.WaitBytes.String()) {
				t.Errorf("pending: %s", p)
			}
			r.advance(time.Minute)
		}
		if _, state, blocked, err := l.standing(); err != nil || state != SyncParked || len(blocked) != 1 || !strings.Contains(blocked[0].Reason, "is being fetched: ") {
			t.Errorf("it says %s, %+v, %v", state, blocked, err)
		}
		r.stores[0].SetOffline(true)
		if err := r.cycle(l); err == nil {
			t.Fatal("a cycle without the endpoint succeeded")
		}
		r.wantHere("offline", "f", oldText)
		r.stores[0].SetOffline(false)

		r.script.Clear()
		r.settle()
		r.wantHere("afterwards", "f", newText)
		old, err := io.ReadAll(io.NewSectionReader(reader, 0, 1<<30))
		if err != nil || string(old) != oldText {
			t.Errorf("who had it open reads %d bytes, %v", len(old), err)
		}
		r.must(reader.Close())
		if got := r.backingFiles(); got != before {
			t.Errorf("%d backing files, before there were %d", got, before)
		}
		r.must(r.c.View(func(tx *cache.Tx) error {
			if n, err := tx.TransferCount(false); err != nil || n > 0 {
				t.Errorf("%d downloads are queued, %v", n, err)
			}
			return nil
		}))
	})
}

// TestAFileThatWasOpenedLatelyIsRefreshedAndOthersAreNot is OFF-09.
func TestAFileThatWasOpenedLatelyIsRefreshedAndOthersAreNot(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		for _, name := range []string{"lately", "before"} {
			f.write(name, oldText)
		}
		r.settle()
		r.read("before")
		r.advance(25 * time.Hour)
		r.read("lately")
		for _, name := range []string{"lately", "before"} {
			f.write(name, newText)
		}
		r.settle()
		r.wantHere("afterwards", "lately", newText)
		if n := r.find("before").Node; n.Residency != cache.None {
			t.Errorf("what nobody has opened for a day is %+v", n)
		}
		// Nobody has opened that version since.
		f.write("lately", oldText)
		r.settle()
		if n := r.find("lately").Node; n.Residency != cache.None {
			t.Errorf("the version after one that nobody opened is %+v", n)
		}
	})
}

func TestAFetchHoldsUpNothingElse(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		f.write("dir/other", "old")
		r.pinned("f", oldText)
		r.write("mine", "old")
		r.settle()
		release := r.hold()
		f.write("f", newText)
		f.write("dir/new", "new")
		f.write("dir/other", "other")
		r.write("mine", "mine")
		r.move("dir", "moved")
		for range 3 {
			r.must(r.alone(l))
		}
		r.wantHere("meanwhile", "f", oldText)
		if got := f.tree(); got["mine"] != "mine" || got["moved/other"] != "other" {
			t.Errorf("the endpoint has %q", got)
		}
		if n := r.find("moved/other").Node; n.Size != int64(len("other")) {
			t.Errorf("what was changed beside it is %+v", n)
		}
		if wait, state, blocked, err := l.standing(); err != nil || wait == 0 || state != SyncDone || len(blocked) > 0 {
			t.Errorf("standing: %v, %s, %v, %v", wait, state, blocked, err)
		}
		release()
		r.settle()
		r.wantHere("afterwards", "f", newText)
	})
}

// TestAFetchBesideAMoveOfItsDirectoryIsNoFailure moves the directory of a file while its new version is about to be read.
func TestAFetchBesideAMoveOfItsDirectoryIsNoFailure(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		f.mkdir("dir")
		r.pinned("dir/f", oldText)
		release := r.hold()
		f.write("dir/f", newText)
		r.move("dir", "moved")
		r.must(r.alone(l))
		r.askedFor(1)
		for range 3 { // until the directory is elsewhere at the endpoint, too
			r.must(r.alone(l))
		}
		if got := f.tree(); got["moved/f"] != newText {
			t.Fatalf("the directory was not moved at the endpoint: it has %d files", len(got))
		}
		release()
		r.settle()
		r.wantHere("afterwards", "moved/f", newText)
	})
}

// TestANameIsNotMissingUntilBytesCome replaces a file at the endpoint by another one that was written to before.
func TestANameIsNotMissingUntilBytesCome(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		r.pinned("f", oldText)
		r.pinned("g", oldText)
		release := r.hold()
		f.write("g", newText)
		f.remove("f")
		f.move("g", "f")
		r.must(r.alone(l))
		if _, err := r.lookup("f"); err != nil {
			t.Errorf("while bytes are on their way: %v", err)
		}
		release()
		r.settle()
		wantTree(t, r.agree(), map[string]string{"f": newText})
	})
}

func TestAVersionThatIsOvertakenIsNotShown(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		r.pinned("f", oldText)
		before := r.backingFiles()
		r.script.Forget()
		release := r.hold()
		f.write("f", "overtaken")
		r.must(r.alone(l))
		r.askedFor(1)
		f.write("f", newText)
		r.must(r.alone(l))
		r.wantHere("meanwhile", "f", oldText)
		release()
		seen := map[string]bool{}
		for range 10 {
			r.must(r.cycle(l))
			seen[r.here("f")] = true
		}
		if len(seen) != 1 || !seen[newText] || !r.quiet() {
			t.Errorf("%d versions were seen; pending: %s", len(seen), r.pending())
		}
		if got := r.backingFiles(); got != before {
			t.Errorf("%d backing files, before there were %d", got, before)
		}
	})
}

// TestWhatCannotBeFetchedBesideBecomesAPlaceholder is about the ends of waiting.
func TestWhatCannotBeFetchedBesideBecomesAPlaceholder(t *testing.T) {
	for name, spoil := range map[string]func(r *rig, l *leg, f *far){
		"it changes faster than it comes": func(r *rig, l *leg, f *far) {
			defer r.hold()()
			r.script.Forget()
			for i := range overtakenMax + 1 {
				r.wantHere("before", "f", oldText)
				f.write("f", fmt.Sprint("version ", i))
				r.must(r.alone(l))
				r.askedFor(min(i+1, overtakenMax))
			}
		},
		"it is not what the endpoint says": func(r *rig, l *leg, f *far) {
			ep, err := l.check(r.t.Context())
			r.must(err)
			f.write("f", newText)
			r.must(l.pull(r.t.Context(), ep, false))
			r.must(r.c.Update(l.id, func(tx *cache.Tx) error {
				rows, err := tx.ObservedPage(l.id, "", 10)
				for _, o := range rows {
					o.Hash = cache.Hash{1}
					r.must(tx.PutObserved(o))
				}
				return err
			}))
			r.script.Forget()
			r.must(l.applyObserved(r.t.Context(), &counts{}))
			l.fetched()
			if n := len(r.script.Calls(faulty.Read)); n != mismatchesMax {
				r.t.Errorf("it was fetched %d times", n)
			}
			r.wantHere("before", "f", oldText)
			r.must(l.applyObserved(r.t.Context(), &counts{}))
		},
		"nobody wants it any more": func(r *rig, l *leg, f *far) {
			defer r.hold()()
			f.write("f", newText)
			r.must(r.alone(l))
			r.wantHere("before", "f", oldText)
			r.intend("f", cache.Inherited)
			r.must(r.alone(l))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory.New(flavours()[1].opts()))
			l := r.legs()[0]
			r.pinned("f", oldText)
			spoil(r, l, r.far(0))
			if n := r.find("f").Node; n.Residency != cache.None {
				t.Errorf("it is %+v", n)
			}
			l.fetched()
			if n := r.backingFiles(); n != 0 {
				t.Errorf("%d backing files are left", n)
			}
		})
	}
}

// TestAFileOfTheSameSizeIsReadOnce has the new version of a file be fetched to tell whether it is one.
func TestAFileOfTheSameSizeIsReadOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.pinned("f", oldText)
		was := r.find("f").Node
		r.script.Forget()
		f.write("f", oldText)
		r.settle()
		if n := r.find("f").Node; n.Version != was.Version || n.Content != was.Content {
			t.Errorf("with the same bytes it became another version: %+v", n)
		}
		other := "O" + oldText[1:]
		f.write("f", other)
		r.settle()
		r.wantHere("afterwards", "f", other)
		if n := len(r.script.Calls(faulty.Read)); n != 2 {
			t.Errorf("%d reads at the endpoint, want one for each change", n)
		}
	})
}

func TestAPauseEndsAFetchAndALaterCycleGoesOn(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		l := r.legs()[0]
		r.pinned("f", oldText)
		release := r.hold()
		f.write("f", newText)
		l.turn(t.Context(), nil)
		l.setDue()
		l.turn(t.Context(), nil)
		if !l.fetches.active() {
			t.Fatal("it is not being fetched")
		}
		r.must(r.e.Pause(0))
		if l.fetches.active() {
			t.Error("it is being fetched in a pause")
		}
		r.wantHere("in the pause", "f", oldText)
		r.must(r.e.Resume())
		release()
		l.turn(t.Context(), nil)
		r.settle()
		r.wantHere("afterwards", "f", newText)
	})
}

// TestSyncWaitsForWhatIsBeingFetched runs the legs by themselves.
func TestSyncWaitsForWhatIsBeingFetched(t *testing.T) {
	each(t, func(t *testing.T, r *rig, f *far) {
		r.pinned("f", oldText)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.e.Run(ctx) }()
		defer func() {
			cancel()
			r.must(<-ended)
		}()
		release := r.hold()
		f.write("f", newText)
		asked := make(chan struct{})
		r.script.Add(faulty.Rule{Method: faulty.Changes, Then: func() { close(asked) }, Nth: 1})
		go func() {
			<-asked
			release()
		}()
		res, err := r.e.Sync(ctx, SyncRequest{Wait: true})
		if err != nil || res.State != SyncDone {
			t.Fatalf("%+v, %v", res, err)
		}
		r.wantHere("afterwards", "f", newText)
	})
}

// TestAnEndpointWithoutRangesIsReadFromTheBeginning has a stream break.
func TestAnEndpointWithoutRangesIsReadFromTheBeginning(t *testing.T) {
	t.Parallel()
	o := flavours()[1].opts()
	o.Caps.Ranges = false
	r := newRig(t, memory.New(o))
	l := r.legs()[0]
	r.pinned("f", oldText)
	r.script.Add(faulty.Rule{Method: faulty.Read, Nth: 1, Cut: 1000})
	r.far(0).write("f", newText)
	r.must(r.cycle(l))
	r.wantHere("after the first try", "f", oldText)
	r.advance(time.Minute)
	r.settle()
	r.wantHere("afterwards", "f", newText)
}
