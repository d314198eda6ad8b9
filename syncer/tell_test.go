package syncer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vdfs/cache"
	"vdfs/cache/event"
	"vdfs/syncer/plan"
	"vdfs/syncer/remote"
	"vdfs/syncer/remote/memory"
)

// hearing has the events of a rig kept.
func hearing(t *testing.T, r *rig, types event.Set) *event.Subscription {
	r.e.Events = event.New(event.Options{Now: r.now})
	s := r.e.Events.Subscribe(types, 10_000)
	t.Cleanup(s.Close)
	return s
}

// heard are the events since the last call, in words.
func heard(s *event.Subscription) (out []string) {
	for e, ok := s.Take(); ok; e, ok = s.Take() {
		out = append(out, strings.Join(strings.Fields(fmt.Sprint(e.Type, " ", e.Path, " ", e.OtherPath, " ", e.Origin, " ", e.Kind)), " "))
	}
	return out
}

func has(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: told\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestARunIsToldFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	f := r.far(0)
	r.settle()
	s := hearing(t, r, event.All&^event.Of(event.QueueStatusChanged, event.SyncProgress, event.FileChunkReceived, event.SyncStateChanged))

	r.mkdir("d")
	r.write("d/a", "from here")
	r.settle()
	has(t, "sent", heard(s),
		"SyncStarted", "FileAdded /d local dir", "FileUploadStarted /d/a", "FileAdded /d/a local file", "FileUploadCompleted /d/a",
		"SyncCompleted", "VerificationComplete")
	f.write("d/b", "from there")
	f.write("d/a", "changed there")
	r.settle()
	got := heard(s)
	slices.Sort(got)
	got = slices.Compact(got) // one run fetches, another one takes its place
	has(t, "taken in", got, "FileAdded /d/b remote file", "FileDownloadCompleted /d/a", "FileModified /d/a remote file", "SyncCompleted", "SyncStarted", "VerificationComplete")
	f.move("d/b", "c")
	r.settle()
	has(t, "moved there", heard(s), "SyncStarted", "FileMoved /c /d/b remote file", "SyncCompleted", "VerificationComplete")
	r.move("c", "d/c")
	r.settle()
	r.legs()[0].news.over(nil, false) // as the end of the turn
	has(t, "moved here", heard(s), "SyncStarted", "FileMoved /d/c local file", "SyncCompleted", "VerificationComplete")
	f.remove("d/c")
	r.remove("d/a")
	r.settle()
	got = heard(s)
	slices.Sort(got)
	has(t, "deleted", got, "FileDeleted /d/a local file", "FileDeleted /d/c remote file", "SyncCompleted", "SyncStarted", "VerificationComplete")
	r.settle()
	has(t, "nothing to do", heard(s))
}

func TestWhatWasThereBeforeIsNoNews(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	f := r.far(0)
	f.mkdir("d")
	f.write("d/a", "was there")
	s := hearing(t, r, event.Of(event.FileAdded))
	r.settle()
	r.tree()
	has(t, "what was there", heard(s))
	f.mkdir("new")
	f.write("new/b", "is new")
	r.settle()
	has(t, "what is new", heard(s), "FileAdded /new remote dir", "FileAdded /new/b remote file")
}

func TestConflictsAreToldWhenTheyAreRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	f := r.far(0)
	f.write("f", "base")
	r.settle()
	r.read("f")
	s := hearing(t, r, event.Of(event.FileConflictDetected, event.FileConflictResolved))
	r.write("f", "mine")
	f.write("f", "theirs, longer")
	r.settle()
	e, ok := s.Take()
	if !ok || e.Type != event.FileConflictDetected || e.Path != "/f" || !strings.Contains(e.OtherPath, "(conflict test") || e.Class != "modify-on-modify" ||
		e.Strategy != "conflict-file" || !strings.Contains(e.Local, `"size":4`) || !strings.Contains(e.Remote, `"size":14`) || e.Conduit != "home" {
		t.Fatalf("told of %+v", e)
	}
	has(t, "it is open", heard(s))
	r.must(r.e.ResolveConflict(t.Context(), "/f", KeepRemote, nil))
	if e, ok = s.Take(); !ok || e.Type != event.FileConflictResolved || e.Path != "/f" || e.Strategy != KeepRemote || e.Conduit != "home" {
		t.Errorf("told of %+v", e)
	}
	r.write("f", "mine again")
	f.remove("f")
	r.settle()
	has(t, "one that settles itself", heard(s), "FileConflictDetected /f", "FileConflictResolved /f")
}

// A transaction that is undone has told nothing.
func TestWhatIsUndoneIsNotTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	s := hearing(t, r, event.All)
	broken := errors.New("broken")
	l := r.legs()[0]
	err := r.c.Update(l.id, func(tx *cache.Tx) error {
		st, err := l.step(tx, &counts{})
		r.must(err)
		st.publish(event.Event{Type: event.FileAdded, Path: "/a"})
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	has(t, "undone", heard(s))
}

func TestFailuresAndAbsenceAreTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory.New(flavours()[0].opts()))
	r.settle()
	s := hearing(t, r, event.Of(event.FileUploadFailed, event.ConnectivityChanged, event.SyncFailed, event.SyncStateChanged))
	l := r.legs()[0]
	down := errors.New("pulled")
	l.setOffline(down)
	l.setOffline(errors.New("still"))
	e, _ := s.Take()
	if e.Type != event.ConnectivityChanged || e.Online || e.Error != "pulled" || e.Endpoint != "mem:0" {
		t.Errorf("told of %+v", e)
	}
	if e, _ = s.Take(); e.Type != event.SyncStateChanged || e.From != StateIdle || e.To != StateOffline {
		t.Errorf("told of %+v", e)
	}
	has(t, "it is away still", heard(s))
	l.setOffline(nil)
	if e, _ = s.Take(); e.Type != event.ConnectivityChanged || !e.Online {
		t.Errorf("told of %+v", e)
	}
	if e, _ = s.Take(); e.Type != event.SyncStateChanged || e.To != StateIdle {
		t.Errorf("told of %+v", e)
	}
	l.news.over(down, false)
	l.news.over(down, false)
	l.news.over(nil, false)
	l.news.over(down, false)
	has(t, "a failure that lasts is told once", heard(s), "SyncFailed", "SyncFailed")
	b := &batch{l: l, counts: &counts{}}
	b.tellFailed(cache.Item{Leg: l.id, Dentry: cache.RootDentry}, plan.Op{Kind: plan.OpPut}, remote.ErrQuota)
	if e, _ = s.Take(); e.Type != event.FileUploadFailed || e.Path != "/" || e.Operation != plan.OpPut.String() || e.Error == "" {
		t.Errorf("told of %+v", e)
	}
}
